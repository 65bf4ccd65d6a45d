//! How much a peer may send before the decoder refuses.

/// The limits of a [`Decoder`](crate::Decoder) (STOMP 1.2, "Size Limits").
///
/// Every limit is checked while the bytes arrive, so a peer that never ends a line costs no more
/// memory than one that does. A limit is inclusive: a body of exactly `body` bytes is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Maximum bytes of one header line without its LF. Default 16 KiB.
    pub header_line: usize,
    /// Maximum header lines of one frame, including repeats. Default 256.
    pub headers: usize,
    /// Maximum bytes of all header lines of a frame and the blank line, including their EOLs.
    /// Default 64 KiB; more than 2 GiB counts as 2 GiB.
    pub header_bytes: usize,
    /// Maximum bytes of a body. Default 4 MiB; at most half of the address space.
    pub body: usize,
}

impl Limits {
    /// Maximum bytes of a command line without its LF. No command is longer than 11 bytes; a longer
    /// line than this is another protocol.
    pub const COMMAND: usize = 32;

    /// Returns the limits, lowered to what 32-bit positions can express.
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
