//! What the broker does with each refusal, in one table.

use stomp_codec::{DecodeError, DecodeErrorKind};

use super::{CloseCode, Refusal};
use crate::websocket::WebSocketFault;

impl Refusal {
    /// The table.
    #[expect(clippy::too_many_lines, reason = "a row for each refusal")]
    const fn row(&self) -> Row {
        use super::CloseCode::{
            HeartBeat, InvalidUtf8, Limit, Policy, Protocol, SlowConsumer, TooBig,
        };
        match self {
            Self::AckMalformed(_) => Row::new(
                "ack_malformed",
                Protocol,
                "In STOMP 1.2 ACK and NACK repeat the ack header of the MESSAGE in id; in \
                 1.0 and 1.1 they repeat its message-id.",
            ),
            Self::AckModeUnknown(_) => Row::new(
                "ack_mode",
                Protocol,
                "Use ack:auto, ack:client or ack:client-individual.",
            ),
            Self::AckUnknown(_) => Row::new(
                "ack_unknown",
                Protocol,
                "Acknowledge what was delivered on this connection only.",
            ),
            Self::ConnectTimeout(_) => Row::new(
                "connect_timeout",
                Policy,
                "A frame ends with a NUL byte; without it the broker waits for the rest.",
            ),
            Self::ConnectFirst(_) => Row::new(
                "connect_first",
                Protocol,
                "Send CONNECT (or STOMP) first and wait for CONNECTED.",
            ),
            Self::DestinationTooLong { .. } => Row::new(
                "destination",
                Protocol,
                "Shorten the destination; data belongs in the headers or the body.",
            )
            .survivable(),
            Self::NoName(_) => Row::new(
                "destination",
                Protocol,
                "A destination looks like /topic/prices.eu or /topic/chat/room-1.",
            )
            .survivable(),
            Self::TooManySegments { .. } => Row::new(
                "destination",
                Protocol,
                "Use fewer segments; both . and / separate them.",
            )
            .survivable(),
            Self::TooManyWildcards { .. } => Row::new(
                "destination",
                Protocol,
                "Multi-segment wildcards are #, ** and a last >.",
            )
            .survivable(),
            Self::DuplicateSubscription(_) => Row::new(
                "duplicate_subscription",
                Protocol,
                "Each subscription of a connection needs an id of its own; UNSUBSCRIBE \
                 frees one.",
            ),
            Self::Frame(error) => Row::new(
                error.label(),
                frame_code(error),
                "The frame could not be read, so the rest of the stream has no meaning.",
            ),
            Self::HeartBeatMalformed(_) => Row::new(
                "heart_beat_malformed",
                Protocol,
                "heart-beat is two whole numbers of milliseconds below 2^32, such as \
                 10000,10000.",
            ),
            Self::HeartBeatMissed(_) => Row::new(
                "heart_beat",
                HeartBeat,
                "Send something at least once in the interval that was agreed on in \
                 CONNECT and CONNECTED, or answer the broker's WebSocket Pings.",
            )
            .absent(),
            Self::HeaderMissing { .. } => Row::new(
                "header_missing",
                Protocol,
                "Header names are case-sensitive.",
            ),
            Self::NackIn10 => Row::new(
                "nack_in_1_0",
                Protocol,
                "Connect with accept-version:1.1,1.2 to use NACK.",
            ),
            Self::NoCommonVersion(_) => Row::new(
                "no_common_version",
                Protocol,
                "Offer at least one of 1.0, 1.1, 1.2 in accept-version.",
            ),
            Self::NotSupported(_) => Row::new(
                "not_supported",
                Protocol,
                "Leave the header out, and filter what comes.",
            ),
            Self::NumbersUsedUp => Row::new(
                "numbers_used_up",
                Limit,
                "Reconnect: a new connection counts from 1.",
            ),
            Self::PrefetchMalformed(_) => Row::new(
                "prefetch_malformed",
                Protocol,
                "A prefetch is a whole number of messages.",
            ),
            Self::QueueFull(_) => Row::new(
                "queue_full",
                Limit,
                "The limits are [queue] max_length and max_bytes. With x-refusals:true in \
                 CONNECT the broker reports such a refusal in a MESSAGE and keeps the \
                 connection.",
            )
            .survivable(),
            Self::ReplyTo(_) => Row::new(
                "reply_to",
                Protocol,
                "The service sends its answer to this destination and would be refused; \
                 name one destination without wildcards, such as /topic/replies.7f3a.",
            )
            .survivable(),
            Self::ReservedDestination(_) => Row::new(
                "reserved_destination",
                Protocol,
                "This prefix is kept for a kind of destination that this version of the \
                 broker does not have. Use /topic/...",
            )
            .survivable(),
            Self::SecondConnect => Row::new(
                "second_connect",
                Protocol,
                "One connection carries one session; open another connection.",
            ),
            Self::ServerFrame(_) => Row::new(
                "server_frame",
                Protocol,
                "Clients send CONNECT, STOMP, SEND, SUBSCRIBE, UNSUBSCRIBE, ACK, NACK, \
                 BEGIN, COMMIT, ABORT and DISCONNECT.",
            ),
            Self::ShapesUsedUp { .. } | Self::TooManyShapes(_) => Row::new(
                "pattern_shapes",
                Limit,
                "Patterns whose wildcards stand at the same places count once, so use few \
                 different forms, such as /topic/*.price and /topic/#. The limits are \
                 [limits] pattern_shapes and connection_pattern_shapes.",
            ),
            Self::SlowConsumer => Row::new(
                "slow_consumer",
                SlowConsumer,
                "The client did not read fast enough: its outbox of [limits] \
                 outbox_bytes and outbox_messages was full.",
            )
            .absent(),
            Self::SubscriptionsTooBig(_) => Row::new(
                "subscription_bytes",
                Limit,
                "The limit is [limits] subscription_bytes for each connection. Use short \
                 ids and fewer subscriptions; a wildcard may serve instead of many.",
            ),
            Self::Stalled(_) => Row::new(
                "stalled",
                SlowConsumer,
                "The client asks for replies but does not read them.",
            )
            .absent(),
            Self::TooManyConnections(_) => Row::new(
                "connections",
                Limit,
                "The limit is [limits] connections. Try again later.",
            ),
            Self::TooManyQueues(_) => Row::new(
                "queues",
                Limit,
                "The limit is [queue] max_queues. A queue without messages and \
                 subscribers is removed. With x-refusals:true in CONNECT a publisher \
                 stays connected.",
            )
            .survivable(),
            Self::TooManySubscriptions(_) => Row::new(
                "subscriptions",
                Limit,
                "The limit is [limits] subscriptions for each connection; a wildcard may \
                 serve instead of many.",
            ),
            Self::TooManyTransactions => {
                Row::new("transactions", Limit, "COMMIT or ABORT ends a transaction.")
            }
            Self::TransactionBroken(_) => Row::new(
                "transaction_broken",
                Protocol,
                "One of its SENDs was refused. A transaction is done as a whole or not at \
                 all: it is aborted; BEGIN it again.",
            )
            .survivable(),
            Self::TransactionOpen(_) => Row::new(
                "transaction_open",
                Protocol,
                "COMMIT or ABORT ends it; then its id can be used again.",
            ),
            Self::TransactionTooBig => Row::new("transaction_too_big", Limit, "COMMIT more often."),
            Self::TransactionUnknown(_) => Row::new(
                "transaction_unknown",
                Protocol,
                "BEGIN opens a transaction; COMMIT and ABORT end it.",
            ),
            Self::WebSocket(WebSocketFault::InvalidUtf8) => Row::new(
                "websocket_utf8",
                InvalidUtf8,
                "Send bytes that are not UTF-8 in binary messages.",
            ),
            Self::WebSocket(WebSocketFault::Protocol(_)) => {
                Row::new("websocket_protocol", Protocol, "See RFC 6455.")
            }
            Self::WebSocket(WebSocketFault::TooBig { .. }) => Row::new(
                "websocket_too_big",
                TooBig,
                "The limit follows from [limits] body and header_bytes.",
            ),
            Self::WildcardFirst(_) => Row::new(
                "wildcard",
                Protocol,
                "Wildcards may stand behind the first segment only.",
            )
            .survivable(),
            Self::WildcardInSend(_) => Row::new(
                "wildcard",
                Protocol,
                "Wildcards (*, #, **, a last >) are for SUBSCRIBE; a SEND names one \
                 destination.",
            )
            .survivable(),
            Self::WildcardQueue(_) => Row::new(
                "wildcard",
                Protocol,
                "Wildcards are for topics; a SUBSCRIBE names one queue.",
            ),
        }
    }

    /// The label of this reason in metrics.
    pub const fn label(&self) -> &'static str {
        self.row().label
    }

    /// The code with which a WebSocket connection is closed.
    pub const fn code(&self) -> CloseCode {
        self.row().code
    }

    /// What the client's developer can do about it, for the body of the ERROR.
    pub const fn advice(&self) -> &'static str {
        self.row().advice
    }

    /// Whether the client is not listening, so that the broker does not wait beyond one write.
    pub const fn is_absence(&self) -> bool {
        self.row().absent
    }

    /// Whether a publisher that asked for it may go on after a SEND or a COMMIT was refused for this
    /// reason, because it concerns that frame alone.
    pub const fn is_survivable(&self) -> bool {
        self.row().survivable
    }
}

/// What the broker does with a refusal.
#[derive(Clone, Copy, Debug)]
struct Row {
    label: &'static str,
    code: CloseCode,
    advice: &'static str,
    absent: bool,
    survivable: bool,
}

impl Row {
    const fn new(label: &'static str, code: CloseCode, advice: &'static str) -> Self {
        Self {
            label,
            code,
            advice,
            absent: false,
            survivable: false,
        }
    }

    const fn absent(self) -> Self {
        Self {
            absent: true,
            ..self
        }
    }

    const fn survivable(self) -> Self {
        Self {
            survivable: true,
            ..self
        }
    }
}

const fn frame_code(error: &DecodeError) -> CloseCode {
    match error.kind() {
        DecodeErrorKind::InvalidUtf8 => CloseCode::InvalidUtf8,
        DecodeErrorKind::Syntax => CloseCode::Protocol,
        DecodeErrorKind::TooBig => CloseCode::TooBig,
    }
}
