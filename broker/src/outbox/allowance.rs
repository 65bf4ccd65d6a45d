//! The total that the private queues of one client hold.
//!
//! A subscription to topics with acknowledgement has a private queue. Each is bounded, and a client
//! may have very many, so they also share one bound. Each queue adds what it holds and subtracts it
//! again. Nothing waits here, so queues that are filled at the same time may exceed the bound by
//! what each takes at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::load::{OutboxBounds, OutboxLoad};

/// The total that the private queues of one client hold.
#[derive(Debug, Default)]
pub struct Allowance {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Allowance {
    /// Returns what may still be added. `None` if the total is zero, so that a single message
    /// always fits.
    pub fn room(&self, bounds: OutboxBounds) -> Option<OutboxBounds> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        (bytes > 0).then(|| OutboxBounds {
            per_run: bounds.per_run,
            bytes: bounds.bytes.saturating_sub(bytes),
            messages: (bounds.messages).saturating_sub(self.messages.load(Ordering::Relaxed)),
        })
    }

    /// Updates the total: one of the queues held `before` and holds `now`.
    pub fn change(&self, before: OutboxLoad, now: OutboxLoad) {
        change(&self.messages, before.frames, now.frames);
        change(&self.bytes, before.bytes, now.bytes);
    }
}

fn change(sum: &AtomicUsize, before: usize, now: usize) {
    if now > before {
        sum.fetch_add(now - before, Ordering::Relaxed);
    } else if now < before {
        sum.fetch_sub(before - now, Ordering::Relaxed);
    }
}
