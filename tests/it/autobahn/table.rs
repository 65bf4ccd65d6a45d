//! Reads `cases.txt`, which describes its own format.

use std::mem;

use support::websocket::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, masked};

/// One case of the suite.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) id: String,
    pub(super) rating: Rating,
    pub(super) pieces: Pieces,
    pub(super) sent: Vec<Step>,
    /// What a strict server does.
    pub(super) strict: Vec<Event>,
    /// What a server may do that is not strict.
    pub(super) lenient: Option<Vec<Event>>,
    pub(super) end: End,
}

/// How the suite rates a server in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rating {
    Ok,
    NonStrict,
    Informational,
}

/// In which pieces a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    /// All frames up to a wait together.
    Whole,
    Frames,
    /// Pieces of so many bytes.
    Bytes(usize),
}

impl Pieces {
    /// Cuts what is sent together.
    pub(super) fn cut(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        bytes.chunks(match self {
            Self::Whole | Self::Frames => bytes.len().max(1),
            Self::Bytes(size) => size,
        })
    }
}

#[derive(Debug)]
pub(super) enum Step {
    Frame(Frame),
    /// Until all that is expected has arrived.
    Then,
}

/// A frame of the client.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// Its first byte.
    pub(super) first: u8,
    pub(super) payload: Vec<u8>,
    /// Where in the payload the client waits.
    waits: Vec<usize>,
    /// Maximum size of each of the frames that this is split into.
    split: Option<usize>,
}

/// What a client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// Nothing arrived during a wait.
    Timeout,
}

/// How the connection ends, with the code of the server's Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server replies to the client's Close.
    Closes(Option<u16>),
    /// The server finds a fault.
    Fails(u16),
}

#[derive(Debug)]
enum Token {
    Word(String),
    Bytes(Vec<u8>),
}

/// Returns the cases in their order.
pub(super) fn cases() -> Vec<Case> {
    let text = include_str!("cases.txt").replace("\n  ", " ");
    let is_case = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().filter(is_case).map(Case::parse).collect()
}

impl Case {
    fn parse(line: &str) -> Self {
        let (head, rest) = line.split_once(": ").unwrap();
        let (id, rating) = head.split_once(' ').unwrap();
        let parts: Vec<_> = rest.split(" -> ").collect();
        let [sent, received, end] = parts[..] else {
            panic!("{line}");
        };
        let (pieces, sent) = steps(tokens(sent));
        let mut received = tokens(received).into_iter();
        let is_word = |token: &Token| !matches!(token, Token::Word(word) if word == "or");
        let strict: Vec<_> = received.by_ref().take_while(is_word).collect();
        let lenient: Vec<_> = received.collect();
        Self {
            id: id.to_owned(),
            rating: match rating {
                "OK" => Rating::Ok,
                "NON-STRICT" => Rating::NonStrict,
                "INFORMATIONAL" => Rating::Informational,
                _ => panic!("{line}"),
            },
            pieces,
            sent,
            strict: events(strict),
            lenient: (!lenient.is_empty()).then(|| events(lenient)),
            end: match end.split_once(' ') {
                None => End::Closes(None),
                Some(("closes", code)) => End::Closes(Some(code.parse().unwrap())),
                Some((_, code)) => End::Fails(code.parse().unwrap()),
            },
        }
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.sent.iter().filter_map(|step| match step {
            Step::Frame(frame) => Some(frame),
            Step::Then => None,
        })
    }
}

impl Frame {
    /// Its bytes, cut where the client waits.
    pub(super) fn parts(&self) -> Vec<Vec<u8>> {
        let mut rest = masked(self.first, &self.payload);
        let header = rest.len() - self.payload.len();
        let mut parts = Vec::new();
        let mut from = 0;
        for wait in &self.waits {
            let behind = rest.split_off(header + wait - from);
            parts.push(mem::replace(&mut rest, behind));
            from = header + wait;
        }
        parts.push(rest);
        parts
    }

    /// Begins a frame of a kind such as `text+/rsv1`.
    fn named(name: &str) -> Self {
        let (name, last) = name.strip_suffix('+').map_or((name, FIN), |name| (name, 0));
        let (kind, option) = name.split_once('/').unwrap_or((name, ""));
        let opcode = match kind {
            "continuation" => CONTINUATION,
            "text" => TEXT,
            "binary" => BINARY,
            "close" => CLOSE,
            "ping" => PING,
            "pong" => PONG,
            _ => kind.strip_prefix("opcode-").unwrap().parse().unwrap(),
        };
        let reserved: Option<u8> = option.strip_prefix("rsv").map(|bits| bits.parse().unwrap());
        Self {
            first: last | reserved.unwrap_or(0) << 4 | opcode,
            split: option.parse().ok(),
            ..Self::default()
        }
    }

    /// The frames that it is split into.
    fn fragments(self) -> Vec<Self> {
        let Some(size) = self.split else {
            return vec![self];
        };
        let chunks: Vec<_> = self.payload.chunks(size).collect();
        let last = chunks.len() - 1;
        let fragment = |(number, chunk): (usize, &&[u8])| {
            let opcode = if number == 0 {
                self.first & !FIN
            } else {
                CONTINUATION
            };
            Self {
                first: if number == last { FIN | opcode } else { opcode },
                payload: chunk.to_vec(),
                ..Self::default()
            }
        };
        chunks.iter().enumerate().map(fragment).collect()
    }
}

fn steps(tokens: Vec<Token>) -> (Pieces, Vec<Step>) {
    let (mut pieces, mut steps) = (Pieces::Whole, Vec::new());
    for token in tokens {
        let word = match token {
            Token::Bytes(bytes) => {
                last_frame(&mut steps).payload.extend(bytes);
                continue;
            }
            Token::Word(word) => word,
        };
        if let Ok(code) = word.parse::<u16>() {
            let code = code.to_be_bytes();
            last_frame(&mut steps).payload.extend(code);
        } else if word == "wait" {
            let frame = last_frame(&mut steps);
            frame.waits.push(frame.payload.len());
        } else if word == "then" {
            steps.push(Step::Then);
        } else if word == "by-frame" {
            pieces = Pieces::Frames;
        } else if let Some(size) = word.strip_prefix("by-") {
            pieces = Pieces::Bytes(size.parse().unwrap());
        } else {
            steps.push(Step::Frame(Frame::named(&word)));
        }
    }
    let split = |step| match step {
        Step::Frame(frame) => frame.fragments().into_iter().map(Step::Frame).collect(),
        Step::Then => vec![Step::Then],
    };
    (pieces, steps.into_iter().flat_map(split).collect())
}

fn last_frame(steps: &mut [Step]) -> &mut Frame {
    match steps.last_mut() {
        Some(Step::Frame(frame)) => frame,
        other => panic!("{other:?} is no frame"),
    }
}

fn events(tokens: Vec<Token>) -> Vec<Event> {
    let mut events = Vec::new();
    for token in tokens {
        match token {
            Token::Word(word) => match &word[..] {
                "text" => events.push(Event::Text(Vec::new())),
                "binary" => events.push(Event::Binary(Vec::new())),
                "pong" => events.push(Event::Pong(Vec::new())),
                "timeout" => events.push(Event::Timeout),
                _ => assert_eq!(word, "nothing"),
            },
            Token::Bytes(bytes) => match events.last_mut() {
                Some(Event::Text(payload) | Event::Binary(payload) | Event::Pong(payload)) => {
                    payload.extend(bytes);
                }
                other => panic!("a payload of {other:?}"),
            },
        }
    }
    events
}

fn tokens(mut text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return tokens;
        }
        if let Some(quoted) = text.strip_prefix('"') {
            let (bytes, rest) = unquote(quoted);
            let end = rest.find(' ').unwrap_or(rest.len());
            let times = rest[..end].strip_prefix('*');
            let length = times.map_or(bytes.len(), |length| length.parse().unwrap());
            tokens.push(Token::Bytes(
                bytes.into_iter().cycle().take(length).collect(),
            ));
            text = &rest[end..];
        } else {
            let (word, rest) = text.split_at(text.find(' ').unwrap_or(text.len()));
            tokens.push(Token::Word(word.to_owned()));
            text = rest;
        }
    }
}

/// Returns the bytes up to the closing quote, and what follows it.
fn unquote(text: &str) -> (Vec<u8>, &str) {
    let (mut bytes, mut rest) = (Vec::new(), text);
    loop {
        let (first, behind) = rest.split_at(1);
        rest = behind;
        match first {
            "\"" => return (bytes, rest),
            "\\" if rest.starts_with('x') => {
                bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                rest = &rest[3..];
            }
            "\\" => {
                bytes.push(rest.as_bytes()[0]);
                rest = &rest[1..];
            }
            _ => bytes.extend_from_slice(first.as_bytes()),
        }
    }
}
