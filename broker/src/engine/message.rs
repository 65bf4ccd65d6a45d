//! A published message on its way to the subscribers.

use bytes::Bytes;
use stomp_codec::Headers;

use super::destination::Destination;
use super::memory::allocated;

/// A message that was accepted from a publisher.
///
/// The body and the headers are slices of the buffer in which they arrived; cloning shares them.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it is sent.
    pub destination: Destination,
    /// All headers of the SEND in their order; [`is_passed_on`] says which ones subscribers see.
    pub headers: Headers,
    /// The body, any bytes.
    pub body: Bytes,
}

impl Message {
    /// Returns an equal message that does not keep the read buffer alive, for messages that are
    /// stored.
    #[must_use]
    pub fn compact(&self) -> Self {
        self.compact_to(&self.destination)
    }

    /// Like [`Message::compact`], with an equal destination whose text many messages share.
    #[must_use]
    pub fn compact_to(&self, destination: &Destination) -> Self {
        let mut headers = self.headers.clone();
        headers.detach();
        Self {
            destination: destination.clone(),
            headers,
            body: Bytes::copy_from_slice(&self.body),
        }
    }

    /// Returns the number of bytes of its body and headers.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.headers.bytes()
    }

    /// Returns the memory it takes while a queue or a transaction stores it: what
    /// [`Message::compact`] allocates, and its place there.
    pub fn held(&self) -> usize {
        allocated(size_of::<Self>() + COUNTS)
            + allocated(self.headers.bytes())
            + allocated(self.headers.spilled())
            + allocated(self.body.len())
            + PLACE
    }
}

/// The reference counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();

/// The place of a message in a queue, ready or in flight. The lines grow by doubling, so a place
/// takes one to two times its size: this is between the two for both kinds.
pub(super) const PLACE: usize = 64;

/// Whether a header of a SEND is passed on to subscribers. The others are set by the server, so
/// that no publisher can forge them, or are a publisher's secret.
pub fn is_passed_on(name: &str) -> bool {
    match name {
        "ack"
        | "browser"
        | "content-length"
        | "delivery-count"
        | "destination"
        | "message-id"
        | "original-destination"
        | "receipt"
        | "recovered"
        | "redelivered"
        | "retained"
        | "subscription"
        | "transaction"
        | "user-id"
        | "x-dropped"
        | "x-stream-epoch"
        | "x-stream-offset"
        | "JMSXUserID"
        | "Authorization"
        | "login"
        | "passcode" => false,
        _ => !name.starts_with("x-death-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_shares_no_byte_with_what_was_read() {
        for size in [1, 64 * 1024] {
            let message = Message {
                destination: Destination::parse("/queue/a").expect("a queue"),
                headers: Headers::new(),
                body: vec![b'x'; size].into(),
            };
            let compact = message.compact();
            assert_eq!(compact.body, message.body);
            assert_ne!(compact.body.as_ptr(), message.body.as_ptr());
        }
    }

    #[test]
    fn what_is_held_counts_more_than_the_text() {
        let message = |headers: usize, body: usize| Message {
            destination: Destination::parse("/queue/a").expect("a queue"),
            headers: (0..headers).map(|_| ("name", "value")).collect(),
            body: vec![b'x'; body].into(),
        };
        let empty = message(0, 0).held();
        assert!((200..400).contains(&empty), "{empty}");
        let large = message(0, 1 << 20).held() - empty;
        assert!((1 << 20..(1 << 20) + 64).contains(&large), "{large}");
        // Eight header lines are stored inline, the ninth moves all of them to the heap.
        let ninth = message(9, 0).held() - message(8, 0).held();
        assert!(ninth > 16 * 12, "{ninth}");
    }

    #[test]
    fn server_owned_headers_are_not_passed_on() {
        for name in [
            "message-id",
            "subscription",
            "content-length",
            "x-death-count",
            "passcode",
            "destination",
        ] {
            assert!(!is_passed_on(name), "{name}");
        }
        for name in [
            "content-type",
            "reply-to",
            "x-death",
            "Message-Id",
            "priority",
            "",
        ] {
            assert!(is_passed_on(name), "{name}");
        }
    }
}
