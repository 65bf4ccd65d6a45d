//! The engine shared: who is connected, who subscribes to what, and the hand-over of messages.
//!
//! Locks of the broker live here, in the queues and in the outbox, and no two are held at once: a
//! publisher looks its audiences up, lets go, and then visits one outbox after the other. Queues
//! are [`crate::queues`].

pub mod audience;
mod delivery;
mod metrics;
mod wildcards;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use smallvec::SmallVec;

use self::audience::{Audience, Members, Receiver};
use self::delivery::Delivery;
pub use self::delivery::Pressure;
use self::metrics::Metrics;
use self::wildcards::{Pin, Wildcards};
use crate::encoding::{Ids, Run, Scratch};
use crate::engine::SessionId;
use crate::engine::destination::{Destination, Pattern};
use crate::engine::message::Message;
use crate::engine::queue::Bounds;
use crate::engine::refusal::Refusal;
use crate::engine::subscription::AckMode;
use crate::engine::transaction::Transaction;
use crate::metrics::{Registry, number};
use crate::outbox::{Outbox, Policy, Signal, Write};
use crate::queues::{self, Held, Queues, SharedQueue};
use crate::subscriber::Subscriber;

/// What all connections share.
#[derive(Debug)]
pub struct Hub {
    /// Begins each message id: 64 random bits, so that no id comes again after a restart.
    prefix: Arc<str>,
    next_message: AtomicU64,
    connections: Connections,
    topics: DashMap<Destination, Members>,
    wildcards: Arc<Wildcards>,
    queues: Queues,
    settings: Settings,
    stopping: AtomicBool,
    metrics: Metrics,
}

/// How the hub is set up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What bounds the queues of subscriptions to topics, as it bounds outboxes.
    pub policy: Policy,
    /// What the patterns of all subscriptions may cost a match, see
    /// [`Patterns::new`](crate::engine::patterns::Patterns::new).
    pub pattern_shapes: usize,
}

type Connections = Arc<DashMap<SessionId, Arc<Outbox>>>;

/// A place among the receivers, taken before the client is told that it has a subscription, and used
/// by [`Hub::subscribe`].
#[derive(Debug)]
pub struct Place(Option<Pin>);

/// A message was not accepted.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The number of messages accepted before it.
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
        settings: Settings,
        queues: queues::Settings,
        registry: &Registry,
    ) -> Self {
        let prefix: Arc<str> = prefix.into();
        let metrics = Metrics::new(registry);
        let connections: Connections = Arc::new(DashMap::with_shard_amount(SHARDS));
        let wildcards = Arc::new(Wildcards::new(settings.pattern_shapes));
        metrics::observe_outboxes(&connections, registry);
        metrics::observe_patterns(&wildcards, settings.pattern_shapes, registry);
        Self {
            queues: Queues::new(&prefix, queues, metrics.delivered.clone(), registry),
            settings,
            prefix,
            next_message: AtomicU64::new(1),
            connections,
            topics: DashMap::with_shard_amount(SHARDS),
            wildcards,
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

    /// Takes a place for a subscription, so that nothing can refuse it any more.
    ///
    /// # Errors
    /// The patterns of all subscriptions have too many arrangements of wildcards, or there are too
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
    /// one does.
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

    /// Hands messages of one publisher over to their subscribers, in order. Returns when each
    /// subscriber's socket or outbox, or the queue, has them, and lets other tasks run in between.
    /// The clients that get too much are added to `pressure`.
    ///
    /// # Errors
    /// A queue is full. The messages before the one that it refused are handed over, the others are
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

    /// Accepts what a transaction holds, all or nothing, and settles its deliveries; `held` finds
    /// the queues of the publisher's subscriptions. These are to be dispatched, and its messages are
    /// to be handed over by [`Hub::publish_accepted`], whatever happens.
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
            self.queues.abort(transaction, held);
            return Err(refusal);
        }
        self.queues.commit(transaction, held);
        Ok(())
    }

    /// As [`Hub::publish`], for messages of a transaction that was committed: nothing is refused.
    pub async fn publish_accepted(
        &self,
        messages: &[Message],
        publisher: SessionId,
        pressure: &mut Pressure,
        now: Instant,
    ) {
        // Room is reserved.
        let _ = self.send(messages, publisher, pressure, now, true).await;
        self.metrics.published.inc_by(messages.len() as u64);
    }

    /// Looks after what no client's frames touch. Visits all queues, so a thread that serves clients
    /// is not the one to do it.
    pub fn tend(&self, now: Instant) {
        self.queues.tend(now, PATIENCE);
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
        // Of several runs a subscriber may get several pieces: they are written together.
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
                    let ids = Ids {
                        prefix: &self.prefix,
                        first: number,
                    };
                    let encoded = Run::new(run, ids, &mut scratch);
                    delivery
                        .deliver(&audiences, run, number, encoded, write)
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

    /// Who receives what is sent to a destination: its own subscribers and those of each pattern
    /// that sees it.
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

/// All outboxes, so that none is visited under a lock of the table.
fn all(connections: &Connections) -> Vec<Arc<Outbox>> {
    let outboxes = connections.iter();
    outboxes.map(|entry| Arc::clone(entry.value())).collect()
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

/// The number of parts of a table that clients can grow: one part is moved at a time when it grows,
/// so that nobody waits for the whole.
const SHARDS: usize = 256;
