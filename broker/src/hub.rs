//! The engine shared: who is connected, who subscribes to what, and the hand-over of messages.
//!
//! Locks of the broker live here and in the outbox, and no two are held at once: a publisher
//! looks its audience up (one lock for an instant), lets go, and then visits one outbox after
//! the other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use crate::audience::{Audience, Subscriber, SubscriberId, Topic};
use crate::encoding::{Ids, Run};
use crate::engine::SessionId;
use crate::engine::destination::{Destination, Pattern};
use crate::engine::message::Message;
use crate::engine::patterns::Patterns;
use crate::metrics::{Counter, Counters, Gauge, Registry};
use crate::outbox::{Outbox, Pushed, Signal, Write};

/// What all connections share.
#[derive(Debug)]
pub struct Hub {
    /// Begins each message id: 64 random bits, so that no id comes again after a restart.
    prefix: String,
    next_message: AtomicU64,
    connections: DashMap<SessionId, Arc<Outbox>>,
    topics: DashMap<Destination, Topic>,
    patterns: RwLock<Patterns<SubscriberId, Arc<Subscriber>>>,
    /// Grows with each change of the patterns, so that older audiences are known as such.
    generation: AtomicU64,
    /// About how many topics have no exact subscriber and are kept for their audience only.
    kept: AtomicUsize,
    metrics: Metrics,
}

/// What the hub counts.
#[derive(Debug)]
struct Metrics {
    published: Counter,
    delivered: Counter,
    dropped: Counters,
    subscriptions: Gauge,
}

/// Why a message that was accepted did not reach a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The client's outgoing queue was full.
    SlowConsumer,
    /// The connection ended before the message was written.
    Closed,
}

impl Hub {
    /// A hub without connections; `prefix` begins each message id and never comes again.
    pub fn new(prefix: String, registry: &Registry) -> Self {
        Self {
            prefix,
            next_message: AtomicU64::new(1),
            connections: DashMap::new(),
            topics: DashMap::new(),
            patterns: RwLock::default(),
            generation: AtomicU64::new(0),
            kept: AtomicUsize::new(0),
            metrics: Metrics::new(registry),
        }
    }

    /// A connection has come to be.
    pub fn join(&self, session: SessionId, outbox: &Arc<Outbox>) {
        self.connections.insert(session, Arc::clone(outbox));
    }

    /// A connection is no more. Its subscriptions have been ended before.
    pub fn leave(&self, session: SessionId) {
        self.connections.remove(&session);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Tells a signal to all connections, spread evenly over a time.
    pub async fn signal_all(&self, signal: Signal, spread: Duration) {
        let outboxes: Vec<_> = self
            .connections
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect();
        let begin = tokio::time::Instant::now();
        for (turn, outbox) in outboxes.iter().enumerate() {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a fraction of a time need not be exact"
            )]
            let part = turn as f64 / outboxes.len() as f64;
            tokio::time::sleep_until(begin + spread.mul_f64(part)).await;
            outbox.signal(signal);
        }
    }

    /// Makes a subscription visible to publishers.
    pub fn subscribe(&self, subscriber: &Arc<Subscriber>) {
        match &subscriber.subscription.pattern {
            Pattern::Exact(destination) => {
                self.topics
                    .entry(destination.clone())
                    .or_default()
                    .insert(subscriber);
            }
            Pattern::Wild(pattern) => {
                let mut patterns = self
                    .patterns
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                patterns.insert(pattern, subscriber.id(), Arc::clone(subscriber));
                // Under the lock: who reads the new patterns reads the new number after it.
                self.generation.fetch_add(1, Ordering::Release);
            }
        }
        self.metrics.subscriptions.inc();
    }

    /// Ends a subscription: after this no message of it is handed over any more.
    pub fn unsubscribe(&self, subscriber: &Subscriber) {
        match &subscriber.subscription.pattern {
            Pattern::Exact(destination) => {
                self.topics.remove_if_mut(destination, |_, topic| {
                    topic.remove(&subscriber.id());
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
            }
        }
        let left = subscriber
            .outbox
            .end_subscription(subscriber.subscription.number, &subscriber.ended);
        self.drop_messages(Loss::Closed, left);
        self.metrics.subscriptions.dec();
    }

    /// Hands messages of one publisher over to their subscribers, in order. Returns when each
    /// subscriber's socket or outbox has them, and lets other tasks run in between.
    pub async fn publish(&self, messages: &[Message], publisher: SessionId, now: Instant) {
        let first = self
            .next_message
            .fetch_add(messages.len() as u64, Ordering::Relaxed);
        let runs = messages.chunk_by(|one, other| one.destination == other.destination);
        let mut delivery = Delivery::new(publisher, now);
        // Of several runs a subscriber may get several pieces: they are written together.
        let write = if runs.clone().nth(1).is_none() {
            Write::Now
        } else {
            Write::Later
        };
        let mut number = first;
        for run in runs {
            let ids = Ids {
                prefix: &self.prefix,
                first: number,
            };
            number += run.len() as u64;
            if let Some(audience) = self.audience(&run[0].destination) {
                delivery.deliver(&audience, Run::new(run, ids), write).await;
            }
        }
        delivery.flush().await;
        self.metrics.published.inc_by(messages.len() as u64);
        self.metrics.delivered.inc_by(delivery.accepted as u64);
        self.drop_messages(Loss::SlowConsumer, delivery.dropped);
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
        let known = self
            .topics
            .get(destination)
            .map(|topic| topic.audience(generation));
        if let Some(Some(audience)) = known {
            return Some(audience).filter(|audience| !audience.is_empty());
        }
        let wild = self.matching(destination);
        if known.is_none() && wild.is_empty() {
            return None;
        }
        if known.is_none() {
            self.make_room_for_audiences();
        }
        let mut topic = self.topics.entry(destination.clone()).or_default();
        Some(topic.assemble(&wild, generation))
    }

    fn matching(&self, destination: &Destination) -> Vec<Arc<Subscriber>> {
        let mut wild = Vec::new();
        let patterns = self.patterns.read().unwrap_or_else(PoisonError::into_inner);
        patterns.matches(destination, |subscriber| wild.push(Arc::clone(subscriber)));
        wild
    }

    /// Destinations that only patterns match are remembered too, but not without bound.
    fn make_room_for_audiences(&self) {
        if self.kept.fetch_add(1, Ordering::Relaxed) >= MAX_KEPT {
            self.kept.store(0, Ordering::Relaxed);
            self.topics.retain(|_, topic| !topic.is_empty());
        }
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
                let piece = Arc::new(run.piece(group.kind, circle.id.as_deref()));
                for subscriber in &circle.members {
                    if subscriber.subscription.no_local && subscriber.session == self.publisher {
                        continue;
                    }
                    let outbox = &subscriber.outbox;
                    let number = subscriber.subscription.number;
                    let pushed = outbox.push(&piece, number, &subscriber.ended, write, self.now);
                    self.count(pushed, outbox);
                    self.breathe().await;
                }
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
    pub const ALL: [Self; 2] = [Self::SlowConsumer, Self::Closed];

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SlowConsumer => "slow_consumer",
            Self::Closed => "closed",
        }
    }
}

/// So many subscribers are served before other tasks get their turn: about a millisecond.
const SLICE: usize = 256;

/// The most audiences that are remembered of destinations without an exact subscriber.
const MAX_KEPT: usize = 16 * 1024;
