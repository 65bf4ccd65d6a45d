//! Encodes a run of messages once per kind of receiver.
//!
//! A run is the messages to one destination from one read of a publisher. The part that all
//! receivers of one version share (message id, destination, the publisher's headers) is escaped
//! once per version: a text. Receivers with the same framing and subscription id, which with
//! stomp.js are most of them, share a [`Piece`], which is built once and handed to each of them as
//! a unit.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use stomp_codec::{Version, write_header, write_headers};

use crate::engine::destination::Destination;
use crate::engine::message::{Message, is_passed_on};
use crate::engine::queue::Entry;
use crate::framing::{Framing, MAX_HEADER};

/// What determines the encoding for a receiver, except the subscription's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The version of its session.
    pub version: Version,
    /// Its framing.
    pub framing: Framing,
}

/// A run of MESSAGE frames for receivers of one kind and one subscription id. It stores where its
/// frames end, so that a policy can treat each message separately.
#[derive(Debug)]
pub struct Piece {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    destination: Destination,
    /// Whether it is counted in [`WAITING`].
    waits: AtomicBool,
}

/// The ids of a run of messages: one prefix and consecutive numbers.
#[derive(Clone, Copy, Debug)]
pub struct Ids<'a> {
    /// The part before the number; unique to this start of the broker.
    pub prefix: &'a str,
    /// The number of the first message of the run.
    pub first: u64,
}

/// How the deliveries of a queue's consumer are identified.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The part before the number: the consumer's if it acknowledges, else that of all messages.
    pub prefix: &'a str,
    /// Whether the consumer acknowledges, so that each delivery has a unique id.
    pub acknowledged: bool,
    /// The number of the first delivery; the others follow.
    pub first: u64,
}

/// A run of messages to be encoded for its receivers.
#[derive(Debug)]
pub struct Run<'a> {
    messages: &'a [Message],
    ids: Ids<'a>,
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

impl<'a> Run<'a> {
    /// Creates a run of at least one message, all to one destination.
    pub fn new(messages: &'a [Message], ids: Ids<'a>, scratch: &'a mut Scratch) -> Self {
        scratch.clear();
        Self {
            messages,
            ids,
            scratch,
        }
    }

    /// Encodes the run for receivers of one kind whose subscription has this id.
    pub fn piece(&mut self, kind: Kind, subscription: Option<&str>) -> Piece {
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
        Piece {
            bytes,
            ends,
            destination: messages[0].destination.clone(),
            waits: AtomicBool::new(false),
        }
    }
}

impl Piece {
    /// Encodes consecutive deliveries of one consumer. They are not shared.
    pub fn of_deliveries(
        kind: Kind,
        subscription: Option<&str>,
        names: Names<'_>,
        entries: &[Entry],
    ) -> Option<Self> {
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
        for (entry, number) in entries.iter().zip(names.first..) {
            text.clear();
            names.write(&mut text, version, entry, number);
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
        Some(Self {
            bytes,
            ends,
            destination,
            waits: AtomicBool::new(false),
        })
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if *self.waits.get_mut() {
            WAITING.fetch_sub(self.memory(), Ordering::Relaxed);
        }
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

impl Names<'_> {
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
        if entry.redelivered {
            out.extend_from_slice(b"redelivered:true\n");
        }
    }
}

impl Text {
    fn write(&mut self, messages: &[Message], ids: Ids<'_>, version: Version) {
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

impl Piece {
    /// Returns the number of messages; at least one.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Always `false`: a run has at least one message.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the whole piece as sent over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Marks the piece as queued for a client: [`waiting_bytes`] counts it until it is dropped.
    pub fn wait(&self) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            WAITING.fetch_add(self.memory(), Ordering::Relaxed);
        }
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>() + PIECE
    }

    /// Returns the destination of the messages.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Returns where in [`Piece::bytes`] the message of this index begins or, after the last one,
    /// ends.
    pub fn start(&self, index: usize) -> usize {
        if index == 0 {
            0
        } else {
            self.ends[index - 1] as usize
        }
    }

    /// Returns the number of bytes of a range of its messages.
    pub fn size(&self, range: &Range<usize>) -> usize {
        self.start(range.end) - self.start(range.start)
    }

    /// Returns how many messages lie entirely within the first `bytes`.
    pub fn whole(&self, bytes: usize) -> usize {
        self.ends.partition_point(|&end| end as usize <= bytes)
    }
}

/// Writes the part from the ids to the body.
fn write_rest(out: &mut Vec<u8>, message: &Message, version: Version) {
    write_header(out, version, "destination", message.destination.as_str());
    write_headers(out, version, &message.headers, is_passed_on);
    let mut digits = itoa::Buffer::new();
    for part in ["content-length:", digits.format(message.body.len()), "\n\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Number of bytes of memory of the pieces queued for clients, each counted once however many
/// clients it is queued for. Counted for the whole process, like an allocator's statistics, because
/// only the piece itself knows when the last client drops it.
pub fn waiting_bytes() -> usize {
    WAITING.load(Ordering::Relaxed)
}

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// The memory of a piece in addition to its messages, with the allocator's overhead.
const PIECE: usize = 176;

fn is_utf8(body: &Bytes) -> bool {
    simdutf8::basic::from_utf8(body).is_ok()
}

/// Approximate size of a delivery's ids and other headers that the broker adds.
const AROUND: usize = 256;

#[cfg(test)]
mod tests {
    use stomp_codec::Headers;

    use super::*;

    fn message(body: &'static [u8]) -> Message {
        let headers: Headers = [
            ("destination", "/topic/a"),
            ("receipt", "1"),
            ("x", "a:b"),
            ("x", "again"),
        ]
        .into_iter()
        .collect();
        Message {
            destination: Destination::parse("/topic/a").expect("valid"),
            headers,
            body: Bytes::from_static(body),
        }
    }

    fn encoded(kind: Kind, id: Option<&str>, bodies: &[&'static [u8]]) -> Vec<Vec<u8>> {
        let messages: Vec<_> = bodies.iter().copied().map(message).collect();
        let ids = Ids {
            prefix: "m",
            first: 7,
        };
        let mut scratch = Scratch::default();
        let mut run = Run::new(&messages, ids, &mut scratch);
        let piece = run.piece(kind, id);
        assert_eq!(piece.len(), bodies.len());
        (0..piece.len())
            .map(|index| piece.bytes()[piece.start(index)..piece.start(index + 1)].to_vec())
            .collect()
    }

    #[test]
    fn each_receiver_gets_what_its_version_can_say() {
        let tcp = |version| Kind {
            version,
            framing: Framing::Tcp,
        };
        assert_eq!(
            encoded(tcp(Version::V1_2), Some("s:1"), &[b"hi", b""]),
            [
                &b"MESSAGE\nsubscription:s\\c1\nmessage-id:m-7\ndestination:/topic/a\nx:a\\cb\nx:again\ncontent-length:2\n\nhi\0"[..],
                b"MESSAGE\nsubscription:s\\c1\nmessage-id:m-8\ndestination:/topic/a\nx:a\\cb\nx:again\ncontent-length:0\n\n\0",
            ]
        );
        assert_eq!(
            encoded(tcp(Version::V1_0), None, &[b"hi"]),
            [b"MESSAGE\nmessage-id:m-7\ndestination:/topic/a\nx:a:b\nx:again\ncontent-length:2\n\nhi\0"]
        );
    }

    #[test]
    fn a_body_that_is_not_utf8_makes_its_message_binary_and_no_other() {
        let kind = Kind {
            version: Version::V1_2,
            framing: Framing::Text,
        };
        let frames = encoded(kind, Some("1"), &[b"text", b"\xff"]);
        assert_eq!(
            frames.iter().map(|frame| frame[0]).collect::<Vec<_>>(),
            [0x81, 0x82]
        );
    }
}
