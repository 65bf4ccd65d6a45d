//! The text of each refusal, for the `message` header of the ERROR.

use std::fmt;

use super::super::size;
use super::Refusal;

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
                size::DESTINATION_BYTES
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
            Self::NumbersUsedUp => write!(
                out,
                "this connection has had {} subscriptions or transactions",
                u32::MAX
            ),
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
                "the subscriptions of all clients have {limit} pattern shapes, and this \
                 pattern would be one more"
            ),
            Self::SlowConsumer => out.write_str("slow consumer: the outbox of this client is full"),
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
                size::DESTINATION_SEGMENTS
            ),
            Self::TooManyQueues(limit) => write!(out, "more than {limit} queues"),
            Self::TooManyShapes(limit) => {
                write!(out, "subscriptions with more than {limit} pattern shapes")
            }
            Self::TooManySubscriptions(limit) => write!(out, "more than {limit} subscriptions"),
            Self::TooManyWildcards { wildcards } => write!(
                out,
                "pattern with {wildcards} multi-segment wildcards, more than {}",
                size::MULTI_WILDCARDS
            ),
            Self::TooManyTransactions => {
                write!(
                    out,
                    "more than {} open transactions",
                    size::OPEN_TRANSACTIONS
                )
            }
            Self::TransactionBroken(id) => {
                write!(out, "transaction {id:?} lacks a SEND that was refused")
            }
            Self::TransactionOpen(id) => write!(out, "transaction {id:?} is open already"),
            Self::TransactionTooBig => write!(
                out,
                "a transaction of more than {} frames, or transactions of more than {} bytes",
                size::TRANSACTION_FRAMES,
                size::TRANSACTION_BYTES
            ),
            Self::TransactionUnknown(id) => write!(out, "transaction {id:?} is not open"),
            Self::WebSocket(fault) => write!(out, "{fault}"),
            Self::WildcardFirst(text) => write!(out, "pattern {text:?} begins with a wildcard"),
            Self::WildcardInSend(text) => write!(out, "SEND to the wildcard {text:?}"),
            Self::WildcardQueue(text) => write!(out, "SUBSCRIBE to the queues {text:?}"),
        }
    }
}
