//! Destinations, to which a SEND goes, and patterns, which a SUBSCRIBE requests.
//!
//! A destination is `/`, a first segment, then a name; without a leading `/` the first segment is
//! part of the name. In the name `.` and `/` separate segments, and a separator in a pattern
//! matches only itself. Only a whole segment is a wildcard: `*` is one segment; `#` and `**`
//! anywhere, and `>` as the last, are zero or more segments together with the separator before
//! them, whatever separators are in between.

use std::borrow::Cow;
use std::fmt;

use bytestring::ByteString;

use super::refusal::Refusal;
use super::size::{DESTINATION_BYTES, DESTINATION_SEGMENTS, MULTI_WILDCARDS};

/// Where a message is sent: checked text without wildcards. Cloning shares the text, which is a
/// separate copy: it does not keep the buffer alive in which it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination(ByteString);

/// What a subscription requests: one destination, or all that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No wildcard: exactly this destination.
    Exact(Destination),
    /// At least one wildcard.
    Wild(Destination),
}

/// One segment with the separator before it, as returned by [`segments`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segment<'a> {
    /// `.` or `/`; for the first segment `/` if the destination begins with one, else `None`.
    pub separator: Option<u8>,
    /// The text between two separators; may be empty.
    pub text: &'a str,
}

/// The meaning of a wildcard segment in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wildcard {
    /// `*`: exactly one segment.
    One,
    /// `#`, `**` or a last `>`: zero or more segments.
    Many,
}

impl Destination {
    /// Checks the `destination` of a SEND.
    ///
    /// # Errors
    /// A [`Refusal`] that names the problem: too long, no name, a wildcard, or a prefix that is
    /// reserved for a kind of destination that this broker does not have (yet).
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = canonical(text);
        check_for_send(&text)?;
        Ok(Self(text.into_owned().into()))
    }

    /// Checks that a SEND could go to this destination, without storing it.
    ///
    /// # Errors
    /// Same as [`Destination::parse`].
    pub fn check(text: &str) -> Result<(), Refusal> {
        check_for_send(&canonical(text))
    }

    /// Returns the text, as it appears in the `destination` header of a MESSAGE.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a queue; everything else is a topic.
    pub fn is_queue(&self) -> bool {
        self.0.starts_with(QUEUE)
    }

    /// Returns the segments, first to last.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        segments(&self.0)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Pattern {
    /// Checks the `destination` of a SUBSCRIBE.
    ///
    /// # Errors
    /// Same as [`Destination::parse`], but wildcards are allowed after the first segment, unless
    /// that is `queue`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let text = canonical(text);
        let shape = Shape::check(&text)?;
        let destination = Destination(text.into_owned().into());
        if shape.wildcards > 0 && destination.is_queue() {
            return Err(Refusal::WildcardQueue(destination.as_str().into()));
        }
        Ok(if shape.wildcards > 0 {
            Self::Wild(destination)
        } else {
            Self::Exact(destination)
        })
    }

    /// Returns the text in canonical spelling.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(destination) | Self::Wild(destination) => destination.as_str(),
        }
    }
}

impl Segment<'_> {
    /// Returns the wildcard that this segment is in a pattern; `last` says that none follows.
    pub fn wildcard(&self, last: bool) -> Option<Wildcard> {
        match self.text {
            "*" => Some(Wildcard::One),
            "#" | "**" => Some(Wildcard::Many),
            ">" if last => Some(Wildcard::Many),
            _ => None,
        }
    }
}

/// Splits `text` into its segments.
pub fn segments(text: &str) -> impl Iterator<Item = Segment<'_>> {
    let (mut separator, mut rest) = match text.strip_prefix('/') {
        Some(rest) => (Some(b'/'), Some(rest)),
        None => (None, Some(text)),
    };
    // The first segment of `/topic/a.b` ends at the next `/`; a `.` is part of it.
    let mut ends: &[char] = if separator.is_some() {
        &['/']
    } else {
        SEPARATORS
    };
    std::iter::from_fn(move || {
        let current = rest?;
        let end = current.find(ends);
        ends = SEPARATORS;
        let segment = Segment {
            separator,
            text: &current[..end.unwrap_or(current.len())],
        };
        separator = end.map(|at| current.as_bytes()[at]);
        rest = end.map(|at| &current[at + 1..]);
        Some(segment)
    })
}

fn check_for_send(text: &str) -> Result<(), Refusal> {
    if Shape::check(text)?.wildcards > 0 {
        return Err(Refusal::WildcardInSend(text.into()));
    }
    Ok(())
}

/// The result of checking the text.
struct Shape {
    wildcards: usize,
}

impl Shape {
    fn check(text: &str) -> Result<Self, Refusal> {
        if text.len() > DESTINATION_BYTES {
            return Err(Refusal::DestinationTooLong { bytes: text.len() });
        }
        if name(text).is_empty() {
            return Err(Refusal::NoName(text.into()));
        }
        let mut all = segments(text).peekable();
        let first = all.next().map_or("", |segment| segment.text);
        if matches!(first, "*" | "#" | "**" | ">") {
            return Err(Refusal::WildcardFirst(text.into()));
        }
        if text.starts_with('/') && RESERVED.contains(&first) {
            return Err(Refusal::ReservedDestination(text.into()));
        }
        let (mut count, mut wildcards, mut many) = (1, 0, 0);
        while let Some(segment) = all.next() {
            count += 1;
            let wildcard = segment.wildcard(all.peek().is_none());
            wildcards += usize::from(wildcard.is_some());
            many += usize::from(wildcard == Some(Wildcard::Many));
        }
        if count > DESTINATION_SEGMENTS {
            return Err(Refusal::TooManySegments { segments: count });
        }
        if many > MULTI_WILDCARDS {
            return Err(Refusal::TooManyWildcards { wildcards: many });
        }
        Ok(Self { wildcards })
    }
}

/// Returns the part after the first segment; without a leading `/` the whole text.
fn name(text: &str) -> &str {
    match text.strip_prefix('/') {
        Some(rest) => rest.split_once('/').map_or("", |(_, name)| name),
        None => text,
    }
}

/// Returns the canonical spelling of a destination: `RabbitMQ`'s equivalent names are converted to
/// ours.
fn canonical(text: &str) -> Cow<'_, str> {
    if let Some(key) = text.strip_prefix("/exchange/amq.topic/") {
        Cow::Owned(format!("/topic/{key}"))
    } else if let Some(name) = text.strip_prefix("/amq/queue/") {
        Cow::Owned(format!("/queue/{name}"))
    } else {
        Cow::Borrowed(text)
    }
}

const QUEUE: &str = "/queue/";
const SEPARATORS: &[char] = &['.', '/'];

/// Prefixes to which other brokers, or later versions of this one, give a meaning that a plain
/// topic does not have: treating them as topics would lose messages silently.
const RESERVED: [&str; 8] = [
    "exchange",
    "temp-queue",
    "temp-topic",
    "reply-queue",
    "user",
    "presence",
    "stompd",
    "durable",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(Option<char>, &str)> {
        segments(text)
            .map(|s| (s.separator.map(char::from), s.text))
            .collect()
    }

    #[test]
    fn a_separator_belongs_to_the_segment_behind_it() {
        let slash = Some('/');
        assert_eq!(
            cut("/topic/a.b/c"),
            [
                (slash, "topic"),
                (slash, "a"),
                (Some('.'), "b"),
                (slash, "c")
            ]
        );
        assert_eq!(cut("a.b"), [(None, "a"), (Some('.'), "b")]);
        assert_eq!(
            cut("/topic/a..b/"),
            [
                (slash, "topic"),
                (slash, "a"),
                (Some('.'), ""),
                (Some('.'), "b"),
                (slash, "")
            ]
        );
        assert_eq!(cut("/my.app/x"), [(slash, "my.app"), (slash, "x")]);
    }

    #[test]
    fn a_destination_needs_a_name() {
        for text in [
            "/topic",
            "/topic/",
            "/",
            "",
            "//",
            "/queue/",
            "/queue",
            "/exchange/amq.topic/",
        ] {
            assert!(
                matches!(Destination::parse(text), Err(Refusal::NoName(_))),
                "{text:?}"
            );
        }
        for text in [
            "/topic/a",
            "topic",
            "a.b",
            "/topic//",
            "/topic/a..b",
            "/topic/a.",
            "/x/y",
            "//a",
        ] {
            assert!(Destination::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn the_first_segment_is_never_a_wildcard() {
        for text in ["*", "#", "**", ">", "*.eu", "/#/x", "/*/a", "/**/a"] {
            let refusal = Pattern::parse(text).expect_err(text);
            assert!(
                matches!(refusal, Refusal::WildcardFirst(_)),
                "{text:?}: {refusal}"
            );
        }
        for text in ["/*", "/#"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
        assert!(matches!(Pattern::parse("a.*"), Ok(Pattern::Wild(_))));
    }

    #[test]
    fn only_a_whole_segment_is_a_wildcard() {
        for text in ["/topic/C#", "/topic/a*", "/topic/a.>.b", "/topic/***"] {
            assert!(
                matches!(Pattern::parse(text), Ok(Pattern::Exact(_))),
                "{text:?}"
            );
            assert!(Destination::parse(text).is_ok(), "{text:?}");
        }
        for text in ["/topic/*", "/topic/a.#.b", "/topic/**", "/topic/a.>"] {
            assert!(
                matches!(Pattern::parse(text), Ok(Pattern::Wild(_))),
                "{text:?}"
            );
            assert!(
                matches!(Destination::parse(text), Err(Refusal::WildcardInSend(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn limits_of_length_segments_and_wildcards() {
        let name = |bytes: usize| format!("/topic/{}", "x".repeat(bytes - "/topic/".len()));
        assert!(Destination::parse(&name(DESTINATION_BYTES)).is_ok());
        assert!(matches!(
            Destination::parse(&name(DESTINATION_BYTES + 1)),
            Err(Refusal::DestinationTooLong { bytes: 1025 })
        ));
        let many = |segments: usize| format!("/topic{}", "/x".repeat(segments - 1));
        assert!(Destination::parse(&many(DESTINATION_SEGMENTS)).is_ok());
        assert!(matches!(
            Destination::parse(&many(DESTINATION_SEGMENTS + 1)),
            Err(Refusal::TooManySegments { segments: 65 })
        ));
        assert!(Pattern::parse("/topic/#.a.#.a.#.a.#").is_ok());
        assert!(matches!(
            Pattern::parse("/topic/#.#.#.#.#"),
            Err(Refusal::TooManyWildcards { wildcards: 5 })
        ));
    }

    #[test]
    fn destinations_of_kinds_to_come_are_refused() {
        for text in [
            "/temp-queue/a",
            "/user/queue/x",
            "/presence/topic/a",
            "/exchange/logs/a",
        ] {
            assert!(
                matches!(Pattern::parse(text), Err(Refusal::ReservedDestination(_))),
                "{text:?}"
            );
        }
        for text in ["queue/a", "/queues/a", "/amq/other/a"] {
            assert!(Destination::parse(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn what_is_below_queue_is_a_queue_and_has_no_wildcards() {
        for (text, name) in [("/queue/a.b", "/queue/a.b"), ("/amq/queue/a", "/queue/a")] {
            let queue = Destination::parse(text).expect(text);
            assert_eq!((queue.as_str(), queue.is_queue()), (name, true));
            assert_eq!(Pattern::parse(text), Ok(Pattern::Exact(queue)), "{text}");
        }
        for text in ["/topic/queue/a", "queue/a", "/queues/a"] {
            assert!(!Destination::parse(text).expect(text).is_queue(), "{text}");
        }
        for text in ["/queue/*", "/queue/a.#", "/amq/queue/>"] {
            assert!(
                matches!(Pattern::parse(text), Err(Refusal::WildcardQueue(_))),
                "{text}"
            );
            assert!(matches!(
                Destination::parse(text),
                Err(Refusal::WildcardInSend(_))
            ));
        }
    }

    #[test]
    fn the_topic_exchange_of_rabbitmq_is_our_topic() {
        let sent = Destination::parse("/exchange/amq.topic/a.b").expect("a topic");
        assert_eq!(sent.as_str(), "/topic/a.b");
    }
}
