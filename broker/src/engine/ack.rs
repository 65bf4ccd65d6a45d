//! The ids by which clients acknowledge, and what an ACK or NACK of each version says.
//!
//! | what | looks like | for |
//! |---|---|---|
//! | a delivery | `<session>-<subscription>-<n>` | `ack`, and `message-id` in the ack modes |
//! | a message | `<start of the broker>-<n>` | `message-id` in mode `auto` |
//!
//! So any id shows whether it could be one of this session; [`AckId`] says what it is.

use std::fmt;

use stomp_codec::{Frame, Version};

use super::SessionId;
use super::refusal::Refusal;

/// The id of one delivery of a subscription with acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryId {
    /// The session.
    pub session: SessionId,
    /// The number of the subscription within it.
    pub subscription: u32,
    /// The number of the delivery within that, from 1.
    pub number: u64,
}

/// What the id in an ACK or NACK names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckId {
    /// A delivery, of this session or another one.
    Delivery(DeliveryId),
    /// Nothing that can be acknowledged: a message that was delivered in mode `auto`, or
    /// `undefined`, which is what stomp.js sends for one.
    Nothing,
}

impl AckId {
    /// Reads an id; `None` if no broker of this kind ever gave one like it.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "undefined" {
            return Some(Self::Nothing);
        }
        let mut parts = text.split('-');
        let is_hex = |start: &&str| start.bytes().all(|byte| byte.is_ascii_hexdigit());
        let start = parts.next().filter(|start| start.len() == 16);
        // `from_str_radix` alone would take a sign.
        let start = start.filter(is_hex)?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let first = decimal(parts.next()?)?;
        let Some(second) = parts.next() else {
            return Some(Self::Nothing);
        };
        let (None, Ok(subscription)) = (parts.next(), u32::try_from(first)) else {
            return None;
        };
        Some(Self::Delivery(DeliveryId {
            session: SessionId(start),
            subscription,
            number: decimal(second)?,
        }))
    }

    /// Reads the id of an ACK or NACK: `id` in STOMP 1.2, `message-id` before (STOMP 1.0, 1.1 and
    /// 1.2, "ACK"). In 1.1 `subscription` belongs to it, but the id alone says which one it is, and
    /// some clients leave it out.
    ///
    /// # Errors
    /// The header is missing, or the id is none.
    pub fn of(frame: &Frame, version: Version) -> Result<Self, Refusal> {
        let header = match version {
            Version::V1_0 | Version::V1_1 => "message-id",
            Version::V1_2 => "id",
        };
        let text = frame.header(header).ok_or(Refusal::HeaderMissing {
            command: frame.command,
            header,
        })?;
        Self::parse(text).ok_or_else(|| Refusal::AckMalformed(text.into()))
    }
}

/// The outcome of a message that a consumer had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckVerdict {
    /// It was processed.
    Ack,
    /// It was not processed, and returns to its place.
    Requeue,
    /// It was not processed, and is dropped.
    Drop,
}

/// What a NACK asks for: `requeue:false` gives the message up, as in RabbitMQ.
pub fn nack(frame: &Frame) -> AckVerdict {
    match frame.header("requeue") {
        Some("false" | "False") => AckVerdict::Drop,
        _ => AckVerdict::Requeue,
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}-{}-{}",
            self.session, self.subscription, self.number
        )
    }
}

/// Digits only: `parse` alone would take a sign.
fn decimal(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = DeliveryId {
            session: SessionId(0xc1),
            subscription: 3,
            number: 12,
        };
        assert_eq!(id.to_string(), "00000000000000c1-3-12");
        assert_eq!(AckId::parse(&id.to_string()), Some(AckId::Delivery(id)));
    }

    #[test]
    fn what_auto_messages_carry_names_nothing_and_the_rest_is_no_id() {
        for text in ["undefined", "00000000000000c1-12"] {
            assert_eq!(AckId::parse(text), Some(AckId::Nothing), "{text:?}");
        }
        for text in [
            "",
            "1",
            "none",
            "00000000000000c1",
            "00000000000000c1-",
            "00000000000000c1-x",
            "00000000000000c1-1-",
            "00000000000000c1-1-+1",
            "00000000000000c1-1-1-1",
            "00000000000000c1-4294967296-1",
            "00000000000000c1-1-18446744073709551616",
            "0000000000000c1-1-1",
            "000000000000000g-1-1",
        ] {
            assert_eq!(AckId::parse(text), None, "{text:?}");
        }
    }
}
