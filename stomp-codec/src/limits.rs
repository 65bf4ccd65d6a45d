//! How much a peer may send before the decoder refuses.

/// What a [`Decoder`](crate::Decoder) accepts at most (STOMP 1.2, "Size Limits").
///
/// Every limit is checked while the bytes arrive, so a peer that never ends a line costs no
/// more memory than one that does. A limit is inclusive: a body of exactly `body` bytes passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one header line without its LF. Default 16 KiB.
    pub header_line: usize,
    /// Header lines of one frame, repeats included. Default 256.
    pub headers: usize,
    /// Bytes of all header lines of a frame and the blank line, with their ends of line.
    /// Default 64 KiB; more than 2 GiB counts as 2 GiB.
    pub header_bytes: usize,
    /// Bytes of a body. Default 4 MiB; cannot be more than half of what memory can address.
    pub body: usize,
}

impl Limits {
    /// Bytes of a command line without its LF. No command is longer than 11 bytes; what is
    /// longer than this is another protocol.
    pub const COMMAND: usize = 32;

    /// Limits that positions of 32 bits can express.
    pub(crate) fn clamped(self) -> Self {
        Self {
            header_bytes: self.header_bytes.min(MAX_HEADER_BYTES),
            body: self.body.min(usize::MAX / 2),
            ..self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_line: 16 << 10,
            headers: 256,
            header_bytes: 64 << 10,
            body: 4 << 20,
        }
    }
}

const MAX_HEADER_BYTES: usize = 1 << 31;
