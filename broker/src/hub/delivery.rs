//! The delivery of a batch of messages to its receivers.

use std::sync::Arc;
use std::time::Instant;

use bytestring::ByteString;
use smallvec::SmallVec;

use super::audience::{Audience, Cohort};
use crate::encoding::{EncodedRun, Kind, RunEncoder};
use crate::engine::SessionId;
use crate::engine::message::Message;
use crate::outbox::{Outbox, Press, Pushed, Subscriber, Write};
use crate::queues::{self, SharedQueue};
use crate::turn;

/// The clients whose outboxes a publisher has filled above the high mark. The publisher's
/// own client is not read for a while, see [`Pressure::ease`].
#[derive(Debug, Default)]
pub struct Pressure(Vec<Arc<Outbox>>);

/// A batch in delivery: what is still to be written, and the counts so far.
pub(super) struct Delivery<'a> {
    publisher: SessionId,
    now: Instant,
    to_flush: Vec<Arc<Outbox>>,
    pressure: &'a mut Pressure,
    pub(super) accepted: usize,
    pub(super) dropped: usize,
}

/// The encodings of one run that may be needed again, since several cohorts can have the same
/// encoding. Few, to save memory.
#[derive(Default)]
struct EncodedRuns {
    made: SmallVec<[Made; 4]>,
    next: usize,
}

struct Made {
    kind: Kind,
    id: Option<ByteString>,
    encoded: Arc<EncodedRun>,
}

impl Pressure {
    /// Removes the clients that publishers need not wait for any longer. Returns whether one of
    /// them has freed room; the others did not in time.
    pub fn ease(&mut self, now: Instant) -> bool {
        let mut eased = false;
        self.0.retain(|outbox| {
            let press = outbox.press(now);
            eased |= press == Press::Eased;
            press == Press::Holds
        });
        eased
    }

    /// Whether there are no clients to wait for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, outbox: &Arc<Outbox>) {
        if !self.0.iter().any(|known| Arc::ptr_eq(known, outbox)) {
            self.0.push(Arc::clone(outbox));
        }
    }
}

impl<'a> Delivery<'a> {
    pub(super) fn new(publisher: SessionId, now: Instant, pressure: &'a mut Pressure) -> Self {
        Self {
            publisher,
            now,
            to_flush: Vec::new(),
            pressure,
            accepted: 0,
            dropped: 0,
        }
    }

    /// Delivers a run to its audiences; the first message was accepted under the number `first`.
    pub(super) async fn deliver(
        &mut self,
        audiences: &[Audience],
        run: &[Message],
        first: u64,
        mut run_encoder: RunEncoder<'_>,
        write: Write,
    ) {
        let mut encoded_runs = EncodedRuns::default();
        let mut compact = None;
        for cohort in audiences.iter().flat_map(Audience::cohorts) {
            match &**cohort {
                Cohort::Direct { kind, id, members } => {
                    let mut encoded = None;
                    for member in members {
                        if self.is_own(member) {
                            continue;
                        }
                        if encoded.is_none() {
                            encoded = Some(encoded_runs.get(*kind, id.as_ref(), &mut run_encoder));
                            self.pause_if_over().await;
                        }
                        if let Some(encoded) = &encoded {
                            self.push(member, encoded, write);
                        }
                        if turn::is_over_in_batch() {
                            self.pause().await;
                        }
                    }
                }
                Cohort::Queued(queues) => {
                    for queue in queues {
                        let compact = compact
                            .get_or_insert_with(|| queues::compact(run, &run[0].destination));
                        self.queue(queue, compact, first);
                        if turn::is_over_in_batch() {
                            self.pause().await;
                        }
                    }
                }
            }
        }
    }

    /// Yields to other tasks if the turn is over.
    pub(super) async fn pause_if_over(&mut self) {
        if turn::is_over_in_batch() {
            self.pause().await;
        }
    }

    /// Writes the messages whose write was postponed.
    pub(super) async fn flush(&mut self) {
        for outbox in std::mem::take(&mut self.to_flush) {
            outbox.flush_for_owner(self.now);
            turn::end_if_over().await;
        }
    }

    /// Ends the turn and yields. Before that, writes what was postponed, which would otherwise wait
    /// for the rest of the batch.
    async fn pause(&mut self) {
        self.flush().await;
        turn::end().await;
    }

    fn push(&mut self, member: &Subscriber, encoded: &Arc<EncodedRun>, write: Write) {
        let (outbox, number) = (&member.outbox, member.subscription.number);
        let pushed = outbox.push(encoded, number, &member.ended, write, self.now);
        turn::add(1, pushed.written);
        self.count(pushed, outbox);
    }

    /// Appends a run to the private queue of a receiver.
    fn queue(&mut self, queue: &Arc<SharedQueue>, run: &[Arc<Message>], first: u64) {
        turn::add(1, 0);
        if !queue.subscriber().is_some_and(|member| self.is_own(member)) {
            self.dropped += queue.push_or_drop(run, first, self.now);
        }
    }

    fn is_own(&self, member: &Subscriber) -> bool {
        member.subscription.no_local && member.session == self.publisher
    }

    fn count(&mut self, pushed: Pushed, outbox: &Arc<Outbox>) {
        self.accepted += pushed.accepted;
        self.dropped += pushed.dropped;
        if pushed.flush {
            self.to_flush.push(Arc::clone(outbox));
        }
        if pushed.pressed {
            self.pressure.add(outbox);
        }
    }
}

impl EncodedRuns {
    fn get(
        &mut self,
        kind: Kind,
        id: Option<&ByteString>,
        run_encoder: &mut RunEncoder<'_>,
    ) -> Arc<EncodedRun> {
        let is_it = |made: &&Made| made.kind == kind && made.id.as_ref() == id;
        if let Some(made) = self.made.iter().find(is_it) {
            return Arc::clone(&made.encoded);
        }
        let encoded = Arc::new(run_encoder.encode(kind, id.map(|id| &**id)));
        turn::add(1, encoded.bytes().len());
        let made = Made {
            kind,
            id: id.cloned(),
            encoded: Arc::clone(&encoded),
        };
        match self.made.get_mut(self.next) {
            Some(oldest) => *oldest = made,
            None => self.made.push(made),
        }
        self.next = (self.next + 1) % self.made.inline_size();
        encoded
    }
}
