//! What the fuzz target does, apart from the fuzzer, so that a plain test can run the seeds too.

use bytes::{Bytes, BytesMut};

use super::websocket::frame::{self, Kind};
use super::websocket::{Incoming, WebSocket, WebSocketFault, close};

/// Any bytes, cut anywhere, give the same data, Pongs and end, within bounded memory; and what is
/// written is read back.
///
/// Input: mode (limits), number of chunk sizes, chunk sizes, bytes.
pub fn websocket(data: &[u8]) {
    let Some((&[mode, sizes], data)) = data.split_first_chunk() else {
        return;
    };
    let (sizes, wire) = data.split_at(data.len().min(usize::from(sizes)));
    let limits = Limits::new(mode);

    let whole = limits.read([wire]);
    let cut = limits.read(chunks(wire, sizes));
    let single = limits.read(wire.chunks(1));
    for (shorter, longer) in [(&whole, &cut), (&cut, &single)] {
        assert_eq!(shorter.rest(), longer.rest());
        // If a text is not UTF-8, what was read with the wrong bytes is missing.
        if shorter.end == Some(End::Fault(WebSocketFault::InvalidUtf8)) {
            assert!(longer.data.starts_with(&shorter.data));
        } else {
            assert_eq!(shorter.data, longer.data);
        }
    }
    whole.check_output();
    check_writer(wire);
}

/// What a client sends is read by these limits.
struct Limits {
    first: usize,
    /// The limit after this many bytes of data were read, as after a CONNECT.
    later: usize,
}

/// The result of reading.
#[derive(Debug, Default)]
struct Outcome {
    data: Vec<u8>,
    pong: bool,
    binary: bool,
    output: Vec<u8>,
    end: Option<End>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Close(Bytes),
    Fault(WebSocketFault),
}

impl Limits {
    fn new(mode: u8) -> Self {
        let first = if mode & 1 == 0 { 1 << 20 } else { 32 };
        let later = if mode & 2 == 0 { first } else { first * 4 };
        Self { first, later }
    }

    fn read<'a>(&self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut websocket = WebSocket::new(self.first);
        let (mut outcome, mut fed) = (Outcome::default(), 0);
        for chunk in chunks {
            websocket.feed(BytesMut::from(chunk));
            fed += chunk.len();
            self.take(&mut websocket, &mut outcome);
            let (kept, data) = (websocket.buffered(), outcome.data.len());
            assert!(kept < LONGEST_CONTROL, "{kept} bytes are kept");
            assert!(data + outcome.output.len() <= fed, "more than was sent");
            if outcome.end.is_some() {
                check_end(&mut websocket, &outcome);
                break;
            }
        }
        outcome.binary = websocket.is_binary();
        outcome
    }

    fn take(&self, websocket: &mut WebSocket, outcome: &mut Outcome) {
        while outcome.end.is_none() {
            match websocket.take_input() {
                Ok(None) => break,
                Ok(Some(Incoming::Data(data))) => {
                    assert!(!data.is_empty());
                    outcome.data.extend_from_slice(&data);
                    if outcome.data.len() >= CONNECT {
                        websocket.set_limit(self.later);
                    }
                }
                Ok(Some(Incoming::Pong)) => outcome.pong = true,
                Ok(Some(Incoming::Close(reply))) => outcome.end = Some(End::Close(reply)),
                Err(fault) => outcome.end = Some(End::Fault(fault)),
            }
        }
        outcome.output.extend_from_slice(&websocket.take_output());
    }
}

impl Outcome {
    /// All but the data.
    fn rest(&self) -> (bool, bool, &[u8], &Option<End>) {
        (self.pong, self.binary, &self.output, &self.end)
    }

    /// Our Pongs are Pongs, and our reply to a Close is one that is replied to by the same.
    fn check_output(&self) {
        let pongs = read(&masked(&self.output));
        assert_eq!(pongs.pong, !self.output.is_empty());
        assert_eq!((pongs.data.len(), pongs.end), (0, None));
        if let Some(End::Close(reply)) = &self.end {
            assert_eq!(read(&masked(reply)).end, self.end);
        }
    }
}

/// After its end a reader returns the end and nothing else, whatever is fed.
fn check_end(websocket: &mut WebSocket, outcome: &Outcome) {
    for more in [&b""[..], b"\x89\x80\0\0\0\0", b"\x81\x81\0\0\0\0a"] {
        websocket.feed(BytesMut::from(more));
        let end = match websocket.take_input() {
            Ok(Some(Incoming::Close(reply))) => Some(End::Close(reply)),
            Err(fault) => Some(End::Fault(fault)),
            other => panic!("{other:?} after the end"),
        };
        assert_eq!(end, outcome.end);
        assert!(websocket.take_output().is_empty());
    }
}

/// A client that sends what we write, but masked, is understood.
fn check_writer(payload: &[u8]) {
    for kind in [Kind::Text, Kind::Binary] {
        let mut bytes = Vec::new();
        frame::write_header(&mut bytes, kind, payload.len());
        bytes.extend_from_slice(payload);
        let outcome = read(&masked(&bytes));
        if kind == Kind::Text && std::str::from_utf8(payload).is_err() {
            assert_eq!(outcome.end, Some(End::Fault(WebSocketFault::InvalidUtf8)));
        } else {
            assert_eq!((&outcome.data[..], outcome.end), (payload, None));
            assert_eq!(outcome.binary, kind == Kind::Binary);
        }
    }
    let Some((code, reason)) = payload.split_first_chunk() else {
        return;
    };
    let written = close(u16::from_be_bytes(*code), &String::from_utf8_lossy(reason));
    assert!(written.len() < LONGEST_CONTROL);
    let Some(End::Close(reply)) = read(&masked(&written)).end else {
        panic!("{written:?} is not a Close");
    };
    // A code that nobody may send is answered with another one.
    assert!(reply == written || reply[2..4] == 1002_u16.to_be_bytes());
}

fn read(wire: &[u8]) -> Outcome {
    Limits::new(0).read([wire])
}

/// Our frames as a client would send them.
fn masked(mut frames: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut out = Vec::new();
    while let [first, short, rest @ ..] = frames {
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (number, rest) = rest.split_at(extended);
        let length = if extended == 0 {
            usize::from(*short)
        } else {
            let number = number.iter();
            number.fold(0, |length, byte| length << 8 | usize::from(*byte))
        };
        let (payload, rest) = rest.split_at(length);
        out.extend_from_slice(&[*first, 0x80 | *short]);
        out.extend_from_slice(number);
        out.extend_from_slice(&MASK);
        let mask = MASK.iter().cycle();
        out.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        frames = rest;
    }
    out
}

/// Chunks of these sizes in turn; of one byte if there is none.
fn chunks<'a>(mut wire: &'a [u8], sizes: &[u8]) -> Vec<&'a [u8]> {
    let mut sizes = sizes.iter().map(|size| usize::from(*size) + 1).cycle();
    let mut chunks = Vec::new();
    while !wire.is_empty() {
        let (chunk, rest) = wire.split_at(sizes.next().unwrap_or(1).min(wire.len()));
        chunks.push(chunk);
        wire = rest;
    }
    chunks
}

/// Bytes of data after which the limit changes.
const CONNECT: usize = 16;

/// Bytes of the longest control frame of a client: header, mask, payload.
const LONGEST_CONTROL: usize = 2 + 4 + 125;
