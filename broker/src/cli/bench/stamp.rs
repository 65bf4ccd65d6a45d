//! The numbers in the body of a message: its publisher, its sequence number, its time.
//!
//! They are text, so that a WebSocket carries them as text, as most applications do.

use std::time::Duration;

/// The contents of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    /// The run; a queue may hold messages of an earlier one.
    pub(super) run: u32,
    pub(super) publisher: u16,
    pub(super) destination: u16,
    /// Number of earlier messages of this publisher to this destination; 40 bits.
    pub(super) number: u64,
    /// When it was due, from the start of the run; 48 bits of nanoseconds.
    pub(super) due: Duration,
}

impl Stamp {
    /// Bytes of the numbers.
    pub(super) const SIZE: usize = 8 + 4 + 4 + 10 + 12;

    /// Returns a body of `size` bytes, which is at least [`SIZE`](Self::SIZE).
    pub(super) fn body(self, size: usize) -> Vec<u8> {
        let mut body = format!(
            "{:08x}{:04x}{:04x}{:010x}{:012x}",
            self.run,
            self.publisher,
            self.destination,
            self.number,
            self.due.as_nanos()
        )
        .into_bytes();
        body.resize(size, b'.');
        body
    }

    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body.get(..Self::SIZE)?).ok()?;
        let hex = |from: usize, to: usize| u64::from_str_radix(text.get(from..to)?, 16).ok();
        Some(Self {
            run: hex(0, 8)?.try_into().ok()?,
            publisher: hex(8, 12)?.try_into().ok()?,
            destination: hex(12, 16)?.try_into().ok()?,
            number: hex(16, 26)?,
            due: Duration::from_nanos(hex(26, 38)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let stamp = Stamp {
            run: u32::MAX,
            publisher: 7,
            destination: u16::MAX,
            number: (1 << 40) - 1,
            due: Duration::from_secs(70 * 3600),
        };
        for size in [Stamp::SIZE, 1000] {
            let body = stamp.body(size);
            assert_eq!(body.len(), size);
            assert_eq!(Stamp::read(&body), Some(stamp));
        }
        assert_eq!(Stamp::read(b"no stamp"), None);
        assert_eq!(Stamp::read(&[b'x'; 100]), None);
    }
}
