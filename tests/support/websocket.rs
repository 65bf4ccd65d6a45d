//! The client side of WebSocket in raw bytes, so that a test can break each of its rules.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::peer::PATIENCE;

/// The bit that says that a frame ends its message.
pub const FIN: u8 = 0x80;
/// The opcode of a continued message.
pub const CONTINUATION: u8 = 0x0;
/// The opcode of text.
pub const TEXT: u8 = 0x1;
/// The opcode of a binary message.
pub const BINARY: u8 = 0x2;
/// The opcode of a Close.
pub const CLOSE: u8 = 0x8;
/// The opcode of a Ping.
pub const PING: u8 = 0x9;
/// The opcode of a Pong.
pub const PONG: u8 = 0xa;

/// Returns a client's frame; `first` is its first byte (FIN, reserved bits, opcode).
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    length(&mut bytes, payload.len(), 0x80);
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.into_iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

/// Returns an invalid client frame: not masked.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    length(&mut bytes, payload.len(), 0);
    bytes.extend_from_slice(payload);
    bytes
}

fn length(bytes: &mut Vec<u8>, length: usize, mask: u8) {
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        bytes.push(mask + short);
    } else if let Ok(medium) = u16::try_from(length) {
        bytes.push(mask + 126);
        bytes.extend_from_slice(&medium.to_be_bytes());
    } else {
        bytes.push(mask + 127);
        bytes.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// Splits a server's bytes into frames.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: BytesMut,
}

impl Reader {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next frame: opcode and payload. A server's frames here are final and not masked.
    pub fn take(&mut self) -> Option<(u8, Bytes)> {
        let (first, second) = (*self.bytes.first()?, *self.bytes.get(1)?);
        assert_eq!(first & 0xf0, FIN, "final, no reserved bit");
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let (head, length) = match second {
            126 => (
                4,
                u64::from(u16::from_be_bytes(
                    self.bytes.get(2..4)?.try_into().unwrap(),
                )),
            ),
            127 => (
                10,
                u64::from_be_bytes(self.bytes.get(2..10)?.try_into().unwrap()),
            ),
            short => (2, u64::from(short)),
        };
        let length = usize::try_from(length).unwrap();
        if self.bytes.len() < head + length {
            return None;
        }
        self.bytes.advance(head);
        Some((first & 0x0f, self.bytes.split_to(length).freeze()))
    }
}

/// Requests a WebSocket as browsers do and returns the head of the answer.
pub async fn handshake(stream: &mut TcpStream, path: &str, subprotocol: Option<&str>) -> String {
    let offer = subprotocol.map_or_else(String::new, |name| {
        format!("Sec-WebSocket-Protocol: {name}\r\n")
    });
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

/// Sends a request and reads until the server ends the stream.
pub async fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(answer).unwrap()
}
