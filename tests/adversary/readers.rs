//! Threads that read for many clients, and the priority of an adversary's threads.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::Client;

/// Lowers the priority of the calling thread, so that it does not starve the broker. Without
/// `renice` it keeps the one it has.
pub(crate) fn nice() {
    let Ok(thread) = fs::read_link("/proc/thread-self") else {
        return;
    };
    let Some(id) = thread.file_name() else {
        return;
    };
    let _ = Command::new("renice")
        .args(["-n", "10", "-p"])
        .arg(id)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Clients that read as fast as they can, or a little slower, in separate threads.
#[derive(Debug)]
pub(crate) struct Readers {
    stop: Arc<AtomicBool>,
    messages: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<Client>>>,
}

impl Readers {
    /// Reads for all of them in one thread.
    pub(crate) fn of(clients: Vec<Client>) -> Self {
        Self::with(vec![clients], Duration::ZERO)
    }

    /// Reads for them in two threads.
    pub(crate) fn two(mut clients: Vec<Client>) -> Self {
        let others = clients.split_off(clients.len() / 2);
        Self::with(vec![clients, others], Duration::ZERO)
    }

    /// Reads for all of them in one thread that pauses after each pass.
    pub(crate) fn modest(clients: Vec<Client>, pause: Duration) -> Self {
        Self::with(vec![clients], pause)
    }

    fn with(groups: Vec<Vec<Client>>, pause: Duration) -> Self {
        let (stop, messages) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let start = |mut clients: Vec<Client>| {
            let (stop, messages) = (Arc::clone(&stop), Arc::clone(&messages));
            thread::spawn(move || {
                nice();
                read(&mut clients, pause, &stop, &messages);
                clients
            })
        };
        let threads = groups.into_iter().map(start).collect();
        Self {
            stop,
            messages,
            threads,
        }
    }

    /// Number of MESSAGEs read so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Waits until this many MESSAGEs have been read; returns whether it was in time.
    pub(crate) fn wait(&self, messages: u64, time: Duration) -> bool {
        let begin = Instant::now();
        while self.messages() < messages && begin.elapsed() < time {
            thread::sleep(Duration::from_millis(5));
        }
        self.messages() >= messages
    }

    /// Stops reading and returns the clients.
    pub(crate) fn stop(self) -> Vec<Client> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap());
        ended.flatten().collect()
    }
}

fn read(clients: &mut [Client], pause: Duration, stop: &AtomicBool, messages: &AtomicU64) {
    let mut buffer = vec![0; 64 * 1024];
    for client in &*clients {
        client.stream.set_nonblocking(true).unwrap();
    }
    while !stop.load(Ordering::Relaxed) {
        let mut some = false;
        for client in clients.iter_mut().filter(|client| !client.seen.ended) {
            let before = client.seen.messages;
            some |= client.read(&mut buffer);
            messages.fetch_add(client.seen.messages - before, Ordering::Relaxed);
        }
        if !pause.is_zero() {
            thread::sleep(pause);
        } else if !some {
            thread::sleep(Duration::from_millis(1));
        }
    }
    for client in clients {
        client.stream.set_nonblocking(false).unwrap();
    }
}
