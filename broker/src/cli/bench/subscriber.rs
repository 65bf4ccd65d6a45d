//! One subscriber: receives messages and counts them.

use std::sync::Arc;
use std::time::Duration;

use stomp_codec::{Command, Frame, Headers};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::plan::Plan;
use super::stamp::Stamp;
use super::tally::Tally;
use crate::client::{Client, Error};

pub(super) struct Subscriber {
    plan: Arc<Plan>,
    id: u16,
    client: Client,
    tally: Tally,
}

impl Subscriber {
    /// Subscribes and waits until the subscription is active.
    pub(super) async fn new(plan: Arc<Plan>, id: u16, mut client: Client) -> Result<Self, Error> {
        let arguments = &plan.arguments;
        for source in plan.sources(id) {
            let source_id = source.to_string();
            let mut more = Headers::new();
            if let Some(prefetch) = arguments.prefetch {
                more.push("prefetch-count", &prefetch.to_string());
                more.push("activemq.prefetchSize", &prefetch.to_string());
            }
            more.push("receipt", &source_id);
            let ack = arguments.ack.as_str();
            client.subscribe(&source_id, &plan.destination(*source), ack, &more);
        }
        let mut subscriber = Self {
            plan,
            id,
            client,
            tally: Tally::default(),
        };
        let mut missing = subscriber.plan.sources(id).len();
        while missing > 0 {
            let no_receipt = |_| Error::NoReceipt {
                what: "SUBSCRIBE",
                patience: PATIENCE,
            };
            let frame = timeout(PATIENCE, subscriber.client.next()).await;
            let frame = frame.map_err(no_receipt)??;
            missing -= usize::from(frame.command == Command::Receipt);
            // From a queue with messages of an earlier run.
            subscriber.take(&frame);
        }
        Ok(subscriber)
    }

    /// Receives messages until it is stopped. Its counts are valid even after an error.
    pub(super) async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
    ) -> (u16, Tally, Option<Error>) {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.client.next() => frame,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            if let Err(error) = frame.and_then(|frame| self.take_all(frame)) {
                return (self.id, self.tally, Some(error));
            }
        }
        // ACKs are sent with it.
        let _ = self.client.disconnect(LAST_WORD).await;
        (self.id, self.tally, None)
    }

    /// Takes a frame and all that arrived with it, and acknowledges them.
    fn take_all(&mut self, first: Frame) -> Result<(), Error> {
        let before = self.tally.delivered;
        let mut next = Ok(Some(first));
        while let Ok(Some(frame)) = next {
            self.take(&frame);
            next = self.client.waiting();
        }
        let delivered = self.tally.delivered - before;
        if delivered > 0 {
            self.plan.progress.on_received(self.id, delivered);
        }
        next.map(|_| ())
    }

    fn take(&mut self, frame: &Frame) {
        if frame.command != Command::Message {
            return;
        }
        let now = Instant::now();
        match Stamp::read(&frame.body).filter(|stamp| stamp.run == self.plan.run) {
            None => self.tally.foreign += 1,
            Some(stamp) if !self.is_whole(frame, stamp) => {
                self.tally.delivered += 1;
                self.tally.damaged += 1;
            }
            Some(stamp) => {
                let latency = now.saturating_duration_since(self.plan.epoch + stamp.due);
                let microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                self.tally.take(stamp, microseconds);
                self.tally.last = Some(now);
            }
        }
        if self.plan.arguments.acks() {
            self.client.ack(frame);
        }
    }

    /// Whether a body is complete, and arrived at the destination it was sent to.
    fn is_whole(&self, frame: &Frame, stamp: Stamp) -> bool {
        let mut padding = frame.body.iter().skip(Stamp::SIZE);
        frame.body.len() == self.plan.arguments.size
            && padding.all(|byte| *byte == b'.')
            && stamp.publisher < self.plan.arguments.publishers
            && self.plan.sources(self.id).contains(&stamp.destination)
    }
}

/// Time limit of a SUBSCRIBE.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time limit of the last ACKs.
const LAST_WORD: Duration = Duration::from_secs(2);
