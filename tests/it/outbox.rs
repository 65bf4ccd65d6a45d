//! The outbox before a socket that takes what the test lets it, against a line of frames that is
//! too simple to be wrong.

use std::collections::{HashMap, VecDeque};
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
use stompd::encoding::{Ids, Kind, Piece, Run};
use stompd::engine::destination::Destination;
use stompd::engine::message::Message;
use stompd::framing::Framing;
use stompd::outbox::{Backlog, Bounds, Flushed, Outbox, Policy, Signal, Write};
use support::peer::Seen;
use support::websocket::{FIN, PONG, unmasked};
use support::wire::{MemoryWire, read};

const KIND: Kind = Kind {
    version: Version::V1_2,
    framing: Framing::Text,
};
const DESTINATIONS: [&str; 3] = ["/topic/a", "/topic/b", "/topic/a/b"];

/// Messages to one destination with bodies of these sizes, numbered from `first`.
fn piece(destination: &str, subscription: u32, first: u64, sizes: &[usize]) -> Arc<Piece> {
    let messages: Vec<_> = sizes
        .iter()
        .map(|&size| Message {
            destination: Destination::parse(destination).unwrap(),
            headers: Headers::new(),
            body: vec![b'x'; size].into(),
        })
        .collect();
    let ids = Ids { prefix: "m", first };
    Arc::new(Run::new(&messages, ids).piece(KIND, Some(&format!("s{subscription}"))))
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
    Reply,
    Control,
    Beat,
    Ping,
}

#[derive(Debug)]
struct Entry {
    what: What,
    octets: Vec<u8>,
    written: usize,
}

/// The rules of the outbox, frame by frame.
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
    signal: Option<Signal>,
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
            signal: None,
            now,
            last_write: now,
            last_data: now,
            replies_since: None,
        }
    }

    /// How many frames of a kind wait, and their octets.
    fn load(&self, of: impl Fn(What) -> bool) -> (usize, usize) {
        let waiting = self.line.iter().filter(|entry| of(entry.what));
        waiting.fold((0, 0), |(frames, octets), entry| {
            (frames + 1, octets + entry.octets.len())
        })
    }

    fn messages(&self) -> (usize, usize) {
        self.load(|what| matches!(what, What::Message { .. }))
    }

    fn replies(&self) -> (usize, usize) {
        self.load(|what| matches!(what, What::Reply | What::Control))
    }

    /// Writes so many octets of the line.
    fn write(&mut self, mut octets: usize) {
        while let Some(front) = self.line.front_mut().filter(|_| octets > 0) {
            let part = octets.min(front.octets.len() - front.written);
            self.stream
                .extend_from_slice(&front.octets[front.written..front.written + part]);
            front.written += part;
            octets -= part;
            self.budget -= part;
            self.last_write = self.now;
            if !matches!(front.what, What::Control | What::Ping) {
                self.last_data = self.now;
            }
            if front.written == front.octets.len() {
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

    /// Returns how many were accepted, how many dropped, and whether a flush is asked for.
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
            at_once = all.min(self.budget).min(self.at_once);
        }
        let whole = at_once == all;
        let (count, mut accepted, mut dropped) = (frames.len(), 0, 0);
        let mut all_begun = 0;
        for octets in frames {
            let size = octets.len();
            let begun = at_once > 0;
            if begun || self.make_room(size, destination, &mut dropped) {
                self.line.push_back(Entry {
                    what,
                    octets,
                    written: 0,
                });
                accepted += 1;
                all_begun += usize::from(begun);
                let now = at_once.min(size);
                self.write(now);
                at_once -= now;
            } else if self.policy.slow_consumer == SlowConsumer::Disconnect {
                self.open = false;
                self.signal.get_or_insert(Signal::Overflow);
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

    /// Older messages to the same destination leave, if that helps.
    fn make_room(&mut self, size: usize, destination: usize, dropped: &mut usize) -> bool {
        let Policy {
            bounds,
            slow_consumer,
        } = self.policy;
        let fits = |(frames, octets)| {
            frames == 0 || (frames < bounds.messages && octets + size <= bounds.octets)
        };
        let is_own = |entry: &Entry| {
            entry.written == 0
                && matches!(entry.what, What::Message { destination: other, .. } if other == destination)
        };
        let own: Vec<_> = self.line.iter().filter(|entry| is_own(entry)).collect();
        let octets: usize = own.iter().map(|entry| entry.octets.len()).sum();
        let all = self.messages();
        let could_fit = fits((all.0 - own.len(), all.1 - octets));
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

    /// Takes out the messages of a subscription that are not begun.
    fn remove(&mut self, of: impl Fn(u32) -> bool) -> usize {
        let before = self.line.len();
        self.line.retain(|entry| {
            !matches!(entry.what, What::Message { subscription, .. } if entry.written == 0 && of(subscription))
        });
        before - self.line.len()
    }

    fn append(&mut self, what: What, octets: &[u8]) {
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
            octets: octets.to_vec(),
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
    Reply(usize),
    Control,
    Beat,
    Ping,
    Flush,
    /// The socket takes so many octets from now on, so many of them at once.
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
        40 => (0_usize..3, 1_u32..4, vec(size, 1..6), write).prop_map(
            |(destination, subscription, sizes, write)| Step::Push { destination, subscription, sizes, write }
        ),
        8 => (0_usize..80).prop_map(Step::Reply),
        4 => Just(Step::Control),
        6 => Just(Step::Beat),
        6 => Just(Step::Ping),
        20 => Just(Step::Flush),
        20 => (budget, prop_oneof![3 => Just(usize::MAX), 1 => 1_usize..100])
            .prop_map(|(octets, at_once)| Step::Allow(octets, at_once)),
        2 => (1_u32..4).prop_map(Step::EndSubscription),
        1 => Just(Step::End),
        1 => Just(Step::Break),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let octets = select(&[1_usize, 200, 500, 2000, 200_000][..]);
    let messages = select(&[1_usize, 2, 3, 8, 1000][..]);
    let slow_consumer = select(&[SlowConsumer::Disconnect, SlowConsumer::DropOldest][..]);
    (octets, messages, slow_consumer).prop_map(|(octets, messages, slow_consumer)| Policy {
        bounds: Bounds { octets, messages },
        slow_consumer,
    })
}

/// An outbox and its model, which are told the same.
struct Pair {
    outbox: Outbox,
    wire: Arc<MemoryWire>,
    model: Model,
    ended: [AtomicBool; 4],
    next: usize,
    offered: usize,
    lost: usize,
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
            next: 1,
            offered: 0,
            lost: 0,
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
            Step::Allow(octets, at_once) => {
                (self.model.budget, self.model.at_once) = (*octets, *at_once);
                self.wire.allow(*octets);
                self.wire.allow_at_once(*at_once);
            }
            Step::EndSubscription(number) => {
                self.model.ended[*number as usize] = true;
                let left = self.model.remove(|subscription| subscription == *number);
                let ended = &self.ended[*number as usize];
                assert_eq!(self.outbox.end_subscription(*number, ended), left);
                self.lost += left;
            }
            Step::End => {
                self.model.open = false;
                let left = self.model.remove(|_| true);
                assert_eq!(self.outbox.end(), left);
                self.lost += left;
            }
            Step::Break => {
                self.model.broken = true;
                self.wire.break_off();
            }
        }
        self.compare();
    }

    fn push(&mut self, destination: usize, subscription: u32, sizes: &[usize], write: Write) {
        let first = self.next as u64 * 100;
        let piece = piece(DESTINATIONS[destination], subscription, first, sizes);
        let frames: Vec<_> = (0..piece.len())
            .map(|at| piece.octets()[piece.start(at)..piece.start(at + 1)].to_vec())
            .collect();
        if self.model.open && !self.ended[subscription as usize].load(Ordering::Relaxed) {
            self.offered += frames.len();
        }
        let what = What::Message {
            destination,
            subscription,
        };
        let (accepted, dropped, flush) = self.model.push(frames, what, write);
        let ended = &self.ended[subscription as usize];
        let pushed = self
            .outbox
            .push(&piece, subscription, ended, write, self.model.now);
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

    fn compare(&mut self) {
        let Model { policy, line, .. } = &self.model;
        let (frames, octets) = self.model.messages();
        assert!(frames <= policy.bounds.messages || frames <= 1);
        assert!(octets <= policy.bounds.octets || frames <= 1);
        assert_eq!(self.outbox.is_empty(), line.is_empty());
        let (replies, octets) = self.model.replies();
        assert_eq!(
            self.outbox.is_full_of_replies(),
            replies >= policy.bounds.messages || octets >= policy.bounds.octets
        );
        let link = self.outbox.link();
        let stuck = self.model.replies_since.filter(|_| replies > 0);
        assert_eq!(link.last_write, self.model.last_write);
        assert_eq!(link.last_data, self.model.last_data);
        assert!(!link.blocked || !line.is_empty());
        assert_eq!(
            link.replies_stuck,
            stuck.map(|since| since.max(link.last_write))
        );
        assert_eq!(self.outbox.take_signal(), self.model.signal.take());
        assert!(self.wire.written() == self.model.stream, "octet for octet");
    }

    /// The peer reads on to the end: whole frames in a legal order, and none is lost unsaid.
    fn finish(mut self) {
        if self.model.broken {
            return;
        }
        self.step(&Step::Allow(usize::MAX, usize::MAX));
        self.step(&Step::Flush);
        assert!(self.outbox.is_empty());
        let (seen, rest) = read(KIND, &self.wire.written());
        assert_eq!(rest, 0, "only whole frames");
        let mut messages = 0;
        let mut last = HashMap::new();
        for seen in seen {
            let (line, number) = match &seen {
                Seen::Frame(frame, _) if frame.starts_with("MESSAGE") => {
                    messages += 1;
                    let lines: Vec<_> = frame.lines().collect();
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
        assert_eq!(self.offered, messages + self.lost, "nothing is lost unsaid");
    }
}

proptest! {
    #[test]
    fn an_outbox_is_a_line_of_frames(policy in policy(), steps in vec(step(), 1..80)) {
        let mut pair = Pair::new(policy);
        for step in &steps {
            pair.step(step);
        }
        pair.finish();
    }
}

// --- What one rule says ------------------------------------------------------------------------

fn outbox(wire: &Arc<MemoryWire>, messages: usize, slow_consumer: SlowConsumer) -> Outbox {
    let bounds = Bounds {
        octets: 1 << 20,
        messages,
    };
    let policy = Policy {
        bounds,
        slow_consumer,
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
fn a_ping_goes_before_all_that_is_not_begun() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    outbox.push(
        &piece("/topic/a", 1, 1, &[5, 5]),
        1,
        &AtomicBool::new(false),
        Write::Now,
        now,
    );
    outbox.reply(receipt(3, 0), now);
    outbox.ping(KIND.framing.ping());
    outbox.ping(KIND.framing.ping());
    assert_eq!(outbox.link().ping_progress, None);
    wire.allow(usize::MAX);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::All);
    assert_eq!(shown(&wire), ["Ping", "m-1", "m-2", "3-"]);
    assert_eq!(outbox.link().ping_progress, None, "nothing moved before it");
}

#[test]
fn a_ping_behind_a_frame_that_is_begun_sees_it_move() {
    let (now, second) = (Instant::now(), Duration::from_secs(1));
    let wire = MemoryWire::taking(10);
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    outbox.push(
        &piece("/topic/a", 1, 1, &[5, 5]),
        1,
        &AtomicBool::new(false),
        Write::Now,
        now,
    );
    outbox.ping(KIND.framing.ping());
    assert_eq!(outbox.flush(now + second).unwrap(), Flushed::Blocked);
    assert_eq!(outbox.link().ping_progress, None);
    wire.allow(7);
    assert_eq!(outbox.flush(now + 2 * second).unwrap(), Flushed::Blocked);
    assert_eq!(outbox.link().ping_progress, Some(now + 2 * second));
    wire.allow(usize::MAX);
    assert_eq!(outbox.flush(now + 3 * second).unwrap(), Flushed::All);
    assert_eq!(outbox.link().ping_progress, Some(now + 3 * second));
    assert_eq!(shown(&wire), ["m-1", "Ping", "m-2"]);
    outbox.ping(KIND.framing.ping());
    assert_eq!(outbox.link().ping_progress, None, "that was another Ping");
}

#[test]
fn drop_oldest_drops_of_its_own_destination_only() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 3, SlowConsumer::DropOldest);
    let push = |destination, first: u64| {
        let pushed = outbox.push(
            &piece(destination, 1, first, &[1]),
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
    assert_eq!(push("/topic/c", 5), (0, 1), "none of its own: the new one");
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
        let piece = piece(destination, 1, first, &[size]);
        let pushed = outbox.push(&piece, 1, &never, Write::Now, now);
        (pushed.accepted, pushed.dropped)
    };
    assert_eq!(push("/topic/a", 1, 1), (1, 0));
    assert_eq!(push("/topic/b", 2, 1 << 19), (1, 0));
    assert_eq!(
        push("/topic/a", 3, 1 << 20),
        (0, 1),
        "/topic/b is in the way"
    );
    assert_eq!(
        push("/topic/b", 4, 1 << 20),
        (0, 1),
        "/topic/a is in the way"
    );
    wire.allow(usize::MAX);
    while outbox.flush(now).unwrap() == Flushed::Some {}
    assert_eq!(shown(&wire), ["m-1", "m-2"]);
}

#[test]
fn after_an_overflow_come_replies_and_whole_frames_only() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::taking(100);
    let outbox = outbox(&wire, 2, SlowConsumer::Disconnect);
    let pushed = outbox.push(
        &piece("/topic/a", 1, 1, &[40, 40, 40, 40]),
        1,
        &never,
        Write::Now,
        now,
    );
    // The first is begun; the second had a place and is dropped like the two that do not fit.
    assert_eq!((pushed.accepted, pushed.dropped), (1, 3));
    assert_eq!(outbox.take_signal(), Some(Signal::Overflow));
    let pushed = outbox.push(&piece("/topic/a", 1, 5, &[1]), 1, &never, Write::Now, now);
    assert_eq!(pushed.accepted, 0);
    outbox.reply(receipt(9, 0), now);
    wire.allow(usize::MAX);
    outbox.flush(now).unwrap();
    assert_eq!(shown(&wire), ["m-1", "9-"]);
}

#[test]
fn the_owner_is_woken_when_something_is_left_for_it() {
    let now = Instant::now();
    let never = AtomicBool::new(false);
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let push = |write| outbox.push(&piece("/topic/a", 1, 1, &[1]), 1, &never, write, now);
    push(Write::Now);
    assert!(!is_ready(outbox.woken()), "all is written");
    assert!(push(Write::Later).flush, "whoever pushed it writes it");
    assert!(!is_ready(outbox.woken()));
    outbox.flush_for_owner(now);
    assert!(!is_ready(outbox.woken()));
    wire.allow(0);
    push(Write::Now);
    assert!(is_ready(outbox.woken()), "the socket takes nothing");
    push(Write::Now);
    assert!(!is_ready(outbox.woken()), "it knows already");
    outbox.flush_for_owner(now);
    assert!(is_ready(outbox.woken()), "the attempt failed");
    wire.break_off();
    outbox.flush_for_owner(now);
    assert!(is_ready(outbox.woken()));
    assert_eq!(outbox.take_signal(), Some(Signal::Lost));
}

#[test]
fn while_it_is_held_nobody_but_the_owner_writes() {
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let now = Instant::now();
    outbox.reply_and_hold(receipt(1, 0), now);
    let message = piece("/topic/a", 1, 1, &[1]);
    for write in [Write::Now, Write::Later] {
        outbox.push(&message, 1, &AtomicBool::new(false), write, now);
        outbox.flush_for_owner(now);
        assert!(wire.is_empty(), "{write:?}");
    }
    assert_eq!(outbox.flush(now).unwrap(), Flushed::All);
    assert_eq!(shown(&wire), ["1-", "m-1", "m-1"]);
}

#[test]
fn a_publisher_whose_clock_is_behind_takes_no_time_back() {
    let wire = MemoryWire::open();
    let outbox = outbox(&wire, 10, SlowConsumer::Disconnect);
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    outbox.reply(receipt(1, 0), later);
    outbox.flush(later).unwrap();
    let message = piece("/topic/a", 1, 1, &[1]);
    outbox.push(&message, 1, &AtomicBool::new(false), Write::Now, start);
    let link = outbox.link();
    assert_eq!((link.last_data, link.last_write), (later, later));
}

#[test]
fn a_long_backlog_is_written_in_turns() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = outbox(&wire, 100, SlowConsumer::Disconnect);
    let piece = piece("/topic/a", 1, 1, &[60_000; 10]);
    outbox.push(&piece, 1, &AtomicBool::new(false), Write::Now, now);
    wire.allow(usize::MAX);
    wire.allow_at_once(64 * 1024);
    assert_eq!(outbox.flush(now).unwrap(), Flushed::Some);
    assert!((256 * 1024..=320 * 1024).contains(&wire.len()));
    while outbox.flush(now).unwrap() == Flushed::Some {}
    assert_eq!(wire.written(), piece.octets());
}

#[test]
fn a_client_that_reads_nothing_does_not_grow_its_line() {
    let bounds = Bounds {
        octets: 1 << 20,
        messages: 8,
    };
    let mut backlog = Backlog::indexed();
    backlog.push_reply(receipt(0, 0));
    backlog.advance(1);
    let destination = Destination::parse("/topic/a").unwrap();
    for number in 0..1000 {
        if !backlog.fits(1, bounds) {
            assert!(backlog.remove_oldest(&destination));
        }
        backlog.push_messages(&piece("/topic/a", 1, number, &[1]), 0..1, 1, 0, None);
    }
    assert_eq!(backlog.messages().frames, 8);
    let items = format!("{backlog:?}").matches("place: ").count();
    assert!(items <= 2 * (1 + 8) + 1, "{items}");
}
