//! The shared state: connections, subscriptions, and the hand-over of messages.
//!
//! The broker has locks only here, in the queues and in the outbox, and no two are held at once: a
//! publisher looks up its audiences, releases the lock, and then visits one outbox after the other.
//! The queues are in [`crate::queues`].

pub mod audience;
mod clients;
mod delivery;
mod metrics;
mod wildcards;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use smallvec::SmallVec;

use self::audience::{Audience, Receiver, Receivers};
pub use self::clients::{Client, Clients};
use self::delivery::Delivery;
pub use self::delivery::Pressure;
use self::metrics::Metrics;
use self::wildcards::{Pin, Wildcards};
use crate::encoding::{MessageIds, RunEncoder, Scratch};
use crate::engine::SessionId;
use crate::engine::destination::{Destination, Pattern};
use crate::engine::message::Message;
use crate::engine::queue::{Bounds, Return};
use crate::engine::refusal::Refusal;
use crate::engine::subscription::AckMode;
use crate::engine::transaction::Transaction;
use crate::metrics::{Registry, number};
use crate::outbox::{Notice, Policy, Subscriber, Write};
use crate::queues::{self, Held, Queues, SharedQueue};

/// State that all connections share.
#[derive(Debug)]
pub struct Hub {
    /// The first part of each message id: 64 random bits, so that no id repeats after a restart.
    prefix: Arc<str>,
    next_message: AtomicU64,
    clients: Arc<Clients>,
    topics: DashMap<Destination, Receivers>,
    wildcards: Arc<Wildcards>,
    queues: Queues,
    settings: HubSettings,
    stopping: AtomicBool,
    metrics: Metrics,
}

/// Settings of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubSettings {
    /// Bounds the private queues of subscriptions to topics, in the same way as outboxes.
    pub policy: Policy,
    /// Maximum cost of matching the patterns of all subscriptions, see
    /// [`Patterns::new`](crate::engine::patterns::Patterns::new).
    pub pattern_shapes: usize,
}

/// A reserved place among the receivers, taken before the subscription is confirmed to the client,
/// and used by [`Hub::subscribe`].
#[derive(Debug)]
pub struct Place(Option<Pin>);

/// A message was not accepted.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Number of messages accepted before it.
    pub accepted: usize,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// Why a message that was accepted did not reach a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The outbox of the client was full.
    SlowConsumer,
    /// The connection ended before the message was written.
    Closed,
    /// The subscription ended before the message was written.
    Unsubscribed,
}

impl Hub {
    /// Returns a hub without connections; `prefix` starts each message id and must never repeat.
    pub fn new(
        prefix: &str,
        settings: HubSettings,
        queues: queues::QueueSettings,
        registry: &Registry,
    ) -> Self {
        let prefix: Arc<str> = prefix.into();
        let metrics = Metrics::new(registry);
        let clients = Arc::new(Clients::new());
        let wildcards = Arc::new(Wildcards::new(settings.pattern_shapes));
        metrics::observe_outboxes(&clients, registry);
        metrics::observe_patterns(&wildcards, settings.pattern_shapes, registry);
        Self {
            queues: Queues::new(&prefix, queues, metrics.delivered.clone(), registry),
            settings,
            prefix,
            next_message: AtomicU64::new(1),
            clients,
            topics: DashMap::with_shard_amount(SHARDS),
            wildcards,
            stopping: AtomicBool::new(false),
            metrics,
        }
    }

    /// Adds a client. While the broker shuts down, its connection is closed at once.
    pub fn join(&self, client: &Arc<Client>) {
        self.clients.insert(Arc::clone(client));
        if self.stopping.load(Ordering::SeqCst) {
            client.outbox.notify(Notice::Stop);
        }
    }

    /// Removes a client. Its subscriptions have been ended before.
    pub fn leave(&self, session: SessionId) {
        self.clients.remove(session);
    }

    /// Returns the connected clients.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Closes all connections, spread evenly over a time, and new ones at once.
    pub async fn stop(&self, spread: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        let clients = self.clients.all();
        let begin = tokio::time::Instant::now();
        for (turn, client) in clients.iter().enumerate() {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a fraction of a duration need not be exact"
            )]
            let part = turn as f64 / clients.len() as f64;
            tokio::time::sleep_until(begin + spread.mul_f64(part)).await;
            client.outbox.notify(Notice::Stop);
        }
    }

    /// Returns the queues.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// Reserves a place for a subscription, which then cannot be refused any more.
    ///
    /// # Errors
    /// The patterns of all subscriptions have too many shapes, or there are too
    /// many queues.
    pub fn take_place(&self, pattern: &Pattern) -> Result<Place, Refusal> {
        self.queues.prepare(pattern)?;
        let Pattern::Wild(pattern) = pattern else {
            return Ok(Place(None));
        };
        match self.wildcards.pin(pattern) {
            Ok(pin) => Ok(Place(Some(pin))),
            Err(_) => Err(Refusal::ShapesUsedUp {
                limit: self.settings.pattern_shapes,
            }),
        }
    }

    /// Makes a subscription visible to publishers. Returns the queue that grants its messages, if
    /// there is one.
    pub fn subscribe(
        &self,
        subscriber: &Arc<Subscriber>,
        place: Place,
        now: Instant,
    ) -> Option<Arc<SharedQueue>> {
        let subscription = &subscriber.subscription;
        self.metrics.subscriptions.inc();
        self.metrics
            .subscription_bytes
            .add(number(subscription.held()));
        if let Pattern::Exact(destination) = &subscription.pattern
            && destination.is_queue()
        {
            return Some(self.queues.subscribe(destination, subscriber, now));
        }
        let own = (subscription.mode != AckMode::Auto).then(|| {
            let policy = self.settings.policy;
            let prefetch = subscription.prefetch.bytes.unwrap_or_default();
            let bounds = Bounds {
                messages: policy.bounds.messages,
                bytes: policy.bounds.bytes.saturating_add(prefetch),
            };
            self.queues
                .private(subscriber, bounds, policy.slow_consumer)
        });
        let receiver = match &own {
            Some(queue) => Receiver::Queued(Arc::clone(queue)),
            None => Receiver::Direct(Arc::clone(subscriber)),
        };
        match (&subscription.pattern, place.0) {
            (Pattern::Wild(_), Some(pin)) => pin.insert(subscriber.id(), receiver),
            (Pattern::Exact(destination) | Pattern::Wild(destination), _) => {
                let mut topic = self.topics.entry(destination.clone()).or_default();
                topic.insert(subscriber.id(), receiver);
            }
        }
        own
    }

    /// Ends a subscription: none of its messages is handed over after this. Returns whether the
    /// client may still settle earlier ones.
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

    /// Ends a subscription with its connection: its unsettled messages return to their queue for
    /// this cause.
    pub fn end(
        &self,
        subscriber: &Subscriber,
        queue: Option<&Arc<SharedQueue>>,
        cause: Return,
        now: Instant,
    ) {
        self.end_subscription(subscriber);
        if let Some(queue) = queue {
            let left = self.queues.end(subscriber, queue, cause, now);
            self.drop_messages(Loss::Closed, left);
        }
    }

    fn end_subscription(&self, subscriber: &Subscriber) {
        let subscription = &subscriber.subscription;
        match &subscription.pattern {
            Pattern::Exact(destination) => {
                self.topics.remove_if_mut(destination, |_, topic| {
                    topic.remove(subscriber.id());
                    topic.is_empty()
                });
            }
            Pattern::Wild(pattern) => self.wildcards.remove(pattern, subscriber.id()),
        }
        let left = subscriber
            .outbox
            .end_subscription(subscription.number, &subscriber.ended);
        self.drop_messages(Loss::Unsubscribed, left);
        self.metrics.subscriptions.dec();
        self.metrics
            .subscription_bytes
            .sub(number(subscription.held()));
    }

    /// Hands messages of one publisher over to their subscribers, in order. Returns when they are
    /// in each subscriber's socket, outbox or queue. Lets other tasks run in between. Adds the
    /// clients that receive too much to `pressure`.
    ///
    /// # Errors
    /// A queue is full. The messages before the one that it refused are handed over, the rest are
    /// not.
    pub async fn publish(
        &self,
        messages: &[Message],
        publisher: SessionId,
        pressure: &mut Pressure,
        now: Instant,
    ) -> Result<(), Refused> {
        let done = self.send(messages, publisher, pressure, now, false).await;
        let accepted = done
            .as_ref()
            .map_or_else(|refused| refused.accepted, |()| messages.len());
        self.metrics.published.inc_by(accepted as u64);
        done
    }

    /// Accepts all or none of a transaction's messages, and settles its deliveries; `held` finds
    /// the queues of the publisher's subscriptions. The caller must then dispatch these queues and,
    /// on success, hand the messages over with [`Hub::publish_accepted`].
    ///
    /// # Errors
    /// A queue is full. Then what was held is unacknowledged again, and nothing is sent.
    pub fn commit<'a>(
        &self,
        transaction: &Transaction,
        held: impl Fn(u32) -> Option<Held<'a>>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if let Err(refusal) = self.queues.reserve(transaction, now) {
            self.queues.abort(transaction, held, now);
            return Err(refusal);
        }
        self.queues.commit(transaction, held);
        Ok(())
    }

    /// Like [`Hub::publish`], for messages of a committed transaction: nothing is refused.
    pub async fn publish_accepted(
        &self,
        messages: &[Message],
        publisher: SessionId,
        pressure: &mut Pressure,
        now: Instant,
    ) {
        // Room is reserved, so this cannot fail.
        let _ = self.send(messages, publisher, pressure, now, true).await;
        self.metrics.published.inc_by(messages.len() as u64);
    }

    /// Does the periodic work that no client's frames trigger. Visits all queues, so it must not
    /// run on a thread that serves clients.
    pub fn run_maintenance(&self, now: Instant) {
        self.queues.run_maintenance(now);
        self.wildcards.tidy();
    }

    async fn send(
        &self,
        messages: &[Message],
        publisher: SessionId,
        pressure: &mut Pressure,
        now: Instant,
        reserved: bool,
    ) -> Result<(), Refused> {
        let first = self
            .next_message
            .fetch_add(messages.len() as u64, Ordering::Relaxed);
        let mut delivery = Delivery::new(publisher, now, pressure);
        let mut scratch = Scratch::default();
        // A subscriber may get several encoded runs from several runs: they are written together.
        let same = |one: &Message, other: &Message| one.destination == other.destination;
        let write = if messages.iter().all(|message| same(message, &messages[0])) {
            Write::Now
        } else {
            Write::Later
        };
        let mut done = 0;
        let mut refused = None;
        for run in messages.chunk_by(same) {
            let number = first + done as u64;
            let destination = &run[0].destination;
            if !destination.is_queue() {
                let audiences = self.audiences(destination);
                if !audiences.is_empty() {
                    let ids = MessageIds {
                        prefix: &self.prefix,
                        first: number,
                    };
                    let encoder = RunEncoder::new(run, ids, &mut scratch);
                    delivery
                        .deliver(&audiences, run, number, encoder, write)
                        .await;
                }
            } else if reserved {
                self.queues.push_reserved(run, number, now);
                delivery.pause_if_over().await;
            } else {
                let pushed = self.queues.push(run, number, now);
                refused = pushed.err().map(|(taken, refusal)| Refused {
                    accepted: done + taken,
                    refusal,
                });
                delivery.pause_if_over().await;
                if refused.is_some() {
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

    /// Returns who receives messages to a destination: its own subscribers and those of each
    /// pattern that matches it.
    fn audiences(&self, destination: &Destination) -> SmallVec<[Audience; 2]> {
        let mut audiences = SmallVec::new();
        audiences.extend(self.exact_audience(destination));
        self.wildcards
            .audiences(destination, |audience| audiences.push(audience));
        audiences
    }

    fn exact_audience(&self, destination: &Destination) -> Option<Audience> {
        if let Some(known) = self.topics.get(destination)?.known_audience() {
            return known;
        }
        self.topics.get_mut(destination)?.audience()
    }
}

impl Loss {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::SlowConsumer, Self::Closed, Self::Unsubscribed];

    /// Returns the label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::SlowConsumer => "slow_consumer",
            Self::Closed => "closed",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

/// Number of shards of a table that clients can grow: one shard is moved at a time when it grows,
/// so that no task waits for the whole table.
const SHARDS: usize = 256;
