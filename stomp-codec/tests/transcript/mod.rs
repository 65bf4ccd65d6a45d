//! Wire transcripts: files that show bytes and what a decoder makes of them.
//!
//! Head and bytes are separated by a line `---`. Lines of the head are comments, or:
//!
//! ```text
//! # version: 1.2               set before the first frame
//! # version-after-first: 1.2   set when the first frame has been decoded
//! # limits: body=4 headers=2   where they differ from the default
//! # frame: SEND                an expected item ...
//! # header: name = value       ... its headers in wire order
//! # body: text                 ... its body, empty if not given
//! # heart-beat                 an expected item
//! # error: label               what the bytes end with
//! # text: part                 is contained in the error's text
//! # receipt: id                what `receipt()` gives at the end; nothing if not given
//! # unfinished                 the bytes end within a frame
//! ```
//!
//! In the bytes, and in values, `^@` is NUL, `^I` tab, `^J` LF, `^M` CR, `^^` a caret and `^xff`
//! the byte ff. The last LF of the file does not belong to the bytes.
#![expect(clippy::unwrap_used, reason = "a faulty transcript is a faulty test")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test uses its part of it"
)]

use std::{fs, path::Path};

use bytes::Bytes;
use stomp_codec::{Command, DecodeError, Decoder, Frame, Item, Limits, Version};

/// One file.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    pub(crate) name: String,
    pub(crate) version: Option<Version>,
    pub(crate) version_after_first: Option<Version>,
    pub(crate) limits: Limits,
    pub(crate) items: Vec<Item>,
    pub(crate) error: Option<String>,
    pub(crate) texts: Vec<String>,
    pub(crate) receipt: Option<String>,
    pub(crate) unfinished: bool,
    pub(crate) wire: Bytes,
}

/// What a decoder made of a transcript.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) items: Vec<Item>,
    pub(crate) error: Option<DecodeError>,
}

/// All transcripts of a folder under `fixtures`.
pub(crate) fn all(folder: &str) -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(folder);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

impl Transcript {
    /// A decoder as the transcript wants it.
    pub(crate) fn decoder(&self) -> Decoder {
        let mut decoder = Decoder::new(self.limits);
        if let Some(version) = self.version {
            decoder.set_version(version);
        }
        decoder
    }

    /// Decodes the bytes in these chunks.
    pub(crate) fn decode(&self, chunks: impl IntoIterator<Item = Bytes>) -> Outcome {
        let mut decoder = self.decoder();
        let mut items = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            let error = self.drain(&mut decoder, &mut items);
            if error.is_some() {
                return Outcome { items, error };
            }
        }
        Outcome { items, error: None }
    }

    /// Takes all items from a decoder; a row of heart-beats is one.
    pub(crate) fn drain(
        &self,
        decoder: &mut Decoder,
        items: &mut Vec<Item>,
    ) -> Option<DecodeError> {
        loop {
            match decoder.decode() {
                Err(error) => return Some(error),
                Ok(None) => return None,
                Ok(Some(Item::HeartBeat)) if items.last() == Some(&Item::HeartBeat) => {}
                Ok(Some(item)) => {
                    if let (Item::Frame(_), Some(version)) = (&item, self.version_after_first) {
                        decoder.set_version(version);
                    }
                    items.push(item);
                }
            }
        }
    }
}

fn read(path: &Path) -> Transcript {
    let text = fs::read_to_string(path).unwrap();
    let (head, wire) = text.split_once("\n---\n").unwrap();
    let mut transcript = Transcript {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        wire: bytes(wire.strip_suffix('\n').unwrap()),
        ..Transcript::default()
    };
    for line in head.lines() {
        let line = line.strip_prefix('#').unwrap().trim();
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        expect(&mut transcript, key, value.trim_start());
    }
    transcript
}

fn expect(transcript: &mut Transcript, key: &str, value: &str) {
    match key {
        "version" => transcript.version = Some(version(value)),
        "version-after-first" => transcript.version_after_first = Some(version(value)),
        "limits" => value
            .split(' ')
            .for_each(|limit| set_limit(&mut transcript.limits, limit)),
        "frame" => transcript.items.push(Item::Frame(Frame::new(
            Command::from_bytes(value.as_bytes()).unwrap(),
        ))),
        "header" => {
            let (name, value) = value.split_once(" =").unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            last_frame(transcript)
                .headers
                .push(&string(name), &string(value));
        }
        "body" => last_frame(transcript).body = bytes(value),
        "heart-beat" => transcript.items.push(Item::HeartBeat),
        "error" => transcript.error = Some(value.to_owned()),
        "text" => transcript.texts.push(value.to_owned()),
        "receipt" => transcript.receipt = Some(string(value)),
        "unfinished" => transcript.unfinished = true,
        _ => {}
    }
}

fn version(text: &str) -> Version {
    Version::ALL
        .into_iter()
        .find(|version| version.as_str() == text)
        .unwrap()
}

fn set_limit(limits: &mut Limits, text: &str) {
    let (name, value) = text.split_once('=').unwrap();
    let limit = match name {
        "header_line" => &mut limits.header_line,
        "headers" => &mut limits.headers,
        "header_bytes" => &mut limits.header_bytes,
        "body" => &mut limits.body,
        _ => panic!("no limit: {name}"),
    };
    *limit = value.parse().unwrap();
}

fn last_frame(transcript: &mut Transcript) -> &mut Frame {
    match transcript.items.last_mut() {
        Some(Item::Frame(frame)) => frame,
        _ => panic!("{}: no frame to describe", transcript.name),
    }
}

fn string(text: &str) -> String {
    String::from_utf8(bytes(text).to_vec()).unwrap()
}

fn bytes(text: &str) -> Bytes {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, used) = match (first, behind) {
            (b'^', [b'@', ..]) => (0, 1),
            (b'^', [b'I', ..]) => (b'\t', 1),
            (b'^', [b'J', ..]) => (b'\n', 1),
            (b'^', [b'M', ..]) => (b'\r', 1),
            (b'^', [b'^', ..]) => (b'^', 1),
            (b'^', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                (
                    u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap(),
                    3,
                )
            }
            (b'^', _) => panic!("no such byte: ^{}", behind.escape_ascii()),
            (plain, _) => (*plain, 0),
        };
        out.push(byte);
        rest = &behind[used..];
    }
    Bytes::from(out)
}
