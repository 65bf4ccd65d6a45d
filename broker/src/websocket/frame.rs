//! Frames (RFC 6455, section 5.2): those of a client are read, ours are written.

use std::ops::Range;

use super::fault::WebSocketFault;

/// The header of a client's frame.
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

/// What a frame is for; the number is its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Continues a message.
    Continuation = CONTINUATION,
    /// Begins a text message.
    Text = TEXT,
    /// Begins a binary message.
    Binary = BINARY,
    /// Starts or completes the closing handshake.
    Close = CLOSE,
    /// Asks for a Pong.
    Ping = PING,
    /// Answers a Ping.
    Pong = PONG,
}

/// What some bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// A header; for a control frame, its whole payload follows.
    Header(Header),
    /// Incomplete data: at least this number of bytes is needed.
    Short(usize),
}

/// Whether a frame that begins with this byte is a Ping.
pub(super) fn is_ping(first: u8) -> bool {
    first & OPCODE == PING
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
            CONTINUATION => Self::Continuation,
            TEXT => Self::Text,
            BINARY => Self::Binary,
            CLOSE => Self::Close,
            PING => Self::Ping,
            PONG => Self::Pong,
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

/// Writes the header of one of our frames, which are final and not masked.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each arm has checked the range"
)]
pub fn write_header(out: &mut Vec<u8>, kind: Kind, bytes: usize) {
    let first = FINAL | kind as u8;
    match bytes {
        0..=MAX_CONTROL => out.extend_from_slice(&[first, bytes as u8]),
        126..=0xffff => {
            out.extend_from_slice(&[first, 126]);
            out.extend_from_slice(&(bytes as u16).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[first, 127]);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
}

/// Writes a control frame with this payload, which has at most 125 bytes.
pub(super) fn write_control(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    write_header(out, kind, payload.len());
    out.extend_from_slice(payload);
}

/// Returns a frame whose payload is one byte.
pub const fn of_one_byte(kind: Kind, byte: u8) -> [u8; 3] {
    [FINAL | kind as u8, 1, byte]
}

/// A Ping without payload.
pub const EMPTY_PING: [u8; 2] = [FINAL | PING, 0];

/// Maximum number of bytes that [`write_header`] writes.
pub const MAX_HEADER: usize = 10;

/// Number of bytes unmasked at once.
const BLOCK: usize = 32;

/// Bytes of a header without length and mask.
const SHORTEST: usize = 2;

/// The bytes of a mask.
const MASK: usize = 4;

/// The longest payload of a control frame (section 5.5).
pub(super) const MAX_CONTROL: usize = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

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
    fn the_length_takes_as_few_bytes_as_it_can() {
        let header = |bytes| {
            let mut out = Vec::new();
            write_header(&mut out, Kind::Text, bytes);
            out
        };
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(65_535), [0x81, 126, 255, 255]);
        assert_eq!(header(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(header(usize::MAX).len(), MAX_HEADER);
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
