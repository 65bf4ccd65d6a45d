//! What carries STOMP: plain TCP, or messages of WebSocket.
//!
//! A transport turns bytes of the socket into bytes of STOMP. It owns no socket and never
//! waits: whoever drives it feeds it what was read and sends what it wants to say.

pub mod handshake;
mod read;
mod socket;
mod websocket;

use bytes::{Bytes, BytesMut};

use crate::engine::refusal::WebSocketFault;
use crate::framing::Framing;

pub use self::read::{DRAIN_BYTES, DRAIN_TIME, await_end, drain, read};
pub use self::socket::Socket;
pub use self::websocket::WebSocket;

/// One of the two ways to carry STOMP.
#[derive(Debug)]
pub enum Transport {
    /// STOMP over TCP: what is read is what was said. Holds what is not taken yet.
    Tcp(Bytes),
    /// STOMP over WebSocket.
    WebSocket(Box<WebSocket>),
}

/// What [`Transport::take_input`] finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Bytes of STOMP.
    Data(Bytes),
    /// A Pong.
    Pong,
    /// The client begins the closing handshake of WebSocket, and is to be answered this.
    Close(Bytes),
}

impl Transport {
    /// Takes what was read from the socket. What was fed before must have been taken.
    pub fn feed(&mut self, bytes: BytesMut) {
        match self {
            Self::Tcp(input) => *input = bytes.freeze(),
            Self::WebSocket(websocket) => websocket.feed(bytes),
        }
    }

    /// What came next; `None` until more is fed.
    ///
    /// # Errors
    /// What breaks the rules of WebSocket. Nothing can be read after that.
    pub fn take_input(&mut self) -> Result<Option<Incoming>, WebSocketFault> {
        match self {
            Self::Tcp(input) if input.is_empty() => Ok(None),
            Self::Tcp(input) => Ok(Some(Incoming::Data(std::mem::take(input)))),
            Self::WebSocket(websocket) => websocket.take_input(),
        }
    }

    /// What the transport itself has to say: Pongs.
    pub fn take_output(&mut self) -> Bytes {
        match self {
            Self::Tcp(_) => Bytes::new(),
            Self::WebSocket(websocket) => websocket.take_output(),
        }
    }

    /// How frames to this client are framed. Binary only if its own first message was.
    pub fn framing(&self) -> Framing {
        match self {
            Self::Tcp(_) => Framing::Tcp,
            Self::WebSocket(websocket) if websocket.is_binary() => Framing::Binary,
            Self::WebSocket(_) => Framing::Text,
        }
    }

    /// The most bytes of one message from now on.
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
