//! How long publishers wait for a client that has not read what they sent before.
//!
//! A burst can be more than an outbox holds although its client reads as fast as it can. So when an
//! outbox is half full its publishers wait a while. The client has a fixed time for that, which it
//! spends while they wait and earns again by draining its outbox: a client that reads well is
//! waited for again and again, one that is dead or hopelessly slow once.

use std::time::{Duration, Instant};

use super::{Bounds, Load, Policy};

/// The time that one client has.
#[derive(Debug, Default)]
pub(super) struct Patience {
    spent: Duration,
    /// What had drained when it earned some last.
    drained: Load,
    /// When it was seen with too much waiting last; nothing if it has room.
    pressed: Option<Instant>,
}

/// Whether publishers should wait for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// It has room, or has made some.
    Eased,
    /// Too much waits for it, and it may still make room in time.
    Holds,
    /// Too much waits for it, and its time is spent: more waiting is in vain.
    GivenUp,
}

impl Patience {
    /// Whether so little `waits` that no publisher has to wait.
    pub(super) fn has_room(waits: Load, bounds: Bounds) -> bool {
        is_within(HIGH, waits, bounds)
    }

    /// Whether publishers should wait for a client for which so much `waits`, after so much that
    /// had to wait has `drained` since it connected. The socket took some last at `moved`.
    pub(super) fn press(
        &mut self,
        waits: Load,
        drained: Load,
        moved: Instant,
        policy: Policy,
        now: Instant,
    ) -> Press {
        let Policy {
            bounds, patience, ..
        } = policy;
        // Once it is pressed it is to be below the mark again.
        let parts = if self.pressed.is_some() { LOW } else { HIGH };
        if is_within(parts, waits, bounds) {
            self.pressed = None;
            return Press::Eased;
        }
        // If it takes nothing, its time has run since it stopped.
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
        // Who never drained much may be dead.
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

fn is_within(parts: usize, waits: Load, bounds: Bounds) -> bool {
    let mark = |bound: usize| bound / PARTS * parts;
    waits.frames <= mark(bounds.messages) && waits.bytes <= mark(bounds.bytes)
}

/// What an outbox may hold is counted in so many parts.
const PARTS: usize = 64;

/// So many of them wait when publishers begin to give the client time, and when they end.
const HIGH: usize = PARTS / 2;
const LOW: usize = HIGH - 1;

/// A part that drains earns the client this part of its time: with the defaults, publishers go on
/// waiting for a client that takes 512 KiB per second.
const EARN: u32 = 4;
