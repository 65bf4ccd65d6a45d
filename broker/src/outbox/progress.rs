//! How far the deliveries of a queue's consumer have come on their way to the kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far the deliveries of one consumer have come, by their numbers. It is written under the
/// lock of its outbox, and read by whoever settles them.
#[derive(Debug, Default)]
pub struct Progress {
    begun: AtomicU64,
    written: AtomicU64,
}

/// Where deliveries of a piece say how far they have come.
#[derive(Clone, Debug)]
pub struct Track {
    /// To whom.
    pub progress: Arc<Progress>,
    /// The number of the piece's first message; the others follow.
    pub first: u64,
    /// Whether the client's own task is told: in mode `auto` what is written is settled.
    pub reports: bool,
}

impl Progress {
    /// The highest number of which the kernel has a byte; zero if there is none.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// The highest number of which the kernel has all bytes; zero if there is none.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}

impl Track {
    /// The kernel has the first `whole` messages of the piece, and some bytes of the next one if
    /// that is `begun`.
    pub(super) fn advance(&self, whole: usize, begun: bool) {
        let written = self.first + whole as u64 - 1;
        self.progress.written.store(written, Ordering::Release);
        let begun = written + u64::from(begun);
        self.progress.begun.store(begun, Ordering::Release);
    }
}
