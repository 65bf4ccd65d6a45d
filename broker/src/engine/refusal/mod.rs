//! Every reason to refuse a client or to close its connection. `table.rs` has a row for each: metric
//! label, close code, advice; `text.rs` has the text.
//!
//! A refusal is the client's fault or a limit that it met; our own faults are
//! [`crate::error::Error`]. After the ERROR that carries a refusal the connection is closed (STOMP
//! 1.2, "ERROR").

mod table;
mod text;

use std::time::Duration;

use stomp_codec::{Command, DecodeError};

use crate::websocket::{PROTOCOL_ERROR, WebSocketFault};

/// The close codes of a WebSocket that this broker sends: public, clients may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// After DISCONNECT.
    Normal = 1000,
    /// The broker stops.
    Stopping = 1001,
    /// The client broke the rules of STOMP or of WebSocket.
    Protocol = PROTOCOL_ERROR,
    /// Text that is not UTF-8.
    InvalidUtf8 = 1007,
    /// No CONNECT in time; login and rights.
    Policy = 1008,
    /// A frame, a message or a header is larger than allowed.
    TooBig = 1009,
    /// Our own fault.
    Internal = 1011,
    /// A limit on a number (subscriptions, connections) was met.
    Limit = 1013,
    /// Nothing was heard from the client for too long.
    HeartBeat = 4000,
    /// The client does not read what is sent to it.
    SlowConsumer = 4007,
}

/// Why a client is refused or cut. `Display` is the text of the `message` header of the ERROR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The id of an ACK or NACK is none that this broker gives.
    AckMalformed(Box<str>),
    /// `ack` in SUBSCRIBE is none of the three modes.
    AckModeUnknown(Box<str>),
    /// The id of an ACK or NACK is of this session and was never given.
    AckUnknown(Box<str>),
    /// No CONNECT within this time from the moment the connection was accepted.
    ConnectTimeout(Duration),
    /// The first frame was not CONNECT or STOMP.
    ConnectFirst(Command),
    /// A destination or pattern is longer than [`super::size::DESTINATION_BYTES`].
    DestinationTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The id of a SUBSCRIBE (in STOMP 1.0 without `id` its destination) is in use.
    DuplicateSubscription(Box<str>),
    /// The bytes are not a STOMP frame, or one beyond a limit.
    Frame(DecodeError),
    /// The `heart-beat` of CONNECT is not two numbers.
    HeartBeatMalformed(Box<str>),
    /// Nothing was received for this long, although a sign of life was due.
    HeartBeatMissed(Duration),
    /// A required header is missing.
    HeaderMissing {
        /// The frame.
        command: Command,
        /// The header.
        header: &'static str,
    },
    /// NACK in a session of STOMP 1.0, which has none.
    NackIn10,
    /// A destination that has no name behind its first segment.
    NoName(Box<str>),
    /// None of the client's versions is ours.
    NoCommonVersion(Box<str>),
    /// A header asks for what this broker does not have yet, and to ignore it would be wrong.
    NotSupported(&'static str),
    /// A connection has had 2^32 - 1 subscriptions or transactions, and numbers are not used again.
    NumbersUsedUp,
    /// `prefetch-count` or `activemq.prefetchSize` of a SUBSCRIBE is not a number.
    PrefetchMalformed(Box<str>),
    /// A queue has no room for a SEND or a COMMIT.
    QueueFull(Box<str>),
    /// The `reply-to` of a SEND is no destination that can be sent to; why not.
    ReplyTo(Box<Self>),
    /// A prefix that is kept for a kind of destination that this broker does not have (yet).
    ReservedDestination(Box<str>),
    /// A second CONNECT.
    SecondConnect,
    /// A frame that only servers send.
    ServerFrame(Command),
    /// The subscriptions of all connections have more pattern shapes than configured.
    ShapesUsedUp {
        /// The limit, `[limits] pattern_shapes`.
        limit: usize,
    },
    /// The outbox of the client is full.
    SlowConsumer,
    /// The subscriptions of one connection take more bytes of memory than configured.
    SubscriptionsTooBig(usize),
    /// The client's socket took no byte for this long while replies waited.
    Stalled(Duration),
    /// More connections than configured.
    TooManyConnections(usize),
    /// A destination or pattern has more than [`super::size::DESTINATION_SEGMENTS`].
    TooManySegments {
        /// Their number.
        segments: usize,
    },
    /// A SEND, COMMIT or SUBSCRIBE would make one more queue than configured.
    TooManyQueues(usize),
    /// More pattern shapes in the subscriptions of one connection than configured.
    TooManyShapes(usize),
    /// More subscriptions on one connection than configured.
    TooManySubscriptions(usize),
    /// More open transactions than [`super::size::OPEN_TRANSACTIONS`].
    TooManyTransactions,
    /// A pattern has more than [`super::size::MULTI_WILDCARDS`].
    TooManyWildcards {
        /// Their number.
        wildcards: usize,
    },
    /// COMMIT of a transaction of which a SEND was refused.
    TransactionBroken(Box<str>),
    /// BEGIN of a transaction that is open.
    TransactionOpen(Box<str>),
    /// A transaction holds more than [`super::size::TRANSACTION_FRAMES`], or all of the session more than
    /// [`super::size::TRANSACTION_BYTES`].
    TransactionTooBig,
    /// A frame names a transaction that is not open.
    TransactionUnknown(Box<str>),
    /// The client broke the rules of WebSocket (RFC 6455).
    WebSocket(WebSocketFault),
    /// The first segment of a pattern is a wildcard.
    WildcardFirst(Box<str>),
    /// A wildcard in the destination of a SEND.
    WildcardInSend(Box<str>),
    /// A SUBSCRIBE to several queues.
    WildcardQueue(Box<str>),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::Frame(error)
    }
}

impl CloseCode {
    /// The number as it stands in the Close frame.
    pub const fn number(self) -> u16 {
        self as u16
    }
}
