//! A well-behaved client that does a round trip every 10 ms.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, Door, Way, Window};

const EVERY: Duration = Duration::from_millis(10);

/// A prober in a separate thread.
#[derive(Debug)]
pub(crate) struct Prober {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    rest: AtomicBool,
    trips: Mutex<Vec<Duration>>,
    /// The longest one without the delay caused by the machine.
    net: Mutex<Duration>,
    /// Whether the kernel reports that delay.
    counted: bool,
    failure: Mutex<Option<String>>,
}

/// Measurements of a prober.
#[derive(Debug)]
pub(crate) struct Noticed {
    pub(crate) worst: Duration,
    /// The longest round trip without the time in which threads of the broker or the prober were
    /// ready to run and had no processor.
    /// None if the kernel does not report it.
    pub(crate) net: Option<Duration>,
    pub(crate) p99: Duration,
    pub(crate) count: usize,
    /// Why it stopped.
    pub(crate) failure: Option<String>,
}

impl Prober {
    /// Connects, subscribes and starts.
    pub(crate) fn start(door: Door, way: Way, broker: u32) -> Self {
        let mut client = door.connect(way, "0,0", Window::Usual).unwrap();
        let topic = format!("/topic/probe.{way:?}");
        let subscribe = format!("SUBSCRIBE\nid:probe\ndestination:{topic}\n\n\0");
        client.sync(subscribe.as_bytes()).unwrap();
        let send = format!("SEND\ndestination:{topic}\nreceipt:r\n\nprobe\0").into_bytes();
        let waits = Waits::of(broker);
        let shared = Arc::new(Shared {
            counted: waits.now().iter().any(|wait| !wait.is_zero()),
            ..Shared::default()
        });
        let its = Arc::clone(&shared);
        let thread = thread::spawn(move || its.probe(&mut client, &send, &waits));
        Self { shared, thread }
    }

    /// Discards all measurements so far.
    pub(crate) fn forget(&self) {
        self.shared.trips.lock().unwrap().clear();
        *self.shared.net.lock().unwrap() = Duration::ZERO;
    }

    /// Pauses or resumes sending.
    pub(crate) fn rest(&self, rest: bool) {
        self.shared.rest.store(rest, Ordering::Relaxed);
    }

    /// Stops it after the current round trip.
    pub(crate) fn stop(self) -> Noticed {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let mut trips = self.shared.trips.lock().unwrap().clone();
        let count = trips.len();
        // During a long one, others would have begun every 10 ms and waited for the same end.
        for trip in 0..count {
            let mut left = trips[trip];
            while left > EVERY {
                left -= EVERY;
                trips.push(left);
            }
        }
        trips.sort_unstable();
        let at = |index: usize| trips.get(index).copied().unwrap_or_default();
        Noticed {
            worst: at(trips.len().saturating_sub(1)),
            net: self
                .shared
                .counted
                .then(|| *self.shared.net.lock().unwrap()),
            p99: at((trips.len() * 99 / 100).min(trips.len().saturating_sub(1))),
            count,
            failure: self.shared.failure.lock().unwrap().take(),
        }
    }
}

impl Shared {
    fn probe(&self, client: &mut Client, send: &[u8], waits: &Waits) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.rest.load(Ordering::Relaxed) {
                thread::sleep(EVERY);
                continue;
            }
            let before = waits.now();
            let begin = Instant::now();
            let (messages, receipts) = (client.seen.messages, client.seen.receipts);
            let trip = client.write(send).and_then(|()| {
                client.expect(|seen| seen.messages > messages && seen.receipts > receipts)
            });
            let trip_time = begin.elapsed();
            let waited = waits.since(&before);
            self.trips.lock().unwrap().push(trip_time);
            let mut net = self.net.lock().unwrap();
            *net = trip_time.saturating_sub(waited).max(*net);
            drop(net);
            if let Err(why) = trip {
                *self.failure.lock().unwrap() = Some(why);
                return;
            }
            thread::sleep(EVERY.saturating_sub(begin.elapsed()));
        }
    }
}

/// How long threads were ready to run without a processor, as the kernel counts it: the second
/// number of their `schedstat`.
#[derive(Debug)]
struct Waits {
    broker: Vec<PathBuf>,
}

impl Waits {
    fn of(broker: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{broker}/task")).unwrap();
        let file = |thread: std::io::Result<fs::DirEntry>| thread.unwrap().path().join("schedstat");
        Self {
            broker: threads.map(file).collect(),
        }
    }

    /// The counts of the broker's threads, and last that of the calling thread.
    fn now(&self) -> Vec<Duration> {
        let own = PathBuf::from("/proc/thread-self/schedstat");
        let wait = |path: &PathBuf| {
            let text = fs::read_to_string(path).ok()?;
            text.split_whitespace().nth(1)?.parse().ok()
        };
        let files = self.broker.iter().chain([&own]);
        let waits = files.map(|path| Duration::from_nanos(wait(path).unwrap_or_default()));
        waits.collect()
    }

    /// The maximum delay of a round trip caused by the machine: threads of the broker wait in
    /// parallel, so their longest wait counts, and the prober's own.
    fn since(&self, before: &[Duration]) -> Duration {
        let now = self.now();
        let waited = now
            .iter()
            .zip(before)
            .map(|(now, before)| now.saturating_sub(*before));
        let mut waited: Vec<_> = waited.collect();
        let own = waited.pop().unwrap_or_default();
        own + waited.into_iter().max().unwrap_or_default()
    }
}

/// The control: a thread that sleeps for 1 ms again and again.
#[derive(Debug)]
pub(crate) struct Lateness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Late>,
}

/// The longest delay of its wake-ups.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Late {
    pub(crate) all: Duration,
    /// The part of it in which it was not even ready to run: a timer, or a whole machine that was
    /// suspended.
    pub(crate) machine: Duration,
}

impl Lateness {
    pub(crate) fn start() -> Self {
        let stop = Arc::<AtomicBool>::default();
        let its = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut worst, sleep) = (Late::default(), Duration::from_millis(1));
            let own = Waits { broker: Vec::new() };
            while !its.load(Ordering::Relaxed) {
                let (before, begin) = (own.now(), Instant::now());
                thread::sleep(sleep);
                let late = begin.elapsed().saturating_sub(sleep);
                let machine = late.saturating_sub(own.since(&before));
                worst.all = worst.all.max(late);
                worst.machine = worst.machine.max(machine);
            }
            worst
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Late {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
