//! The outbox with a socket that takes what the test allows, compared with a simple list of
//! frames.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use stomp_codec::{Command, Frame, Headers, Version};
use stompd::config::SlowConsumer;
use stompd::encoding::{EncodedRun, Framing, Kind, MessageIds, RunEncoder, Scratch};
use stompd::engine::destination::Destination;
use stompd::engine::message::Message;
use stompd::engine::refusal::Refusal;
use stompd::outbox::{
    AT_ONCE, Backlog, Delivered, Flushed, Notice, Outbox, OutboxBounds, OutboxLoad, Policy,
    Progress, Track, Write,
};
use support::peer::Seen;
use support::websocket::{FIN, PONG, unmasked};
use support::wire::{MemoryWire, read};

const KIND: Kind = Kind {
    version: Version::V1_2,
    framing: Framing::Text,
};
/// A message did not fit.
const OVERFLOW: Notice = Notice::Refuse(Refusal::SlowConsumer);
const DESTINATIONS: [&str; 3] = ["/topic/a", "/topic/b", "/topic/a/b"];
const QUEUE: &str = "/queue/q";
/// The subscription whose deliveries are acknowledged; those of others are settled when written.
const ACKNOWLEDGED: u32 = 3;

/// Messages to one destination with bodies of these sizes, numbered from `first`.
fn encoded(destination: &str, subscription: u32, first: u64, sizes: &[usize]) -> Arc<EncodedRun> {
    let messages: Vec<_> = sizes
        .iter()
        .map(|&size| Message {
            destination: Destination::parse(destination).unwrap(),
            headers: Headers::new(),
            body: vec![b'x'; size].into(),
        })
        .collect();
    let ids = MessageIds { prefix: "m", first };
    let mut scratch = Scratch::default();
    let mut run = RunEncoder::new(&messages, ids, &mut scratch);
    Arc::new(run.encode(KIND, Some(&format!("s{subscription}"))))
}

fn frames(encoded: &EncodedRun) -> Vec<Vec<u8>> {
    (0..encoded.len())
        .map(|at| encoded.bytes()[encoded.start(at)..encoded.start(at + 1)].to_vec())
        .collect()
}

fn track(progress: &Arc<Progress>, first: u64, reports: bool) -> Track {
    Track {
        progress: Arc::clone(progress),
        first,
        reports,
    }
}

fn receipt(number: usize, padding: usize) -> Bytes {
    let id = format!("{number}-{}", "x".repeat(padding));
    let frame = Frame::new(Command::Receipt).with_header("receipt-id", &id);
    KIND.framing.wrap(&frame.encode(KIND.version))
}

fn pong(number: usize) -> Bytes {
    unmasked(FIN | PONG, number.to_string().as_bytes()).into()
}

fn is_ready(future: impl Future<Output = ()>) -> bool {
    pin!(future)
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        == Poll::Ready(())
}

// --- The model ---------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Message {
        destination: usize,
        subscription: u32,
    },
    Delivery {
        subscription: u32,
    },
    Reply,
    Control,
    Beat,
    Ping,
}

#[derive(Debug)]
struct Entry {
    what: What,
    bytes: Vec<u8>,
    written: usize,
}

/// The specification of the outbox, frame by frame.
#[derive(Debug)]
struct Model {
    policy: Policy,
    line: VecDeque<Entry>,
    stream: Vec<u8>,
    budget: usize,
    at_once: usize,
    broken: bool,
    open: bool,
    ended: [bool; 4],
    /// Number of deliveries written for each subscription.
    written: [u64; 4],
    progressed: BTreeSet<u32>,
    waiting: BTreeSet<u32>,
    notices: BTreeSet<&'static str>,
    /// Bytes that the socket took because a message did not fit, or because much was queued.
    drained: usize,
    now: Instant,
    last_write: Instant,
    last_data: Instant,
    replies_since: Option<Instant>,
}

impl Model {
    fn new(policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            line: VecDeque::new(),
            stream: Vec::new(),
            budget: usize::MAX,
            at_once: usize::MAX,
            broken: false,
            open: true,
            ended: [false; 4],
            written: [0; 4],
            progressed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            notices: BTreeSet::new(),
            drained: 0,
            now,
            last_write: now,
            last_data: now,
            replies_since: None,
        }
    }

    /// Number of queued frames of a kind, and their bytes.
    fn load(&self, of: impl Fn(What) -> bool) -> (usize, usize) {
        let waiting = self.line.iter().filter(|entry| of(entry.what));
        waiting.fold((0, 0), |(frames, bytes), entry| {
            (frames + 1, bytes + entry.bytes.len())
        })
    }

    fn messages(&self) -> (usize, usize) {
        self.load(|what| matches!(what, What::Message { .. }))
    }

    fn deliveries(&self) -> (usize, usize) {
        self.load(|what| matches!(what, What::Delivery { .. }))
    }

    fn has_room(&self) -> bool {
        let OutboxBounds {
            messages, bytes, ..
        } = self.policy.bounds;
        let load = self.deliveries();
        load.0 <= messages / 2 && load.1 <= bytes / 2
    }

    /// The deliveries of a subscription of which at least a byte is written.
    fn begun(&self, subscription: u32) -> u64 {
        let front = self.line.front().filter(|front| front.written > 0);
        let is_its = front.is_some_and(|front| front.what == What::Delivery { subscription });
        self.written[subscription as usize] + u64::from(is_its)
    }

    fn replies(&self) -> (usize, usize) {
        self.load(|what| matches!(what, What::Reply | What::Control))
    }

    /// Writes this many bytes of the line.
    fn write(&mut self, mut bytes: usize) {
        while let Some(front) = self.line.front_mut().filter(|_| bytes > 0) {
            let part = bytes.min(front.bytes.len() - front.written);
            self.stream
                .extend_from_slice(&front.bytes[front.written..front.written + part]);
            front.written += part;
            bytes -= part;
            self.budget -= part;
            self.last_write = self.now;
            if !matches!(front.what, What::Control | What::Ping) {
                self.last_data = self.now;
            }
            if front.written == front.bytes.len() {
                if let What::Delivery { subscription } = front.what {
                    self.written[subscription as usize] += 1;
                    let reports = subscription != ACKNOWLEDGED;
                    if reports {
                        self.progressed.insert(subscription);
                    }
                }
                self.line.pop_front();
            }
        }
        if self.replies().0 == 0 {
            self.replies_since = None;
        }
    }

    fn flush(&mut self) -> Option<Flushed> {
        if self.broken && !self.line.is_empty() {
            self.open = false;
            return None;
        }
        self.write(self.budget);
        Some(if self.line.is_empty() {
            Flushed::All
        } else {
            Flushed::Blocked
        })
    }

    /// Returns the numbers of accepted and dropped messages, and whether a flush is requested.
    fn push(&mut self, frames: Vec<Vec<u8>>, what: What, write: Write) -> (usize, usize, bool) {
        let What::Message {
            destination,
            subscription,
        } = what
        else {
            unreachable!("a message")
        };
        if !self.open || self.ended[subscription as usize] {
            return (0, 0, false);
        }
        let was_empty = self.line.is_empty();
        let all: usize = frames.iter().map(Vec::len).sum();
        let mut at_once = 0;
        if was_empty && write == Write::Now && !self.broken {
            at_once = all.min(self.budget).min(self.at_once).min(AT_ONCE);
        }
        let whole = at_once == all;
        let (count, mut accepted, mut dropped) = (frames.len(), 0, 0);
        let mut all_begun = 0;
        for bytes in frames {
            let size = bytes.len();
            let begun = at_once > 0;
            if begun || self.make_room(size, destination, &mut dropped) {
                self.line.push_back(Entry {
                    what,
                    bytes,
                    written: 0,
                });
                accepted += 1;
                all_begun += usize::from(begun);
                let now = at_once.min(size);
                self.write(now);
                at_once -= now;
            } else if self.policy.slow_consumer == SlowConsumer::Disconnect {
                self.open = false;
                self.notices.insert("overflow");
                dropped += count - accepted - dropped + self.remove(|_| true);
                accepted = all_begun;
                break;
            } else {
                dropped += 1;
            }
        }
        (
            accepted,
            dropped,
            was_empty && write == Write::Later && !whole,
        )
    }

    /// Accepts deliveries until the limit is reached, and tells the caller.
    fn deliver(&mut self, frames: Vec<Vec<u8>>, subscription: u32) -> Delivered {
        if !self.open || self.ended[subscription as usize] {
            return Delivered::default();
        }
        if self.is_full_of_deliveries() {
            return REFUSED;
        }
        let mut at_once = 0;
        if self.line.is_empty() && !self.broken {
            let all: usize = frames.iter().map(Vec::len).sum();
            at_once = all.min(self.budget).min(self.at_once).min(AT_ONCE);
        }
        let entry = |bytes| Entry {
            what: What::Delivery { subscription },
            bytes,
            written: 0,
        };
        self.line.extend(frames.into_iter().map(entry));
        // The caller sees what is written at once.
        let progressed = self.progressed.clone();
        self.write(at_once);
        self.progressed = progressed;
        Delivered {
            taken: true,
            full: self.is_full_of_deliveries(),
        }
    }

    fn is_full_of_deliveries(&self) -> bool {
        let (frames, bytes) = self.deliveries();
        let OutboxBounds {
            messages,
            bytes: limit,
            ..
        } = self.policy.bounds;
        frames >= messages || bytes >= limit
    }

    /// Older messages to the same destination are dropped, if that helps.
    fn make_room(&mut self, size: usize, destination: usize, dropped: &mut usize) -> bool {
        let Policy {
            bounds,
            slow_consumer,
            ..
        } = self.policy;
        let fits = |(frames, bytes)| {
            frames == 0 || (frames < bounds.messages && bytes + size <= bounds.bytes)
        };
        if !fits(self.messages()) {
            let left = |entry: &Entry| entry.bytes.len() - entry.written;
            let drained = self.drained.min(self.line.iter().map(left).sum());
            self.drained -= drained;
            self.write(drained);
        }
        let is_own = |entry: &Entry| {
            entry.written == 0
                && matches!(entry.what, What::Message { destination: other, .. } if other == destination)
        };
        let own: Vec<_> = self.line.iter().filter(|entry| is_own(entry)).collect();
        let bytes: usize = own.iter().map(|entry| entry.bytes.len()).sum();
        let all = self.messages();
        let could_fit = fits((all.0 - own.len(), all.1 - bytes));
        while !fits(self.messages()) {
            if !could_fit || slow_consumer == SlowConsumer::Disconnect {
                return false;
            }
            let oldest = self.line.iter().position(is_own).unwrap();
            self.line.remove(oldest);
            *dropped += 1;
        }
        true
    }

    /// Removes the messages and deliveries of a subscription that are not begun. Returns the number
    /// of messages: deliveries are not lost, as their queue has them.
    fn remove(&mut self, of: impl Fn(u32) -> bool) -> usize {
        let before = self.messages().0;
        self.line.retain(|entry| match entry.what {
            What::Message { subscription, .. } | What::Delivery { subscription } => {
                entry.written > 0 || !of(subscription)
            }
            _ => true,
        });
        before - self.messages().0
    }

    fn append(&mut self, what: What, bytes: &[u8]) {
        if matches!(what, What::Beat | What::Ping) && self.load(|other| other == what).0 > 0 {
            return;
        }
        if matches!(what, What::Reply | What::Control) {
            self.replies_since.get_or_insert(self.now);
        }
        let begun = self.line.front().is_some_and(|front| front.written > 0);
        let at = match what {
            What::Ping => usize::from(begun),
            _ => self.line.len(),
        };
        let entry = Entry {
            what,
            bytes: bytes.to_vec(),
            written: 0,
        };
        self.line.insert(at, entry);
    }
}

// --- The steps ---------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Push {
        destination: usize,
        subscription: u32,
        sizes: Vec<usize>,
        write: Write,
    },
    Deliver {
        subscription: u32,
        sizes: Vec<usize>,
    },
    /// The queue of this subscription asks whether it may continue.
    WaitForRoom(u32),
    News,
    Reply(usize),
    Control,
    Beat,
    Ping,
    Flush,
    /// The socket takes this many bytes from now on, at most this many per write.
    Allow(usize, usize),
    EndSubscription(u32),
    End,
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![20 => 0_usize..60, 1 => Just(70_000_usize)];
    let budget = prop_oneof![
        4 => 0_usize..500,
        1 => Just(0_usize),
        1 => 60_000_usize..160_000,
        1 => Just(usize::MAX),
    ];
    let write = select(&[Write::Now, Write::Later][..]);
    prop_oneof![
        20 => (1_u32..4, vec(size.clone(), 1..6))
            .prop_map(|(subscription, sizes)| Step::Deliver { subscription, sizes }),
        5 => (1_u32..4).prop_map(Step::WaitForRoom),
        5 => Just(Step::News),
        40 => (0_usize..3, 1_u32..4, vec(size, 1..6), write).prop_map(
            |(destination, subscription, sizes, write)| Step::Push { destination, subscription, sizes, write }
        ),
        8 => (0_usize..80).prop_map(Step::Reply),
        4 => Just(Step::Control),
        6 => Just(Step::Beat),
        6 => Just(Step::Ping),
        20 => Just(Step::Flush),
        20 => (budget, prop_oneof![3 => Just(usize::MAX), 1 => 1_usize..100])
            .prop_map(|(bytes, at_once)| Step::Allow(bytes, at_once)),
        2 => (1_u32..4).prop_map(Step::EndSubscription),
        1 => Just(Step::End),
        1 => Just(Step::Break),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let bytes = select(&[1_usize, 200, 500, 2000, 200_000][..]);
    let messages = select(&[1_usize, 2, 3, 8, 1000][..]);
    let slow_consumer = select(&[SlowConsumer::Disconnect, SlowConsumer::DropOldest][..]);
    (bytes, messages, slow_consumer).prop_map(|(bytes, messages, slow_consumer)| Policy {
        bounds: OutboxBounds {
            bytes,
            messages,
            per_run: 0,
        },
        slow_consumer,
        patience: Duration::ZERO,
    })
}

/// An outbox and its model, which get the same steps.
struct Pair {
    outbox: Outbox,
    wire: Arc<MemoryWire>,
    model: Model,
    ended: [AtomicBool; 4],
    progress: [Arc<Progress>; 4],
    /// Number of deliveries given to each subscription.
    given: [u64; 4],
    next: usize,
    offered: usize,
    lost: usize,
    notices: BTreeSet<&'static str>,
}

impl Pair {
    fn new(policy: Policy) -> Self {
        let now = Instant::now();
        let wire = MemoryWire::open();
        Self {
            outbox: Outbox::new(Arc::<MemoryWire>::clone(&wire), policy, now),
            wire,
            model: Model::new(policy, now),
            ended: Default::default(),
            progress: Default::default(),
            given: [0; 4],
            next: 1,
            offered: 0,
            lost: 0,
            notices: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        self.model.now += Duration::from_secs(1);
        let now = self.model.now;
        self.next += 1;
        match step {
            Step::Push {
                destination,
                subscription,
                sizes,
                write,
            } => self.push(*destination, *subscription, sizes, *write),
            Step::Deliver {
                subscription,
                sizes,
            } => self.deliver(*subscription, sizes),
            Step::WaitForRoom(number) => {
                let room = !self.model.open || self.model.has_room();
                self.model.waiting.extend((!room).then_some(*number));
                assert_eq!(self.outbox.wait_for_room(*number), room);
            }
            Step::News => self.news(),
            Step::Reply(padding) => {
                let reply = receipt(self.next, *padding);
                self.model.append(What::Reply, &reply);
                self.outbox.reply(reply, now);
            }
            Step::Control => {
                let control = pong(self.next);
                self.model.append(What::Control, &control);
                self.outbox.control(control, now);
            }
            Step::Beat => {
                self.model.append(What::Beat, &KIND.framing.beat());
                self.outbox.beat(KIND.framing.beat());
            }
            Step::Ping => {
                self.model.append(What::Ping, &KIND.framing.ping());
                self.outbox.ping(KIND.framing.ping());
            }
            Step::Flush => self.flush(),
            Step::Allow(bytes, at_once) => {
                (self.model.budget, self.model.at_once) = (*bytes, *at_once);
                self.wire.allow(*bytes);
                self.wire.allow_at_once(*at_once);
            }
            Step::EndSubscription(number) => {
                self.model.ended[*number as usize] = true;
                let left = self.model.remove(|subscription| subscription == *number);
                self.model.waiting.remove(number);
                let ended = &self.ended[*number as usize];
                assert_eq!(self.outbox.end_subscription(*number, ended), left);
                self.lost += left;
            }
            Step::End => {
                self.model.open = false;
                let left = self.model.remove(|_| true);
                assert_eq!(self.outbox.end().0, left);
                self.lost += left;
            }
            Step::Break => {
                self.model.broken = true;
                self.wire.break_off();
            }
        }
        self.compare();
    }

    fn deliver(&mut self, subscription: u32, sizes: &[usize]) {
        let first = self.next as u64 * 100;
        let encoded = encoded(QUEUE, subscription, first, sizes);
        let expected = self.model.deliver(frames(&encoded), subscription);
        let at = subscription as usize;
        let track = track(
            &self.progress[at],
            self.given[at] + 1,
            subscription != ACKNOWLEDGED,
        );
        let now = self.model.now;
        let delivered = self
            .outbox
            .deliver(&encoded, subscription, &self.ended[at], track, now);
        assert_eq!(delivered, expected);
        if delivered.taken {
            self.given[at] += sizes.len() as u64;
        }
    }

    fn news(&mut self) {
        let news = self.outbox.take_news();
        let progressed = std::mem::take(&mut self.model.progressed);
        assert_eq!(news.written, Vec::from_iter(progressed));
        let mut room = BTreeSet::new();
        if self.model.has_room() {
            room = std::mem::take(&mut self.model.waiting);
        }
        assert_eq!(news.room, Vec::from_iter(room));
    }

    fn push(&mut self, destination: usize, subscription: u32, sizes: &[usize], write: Write) {
        let first = self.next as u64 * 100;
        let encoded = encoded(DESTINATIONS[destination], subscription, first, sizes);
        let frames = frames(&encoded);
        if self.model.open && !self.ended[subscription as usize].load(Ordering::Relaxed) {
            self.offered += frames.len();
        }
        let what = What::Message {
            destination,
            subscription,
        };
        let (was_blocked, was_empty) = (
            self.outbox.outbound_state().blocked,
            self.model.line.is_empty(),
        );
        let ended = &self.ended[subscription as usize];
        let pushed = self
            .outbox
            .push(&encoded, subscription, ended, write, self.model.now);
        self.take_notices();
        if self.notices.contains("lost") {
            assert!(self.model.broken && !was_blocked);
            self.model.notices.insert("lost");
        }
        // It may write any part of the queued frames, as long as the socket can take it.
        let at_once = was_empty && write == Write::Now;
        self.model.drained = if at_once { 0 } else { pushed.written };
        assert!(self.model.drained == 0 || !was_blocked);
        let (accepted, dropped, flush) = self.model.push(frames, what, write);
        let drained = std::mem::take(&mut self.model.drained);
        self.model.write(drained);
        self.model.open &= !self.notices.contains("lost");
        assert_eq!(
            (pushed.accepted, pushed.dropped, pushed.flush),
            (accepted, dropped, flush)
        );
        self.lost += dropped;
    }

    fn flush(&mut self) {
        let expected = self.model.flush();
        let flushed = loop {
            match self.outbox.flush(self.model.now) {
                Ok(Flushed::Some) => {}
                other => break other.ok(),
            }
        };
        assert_eq!(flushed, expected);
    }

    fn take_notices(&mut self) {
        while let Some(notice) = self.outbox.take_notice() {
            self.notices.insert(match notice {
                OVERFLOW => "overflow",
                Notice::Lost => "lost",
                Notice::Refuse(_) | Notice::Stop => panic!("not expected here: {notice:?}"),
            });
        }
    }

    fn compare(&mut self) {
        let Model { policy, line, .. } = &self.model;
        let (frames, bytes) = self.model.messages();
        assert!(frames <= policy.bounds.messages || frames <= 1);
        assert!(bytes <= policy.bounds.bytes || frames <= 1);
        assert_eq!(self.outbox.is_empty(), line.is_empty());
        let (replies, bytes) = self.model.replies();
        assert_eq!(
            self.outbox.is_full_of_replies(OutboxLoad::default()),
            replies >= policy.bounds.messages || bytes >= policy.bounds.bytes
        );
        let link = self.outbox.outbound_state();
        let stuck = self.model.replies_since.filter(|_| replies > 0);
        assert_eq!(link.last_write, self.model.last_write);
        assert_eq!(link.last_data, self.model.last_data);
        assert!(!link.blocked || !line.is_empty());
        assert_eq!(
            link.replies_stuck,
            stuck.map(|since| since.max(link.last_write))
        );
        for number in 1..4 {
            let progress = &self.progress[number as usize];
            assert_eq!(progress.written(), self.model.written[number as usize]);
            assert_eq!(progress.begun(), self.model.begun(number));
        }
        self.take_notices();
        assert_eq!(
            std::mem::take(&mut self.notices),
            std::mem::take(&mut self.model.notices)
        );
        assert!(
            self.wire.written() == self.model.stream,
            "the bytes are equal"
        );
    }

    /// The peer reads to the end: whole frames in a legal order, and every loss is reported.
    fn finish(mut self) {
        if self.model.broken {
            return;
        }
        self.step(&Step::Allow(usize::MAX, usize::MAX));
        self.step(&Step::Flush);
        assert!(self.outbox.is_empty());
        self.step(&Step::News);
        let (seen, rest) = read(KIND, &self.wire.written());
        assert_eq!(rest, 0, "only whole frames");
        let (mut messages, mut deliveries) = (0, 0);
        let mut last = HashMap::new();
        for seen in seen {
            let (line, number) = match &seen {
                Seen::Frame(frame, _) if frame.starts_with("MESSAGE") => {
                    let lines: Vec<_> = frame.lines().collect();
                    if lines[3].ends_with(QUEUE) {
                        deliveries += 1;
                    } else {
                        messages += 1;
                    }
                    let id = lines[2].strip_prefix("message-id:m-").unwrap();
                    (
                        format!("{} {}", lines[1], lines[3]),
                        id.parse::<u64>().unwrap(),
                    )
                }
                Seen::Frame(frame, _) => {
                    let id = frame.strip_prefix("RECEIPT\nreceipt-id:").unwrap();
                    (
                        String::new(),
                        id.split('-').next().unwrap().parse().unwrap(),
                    )
                }
                Seen::Pong(number) => {
                    let number = String::from_utf8(number.to_vec()).unwrap();
                    (String::new(), number.parse().unwrap())
                }
                _ => continue,
            };
            let before = last.insert(line, number);
            assert!(before.is_none_or(|before| before < number), "in order");
        }
        assert_eq!(self.offered, messages + self.lost, "every loss is reported");
        assert_eq!(deliveries, self.model.written.iter().sum::<u64>());
    }
}

proptest! {
    #[test]
    fn an_outbox_behaves_like_its_model(policy in policy(), steps in vec(step(), 1..80)) {
        let mut pair = Pair::new(policy);
        for step in &steps {
            pair.step(step);
        }
        pair.finish();
    }
}

// --- Single rules ------------------------------------------------------------------------------

fn outbox(wire: &Arc<MemoryWire>, messages: usize, slow_consumer: SlowConsumer) -> Outbox {
    let bounds = OutboxBounds {
        bytes: 1 << 20,
        messages,
        per_run: 0,
    };
    let policy = Policy {
        bounds,
        slow_consumer,
        patience: Duration::ZERO,
    };
    Outbox::new(Arc::<MemoryWire>::clone(wire), policy, Instant::now())
}

fn shown(wire: &MemoryWire) -> Vec<String> {
    let (seen, rest) = read(KIND, &wire.written());
    assert_eq!(rest, 0, "only whole frames");
    let show = |seen| match seen {
        Seen::Frame(frame, _) => {
            let line = frame.lines().find(|line| line.contains("-id:")).unwrap();
            line.split(':').next_back().unwrap().to_owned()
        }
        other => format!("{other:?}"),
    };
    seen.into_iter().map(show).collect()
}

#[test]
fn a_ping_goes_before_all_frames_that_are_not_begun() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    outbox.push(
        &encoded("/topic/a", 1, 1, &[5, 5]),
        1,
        &AtomicBool::new(false),
        Write::Now,
        now,
    );
    outbox.reply(receipt(3, 0), now);
    outbox.ping(KIND.framing.ping());
    outbox.ping(KIND.framing.ping());
    assert_eq!(outbox.outbound_state().ping_progress, None);
    wire.allow(usize::MAX);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::All);
    assert_eq!(shown(&wire), ["Ping", "m-1", "m-2", "3-"]);
    assert_eq!(
        outbox.outbound_state().ping_progress,
        None,
        "no progress before it"
    );
}

#[test]
fn a_ping_behind_a_begun_frame_sees_its_progress() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let wire = MemoryWire::taking(10);
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    outbox.push(
        &encoded("/topic/a", 1, 1, &[5, 5]),
        1,
        &AtomicBool::new(false),
        Write::Now,
        now,
    );
    outbox.ping(KIND.framing.ping());
    assert_eq!(outbox.flush(now + second).unwrap(), Flushed::Blocked);
    assert_eq!(outbox.outbound_state().ping_progress, None);
    wire.allow(7);
    assert_eq!(outbox.flush(now + 2 * second).unwrap(), Flushed::Blocked);
    assert_eq!(
        outbox.outbound_state().ping_progress,
        Some(now + 2 * second)
    );
    wire.allow(usize::MAX);
    assert_eq!(outbox.flush(now + 3 * second).unwrap(), Flushed::All);
    assert_eq!(
        outbox.outbound_state().ping_progress,
        Some(now + 3 * second)
    );
    assert_eq!(shown(&wire), ["m-1", "Ping", "m-2"]);
    outbox.ping(KIND.framing.ping());
    assert_eq!(
        outbox.outbound_state().ping_progress,
        None,
        "it belongs to another Ping"
    );
}

#[test]
fn drop_oldest_drops_from_the_same_destination_only() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 3, SlowConsumer::DropOldest);
    let push = |destination, first: u64| {
        let pushed = outbox.push(
            &encoded(destination, 1, first, &[1]),
            1,
            &never,
            Write::Now,
            now,
        );
        (pushed.accepted, pushed.dropped)
    };
    assert_eq!(push("/topic/a", 1), (1, 0));
    assert_eq!(push("/topic/b", 2), (1, 0));
    assert_eq!(push("/topic/a", 3), (1, 0));
    assert_eq!(push("/topic/a", 4), (1, 1));
    assert_eq!(
        push("/topic/c", 5),
        (0, 1),
        "none to its destination: the new one"
    );
    assert_eq!(push("/topic/b", 6), (1, 1));
    wire.allow(usize::MAX);
    outbox.flush(now).unwrap();
    assert_eq!(shown(&wire), ["m-3", "m-4", "m-6"]);
}

#[test]
fn drop_oldest_drops_nothing_for_a_message_that_does_not_fit_anyway() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 100, SlowConsumer::DropOldest);
    let push = |destination, first: u64, size| {
        let encoded = encoded(destination, 1, first, &[size]);
        let pushed = outbox.push(&encoded, 1, &never, Write::Now, now);
        (pushed.accepted, pushed.dropped)
    };
    assert_eq!(push("/topic/a", 1, 1), (1, 0));
    assert_eq!(push("/topic/b", 2, 1 << 19), (1, 0));
    assert_eq!(
        push("/topic/a", 3, 1 << 20),
        (0, 1),
        "/topic/b takes the room"
    );
    assert_eq!(
        push("/topic/b", 4, 1 << 20),
        (0, 1),
        "/topic/a takes the room"
    );
    wire.allow(usize::MAX);
    while outbox.flush(now).unwrap() == Flushed::Some {}
    assert_eq!(shown(&wire), ["m-1", "m-2"]);
}

#[test]
fn after_an_overflow_only_replies_and_whole_frames_follow() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::taking(100);
    let outbox = outbox(&wire, 2, SlowConsumer::Disconnect);
    let pushed = outbox.push(
        &encoded("/topic/a", 1, 1, &[40, 40, 40, 40]),
        1,
        &never,
        Write::Now,
        now,
    );
    // The first is begun; the second was queued and is dropped like the two that do not fit.
    assert_eq!((pushed.accepted, pushed.dropped), (1, 3));
    assert_eq!(outbox.take_notice(), Some(OVERFLOW));
    let pushed = outbox.push(&encoded("/topic/a", 1, 5, &[1]), 1, &never, Write::Now, now);
    assert_eq!(pushed.accepted, 0);
    outbox.reply(receipt(9, 0), now);
    wire.allow(usize::MAX);
    outbox.flush(now).unwrap();
    assert_eq!(shown(&wire), ["m-1", "9-"]);
}

#[test]
fn the_owner_is_woken_when_it_has_to_write() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let push = |write| outbox.push(&encoded("/topic/a", 1, 1, &[1]), 1, &never, write, now);
    push(Write::Now);
    assert!(!is_ready(outbox.woken()), "all is written");
    assert!(
        push(Write::Later).flush,
        "the task that pushed it writes it"
    );
    assert!(!is_ready(outbox.woken()));
    outbox.flush_for_owner(now);
    assert!(!is_ready(outbox.woken()));
    wire.allow(0);
    push(Write::Now);
    assert!(is_ready(outbox.woken()), "the socket takes nothing");
    push(Write::Now);
    assert!(!is_ready(outbox.woken()), "it was woken already");
    outbox.flush_for_owner(now);
    assert!(is_ready(outbox.woken()), "the attempt failed");
    wire.break_off();
    outbox.flush_for_owner(now);
    assert!(is_ready(outbox.woken()));
    assert_eq!(outbox.take_notice(), Some(Notice::Lost));
}

#[test]
fn while_it_is_held_only_the_owner_writes() {
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let now = Instant::now();
    outbox.reply_and_hold(receipt(1, 0), now);
    let message = encoded("/topic/a", 1, 1, &[1]);
    for write in [Write::Now, Write::Later] {
        outbox.push(&message, 1, &AtomicBool::new(false), write, now);
        outbox.flush_for_owner(now);
        assert!(wire.is_empty(), "{write:?}");
    }
    outbox.release();
    assert_eq!(outbox.flush(now).unwrap(), Flushed::All);
    assert_eq!(shown(&wire), ["1-", "m-1", "m-1"]);
}

#[test]
fn a_publisher_with_an_older_time_does_not_set_times_back() {
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    outbox.reply(receipt(1, 0), later);
    outbox.flush(later).unwrap();
    let message = encoded("/topic/a", 1, 1, &[1]);
    outbox.push(&message, 1, &AtomicBool::new(false), Write::Now, start);
    let link = outbox.outbound_state();
    assert_eq!((link.last_data, link.last_write), (later, later));
}

#[test]
fn a_long_backlog_is_written_in_turns() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 100, SlowConsumer::Disconnect);
    let encoded = encoded("/topic/a", 1, 1, &[60_000; 10]);
    outbox.push(&encoded, 1, &AtomicBool::new(false), Write::Now, now);
    wire.allow(usize::MAX);
    wire.allow_at_once(64 * 1024);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::Some);
    assert!((60_000..=128 * 1024).contains(&wire.len()));
    while outbox.flush(now).unwrap() == Flushed::Some {}
    assert_eq!(wire.written(), encoded.bytes());
}

#[test]
fn a_client_that_reads_nothing_does_not_grow_its_outbox() {
    let bounds = OutboxBounds {
        bytes: 1 << 20,
        messages: 8,
        per_run: 0,
    };
    let mut backlog = Backlog::indexed();
    backlog.push_reply(receipt(0, 0));
    backlog.advance(1);
    let destination = Destination::parse("/topic/a").unwrap();
    for number in 0..1000 {
        if !backlog.fits(1, bounds) {
            assert!(backlog.remove_oldest(&destination));
        }
        backlog.push_messages(&encoded("/topic/a", 1, number, &[1]), 0..1, 1, 0, None);
    }
    assert_eq!(backlog.messages().frames, 8);
    let items = format!("{backlog:?}").matches("place: ").count();
    assert!(items <= 2 * (1 + 8) + 1, "{items}");
}

// --- Deliveries of queues ----------------------------------------------------------------------

/// A queue's consumer behind an outbox.
struct Consumer {
    number: u32,
    reports: bool,
    ended: AtomicBool,
    progress: Arc<Progress>,
    given: u64,
}

impl Consumer {
    fn new(number: u32, reports: bool) -> Self {
        Self {
            number,
            reports,
            ended: AtomicBool::new(false),
            progress: Arc::default(),
            given: 0,
        }
    }

    /// Delivers messages with bodies of these sizes, named by their numbers.
    fn deliver(&mut self, outbox: &Outbox, sizes: &[usize], now: Instant) -> Delivered {
        let first = self.given + 1;
        let encoded = encoded(QUEUE, self.number, first, sizes);
        let track = track(&self.progress, first, self.reports);
        let delivered = outbox.deliver(&encoded, self.number, &self.ended, track, now);
        self.given += sizes.len() as u64;
        delivered
    }

    fn has_come(&self) -> (u64, u64) {
        (self.progress.written(), self.progress.begun())
    }
}

const TAKEN: Delivered = Delivered {
    taken: true,
    full: false,
};
const FULL: Delivered = Delivered {
    taken: true,
    full: true,
};
const REFUSED: Delivered = Delivered {
    taken: false,
    full: true,
};

#[test]
fn a_delivery_is_written_at_once_and_its_progress_reported() {
    let now = Instant::now();
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let mut consumer = Consumer::new(1, true);
    assert_eq!(consumer.deliver(&outbox, &[1, 1], now), TAKEN);
    assert_eq!(consumer.has_come(), (2, 2));
    assert!(!is_ready(outbox.woken()), "all is written");
    let size = wire.len() / 2;
    wire.allow(size + size / 2);
    assert_eq!(consumer.deliver(&outbox, &[1, 1, 1], now), TAKEN);
    assert_eq!(consumer.has_come(), (3, 4));
    assert!(is_ready(outbox.woken()), "the owner writes the rest");
    // The caller sees what is written at once.
    assert_eq!(outbox.take_news().written, [0; 0]);
    wire.allow(size);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::Blocked);
    assert_eq!(consumer.has_come(), (4, 5));
    assert_eq!(outbox.take_news().written, [1]);
    wire.allow(usize::MAX);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::All);
    assert_eq!(consumer.has_come(), (5, 5));
    assert_eq!(outbox.take_news().written, [1]);
    assert_eq!(outbox.take_news().written, [0; 0], "reported once");
    assert_eq!(shown(&wire), ["m-1", "m-2", "m-3", "m-4", "m-5"]);
}

#[test]
fn a_frame_that_ends_where_the_socket_blocks_leaves_the_next_one_not_begun() {
    let now = Instant::now();
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let mut consumer = Consumer::new(1, false);
    consumer.deliver(&outbox, &[1], now);
    wire.allow(wire.len());
    consumer.deliver(&outbox, &[1, 1], now);
    assert_eq!(consumer.has_come(), (2, 2));
    wire.allow(0);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::Blocked);
    assert_eq!(consumer.has_come(), (2, 2));
    assert_eq!(outbox.end_subscription(1, &consumer.ended), 0);
    assert!(outbox.is_empty());
    assert_eq!(consumer.has_come(), (2, 2));
}

#[test]
fn only_auto_consumers_report_progress() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let (mut quiet, mut auto) = (Consumer::new(1, false), Consumer::new(2, true));
    quiet.deliver(&outbox, &[1], now);
    auto.deliver(&outbox, &[1], now);
    quiet.deliver(&outbox, &[1], now);
    wire.allow(usize::MAX);
    outbox.flush(now).unwrap();
    assert_eq!(outbox.take_news().written, [2]);
    assert_eq!((quiet.has_come(), auto.has_come()), ((2, 2), (1, 1)));
}

#[test]
fn deliveries_are_taken_until_the_outbox_is_full_which_is_reported() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 4, SlowConsumer::Disconnect);
    let mut consumer = Consumer::new(1, true);
    assert_eq!(consumer.deliver(&outbox, &[1, 1, 1], now), TAKEN);
    assert_eq!(consumer.deliver(&outbox, &[1, 1, 1], now), FULL);
    assert_eq!(Consumer::new(2, true).deliver(&outbox, &[1], now), REFUSED);
    assert_eq!(outbox.take_notice(), None, "no client is cut");
    assert!(!outbox.wait_for_room(1));
    assert!(outbox.take_news().room.is_empty());
    // There is room when half of the limit is written, not before.
    let size = encoded(QUEUE, 1, 1, &[1]).bytes().len();
    wire.allow(3 * size);
    outbox.flush(now).unwrap();
    assert!(outbox.take_news().room.is_empty());
    assert!(!outbox.wait_for_room(2));
    wire.allow(size);
    outbox.flush(now).unwrap();
    assert_eq!(outbox.take_news().room, [1, 2]);
    assert!(outbox.take_news().room.is_empty(), "reported once");
    assert!(outbox.wait_for_room(1), "there is room already");
}

#[test]
fn one_large_delivery_fills_the_outbox_and_is_taken() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let mut consumer = Consumer::new(1, true);
    assert_eq!(consumer.deliver(&outbox, &[2 << 20], now), FULL);
    assert!(!outbox.wait_for_room(1));
    wire.allow(1 << 20);
    outbox.flush(now).unwrap();
    assert!(outbox.take_news().room.is_empty(), "it is still queued");
    wire.allow(usize::MAX);
    while outbox.flush(now).unwrap() == Flushed::Some {}
    assert_eq!(outbox.take_news().room, [1]);
}

#[test]
fn deliveries_and_topic_messages_have_separate_limits() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 2, SlowConsumer::DropOldest);
    let mut consumer = Consumer::new(1, true);
    let push = |first: u64| {
        let encoded = encoded("/topic/a", 2, first, &[1]);
        let pushed = outbox.push(&encoded, 2, &never, Write::Now, now);
        (pushed.accepted, pushed.dropped)
    };
    assert_eq!(consumer.deliver(&outbox, &[1, 1, 1], now), FULL);
    assert_eq!(push(11), (1, 0));
    assert_eq!(push(12), (1, 0));
    assert_eq!(push(13), (1, 1), "of the topic, not of the queue");
    wire.allow(usize::MAX);
    outbox.flush(now).unwrap();
    assert_eq!(shown(&wire), ["m-1", "m-2", "m-3", "m-12", "m-13"]);
}

#[test]
fn deliveries_dropped_in_an_overflow_were_never_begun() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::taking(10);
    let outbox = outbox(&wire, 1, SlowConsumer::Disconnect);
    let mut consumer = Consumer::new(1, true);
    consumer.deliver(&outbox, &[40, 40], now);
    let pushed = outbox.push(
        &encoded("/topic/a", 2, 11, &[1, 1]),
        2,
        &never,
        Write::Now,
        now,
    );
    assert_eq!((pushed.accepted, pushed.dropped), (0, 2));
    assert_eq!(outbox.take_notice(), Some(OVERFLOW));
    assert_eq!(consumer.has_come(), (0, 1));
    assert_eq!(consumer.deliver(&outbox, &[1], now), Delivered::default());
    wire.allow(usize::MAX);
    outbox.flush(now).unwrap();
    assert_eq!(shown(&wire), ["m-1"]);
    assert_eq!(consumer.has_come(), (1, 1));
}

#[test]
fn an_ended_consumer_takes_nothing_and_its_begun_delivery_is_completed() {
    let now = Instant::now();
    let wire = MemoryWire::taking(10);
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let (mut one, mut two) = (Consumer::new(1, true), Consumer::new(2, true));
    one.deliver(&outbox, &[40, 40], now);
    two.deliver(&outbox, &[40], now);
    let lost = outbox.end_subscription(1, &one.ended);
    assert_eq!(lost, 0, "its queue has them");
    assert_eq!(one.deliver(&outbox, &[1], now), Delivered::default());
    assert_eq!(one.has_come(), (0, 1));
    wire.allow(usize::MAX);
    outbox.flush(now).unwrap();
    assert_eq!((one.has_come(), two.has_come()), ((1, 1), (1, 1)));
    assert_eq!(outbox.take_news().written, [1, 2]);
    assert_eq!(outbox.end().0, 0);
    assert_eq!(two.deliver(&outbox, &[1], now), Delivered::default());
    assert!(outbox.wait_for_room(2), "there is no need to wait");
}

#[test]
fn deliveries_keep_their_order_among_replies() {
    let now = Instant::now();
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let mut consumer = Consumer::new(1, true);
    outbox.reply_and_hold(receipt(8, 0), now);
    assert_eq!(consumer.deliver(&outbox, &[1], now), TAKEN);
    outbox.flush_for_owner(now);
    assert!(wire.is_empty(), "only the owner writes");
    outbox.release();
    outbox.reply(receipt(9, 0), now);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::All);
    assert_eq!(shown(&wire), ["8-", "m-1", "9-"]);
    assert_eq!(outbox.take_news().written, [1]);
}

#[test]
fn the_owner_is_woken_when_another_task_writes_deliveries() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    for (reports, waits) in [(true, false), (false, true), (false, false)] {
        let wire = MemoryWire::taking(0);
        let outbox = outbox(&wire, 2, SlowConsumer::Disconnect);
        let mut consumer = Consumer::new(1, reports);
        assert_eq!(consumer.deliver(&outbox, &[1, 1], now), FULL);
        assert!(is_ready(outbox.woken()));
        assert_eq!(waits && !outbox.wait_for_room(1), waits);
        // A publisher writes and finds that the socket takes everything.
        outbox.push(
            &encoded("/topic/a", 2, 11, &[1]),
            2,
            &never,
            Write::Later,
            now,
        );
        wire.allow(usize::MAX);
        outbox.flush_for_owner(now);
        assert_eq!(is_ready(outbox.woken()), reports || waits);
        assert_eq!(shown(&wire), ["m-1", "m-2", "m-11"]);
        let news = outbox.take_news();
        assert_eq!(
            (news.written.len(), news.room.len()),
            (reports.into(), waits.into())
        );
    }
}

#[test]
fn a_broken_socket_takes_nothing_and_the_owner_is_told() {
    let now = Instant::now();
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let mut consumer = Consumer::new(1, true);
    wire.break_off();
    assert_eq!(consumer.deliver(&outbox, &[1], now), TAKEN);
    assert_eq!(consumer.has_come(), (0, 0));
    assert!(is_ready(outbox.woken()));
    assert!(outbox.flush(now).is_err());
    drop(outbox.close());
    assert_eq!(consumer.deliver(&outbox, &[1], now), Delivered::default());
    assert_eq!(consumer.has_come(), (0, 0));
}

#[test]
fn replies_that_wait_elsewhere_count_like_queued_ones() {
    let now = Instant::now();
    let policy = Policy {
        bounds: OutboxBounds {
            bytes: 100_000,
            messages: 4,
            per_run: 0,
        },
        slow_consumer: SlowConsumer::Disconnect,
        patience: Duration::ZERO,
    };
    let outbox = Outbox::new(MemoryWire::open(), policy, now);
    outbox.reply(Bytes::from_static(b"RECEIPT\nreceipt-id:1\n\n\0"), now);
    let waiting = |frames, bytes| OutboxLoad { frames, bytes };
    for (load, full) in [
        (waiting(0, 0), false),
        (waiting(2, 1000), false),
        (waiting(3, 1000), true),
        (waiting(1, 100_000), true),
    ] {
        assert_eq!(outbox.is_full_of_replies(load), full, "{load:?}");
    }
}
