//! Our WebSocket reader compared with tungstenite's: whatever clients send, and wherever the bytes
//! are split, both find the same messages and the same end, and give the same answers.

use std::io::{self, Cursor, Read, Write};

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use stompd::websocket::{Incoming, WebSocket, WebSocketFault};
use support::websocket::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, masked, unmasked};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Maximum number of bytes of a message.
const LIMIT: usize = 300;

/// Bytes that are valid text only in certain combinations.
const TRICKY: &[&[u8]] = &[
    b"a",
    b"\n",
    b"\xc3",
    b"\xbc",
    b"\xe2\x82",
    b"\xac",
    b"\xf0\x9f",
    b"\xa6\x80",
    b"\xff",
    b"\xed\xa0",
    b"\xe0\x80",
];

/// The result of reading a client's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    data: Vec<u8>,
    pongs: bool,
    end: Option<End>,
    answers: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Close,
    InvalidUtf8,
    TooBig,
    Protocol,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whole_messages_are_found_wherever_they_are_split(
        messages in vec(good_message(), 0..8),
        cuts in vec(1..40_usize, 1..20),
    ) {
        let bytes = messages.concat();
        prop_assert_eq!(ours(&bytes, &cuts), theirs(&bytes));
    }

    #[test]
    fn the_same_faults_are_found(
        frames in vec(any_frame(), 0..8),
        cuts in vec(1..40_usize, 1..20),
    ) {
        // Our reader does not count EOLs before anything else.
        let bytes = [masked(FIN | TEXT, b"a"), frames.concat()].concat();
        let (ours, theirs) = (ours(&bytes, &cuts), theirs(&bytes));
        // tungstenite reports nothing of a message that does not end well.
        prop_assert!(ours.data.starts_with(&theirs.data), "{ours:?} {theirs:?}");
        // A frame may be both too large and out of place: either may be reported.
        let two_faults = (&ours.end, &theirs.end) == (&Some(End::Protocol), &Some(End::TooBig));
        prop_assert!(two_faults || ours.end == theirs.end, "{ours:?} {theirs:?}");
        prop_assert_eq!(&ours.answers, &theirs.answers);
    }
}

/// A message in any number of frames with control frames between them, or a control frame.
fn good_message() -> impl Strategy<Value = Vec<u8>> {
    let text = "[a-zü€🦀\u{0}\n]{0,60}".prop_map(|text| (TEXT, text.into_bytes()));
    let binary = vec(any::<u8>(), 0..LIMIT).prop_map(|bytes| (BINARY, bytes));
    let message = (prop_oneof![text, binary], vec(0..LIMIT, 0..4), control());
    message.prop_map(|((opcode, bytes), mut cuts, control)| {
        for cut in &mut cuts {
            *cut = (*cut).min(bytes.len());
        }
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let (mut from, mut frames) = (0, Vec::new());
        for (number, &cut) in cuts.iter().enumerate() {
            let opcode = if number == 0 { opcode } else { CONTINUATION };
            let last = if number + 1 == cuts.len() { FIN } else { 0 };
            frames.extend(masked(last | opcode, &bytes[from..cut]));
            frames.extend_from_slice(&control);
            from = cut;
        }
        frames
    })
}

/// Sometimes a Ping or a Pong.
fn control() -> impl Strategy<Value = Vec<u8>> {
    let opcode = select(&[PING, PONG][..]);
    prop_oneof![
        Just(Vec::new()),
        (opcode, vec(any::<u8>(), 0..126))
            .prop_map(|(opcode, payload)| masked(FIN | opcode, &payload)),
    ]
}

/// A frame that is usually valid, but often out of place.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let code = select(
        &[
            0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1011, 1015, 1016, 2999, 3000, 4999, 5000,
        ][..],
    );
    let reason = prop_oneof![Just(&b"bye"[..]), Just(&b""[..]), Just(&b"\xff"[..])];
    prop_oneof![
        4 => good_message(),
        2 => (any::<bool>(), select(&[TEXT, BINARY, CONTINUATION][..]), tricky())
            .prop_map(|(last, opcode, bytes)| masked(if last { FIN | opcode } else { opcode }, &bytes)),
        1 => (any::<u8>(), few()).prop_map(|(first, bytes)| masked(first, &bytes)),
        1 => (any::<u8>(), few()).prop_map(|(first, bytes)| unmasked(first, &bytes)),
        1 => (code, reason).prop_map(|(code, reason): (u16, _)| {
            masked(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
        }),
        1 => vec(any::<u8>(), 0..2).prop_map(|payload| masked(FIN | CLOSE, &payload)),
    ]
}

/// Bytes that are almost valid text, or too many.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => few(),
        1 => vec(Just(b'x'), 100..LIMIT * 2),
    ]
}

fn few() -> impl Strategy<Value = Vec<u8>> {
    vec(select(TRICKY), 0..4).prop_map(|pieces| pieces.concat())
}

fn ours(bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut websocket = WebSocket::new(LIMIT);
    let (mut outcome, mut closing) = (Outcome::default(), Bytes::new());
    let mut cuts = cuts.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() && outcome.end.is_none() {
        let (part, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        rest = behind;
        websocket.feed(BytesMut::from(part));
        while outcome.end.is_none() {
            match websocket.take_input() {
                Ok(Some(Incoming::Data(data))) => outcome.data.extend_from_slice(&data),
                Ok(Some(Incoming::Pong)) => outcome.pongs = true,
                Ok(Some(Incoming::Close(answer))) => {
                    outcome.end = Some(End::Close);
                    closing = answer;
                }
                Ok(None) => break,
                Err(WebSocketFault::InvalidUtf8) => outcome.end = Some(End::InvalidUtf8),
                Err(WebSocketFault::TooBig { .. }) => outcome.end = Some(End::TooBig),
                Err(WebSocketFault::Protocol(_)) => outcome.end = Some(End::Protocol),
            }
        }
        outcome.answers.extend_from_slice(&websocket.take_output());
    }
    outcome.answers.extend_from_slice(&closing);
    without_reason_of_1002(outcome)
}

fn theirs(bytes: &[u8]) -> Outcome {
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut context = WebSocketContext::new(Role::Server, Some(config));
    let mut wire = Wire {
        input: Cursor::new(bytes.to_vec()),
        output: Vec::new(),
    };
    let mut outcome = Outcome::default();
    loop {
        match context.read(&mut wire) {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                outcome.data.extend_from_slice(&message.into_data());
            }
            Ok(Message::Pong(_)) => outcome.pongs = true,
            Ok(Message::Ping(_) | Message::Frame(_)) => {}
            Ok(Message::Close(_)) => {
                outcome.end = Some(End::Close);
                break;
            }
            Err(Error::Io(_)) => break,
            Err(error) => {
                outcome.end = Some(match error {
                    Error::Utf8(_) => End::InvalidUtf8,
                    Error::Capacity(_) => End::TooBig,
                    _ => End::Protocol,
                });
                break;
            }
        }
    }
    // Writes the last answer; after a Close it also reports the end.
    let _ = context.flush(&mut wire);
    outcome.answers = wire.output;
    without_reason_of_1002(outcome)
}

/// There is no agreed text for a forbidden close code.
fn without_reason_of_1002(mut outcome: Outcome) -> Outcome {
    if let Some(at) = outcome
        .answers
        .windows(2)
        .rposition(|code| code == [0x03, 0xea])
        && at >= 2
        && outcome.answers[at - 2] == FIN | CLOSE
    {
        outcome.answers.truncate(at + 2);
        outcome.answers.remove(at - 1);
    }
    outcome
}

/// Replaces a socket.
struct Wire {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.input.read(buffer) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            done => done,
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
