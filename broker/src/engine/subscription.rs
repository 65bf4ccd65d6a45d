//! The subscriptions of one session, by the client's names for them.

use std::collections::HashMap;

use bytestring::ByteString;

use super::destination::Pattern;
use super::patterns::Arrangement;
use super::refusal::Refusal;

/// What a SUBSCRIBE requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its number within the session: assigned by the broker and never reused in the session.
    pub number: u32,
    /// The `id` that the client gave, as it appears in the `subscription` header of a MESSAGE; in
    /// STOMP 1.0 there may be none, and then the header is not sent.
    pub id: Option<ByteString>,
    /// The destinations it matches.
    pub pattern: Pattern,
    /// How its messages are acknowledged.
    pub mode: AckMode,
    /// Maximum unsettled deliveries, where that is counted: on queues, and in the ack modes.
    pub prefetch: Prefetch,
    /// Whether to skip the client's own messages (`no-local:true`). Has no effect on a queue.
    pub no_local: bool,
}

/// How a client acknowledges the messages of a subscription (STOMP 1.2, "SUBSCRIBE ack Header").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckMode {
    /// Not at all.
    #[default]
    Auto,
    /// Each ACK is for a message and all before it in its subscription.
    Client,
    /// Each ACK is for one message.
    Individual,
}

/// How many unsettled deliveries a subscription may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefetch {
    /// Maximum number of messages.
    pub messages: usize,
    /// Maximum number of bytes of bodies and headers, if counted; the message that reaches the
    /// limit may exceed it.
    pub bytes: Option<usize>,
}

impl AckMode {
    /// Returns the mode with this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "client" => Some(Self::Client),
            "client-individual" => Some(Self::Individual),
            _ => None,
        }
    }
}

/// The name of a subscription in its session. An id never equals a destination, even if their texts
/// are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// The `id` header.
    Id(ByteString),
    /// STOMP 1.0 without `id`: the `destination` header.
    Destination(ByteString),
}

/// Limits of the subscriptions of one session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of subscriptions.
    pub count: usize,
    /// Maximum number of bytes of memory, see [`Subscription::held`].
    pub bytes: usize,
    /// Maximum cost of matching their patterns, see [`Arrangement::cost`].
    pub shapes: usize,
}

/// All subscriptions of a session.
#[derive(Debug, Default)]
pub struct Subscriptions {
    known: HashMap<Key, Known>,
    last: u32,
    bytes: usize,
    /// The arrangements of wildcards, and how many subscriptions have each.
    arrangements: HashMap<Arrangement, usize>,
    shapes: usize,
}

#[derive(Debug)]
struct Known {
    number: u32,
    pattern: Pattern,
}

impl Subscriptions {
    /// Assigns a number to a new subscription.
    ///
    /// # Errors
    /// The name is in use, or the session would exceed its limits.
    pub fn add(&mut self, key: Key, pattern: &Pattern, limits: &Limits) -> Result<u32, Refusal> {
        if self.known.contains_key(&key) {
            return Err(Refusal::DuplicateSubscription(key.as_str().into()));
        }
        if self.known.len() >= limits.count {
            return Err(Refusal::TooManySubscriptions(limits.count));
        }
        let bytes = self.bytes + held(key.as_str(), pattern);
        if bytes > limits.bytes {
            return Err(Refusal::SubscriptionsTooBig(limits.bytes));
        }
        let number = self.last.checked_add(1).ok_or(Refusal::NumbersUsedUp)?;
        if let Pattern::Wild(wild) = pattern {
            let arrangement = Arrangement::of(wild);
            let cost = arrangement.cost();
            let is_new = !self.arrangements.contains_key(&arrangement);
            if is_new && self.shapes + cost > limits.shapes {
                return Err(Refusal::TooManyShapes(limits.shapes));
            }
            self.shapes += if is_new { cost } else { 0 };
            *self.arrangements.entry(arrangement).or_default() += 1;
        }
        self.last = number;
        self.bytes = bytes;
        let known = Known {
            number,
            pattern: pattern.clone(),
        };
        self.known.insert(key, known);
        Ok(number)
    }

    /// Returns subscriptions as if this number was the last one used.
    #[cfg(test)]
    fn after(last: u32) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    /// Whether a number was ever used.
    pub fn was_given(&self, number: u32) -> bool {
        (1..=self.last).contains(&number)
    }

    /// Removes a subscription; `None` if there is none with this name.
    pub fn remove(&mut self, key: &Key) -> Option<u32> {
        let Known { number, pattern } = self.known.remove(key)?;
        self.bytes -= held(key.as_str(), &pattern);
        if let Pattern::Wild(wild) = &pattern {
            let arrangement = Arrangement::of(wild);
            if let Some(count) = self.arrangements.get_mut(&arrangement) {
                *count -= 1;
                if *count == 0 {
                    self.shapes -= arrangement.cost();
                    self.arrangements.remove(&arrangement);
                }
            }
        }
        if self.known.capacity() > 4 * self.known.len() + SPARE {
            self.known.shrink_to(2 * self.known.len());
        }
        Some(number)
    }
}

impl Key {
    /// Returns the text of the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(text) | Self::Destination(text) => text,
        }
    }
}

impl Subscription {
    /// Returns the number of bytes of memory that limits count for it.
    pub fn held(&self) -> usize {
        held(self.id.as_deref().unwrap_or_default(), &self.pattern)
    }
}

/// Number of bytes of memory of a subscription: its places in all tables, its id and its pattern.
fn held(id: &str, pattern: &Pattern) -> usize {
    let wild = match pattern {
        Pattern::Exact(_) => 0,
        Pattern::Wild(_) => PATTERN,
    };
    SUBSCRIPTION + wild + id.len() + pattern.as_str().len()
}

/// Memory of a subscription without its texts: measured, including the allocator's overhead.
const SUBSCRIPTION: usize = 700;

/// Additional memory of a pattern that no other subscription has.
const PATTERN: usize = 400;

/// Spare capacity of a table that is not worth releasing.
const SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_no_number_twice() {
        let mut subscriptions = Subscriptions::after(u32::MAX - 1);
        let limits = Limits {
            count: 10,
            bytes: 10_000,
            shapes: 10,
        };
        let pattern = Pattern::parse("/topic/a").expect("valid");
        let mut add = |id: &str| subscriptions.add(Key::Id(id.into()), &pattern, &limits);
        assert_eq!(add("last"), Ok(u32::MAX));
        assert_eq!(add("beyond"), Err(Refusal::NumbersUsedUp));
        subscriptions.remove(&Key::Id("last".into()));
        assert_eq!(subscriptions.remove(&Key::Id("beyond".into())), None);
        assert!(subscriptions.was_given(u32::MAX));
    }
}
