//! The frames of a client (RFC 6455, section 5.2).

use std::ops::Range;

use crate::engine::refusal::WebSocketFault;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is the last frame of its message.
    pub last: bool,
    pub kind: Kind,
    /// Bytes of its payload.
    pub payload: u64,
    pub mask: [u8; 4],
    /// Bytes of the header itself.
    pub length: usize,
    /// Bytes of the header and, for a control frame, of its payload.
    pub whole: usize,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Continues a message.
    Continuation,
    /// Begins a text message.
    Text,
    /// Begins a binary message.
    Binary,
    Close,
    Ping,
    Pong,
}

/// What some bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// A header; for a control frame, its whole payload follows.
    Header(Header),
    /// Incomplete data: at least this number of bytes is needed.
    Short(usize),
}

impl Header {
    /// Reads the header at the beginning of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Result<Begin, WebSocketFault> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(Begin::Short(SHORTEST));
        };
        let kind = Kind::of(*first)?;
        let last = first & FINAL != 0;
        if second & MASKED == 0 {
            return Err(WebSocketFault::Protocol("a frame that is not masked"));
        }
        let short = second & !MASKED;
        if kind.is_control() && !last {
            return Err(WebSocketFault::Protocol("a control frame in fragments"));
        }
        if kind.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(WebSocketFault::Protocol(
                "a control frame of more than 125 bytes",
            ));
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let length = SHORTEST + extended + MASK;
        let whole = length + if kind.is_control() { short.into() } else { 0 };
        if bytes.len() < whole {
            return Ok(Begin::Short(whole));
        }
        let (number, mask) = rest.split_at(extended);
        let number = number
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(Begin::Header(Self {
            last,
            kind,
            payload: if extended == 0 { short.into() } else { number },
            mask: [mask[0], mask[1], mask[2], mask[3]],
            length,
            whole,
        }))
    }
}

impl Kind {
    /// Returns the kind that a frame's first byte names.
    fn of(first: u8) -> Result<Self, WebSocketFault> {
        if first & RESERVED != 0 {
            return Err(WebSocketFault::Protocol(
                "reserved bits are set, but no extension was agreed on",
            ));
        }
        Ok(match first & OPCODE {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(WebSocketFault::Protocol("a reserved opcode")),
        })
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Unmasks a part of a payload and moves it to the front, to `to`; returns the mask for the next
/// part.
pub(super) fn unmask(bytes: &mut [u8], part: Range<usize>, to: usize, mask: [u8; 4]) -> [u8; 4] {
    // In blocks that the compiler vectorizes; a block is read before its place is overwritten.
    let wide: [u8; BLOCK] = std::array::from_fn(|at| mask[at % MASK]);
    let (mut from, mut to) = (part.start, to);
    while part.end - from >= BLOCK {
        let mut block = [0; BLOCK];
        block.copy_from_slice(&bytes[from..from + BLOCK]);
        for (byte, mask) in block.iter_mut().zip(wide) {
            *byte ^= mask;
        }
        bytes[to..to + BLOCK].copy_from_slice(&block);
        (from, to) = (from + BLOCK, to + BLOCK);
    }
    for (at, mask) in (from..part.end).zip(wide) {
        bytes[to] = bytes[at] ^ mask;
        to += 1;
    }
    std::array::from_fn(|at| mask[(at + part.len()) % MASK])
}

/// Number of bytes unmasked at once.
const BLOCK: usize = 32;

/// Bytes of a header without length and mask.
const SHORTEST: usize = 2;

/// The bytes of a mask.
const MASK: usize = 4;

/// The longest payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_when_it_is_whole() {
        let bytes = [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 2, 1, 2, 3, 4, b'x'];
        assert_eq!(Header::read(&bytes[..1]), Ok(Begin::Short(2)));
        for length in 2..14 {
            assert_eq!(Header::read(&bytes[..length]), Ok(Begin::Short(14)));
        }
        let expected = Header {
            last: true,
            kind: Kind::Text,
            payload: 0x1_0002,
            mask: [1, 2, 3, 4],
            length: 14,
            whole: 14,
        };
        assert_eq!(Header::read(&bytes), Ok(Begin::Header(expected)));
    }

    #[test]
    fn a_control_frame_is_read_with_its_payload() {
        let bytes = [0x89, 0x82, 1, 2, 3, 4, b'p', b'q'];
        assert_eq!(Header::read(&bytes[..7]), Ok(Begin::Short(8)));
        assert!(
            matches!(Header::read(&bytes), Ok(Begin::Header(header)) if (header.length, header.whole) == (6, 8))
        );
    }

    #[test]
    fn a_payload_in_parts_is_unmasked_and_moved_together() {
        let mask = [0xa1, 0xb2, 0xc3, 0xd4];
        let plain: Vec<u8> = (0..200).collect();
        let masked: Vec<u8> = (0..200)
            .map(|at: u8| at ^ mask[usize::from(at) % 4])
            .collect();
        for cut in 0..plain.len() {
            for gap in [0, 1, 6, 40] {
                let mut bytes = [&vec![0; gap], &masked[..cut], &[0; 6], &masked[cut..]].concat();
                let end = bytes.len();
                let mask = unmask(&mut bytes, gap..gap + cut, 0, mask);
                unmask(&mut bytes, gap + cut + 6..end, cut, mask);
                assert_eq!(bytes[..plain.len()], plain, "cut at {cut}, moved by {gap}");
            }
        }
    }
}
