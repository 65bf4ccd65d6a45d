//! The state machine around the grammar: chunks in, frames and heart-beats out.
//!
//! ```text
//!             EOLs, NULs       command EOL        blank line
//!   Between ─────────────▶ Command ───────▶ Headers ───────▶ Body
//!      ▲                      │                │               │ NUL
//!      └──────────────────────┼────────────────┼───────────────┘
//!                             └────────▶ Failed ◀──── (also from Body)
//! ```
//!
//! Each state reads its part of a frame from the [`Input`] and consumes it; the state records how
//! much of an incomplete part has been searched.

use std::{borrow::Cow, fmt, mem};

use bytes::Bytes;
use memchr::memchr;

use crate::{
    Command, DecodeError, Frame, Headers, Limits, Version, block,
    headers::{Line, Lines},
    input::{Input, Reach},
    parse::{self, Fault, HeaderLine},
};

/// An item returned by a [`Decoder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A complete frame.
    Frame(Frame),
    /// A sequence of bytes between frames with at least one LF (STOMP 1.2, "Heart-beating").
    ///
    /// One item per sequence of any length, as far as it has been pushed. The LF that some peers
    /// send after each frame is such a sequence.
    HeartBeat,
}

/// Takes bytes in chunks of any size and returns frames.
///
/// Call [`push`](Self::push) with received bytes, then [`decode`](Self::decode) until it returns
/// `None`. A decoder starts in the state of a new connection: headers of the first frame are not
/// unescaped. After negotiation, call [`set_version`](Self::set_version); bytes after the first
/// frame in the same chunk are read by the version that is set when `decode` is called for them.
///
/// Memory: an idle decoder holds no heap. Otherwise it holds what has been pushed and, after
/// `decode` has returned `None`, at most one incomplete frame within its [`Limits`], copied out of
/// the chunk. A frame that is entirely in one chunk is not copied; body and headers are slices of
/// the chunk.
///
/// ```
/// use bytes::Bytes;
/// use stomp_codec::{Command, Decoder, Item, Limits, Version};
///
/// # fn main() -> Result<(), stomp_codec::DecodeError> {
/// let mut decoder = Decoder::new(Limits::default());
/// decoder.set_version(Version::V1_2);
/// decoder.push(Bytes::from_static(b"SEND\ndestination:/queue/a\n\nhel"));
/// assert_eq!(decoder.decode()?, None);
/// decoder.push(Bytes::from_static(b"lo\0\n"));
///
/// let Some(Item::Frame(frame)) = decoder.decode()? else { panic!("a frame") };
/// assert_eq!(frame.command, Command::Send);
/// assert_eq!(frame.header("destination"), Some("/queue/a"));
/// assert_eq!(frame.body, "hello");
/// assert_eq!(decoder.decode()?, Some(Item::HeartBeat));
/// # Ok(())
/// # }
/// ```
pub struct Decoder {
    limits: Limits,
    version: Option<Version>,
    input: Input,
    state: State,
}

enum State {
    Between,
    Command {
        seen: usize,
    },
    Headers(Head),
    Body(Body),
    Failed {
        error: DecodeError,
        receipt: Option<String>,
    },
}

/// A header block of which `lines` have been read.
struct Head {
    command: Command,
    lines: Lines,
    /// Start of the current line.
    next: usize,
    /// Number of bytes of that line already searched for its end.
    seen: usize,
}

/// A body whose headers are complete.
struct Body {
    command: Command,
    headers: Headers,
    /// Whether the headers are a slice of the chunk.
    pinned: bool,
    length: Option<usize>,
    /// Number of bytes of a body without length already searched for a NUL.
    seen: usize,
}

enum Step {
    Done(Item),
    Next,
    Starved,
}

impl Decoder {
    /// Returns a decoder for a new connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: limits.clamped(),
            version: None,
            input: Input::default(),
            state: State::Between,
        }
    }

    /// Reads all later frames by the rules of this version.
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Changes the limits, for example after a login. If the header block of a frame has been read,
    /// its `content-length` is not checked again.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits.clamped();
    }

    /// Adds received bytes. Costs no copy if everything before has been decoded.
    ///
    /// After an error, bytes are ignored.
    pub fn push(&mut self, chunk: Bytes) {
        if !matches!(self.state, State::Failed { .. }) {
            self.input.push(chunk);
        }
    }

    /// Returns the next frame or heart-beat, or `None` if it is incomplete.
    ///
    /// # Errors
    ///
    /// The peer's fault. After that every call returns the same error.
    pub fn decode(&mut self) -> Result<Option<Item>, DecodeError> {
        loop {
            let step = match &self.state {
                State::Between => Ok(self.read_between()),
                State::Command { seen } => self.read_command(*seen),
                State::Headers(_) => self.read_headers(),
                State::Body(_) => self.read_body(),
                State::Failed { error, .. } => return Err(error.clone()),
            };
            match step {
                Ok(Step::Done(item)) => return Ok(Some(item)),
                Ok(Step::Next) => {}
                Ok(Step::Starved) if self.refill() => {}
                Ok(Step::Starved) => {
                    self.set_aside();
                    return Ok(None);
                }
                Err(error) => self.fail(error),
            }
        }
    }

    /// Returns the `receipt` header of the current or failed frame, if it has arrived.
    ///
    /// For the `receipt-id` of an ERROR (STOMP 1.2, "ERROR"). After a fault the rest of the header
    /// block is searched too, as far as it has arrived.
    pub fn receipt(&self) -> Option<String> {
        match &self.state {
            State::Between | State::Command { .. } => None,
            State::Headers(_) => block::receipt(&self.rest(), self.version),
            State::Body(body) => body.headers.get("receipt").map(String::from),
            State::Failed { receipt, .. } => receipt.clone(),
        }
    }

    /// Returns the number of bytes pushed and not yet returned as an item.
    pub fn buffered(&self) -> usize {
        let headers = match &self.state {
            State::Body(body) => body.headers.bytes(),
            _ => 0,
        };
        self.input.len() + headers
    }

    /// Skips EOLs and stray NULs.
    fn read_between(&mut self) -> Step {
        let Ok((rest, skipped)) = parse::between_frames(self.input.window()) else {
            return Step::Starved;
        };
        let (beat, ended) = (memchr(b'\n', skipped).is_some(), rest.is_empty());
        let length = skipped.len();
        self.input.consume(length);
        if !ended {
            self.state = State::Command { seen: 0 };
        }
        match (beat, ended) {
            (true, _) => Step::Done(Item::HeartBeat),
            (false, true) => Step::Starved,
            (false, false) => Step::Next,
        }
    }

    fn read_command(&mut self, seen: usize) -> Result<Step, DecodeError> {
        let window = self.input.window();
        let length = window.len();
        match parse::command_line(window, seen, Limits::COMMAND + 1) {
            Ok((rest, command)) => {
                let line = length - rest.len();
                self.input.consume(line);
                self.state = State::Headers(Head {
                    command,
                    lines: Lines::new(),
                    next: 0,
                    seen: 0,
                });
                Ok(Step::Next)
            }
            Err(nom::Err::Incomplete(_)) => {
                self.state = State::Command { seen: length };
                Ok(Step::Starved)
            }
            Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
                Err(command_error(fault, window))
            }
        }
    }

    fn read_headers(&mut self) -> Result<Step, DecodeError> {
        let State::Headers(head) = &mut self.state else {
            return Ok(Step::Next);
        };
        let window = self.input.window();
        loop {
            let (line_limit, left) = (
                self.limits.header_line,
                self.limits.header_bytes.saturating_sub(head.next),
            );
            let limit = left.min(line_limit.saturating_add(1));
            let input = &window[head.next..];
            match parse::header_line(input, head.seen, limit) {
                Ok((rest, HeaderLine::Header(name, value))) => {
                    if head.lines.len() == self.limits.headers {
                        return Err(DecodeError::TooManyHeaders {
                            limit: self.limits.headers,
                        });
                    }
                    let colon = head.next + name.len();
                    head.lines
                        .push(Line::new(head.next, colon, colon + 1 + value.len()));
                    head.next = window.len() - rest.len();
                    head.seen = 0;
                }
                Ok((rest, HeaderLine::Blank)) => {
                    let end = window.len() - rest.len();
                    return self.end_headers(end);
                }
                Err(nom::Err::Incomplete(_)) => {
                    head.seen = input.len();
                    return Ok(Step::Starved);
                }
                Err(
                    nom::Err::Error(Fault::LineTooLong) | nom::Err::Failure(Fault::LineTooLong),
                ) => {
                    return Err(if limit == left {
                        DecodeError::HeadersTooLong {
                            limit: self.limits.header_bytes,
                        }
                    } else {
                        DecodeError::HeaderLineTooLong { limit: line_limit }
                    });
                }
                Err(nom::Err::Error(fault) | nom::Err::Failure(fault)) => {
                    return Err(header_error(fault, block::line_number(head.lines.len())));
                }
            }
        }
    }

    /// Handles a complete header block: the first `end` bytes, including the blank line.
    fn end_headers(&mut self, end: usize) -> Result<Step, DecodeError> {
        let State::Headers(head) = &mut self.state else {
            return Ok(Step::Next);
        };
        let (command, lines) = (head.command, mem::take(&mut head.lines));
        let (block, pinned) = self.input.share(end);
        let headers = block::headers(block, lines, command, self.version)?;
        let length = match block::content_length(&headers)? {
            None => None,
            Some(announced) => Some(accepted_length(announced, self.limits.body)?),
        };
        self.input.consume(end);
        self.state = State::Body(Body {
            command,
            headers,
            pinned,
            length,
            seen: 0,
        });
        Ok(Step::Next)
    }

    fn read_body(&mut self) -> Result<Step, DecodeError> {
        let State::Body(body) = &mut self.state else {
            return Ok(Step::Next);
        };
        let window = self.input.window();
        let parsed = match body.length {
            Some(length) => parse::counted_body(window, length),
            None => parse::body_until_nul(window, body.seen, self.limits.body),
        };
        match parsed {
            Ok((_, length)) => Ok(Step::Done(Item::Frame(self.end_frame(length)))),
            Err(nom::Err::Incomplete(_)) => {
                body.seen = window.len();
                Ok(Step::Starved)
            }
            Err(nom::Err::Error(_) | nom::Err::Failure(_)) => Err(match body.length {
                Some(announced) => DecodeError::MissingNul { announced },
                None => DecodeError::BodyTooLong {
                    limit: self.limits.body,
                },
            }),
        }
    }

    fn end_frame(&mut self, length: usize) -> Frame {
        let body = self.input.take(length);
        match mem::replace(&mut self.state, State::Between) {
            State::Body(Body {
                command, headers, ..
            }) => {
                let body = if command.has_body() {
                    body
                } else {
                    Bytes::new()
                };
                Frame {
                    command,
                    headers,
                    body,
                }
            }
            _ => unreachable!("called while a body is read"),
        }
    }

    /// Copies from the chunk to the held bytes what the state needs. False if there is nothing.
    fn refill(&mut self) -> bool {
        let reach = match &self.state {
            State::Command { .. } => Reach::Through(b'\n', Limits::COMMAND + 1),
            State::Headers(_) => Reach::Through(b'\n', self.limits.header_line.saturating_add(1)),
            State::Body(Body {
                length: Some(length),
                ..
            }) => Reach::Length(length + 1),
            State::Body(_) => Reach::Through(b'\0', self.limits.body + 1),
            State::Between | State::Failed { .. } => return false,
        };
        self.input.extend_held(reach)
    }

    /// Releases the chunk, whose rest is the start of something incomplete.
    fn set_aside(&mut self) {
        self.input.set_aside();
        if let State::Body(body) = &mut self.state
            && mem::take(&mut body.pinned)
        {
            body.headers.detach();
        }
    }

    fn fail(&mut self, error: DecodeError) {
        let receipt = match &self.state {
            State::Command { .. } => {
                let rest = self.rest();
                let headers = memchr(b'\n', &rest).map(|end| &rest[end + 1..]);
                headers.and_then(|headers| block::receipt(headers, self.version))
            }
            _ => self.receipt(),
        };
        self.state = State::Failed { error, receipt };
        self.input.clear();
    }

    /// Returns what has arrived of the current block, and possibly more.
    fn rest(&self) -> Cow<'_, [u8]> {
        self.input.peek(self.limits.header_bytes)
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

/// Shows the state of the decoder, but not the input, which may contain secrets.
impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Between => "between frames",
            State::Command { .. } => "in a command line",
            State::Headers(_) => "in a header block",
            State::Body(_) => "in a body",
            State::Failed { .. } => "failed",
        };
        f.debug_struct("Decoder")
            .field("version", &self.version)
            .field("limits", &self.limits)
            .field("state", &state)
            .field("buffered", &self.buffered())
            .finish_non_exhaustive()
    }
}

fn accepted_length(announced: u64, limit: usize) -> Result<usize, DecodeError> {
    match usize::try_from(announced) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(DecodeError::BodyTooBig { limit, announced }),
    }
}

fn command_error(fault: Fault, window: &[u8]) -> DecodeError {
    match fault {
        Fault::Nul => DecodeError::NulInHeaders { line: 1 },
        Fault::LineTooLong => DecodeError::CommandTooLong,
        _ => {
            let line = window
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            DecodeError::UnknownCommand {
                command: line.escape_ascii().to_string(),
            }
        }
    }
}

fn header_error(fault: Fault, line: usize) -> DecodeError {
    match fault {
        Fault::Nul => DecodeError::NulInHeaders { line },
        Fault::NoName => DecodeError::EmptyHeaderName { line },
        _ => DecodeError::HeaderWithoutColon { line },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&'static [u8]]) -> Decoder {
        let mut decoder = Decoder::default();
        for piece in pieces {
            decoder.push(Bytes::from_static(piece));
            while decoder.decode().expect("valid so far").is_some() {}
        }
        decoder
    }

    /// Returns the number of bytes of the line or body that the next call still has to search.
    fn unseen(decoder: &Decoder) -> usize {
        let known = match &decoder.state {
            State::Command { seen } | State::Body(Body { seen, .. }) => *seen,
            State::Headers(head) => head.next + head.seen,
            _ => 0,
        };
        decoder.input.len() - known
    }

    #[test]
    fn nothing_is_searched_twice() {
        let wire = b"\nSUBSCRIBE\r\nid:0\r\ndestination:/topic/a\n\nbody without length";
        let mut decoder = Decoder::default();
        for byte in wire {
            decoder.push(Bytes::copy_from_slice(&[*byte]));
            while decoder.decode().expect("valid so far").is_some() {}
            assert_eq!(unseen(&decoder), 0, "{decoder:?}");
        }
    }

    #[test]
    fn lines_that_have_been_read_are_not_read_again() {
        let decoder = fed(&[b"SEND\na:1\n", b"b:2\nc"]);
        let State::Headers(head) = &decoder.state else {
            panic!("{decoder:?}")
        };
        assert_eq!((head.lines.len(), head.next, head.seen), (2, 8, 1));
    }

    #[test]
    fn an_idle_decoder_holds_no_heap() {
        let decoder = fed(&[b"SEND\na:", b"1\n\nbo", b"dy\0\n"]);
        assert!(matches!(decoder.state, State::Between));
        assert!(decoder.input.is_unallocated() && Decoder::default().input.is_unallocated());
    }
}
