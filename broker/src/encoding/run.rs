//! A run of frames as bytes, which many outboxes can share.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::engine::destination::Destination;

/// A run of MESSAGE frames for receivers of one kind and one subscription id. It stores where its
/// frames end, so that a policy can treat each message separately.
#[derive(Debug)]
pub struct EncodedRun {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    destination: Destination,
    /// Whether it is counted in [`WAITING`].
    waits: AtomicBool,
}

impl EncodedRun {
    /// Creates a run of frames to one destination; `ends` says where in `bytes` each of them ends.
    pub(super) fn new(bytes: Vec<u8>, ends: Vec<u32>, destination: Destination) -> Self {
        Self {
            bytes,
            ends,
            destination,
            waits: AtomicBool::new(false),
        }
    }

    /// Returns the number of messages; at least one.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Always `false`: a run has at least one message.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the whole encoded run as sent over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Marks the encoded run as queued for a client: [`waiting_bytes`] counts it until it is dropped.
    pub fn wait(&self) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            WAITING.fetch_add(self.memory(), Ordering::Relaxed);
        }
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>() + OVERHEAD
    }

    /// Returns the destination of the messages.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns where in [`EncodedRun::bytes`] the message of this index begins or, after the last one,
    /// ends.
    pub fn start(&self, index: usize) -> usize {
        if index == 0 {
            0
        } else {
            self.ends[index - 1] as usize
        }
    }

    /// Returns the number of bytes of a range of its messages.
    pub fn size(&self, range: &Range<usize>) -> usize {
        self.start(range.end) - self.start(range.start)
    }

    /// Returns how many messages lie entirely within the first `bytes`.
    pub fn whole(&self, bytes: usize) -> usize {
        self.ends.partition_point(|&end| end as usize <= bytes)
    }
}

impl Drop for EncodedRun {
    fn drop(&mut self) {
        if *self.waits.get_mut() {
            WAITING.fetch_sub(self.memory(), Ordering::Relaxed);
        }
    }
}

/// Number of bytes of memory of the encoded runs queued for clients, each counted once however many
/// clients it is queued for. Counted for the whole process, like an allocator's statistics, because
/// only the encoded run itself knows when the last client drops it.
pub fn waiting_bytes() -> usize {
    WAITING.load(Ordering::Relaxed)
}

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The memory of an encoded run in addition to its messages, with the allocator's overhead.
const OVERHEAD: usize = 176;
