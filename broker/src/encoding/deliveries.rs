//! Encodes the deliveries of a queue for one consumer.

use stomp_codec::{Version, write_header};

use super::framing::MAX_HEADER;
use super::{EncodedRun, Framing, Kind, is_utf8, write_rest};
use crate::engine::queue::Entry;

/// How the deliveries of a queue's consumer are identified.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryIds<'a> {
    /// The part before the number: the consumer's if it acknowledges, else that of all messages.
    pub prefix: &'a str,
    /// Whether the consumer acknowledges, so that each delivery has a unique id.
    pub acknowledged: bool,
    /// The number of the first delivery; the others follow.
    pub first: u64,
}

impl DeliveryIds<'_> {
    /// Encodes consecutive deliveries for a consumer of one kind whose subscription has this id;
    /// `None` if there are none.
    pub fn encode(
        &self,
        kind: Kind,
        subscription: Option<&str>,
        entries: &[Entry],
    ) -> Option<EncodedRun> {
        let destination = entries.first()?.message.destination.clone();
        let version = kind.version;
        let mut head = b"MESSAGE\n".to_vec();
        if let Some(id) = subscription {
            write_header(&mut head, version, "subscription", id);
        }
        let around = head.len() + MAX_HEADER + AROUND;
        let bytes = entries
            .iter()
            .map(|entry| entry.message.bytes() + around)
            .sum();
        let mut bytes = Vec::with_capacity(bytes);
        let mut ends = Vec::with_capacity(entries.len());
        let mut text = Vec::new();
        for (entry, number) in entries.iter().zip(self.first..) {
            text.clear();
            self.write(&mut text, version, entry, number);
            write_rest(&mut text, &entry.message, version);
            let body = &entry.message.body;
            let utf8 = kind.framing != Framing::Text || is_utf8(body);
            let length = head.len() + text.len() + body.len() + 1;
            kind.framing.open(&mut bytes, length, utf8);
            for part in [&head, &text, &body[..], b"\0"] {
                bytes.extend_from_slice(part);
            }
            ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        }
        Some(EncodedRun::new(bytes, ends, destination))
    }

    /// Writes `message-id` and, if the client acknowledges, `ack`.
    fn write(&self, out: &mut Vec<u8>, version: Version, entry: &Entry, number: u64) {
        let number = if self.acknowledged { number } else { entry.id };
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number);
        let mut line = |name| {
            for part in [name, self.prefix, "-", digits, "\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        line("message-id:");
        if self.acknowledged && version == Version::V1_2 {
            line("ack:");
        }
        if entry.is_redelivered() {
            out.extend_from_slice(b"redelivered:true\n");
        }
    }
}

/// Approximate size of a delivery's ids and other headers that the broker adds.
const AROUND: usize = 256;
