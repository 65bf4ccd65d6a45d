//! Hands over the messages of one read together, and makes publishers wait for slow clients.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::pauses::Pauses;
use super::{Connection, End, now};
use crate::engine::heart_beat::Due;
use crate::engine::message::Message;
use crate::engine::session::{Publication, Ticket};
use crate::engine::transaction::Transaction;
use crate::hub::Pressure;

/// Messages that were read and are not handed over yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Message>,
    /// Tickets of the RECEIPTs that wait for that, each with the number of messages up to its own.
    tickets: Vec<(usize, Ticket)>,
    /// Bytes of the messages.
    bytes: usize,
}

impl Connection {
    /// Adds a message to the batch. Returns whether the batch must be handed over: it is no larger
    /// than one read, so that subscribers have time to take it.
    pub(super) fn gather(&mut self, publication: Publication) -> bool {
        if self.batch.messages.capacity() == 0 {
            self.batch = Batch::take_spare();
        }
        let batch = &mut self.batch;
        batch.bytes += publication.message.bytes();
        batch.messages.push(publication.message);
        let place = batch.messages.len();
        let ticket = publication.ticket;
        batch.tickets.extend(ticket.map(|ticket| (place, ticket)));
        batch.bytes >= BATCH
    }

    /// Hands over the gathered messages, then sends their RECEIPTs. If one is refused and the
    /// client stays connected, it continues with the next one. Ends the connection if the session
    /// has waited for this.
    pub(super) async fn hand_over(&mut self) -> Result<(), End> {
        if self.batch.messages.is_empty() {
            return Ok(());
        }
        let mut batch = std::mem::take(&mut self.batch);
        let messages = &batch.messages;
        let mut tickets = batch.tickets.drain(..).peekable();
        let mut pressure = Pressure::default();
        let (mut done, mut at_once) = (0, messages.len());
        while done < messages.len() {
            let part = &messages[done..messages.len().min(done + at_once)];
            let shared = Arc::clone(&self.shared);
            let publish = shared.hub.publish(part, self.id, &mut pressure, now());
            let refused = self.beside(publish).await.err();
            done += refused
                .as_ref()
                .map_or(part.len(), |refused| refused.accepted);
            while let Some((_, ticket)) = tickets.next_if(|(place, _)| *place <= done) {
                self.session.on_done(ticket);
            }
            if let Some(refused) = refused {
                done += 1;
                let ticket = tickets.next_if(|(place, _)| *place == done);
                self.refuse(&refused.refusal, ticket.map(|(_, ticket)| ticket))?;
                // The next one is likely to be refused as well, so only a few are looked at each
                // time.
                at_once = FEW;
            }
        }
        drop(tickets);
        self.send_replies();
        let metrics = &self.shared.metrics;
        metrics.hand_over.observe(now() - self.read_at);
        batch.spare();
        self.relieve(pressure).await;
        Ok(())
    }

    pub(super) async fn commit(
        &mut self,
        transaction: Transaction,
        ticket: Option<Ticket>,
    ) -> Result<(), End> {
        let shared = Arc::clone(&self.shared);
        let held = |number| self.members.held(number);
        let done = shared.hub.commit(&transaction, held, now());
        self.members.note(transaction.subscriptions.iter().copied());
        self.members.dispatch(now()).await;
        if let Err(refusal) = done {
            return self.refuse(&refusal, ticket);
        }
        let mut messages = &transaction.messages[..];
        while !messages.is_empty() {
            let (part, rest) = messages.split_at(first_batch(messages));
            messages = rest;
            let mut pressure = Pressure::default();
            let hub = &shared.hub;
            self.beside(hub.publish_accepted(part, self.id, &mut pressure, now()))
                .await;
            self.relieve(pressure).await;
        }
        self.done(ticket);
        Ok(())
    }

    /// Waits for work that may take long. Meanwhile the client is not read, but its output and
    /// heart-beats are sent.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut begun = false;
        let done = poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            if !begun {
                begun = true;
                self.session.on_reading(false, now());
            }
            self.flush();
            self.timer
                .arm(self.session.next_beat(&self.outbox.outbound_state()));
            if self.timer.poll_passed(context).is_ready() {
                for due in self.session.on_busy(now(), &self.outbox.outbound_state()) {
                    match due {
                        Due::Beat => self.beat(),
                        Due::Ping => self.ping(),
                        Due::Cut(_) => {}
                    }
                }
                // To write them, and to set the timer.
                context.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        if begun {
            self.session.on_reading(true, now());
        }
        done
    }

    /// Gives slow clients time to catch up.
    async fn relieve(&mut self, mut pressure: Pressure) {
        if pressure.is_empty() {
            return;
        }
        let pauses = self
            .pauses
            .get_or_insert_with(|| Box::new(Pauses::new(self.shared.policy.patience, now())));
        let mut pause = pauses.begin(now());
        while pause.may_go_on(now()) && !self.outbox.has_notices() {
            self.beside(tokio::time::sleep(PULSE)).await;
            self.members.on_outbox_progress(&self.outbox, now()).await;
            if pressure.ease(now()) {
                pause.helped(now());
            }
            if pressure.is_empty() {
                break;
            }
        }
        if self.outbox.has_notices() {
            // Whether waiting helps is not known yet.
            pause.helped(now());
        }
        if let Some(pauses) = &mut self.pauses {
            pauses.end(&pause, now());
        }
    }
}

impl Batch {
    /// Buffers of batches belong to the thread, so that a client that once sent a lot does not keep
    /// them.
    fn take_spare() -> Self {
        SPARE.take()
    }

    fn spare(mut self) {
        self.messages.clear();
        self.tickets.clear();
        self.bytes = 0;
        SPARE.set(self);
    }
}

/// Number of these messages, at least one, that are handed over at once.
fn first_batch(messages: &[Message]) -> usize {
    let mut bytes = 0;
    let full = messages.iter().position(|message| {
        bytes += message.bytes();
        bytes >= BATCH
    });
    full.map_or(messages.len(), |last| last + 1)
}

thread_local! {
    static SPARE: RefCell<Batch> = const {
        RefCell::new(Batch {
            messages: Vec::new(),
            tickets: Vec::new(),
            bytes: 0,
        })
    };
}

/// A batch with this number of bytes is handed over before more is gathered.
const BATCH: usize = 64 * 1024;

/// Number of messages handed over at once after a refusal.
const FEW: usize = 16;

/// How often a waiting publisher checks whether it may continue.
const PULSE: Duration = Duration::from_millis(2);
