//! An innocent client that does a round trip every 10 ms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, Door, Way, Window};

const EVERY: Duration = Duration::from_millis(10);

/// A prober in a thread of its own.
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
    failure: Mutex<Option<String>>,
}

/// What a prober has noticed.
#[derive(Debug)]
pub(crate) struct Noticed {
    pub(crate) worst: Duration,
    pub(crate) p99: Duration,
    pub(crate) count: usize,
    /// Why it could not go on.
    pub(crate) failure: Option<String>,
}

impl Prober {
    /// Connects, subscribes and starts.
    pub(crate) fn start(door: Door, way: Way) -> Self {
        let mut client = door.connect(way, "0,0", Window::Usual).unwrap();
        let topic = format!("/topic/probe.{way:?}");
        let subscribe = format!("SUBSCRIBE\nid:probe\ndestination:{topic}\n\n\0");
        client.sync(subscribe.as_bytes()).unwrap();
        let send = format!("SEND\ndestination:{topic}\nreceipt:r\n\nprobe\0").into_bytes();
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let thread = thread::spawn(move || its.probe(&mut client, &send));
        Self { shared, thread }
    }

    /// Forgets what was noticed so far.
    pub(crate) fn forget(&self) {
        self.shared.trips.lock().unwrap().clear();
    }

    /// Stops sending for a while, or goes on.
    pub(crate) fn rest(&self, rest: bool) {
        self.shared.rest.store(rest, Ordering::Relaxed);
    }

    /// Ends it, after the round trip that is under way.
    pub(crate) fn stop(self) -> Noticed {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let mut trips = self.shared.trips.lock().unwrap().clone();
        let count = trips.len();
        // While one took long, others would have begun every 10 ms and waited for the same end.
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
            p99: at((trips.len() * 99 / 100).min(trips.len().saturating_sub(1))),
            count,
            failure: self.shared.failure.lock().unwrap().take(),
        }
    }
}

impl Shared {
    fn probe(&self, client: &mut Client, send: &[u8]) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.rest.load(Ordering::Relaxed) {
                thread::sleep(EVERY);
                continue;
            }
            let begin = Instant::now();
            let (messages, receipts) = (client.seen.messages, client.seen.receipts);
            let trip = client.write(send).and_then(|()| {
                client.expect(|seen| seen.messages > messages && seen.receipts > receipts)
            });
            self.trips.lock().unwrap().push(begin.elapsed());
            if let Err(why) = trip {
                *self.failure.lock().unwrap() = Some(why);
                return;
            }
            thread::sleep(EVERY.saturating_sub(begin.elapsed()));
        }
    }
}

/// The control: a thread that sleeps for 1 ms again and again, and how late it wakes up at worst.
#[derive(Debug)]
pub(crate) struct Lateness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Lateness {
    pub(crate) fn start() -> Self {
        let stop = Arc::<AtomicBool>::default();
        let its = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut worst, sleep) = (Duration::ZERO, Duration::from_millis(1));
            while !its.load(Ordering::Relaxed) {
                let begin = Instant::now();
                thread::sleep(sleep);
                worst = worst.max(begin.elapsed().saturating_sub(sleep));
            }
            worst
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
