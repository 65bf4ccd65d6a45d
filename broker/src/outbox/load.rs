//! How much is queued for a client, and how much may be.

use std::ops::Range;
use std::time::Duration;

use crate::config::SlowConsumer;
use crate::encoding::EncodedRun;

/// How much may be queued for a client, and what happens above that.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// The bounds of the queued messages. Replies have the same bounds; above them the client is
    /// not read.
    pub bounds: OutboxBounds,
    /// What happens when a message does not fit.
    pub slow_consumer: SlowConsumer,
    /// How long publishers wait for a client with much queued data; the time is renewed as the data
    /// is written. Zero: never.
    pub patience: Duration,
}

/// The bounds of the queued messages. Replies are bounded by no longer reading from the client.
#[derive(Clone, Copy, Debug)]
pub struct OutboxBounds {
    /// Maximum number of bytes.
    pub bytes: usize,
    /// Maximum number of messages.
    pub messages: usize,
    /// Number of bytes counted for each queued encoded run in addition to its messages: the memory
    /// that the queue entry and the encoded run itself take, [`RUN_OVERHEAD`].
    pub per_run: usize,
}

/// Number of bytes that an encoded run takes in a backlog in addition to its content: its entry in
/// the line, including spare capacity, its entry in the index, and the allocator's overhead.
pub const RUN_OVERHEAD: usize = 280;

/// A number of queued frames and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxLoad {
    /// Number of frames.
    pub frames: usize,
    /// Number of bytes.
    pub bytes: usize,
}

/// What was exchanged with a client so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Number of frames.
    pub frames: u64,
    /// Number of bytes.
    pub bytes: u64,
}

impl OutboxLoad {
    pub(super) fn one(bytes: usize) -> Self {
        Self { frames: 1, bytes }
    }

    pub(super) fn of(encoded: &EncodedRun, range: &Range<usize>) -> Self {
        Self {
            frames: range.len(),
            bytes: encoded.size(range),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        *self = self.with(other);
    }

    /// Returns the sum of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            bytes: self.bytes + other.bytes,
        }
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self {
            frames: self.frames - other.frames,
            bytes: self.bytes - other.bytes,
        }
    }
}
