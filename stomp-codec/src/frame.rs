//! Commands and frames.

use std::fmt;

use bytes::Bytes;

use crate::{Headers, Version, encode};

/// The first line of a frame (STOMP 1.2, "Augmented BNF": `client-command`, `server-command`).
///
/// Commands are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Rolls back a transaction.
    Abort,
    /// Acknowledges a message.
    Ack,
    /// Starts a transaction.
    Begin,
    /// Commits a transaction.
    Commit,
    /// Opens the session.
    Connect,
    /// The server's answer to CONNECT.
    Connected,
    /// Ends the session.
    Disconnect,
    /// Reports an error; the server then closes the connection.
    Error,
    /// A message of a subscription.
    Message,
    /// Reports that a message was not consumed. Since 1.1.
    Nack,
    /// Confirms that the server has processed a frame that requested it.
    Receipt,
    /// Sends a message to a destination.
    Send,
    /// Alternative name of CONNECT. Since 1.1.
    Stomp,
    /// Starts a subscription.
    Subscribe,
    /// Ends a subscription.
    Unsubscribe,
}

impl Command {
    /// All commands.
    pub const ALL: [Self; 15] = [
        Self::Abort,
        Self::Ack,
        Self::Begin,
        Self::Commit,
        Self::Connect,
        Self::Connected,
        Self::Disconnect,
        Self::Error,
        Self::Message,
        Self::Nack,
        Self::Receipt,
        Self::Send,
        Self::Stomp,
        Self::Subscribe,
        Self::Unsubscribe,
    ];

    /// Returns the command as written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "ABORT",
            Self::Ack => "ACK",
            Self::Begin => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Connect => "CONNECT",
            Self::Connected => "CONNECTED",
            Self::Disconnect => "DISCONNECT",
            Self::Error => "ERROR",
            Self::Message => "MESSAGE",
            Self::Nack => "NACK",
            Self::Receipt => "RECEIPT",
            Self::Send => "SEND",
            Self::Stomp => "STOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
        }
    }

    /// Returns the command with this name.
    pub const fn from_bytes(text: &[u8]) -> Option<Self> {
        Some(match text {
            b"ABORT" => Self::Abort,
            b"ACK" => Self::Ack,
            b"BEGIN" => Self::Begin,
            b"COMMIT" => Self::Commit,
            b"CONNECT" => Self::Connect,
            b"CONNECTED" => Self::Connected,
            b"DISCONNECT" => Self::Disconnect,
            b"ERROR" => Self::Error,
            b"MESSAGE" => Self::Message,
            b"NACK" => Self::Nack,
            b"RECEIPT" => Self::Receipt,
            b"SEND" => Self::Send,
            b"STOMP" => Self::Stomp,
            b"SUBSCRIBE" => Self::Subscribe,
            b"UNSUBSCRIBE" => Self::Unsubscribe,
            _ => return None,
        })
    }

    /// Whether a client sends it; the others are sent by the server.
    pub const fn is_client(self) -> bool {
        !matches!(
            self,
            Self::Connected | Self::Error | Self::Message | Self::Receipt
        )
    }

    /// Whether a frame of this command may have a body: SEND, MESSAGE and ERROR
    /// (STOMP 1.2, "Body").
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Error | Self::Message | Self::Send)
    }

    /// Whether headers of this command are escaped: all except CONNECT, STOMP and CONNECTED, which
    /// stay readable for 1.0 (STOMP 1.2, "Value Encoding").
    pub const fn is_escaped(self) -> bool {
        !matches!(self, Self::Connect | Self::Connected | Self::Stomp)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A frame: command, headers, body (STOMP 1.2, "STOMP Frames").
///
/// ```
/// use stomp_codec::{Command, Frame, Version};
///
/// let frame = Frame::new(Command::Receipt).with_header("receipt-id", "a:1");
/// assert_eq!(&frame.encode(Version::V1_2)[..], b"RECEIPT\nreceipt-id:a\\c1\n\n\0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The command.
    pub command: Command,
    /// The headers, decoded.
    pub headers: Headers,
    /// The body; empty if the command has none.
    pub body: Bytes,
}

impl Frame {
    /// Returns a frame without headers and body.
    pub fn new(command: Command) -> Self {
        Self {
            command,
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Returns the first value of a header (STOMP 1.2, "Repeated Header Entries").
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Encodes the frame, in one allocation of the exact size.
    ///
    /// `content-length` is computed; one in the headers is ignored. A command that can have a body
    /// gets it even if the body is empty; the body of another command is not written.
    pub fn encode(&self, version: Version) -> Bytes {
        encode::frame(self, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_they_are_called() {
        for command in Command::ALL {
            assert_eq!(
                Command::from_bytes(command.as_str().as_bytes()),
                Some(command)
            );
        }
    }

    #[test]
    fn commands_are_case_sensitive_and_not_trimmed() {
        for text in ["send", "Send", "SEND ", " SEND", "", "SENDX"] {
            assert_eq!(Command::from_bytes(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn four_commands_are_the_servers() {
        assert_eq!(
            Command::ALL
                .into_iter()
                .filter(|command| !command.is_client())
                .count(),
            4
        );
    }
}
