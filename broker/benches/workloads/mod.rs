//! The workloads: calls of the library from one thread, without sockets or tasks.
//!
//! `broker.rs` measures their time, `instructions.rs` counts their instructions.
#![expect(clippy::unwrap_used, reason = "a workload that fails measures nothing")]

use std::future::Future;
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use stomp_codec::{Command, Decoder, Frame, Item, Limits, Version};
use stompd::config::SlowConsumer;
use stompd::encoding::Framing;
use stompd::encoding::Kind;
use stompd::engine::SessionId;
use stompd::engine::ack::DeliveryId;
use stompd::engine::message::Message;
use stompd::engine::queue::{self, Settled};
use stompd::engine::session::{Action, LoginVerdict, Session, SessionSettings};
use stompd::engine::subscription::{self, Prefetch};
use stompd::hub::{self, Hub, Pressure};
use stompd::metrics::Registry;
use stompd::outbox::{Outbox, OutboxBounds, Policy, RUN_OVERHEAD, Subscriber, Wire};
use stompd::queues::{self, SharedQueue};
use stompd::transport::{Incoming, Transport};
use stompd::websocket::WebSocket;

/// A common operation of a broker.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Number of frames, messages or clients it processes.
    pub(crate) units: u64,
    /// Prepares all that is not measured. The result must be run once.
    pub(crate) prepare: fn() -> Box<dyn FnMut()>,
}

pub(crate) const ALL: [Workload; 6] = [
    Workload {
        name: "receive",
        units: MESSAGES as u64,
        prepare: receive,
    },
    Workload {
        name: "decode",
        units: MESSAGES as u64,
        prepare: decode,
    },
    Workload {
        name: "publish",
        units: (BATCHES * BATCH) as u64,
        prepare: publish,
    },
    Workload {
        name: "ack-individual",
        units: MESSAGES as u64,
        prepare: || acknowledge("client-individual", 1),
    },
    Workload {
        name: "ack-cumulative",
        units: MESSAGES as u64,
        prepare: || acknowledge("client", 10),
    },
    Workload {
        name: "handshake",
        units: CLIENTS,
        prepare: handshake,
    },
];

/// SEND frames over WebSocket as one read brings them, each in a message of its own.
fn receive() -> Box<dyn FnMut()> {
    let frames = (0..MESSAGES).map(|_| masked(&sends("/topic/prices.eu", 1)));
    let mut bytes = BytesMut::from(&frames.collect::<Vec<_>>().concat()[..]);
    let mut transport = Transport::WebSocket(Box::new(WebSocket::new(1 << 20)));
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(Version::V1_2);
    Box::new(move || {
        transport.feed(bytes.split());
        let mut frames = 0;
        while let Some(Incoming::Data(data)) = transport.take_input().unwrap() {
            decoder.push(data);
            while let Some(item) = decoder.decode().unwrap() {
                frames += usize::from(matches!(black_box(item), Item::Frame(_)));
            }
        }
        assert_eq!(frames, MESSAGES);
    })
}

/// SEND frames as one read brings them.
fn decode() -> Box<dyn FnMut()> {
    let bytes = sends("/topic/prices.eu", MESSAGES);
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(Version::V1_2);
    Box::new(move || {
        decoder.push(bytes.clone());
        let mut frames = 0;
        while let Some(item) = decoder.decode().unwrap() {
            frames += usize::from(matches!(black_box(item), Item::Frame(_)));
        }
        assert_eq!(frames, MESSAGES);
    })
}

/// From the messages of a read to the bytes of each subscriber's WebSocket.
fn publish() -> Box<dyn FnMut()> {
    let (hub, wire) = (hub(), Arc::new(Sink::default()));
    let messages = messages("/topic/prices.eu", BATCH);
    for id in 1..=SUBSCRIBERS as u64 {
        Client::new(id, &settings()).subscribe(&hub, &wire, "/topic/prices.eu", "auto");
    }
    // The first one computes the receivers.
    hand_over(&hub, &messages);
    Box::new(move || {
        let before = wire.taken.load(Ordering::Relaxed);
        for _ in 0..BATCHES {
            hand_over(&hub, &messages);
        }
        let taken = wire.taken.load(Ordering::Relaxed) - before;
        assert!(taken > BATCHES * BATCH * SUBSCRIBERS * BODY.len());
    })
}

/// Messages through a queue to one consumer, which acknowledges each `stride`-th by a frame.
fn acknowledge(mode: &str, stride: usize) -> Box<dyn FnMut()> {
    let (hub, wire) = (hub(), Arc::new(Sink::default()));
    let messages = messages("/queue/jobs", MESSAGES);
    let mut consumer = Client::new(1, &settings());
    let (subscriber, queue) = consumer.subscribe(&hub, &wire, "/queue/jobs", mode);
    let queue = queue.unwrap();
    let acks: Vec<_> = (stride..=MESSAGES).step_by(stride).map(ack).collect();
    let reads: Vec<Bytes> = acks
        .chunks(READ / stride)
        .map(|acks| acks.concat().into())
        .collect();
    Box::new(move || {
        for batch in messages.chunks(BATCH) {
            hand_over(&hub, batch);
        }
        let mut settled = 0;
        for read in &reads {
            for action in consumer.say(read) {
                if let Action::Settle(ack) = action
                    && let Settled::Done(count) = queue.settle(
                        &subscriber,
                        ack.delivery.number,
                        ack.verdict,
                        None,
                        consumer.now,
                    )
                {
                    settled += count;
                }
            }
            queue.dispatch(consumer.now);
        }
        assert_eq!(settled, MESSAGES);
    })
}

/// Clients that connect, subscribe and disconnect.
fn handshake() -> Box<dyn FnMut()> {
    let settings = settings();
    Box::new(move || {
        for id in 0..CLIENTS {
            let mut client = Client::new(id, &settings);
            let actions = client.say(&subscribe("/topic/prices.eu", "auto"));
            let actions = actions.into_iter().chain(client.say(&DISCONNECT));
            assert_eq!(actions.filter_map(own_reply).count(), 2);
        }
    })
}

/// A client that is logged in, as the broker sees it.
struct Client {
    id: SessionId,
    decoder: Decoder,
    session: Session,
    now: Instant,
    /// Number of replies so far.
    replies: usize,
}

impl Client {
    fn new(id: u64, settings: &Arc<SessionSettings>) -> Self {
        let (id, now) = (SessionId(id), Instant::now());
        let mut client = Self {
            id,
            decoder: Decoder::new(Limits::default()),
            session: Session::new(id, Arc::clone(settings), true, now),
            now,
            replies: 0,
        };
        assert!(client.say(&CONNECT).is_empty());
        assert_eq!(client.replies, 1);
        client
    }

    /// Returns the actions that its bytes lead to; any login is accepted.
    fn say(&mut self, bytes: &Bytes) -> Vec<Action> {
        let mut actions = Vec::new();
        self.session.on_read(self.now);
        self.decoder.push(bytes.clone());
        while let Some(item) = self.decoder.decode().unwrap() {
            if let Item::Frame(frame) = item {
                self.session.on_frame(frame);
            }
            while let Some(action) = self.next_action() {
                match action {
                    Action::Authenticate(_) => {
                        let welcome = LoginVerdict::Welcome { user: None };
                        self.session.on_verdict(welcome, self.now);
                    }
                    Action::Open(version) => self.decoder.set_version(version),
                    action => actions.push(action),
                }
            }
        }
        actions
    }

    fn next_action(&mut self) -> Option<Action> {
        while let Some(frame) = self.session.next_reply() {
            black_box(frame.encode(Version::V1_2));
            self.replies += 1;
        }
        self.session.next_action()
    }

    fn subscribe(
        &mut self,
        hub: &Hub,
        wire: &Arc<Sink>,
        destination: &str,
        mode: &str,
    ) -> (Arc<Subscriber>, Option<Arc<SharedQueue>>) {
        let actions = self.say(&subscribe(destination, mode));
        let Some(Action::Subscribe(subscription, _)) = actions.into_iter().next() else {
            panic!("SUBSCRIBE leads to a subscription");
        };
        let wire = Arc::<Sink>::clone(wire);
        let subscriber = Arc::new(Subscriber {
            session: self.id,
            subscription,
            kind: Kind {
                version: self.session.version(),
                framing: Framing::Text,
            },
            outbox: Arc::new(Outbox::new(wire, policy(), self.now)),
            ended: AtomicBool::new(false),
            progress: Arc::default(),
        });
        let place = hub.take_place(&subscriber.subscription.pattern).unwrap();
        let queue = hub.subscribe(&subscriber, place, self.now);
        (subscriber, queue)
    }
}

/// Returns the bytes of the reply that is part of an action.
fn own_reply(action: Action) -> Option<Bytes> {
    let frame = match action {
        Action::Subscribe(_, receipt) => receipt,
        Action::Close(closing) => closing.farewell.map(Box::new),
        _ => None,
    };
    frame.map(|frame| frame.encode(Version::V1_2))
}

/// Encodes a text of less than 64 KiB as a client sends it over WebSocket.
fn masked(text: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    let mut bytes = [&[0x81, 0x80 + 126][..], &length, &mask].concat();
    let payload = text.iter().zip(mask.into_iter().cycle());
    bytes.extend(payload.map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A socket that accepts and discards everything.
#[derive(Debug, Default)]
struct Sink {
    taken: AtomicUsize,
}

impl Wire for Sink {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.taken.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }
}

/// Nothing here waits except to yield, and then it continues at once.
fn hand_over(hub: &Hub, messages: &[Message]) {
    let mut pressure = Pressure::default();
    let mut publish = pin!(hub.publish(messages, SessionId(0), &mut pressure, Instant::now()));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = publish.as_mut().poll(&mut context) {
            return done.unwrap();
        }
    }
}

fn hub() -> Hub {
    let queues = queues::QueueSettings {
        bounds: queue::Bounds {
            messages: MESSAGES,
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
    Policy {
        bounds: OutboxBounds {
            bytes: 1 << 20,
            messages: MESSAGES,
            per_run: RUN_OVERHEAD,
        },
        slow_consumer: SlowConsumer::Disconnect,
        patience: Duration::from_secs(1),
    }
}

fn settings() -> Arc<SessionSettings> {
    Arc::new(SessionSettings {
        server: "stompd".into(),
        send: Duration::from_secs(10),
        want: Duration::from_secs(10),
        ping: Duration::from_secs(25),
        stall: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        subscriptions: subscription::Limits {
            count: 10,
            bytes: 1 << 20,
            shapes: 10,
        },
        prefetch: Prefetch {
            messages: READ,
            bytes: None,
        },
    })
}

/// Messages that a session has read.
fn messages(destination: &str, count: usize) -> Vec<Message> {
    let actions = Client::new(0, &settings()).say(&sends(destination, count));
    let message = |action| match action {
        Action::Publish(publication) => publication.message,
        _ => panic!("SEND leads to a message"),
    };
    actions.into_iter().map(message).collect()
}

fn sends(destination: &str, count: usize) -> Bytes {
    let send = Frame::new(Command::Send)
        .with_header("destination", destination)
        .with_header("content-type", "application/json")
        .with_body(BODY);
    send.encode(Version::V1_2).repeat(count).into()
}

fn subscribe(destination: &str, mode: &str) -> Bytes {
    let subscribe = Frame::new(Command::Subscribe)
        .with_header("id", "sub-0")
        .with_header("destination", destination)
        .with_header("ack", mode)
        .with_header("receipt", "1");
    subscribe.encode(Version::V1_2)
}

/// An ACK of the consumer of [`acknowledge`].
fn ack(number: usize) -> Bytes {
    let delivery = DeliveryId {
        session: SessionId(1),
        subscription: 1,
        number: number as u64,
    };
    Frame::new(Command::Ack)
        .with_header("id", &delivery.to_string())
        .encode(Version::V1_2)
}

const CONNECT: Bytes = Bytes::from_static(
    b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:localhost\nheart-beat:10000,10000\n\n\0",
);
const DISCONNECT: Bytes = Bytes::from_static(b"DISCONNECT\nreceipt:2\n\n\0");
const BODY: &[u8] = &[b'x'; 128];

const MESSAGES: usize = 1000;
/// Number of messages in a read.
const BATCH: usize = 64;
const BATCHES: usize = 10;
const SUBSCRIBERS: usize = 100;
/// Number of deliveries a consumer may have; it acknowledges all of them in one read.
const READ: usize = 100;
const CLIENTS: u64 = 100;
