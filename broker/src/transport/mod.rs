//! Transports of STOMP: plain TCP, or WebSocket messages.
//!
//! A transport converts bytes of the socket to bytes of STOMP. It owns no socket and never waits:
//! its caller feeds it what was read and sends its output.

pub mod handshake;
mod read;
mod socket;

use bytes::{Bytes, BytesMut};

use crate::encoding::Framing;
use crate::websocket::{WebSocket, WebSocketFault};

pub use self::read::{DRAIN_BYTES, DRAIN_TIME, await_end, drain, read};
pub use self::socket::Socket;
pub use crate::websocket::Incoming;

/// A way to carry STOMP.
#[derive(Debug)]
pub enum Transport {
    /// STOMP over TCP: bytes pass unchanged. Holds input that is not taken yet.
    Tcp(Bytes),
    /// STOMP over WebSocket.
    WebSocket(Box<WebSocket>),
}

impl Transport {
    /// Takes bytes that were read from the socket. Earlier input must have been taken.
    pub fn feed(&mut self, bytes: BytesMut) {
        match self {
            Self::Tcp(input) => *input = bytes.freeze(),
            Self::WebSocket(websocket) => websocket.feed(bytes),
        }
    }

    /// Returns the next input; `None` until more is fed.
    ///
    /// # Errors
    /// If the client violates the WebSocket protocol. Nothing can be read after that.
    pub fn take_input(&mut self) -> Result<Option<Incoming>, WebSocketFault> {
        match self {
            Self::Tcp(input) if input.is_empty() => Ok(None),
            Self::Tcp(input) => Ok(Some(Incoming::Data(std::mem::take(input)))),
            Self::WebSocket(websocket) => websocket.take_input(),
        }
    }

    /// Returns the output of the transport itself: Pongs.
    pub fn take_output(&mut self) -> Bytes {
        match self {
            Self::Tcp(_) => Bytes::new(),
            Self::WebSocket(websocket) => websocket.take_output(),
        }
    }

    /// How frames to this client are framed: binary only if its own first message was.
    pub fn framing(&self) -> Framing {
        match self {
            Self::Tcp(_) => Framing::Tcp,
            Self::WebSocket(websocket) if websocket.is_binary() => Framing::Binary,
            Self::WebSocket(_) => Framing::Text,
        }
    }

    /// Sets the maximum size of a message from now on.
    pub fn set_limit(&mut self, bytes: usize) {
        if let Self::WebSocket(websocket) = self {
            websocket.set_limit(bytes);
        }
    }

    /// The label in metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Tcp(_) => TCP,
            Self::WebSocket(_) => WEBSOCKET,
        }
    }
}

/// The name of STOMP over TCP in metrics and logs.
pub const TCP: &str = "tcp";
/// The name of STOMP over WebSocket in metrics and logs.
pub const WEBSOCKET: &str = "websocket";
