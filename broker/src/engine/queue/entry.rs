//! One message in a queue.

use std::sync::Arc;

use crate::engine::message::Message;

/// A message in a queue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The message; it keeps no read buffer alive (see [`Message::compact`]).
    pub message: Arc<Message>,
    /// The number under which it was accepted.
    pub id: u64,
    /// Why it last returned after a consumer may have seen it; `None` if it never did.
    pub returned: Option<Return>,
    /// Its place in the queue.
    pub(super) position: u64,
    /// Number of bytes of its text, which is what a consumer receives.
    pub(super) bytes: usize,
    /// Number of bytes it holds in addition to its text. Fits, as the number of header lines is
    /// limited.
    overhead: u32,
}

/// Why a message that a consumer may have seen returns to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The consumer sent a NACK.
    Nack,
    /// The connection of the consumer failed: it was reset, silent, slow, or broke a rule.
    Lost,
    /// The connection ended in order: DISCONNECT, a normal Close, or the broker stops.
    Left,
}

impl Entry {
    /// Returns an entry for a message that holds `held` bytes (see [`Message::held`]).
    pub(super) fn new(message: Arc<Message>, id: u64, position: u64, held: usize) -> Self {
        let bytes = message.bytes();
        Self {
            message,
            id,
            returned: None,
            position,
            bytes,
            overhead: u32::try_from(held - bytes).unwrap_or(u32::MAX),
        }
    }

    /// Whether a consumer may have seen it before.
    pub fn is_redelivered(&self) -> bool {
        self.returned.is_some()
    }

    /// Returns what it holds, see [`Message::held`].
    pub(super) fn held(&self) -> usize {
        self.bytes + self.overhead as usize
    }
}
