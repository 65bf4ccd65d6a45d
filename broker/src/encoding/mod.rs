//! Encodes messages once per kind of receiver.
//!
//! A run is the messages to one destination from one read of a publisher. The part that all
//! receivers of one version share (message id, destination, the publisher's headers) is escaped
//! once per version: a text. Receivers with the same framing and subscription id, which with
//! stomp.js are most of them, share an [`EncodedRun`], which is built once and handed to each of
//! them as a unit.

mod deliveries;
mod encoder;
pub mod framing;
mod run;

use bytes::Bytes;
use stomp_codec::{Version, write_header, write_headers};

use crate::engine::message::{Message, is_passed_on};

pub use self::deliveries::DeliveryIds;
pub use self::encoder::{MessageIds, RunEncoder, Scratch};
pub use self::framing::Framing;
pub use self::run::{EncodedRun, waiting_bytes};

/// What determines the encoding for a receiver, except the subscription's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The version of its session.
    pub version: Version,
    /// Its framing.
    pub framing: Framing,
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

fn is_utf8(body: &Bytes) -> bool {
    simdutf8::basic::from_utf8(body).is_ok()
}

#[cfg(test)]
mod tests {
    use stomp_codec::Headers;

    use super::*;
    use crate::engine::destination::Destination;

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
        let ids = MessageIds {
            prefix: "m",
            first: 7,
        };
        let mut scratch = Scratch::default();
        let mut run_encoder = RunEncoder::new(&messages, ids, &mut scratch);
        let encoded = run_encoder.encode(kind, id);
        assert_eq!(encoded.len(), bodies.len());
        (0..encoded.len())
            .map(|index| encoded.bytes()[encoded.start(index)..encoded.start(index + 1)].to_vec())
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
