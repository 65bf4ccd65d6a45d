//! What the fuzz targets do, apart from the fuzzer, so that plain tests can run the seeds too.
//!
//! Inputs are taken apart by hand and not by a derive: so seeds stay readable, and a transcript
//! becomes a seed by three bytes in front of it.

use bytes::Bytes;
use stomp_codec::{Command, DecodeError, Decoder, Frame, Headers, Item, Limits, Version};

/// Any bytes, cut anywhere, give the same items and the same error, within the memory that the
/// limits allow.
///
/// Input: mode (version, and small limits), number of chunk sizes, chunk sizes, bytes.
pub fn decode(data: &[u8]) {
    let Some((&[mode, sizes], data)) = data.split_first_chunk() else {
        return;
    };
    let (sizes, wire) = data.split_at(data.len().min(usize::from(sizes)));
    let setup = Setup::new(mode);
    let wire = Bytes::copy_from_slice(wire);

    let whole = setup.decode([wire.clone()]);
    assert_eq!(setup.decode(cut(&wire, sizes)), whole, "cut in chunks");
    assert_eq!(setup.decode(cut(&wire, &[])), whole, "byte by byte");
    if setup.version == Some(Version::V1_2) {
        whole.0.iter().for_each(read_again);
    }
}

/// What is encoded is decoded as the same frame, but for what the version cannot express.
///
/// Input: version, command, body, and names and values in turn, parted by the byte ff.
pub fn roundtrip(data: &[u8]) {
    let Some((&[version, command], data)) = data.split_first_chunk() else {
        return;
    };
    let version = Version::ALL[usize::from(version) % Version::ALL.len()];
    let command = Command::ALL[usize::from(command) % Command::ALL.len()];
    let mut parts = data.split(|byte| *byte == 0xff);
    let body = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    let mut frame = Frame::new(command).with_body(body);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let (name, value) = (
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value),
        );
        frame.headers.push(&name, &value);
    }
    check_roundtrip(&frame, version);
}

/// Encodes, decodes and compares a frame with what a receiver of this version should see.
pub fn check_roundtrip(frame: &Frame, version: Version) {
    let limits = Limits {
        headers: usize::MAX,
        header_bytes: usize::MAX,
        ..Limits::default()
    };
    let mut decoder = Decoder::new(limits);
    decoder.set_version(version);
    decoder.push(frame.encode(version));
    assert_eq!(
        decoder.decode(),
        Ok(Some(Item::Frame(received(frame, version))))
    );
    assert_eq!(decoder.decode(), Ok(None));
    assert_eq!(decoder.buffered(), 0);
}

/// The frame as a receiver sees it: a second, plain statement of the encoder's rules.
fn received(frame: &Frame, version: Version) -> Frame {
    let bare = matches!(
        frame.command,
        Command::Connect | Command::Connected | Command::Stomp
    );
    let plain = bare || version == Version::V1_0;
    let mut headers = Vec::new();
    for (name, value) in frame.headers.iter() {
        if name.is_empty() || name == "content-length" {
            continue;
        }
        let name = name.replace('\0', if plain { "_" } else { " " });
        let value = value.replace('\0', " ");
        headers.push(match version {
            _ if plain => (
                name.replace([' ', '\t', '\r', '\n', ':'], "_"),
                value.replace(['\r', '\n'], " "),
            ),
            Version::V1_1 => (name.replace('\r', " "), value.replace('\r', " ")),
            _ => (name, value),
        });
    }
    let names_version = match frame.command {
        Command::Connected => headers.iter().any(|(name, _)| name == "version"),
        _ if bare => headers.iter().any(|(name, _)| name == "accept-version"),
        _ => version != Version::V1_0,
    };
    if !names_version {
        for (_, value) in &mut headers {
            *value = value.trim_matches([' ', '\t']).to_owned();
        }
    }
    let mut seen = Frame::new(frame.command);
    if matches!(
        frame.command,
        Command::Error | Command::Message | Command::Send
    ) {
        headers.push(("content-length".to_owned(), frame.body.len().to_string()));
        seen.body = frame.body.clone();
    }
    seen.headers.extend(headers);
    seen
}

type Outcome = (Vec<Item>, Option<DecodeError>);

struct Setup {
    version: Option<Version>,
    limits: Limits,
}

impl Setup {
    fn new(mode: u8) -> Self {
        let version = usize::from(mode % 4)
            .checked_sub(1)
            .map(|index| Version::ALL[index]);
        let small = Limits {
            header_line: 24,
            headers: 4,
            header_bytes: 64,
            body: 32,
        };
        Self {
            version,
            limits: if mode & 4 == 0 {
                Limits::default()
            } else {
                small
            },
        }
    }

    fn decode(&self, chunks: impl IntoIterator<Item = Bytes>) -> Outcome {
        let mut decoder = Decoder::new(self.limits);
        if let Some(version) = self.version {
            decoder.set_version(version);
        }
        let mut items = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            if let Some(error) = drain(&mut decoder, &mut items) {
                assert_eq!(decoder.decode(), Err(error.clone()), "an error stays");
                assert_eq!(decoder.buffered(), 0, "nothing is held after an error");
                return (items, Some(error));
            }
            let most = self.limits.header_bytes + self.limits.body + 1;
            assert!(
                decoder.buffered() <= most,
                "{} of {most} bytes",
                decoder.buffered()
            );
            let _ = decoder.receipt();
        }
        (items, None)
    }
}

/// Takes what is there; heart-beats in a row count as one, as cuts may part them.
fn drain(decoder: &mut Decoder, items: &mut Vec<Item>) -> Option<DecodeError> {
    loop {
        match decoder.decode() {
            Ok(None) => return None,
            Ok(Some(Item::HeartBeat)) if items.last() == Some(&Item::HeartBeat) => {}
            Ok(Some(item)) => items.push(item),
            Err(error) => return Some(error),
        }
    }
}

/// Chunks of these sizes in turn; of one byte if there is none.
fn cut(wire: &Bytes, sizes: &[u8]) -> Vec<Bytes> {
    let mut sizes = sizes.iter().map(|size| usize::from(*size) + 1).cycle();
    let mut rest = wire.clone();
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        chunks.push(rest.split_to(sizes.next().unwrap_or(1).min(rest.len())));
    }
    chunks
}

/// A frame that was read as 1.2 is written and read as itself; only `content-length` is anew.
fn read_again(item: &Item) {
    let Item::Frame(frame) = item else { return };
    if !matches!(
        frame.command,
        Command::Connect | Command::Connected | Command::Stomp
    ) {
        let mut decoder = Decoder::default();
        decoder.set_version(Version::V1_2);
        decoder.push(frame.encode(Version::V1_2));
        let Ok(Some(Item::Frame(again))) = decoder.decode() else {
            panic!("{frame:?} is not read again");
        };
        assert_eq!(
            without_length(&again.headers),
            without_length(&frame.headers)
        );
        assert_eq!(again.body, frame.body);
    }
}

fn without_length(headers: &Headers) -> Vec<(&str, &str)> {
    headers
        .iter()
        .filter(|(name, _)| *name != "content-length")
        .collect()
}
