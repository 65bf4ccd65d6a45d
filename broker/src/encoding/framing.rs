//! How one STOMP frame becomes bytes on the wire.

use bytes::Bytes;

use crate::engine::refusal::CloseCode;
use crate::websocket;
use crate::websocket::frame::{self, Kind};

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
pub const MAX_HEADER: usize = frame::MAX_HEADER;

impl Framing {
    /// Whether the transport has Pings, Pongs and close codes.
    pub const fn is_websocket(self) -> bool {
        !matches!(self, Self::Tcp)
    }

    /// Writes the header of a frame of `bytes`; `utf8` says whether they are valid UTF-8.
    pub fn open(self, out: &mut Vec<u8>, bytes: usize, utf8: bool) {
        match self {
            Self::Tcp => {}
            Self::Text if utf8 => frame::write_header(out, Kind::Text, bytes),
            Self::Text | Self::Binary => frame::write_header(out, Kind::Binary, bytes),
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
            Self::Text => &const { frame::of_one_byte(Kind::Text, b'\n') },
            Self::Binary => &const { frame::of_one_byte(Kind::Binary, b'\n') },
        })
    }

    /// Returns a WebSocket Ping; empty over TCP, which has none.
    pub const fn ping(self) -> Bytes {
        Bytes::from_static(if self.is_websocket() {
            &frame::EMPTY_PING
        } else {
            b""
        })
    }

    /// Returns a WebSocket Close; empty over TCP, which ends with FIN.
    pub fn close(self, code: CloseCode, reason: &str) -> Bytes {
        if self.is_websocket() {
            websocket::close(code.number(), reason)
        } else {
            Bytes::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(framing: Framing, utf8: bool) -> Vec<u8> {
        let mut out = Vec::new();
        framing.open(&mut out, 1, utf8);
        out
    }

    #[test]
    fn text_only_if_it_is_utf8_and_the_client_takes_text() {
        assert_eq!(opened(Framing::Text, true), [0x81, 1]);
        assert_eq!(opened(Framing::Text, false), [0x82, 1]);
        assert_eq!(opened(Framing::Binary, true), [0x82, 1]);
        assert_eq!(Framing::Text.wrap(&Bytes::from_static(b"\xff"))[0], 0x82);
        assert_eq!(
            Framing::Text.wrap(&Bytes::from_static(b"a"))[..],
            *b"\x81\x01a"
        );
    }

    #[test]
    fn tcp_has_no_wrapping() {
        let frame = Bytes::from_static(b"a");
        assert!(opened(Framing::Tcp, true).is_empty());
        assert_eq!(Framing::Tcp.wrap(&frame), frame);
        assert!(Framing::Tcp.ping().is_empty());
        assert!(Framing::Tcp.close(CloseCode::Limit, "full").is_empty());
    }

    #[test]
    fn heart_beats_and_pings_are_whole_frames() {
        assert_eq!(Framing::Tcp.beat(), "\n");
        assert_eq!(Framing::Text.beat()[..], *b"\x81\x01\n");
        assert_eq!(Framing::Binary.beat()[..], *b"\x82\x01\n");
        assert_eq!(Framing::Text.ping()[..], *b"\x89\x00");
    }
}
