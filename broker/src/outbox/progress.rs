//! How many deliveries of a queue's consumer the kernel has taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The progress of one consumer's deliveries, by their numbers. Written under the lock of its
/// outbox, and read by the task that settles them.
#[derive(Debug, Default)]
pub struct Progress {
    begun: AtomicU64,
    written: AtomicU64,
}

/// Where the progress of an encoded run's deliveries is reported.
#[derive(Clone, Debug)]
pub struct Track {
    /// The progress to update.
    pub progress: Arc<Progress>,
    /// The number of the encoded run's first message; the others follow.
    pub first: u64,
    /// Whether to signal the client's own task: in mode `auto` a written delivery is settled.
    pub reports: bool,
}

impl Progress {
    /// The highest number of which the kernel has at least one byte; zero if there is none.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }

    /// The highest number of which the kernel has all bytes; zero if there is none.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}

impl Track {
    /// The kernel has the first `whole` messages of the encoded run, and some bytes of the next one
    /// if that is `begun`.
    pub(super) fn advance(&self, whole: usize, begun: bool) {
        let written = self.first + whole as u64 - 1;
        self.progress.written.store(written, Ordering::Release);
        let begun = written + u64::from(begun);
        self.progress.begun.store(begun, Ordering::Release);
    }
}
