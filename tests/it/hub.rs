//! The hub with in-memory sockets: each client gets its own messages and no others.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use stomp_codec::{Headers, Version};
use stompd::config::SlowConsumer;
use stompd::encoding::Framing;
use stompd::encoding::Kind;
use stompd::engine::SessionId;
use stompd::engine::destination::{Destination, Pattern};
use stompd::engine::message::Message;
use stompd::engine::queue;
use stompd::engine::subscription::{AckMode, Prefetch, Subscription};
use stompd::hub::{self, Hub, Pressure};
use stompd::metrics::Registry;
use stompd::outbox::{Flushed, Outbox, OutboxBounds, Policy, Subscriber};
use stompd::queues;
use support::peer::Seen;
use support::wire::{MemoryWire, read};

use crate::patterns::sees;

const DESTINATIONS: [&str; 5] = [
    "/topic/a",
    "/topic/b",
    "/topic/a.b",
    "/topic/a/b",
    "/other/a",
];
const PATTERNS: [&str; 9] = [
    "/topic/a",
    "/topic/b",
    "/topic/a.b",
    "/other/a",
    "/topic/*",
    "/topic/#",
    "/topic/a.*",
    "/topic/a.#",
    "/other/>",
];

/// Nothing here waits, so polling again is enough.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
}

fn hub() -> Hub {
    let queues = queues::QueueSettings {
        bounds: queue::Bounds {
            messages: 1000,
            bytes: 1 << 20,
        },
        queues: usize::MAX,
        named: None,
    };
    let settings = hub::HubSettings {
        policy: policy(),
        pattern_shapes: 256,
    };
    Hub::new("m", settings, queues, &Registry::new())
}

fn policy() -> Policy {
    let bounds = OutboxBounds {
        bytes: 1 << 20,
        messages: 1 << 16,
        per_run: 0,
    };
    Policy {
        bounds,
        slow_consumer: SlowConsumer::Disconnect,
        patience: Duration::ZERO,
    }
}

fn message(destination: &str, body: impl Into<Bytes>) -> Message {
    Message {
        destination: Destination::parse(destination).unwrap(),
        headers: Headers::new(),
        body: body.into(),
    }
}

fn publish(hub: &Hub, publisher: SessionId, messages: &[Message]) {
    let mut pressure = Pressure::default();
    block_on(hub.publish(messages, publisher, &mut pressure, Instant::now())).unwrap();
}

/// A connection without a session.
struct Client {
    id: SessionId,
    kind: Kind,
    wire: Arc<MemoryWire>,
    outbox: Arc<Outbox>,
    last: u32,
}

impl Client {
    fn new(id: u64, kind: Kind) -> Self {
        let wire = MemoryWire::open();
        Self {
            id: SessionId(id),
            kind,
            outbox: Arc::new(Outbox::new(
                Arc::<MemoryWire>::clone(&wire),
                policy(),
                Instant::now(),
            )),
            wire,
            last: 0,
        }
    }

    fn tcp(id: u64) -> Self {
        let kind = Kind {
            version: Version::V1_2,
            framing: Framing::Tcp,
        };
        Self::new(id, kind)
    }

    fn subscribe(
        &mut self,
        hub: &Hub,
        id: Option<&str>,
        pattern: &str,
        no_local: bool,
    ) -> Arc<Subscriber> {
        self.last += 1;
        let subscriber = Arc::new(Subscriber {
            session: self.id,
            subscription: Subscription {
                number: self.last,
                id: id.map(Into::into),
                pattern: Pattern::parse(pattern).unwrap(),
                mode: AckMode::Auto,
                prefetch: Prefetch {
                    messages: 1000,
                    bytes: None,
                },
                no_local,
            },
            kind: self.kind,
            outbox: Arc::clone(&self.outbox),
            ended: AtomicBool::new(false),
            progress: Arc::default(),
        });
        let place = hub.take_place(&subscriber.subscription.pattern).unwrap();
        hub.subscribe(&subscriber, place, Instant::now());
        subscriber
    }

    /// What arrived: whether it was text, and the frame's headers and body.
    fn seen(&self) -> Vec<(Option<bool>, String)> {
        let (seen, rest) = read(self.kind, &self.wire.written());
        assert_eq!(rest, 0);
        let frame = |seen| match seen {
            Seen::Frame(frame, text) => (text, frame),
            other => panic!("{other:?}"),
        };
        seen.into_iter().map(frame).collect()
    }

    fn bodies(&self) -> Vec<String> {
        let body = |frame: String| frame.split_once("\n\n").unwrap().1.to_owned();
        self.seen()
            .into_iter()
            .map(|(_, frame)| body(frame))
            .collect()
    }
}

// --- Against a model ---------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Subscribe {
        client: usize,
        pattern: usize,
        no_local: bool,
        named: bool,
    },
    Unsubscribe(usize),
    Publish {
        client: usize,
        messages: Vec<(usize, bool)>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let message = (0..DESTINATIONS.len(), prop::bool::weighted(0.8));
    prop_oneof![
        3 => (0_usize..4, 0..PATTERNS.len(), prop::bool::weighted(0.2), any::<bool>()).prop_map(
            |(client, pattern, no_local, named)| Step::Subscribe { client, pattern, no_local, named }
        ),
        2 => (0_usize..8).prop_map(Step::Unsubscribe),
        4 => (0_usize..4, vec(message, 1..5))
            .prop_map(|(client, messages)| Step::Publish { client, messages }),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    let framing = prop::sample::select(&[Framing::Tcp, Framing::Text, Framing::Binary][..]);
    let version = prop::sample::select(&Version::ALL[..]);
    (version, framing).prop_map(|(version, framing)| Kind { version, framing })
}

/// What a client has subscribed to, and under which id.
struct Held {
    client: usize,
    name: Option<String>,
    pattern: &'static str,
    subscriber: Arc<Subscriber>,
}

/// The messages in order, by client and subscription.
type Mail = HashMap<(usize, String), Vec<String>>;

struct World {
    hub: Hub,
    clients: Vec<Client>,
    held: Vec<Held>,
    expected: Mail,
    published: usize,
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Subscribe {
                client,
                pattern,
                no_local,
                named,
            } => {
                self.subscribe(client, PATTERNS[pattern], no_local, named);
            }
            Step::Unsubscribe(at) if at < self.held.len() => {
                let held = self.held.swap_remove(at);
                self.hub.unsubscribe(&held.subscriber, None, Instant::now());
            }
            Step::Unsubscribe(_) => {}
            Step::Publish { client, messages } => self.publish(client, &messages),
        }
    }

    fn subscribe(&mut self, client: usize, pattern: &'static str, no_local: bool, named: bool) {
        // Only 1.0 has subscriptions without an id, each to another destination.
        let exact = matches!(Pattern::parse(pattern), Ok(Pattern::Exact(_)));
        let nameless = !named && exact && self.clients[client].kind.version == Version::V1_0;
        let taken = |name: &Option<String>| {
            let mut held = self
                .held
                .iter()
                .filter(|held| held.client == client && held.name == *name);
            held.any(|held| name.is_some() || held.pattern == pattern)
        };
        let name = if nameless {
            None
        } else {
            (0..100)
                .map(|number| Some(format!("s:{number}")))
                .find(|name| !taken(name))
                .unwrap()
        };
        if taken(&name) {
            return;
        }
        let subscriber =
            self.clients[client].subscribe(&self.hub, name.as_deref(), pattern, no_local);
        self.held.push(Held {
            client,
            name,
            pattern,
            subscriber,
        });
    }

    fn publish(&mut self, publisher: usize, messages: &[(usize, bool)]) {
        let mut batch = Vec::new();
        for &(destination, utf8) in messages {
            let destination = DESTINATIONS[destination];
            self.published += 1;
            let mut body = self.published.to_string().into_bytes();
            if !utf8 {
                body.insert(0, 0xff);
            }
            for held in &self.held {
                let local = held.client == publisher && held.subscriber.subscription.no_local;
                if sees(held.pattern, destination) && !local {
                    let name = held.name.clone().unwrap_or_else(|| destination.to_owned());
                    let mail = self.expected.entry((held.client, name)).or_default();
                    mail.push(format!("{destination} {}", String::from_utf8_lossy(&body)));
                }
            }
            batch.push(message(destination, body));
        }
        publish(&self.hub, self.clients[publisher].id, &batch);
    }

    fn compare(&self) {
        let mut mail = Mail::new();
        let mut ids = HashMap::new();
        for (at, client) in self.clients.iter().enumerate() {
            for (text, frame) in client.seen() {
                let header = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                let destination = header("destination:").unwrap();
                let body = frame.split_once("\n\n").unwrap().1;
                let name = header("subscription:").unwrap_or(destination).to_owned();
                mail.entry((at, name))
                    .or_default()
                    .push(format!("{destination} {body}"));
                let id = header("message-id:").unwrap().to_owned();
                let known = ids.entry(body.to_owned()).or_insert_with(|| id.clone());
                assert_eq!(*known, id, "all receivers see the same id");
                let utf8 = !body.contains('\u{fffd}');
                let expected = match client.kind.framing {
                    Framing::Tcp => None,
                    Framing::Text => Some(utf8),
                    Framing::Binary => Some(false),
                };
                assert_eq!(text, expected);
            }
        }
        let distinct: std::collections::HashSet<_> = ids.values().collect();
        assert_eq!(distinct.len(), ids.len(), "each message has its own id");
        assert_eq!(mail, self.expected);
    }
}

proptest! {
    #[test]
    fn each_subscriber_gets_its_messages_once_and_in_order(
        kinds in vec(kind(), 4),
        steps in vec(step(), 1..50),
    ) {
        let clients = kinds.into_iter().zip(1..).map(|(kind, id)| Client::new(id, kind)).collect();
        let mut world = World { hub: hub(), clients, held: Vec::new(), expected: Mail::new(), published: 0 };
        for step in steps {
            world.step(step);
        }
        world.compare();
    }
}

// --- Caches ------------------------------------------------------------------------------------

#[test]
fn unsubscribing_frees_all_state() {
    let hub = hub();
    let (mut client, publisher) = (Client::tcp(1), SessionId(2));
    let all: Vec<_> = DESTINATIONS
        .map(|destination| message(destination, "x"))
        .into();
    for pattern in ["/topic/a", "/topic/#"] {
        let subscriber = client.subscribe(&hub, Some("s"), pattern, false);
        publish(&hub, publisher, &all);
        hub.unsubscribe(&subscriber, None, Instant::now());
        let weak: Weak<_> = Arc::downgrade(&subscriber);
        drop(subscriber);
        // A cached audience is rebuilt for the next message at the latest.
        publish(&hub, publisher, &all);
        assert!(weak.upgrade().is_none(), "{pattern}");
    }
    assert_eq!(client.bodies().len(), 1 + 4);
}

#[test]
fn the_audience_cache_is_bounded() {
    let hub = hub();
    let mut client = Client::tcp(1);
    let mut subscribe = |pattern| client.subscribe(&hub, Some("s"), pattern, true);
    let wild: Vec<_> = (0..20).map(|_| subscribe("/topic/#")).collect();
    let exact = subscribe("/topic/exact");
    for number in 0..20_000 {
        publish(&hub, client.id, &[message(&format!("/topic/{number}"), "")]);
    }
    for subscriber in &wild {
        assert!(Arc::strong_count(subscriber) < 18_000);
    }
    publish(&hub, SessionId(2), &[message("/topic/exact", "")]);
    assert_eq!(client.seen().len(), wild.len() + 1);
    assert!(Arc::strong_count(&exact) > 1);
}

#[test]
fn a_message_to_many_subscribers_reaches_all() {
    let hub = hub();
    let mut clients: Vec<_> = (1..=1000).map(Client::tcp).collect();
    for client in &mut clients {
        client.subscribe(&hub, Some("s"), "/topic/a", false);
    }
    publish(
        &hub,
        SessionId(0),
        &[
            message("/topic/a", "1"),
            message("/topic/b", "2"),
            message("/topic/a", "3"),
        ],
    );
    for client in &clients {
        assert_eq!(client.bodies(), ["1", "3"]);
    }
}

// --- Many threads ------------------------------------------------------------------------------

const PUBLISHERS: usize = 2;
const ROUNDS: u64 = 15;

/// Progress of each publisher: the number of the message that is being published, and of the last
/// one that is published.
#[derive(Default)]
struct Progress {
    begun: AtomicU64,
    done: AtomicU64,
}

type Stand = [u64; PUBLISHERS];

/// One subscription that was added and removed, and what must hold for it.
struct Visit {
    client: Client,
    length: usize,
    /// Published before the SUBSCRIBE began: must not arrive.
    before: Stand,
    /// Begun when the SUBSCRIBE was complete: all after these must arrive ...
    begun: Stand,
    /// ... up to those published when the UNSUBSCRIBE began.
    done: Stand,
}

fn stand(progress: &[Progress; PUBLISHERS], of: impl Fn(&Progress) -> &AtomicU64) -> Stand {
    std::array::from_fn(|at| of(&progress[at]).load(Ordering::SeqCst))
}

fn publish_until(hub: &Hub, at: usize, progress: &Progress, stop: &AtomicBool) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        // Sometimes a batch; every second message goes to another destination.
        let batch = 1 + number % 3;
        let messages: Vec<_> = (number + 1..=number + batch)
            .flat_map(|number| {
                ["/topic/t.u", "/topic/elsewhere"]
                    .map(|destination| message(destination, format!("{at} {number}")))
            })
            .collect();
        number += batch;
        progress.begun.store(number, Ordering::SeqCst);
        publish(hub, SessionId(at as u64), &messages);
        progress.done.store(number, Ordering::SeqCst);
    }
}

fn visit(hub: &Hub, id: u64, progress: &[Progress; PUBLISHERS]) -> Visit {
    let mut client = Client::tcp(id);
    let pattern = ["/topic/t.u", "/topic/t.*"][usize::from(id.is_multiple_of(2))];
    let before = stand(progress, |progress| &progress.done);
    let subscriber = client.subscribe(hub, Some("s"), pattern, false);
    let begun = stand(progress, |progress| &progress.begun);
    let more = |progress: &Progress, begun| progress.done.load(Ordering::SeqCst) > begun + 2;
    while !progress
        .iter()
        .zip(begun)
        .all(|(progress, begun)| more(progress, begun))
    {
        std::thread::yield_now();
    }
    let done = stand(progress, |progress| &progress.done);
    // Messages that another publisher is about to write would be removed with the subscription.
    while client.outbox.flush(Instant::now()).unwrap() != Flushed::All {}
    hub.unsubscribe(&subscriber, None, Instant::now());
    let length = client.wire.len();
    Visit {
        client,
        length,
        before,
        begun,
        done,
    }
}

impl Visit {
    fn check(&self) {
        assert_eq!(
            self.client.wire.len(),
            self.length,
            "no message arrives after the end"
        );
        for (at, numbers) in by_publisher(&self.client).iter().enumerate() {
            let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
            assert!(
                numbers.iter().copied().eq(first..=last),
                "in order: {numbers:?}"
            );
            assert!(first > self.before[at], "no message is from before");
            assert!(
                first <= self.begun[at] + 1,
                "no message is missed at the start"
            );
            assert!(last >= self.done[at], "no message is missed at the end");
        }
    }
}

fn by_publisher(client: &Client) -> [Vec<u64>; PUBLISHERS] {
    let mut numbers: [Vec<u64>; PUBLISHERS] = Default::default();
    for body in client.bodies() {
        let (at, number) = body.split_once(' ').unwrap();
        numbers[at.parse::<usize>().unwrap()].push(number.parse().unwrap());
    }
    numbers
}

#[test]
fn a_subscription_gets_all_messages_published_while_it_exists() {
    let hub = hub();
    let progress: [Progress; PUBLISHERS] = Default::default();
    let stop = AtomicBool::new(false);
    let mut steady = Client::tcp(1);
    steady.subscribe(&hub, Some("s"), "/topic/t.u", false);
    let visits: Vec<Visit> = std::thread::scope(|scope| {
        for (at, of) in progress.iter().enumerate() {
            let (hub, stop) = (&hub, &stop);
            scope.spawn(move || publish_until(hub, at, of, stop));
        }
        let visitors = [1000_u64, 2001].map(|first| {
            let (hub, progress) = (&hub, &progress);
            scope.spawn(move || {
                let visits = (first..first + ROUNDS).map(|id| visit(hub, id, progress));
                visits.collect::<Vec<_>>()
            })
        });
        let visits = visitors.map(|visitor| visitor.join().unwrap());
        stop.store(true, Ordering::SeqCst);
        visits.into_iter().flatten().collect()
    });
    assert_eq!(visits.len() as u64, 2 * ROUNDS);
    visits.iter().for_each(Visit::check);
    let done = stand(&progress, |progress| &progress.done);
    for (numbers, done) in by_publisher(&steady).iter().zip(done) {
        assert!(numbers.iter().copied().eq(1..=done));
    }
}
