//! The engine shared: who is connected, who subscribes to what, and the hand-over of messages.
//!
//! Locks of the broker live here, in the queues and in the outbox, and no two are held at once: a publisher
//! looks its audience up (one lock for an instant), lets go, and then visits one outbox after
//! the other. Queues are [`crate::queues`].

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::audience::{Audience, Receiver, Topic};
use crate::encoding::{Ids, Run, Scratch};
use crate::engine::SessionId;
use crate::engine::destination::{Destination, Pattern};
use crate::engine::message::Message;
use crate::engine::patterns::Patterns;
use crate::engine::queue::Bounds;
use crate::engine::refusal::Refusal;
use crate::engine::subscription::AckMode;
use crate::engine::transaction::Transaction;
use crate::metrics::{Counter, Counters, Gauge, Registry, number};
use crate::outbox::{Outbox, Policy, Pushed, Signal, Write};
use crate::queues::{self, Held, Queues, SharedQueue};
use crate::subscriber::{Subscriber, SubscriberId};

/// What all connections share.
#[derive(Debug)]
pub struct Hub {
    /// Begins each message id: 64 random bits, so that no id comes again after a restart.
    prefix: Arc<str>,
    next_message: AtomicU64,
    connections: Connections,
    topics: DashMap<Destination, Topic>,
    patterns: RwLock<Patterns<SubscriberId, Receiver>>,
    queues: Queues,
    /// What bounds the queues of subscriptions to topics, as it bounds outboxes.
    policy: Policy,
    /// Grows with each change of the patterns, so that older audiences are known as such.
    generation: AtomicU64,
    /// How often the members of any topic have changed.
    changes: AtomicU64,
    /// About how many receivers all audiences that are remembered have together.
    remembered: AtomicUsize,
    stopping: AtomicBool,
    metrics: Metrics,
}

type Connections = Arc<DashMap<SessionId, Arc<Outbox>>>;

/// What the hub counts.
#[derive(Debug)]
struct Metrics {
    published: Counter,
    delivered: Counter,
    dropped: Counters,
    subscriptions: Gauge,
}

/// A message was not accepted.
#[derive(Clone, Debug)]
pub struct Refused {
    /// So many before it were.
    pub accepted: usize,
    /// Why it was not.
    pub refusal: Refusal,
}

/// Why a message that was accepted did not reach a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The client's outgoing queue was full.
    SlowConsumer,
    /// The connection ended before the message was written.
    Closed,
    /// The subscription ended before the message was written.
    Unsubscribed,
}

impl Hub {
    /// A hub without connections; `prefix` begins each message id and never comes again.
    pub fn new(
        prefix: &str,
        policy: Policy,
        queues: queues::Settings,
        registry: &Registry,
    ) -> Self {
        let prefix: Arc<str> = prefix.into();
        let metrics = Metrics::new(registry);
        let connections = Connections::default();
        observe(&connections, registry);
        Self {
            queues: Queues::new(&prefix, queues, metrics.delivered.clone(), registry),
            policy,
            prefix,
            next_message: AtomicU64::new(1),
            connections,
            topics: DashMap::new(),
            patterns: RwLock::default(),
            generation: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            remembered: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            metrics,
        }
    }

    /// A connection has come to be. While the broker stops it is sent away again.
    pub fn join(&self, session: SessionId, outbox: &Arc<Outbox>) {
        self.connections.insert(session, Arc::clone(outbox));
        if self.stopping.load(Ordering::SeqCst) {
            outbox.signal(Signal::Stop);
        }
    }

    /// A connection is no more. Its subscriptions have been ended before.
    pub fn leave(&self, session: SessionId) {
        self.connections.remove(&session);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Sends all connections away, spread evenly over a time, and all that come meanwhile at once.
    pub async fn stop(&self, spread: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        let outboxes = all(&self.connections);
        let begin = tokio::time::Instant::now();
        for (turn, outbox) in outboxes.iter().enumerate() {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a fraction of a time need not be exact"
            )]
            let part = turn as f64 / outboxes.len() as f64;
            tokio::time::sleep_until(begin + spread.mul_f64(part)).await;
            outbox.signal(Signal::Stop);
        }
    }

    /// The queues.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// Makes a subscription visible to publishers. Returns the queue that grants its messages, if
    /// one does.
    pub fn subscribe(
        &self,
        subscriber: &Arc<Subscriber>,
        now: Instant,
    ) -> Option<Arc<SharedQueue>> {
        self.metrics.subscriptions.inc();
        let subscription = &subscriber.subscription;
        if let Pattern::Exact(destination) = &subscription.pattern
            && destination.is_queue()
        {
            return Some(self.queues.subscribe(destination, subscriber, now));
        }
        let own = (subscription.mode != AckMode::Auto).then(|| {
            let bounds = Bounds {
                messages: self.policy.bounds.messages,
                octets: self
                    .policy
                    .bounds
                    .octets
                    .saturating_add(subscription.prefetch.octets.unwrap_or_default()),
            };
            self.queues
                .private(subscriber, bounds, self.policy.slow_consumer)
        });
        let receiver = match &own {
            Some(queue) => Receiver::Queued(Arc::clone(queue)),
            None => Receiver::Direct(Arc::clone(subscriber)),
        };
        match &subscription.pattern {
            Pattern::Exact(destination) => {
                self.topics.entry(destination.clone()).or_default().insert(
                    subscriber.id(),
                    receiver,
                    self.change(),
                );
            }
            Pattern::Wild(pattern) => {
                let mut patterns = self
                    .patterns
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                patterns.insert(pattern, subscriber.id(), receiver);
                // Under the lock: who reads the new patterns reads the new number after it.
                self.generation.fetch_add(1, Ordering::Release);
            }
        }
        own
    }

    /// Ends a subscription: after this no message of it is handed over any more. Says whether the
    /// client may still settle some that were.
    pub fn unsubscribe(
        &self,
        subscriber: &Subscriber,
        queue: Option<&Arc<SharedQueue>>,
        now: Instant,
    ) -> bool {
        self.end_subscription(subscriber);
        let Some(queue) = queue else { return false };
        let (left, keeps) = self.queues.retire(subscriber, queue, now);
        self.drop_messages(Loss::Unsubscribed, left);
        keeps
    }

    /// Ends a subscription with its connection: what it has not settled goes back.
    pub fn end(&self, subscriber: &Subscriber, queue: Option<&Arc<SharedQueue>>, now: Instant) {
        self.end_subscription(subscriber);
        if let Some(queue) = queue {
            let left = self.queues.end(subscriber, queue, now);
            self.drop_messages(Loss::Closed, left);
        }
    }

    fn end_subscription(&self, subscriber: &Subscriber) {
        match &subscriber.subscription.pattern {
            Pattern::Exact(destination) => {
                self.topics.remove_if_mut(destination, |_, topic| {
                    topic.remove(&subscriber.id(), self.change());
                    topic.is_empty()
                });
            }
            Pattern::Wild(pattern) => {
                let mut patterns = self
                    .patterns
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                patterns.remove(pattern, &subscriber.id());
                self.generation.fetch_add(1, Ordering::Release);
                let last = patterns.is_empty();
                drop(patterns);
                if last {
                    self.forget_audiences();
                }
            }
        }
        let left = subscriber
            .outbox
            .end_subscription(subscriber.subscription.number, &subscriber.ended);
        self.drop_messages(Loss::Unsubscribed, left);
        self.metrics.subscriptions.dec();
    }

    /// Hands messages of one publisher over to their subscribers, in order. Returns when each
    /// subscriber's socket or outbox, or the queue, has them, and lets other tasks run in between.
    ///
    /// # Errors
    /// A queue is full. The messages before the one that it refused are handed over, the others are
    /// not.
    pub async fn publish(
        &self,
        messages: &[Message],
        publisher: SessionId,
        now: Instant,
    ) -> Result<(), Refused> {
        let done = self.send(messages, publisher, now, false).await;
        let accepted = done
            .as_ref()
            .map_or_else(|refused| refused.accepted, |()| messages.len());
        self.metrics.published.inc_by(accepted as u64);
        done
    }

    /// Does what a transaction holds, all or nothing; `held` finds the queues of the publisher's
    /// subscriptions.
    ///
    /// # Errors
    /// A queue is full. Then what was held is unacknowledged again, and nothing is sent.
    pub async fn commit<'a>(
        &self,
        transaction: &Transaction,
        held: impl Fn(u32) -> Option<Held<'a>>,
        publisher: SessionId,
        now: Instant,
    ) -> Result<(), Refusal> {
        if let Err(refusal) = self.queues.reserve(transaction, now) {
            self.queues.abort(transaction, held);
            return Err(refusal);
        }
        self.queues.commit(transaction, held, now);
        let messages = &transaction.messages;
        // Room is reserved, so nothing is refused.
        let _ = self.send(messages, publisher, now, true).await;
        self.metrics.published.inc_by(messages.len() as u64);
        Ok(())
    }

    /// Looks after what nobody's frames touch.
    pub fn tend(&self, now: Instant) {
        self.queues.tend(now, PATIENCE);
    }

    async fn send(
        &self,
        messages: &[Message],
        publisher: SessionId,
        now: Instant,
        reserved: bool,
    ) -> Result<(), Refused> {
        let first = self
            .next_message
            .fetch_add(messages.len() as u64, Ordering::Relaxed);
        let runs = messages.chunk_by(|one, other| one.destination == other.destination);
        let mut delivery = Delivery::new(publisher, now);
        let mut scratch = Scratch::default();
        // Of several runs a subscriber may get several pieces: they are written together.
        let write = if runs.clone().nth(1).is_none() {
            Write::Now
        } else {
            Write::Later
        };
        let mut done = 0;
        let mut refused = None;
        for run in runs {
            let number = first + done as u64;
            let destination = &run[0].destination;
            if !destination.is_queue() {
                if let Some(audience) = self.audience(destination) {
                    let ids = Ids {
                        prefix: &self.prefix,
                        first: number,
                    };
                    let encoded = Run::new(run, ids, &mut scratch);
                    delivery.deliver(&audience, encoded, write).await;
                    delivery.queue(&audience, run, number).await;
                }
            } else if reserved {
                self.queues.push_reserved(run, number, now);
            } else {
                let taken = self.queues.push(run, number, now);
                delivery.breathe().await;
                if taken < run.len() {
                    refused = Some(Refused {
                        accepted: done + taken,
                        refusal: Refusal::QueueFull(destination.clone()),
                    });
                    break;
                }
            }
            done += run.len();
        }
        delivery.flush().await;
        self.metrics.delivered.inc_by(delivery.accepted as u64);
        self.drop_messages(Loss::SlowConsumer, delivery.dropped);
        refused.map_or(Ok(()), Err)
    }

    /// Counts messages that were accepted and did not reach a subscriber.
    pub fn drop_messages(&self, loss: Loss, count: usize) {
        if count > 0 {
            self.metrics.dropped.with(loss.label()).inc_by(count as u64);
        }
    }

    /// Who receives what is sent to a destination; `None` if nobody does.
    fn audience(&self, destination: &Destination) -> Option<Arc<Audience>> {
        // Before the patterns are read: if they change meanwhile the audience is made again.
        let generation = self.generation.load(Ordering::Acquire);
        let topic = self.topics.get(destination);
        let known = topic.as_ref().and_then(|topic| topic.audience(generation));
        let members = match known {
            Some(audience) => return Some(audience).filter(|audience| !audience.is_empty()),
            None => topic.as_ref().map(|topic| topic.members()),
        };
        drop(topic);
        let wild = self.matching(destination);
        if members.is_none() && wild.is_empty() {
            return None;
        }
        let members = members.unwrap_or_default();
        let audience = members.audience(&wild, generation);
        self.remember(destination, &audience, members.version());
        Some(audience)
    }

    /// The number of a change of a topic's members.
    fn change(&self) -> u64 {
        self.changes.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn matching(&self, destination: &Destination) -> Vec<Receiver> {
        let mut wild = Vec::new();
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        patterns.matches(destination, |receiver| wild.push(receiver.clone()));
        wild
    }

    /// Audiences are remembered, of destinations that only patterns match too, but not without
    /// bound: a client may send to any number of them.
    fn remember(&self, destination: &Destination, audience: &Arc<Audience>, version: u64) {
        let weight = 1 + audience.len();
        if self.remembered.fetch_add(weight, Ordering::Relaxed) + weight > MAX_REMEMBERED {
            self.forget_audiences();
        }
        self.topics
            .entry(destination.clone())
            .or_default()
            .remember(audience, version);
    }

    fn forget_audiences(&self) {
        self.remembered.store(0, Ordering::Relaxed);
        self.topics.retain(|_, topic| {
            topic.forget();
            !topic.is_empty()
        });
    }
}

/// A batch on its way: what is still to be written, and what became of it.
struct Delivery {
    publisher: SessionId,
    now: Instant,
    to_flush: Vec<Arc<Outbox>>,
    visited: usize,
    accepted: usize,
    dropped: usize,
}

impl Delivery {
    fn new(publisher: SessionId, now: Instant) -> Self {
        Self {
            publisher,
            now,
            to_flush: Vec::new(),
            visited: 0,
            accepted: 0,
            dropped: 0,
        }
    }

    async fn deliver(&mut self, audience: &Audience, mut run: Run<'_>, write: Write) {
        for group in audience.groups() {
            for circle in &group.circles {
                let mut piece = None;
                for subscriber in &circle.members {
                    self.breathe().await;
                    if subscriber.subscription.no_local && subscriber.session == self.publisher {
                        continue;
                    }
                    let piece = piece.get_or_insert_with(|| {
                        Arc::new(run.piece(group.kind, circle.id.as_deref()))
                    });
                    let outbox = &subscriber.outbox;
                    let number = subscriber.subscription.number;
                    let pushed = outbox.push(piece, number, &subscriber.ended, write, self.now);
                    self.count(pushed, outbox);
                }
            }
        }
    }

    /// Hands a run to the receivers that have a queue of their own.
    async fn queue(&mut self, audience: &Audience, run: &[Message], first: u64) {
        let mut compact = None;
        for queue in audience.queued() {
            self.breathe().await;
            let own = |subscriber: &Arc<Subscriber>| {
                subscriber.subscription.no_local && subscriber.session == self.publisher
            };
            if !queue.subscriber().is_some_and(own) {
                let compact = compact.get_or_insert_with(|| queues::compact(run));
                self.dropped += queue.push_or_drop(compact, first, self.now);
            }
        }
    }

    async fn flush(&mut self) {
        for outbox in std::mem::take(&mut self.to_flush) {
            outbox.flush_for_owner(self.now);
            self.breathe().await;
        }
    }

    fn count(&mut self, pushed: Pushed, outbox: &Arc<Outbox>) {
        self.accepted += pushed.accepted;
        self.dropped += pushed.dropped;
        if pushed.flush {
            self.to_flush.push(Arc::clone(outbox));
        }
    }

    /// A message to very many must not keep the other clients of this thread waiting.
    async fn breathe(&mut self) {
        self.visited += 1;
        if self.visited.is_multiple_of(SLICE) {
            tokio::task::yield_now().await;
        }
    }
}

/// All outboxes, so that none is visited under a lock of the table.
fn all(connections: &Connections) -> Vec<Arc<Outbox>> {
    let outboxes = connections.iter();
    outboxes.map(|entry| Arc::clone(entry.value())).collect()
}

/// Asks all outboxes what waits in them whenever metrics are read.
fn observe(connections: &Connections, registry: &Registry) {
    let waiting = registry.gauge(
        "stompd_outboxes_waiting",
        "Clients for whom something waits in their outgoing queue.",
    );
    let frames = registry.gauge(
        "stompd_outbox_messages",
        "Messages and replies that wait in the outgoing queues of all clients.",
    );
    let octets = registry.gauge(
        "stompd_outbox_bytes",
        "Octets that wait in the outgoing queues of all clients; what they share counts for each.",
    );
    let connections = Arc::downgrade(connections);
    registry.before_reading(move || {
        let outboxes = connections.upgrade().map(|connections| all(&connections));
        let loads = outboxes.into_iter().flatten().map(|outbox| outbox.load());
        let loads: Vec<_> = loads.filter(|load| load.frames > 0).collect();
        waiting.set(number(loads.len()));
        frames.set(number(loads.iter().map(|load| load.frames).sum()));
        octets.set(number(loads.iter().map(|load| load.octets).sum()));
    });
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        Self {
            published: registry.counter(
                "stompd_messages_published_total",
                "Messages accepted from publishers.",
            ),
            delivered: registry.counter(
                "stompd_messages_delivered_total",
                "Messages handed to a subscriber's socket or outgoing queue, once for each subscriber.",
            ),
            dropped: registry.counters(
                "stompd_messages_dropped_total",
                "Messages that did not reach a subscriber, by reason.",
                "reason",
                Loss::ALL.map(Loss::label),
            ),
            subscriptions: registry.gauge("stompd_subscriptions", "Subscriptions now."),
        }
    }
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::SlowConsumer, Self::Closed, Self::Unsubscribed];

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SlowConsumer => "slow_consumer",
            Self::Closed => "closed",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// A consumer that has had no credit and acknowledged nothing for this long is told of.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many subscribers are served before other tasks get their turn: about a millisecond.
const SLICE: usize = 256;

/// The most receivers of all audiences that are remembered: with what sorts them about 32 MiB if
/// each has a subscription id of its own.
const MAX_REMEMBERED: usize = 256 * 1024;
