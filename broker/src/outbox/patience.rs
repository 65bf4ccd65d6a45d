//! How long publishers wait for a client that has not read what they sent before.
//!
//! A burst can be more than an outbox holds although its client reads as fast as it can. So when an
//! outbox is half full its publishers wait a while. The client is given a fixed time for that,
//! which is renewed each time a part of the outbox has been written: a client that reads well is
//! waited for again and again, one that is dead or hopelessly slow once.

use std::time::{Duration, Instant};

use super::{Load, Policy};

/// The time that one client was given.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Pressed>);

/// What has moved towards a client since it connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// What had to wait.
    pub(super) drained: Load,
    /// All octets that the kernel took.
    pub(super) taken: usize,
    /// When it took some last.
    pub(super) last: Instant,
}

/// Since when a client is waited for, and what it had taken by then.
#[derive(Debug)]
struct Pressed {
    since: Instant,
    drained: Load,
}

impl Patience {
    /// Whether publishers should wait for a client for which so much `waits`.
    pub(super) fn is_pressed(
        &mut self,
        waits: Load,
        moved: Moved,
        policy: Policy,
        now: Instant,
    ) -> bool {
        let bounds = policy.bounds;
        // Once it is pressed it is to be well below the mark again.
        let mark = |bound: usize| bound / PART * if self.0.is_some() { LOW } else { HIGH };
        if waits.frames <= mark(bounds.messages) && waits.octets <= mark(bounds.octets) {
            self.0 = None;
            return false;
        }
        let Moved {
            drained,
            taken,
            last,
        } = moved;
        let pressed = self.0.get_or_insert(Pressed {
            since: now,
            drained,
        });
        if drained.frames - pressed.drained.frames >= (bounds.messages / PART).max(1)
            || drained.octets - pressed.drained.octets >= (bounds.octets / PART).max(1)
        {
            *pressed = Pressed {
                since: now,
                drained,
            };
        }
        // A page may be busy for a while. A client that never took much is not expected to begin.
        let stuck = if taken >= waits.octets / READS {
            policy.patience
        } else {
            STUCK
        };
        let moved = last.max(pressed.since);
        now.saturating_duration_since(pressed.since) < policy.patience
            && now.saturating_duration_since(moved) < stuck
    }
}

/// When this part of an outbox has been written, its client is given all the time again.
const PART: usize = 64;

/// So many of these parts wait when publishers begin to give the client time, and when they end.
const HIGH: usize = PART / 2;
const LOW: usize = HIGH - 4;

/// A client that has taken this part of what waits for it is one that reads.
const READS: usize = 4;

/// Another one, of which the kernel takes nothing for this long, is not waited for.
const STUCK: Duration = Duration::from_millis(100);
