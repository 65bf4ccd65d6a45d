//! What all queues of one client's own hold together.
//!
//! A subscription to topics with acknowledgement has a queue of its own. Each is bounded, and a
//! client may have very many, so they share one bound as well. Each adds what it holds and takes it
//! off again; nobody waits, so queues that are filled at the same time may exceed the bound by what
//! each takes at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Bounds, Load};

/// What all queues of one client's own hold together.
#[derive(Debug, Default)]
pub struct Allowance {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Allowance {
    /// How much more there may be. `None` if there is nothing yet, so that a single message always
    /// fits.
    pub fn room(&self, bounds: Bounds) -> Option<Bounds> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        (bytes > 0).then(|| Bounds {
            piece: bounds.piece,
            bytes: bounds.bytes.saturating_sub(bytes),
            messages: (bounds.messages).saturating_sub(self.messages.load(Ordering::Relaxed)),
        })
    }

    /// One of the queues held `before` and holds `now`.
    pub fn change(&self, before: Load, now: Load) {
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
