//! How long publishers wait for a client that has not read what they sent before.
//!
//! A burst can exceed an outbox although its client reads as fast as it can. So when an outbox is
//! half full its publishers wait. The client has a fixed time for that, which decreases while they
//! wait and is regained by draining the outbox. Publishers wait repeatedly for a client that reads
//! well, and once for one that is dead or far too slow.

use std::time::{Duration, Instant};

use super::load::{OutboxBounds, OutboxLoad, Policy};

/// The waiting time of one client.
#[derive(Debug, Default)]
pub(super) struct Patience {
    spent: Duration,
    /// What had drained when time was last regained.
    drained: OutboxLoad,
    /// When too much was last seen queued; `None` if the client has room.
    pressed: Option<Instant>,
}

/// Whether publishers should wait for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// It has room, or has freed some.
    Eased,
    /// Too much is queued, and it may still free room in time.
    Holds,
    /// Too much is queued, and its time is used up: publishers stop waiting.
    GivenUp,
}

impl Patience {
    /// Whether the queued load (`waits`) is so small that publishers need not wait.
    pub(super) fn has_room(waits: OutboxLoad, bounds: OutboxBounds) -> bool {
        is_within(HIGH, waits, bounds)
    }

    /// Whether publishers should wait for a client with the queued load `waits`, where `drained` is
    /// all queued load written since it connected, and `moved` is when the socket last took data.
    pub(super) fn press(
        &mut self,
        waits: OutboxLoad,
        drained: OutboxLoad,
        moved: Instant,
        policy: Policy,
        now: Instant,
    ) -> Press {
        let Policy {
            bounds, patience, ..
        } = policy;
        // Once pressed, it has to fall below the low mark.
        let parts = if self.pressed.is_some() { LOW } else { HIGH };
        if is_within(parts, waits, bounds) {
            self.pressed = None;
            return Press::Eased;
        }
        // If the socket takes nothing, the time has been running since it stopped.
        let since = self.pressed.replace(now).unwrap_or(moved);
        self.spent += now.saturating_duration_since(since);
        let part = |bound: usize| (bound / PARTS).max(1);
        let frames = (drained.frames - self.drained.frames) / part(bounds.messages);
        let bytes = (drained.bytes - self.drained.bytes) / part(bounds.bytes);
        let parts = u32::try_from(frames.max(bytes)).unwrap_or(u32::MAX);
        if parts > 0 {
            self.drained = drained;
            let earned = (patience / EARN).saturating_mul(parts);
            self.spent = self.spent.saturating_sub(earned);
        }
        // A client that never drained much may be dead.
        let limit = if self.drained.bytes == 0 {
            patience / 2
        } else {
            patience
        };
        self.spent = self.spent.min(limit);
        if self.spent < limit {
            Press::Holds
        } else {
            Press::GivenUp
        }
    }
}

fn is_within(parts: usize, waits: OutboxLoad, bounds: OutboxBounds) -> bool {
    let mark = |bound: usize| bound / PARTS * parts;
    waits.frames <= mark(bounds.messages) && waits.bytes <= mark(bounds.bytes)
}

/// Number of parts into which the capacity of an outbox is divided.
const PARTS: usize = 64;

/// Number of queued parts at which publishers start to wait, and at which they stop.
const HIGH: usize = PARTS / 2;
const LOW: usize = HIGH - 1;

/// Each part that drains regains 1/`EARN` of the client's time: with the defaults, publishers keep
/// waiting for a client that takes 512 KiB per second.
const EARN: u32 = 4;
