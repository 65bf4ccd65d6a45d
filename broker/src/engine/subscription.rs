//! The subscriptions of one session, by the name under which the client knows them.

use std::collections::HashMap;

use bytestring::ByteString;

use super::destination::Pattern;

/// What a SUBSCRIBE asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its number within the session: ours, never used again while the session lives.
    pub number: u32,
    /// The `id` that the client gave, as it stands in the `subscription` header of a MESSAGE; in
    /// STOMP 1.0 there may be none, and then the header is not sent.
    pub id: Option<ByteString>,
    /// What it wants to see.
    pub pattern: Pattern,
    /// How its messages are acknowledged.
    pub mode: AckMode,
    /// How much may be on the way to it, where that is counted: on queues, and in the ack modes.
    pub prefetch: Prefetch,
    /// Whether the client's own messages are left out (`no-local:true`). Means nothing on a queue.
    pub no_local: bool,
}

/// How a client acknowledges the messages of a subscription (STOMP 1.2, "SUBSCRIBE ack Header").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckMode {
    /// Not at all.
    #[default]
    Auto,
    /// Each ACK is for a message and all before it of its subscription.
    Client,
    /// Each ACK is for one message.
    Individual,
}

/// How much a subscription may have that it has not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Messages.
    pub messages: usize,
    /// Octets of bodies and headers, if they count; the message that reaches the limit passes it.
    pub octets: Option<usize>,
}

impl AckMode {
    /// The mode of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "client" => Some(Self::Client),
            "client-individual" => Some(Self::Individual),
            _ => None,
        }
    }
}

/// The name of a subscription in its session. An id and a destination never meet, even if their
/// texts are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The `id` header.
    Id(Box<str>),
    /// STOMP 1.0 without `id`: the `destination` header.
    Destination(Box<str>),
}

/// All subscriptions of a session.
#[derive(Debug, Default)]
pub struct Subscriptions {
    numbers: HashMap<Key, u32>,
    last: u32,
}

impl Subscriptions {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether the name is in use.
    pub fn contains(&self, key: &Key) -> bool {
        self.numbers.contains_key(key)
    }

    /// Gives a number to a new subscription.
    pub fn add(&mut self, key: Key) -> u32 {
        self.last += 1;
        self.numbers.insert(key, self.last);
        self.last
    }

    /// Whether a number was ever given.
    pub fn was_given(&self, number: u32) -> bool {
        (1..=self.last).contains(&number)
    }

    /// Takes one out; `None` if there is none of this name.
    pub fn remove(&mut self, key: &Key) -> Option<u32> {
        self.numbers.remove(key)
    }
}

impl Key {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(text) | Self::Destination(text) => text,
        }
    }
}
