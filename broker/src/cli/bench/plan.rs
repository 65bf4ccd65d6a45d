//! Who sends where, who receives what, and the progress of all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Arguments;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) arguments: Arguments,
    /// A number that distinguishes messages of this run from others.
    pub(super) run: u32,
    /// The origin of the times in bodies.
    pub(super) epoch: Instant,
    pub(super) progress: Progress,
    /// The destinations of each subscriber.
    sources: Vec<Vec<u16>>,
}

/// The progress of all workers, who announce each change.
#[derive(Debug)]
pub(super) struct Progress {
    /// Messages sent, by destination.
    sent: Vec<AtomicU64>,
    /// Messages received, by subscriber.
    received: Vec<AtomicU64>,
    /// Messages that the broker has confirmed, by publisher.
    confirmed: Vec<AtomicU64>,
    /// Whether publishers must stop.
    pub(super) stop: AtomicBool,
    pub(super) moved: Notify,
}

impl Plan {
    pub(super) fn new(arguments: Arguments, run: u32) -> Self {
        let counters = |count: u16| (0..count).map(|_| AtomicU64::default());
        let (subscribers, destinations) = (arguments.subscribers, arguments.destinations);
        let sources =
            (0..subscribers).map(|subscriber| share(subscriber, subscribers, destinations));
        Self {
            sources: sources.collect(),
            progress: Progress {
                sent: counters(arguments.destinations).collect(),
                received: counters(arguments.subscribers).collect(),
                confirmed: counters(arguments.publishers).collect(),
                stop: AtomicBool::new(false),
                moved: Notify::new(),
            },
            arguments,
            run,
            epoch: Instant::now(),
        }
    }

    /// Returns the name of a destination.
    pub(super) fn destination(&self, number: u16) -> String {
        let kind = if self.arguments.queue {
            "queue"
        } else {
            "topic"
        };
        format!("/{kind}/{}.{number}", self.arguments.name)
    }

    /// Returns the destinations of a publisher, in the order of use.
    pub(super) fn targets(&self, publisher: u16) -> Vec<u16> {
        share(
            publisher,
            self.arguments.publishers,
            self.arguments.destinations,
        )
    }

    /// Returns the destinations of a subscriber.
    pub(super) fn sources(&self, subscriber: u16) -> &[u16] {
        &self.sources[usize::from(subscriber)]
    }

    /// Splits this number of messages of a publisher over its destinations.
    pub(super) fn split(&self, publisher: u16, messages: u64) -> Vec<(u16, u64)> {
        let targets = self.targets(publisher);
        let (count, first) = (targets.len() as u64, 0..);
        let each = targets.into_iter().zip(first);
        each.map(|(target, at)| (target, messages / count + u64::from(at < messages % count)))
            .collect()
    }

    /// Number of messages that the slowest subscriber has not received; for queues, all together.
    pub(super) fn behind(&self) -> u64 {
        let progress = &self.progress;
        if self.arguments.queue {
            return progress.sent().saturating_sub(progress.received());
        }
        let each = self.sources.iter().zip(&progress.received);
        each.map(|(sources, received)| {
            let sent = progress.sent_to(sources);
            sent.saturating_sub(received.load(Relaxed))
        })
        .max()
        .unwrap_or(0)
    }

    /// Number of deliveries expected of the sent messages.
    pub(super) fn expected(&self) -> u64 {
        if self.arguments.queue {
            return self.progress.sent();
        }
        let each = self.sources.iter();
        each.map(|sources| self.progress.sent_to(sources)).sum()
    }
}

impl Progress {
    pub(super) fn on_sent(&self, destination: u16) {
        self.sent[usize::from(destination)].fetch_add(1, Relaxed);
    }

    pub(super) fn on_received(&self, subscriber: u16, messages: u64) {
        self.received[usize::from(subscriber)].fetch_add(messages, Relaxed);
        self.moved.notify_waiters();
    }

    pub(super) fn on_confirmed(&self, publisher: u16, messages: u64) {
        self.confirmed[usize::from(publisher)].fetch_max(messages, Relaxed);
    }

    pub(super) fn sent(&self) -> u64 {
        sum(&self.sent)
    }

    fn sent_to(&self, destinations: &[u16]) -> u64 {
        let each = destinations.iter();
        each.map(|it| self.sent[usize::from(*it)].load(Relaxed))
            .sum()
    }

    pub(super) fn received(&self) -> u64 {
        sum(&self.received)
    }

    pub(super) fn confirmed(&self) -> u64 {
        sum(&self.confirmed)
    }

    pub(super) fn confirmed_of(&self, publisher: u16) -> u64 {
        self.confirmed[usize::from(publisher)].load(Relaxed)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Tells publishers to stop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Relaxed);
        self.moved.notify_waiters();
    }
}

fn sum(counters: &[AtomicU64]) -> u64 {
    counters.iter().map(|counter| counter.load(Relaxed)).sum()
}

/// Returns the destinations of one of `workers`: one, or its share if there are more destinations.
fn share(worker: u16, workers: u16, destinations: u16) -> Vec<u16> {
    if destinations <= workers {
        return vec![worker % destinations];
    }
    (worker..destinations).step_by(workers.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_destination_has_its_workers() {
        for (workers, destinations) in [(1, 1), (3, 1), (1, 3), (3, 7), (7, 3), (5, 5)] {
            let shares = (0..workers).map(|worker| share(worker, workers, destinations));
            let mut all: Vec<u16> = shares.flatten().collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all, (0..destinations).collect::<Vec<_>>());
        }
    }
}
