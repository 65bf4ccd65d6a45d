//! Many messages through one queue, whose consumers acknowledge, refuse and are cut off.
//!
//! Each message has a number. A consumer counts an ACK as *sure* when its RECEIPT has arrived; if
//! its connection was cut before that, as *unsure*: the message may be done, or be redelivered. So
//! each number must have exactly one sure ACK, or at least one unsure one and no redelivery.
//!
//! 20,000 messages, or as many as `STOMPD_TORTURE` says: `tests/run long-torture` sends 1,000,000.

use std::fmt::Write;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use stomp_codec::{Command, Decoder, Frame, Item, Limits, Version};
use support::broker::TestBroker;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const QUEUE: &str = "/queue/torture";
const CONSUMERS: u64 = 16;
const PUBLISHERS: usize = 4;

/// How long a consumer waits for more before it answers its deliveries.
const LULL: Duration = Duration::from_millis(50);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of each message, and the totals.
#[derive(Debug, Default)]
struct Ledger {
    messages: Mutex<Vec<Known>>,
    /// Messages that have an ACK, sure or not.
    acknowledged: AtomicUsize,
    again: AtomicUsize,
    redeliveries: AtomicUsize,
    nacks: AtomicUsize,
    kills: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    sure: bool,
    unsure: bool,
    seen: bool,
}

impl Ledger {
    fn new(messages: usize) -> Self {
        Self {
            messages: Mutex::new(vec![Known::default(); messages]),
            ..Self::default()
        }
    }

    fn delivered(&self, number: usize, redelivered: bool) {
        let known = &mut self.messages.lock().unwrap()[number];
        assert!(!known.sure, "{number} was acknowledged and is redelivered");
        // The first reader may also get it marked: another one was cut before it read it.
        assert!(
            redelivered || !known.seen,
            "{number} is redelivered unmarked"
        );
        known.seen = true;
        if std::mem::take(&mut known.unsure) {
            self.acknowledged.fetch_sub(1, Ordering::SeqCst);
            self.again.fetch_add(1, Ordering::Relaxed);
        }
        self.redeliveries
            .fetch_add(usize::from(redelivered), Ordering::Relaxed);
    }

    fn acknowledged(&self, numbers: &[usize], sure: bool) {
        let mut messages = self.messages.lock().unwrap();
        for number in numbers {
            let known = &mut messages[*number];
            assert!(!known.sure && !known.unsure, "{number} is done twice");
            (known.sure, known.unsure) = (sure, !sure);
        }
        self.acknowledged.fetch_add(numbers.len(), Ordering::SeqCst);
    }

    fn is_done(&self, all: usize) -> bool {
        self.acknowledged.load(Ordering::SeqCst) >= all
    }

    #[expect(clippy::print_stdout, reason = "the totals are the output")]
    fn check(&self, all: usize) {
        let messages = self.messages.lock().unwrap();
        let sure = messages.iter().filter(|known| known.sure).count();
        let unsure = messages.iter().filter(|known| known.unsure).count();
        let sum = |sum: &AtomicUsize| sum.load(Ordering::SeqCst);
        println!(
            "{all} sent: {sure} ACKs with RECEIPT and {unsure} without that did not come again; {} \
             ACKs without RECEIPT that did, {} redelivered, {} NACKs, {} connections cut",
            sum(&self.again),
            sum(&self.redeliveries),
            sum(&self.nacks),
            sum(&self.kills)
        );
        assert_eq!(sure + unsure, all, "none is lost");
    }
}

/// Deterministic pseudo-random numbers: Knuth's MMIX generator.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A connection that reads frames as they arrive.
struct Line {
    stream: TcpStream,
    decoder: Decoder,
}

impl Line {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut decoder = Decoder::new(Limits::default());
        decoder.set_version(Version::V1_2);
        let mut line = Self { stream, decoder };
        line.send("CONNECT\naccept-version:1.2\n\n\0").await;
        assert_eq!(line.next().await.command, Command::Connected);
        line
    }

    async fn send(&mut self, frames: &str) {
        self.stream.write_all(frames.as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Frame {
        timeout(PATIENCE, self.read()).await.unwrap()
    }

    async fn read(&mut self) -> Frame {
        loop {
            match self.decoder.decode().unwrap() {
                Some(Item::Frame(frame)) => return frame,
                Some(Item::HeartBeat) => {}
                None => {
                    let mut bytes = BytesMut::with_capacity(64 * 1024);
                    let count = self.stream.read_buf(&mut bytes).await.unwrap();
                    assert!(count > 0, "the broker closed the connection");
                    self.decoder.push(bytes.freeze());
                }
            }
        }
    }

    /// Cuts the connection: with RST, so that bytes in flight are lost, or after the written ones.
    fn cut(self, abruptly: bool) {
        if abruptly {
            SockRef::from(&self.stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    }
}

async fn publish(address: SocketAddr, numbers: Range<usize>) {
    let mut line = Line::open(address).await;
    let mut number = numbers.start;
    while number < numbers.end {
        let last = numbers.end.min(number + 500);
        let mut frames = String::new();
        for number in number..last {
            let receipt = if number + 1 == last {
                "receipt:r\n"
            } else {
                ""
            };
            write!(frames, "SEND\ndestination:{QUEUE}\n{receipt}\n{number}\0").unwrap();
        }
        line.send(&frames).await;
        let receipt = line.next().await;
        assert_eq!(receipt.command, Command::Receipt, "{receipt:?}");
        number = last;
    }
}

/// A consumer on one connection.
struct Consumer {
    line: Line,
    ledger: Arc<Ledger>,
    /// Unanswered deliveries: the number, and the id for the ACK.
    given: Vec<(usize, String)>,
}

impl Consumer {
    async fn open(address: SocketAddr, prefetch: usize, ledger: &Arc<Ledger>) -> Self {
        let mut line = Line::open(address).await;
        let subscribe = format!(
            "SUBSCRIBE\nid:0\ndestination:{QUEUE}\nack:client-individual\nprefetch-count:{prefetch}\n\n\0"
        );
        line.send(&subscribe).await;
        Self {
            line,
            ledger: Arc::clone(ledger),
            given: Vec::new(),
        }
    }

    /// Waits until it has this many deliveries, or nothing arrives for a while.
    async fn take(&mut self, count: usize) {
        while self.given.len() < count {
            match timeout(LULL, self.line.read()).await {
                Ok(frame) => self.on_message(&frame),
                Err(_) => return,
            }
        }
    }

    fn on_message(&mut self, frame: &Frame) {
        assert_eq!(frame.command, Command::Message, "{frame:?}");
        let number = std::str::from_utf8(&frame.body).unwrap().parse().unwrap();
        let redelivered = frame.header("redelivered") == Some("true");
        self.ledger.delivered(number, redelivered);
        let ack = frame.header("ack").unwrap().to_owned();
        self.given.push((number, ack));
    }

    /// Answers all deliveries in any order: this percentage is refused, the others are
    /// acknowledged. With a chance of 3 in 100 its connection is to be cut before it can know what
    /// the broker received; then this returns `false`.
    async fn answer(&mut self, random: &mut Random, refused: usize) -> bool {
        let (mut frames, mut acknowledged) = (String::new(), Vec::new());
        let mut given = std::mem::take(&mut self.given);
        while !given.is_empty() {
            let (number, id) = given.swap_remove(random.below(given.len()));
            if random.below(100) < refused {
                write!(frames, "NACK\nid:{id}\n\n\0").unwrap();
                self.ledger.nacks.fetch_add(1, Ordering::Relaxed);
            } else {
                write!(frames, "ACK\nid:{id}\n\n\0").unwrap();
                acknowledged.push(number);
            }
        }
        // One RECEIPT confirms all frames before it.
        frames.push_str("UNSUBSCRIBE\nid:none\nreceipt:done\n\n\0");
        if refused > 0 && random.below(100) < 3 {
            let part = random.below(2 * frames.len()).min(frames.len());
            self.line.send(&frames[..part]).await;
            self.ledger.acknowledged(&acknowledged, false);
            return false;
        }
        self.line.send(&frames).await;
        loop {
            let frame = self.line.next().await;
            if frame.command == Command::Receipt {
                break;
            }
            self.on_message(&frame);
        }
        self.ledger.acknowledged(&acknowledged, true);
        true
    }
}

/// Consumes until all messages have an ACK, on one connection after the other.
async fn consume(address: SocketAddr, seed: u64, all: usize, ledger: Arc<Ledger>) {
    let mut random = Random(seed);
    while !ledger.is_done(all) {
        let prefetch = 1 + random.below(100);
        let mut consumer = Consumer::open(address, prefetch, &ledger).await;
        for _ in 0..random.below(100) {
            consumer.take(1 + random.below(prefetch)).await;
            if !consumer.answer(&mut random, 10).await || ledger.is_done(all) {
                break;
            }
        }
        ledger.kills.fetch_add(1, Ordering::Relaxed);
        consumer.line.cut(random.below(2) == 0);
    }
}

/// Consumes what returned when the last ones were cut.
async fn consume_the_rest(broker: &TestBroker, address: SocketAddr, ledger: &Arc<Ledger>) {
    broker
        .wait_for("stompd_connections{transport=\"tcp\"}", 0.0)
        .await;
    let mut consumer = Consumer::open(address, 1000, ledger).await;
    while broker.metric("stompd_queue_messages_ready").await > 0.0
        || broker.metric("stompd_queue_messages_unacknowledged").await > 0.0
    {
        consumer.take(1000).await;
        assert!(consumer.answer(&mut Random(0), 0).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_is_acknowledged_once_although_consumers_are_cut_off() {
    let asked = std::env::var("STOMPD_TORTURE").ok();
    let all = asked.map_or(20_000, |count| count.parse().unwrap());
    let broker = TestBroker::with(|config| {
        config.queue.max_length = 2 * all;
        config.queue.max_bytes = 1024 * all.max(1 << 20);
    })
    .await;
    let address = broker.broker.tcp().unwrap();
    let ledger = Arc::new(Ledger::new(all));
    let mut tasks = JoinSet::new();
    for part in 0..PUBLISHERS {
        tasks.spawn(publish(
            address,
            all * part / PUBLISHERS..all * (part + 1) / PUBLISHERS,
        ));
    }
    for seed in 1..=CONSUMERS {
        tasks.spawn(consume(address, seed, all, Arc::clone(&ledger)));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    consume_the_rest(&broker, address, &ledger).await;
    ledger.check(all);
    broker.wait_for("stompd_queues", 0.0).await;
    for name in ["stompd_queue_messages_ready", "stompd_queue_bytes"] {
        broker.wait_for(name, 0.0).await;
    }
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    broker
        .wait_for("stompd_messages_acknowledged_total", all as f64)
        .await;
}
