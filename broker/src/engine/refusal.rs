//! Every reason to refuse a client or to cut it off, in one table: text, metric label, close code.
//!
//! A refusal is the client's fault or a limit that it met; our own faults are
//! [`crate::error::Error`]. After the ERROR that carries a refusal the connection is closed,
//! always (STOMP 1.2, "ERROR").

use std::fmt;
use std::time::Duration;

use stomp_codec::{Command, DecodeError, DecodeErrorKind};

use super::ack::DeliveryId;
use super::destination::{self, Destination};
use super::transaction;

/// The close codes of a WebSocket that this broker sends: public, clients may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// After DISCONNECT.
    Normal = 1000,
    /// The broker stops.
    Stopping = 1001,
    /// The client broke the rules of STOMP or of WebSocket.
    Protocol = 1002,
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
    AckUnknown(DeliveryId),
    /// No CONNECT within this time from the moment the connection was accepted.
    ConnectTimeout(Duration),
    /// The first frame was not CONNECT or STOMP.
    ConnectFirst(Command),
    /// A destination or pattern is longer than [`destination::MAX_BYTES`].
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
    QueueFull(Destination),
    /// The `reply-to` of a SEND is no destination that can be sent to; why not.
    ReplyTo(Box<Self>),
    /// A prefix that is kept for a kind of destination that this broker does not have (yet).
    ReservedDestination(Box<str>),
    /// A second CONNECT.
    SecondConnect,
    /// A frame that only servers send.
    ServerFrame(Command),
    /// The subscriptions of all connections have more arrangements of wildcards than configured.
    ShapesUsedUp {
        /// The limit, `[limits] pattern_shapes`.
        limit: usize,
    },
    /// The client's outgoing queue is full.
    SlowConsumer,
    /// The subscriptions of one connection take more bytes of memory than configured.
    SubscriptionsTooBig(usize),
    /// The client's socket took no byte for this long while replies waited.
    Stalled(Duration),
    /// More connections than configured.
    TooManyConnections(usize),
    /// A destination or pattern has more than [`destination::MAX_SEGMENTS`].
    TooManySegments {
        /// Their number.
        segments: usize,
    },
    /// A SEND, COMMIT or SUBSCRIBE would make one more queue than configured.
    TooManyQueues(usize),
    /// More arrangements of wildcards in the subscriptions of one connection than configured.
    TooManyShapes(usize),
    /// More subscriptions on one connection than configured.
    TooManySubscriptions(usize),
    /// More open transactions than [`transaction::MAX_OPEN`].
    TooManyTransactions,
    /// A pattern has more than [`destination::MAX_MULTI_WILDCARDS`].
    TooManyWildcards {
        /// Their number.
        wildcards: usize,
    },
    /// COMMIT of a transaction of which a SEND was refused.
    TransactionBroken(Box<str>),
    /// BEGIN of a transaction that is open.
    TransactionOpen(Box<str>),
    /// A transaction holds more than [`transaction::MAX_FRAMES`], or all of the session more than
    /// [`transaction::MAX_BYTES`].
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

/// What broke the rules of WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketFault {
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// Another rule of RFC 6455; what it was.
    Protocol(&'static str),
    /// A message or frame that is larger than the largest STOMP frame may be.
    TooBig {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Refusal {
    /// The label of this reason in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::AckMalformed(_) => "ack_malformed",
            Self::AckModeUnknown(_) => "ack_mode",
            Self::AckUnknown(_) => "ack_unknown",
            Self::ConnectTimeout(_) => "connect_timeout",
            Self::ConnectFirst(_) => "connect_first",
            Self::DestinationTooLong { .. }
            | Self::NoName(_)
            | Self::TooManySegments { .. }
            | Self::TooManyWildcards { .. } => "destination",
            Self::DuplicateSubscription(_) => "duplicate_subscription",
            Self::Frame(error) => error.label(),
            Self::HeartBeatMalformed(_) => "heart_beat_malformed",
            Self::HeartBeatMissed(_) => "heart_beat",
            Self::HeaderMissing { .. } => "header_missing",
            Self::NackIn10 => "nack_in_1_0",
            Self::NoCommonVersion(_) => "no_common_version",
            Self::NotSupported(_) => "not_supported",
            Self::NumbersUsedUp => "numbers_used_up",
            Self::PrefetchMalformed(_) => "prefetch_malformed",
            Self::QueueFull(_) => "queue_full",
            Self::ReplyTo(_) => "reply_to",
            Self::ReservedDestination(_) => "reserved_destination",
            Self::SecondConnect => "second_connect",
            Self::ServerFrame(_) => "server_frame",
            Self::ShapesUsedUp { .. } | Self::TooManyShapes(_) => "pattern_shapes",
            Self::SlowConsumer => "slow_consumer",
            Self::SubscriptionsTooBig(_) => "subscription_bytes",
            Self::Stalled(_) => "stalled",
            Self::TooManyConnections(_) => "connections",
            Self::TooManyQueues(_) => "queues",
            Self::TooManySubscriptions(_) => "subscriptions",
            Self::TooManyTransactions => "transactions",
            Self::TransactionBroken(_) => "transaction_broken",
            Self::TransactionOpen(_) => "transaction_open",
            Self::TransactionTooBig => "transaction_too_big",
            Self::TransactionUnknown(_) => "transaction_unknown",
            Self::WebSocket(WebSocketFault::InvalidUtf8) => "websocket_utf8",
            Self::WebSocket(WebSocketFault::Protocol(_)) => "websocket_protocol",
            Self::WebSocket(WebSocketFault::TooBig { .. }) => "websocket_too_big",
            Self::WildcardFirst(_) | Self::WildcardInSend(_) | Self::WildcardQueue(_) => "wildcard",
        }
    }

    /// The close code that a WebSocket client is told.
    pub const fn code(&self) -> CloseCode {
        match self {
            Self::ConnectTimeout(_) => CloseCode::Policy,
            Self::Frame(error) => match error.kind() {
                DecodeErrorKind::InvalidUtf8 => CloseCode::InvalidUtf8,
                DecodeErrorKind::Syntax => CloseCode::Protocol,
                DecodeErrorKind::TooBig => CloseCode::TooBig,
            },
            Self::HeartBeatMissed(_) => CloseCode::HeartBeat,
            Self::SlowConsumer | Self::Stalled(_) => CloseCode::SlowConsumer,
            Self::NumbersUsedUp
            | Self::QueueFull(_)
            | Self::ShapesUsedUp { .. }
            | Self::SubscriptionsTooBig(_)
            | Self::TooManyConnections(_)
            | Self::TooManyQueues(_)
            | Self::TooManyShapes(_)
            | Self::TooManySubscriptions(_)
            | Self::TooManyTransactions
            | Self::TransactionTooBig => CloseCode::Limit,
            Self::WebSocket(WebSocketFault::InvalidUtf8) => CloseCode::InvalidUtf8,
            Self::WebSocket(WebSocketFault::TooBig { .. }) => CloseCode::TooBig,
            _ => CloseCode::Protocol,
        }
    }

    /// Whether the client is not listening, so that nothing is waited for beyond one write.
    pub const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::HeartBeatMissed(_) | Self::SlowConsumer | Self::Stalled(_)
        )
    }

    /// Whether a publisher that asked for it may go on after a SEND or a COMMIT was refused for this:
    /// it concerns that one alone.
    pub const fn is_survivable(&self) -> bool {
        matches!(
            self,
            Self::DestinationTooLong { .. }
                | Self::NoName(_)
                | Self::QueueFull(_)
                | Self::ReplyTo(_)
                | Self::ReservedDestination(_)
                | Self::TooManyQueues(_)
                | Self::TooManySegments { .. }
                | Self::TooManyWildcards { .. }
                | Self::TransactionBroken(_)
                | Self::WildcardFirst(_)
                | Self::WildcardInSend(_)
        )
    }

    /// What the client's developer can do about it, for the body of the ERROR.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::AckMalformed(_) => {
                "In STOMP 1.2 ACK and NACK repeat the ack header of the MESSAGE in id; in 1.0 and \
                 1.1 they repeat its message-id."
            }
            Self::AckUnknown(_) => "Acknowledge what was delivered on this connection only.",
            Self::AckModeUnknown(_) => "Use ack:auto, ack:client or ack:client-individual.",
            Self::ConnectTimeout(_) => {
                "A frame ends with a NUL byte; without it the broker waits for the rest."
            }
            Self::ConnectFirst(_) => "Send CONNECT (or STOMP) first and wait for CONNECTED.",
            Self::DestinationTooLong { .. }
            | Self::TooManySegments { .. }
            | Self::TooManyWildcards { .. } => {
                "A destination has at most 1024 bytes and 64 segments, a pattern at most 4 \
                 multi-segment wildcards (#, **, a last >)."
            }
            Self::DuplicateSubscription(_) => {
                "Each subscription of a connection needs an id of its own; UNSUBSCRIBE frees one."
            }
            Self::Frame(_) => {
                "The frame could not be read, so the rest of the stream has no meaning."
            }
            Self::HeartBeatMalformed(_) => {
                "heart-beat is two whole numbers of milliseconds below 2^32, such as 10000,10000."
            }
            Self::HeartBeatMissed(_) => {
                "Send something at least once in the interval that was agreed on in CONNECT and \
                 CONNECTED, or answer the broker's WebSocket Pings."
            }
            Self::HeaderMissing { .. } => "Header names are case-sensitive.",
            Self::NotSupported(_) => "Leave the header out, and filter what comes.",
            Self::NackIn10 => "Connect with accept-version:1.1,1.2 to use NACK.",
            Self::NoName(_) => "A destination looks like /topic/prices.eu or /topic/chat/room-1.",
            Self::NoCommonVersion(_) => "Offer at least one of 1.0, 1.1, 1.2 in accept-version.",
            Self::NumbersUsedUp => "Reconnect: a new connection counts from 1.",
            Self::PrefetchMalformed(_) => "A prefetch is a whole number of messages.",
            Self::QueueFull(_) => {
                "The limits are [queue] max_length and max_bytes. With x-refusals:true in CONNECT \
                 a refusal like this one is told in a MESSAGE and the connection stays."
            }
            Self::ReplyTo(_) => {
                "The service sends its answer to this destination and would be refused; name one \
                 destination without wildcards, such as /topic/replies.7f3a."
            }
            Self::ReservedDestination(_) => {
                "This prefix is kept for a kind of destination that this version of the broker \
                 does not have. Use /topic/..."
            }
            Self::SecondConnect => "One connection carries one session; open another connection.",
            Self::ServerFrame(_) => {
                "Clients send CONNECT, STOMP, SEND, SUBSCRIBE, UNSUBSCRIBE, ACK, NACK, BEGIN, \
                 COMMIT, ABORT and DISCONNECT."
            }
            Self::SlowConsumer => {
                "The client did not read fast enough: its outgoing queue of [limits] outbox_bytes \
                 and outbox_messages was full."
            }
            Self::ShapesUsedUp { .. } | Self::TooManyShapes(_) => {
                "Patterns whose wildcards stand at the same places count once, so use few different \
                 forms, such as /topic/*.price and /topic/#. The limits are [limits] pattern_shapes \
                 and connection_pattern_shapes."
            }
            Self::Stalled(_) => "The client asks for replies but does not read them.",
            Self::SubscriptionsTooBig(_) => {
                "The limit is [limits] subscription_bytes for each connection. Use short ids and \
                 fewer subscriptions; a wildcard may serve instead of many."
            }
            Self::TooManyConnections(_) => "The limit is [limits] connections. Try again later.",
            Self::TooManyQueues(_) => {
                "The limit is [queue] max_queues. A queue is gone when it is empty and nobody \
                 subscribes to it. A publisher that says x-refusals:true in CONNECT stays connected."
            }
            Self::TooManySubscriptions(_) => {
                "The limit is [limits] subscriptions for each connection; a wildcard may serve \
                 instead of many."
            }
            Self::TooManyTransactions => "At most 16 transactions are open on one connection.",
            Self::TransactionBroken(_) => {
                "One of its SENDs was refused. A transaction is done as a whole or not at all: it is \
                 aborted; BEGIN it again."
            }
            Self::TransactionOpen(_) => "COMMIT or ABORT ends it; then its id can be used again.",
            Self::TransactionTooBig => {
                "A transaction holds at most 1024 frames, and all of a connection 16 MiB."
            }
            Self::TransactionUnknown(_) => "BEGIN opens a transaction; COMMIT and ABORT end it.",
            Self::WebSocket(WebSocketFault::InvalidUtf8) => {
                "Send bytes that are not UTF-8 in binary messages."
            }
            Self::WebSocket(WebSocketFault::Protocol(_)) => "See RFC 6455.",
            Self::WebSocket(WebSocketFault::TooBig { .. }) => {
                "The limit follows from [limits] body and header_bytes."
            }
            Self::WildcardFirst(_) => "Wildcards may stand behind the first segment only.",
            Self::WildcardInSend(_) => {
                "Wildcards (*, #, **, a last >) are for SUBSCRIBE; a SEND names one destination."
            }
            Self::WildcardQueue(_) => "Wildcards are for topics; a SUBSCRIBE names one queue.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AckMalformed(text) => write!(out, "{text:?} is not the id of a message"),
            Self::AckUnknown(id) => write!(out, "{id} was never delivered"),
            Self::AckModeUnknown(mode) => write!(out, "unknown ack mode {mode:?}"),
            Self::ConnectTimeout(limit) => write!(
                out,
                "no complete CONNECT frame within {} s (is the final NUL missing?)",
                limit.as_secs_f32()
            ),
            Self::ConnectFirst(command) => write!(out, "{command} before CONNECT"),
            Self::DestinationTooLong { bytes } => write!(
                out,
                "destination of {bytes} bytes, more than {}",
                destination::MAX_BYTES
            ),
            Self::DuplicateSubscription(id) => write!(out, "subscription {id:?} exists already"),
            Self::Frame(error) => write!(out, "{error}"),
            Self::HeartBeatMalformed(text) => write!(out, "malformed heart-beat {text:?}"),
            Self::HeartBeatMissed(silence) => {
                write!(
                    out,
                    "nothing was received for {:.1} s",
                    silence.as_secs_f32()
                )
            }
            Self::HeaderMissing { command, header } => {
                write!(out, "{command} without the header {header:?}")
            }
            Self::NotSupported(what) => write!(out, "{what} is not supported yet"),
            Self::NackIn10 => out.write_str("NACK does not exist in STOMP 1.0"),
            Self::NoName(text) => write!(out, "destination {text:?} has no name"),
            Self::NoCommonVersion(offered) => write!(out, "no common version with {offered:?}"),
            Self::NumbersUsedUp => {
                out.write_str("this connection has had 4294967295 subscriptions or transactions")
            }
            Self::PrefetchMalformed(text) => write!(out, "malformed prefetch {text:?}"),
            Self::QueueFull(queue) => write!(out, "queue is full: {queue}"),
            Self::ReplyTo(why) => write!(out, "reply-to cannot be sent to: {why}"),
            Self::ReservedDestination(text) => {
                write!(out, "destination {text:?} is not supported yet")
            }
            Self::SecondConnect => out.write_str("this session is connected already"),
            Self::ServerFrame(command) => write!(out, "{command} is a frame that servers send"),
            Self::ShapesUsedUp { limit } => write!(
                out,
                "the subscriptions of all clients have {limit} arrangements of wildcards, and this \
                 pattern would be one more"
            ),
            Self::SlowConsumer => out.write_str("slow consumer: the outgoing queue is full"),
            Self::SubscriptionsTooBig(limit) => {
                write!(out, "subscriptions of more than {limit} bytes")
            }
            Self::Stalled(limit) => write!(
                out,
                "slow consumer: nothing was read for {} s while replies waited",
                limit.as_secs_f32()
            ),
            Self::TooManyConnections(limit) => write!(out, "more than {limit} connections"),
            Self::TooManySegments { segments } => write!(
                out,
                "destination of {segments} segments, more than {}",
                destination::MAX_SEGMENTS
            ),
            Self::TooManyQueues(limit) => write!(out, "more than {limit} queues"),
            Self::TooManyShapes(limit) => write!(
                out,
                "subscriptions with more than {limit} arrangements of wildcards"
            ),
            Self::TooManySubscriptions(limit) => write!(out, "more than {limit} subscriptions"),
            Self::TooManyWildcards { wildcards } => write!(
                out,
                "pattern with {wildcards} multi-segment wildcards, more than {}",
                destination::MAX_MULTI_WILDCARDS
            ),
            Self::TooManyTransactions => {
                write!(out, "more than {} open transactions", transaction::MAX_OPEN)
            }
            Self::TransactionBroken(id) => {
                write!(out, "transaction {id:?} lacks a SEND that was refused")
            }
            Self::TransactionOpen(id) => write!(out, "transaction {id:?} is open already"),
            Self::TransactionTooBig => out.write_str("the transaction holds too much"),
            Self::TransactionUnknown(id) => write!(out, "transaction {id:?} is not open"),
            Self::WebSocket(fault) => write!(out, "{fault}"),
            Self::WildcardFirst(text) => write!(out, "pattern {text:?} begins with a wildcard"),
            Self::WildcardInSend(text) => write!(out, "SEND to the wildcard {text:?}"),
            Self::WildcardQueue(text) => write!(out, "SUBSCRIBE to the queues {text:?}"),
        }
    }
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
