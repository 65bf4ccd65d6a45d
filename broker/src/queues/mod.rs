//! All queues: named ones, and private ones of subscriptions to topics with acknowledgement.

mod locked;
mod metrics;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tracing::warn;

use crate::config::SlowConsumer;
use crate::engine::destination::{Destination, Pattern};
use crate::engine::message::Message;
use crate::engine::queue::{Bounds, Return};
use crate::engine::refusal::Refusal;
use crate::engine::transaction::Transaction;
use crate::metrics::{Counter, Registry};
use crate::outbox::{Subscriber, SubscriberId};

use self::metrics::Metrics;
use self::shared::Gone;
pub use self::shared::SharedQueue;

/// Settings of queues.
#[derive(Clone, Copy, Debug)]
pub struct QueueSettings {
    /// How much a queue may hold.
    pub bounds: Bounds,
    /// Maximum number of queues.
    pub queues: usize,
    /// Number of queues, those with the most messages, that have metrics of their own.
    pub named: Option<usize>,
}

/// All queues.
#[derive(Debug)]
pub struct Queues {
    common: Arc<Common>,
}

/// State that all queues share.
#[derive(Debug)]
struct Common {
    named: DashMap<Destination, Arc<SharedQueue>>,
    /// Number of named queues; the table itself would have to ask each of its shards.
    count: AtomicUsize,
    private: DashMap<SubscriberId, Arc<SharedQueue>>,
    bounds: Bounds,
    /// Maximum number of queues.
    most: usize,
    /// The first part of each message id, see [`crate::hub::Hub::new`].
    prefix: Arc<str>,
    delivered: Counter,
    metrics: Metrics,
}

/// A subscription, and the queue that holds its unsettled messages.
pub type Held<'a> = (&'a Subscriber, &'a Arc<SharedQueue>);

impl Queues {
    /// Returns an empty set of queues; `delivered` counts the messages they hand over.
    pub fn new(
        prefix: &Arc<str>,
        settings: QueueSettings,
        delivered: Counter,
        registry: &Registry,
    ) -> Self {
        let common = Arc::new(Common {
            named: DashMap::with_shard_amount(SHARDS),
            count: AtomicUsize::new(0),
            private: DashMap::with_shard_amount(SHARDS),
            bounds: settings.bounds,
            most: settings.queues,
            prefix: Arc::clone(prefix),
            delivered,
            metrics: Metrics::new(registry),
        });
        metrics::observe(&common, settings, registry);
        Self { common }
    }

    /// Creates the queue that a SUBSCRIBE names if it does not exist; the caller must subscribe at
    /// once.
    ///
    /// # Errors
    /// There are too many queues.
    pub fn prepare(&self, pattern: &Pattern) -> Result<(), Refusal> {
        match pattern {
            Pattern::Exact(name) if name.is_queue() => self.with(name, |_| Ok(())),
            _ => Ok(()),
        }
    }

    /// Makes a subscription a consumer of the queue it names. [`Queues::prepare`] has checked the
    /// limit.
    pub fn subscribe(
        &self,
        name: &Destination,
        subscriber: &Arc<Subscriber>,
        now: Instant,
    ) -> Arc<SharedQueue> {
        loop {
            // It may have been removed since it was prepared. Then the limit may be exceeded
            // briefly.
            let queue = self.get(name).unwrap_or_else(|| self.make(name));
            if queue.subscribe(subscriber).is_ok() {
                queue.dispatch(now);
                return queue;
            }
            self.common.forget(name, &queue);
        }
    }

    /// Creates a private queue for a subscription to topics.
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

    /// Handles the end of a subscription. Returns how many messages are lost with a private queue,
    /// and whether the client may still settle some.
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

    /// Handles the end of a connection: unsettled messages return for this cause. Returns how many
    /// messages are lost with a private queue.
    pub fn end(
        &self,
        subscriber: &Subscriber,
        queue: &Arc<SharedQueue>,
        cause: Return,
        now: Instant,
    ) -> usize {
        match queue.name() {
            Some(_) => {
                queue.end(subscriber, cause, now);
                0
            }
            None => self.remove_private(subscriber, queue),
        }
    }

    fn remove_private(&self, subscriber: &Subscriber, queue: &SharedQueue) -> usize {
        let removed = self.common.private.remove(&subscriber.id());
        removed.map_or(0, |_| queue.close(subscriber))
    }

    /// Appends messages to the queue that is their common destination.
    ///
    /// # Errors
    /// How many it accepted, and why not the next one.
    pub fn push(
        &self,
        messages: &[Message],
        first: u64,
        now: Instant,
    ) -> Result<(), (usize, Refusal)> {
        let mut taken = 0;
        let name = &messages[0].destination;
        let pushed = self.with(name, |queue| queue.push(messages, &mut taken, first, now));
        match pushed {
            Ok(()) if taken == messages.len() => Ok(()),
            Ok(()) => Err((taken, Refusal::QueueFull(name.as_str().into()))),
            Err(refusal) => Err((taken, refusal)),
        }
    }

    /// Reserves room for all messages of a transaction that go to queues.
    ///
    /// # Errors
    /// A queue is full, or there are too many; then no room is reserved anywhere.
    pub fn reserve(&self, transaction: &Transaction, now: Instant) -> Result<(), Refusal> {
        let all = reservations(&transaction.messages);
        for (done, one) in all.iter().enumerate() {
            let reserved = self.with(one.queue, |queue| {
                queue.reserve(one.messages, one.bytes, now)
            });
            let refusal = match reserved {
                Ok(true) => continue,
                Ok(false) => Refusal::QueueFull(one.queue.as_str().into()),
                Err(refusal) => refusal,
            };
            for one in &all[..done] {
                self.unreserve(one);
            }
            return Err(refusal);
        }
        Ok(())
    }

    /// Appends messages, all to one queue, for which [`Queues::reserve`] has reserved room.
    pub fn push_reserved(&self, messages: &[Message], first: u64, now: Instant) {
        if let Some(queue) = self.get(&messages[0].destination) {
            queue.push_reserved(messages, first, now);
        }
    }

    /// Settles what a transaction held; `held` finds the queue of a subscription, which the caller
    /// then dispatches.
    pub fn commit<'a>(&self, transaction: &Transaction, held: impl Fn(u32) -> Option<Held<'a>>) {
        let queues = transaction.subscriptions.iter().copied().filter_map(held);
        queues.for_each(|(subscriber, queue)| queue.commit(subscriber, transaction.number));
    }

    /// Makes what a transaction held unacknowledged again; `held` finds a subscription's queue.
    pub fn abort<'a>(
        &self,
        transaction: &Transaction,
        held: impl Fn(u32) -> Option<Held<'a>>,
        now: Instant,
    ) {
        let queues = transaction.subscriptions.iter().copied().filter_map(held);
        queues.for_each(|(subscriber, queue)| queue.abort(subscriber, transaction.number, now));
    }

    /// Counts an ACK or NACK that has no effect.
    pub fn count_ignored(&self) {
        self.common.metrics.ignored.inc();
    }

    /// Logs and counts consumers that have had no credit and settled nothing for 60 s. Visits all
    /// queues, so it must not run on a thread that serves clients.
    pub fn run_maintenance(&self, now: Instant) {
        let mut unnamed = 0;
        let mut lines = 0;
        self.common.visit(|queue| {
            let starved = queue.starved(now);
            if starved == 0 {
                return;
            }
            self.common.metrics.starved.inc_by(starved as u64);
            lines += 1;
            if lines > LINES {
                unnamed += starved;
                return;
            }
            let name = queue.name().map_or("(a topic)", Destination::as_str);
            warn!(
                queue = name,
                consumers = starved,
                "consumers have acknowledged nothing for {} s and get nothing more",
                PATIENCE.as_secs()
            );
        });
        if unnamed > 0 {
            warn!(
                consumers = unnamed,
                "consumers of further queues have acknowledged nothing"
            );
        }
        self.common.shrink();
    }

    fn unreserve(&self, one: &Reservation<'_>) {
        if let Some(queue) = self.get(one.queue) {
            queue.unreserve(one.messages, one.bytes);
        }
    }

    fn get(&self, name: &Destination) -> Option<Arc<SharedQueue>> {
        self.common
            .named
            .get(name)
            .map(|entry| Arc::clone(entry.value()))
    }

    /// Returns the queue of this name, creating it if it does not exist.
    fn make(&self, name: &Destination) -> Arc<SharedQueue> {
        let made = || {
            self.common.count.fetch_add(1, Ordering::Relaxed);
            SharedQueue::named(name.clone(), &self.common)
        };
        let entry = self.common.named.entry(name.clone()).or_insert_with(made);
        Arc::clone(entry.value())
    }

    /// Calls `act` with the queue of this name. Creates the queue if it does not exist and the
    /// limit allows it. Threads that create one at the same time may each exceed the limit by one.
    fn with<T>(
        &self,
        name: &Destination,
        mut act: impl FnMut(&Arc<SharedQueue>) -> Result<T, Gone>,
    ) -> Result<T, Refusal> {
        loop {
            let queue = match self.get(name) {
                Some(queue) => queue,
                None if self.common.has_room() => self.make(name),
                None => return Err(Refusal::TooManyQueues(self.common.most)),
            };
            if let Ok(done) = act(&queue) {
                return Ok(done);
            }
            // The task that removed it also does this.
            self.common.forget(name, &queue);
        }
    }
}

impl Common {
    /// Removes a queue from the table, unless another one has taken its name.
    fn forget(&self, name: &Destination, gone: &Arc<SharedQueue>) {
        let is_it = |_: &_, queue: &_| Arc::ptr_eq(queue, gone);
        if self.named.remove_if(name, is_it).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < self.most
    }

    /// Calls `show` with each queue. Lets other threads run in between.
    fn visit(&self, mut show: impl FnMut(&Arc<SharedQueue>)) {
        for some in self.all().chunks(VISITS) {
            some.iter().for_each(&mut show);
            thread::yield_now();
        }
    }

    /// Releases spare capacity of tables that were large.
    fn shrink(&self) {
        if self.named.capacity() > FEW && self.named.len() < self.named.capacity() / 8 {
            self.named.shrink_to_fit();
        }
        if self.private.capacity() > FEW && self.private.len() < self.private.capacity() / 8 {
            self.private.shrink_to_fit();
        }
    }

    fn all(&self) -> Vec<Arc<SharedQueue>> {
        let named = self.named.iter().map(|entry| Arc::clone(entry.value()));
        let private = self.private.iter().map(|entry| Arc::clone(entry.value()));
        named.chain(private).collect()
    }
}

/// The messages that a transaction adds to one queue.
struct Reservation<'a> {
    queue: &'a Destination,
    messages: usize,
    bytes: usize,
}

fn reservations(messages: &[Message]) -> Vec<Reservation<'_>> {
    let mut all: Vec<Reservation<'_>> = Vec::new();
    let mut places = HashMap::new();
    for message in messages {
        let queue = &message.destination;
        if !queue.is_queue() {
            continue;
        }
        let place = *places.entry(queue).or_insert_with(|| {
            all.push(Reservation {
                queue,
                messages: 0,
                bytes: 0,
            });
            all.len() - 1
        });
        all[place].messages += 1;
        all[place].bytes += message.held();
    }
    all
}

/// Copies messages of one destination for storage in queues, so that they keep no read buffer
/// alive. They share the text of `destination`.
pub fn compact(messages: &[Message], destination: &Destination) -> Vec<Arc<Message>> {
    messages
        .iter()
        .map(|message| Arc::new(message.compact_to(destination)))
        .collect()
}

/// A consumer that has had no credit and acknowledged nothing for this long is reported.
const PATIENCE: Duration = Duration::from_secs(60);

/// Number of shards of a table of queues. Large, so that growing one shard blocks others for only a
/// few microseconds.
const SHARDS: usize = 256;

/// Number of queues that are visited before other threads may run.
const VISITS: usize = 256;

/// A table with capacity for this number of queues is not worth shrinking.
const FEW: usize = 16 * 1024;

/// Maximum number of queues that the log names at a time.
const LINES: usize = 10;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stomp_codec::Headers;

    use super::*;

    fn message(name: &str) -> Message {
        Message {
            destination: Destination::parse(name).expect("valid"),
            headers: Headers::new(),
            body: Bytes::from_static(b"body"),
        }
    }

    #[test]
    fn a_transaction_keeps_room_once_for_each_queue() {
        let names = ["/queue/a", "/topic/a", "/queue/b", "/queue/a"];
        let messages = names.map(message);
        let all = reservations(&messages);
        let held = messages[0].held();
        let found: Vec<_> = all
            .iter()
            .map(|one| (one.queue.as_str(), one.messages, one.bytes))
            .collect();
        assert_eq!(found, [("/queue/a", 2, 2 * held), ("/queue/b", 1, held)]);
    }

    #[test]
    fn as_many_queues_as_messages_cost_no_more_than_one_for_all() {
        let time = |queues: usize| {
            let messages: Vec<_> = (0..50_000)
                .map(|number| message(&format!("/queue/{}", number % queues)))
                .collect();
            let begin = Instant::now();
            assert_eq!(reservations(&messages).len(), queues);
            begin.elapsed()
        };
        let (one, each) = (time(1), time(50_000));
        // A search through all of them took a thousand times as long.
        assert!(
            each < 50 * one.max(Duration::from_millis(1)),
            "{one:?}, {each:?}"
        );
    }
}
