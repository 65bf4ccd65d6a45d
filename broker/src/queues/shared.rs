//! One queue shared by its publishers and its consumers.
//!
//! The lock is held to change the queue, never while anything is written: granted messages are
//! taken out under the lock and handed over after it is released. To keep the order, only one task
//! at a time hands over; another task that makes the queue grant more leaves that to it. A queue
//! that is continuously busy gets its own task, so that no client's task serves others for long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::config::SlowConsumer;
use crate::encoding::{DeliveryIds, EncodedRun};
use crate::engine::ack::AckVerdict;
use crate::engine::destination::Destination;
use crate::engine::memory::allocated;
use crate::engine::message::Message;
use crate::engine::queue::{Bounds, Depth, Grant, Queue, Return, Settled};
use crate::engine::refusal::Refusal;
use crate::engine::subscription::AckMode;
use crate::outbox::{Notice, OutboxBounds, OutboxLoad, Progress, Subscriber, Track};
use crate::turn;

use super::locked::{Locked, State};
use super::{Common, PATIENCE, compact};

/// One queue shared by its publishers and its consumers.
#[derive(Debug)]
pub struct SharedQueue {
    common: Arc<Common>,
    owner: Owner,
    state: Mutex<State>,
}

/// Who owns a queue.
#[derive(Debug)]
enum Owner {
    /// Any client that names it.
    Name(Destination),
    /// A subscription to a topic, with acknowledgement. All private queues of a client share a
    /// bound as large as that of one.
    Subscriber(Arc<Subscriber>, SlowConsumer, Bounds),
}

/// The queue was removed; look it up again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone;

impl SharedQueue {
    pub(super) fn named(name: Destination, common: &Arc<Common>) -> Arc<Self> {
        Self::new(Owner::Name(name), common.bounds, common)
    }

    /// Returns the private queue of a subscription to a topic. It is bounded like an outbox, in
    /// addition to what its consumer may have in flight.
    pub(super) fn private(
        subscriber: &Arc<Subscriber>,
        bounds: Bounds,
        policy: SlowConsumer,
        common: &Arc<Common>,
    ) -> Arc<Self> {
        let owner = Owner::Subscriber(Arc::clone(subscriber), policy, bounds);
        let shared = Self::new(owner, bounds, common);
        let _ = shared.subscribe(subscriber);
        shared
    }

    fn new(owner: Owner, bounds: Bounds, common: &Arc<Common>) -> Arc<Self> {
        Arc::new(Self {
            common: Arc::clone(common),
            owner,
            state: Mutex::new(State {
                queue: Queue::new(bounds, PATIENCE),
                dispatching: false,
                gone: false,
                counted: OutboxLoad::default(),
            }),
        })
    }

    /// Returns the name that clients use; `None` for a private queue.
    pub fn name(&self) -> Option<&Destination> {
        match &self.owner {
            Owner::Name(name) => Some(name),
            Owner::Subscriber(..) => None,
        }
    }

    /// Returns the owner of a private queue.
    pub fn subscriber(&self) -> Option<&Arc<Subscriber>> {
        match &self.owner {
            Owner::Name(_) => None,
            Owner::Subscriber(subscriber, ..) => Some(subscriber),
        }
    }

    /// Whether the consumer exists, and so may have something to settle.
    pub fn has(&self, subscriber: &Subscriber) -> bool {
        self.lock().queue.has(subscriber.id())
    }

    /// Returns how much the queue holds.
    pub fn depth(&self) -> Depth {
        let mut depth = self.lock().queue.depth();
        depth.bytes += self.fixed() + depth.consumers * CONSUMER;
        depth
    }

    /// Returns the memory of an empty queue: its state, its name, its entry in the table.
    fn fixed(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        // The library's table is about two thirds full.
        const PLACE: usize = (size_of::<(Destination, Arc<SharedQueue>)>() + 1) * 3 / 2;
        let name = self.name().map_or(0, |name| name.as_str().len());
        // The text, and its reference counts.
        let text = allocated(name) + allocated(3 * size_of::<usize>());
        allocated(size_of::<Self>() + COUNTS) + PLACE + text
    }

    pub(super) fn subscribe(&self, subscriber: &Arc<Subscriber>) -> Result<(), Gone> {
        let mut state = self.lock();
        if state.gone {
            return Err(Gone);
        }
        let (mode, prefetch) = (
            subscriber.subscription.mode,
            subscriber.subscription.prefetch,
        );
        state
            .queue
            .subscribe(subscriber.id(), mode, prefetch, Arc::clone(subscriber));
        Ok(())
    }

    /// Appends messages, beginning with the one at `taken`, until one does not fit. The first of
    /// all was accepted under the number `first`. Increases `taken` by the number appended, so that
    /// nothing is appended twice if the queue is removed in between.
    pub(super) fn push(
        self: &Arc<Self>,
        messages: &[Message],
        taken: &mut usize,
        first: u64,
        now: Instant,
    ) -> Result<(), Gone> {
        let mut stuck = false;
        while *taken < messages.len() {
            let rest = &messages[*taken..];
            // Only what fits is copied; otherwise each refusal within a run would copy the rest
            // again.
            let fitting = self.lock().queue.fitting(rest);
            let copies = compact(
                &rest[..fitting],
                self.name().unwrap_or(&rest[0].destination),
            );
            let done = self.append(&copies, first + *taken as u64)?;
            *taken += done;
            self.dispatch(now);
            // If it was full, its consumers may have freed room just now.
            if done == 0 && stuck {
                break;
            }
            stuck = done == 0;
        }
        Ok(())
    }

    /// Appends messages until one does not fit. Returns the number appended.
    fn append(&self, messages: &[Arc<Message>], first: u64) -> Result<usize, Gone> {
        let mut state = self.lock();
        if state.gone {
            return Err(Gone);
        }
        turn::add(0, messages.len() * turn::MESSAGE);
        let mut room = self.room();
        let all = messages.iter().zip(first..);
        let fit = all.take_while(|(message, id)| {
            takes(&mut room, message) && state.queue.push(message, *id)
        });
        Ok(fit.count())
    }

    /// Returns how much more the client's private queues may hold together; `None` if no limit
    /// applies.
    fn room(&self) -> Option<Bounds> {
        match &self.owner {
            Owner::Name(_) => None,
            Owner::Subscriber(subscriber, _, bounds) => {
                let bounds = OutboxBounds {
                    bytes: bounds.bytes,
                    messages: bounds.messages,
                    per_run: 0,
                };
                let room = subscriber.outbox.allowance().room(bounds)?;
                Some(Bounds {
                    messages: room.messages,
                    bytes: room.bytes,
                })
            }
        }
    }

    /// Reserves room for the messages of a transaction; `false` if there is none.
    pub(super) fn reserve(
        self: &Arc<Self>,
        messages: usize,
        bytes: usize,
        now: Instant,
    ) -> Result<bool, Gone> {
        let mut state = self.lock();
        if state.gone {
            return Err(Gone);
        }
        if state.queue.reserve(messages, bytes) {
            return Ok(true);
        }
        drop(state);
        self.dispatch(now);
        let mut state = self.lock();
        if state.gone {
            return Err(Gone);
        }
        let reserved = state.queue.reserve(messages, bytes);
        drop(state);
        self.remove_if_unused();
        Ok(reserved)
    }

    /// Releases reserved room.
    pub(super) fn unreserve(self: &Arc<Self>, messages: usize, bytes: usize) {
        self.lock().queue.unreserve(messages, bytes);
        self.remove_if_unused();
    }

    /// Appends messages for which room was reserved.
    pub(super) fn push_reserved(self: &Arc<Self>, messages: &[Message], first: u64, now: Instant) {
        let name = self.name().unwrap_or(&messages[0].destination);
        let copies: Vec<_> = messages
            .iter()
            .map(|message| {
                // A transaction has copied it already. Sharing that copy costs one or two
                // allocations, which matter for a small message.
                let is_large = message.bytes() > LARGE;
                Arc::new(if is_large {
                    message.clone()
                } else {
                    message.compact_to(name)
                })
            })
            .collect();
        {
            let mut state = self.lock();
            for (message, id) in copies.iter().zip(first..) {
                state.queue.push_reserved(message, id);
            }
        }
        self.dispatch(now);
    }

    /// Appends messages of a topic to a private queue. The slow-consumer policy applies to what
    /// does not fit. Returns how many were dropped.
    pub fn push_or_drop(
        self: &Arc<Self>,
        messages: &[Arc<Message>],
        first: u64,
        now: Instant,
    ) -> usize {
        let Owner::Subscriber(subscriber, policy, _) = &self.owner else {
            return 0;
        };
        let (mut done, mut dropped, mut stuck) = (0, 0, false);
        while done < messages.len() {
            // If it was removed, the subscription has ended and nothing is lost.
            let Ok(taken) = self.append(&messages[done..], first + done as u64) else {
                break;
            };
            done += taken;
            self.dispatch(now);
            // If it was full, its consumer may have freed room just now.
            if taken == 0 && stuck {
                if *policy == SlowConsumer::Disconnect {
                    let overflow = Notice::Refuse(Refusal::SlowConsumer);
                    subscriber.outbox.notify(overflow);
                    return dropped + messages.len() - done;
                }
                let made_room = self.lock().queue.drop_oldest_for(&messages[done]);
                done += usize::from(!made_room);
                dropped += 1;
            } else {
                stuck = taken == 0;
            }
        }
        dropped
    }

    /// Handles an ACK or NACK; with `hold` its messages are held for that transaction.
    /// [`SharedQueue::dispatch`] hands over what it makes room for.
    pub fn settle(
        self: &Arc<Self>,
        subscriber: &Subscriber,
        number: u64,
        verdict: AckVerdict,
        hold: Option<u32>,
        now: Instant,
    ) -> Settled {
        let (settled, unused) = {
            let queue = &mut self.lock().queue;
            let settled = queue.settle(subscriber.id(), number, verdict, hold, now);
            (settled, queue.is_unused())
        };
        if let Settled::Done(count) = settled {
            turn::add(0, count * turn::MESSAGE);
            if hold.is_none() {
                self.common.metrics.count_settled(verdict, count);
            }
        }
        if unused {
            self.remove_if_unused();
        }
        settled
    }

    /// Settles what a transaction held. [`SharedQueue::dispatch`] hands over what that makes room
    /// for.
    pub(super) fn commit(self: &Arc<Self>, subscriber: &Subscriber, transaction: u32) {
        let counts = self.lock().queue.commit(subscriber.id(), transaction);
        for verdict in [AckVerdict::Ack, AckVerdict::Requeue, AckVerdict::Drop] {
            self.common
                .metrics
                .count_settled(verdict, counts[verdict as usize]);
        }
        self.remove_if_unused();
        turn::add(0, counts.iter().sum::<usize>() * turn::MESSAGE);
    }

    /// Releases what a transaction held.
    pub(super) fn abort(&self, subscriber: &Subscriber, transaction: u32, now: Instant) {
        let count = self.lock().queue.abort(subscriber.id(), transaction, now);
        turn::add(0, count * turn::MESSAGE);
    }

    /// The outbox of a consumer in mode `auto` has written some of its deliveries.
    pub fn settle_written(self: &Arc<Self>, subscriber: &Subscriber, now: Instant) {
        let written = subscriber.progress.written();
        let settled = self
            .lock()
            .queue
            .settle_written(subscriber.id(), written, now);
        self.common.metrics.count_settled(AckVerdict::Ack, settled);
        self.dispatch(now);
        self.remove_if_unused();
    }

    /// The outbox of a consumer has room again.
    pub fn resume(self: &Arc<Self>, subscriber: &Subscriber, now: Instant) {
        self.lock().queue.resume(subscriber.id(), now);
        self.dispatch(now);
    }

    /// Handles the end of the subscription that owns this queue. Drops all messages, because cached
    /// audiences may still refer to the queue. Returns the number of messages of which its client
    /// has seen nothing.
    pub(super) fn close(&self, subscriber: &Subscriber) -> usize {
        let begun = subscriber.progress.begun();
        let mut state = self.lock();
        state.gone = true;
        state.queue.retire(subscriber.id(), begun);
        let left = state.queue.depth().ready;
        let queue = std::mem::replace(&mut state.queue, Queue::new(self.common.bounds, PATIENCE));
        drop(state);
        drop(queue);
        left
    }

    /// Handles the end of a subscription whose outbox accepts no more. Returns whether the client
    /// has seen a message that it may still settle.
    pub(super) fn retire(self: &Arc<Self>, subscriber: &Subscriber, now: Instant) -> bool {
        let (begun, written) = (subscriber.progress.begun(), subscriber.progress.written());
        let auto = subscriber.subscription.mode == AckMode::Auto;
        let (settled, done) = {
            let queue = &mut self.lock().queue;
            let settled = auto.then(|| queue.settle_written(subscriber.id(), written, now));
            (settled, queue.retire(subscriber.id(), begun))
        };
        let settled = settled.unwrap_or_default();
        self.common.metrics.count_settled(AckVerdict::Ack, settled);
        self.dispatch(now);
        self.remove_if_unused();
        !done
    }

    /// Handles the end of a connection whose outbox accepts no more, and why it ended.
    pub(super) fn end(self: &Arc<Self>, subscriber: &Subscriber, cause: Return, now: Instant) {
        let (begun, written) = (subscriber.progress.begun(), subscriber.progress.written());
        let auto = subscriber.subscription.mode == AckMode::Auto;
        let (settled, redelivered) = {
            let queue = &mut self.lock().queue;
            let settled = auto.then(|| queue.settle_written(subscriber.id(), written, now));
            (settled, queue.end(subscriber.id(), begun, cause))
        };
        let settled = settled.unwrap_or_default();
        self.common.metrics.count_settled(AckVerdict::Ack, settled);
        self.common.metrics.redelivered.inc_by(redelivered as u64);
        self.dispatch(now);
        self.remove_if_unused();
    }

    /// Returns the number of consumers that have had no credit and settled nothing for
    /// [`PATIENCE`] since the last call.
    pub(super) fn starved(&self, now: Instant) -> usize {
        self.lock().queue.on_timeout(now).len()
    }

    /// Hands over what the queue grants, unless another task is doing so.
    pub fn dispatch(self: &Arc<Self>, now: Instant) {
        {
            let mut state = self.lock();
            if state.dispatching || !state.queue.can_take() {
                return;
            }
            state.dispatching = true;
        }
        for _ in 0..ROUNDS {
            if !self.round(now) {
                return;
            }
        }
        let queue = Arc::clone(self);
        tokio::spawn(async move {
            while queue.round(tokio::time::Instant::now().into_std()) {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Hands over once; `false` if there was nothing, in which case this task is no longer the one
    /// that hands over.
    fn round(&self, now: Instant) -> bool {
        let grants = {
            let mut state = self.lock();
            let grants = state.queue.take(BUDGET, now);
            state.dispatching = !grants.is_empty();
            grants
        };
        for grant in &grants {
            self.hand_over(grant, now);
        }
        !grants.is_empty()
    }

    fn hand_over(&self, grant: &Grant<Arc<Subscriber>>, now: Instant) {
        let subscriber = &grant.handle;
        let Some(encoded) = self.encode(grant) else {
            return;
        };
        turn::add(
            1,
            encoded.bytes().len() + grant.entries.len() * turn::MESSAGE,
        );
        let auto = subscriber.subscription.mode == AckMode::Auto;
        let track = Track {
            progress: Arc::clone(&subscriber.progress),
            first: grant.first,
            reports: auto,
        };
        let number = subscriber.subscription.number;
        let outbox = &subscriber.outbox;
        let delivered = outbox.deliver(&Arc::new(encoded), number, &subscriber.ended, track, now);
        let mut settled = 0;
        if auto || delivered.full || !delivered.taken {
            let mut state = self.lock();
            if !delivered.taken {
                state.queue.reject(grant.consumer, grant.first);
            } else if delivered.full {
                state.queue.pause(grant.consumer);
            }
            if auto {
                let written = subscriber.progress.written();
                settled = state.queue.settle_written(grant.consumer, written, now);
            }
        }
        self.common.metrics.count_settled(AckVerdict::Ack, settled);
        if delivered.taken {
            self.common.delivered.inc_by(grant.entries.len() as u64);
        }
        // Checked only after the queue is paused, so that no signal is missed.
        if delivered.full && outbox.wait_for_room(number) {
            self.lock().queue.resume(grant.consumer, now);
        }
    }

    fn encode(&self, grant: &Grant<Arc<Subscriber>>) -> Option<EncodedRun> {
        let subscriber = &grant.handle;
        let subscription = &subscriber.subscription;
        let own;
        let ids = match subscription.mode {
            AckMode::Auto => DeliveryIds {
                prefix: &self.common.prefix,
                acknowledged: false,
                first: grant.first,
            },
            AckMode::Client | AckMode::Individual => {
                own = format!("{}-{}", subscriber.session, subscription.number);
                DeliveryIds {
                    prefix: &own,
                    acknowledged: true,
                    first: grant.first,
                }
            }
        };
        let id = subscription.id.as_deref();
        ids.encode(subscriber.kind, id, &grant.entries)
    }

    /// Removes the queue if it is unused, so that names cost nothing.
    fn remove_if_unused(self: &Arc<Self>) {
        let Owner::Name(name) = &self.owner else {
            return;
        };
        {
            let mut state = self.lock();
            if state.gone || !state.queue.is_unused() {
                return;
            }
            state.gone = true;
        }
        self.common.forget(name, self);
    }

    /// The lock is held for a few instructions per message. A panic under it would be a defect of
    /// the queue itself; continuing serves the clients better than failing each of them.
    fn lock(&self) -> Locked<'_> {
        Locked {
            state: self.state.lock().unwrap_or_else(PoisonError::into_inner),
            allowance: match &self.owner {
                Owner::Name(_) => None,
                Owner::Subscriber(subscriber, ..) => Some(subscriber.outbox.allowance()),
            },
        }
    }
}

/// Subtracts a message from `room`; `false` if it does not fit.
fn takes(room: &mut Option<Bounds>, message: &Message) -> bool {
    let Some(room) = room else {
        return true;
    };
    let left = room.bytes.checked_sub(message.held());
    match (room.messages.checked_sub(1), left) {
        (Some(messages), Some(bytes)) => {
            *room = Bounds { messages, bytes };
            true
        }
        _ => false,
    }
}

/// Maximum of one grant: enough to write many at once, and small enough to hold twice.
const BUDGET: Bounds = Bounds {
    messages: 256,
    bytes: 256 * 1024,
};

/// Number of times a client's task hands over for others before it leaves that to a separate task.
const ROUNDS: usize = 8;

/// The memory of a consumer in addition to its place in the queue.
const CONSUMER: usize = allocated(size_of::<Subscriber>() + 2 * size_of::<usize>())
    + allocated(size_of::<Progress>() + 2 * size_of::<usize>());

/// A message with more text is shared with the transaction that contained it.
const LARGE: usize = 4096;
