//! One publisher: sends as fast as it may, and receives confirmations.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use stomp_codec::{Command, Frame};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Arguments;
use super::plan::Plan;
use super::stamp::Stamp;
use crate::client::{Client, Error};

pub(super) struct Publisher {
    plan: Arc<Plan>,
    id: u16,
    client: Client,
    targets: Vec<(u16, String)>,
    sent: u64,
    /// Bursts without their RECEIPT, by the number of messages sent with them.
    unconfirmed: VecDeque<u64>,
}

impl Publisher {
    pub(super) fn new(plan: Arc<Plan>, id: u16, client: Client) -> Self {
        let targets = plan.targets(id).into_iter();
        let named = targets.map(|target| (target, plan.destination(target)));
        Self {
            targets: named.collect(),
            plan,
            id,
            client,
            sent: 0,
            unconfirmed: VecDeque::new(),
        }
    }

    /// Sends its share and waits until all of it is confirmed. Returns when that was.
    pub(super) async fn run(
        mut self,
        mut started: watch::Receiver<Option<Instant>>,
    ) -> Result<Instant, Error> {
        let plan = Arc::clone(&self.plan);
        let start = async {
            started
                .wait_for(Option::is_some)
                .await
                .ok()
                .and_then(|at| *at)
        };
        let Some(start) = self.client.meanwhile(start).await else {
            return Ok(Instant::now());
        };
        let schedule = Schedule::new(&plan.arguments, self.id, start);
        let share = plan.arguments.messages_of(self.id);
        let end = plan.arguments.end(start);
        // Since when only the schedule keeps it from sending.
        let mut free = start;
        while self.sent < share && !plan.progress.is_stopped() {
            if self.wait_for_subscribers().await? {
                free = Instant::now();
            }
            while self.unconfirmed.len() >= WINDOW {
                self.hear().await?;
                free = Instant::now();
            }
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) {
                break;
            }
            let burst = schedule
                .due(now, self.sent)
                .min(share - self.sent)
                .min(BURST);
            if burst == 0 {
                free = free.max(now);
                self.wait_for_schedule(schedule.time(self.sent), end)
                    .await?;
                continue;
            }
            self.send(burst, &schedule, free);
            self.client.flush().await?;
            free = Instant::now();
        }
        while !self.unconfirmed.is_empty() {
            self.hear().await?;
        }
        let published = Instant::now();
        // All of its messages are sent already.
        let _ = self.client.disconnect(LAST_WORD).await;
        Ok(published)
    }

    fn send(&mut self, burst: u64, schedule: &Schedule, free: Instant) {
        let now = Instant::now();
        let count = self.targets.len() as u64;
        for index in 0..burst {
            let at = usize::try_from(self.sent % count).unwrap_or_default();
            let (destination, name) = &self.targets[at];
            // If the broker kept us waiting, the latency of a message starts when it was due; a
            // late timer is not the broker's fault.
            let due = match schedule.time(self.sent) {
                Some(scheduled) if scheduled < free => scheduled,
                _ => now,
            };
            let stamp = Stamp {
                run: self.plan.run,
                publisher: self.id,
                destination: *destination,
                number: self.sent / count,
                due: due.duration_since(self.plan.epoch),
            };
            let mut frame = Frame::new(Command::Send).with_header("destination", name);
            self.sent += 1;
            if index + 1 == burst {
                frame.headers.push("receipt", &self.sent.to_string());
                self.unconfirmed.push_back(self.sent);
            }
            let body = stamp.body(self.plan.arguments.size);
            self.plan.progress.on_sent(*destination);
            self.client.write(&frame.with_body(body));
        }
    }

    /// Stays near the slowest subscriber: otherwise this would measure how the broker treats slow
    /// clients. Returns whether it had to wait.
    async fn wait_for_subscribers(&mut self) -> Result<bool, Error> {
        let plan = Arc::clone(&self.plan);
        let lag = plan.arguments.lag;
        let mut had_to = false;
        loop {
            let moved = plan.progress.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if lag == 0 || plan.behind() < lag || plan.progress.is_stopped() {
                return Ok(had_to);
            }
            had_to = true;
            tokio::select! {
                () = moved => {}
                frame = self.client.next() => self.take(&frame?),
                // It would wait for lost messages forever.
                () = sleep(super::PATIENCE) => plan.progress.stop(),
            }
        }
    }

    async fn wait_for_schedule(
        &mut self,
        due: Option<Instant>,
        end: Option<Instant>,
    ) -> Result<(), Error> {
        if let Some(until) = [due, end].into_iter().flatten().min() {
            tokio::select! {
                biased;
                () = sleep_until(until) => {}
                frame = self.client.next() => self.take(&frame?),
            }
        }
        Ok(())
    }

    /// Waits for a RECEIPT.
    async fn hear(&mut self) -> Result<(), Error> {
        let no_receipt = |_| Error::NoReceipt {
            what: "SEND",
            patience: PATIENCE,
        };
        let frame = timeout(PATIENCE, self.client.next()).await;
        self.take(&frame.map_err(no_receipt)??);
        Ok(())
    }

    /// A RECEIPT confirms its message and those before it.
    fn take(&mut self, frame: &Frame) {
        let id = frame.header("receipt-id").and_then(|id| id.parse().ok());
        if let (Command::Receipt, Some(sent)) = (frame.command, id) {
            self.unconfirmed.retain(|it| *it > sent);
            self.plan.progress.on_confirmed(self.id, sent);
        }
    }
}

/// When messages are due.
struct Schedule {
    begin: Instant,
    /// Nanoseconds from one message to the next; `None`: each is due at once.
    interval: Option<f64>,
}

impl Schedule {
    /// The rate is shared by all publishers, which start one after the other.
    fn new(arguments: &Arguments, publisher: u16, start: Instant) -> Self {
        let publishers = f64::from(arguments.publishers);
        let interval = arguments.rate.map(|rate| publishers * 1e9 / rate);
        let first = interval.unwrap_or(0.0) * f64::from(publisher) / publishers;
        Self {
            begin: start + nanoseconds(first),
            interval,
        }
    }

    fn time(&self, number: u64) -> Option<Instant> {
        let interval = self.interval?;
        #[expect(clippy::cast_precision_loss, reason = "some nanoseconds in days")]
        let offset = interval * number as f64;
        Some(self.begin + nanoseconds(offset))
    }

    /// Number of messages that are due after `sent` were sent.
    fn due(&self, now: Instant, sent: u64) -> u64 {
        let is_due = |number: &u64| self.time(*number).is_none_or(|time| time <= now);
        (sent..sent + BURST).take_while(is_due).count() as u64
    }
}

fn nanoseconds(count: f64) -> Duration {
    Duration::from_secs_f64(count / 1e9)
}

/// Number of messages written together, with one RECEIPT.
const BURST: u64 = 64;

/// Number of bursts that may wait for their RECEIPT.
const WINDOW: usize = 16;

/// Time limit of a RECEIPT.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time limit of the last RECEIPT.
const LAST_WORD: Duration = Duration::from_secs(2);
