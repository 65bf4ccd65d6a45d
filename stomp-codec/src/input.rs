//! The bytes that a decoder has not read yet: the pushed chunk and, if a frame began in an earlier
//! one, a copy of that beginning.

use std::{borrow::Cow, mem};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

/// A chunk, and the bytes held from earlier chunks.
///
/// The bytes being read are the [`window`](Self::window): the held bytes or, if there are none, the
/// chunk. Held bytes are completed from the chunk only as far as the current rule can read; what
/// follows is a slice of the chunk again.
#[derive(Default)]
pub(crate) struct Input {
    chunk: Bytes,
    held: Vec<u8>,
}

/// How far the current rule can read.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// This many bytes from its start.
    Length(usize),
    /// Through the next byte of this value, at most this many bytes more.
    Through(u8, usize),
}

impl Input {
    /// Appends a chunk; without a copy if everything has been read.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else if !chunk.is_empty() {
            self.chunk = joined(mem::take(&mut self.chunk), &chunk);
        }
    }

    /// Returns the bytes that can be read now.
    #[inline]
    pub(crate) fn window(&self) -> &[u8] {
        if self.held.is_empty() {
            &self.chunk
        } else {
            &self.held
        }
    }

    /// Number of bytes in the chunk and the held bytes together.
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.chunk.len()
    }

    /// Consumes bytes of the window. Held bytes never extend beyond them.
    #[inline]
    pub(crate) fn consume(&mut self, length: usize) {
        if self.held.is_empty() {
            self.chunk.advance(length);
        } else {
            debug_assert_eq!(self.held.len(), length, "only what is being read is held");
            self.held = Vec::new();
        }
    }

    /// Returns the first bytes of the window, and whether they are a slice of the chunk.
    pub(crate) fn share(&self, length: usize) -> (Bytes, bool) {
        if self.held.is_empty() {
            (self.chunk.slice(..length), true)
        } else {
            (Bytes::copy_from_slice(&self.held[..length]), false)
        }
    }

    /// Returns the first bytes of the window and consumes them and the terminator after them.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Bytes {
        if self.held.is_empty() {
            let taken = self.chunk.split_to(length);
            self.chunk.advance(1);
            return taken;
        }
        let mut taken = mem::take(&mut self.held);
        taken.truncate(length);
        Bytes::from(taken)
    }

    /// Moves bytes from the chunk to the held bytes. False if nothing is held or nothing is left.
    pub(crate) fn extend_held(&mut self, reach: Reach) -> bool {
        if self.held.is_empty() || self.chunk.is_empty() {
            return false;
        }
        let wanted = match reach {
            Reach::Length(length) => self.reserve(length),
            Reach::Through(end, limit) => {
                let within = &self.chunk[..self.chunk.len().min(limit)];
                memchr(end, within).map_or(within.len(), |at| at + 1)
            }
        };
        self.held.extend_from_slice(&self.chunk[..wanted]);
        self.chunk.advance(wanted);
        true
    }

    /// Releases the chunk: the rest of it is the start of something incomplete and is held.
    pub(crate) fn set_aside(&mut self) {
        let chunk = mem::take(&mut self.chunk);
        if self.held.is_empty() {
            self.held.extend_from_slice(&chunk);
        }
    }

    /// Discards everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether no separate memory is held.
    #[cfg(test)]
    pub(crate) fn is_unallocated(&self) -> bool {
        self.held.capacity() == 0 && self.chunk.is_empty()
    }

    /// Returns the held bytes and at most `limit` bytes of the chunk after them.
    pub(crate) fn peek(&self, limit: usize) -> Cow<'_, [u8]> {
        let ahead = &self.chunk[..self.chunk.len().min(limit)];
        if self.held.is_empty() {
            Cow::Borrowed(ahead)
        } else {
            Cow::Owned([&self.held, ahead].concat())
        }
    }

    /// Reserves room for `length` bytes: exactly, if at least half of them have arrived; before
    /// that the vector grows with the data, as an announced length cannot be trusted. Returns how
    /// many of the missing bytes are in the chunk.
    fn reserve(&mut self, length: usize) -> usize {
        let missing = length - self.held.len();
        if missing <= self.held.len() {
            self.held.reserve_exact(missing);
        }
        missing.min(self.chunk.len())
    }
}

/// Joins both chunks; amortised linear over many, as the result is not shared.
fn joined(first: Bytes, second: &[u8]) -> Bytes {
    let mut both = first
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    both.extend_from_slice(second);
    both.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(held: &'static [u8], chunk: &'static [u8]) -> Input {
        let mut input = Input::default();
        input.push(Bytes::from_static(held));
        input.set_aside();
        input.push(Bytes::from_static(chunk));
        input
    }

    #[test]
    fn held_bytes_take_no_more_of_the_chunk_than_they_reach() {
        let mut input = holding(b"ab", b"c\nd\n");
        assert!(input.extend_held(Reach::Through(b'\n', 9)));
        assert_eq!(input.window(), b"abc\n");
        input.consume(4);
        assert_eq!(input.window(), b"d\n");
    }

    #[test]
    fn held_bytes_do_not_pass_their_limit() {
        let mut input = holding(b"ab", b"cdefgh\n");
        assert!(input.extend_held(Reach::Through(b'\n', 3)));
        assert_eq!(input.window(), b"abcde");
    }

    #[test]
    fn room_is_made_in_proportion_to_what_has_come() {
        let mut input = holding(b"abcd", b"efgh");
        assert!(input.extend_held(Reach::Length(4_000_000)));
        assert_eq!(input.window(), b"abcdefgh");
        assert!(input.held.capacity() <= 2 * input.held.len());
    }

    #[test]
    fn room_is_made_exactly_when_half_has_come() {
        let mut input = holding(b"abcdef", b"gh");
        assert!(input.extend_held(Reach::Length(9)));
        assert_eq!(input.held.capacity(), 9);
    }

    #[test]
    fn chunks_in_a_row_are_joined() {
        let mut input = Input::default();
        for piece in [&b"ab"[..], b"", b"c", b"def"] {
            input.push(Bytes::copy_from_slice(piece));
        }
        assert_eq!((input.window(), input.len()), (&b"abcdef"[..], 6));
    }
}
