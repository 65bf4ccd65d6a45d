//! STOMP over WebSocket: tungstenite keeps the protocol, over octets instead of a socket.
//!
//! tungstenite reads from what was fed and "writes" its Pongs and its answer to a Close into a
//! buffer. Written straight to the socket they would land inside a frame that is partly written;
//! so they take their turn in the outbox.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Incoming;
use crate::engine::refusal::WebSocketFault;

/// The WebSocket of one client, after the handshake.
#[derive(Debug)]
pub struct WebSocket {
    context: WebSocketContext,
    octets: Octets,
    limit: usize,
    /// Whether the client's first message was binary; `None` before it.
    binary: Option<bool>,
}

/// What stands in for the socket.
#[derive(Debug, Default)]
struct Octets {
    input: Bytes,
    output: Vec<u8>,
}

impl WebSocket {
    /// A WebSocket whose messages may have at most `limit` octets.
    pub fn new(limit: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_write_buffer_size(MAX_OUTPUT)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        Self {
            context: WebSocketContext::new(Role::Server, Some(config)),
            octets: Octets::default(),
            limit,
            binary: None,
        }
    }

    pub(super) fn feed(&mut self, octets: Bytes) {
        self.octets.input = octets;
    }

    pub(super) fn take_input(&mut self) -> Result<Option<Incoming>, WebSocketFault> {
        loop {
            let data = match self.context.read(&mut self.octets) {
                Ok(Message::Text(text)) => {
                    self.binary.get_or_insert(false);
                    text.into()
                }
                Ok(Message::Binary(octets)) => {
                    self.binary.get_or_insert(true);
                    octets
                }
                Ok(Message::Pong(_)) => return Ok(Some(Incoming::Pong)),
                Ok(Message::Ping(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(_)) => {
                    // This writes the answer, and then says that all is over, which we know.
                    let _ = self.context.flush(&mut self.octets);
                    return Ok(Some(Incoming::Close));
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(None);
                }
                Err(error) => return Err(self.fault(&error)),
            };
            if !data.is_empty() {
                return Ok(Some(Incoming::Data(data)));
            }
        }
    }

    pub(super) fn take_output(&mut self) -> Bytes {
        std::mem::take(&mut self.octets.output).into()
    }

    pub(super) fn is_binary(&self) -> bool {
        self.binary == Some(true)
    }

    pub(super) fn set_limit(&mut self, octets: usize) {
        self.limit = octets;
        self.context.set_config(|config| {
            config.max_message_size = Some(octets);
            config.max_frame_size = Some(octets);
        });
    }

    fn fault(&self, error: &Error) -> WebSocketFault {
        match error {
            Error::Utf8(_) => WebSocketFault::InvalidUtf8,
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                WebSocketFault::TooBig { limit: self.limit }
            }
            Error::Protocol(error) => WebSocketFault::Protocol(error.to_string().into()),
            other => WebSocketFault::Protocol(other.to_string().into()),
        }
    }
}

impl Read for Octets {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let octets = buffer.len().min(self.input.len());
        self.input.copy_to_slice(&mut buffer[..octets]);
        if self.input.is_empty() {
            // Lets the thread's read buffer go.
            self.input = Bytes::new();
        }
        Ok(octets)
    }
}

impl Write for Octets {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// tungstenite allocates this for each connection. What is read from the socket is copied through
/// it, so it may be small: the size of a read is not decided here.
const READ_BUFFER: usize = 1024;

/// The most octets of Pongs that tungstenite holds back; they are taken after each read.
const MAX_OUTPUT: usize = 64 * 1024;
