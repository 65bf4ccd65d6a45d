//! All queues: those that clients name, and those of subscriptions to topics with acknowledgement.

mod metrics;
mod shared;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tracing::warn;

use crate::config::SlowConsumer;
use crate::engine::destination::Destination;
use crate::engine::message::Message;
use crate::engine::queue::Bounds;
use crate::engine::refusal::Refusal;
use crate::engine::transaction::Transaction;
use crate::metrics::{Counter, Registry};
use crate::subscriber::{Subscriber, SubscriberId};

use self::metrics::Metrics;
use self::shared::Gone;
pub use self::shared::SharedQueue;

/// How queues are set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How much a queue may hold.
    pub bounds: Bounds,
    /// Whether each queue has metrics of its own.
    pub metrics: bool,
}

/// All queues.
#[derive(Debug)]
pub struct Queues {
    common: Arc<Common>,
}

/// What all queues share.
#[derive(Debug)]
struct Common {
    named: DashMap<Destination, Arc<SharedQueue>>,
    private: DashMap<SubscriberId, Arc<SharedQueue>>,
    bounds: Bounds,
    /// Begins the id of each message, see [`crate::hub::Hub::new`].
    prefix: Arc<str>,
    delivered: Counter,
    metrics: Metrics,
}

/// A subscription, and the queue that holds what it has not settled.
pub type Held<'a> = (&'a Subscriber, &'a Arc<SharedQueue>);

impl Queues {
    /// No queues yet; `delivered` counts what they hand over.
    pub fn new(
        prefix: &Arc<str>,
        settings: Settings,
        delivered: Counter,
        registry: &Registry,
    ) -> Self {
        let common = Arc::new(Common {
            named: DashMap::new(),
            private: DashMap::new(),
            bounds: settings.bounds,
            prefix: Arc::clone(prefix),
            delivered,
            metrics: Metrics::new(registry),
        });
        metrics::observe(&common, settings.metrics, registry);
        Self { common }
    }

    /// Makes a subscription a consumer of the queue it names.
    pub fn subscribe(
        &self,
        name: &Destination,
        subscriber: &Arc<Subscriber>,
        now: Instant,
    ) -> Arc<SharedQueue> {
        let queue = self.with(name, |queue| {
            queue.subscribe(subscriber).map(|()| Arc::clone(queue))
        });
        queue.dispatch(now);
        queue
    }

    /// Gives a subscription to topics a queue of its own.
    pub fn private(
        &self,
        subscriber: &Arc<Subscriber>,
        bounds: Bounds,
        policy: SlowConsumer,
    ) -> Arc<SharedQueue> {
        let queue = SharedQueue::private(subscriber, bounds, policy, &self.common);
        self.common
            .private
            .insert(subscriber.id(), Arc::clone(&queue));
        queue
    }

    /// The subscription has ended. Says how many messages are lost with a queue of its own, and
    /// whether the client may still settle something.
    pub fn retire(
        &self,
        subscriber: &Subscriber,
        queue: &Arc<SharedQueue>,
        now: Instant,
    ) -> (usize, bool) {
        match queue.name() {
            Some(_) => (0, queue.retire(subscriber, now)),
            None => (self.remove_private(subscriber, queue), false),
        }
    }

    /// The connection has ended: what was not settled returns. Returns how many messages are lost
    /// with a queue of the subscription's own.
    pub fn end(&self, subscriber: &Subscriber, queue: &Arc<SharedQueue>, now: Instant) -> usize {
        match queue.name() {
            Some(_) => {
                queue.end(subscriber, now);
                0
            }
            None => self.remove_private(subscriber, queue),
        }
    }

    fn remove_private(&self, subscriber: &Subscriber, queue: &SharedQueue) -> usize {
        let removed = self.common.private.remove(&subscriber.id());
        removed.map_or(0, |_| queue.close(subscriber))
    }

    /// Appends messages to the queue they are all sent to. Returns how many it took.
    pub fn push(&self, messages: &[Message], first: u64, now: Instant) -> usize {
        let mut taken = 0;
        self.with(&messages[0].destination, |queue| {
            queue.push(messages, &mut taken, first, now)
        });
        taken
    }

    /// Keeps room for all messages of a transaction that go to queues.
    ///
    /// # Errors
    /// A queue is full; then no room is kept anywhere.
    pub fn reserve(&self, transaction: &Transaction, now: Instant) -> Result<(), Refusal> {
        let mut done: Vec<Reservation<'_>> = Vec::new();
        for one in reservations(&transaction.messages) {
            let reserve = |queue: &Arc<SharedQueue>| queue.reserve(one.messages, one.octets, now);
            if !self.with(one.queue, reserve) {
                for one in &done {
                    self.unreserve(one);
                }
                return Err(Refusal::QueueFull(one.queue.clone()));
            }
            done.push(one);
        }
        Ok(())
    }

    /// Appends messages for which [`Queues::reserve`] has kept room, all to one queue.
    pub fn push_reserved(&self, messages: &[Message], first: u64, now: Instant) {
        let compact: Vec<_> = messages.iter().cloned().map(Arc::new).collect();
        if let Some(queue) = self.get(&messages[0].destination) {
            queue.push_reserved(&compact, first, now);
        }
    }

    /// Settles what a transaction held; `held` finds the queue of a subscription. Returns how many
    /// messages.
    pub fn commit<'a>(
        &self,
        transaction: &Transaction,
        held: impl Fn(u32) -> Option<Held<'a>>,
        now: Instant,
    ) -> usize {
        let mut settled = 0;
        for subscription in &transaction.subscriptions {
            if let Some((subscriber, queue)) = held(*subscription) {
                settled += queue.commit(subscriber, transaction.number);
                queue.dispatch(now);
            }
        }
        settled
    }

    /// Makes what a transaction held unacknowledged again; `held` finds the queue of a subscription.
    /// Returns how many messages.
    pub fn abort<'a>(
        &self,
        transaction: &Transaction,
        held: impl Fn(u32) -> Option<Held<'a>>,
    ) -> usize {
        let queues = transaction.subscriptions.iter().copied().filter_map(held);
        queues
            .map(|(subscriber, queue)| queue.abort(subscriber, transaction.number))
            .sum()
    }

    /// Counts an ACK or NACK that means nothing.
    pub fn count_ignored(&self) {
        self.common.metrics.ignored.inc();
    }

    /// Looks for consumers that an operator should know of: those that have had no credit and
    /// settled nothing for `patience`.
    pub fn tend(&self, now: Instant, patience: Duration) {
        for queue in self.common.all() {
            let starved = queue.starved(now, patience);
            if starved > 0 {
                self.common.metrics.starved.inc_by(starved as u64);
                let name = queue.name().map_or("(a topic)", Destination::as_str);
                warn!(
                    queue = name,
                    consumers = starved,
                    "consumers have acknowledged nothing for {} s and get nothing more",
                    patience.as_secs()
                );
            }
        }
    }

    fn unreserve(&self, one: &Reservation<'_>) {
        if let Some(queue) = self.get(one.queue) {
            queue.unreserve(one.messages, one.octets);
        }
    }

    fn get(&self, name: &Destination) -> Option<Arc<SharedQueue>> {
        self.common
            .named
            .get(name)
            .map(|entry| Arc::clone(entry.value()))
    }

    /// Does something with the queue of this name, which is made if there is none.
    fn with<T>(
        &self,
        name: &Destination,
        mut act: impl FnMut(&Arc<SharedQueue>) -> Result<T, Gone>,
    ) -> T {
        loop {
            let queue = self.get(name).unwrap_or_else(|| {
                let made = || SharedQueue::named(name.clone(), &self.common);
                let entry = self.common.named.entry(name.clone()).or_insert_with(made);
                Arc::clone(entry.value())
            });
            if let Ok(done) = act(&queue) {
                return done;
            }
            // Whoever made it gone is about to do the same.
            self.common.forget(name, &queue);
        }
    }
}

impl Common {
    /// Takes a queue that is gone out of the table, unless there is another one of its name.
    fn forget(&self, name: &Destination, gone: &Arc<SharedQueue>) {
        self.named
            .remove_if(name, |_, queue| Arc::ptr_eq(queue, gone));
    }

    fn all(&self) -> Vec<Arc<SharedQueue>> {
        let named = self.named.iter().map(|entry| Arc::clone(entry.value()));
        let private = self.private.iter().map(|entry| Arc::clone(entry.value()));
        named.chain(private).collect()
    }
}

/// What a transaction brings to one queue.
struct Reservation<'a> {
    queue: &'a Destination,
    messages: usize,
    octets: usize,
}

fn reservations(messages: &[Message]) -> Vec<Reservation<'_>> {
    let mut all: Vec<Reservation<'_>> = Vec::new();
    for message in messages {
        let queue = &message.destination;
        if !queue.is_queue() {
            continue;
        }
        let octets = message.octets();
        match all.iter_mut().find(|one| one.queue == queue) {
            Some(one) => {
                one.messages += 1;
                one.octets += octets;
            }
            None => all.push(Reservation {
                queue,
                messages: 1,
                octets,
            }),
        }
    }
    all
}

/// Messages as queues keep them, so that they keep no read buffer alive.
pub fn compact(messages: &[Message]) -> Vec<Arc<Message>> {
    messages
        .iter()
        .map(|message| Arc::new(message.compact()))
        .collect()
}
