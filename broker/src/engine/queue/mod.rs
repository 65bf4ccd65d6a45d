//! A queue: messages wait in order, and each is delivered to one of the consumers.
//!
//! The caller tells a queue what happened (a message arrived, a consumer settled one), then calls
//! [`Queue::take`] and hands what that grants to the consumers. A queue has no access to outboxes:
//! the caller reports with [`Queue::pause`], [`Queue::resume`] and [`Queue::reject`] what a
//! consumer can take.
//!
//! ```text
//!             take                    ACK, written (auto), NACK requeue:false
//!  ready ─────────────► in flight ───────────────────────────────────────────► gone
//!    ▲                      │ ▲
//!    │ NACK, lost, rejected │ │ ABORT
//!    └──────────────────────┤ │
//!                           ▼ │   COMMIT
//!                          held ──────────────► gone, or ready again
//! ```
//!
//! Returned messages take their original place: each message has a position, and all messages that
//! were ever taken precede those that were not.

mod consumer;
mod entry;
mod flights;
mod lanes;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SessionId;
use super::ack::AckVerdict;
use super::memory;
use super::message::{Message, PLACE};
use super::subscription::{AckMode, Prefetch};

pub use self::entry::{Entry, Return};

use self::consumer::Consumer;
use self::lanes::Lanes;

/// Identifies a consumer: its session, and the number of its subscription there.
pub type ConsumerId = (SessionId, u32);

/// How much a queue may hold, or grant at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Number of ready messages, so without those that consumers have.
    pub messages: usize,
    /// Number of bytes that all messages hold, ready or with a consumer (see [`Message::held`]).
    /// For a grant: bytes of bodies and headers.
    pub bytes: usize,
}

/// The result of an ACK or NACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Number of messages that were settled, or held for a transaction. It is also the number of
    /// deliveries that were visited.
    Done(usize),
    /// None: the delivery was settled before, or a transaction holds it.
    Ignored,
    /// There never was such a delivery.
    Unknown,
}

/// Messages for one consumer, in order, with consecutive numbers.
#[derive(Debug)]
pub struct Grant<H> {
    /// The consumer that receives them.
    pub consumer: ConsumerId,
    /// The handle passed to [`Queue::subscribe`].
    pub handle: H,
    /// The number of the first message; the others follow. Counted from 1 for each consumer.
    pub first: u64,
    /// The messages, at least one.
    pub entries: Vec<Entry>,
}

/// What operators need to know about a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Depth {
    /// Messages that wait for a consumer.
    pub ready: usize,
    /// Messages that consumers have and have not settled.
    pub unacknowledged: usize,
    /// Memory that all these messages, the consumers and the queue itself take.
    pub bytes: usize,
    /// Consumers, without those whose subscription has ended.
    pub consumers: usize,
}

/// One queue; `H` is the handle by which consumers are reached.
#[derive(Debug)]
pub struct Queue<H> {
    bounds: Bounds,
    lanes: Lanes,
    /// Room reserved for transactions that are being committed.
    reserved: Load,
    consumers: HashMap<ConsumerId, Consumer<H>>,
    /// Consumers that can receive a message, the next one first. Some may have no credit or have
    /// been removed.
    ring: VecDeque<ConsumerId>,
    /// Number of removed consumers in the ring.
    gone: usize,
    /// For how long a consumer may have no credit and settle nothing before it is reported.
    patience: Duration,
    /// No consumer is to be reported before this; later by what consumers have settled since.
    report_at: Option<Instant>,
}

/// A number of messages, and their bytes: of text where credit is counted, else what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Number of messages.
    pub messages: usize,
    /// Number of bytes.
    pub bytes: usize,
}

impl<H: Clone> Queue<H> {
    /// Returns an empty queue without consumers. A consumer that has had no credit and settled
    /// nothing for `patience` is reported.
    pub fn new(bounds: Bounds, patience: Duration) -> Self {
        Self {
            bounds,
            lanes: Lanes::default(),
            reserved: Load::default(),
            consumers: HashMap::new(),
            ring: VecDeque::new(),
            gone: 0,
            patience,
            report_at: None,
        }
    }

    /// Appends a message that was accepted under the number `id`. `false` if there is no room for
    /// it; one message always fits an empty queue.
    pub fn push(&mut self, message: &Arc<Message>, id: u64) -> bool {
        let held = message.held();
        let fits = self.fits(Load {
            messages: 1,
            bytes: held,
        });
        if fits {
            self.lanes.push(message, id, held);
        }
        fits
    }

    /// Returns how many of these messages, beginning with the first, fit now.
    pub fn fitting(&self, messages: &[Message]) -> usize {
        let mut load = Load::default();
        let mut fits = |message: &&Message| {
            load.messages += 1;
            load.bytes = load.bytes.saturating_add(message.held());
            self.fits(load)
        };
        messages.iter().take_while(|message| fits(message)).count()
    }

    /// Reserves room for messages that [`Queue::push_reserved`] will append; `bytes` is what they
    /// hold together. `false` if there is no room.
    pub fn reserve(&mut self, messages: usize, bytes: usize) -> bool {
        let load = Load { messages, bytes };
        let fits = self.fits(load);
        if fits {
            self.reserved.messages += messages;
            self.reserved.bytes += bytes;
        }
        fits
    }

    /// Releases reserved room.
    pub fn unreserve(&mut self, messages: usize, bytes: usize) {
        self.reserved.messages -= messages;
        self.reserved.bytes -= bytes;
    }

    /// Appends a message for which room was reserved.
    pub fn push_reserved(&mut self, message: &Arc<Message>, id: u64) {
        let held = message.held();
        self.unreserve(1, held);
        self.lanes.push(message, id, held);
    }

    /// Removes the oldest ready message.
    pub fn drop_oldest(&mut self) -> bool {
        self.lanes.drop_oldest()
    }

    /// Like [`Queue::drop_oldest`], but only if the message would fit once all ready messages are
    /// dropped.
    pub fn drop_oldest_for(&mut self, message: &Message) -> bool {
        let in_flight = self.lanes.in_flight() + self.reserved.bytes;
        let could_fit =
            in_flight == 0 || in_flight.saturating_add(message.held()) <= self.bounds.bytes;
        could_fit && self.drop_oldest()
    }

    /// Adds a consumer.
    pub fn subscribe(&mut self, id: ConsumerId, mode: AckMode, prefetch: Prefetch, handle: H) {
        let mut consumer = Consumer::new(handle, mode, prefetch);
        if consumer.enter_ring() {
            self.ring.push_back(id);
        }
        self.consumers.insert(id, consumer);
    }

    /// Ends the subscription of a consumer. Deliveries after `begun`, which it has not seen, return
    /// as new; it may still settle those it has seen, but no transaction holds them any more.
    /// Returns whether it has nothing to settle, in which case it is removed.
    pub fn retire(&mut self, id: ConsumerId, begun: u64) -> bool {
        self.reject_from(id, begun + 1);
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return true;
        };
        consumer.retire();
        if std::mem::take(&mut consumer.in_ring) {
            self.leave_ring();
        }
        self.remove_if_done(id)
    }

    /// Ends the connection of a consumer. Unsettled deliveries return: those after `begun` as new,
    /// the others for this cause. Returns how many of these there are.
    pub fn end(&mut self, id: ConsumerId, begun: u64, cause: Return) -> usize {
        self.reject_from(id, begun + 1);
        let Some(mut consumer) = self.consumers.remove(&id) else {
            return 0;
        };
        memory::shrink_table(&mut self.consumers);
        let count = consumer.flights.len();
        consumer
            .flights
            .take_from(0, |entry| self.lanes.put_back(entry, Some(cause)));
        if consumer.in_ring {
            self.leave_ring();
        }
        count
    }

    /// Handles a consumer's ACK or NACK for the delivery with this number and, in mode `client`,
    /// all before it. With `hold` it is postponed: the messages are held for that transaction.
    pub fn settle(
        &mut self,
        id: ConsumerId,
        number: u64,
        verdict: AckVerdict,
        hold: Option<u32>,
        now: Instant,
    ) -> Settled {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return Settled::Ignored;
        };
        if consumer.mode == AckMode::Auto {
            return Settled::Ignored;
        }
        if !consumer.flights.was_given(number) {
            return Settled::Unknown;
        }
        let cumulative = consumer.mode == AckMode::Client;
        let flights = &mut consumer.flights;
        let done = match hold {
            Some(transaction) => flights.hold(number, cumulative, transaction, verdict),
            None => flights.settle(number, cumulative, |entry| {
                self.lanes.settle(entry, verdict);
            }),
        };
        if done == 0 {
            return Settled::Ignored;
        }
        self.on_settled(id, now);
        Settled::Done(done)
    }

    /// Settles what a transaction held. Returns the numbers of messages acknowledged, returned and
    /// dropped. No other deliveries are visited.
    pub fn commit(&mut self, id: ConsumerId, transaction: u32) -> [usize; 3] {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return [0; 3];
        };
        let mut counts = [0; 3];
        let flights = &mut consumer.flights;
        flights.commit(transaction, |entry, verdict| {
            counts[verdict as usize] += 1;
            self.lanes.settle(entry, verdict);
        });
        self.remove_if_done(id);
        counts
    }

    /// Makes what a transaction held unacknowledged again. Returns the number of messages. No other
    /// deliveries are visited.
    pub fn abort(&mut self, id: ConsumerId, transaction: u32, now: Instant) -> usize {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return 0;
        };
        let released = consumer.flights.release(transaction);
        self.update_credit(id, now);
        released
    }

    /// Settles, in mode `auto`, the deliveries up to this number, which the kernel has taken.
    /// Returns the number of messages settled.
    pub fn settle_written(&mut self, id: ConsumerId, number: u64, now: Instant) -> usize {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return 0;
        };
        let flights = &mut consumer.flights;
        let count = flights.settle(number, true, |entry| {
            self.lanes.settle(entry, AckVerdict::Ack);
        });
        if count > 0 {
            self.on_settled(id, now);
        }
        count
    }

    /// Stops granting to a consumer that has no room now.
    pub fn pause(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.pause();
        }
    }

    /// Continues granting to a consumer.
    pub fn resume(&mut self, id: ConsumerId, now: Instant) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.resume();
            self.update_credit(id, now);
        }
    }

    /// Handles deliveries that a consumer did not accept, from this number on: they return as new,
    /// and the consumer receives nothing more.
    pub fn reject(&mut self, id: ConsumerId, first: u64) {
        self.pause(id);
        self.reject_from(id, first);
    }

    /// Grants messages to consumers, one to each in turn, oldest message first: at most the
    /// messages of `budget`, ending with the message that reaches its bytes.
    pub fn take(&mut self, budget: Bounds, now: Instant) -> Vec<Grant<H>> {
        let mut grants: Vec<Grant<H>> = Vec::new();
        let mut places: HashMap<ConsumerId, usize> = HashMap::new();
        let mut bytes = 0;
        for _ in 0..budget.messages {
            if bytes >= budget.bytes {
                break;
            }
            let Some(id) = self.next_consumer() else {
                break;
            };
            let Some(consumer) = self.consumers.get_mut(&id) else {
                break;
            };
            let Some(entry) = self.lanes.take(consumer.cursor()) else {
                self.ring.push_front(id);
                break;
            };
            bytes += entry.bytes;
            let number = consumer.flights.add(entry.clone());
            consumer.in_ring = consumer.has_credit();
            if consumer.in_ring {
                self.ring.push_back(id);
            } else {
                consumer.on_credit_changed(now);
                let report_at = consumer.report_at(self.patience);
                self.report_at = earliest(self.report_at, report_at);
            }
            let place = match grants.last() {
                // Most often there is only one consumer, or only one with credit.
                Some(last) if last.consumer == id => grants.len() - 1,
                _ => *places.entry(id).or_insert_with(|| {
                    grants.push(Grant {
                        consumer: id,
                        handle: consumer.handle.clone(),
                        first: number,
                        entries: Vec::new(),
                    });
                    grants.len() - 1
                }),
            };
            grants[place].entries.push(entry);
        }
        self.lanes.shrink();
        grants
    }

    /// Whether [`Queue::take`] would grant anything.
    pub fn can_take(&mut self) -> bool {
        if self.lanes.is_empty() {
            return false;
        }
        let next = self.next_consumer();
        if let Some(id) = next {
            self.ring.push_front(id);
        }
        next.is_some()
    }

    /// Whether nothing would be lost if the queue were removed.
    pub fn is_unused(&self) -> bool {
        self.consumers.is_empty() && self.lanes.is_empty() && self.reserved.messages == 0
    }

    /// Whether this consumer exists.
    pub fn has(&self, id: ConsumerId) -> bool {
        self.consumers.contains_key(&id)
    }

    /// Returns the size of the queue for operators.
    pub fn depth(&self) -> Depth {
        let mut depth = Depth {
            ready: self.lanes.len(),
            bytes: memory::table(&self.consumers) + memory::line(&self.ring),
            ..Depth::default()
        };
        for consumer in self.consumers.values() {
            depth.unacknowledged += consumer.flights.len();
            depth.bytes += consumer.flights.lines();
            depth.consumers += usize::from(!consumer.is_retired());
        }
        let messages = depth.ready + depth.unacknowledged;
        // The lines are counted by their capacity, so the places of the messages are not.
        depth.bytes += self.lanes.held() - messages * PLACE + self.lanes.memory();
        depth
    }

    /// Returns the number of ready messages and what all messages hold, which [`Bounds`] limit.
    pub fn load(&self) -> Load {
        Load {
            messages: self.lanes.len(),
            bytes: self.lanes.held(),
        }
    }

    /// Returns when to call [`Queue::on_timeout`] next, if nothing happens until then.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.report_at
    }

    /// Returns the consumers that have had no credit and settled nothing for the patience of
    /// [`Queue::new`], each only once until it settles something. Visits all consumers if the time
    /// of [`Queue::next_timeout`] has come, else none.
    pub fn on_timeout(&mut self, now: Instant) -> Vec<ConsumerId> {
        let mut starved = Vec::new();
        if self.report_at.is_none_or(|at| now < at) {
            return starved;
        }
        self.report_at = None;
        for (id, consumer) in &mut self.consumers {
            let report_at = consumer.report_at(self.patience);
            if report_at.is_some_and(|at| at <= now) {
                consumer.on_reported();
                starved.push(*id);
            } else {
                self.report_at = earliest(self.report_at, report_at);
            }
        }
        starved
    }

    fn fits(&self, load: Load) -> bool {
        let messages = self.lanes.len() + self.reserved.messages;
        let bytes = self.lanes.held() + self.reserved.bytes;
        (bytes == 0 && load.messages <= 1)
            || (messages + load.messages <= self.bounds.messages
                && bytes.saturating_add(load.bytes) <= self.bounds.bytes)
    }

    /// Returns the next consumer that can receive a message; it leaves the ring.
    fn next_consumer(&mut self) -> Option<ConsumerId> {
        while let Some(id) = self.ring.pop_front() {
            let present = self.consumers.get_mut(&id);
            let Some(consumer) = present.filter(|consumer| !consumer.is_retired()) else {
                self.gone -= 1;
                continue;
            };
            if consumer.has_credit() {
                return Some(id);
            }
            consumer.in_ring = false;
        }
        None
    }

    fn on_settled(&mut self, id: ConsumerId, now: Instant) {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return;
        };
        consumer.on_settled();
        if consumer.is_done() {
            self.remove_if_done(id);
        } else {
            self.update_credit(id, now);
        }
    }

    /// Adds a consumer to the ring if it can receive a message, else notes since when it cannot.
    fn update_credit(&mut self, id: ConsumerId, now: Instant) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer.on_credit_changed(now);
            if consumer.enter_ring() {
                self.ring.push_back(id);
            }
            self.report_at = earliest(self.report_at, consumer.report_at(self.patience));
        }
    }

    /// Removes a consumer whose subscription has ended when it has nothing left to settle.
    fn remove_if_done(&mut self, id: ConsumerId) -> bool {
        let done = self.consumers.get(&id).is_none_or(Consumer::is_done);
        if done && self.consumers.remove(&id).is_some() {
            memory::shrink_table(&mut self.consumers);
        }
        done
    }

    fn reject_from(&mut self, id: ConsumerId, first: u64) {
        if let Some(consumer) = self.consumers.get_mut(&id) {
            consumer
                .flights
                .take_from(first, |entry| self.lanes.put_back(entry, None));
        }
    }

    /// Counts one more removed consumer in the ring. When they are many they are taken out, so that
    /// the ring does not grow as consumers come and go.
    fn leave_ring(&mut self) {
        self.gone += 1;
        if self.gone > self.ring.len() / 2 {
            self.ring.retain(|id| {
                let consumer = self.consumers.get(id);
                consumer.is_some_and(|consumer| !consumer.is_retired())
            });
            memory::shrink(&mut self.ring);
            self.gone = 0;
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
