//! Encodes the messages of a run for the subscribers of a topic.

use stomp_codec::{Version, write_header};

use super::framing::MAX_HEADER;
use super::{EncodedRun, Framing, Kind, is_utf8, write_rest};
use crate::engine::message::Message;

/// The ids of a run of messages: one prefix and consecutive numbers.
#[derive(Clone, Copy, Debug)]
pub struct MessageIds<'a> {
    /// The part before the number; unique to this start of the broker.
    pub prefix: &'a str,
    /// The number of the first message of the run.
    pub first: u64,
}

/// A run of messages to be encoded for its receivers.
#[derive(Debug)]
pub struct RunEncoder<'a> {
    messages: &'a [Message],
    ids: MessageIds<'a>,
    scratch: &'a mut Scratch,
}

/// Buffers that are reused to encode one run after another.
#[derive(Debug, Default)]
pub struct Scratch {
    texts: [Text; Version::ALL.len()],
    /// Whether each body is UTF-8; empty until needed.
    utf8: Vec<bool>,
    head: Vec<u8>,
}

/// The part between the subscription's id and the body, for one version; empty until needed.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> RunEncoder<'a> {
    /// Creates a run of at least one message, all to one destination.
    pub fn new(messages: &'a [Message], ids: MessageIds<'a>, scratch: &'a mut Scratch) -> Self {
        scratch.clear();
        Self {
            messages,
            ids,
            scratch,
        }
    }

    /// Encodes the run for receivers of one kind whose subscription has this id.
    pub fn encode(&mut self, kind: Kind, subscription: Option<&str>) -> EncodedRun {
        let (messages, ids) = (self.messages, self.ids);
        let Scratch { texts, utf8, head } = &mut *self.scratch;
        if kind.framing == Framing::Text && utf8.is_empty() {
            utf8.extend(messages.iter().map(|message| is_utf8(&message.body)));
        }
        let text = &mut texts[kind.version as usize];
        if text.ends.is_empty() {
            text.write(messages, ids, kind.version);
        }
        head.clear();
        head.extend_from_slice(b"MESSAGE\n");
        if let Some(id) = subscription {
            write_header(head, kind.version, "subscription", id);
        }
        let bodies: usize = messages.iter().map(|message| message.body.len()).sum();
        let around = messages.len() * (MAX_HEADER + head.len() + 1);
        let mut bytes = Vec::with_capacity(text.bytes.len() + bodies + around);
        let mut ends = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let text = text.get(index);
            let utf8 = utf8.get(index).is_none_or(|utf8| *utf8);
            let length = head.len() + text.len() + message.body.len() + 1;
            kind.framing.open(&mut bytes, length, utf8);
            for part in [head, text, &message.body[..], b"\0"] {
                bytes.extend_from_slice(part);
            }
            ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        }
        EncodedRun::new(bytes, ends, messages[0].destination.clone())
    }
}

impl Scratch {
    fn clear(&mut self) {
        for text in &mut self.texts {
            text.bytes.clear();
            text.ends.clear();
        }
        self.utf8.clear();
    }
}

impl Text {
    fn write(&mut self, messages: &[Message], ids: MessageIds<'_>, version: Version) {
        for (message, number) in messages.iter().zip(ids.first..) {
            self.add(message, ids.prefix, number, version);
        }
    }

    fn add(&mut self, message: &Message, prefix: &str, number: u64, version: Version) {
        let out = &mut self.bytes;
        let mut digits = itoa::Buffer::new();
        for part in ["message-id:", prefix, "-", digits.format(number), "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        write_rest(out, message, version);
        self.ends.push(self.bytes.len());
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}
