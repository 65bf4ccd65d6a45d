//! What a client may do wrong.

use std::fmt;

/// What broke the rules of WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketFault {
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// Another rule of RFC 6455; what it was.
    Protocol(&'static str),
    /// A message or frame that is larger than the reader's limit.
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for WebSocketFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUtf8 => out.write_str("WebSocket: text that is not UTF-8"),
            Self::Protocol(what) => write!(out, "WebSocket: {what}"),
            Self::TooBig { limit } => {
                write!(out, "WebSocket: a message of more than {limit} bytes")
            }
        }
    }
}
