//! How one STOMP frame becomes bytes on the wire.

use bytes::Bytes;

use crate::engine::refusal::CloseCode;

/// How a STOMP frame is wrapped. Over WebSocket one STOMP frame is exactly one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// STOMP over TCP: no wrapping.
    Tcp,
    /// WebSocket: a text message if the frame is valid UTF-8, else a binary message.
    Text,
    /// WebSocket: always a binary message, for a client whose first frame was binary.
    Binary,
}

/// Maximum number of bytes that [`Framing::open`] writes.
pub const MAX_HEADER: usize = 10;

impl Framing {
    /// Whether the transport has Pings, Pongs and close codes.
    pub const fn is_websocket(self) -> bool {
        !matches!(self, Self::Tcp)
    }

    /// Writes the header of a frame of `bytes`; `utf8` says whether they are valid UTF-8.
    pub fn open(self, out: &mut Vec<u8>, bytes: usize, utf8: bool) {
        match self {
            Self::Tcp => {}
            Self::Text if utf8 => header(out, TEXT, bytes),
            Self::Text | Self::Binary => header(out, BINARY, bytes),
        }
    }

    /// Returns one frame with its wrapping.
    pub fn wrap(self, frame: &Bytes) -> Bytes {
        if self == Self::Tcp {
            return frame.clone();
        }
        let utf8 = self == Self::Text && simdutf8::basic::from_utf8(frame).is_ok();
        let mut out = Vec::with_capacity(MAX_HEADER + frame.len());
        self.open(&mut out, frame.len(), utf8);
        out.extend_from_slice(frame);
        out.into()
    }

    /// Returns a heart-beat: one EOL, over WebSocket as a message of one byte, which a page can
    /// see.
    pub const fn beat(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Tcp => b"\n",
            Self::Text => b"\x81\x01\n",
            Self::Binary => b"\x82\x01\n",
        })
    }

    /// Returns a WebSocket Ping; empty over TCP, which has none.
    pub const fn ping(self) -> Bytes {
        Bytes::from_static(if self.is_websocket() {
            b"\x89\x00"
        } else {
            b""
        })
    }

    /// Returns a WebSocket Close, its reason cut to what a control frame can hold; empty over TCP,
    /// which ends with FIN.
    pub fn close(self, code: CloseCode, reason: &str) -> Bytes {
        if !self.is_websocket() {
            return Bytes::new();
        }
        let reason = &reason[..cut(reason)];
        let mut out = Vec::with_capacity(4 + reason.len());
        header(&mut out, CLOSE, 2 + reason.len());
        out.extend_from_slice(&code.number().to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
        out.into()
    }
}

/// Returns where to cut a reason: at a character boundary.
fn cut(reason: &str) -> usize {
    let cut = MAX_REASON.min(reason.len());
    (0..=cut)
        .rev()
        .find(|&at| reason.is_char_boundary(at))
        .unwrap_or(0)
}

/// Writes a WebSocket control frame with this payload of at most 125 bytes.
pub fn control(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Writes the header of an unmasked, final frame (RFC 6455, section 5.2).
#[expect(
    clippy::cast_possible_truncation,
    reason = "each arm has checked the range"
)]
fn header(out: &mut Vec<u8>, opcode: u8, bytes: usize) {
    match bytes {
        0..=125 => out.extend_from_slice(&[FINAL | opcode, bytes as u8]),
        126..=0xffff => {
            out.extend_from_slice(&[FINAL | opcode, 126]);
            out.extend_from_slice(&(bytes as u16).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&[FINAL | opcode, 127]);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
}

const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
/// The opcode of a Close.
pub const CLOSE: u8 = 0x8;
/// The opcode of a Pong.
pub const PONG: u8 = 0xa;
const MAX_REASON: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(framing: Framing, bytes: usize, utf8: bool) -> Vec<u8> {
        let mut out = Vec::new();
        framing.open(&mut out, bytes, utf8);
        out
    }

    #[test]
    fn the_length_takes_as_few_bytes_as_it_can() {
        assert_eq!(opened(Framing::Text, 125, true), [0x81, 125]);
        assert_eq!(opened(Framing::Text, 126, true), [0x81, 126, 0, 126]);
        assert_eq!(opened(Framing::Text, 65_535, true), [0x81, 126, 255, 255]);
        assert_eq!(
            opened(Framing::Text, 65_536, true),
            [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]
        );
        assert!(opened(Framing::Tcp, 125, true).is_empty());
    }

    #[test]
    fn text_only_if_it_is_utf8_and_the_client_takes_text() {
        assert_eq!(opened(Framing::Text, 1, false)[0], 0x82);
        assert_eq!(opened(Framing::Binary, 1, true)[0], 0x82);
        assert_eq!(Framing::Text.wrap(&Bytes::from_static(b"\xff"))[0], 0x82);
        assert_eq!(
            Framing::Text.wrap(&Bytes::from_static(b"a"))[..],
            *b"\x81\x01a"
        );
    }

    #[test]
    fn a_reason_is_cut_at_a_character_and_fits_a_control_frame() {
        let close = Framing::Text.close(CloseCode::Limit, &"ü".repeat(100));
        assert_eq!(close[1], 2 + 122);
        assert_eq!(close[2..4], 1013_u16.to_be_bytes());
        assert!(std::str::from_utf8(&close[4..]).is_ok());
        assert!(Framing::Tcp.close(CloseCode::Limit, "full").is_empty());
    }
}
