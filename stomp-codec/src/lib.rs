//! A sans-I/O codec for [STOMP] 1.0, 1.1 and 1.2, for servers and for clients.
//!
//! A [`Decoder`] takes bytes in chunks of any size and returns frames as slices of the chunks. A
//! [`Frame`] or a [`FrameWriter`] encodes frames. The crate does no I/O, reads no clock and starts
//! no tasks; handling the frames is left to the caller.
//!
//! ```
//! use stomp_codec::{Command, Decoder, Frame, Item, Limits, Version};
//!
//! # fn main() -> Result<(), stomp_codec::DecodeError> {
//! let sent = Frame::new(Command::Send)
//!     .with_header("destination", "/queue/a")
//!     .with_header("note", "colons: escaped")
//!     .with_body("hello");
//!
//! let mut decoder = Decoder::new(Limits::default());
//! decoder.set_version(Version::V1_2);
//! decoder.push(sent.encode(Version::V1_2));
//!
//! let Some(Item::Frame(frame)) = decoder.decode()? else { panic!("a whole frame was pushed") };
//! assert_eq!(frame.header("note"), Some("colons: escaped"));
//! assert_eq!(frame.header("content-length"), Some("5"));
//! assert_eq!(frame.body, sent.body);
//! # Ok(())
//! # }
//! ```
//!
//! # Versions
//!
//! The first frame, CONNECT or STOMP, lists the client's versions in `accept-version`;
//! [`Version::negotiate`] selects one. Until [`Decoder::set_version`] is called nothing is
//! unescaped. CONNECT, STOMP and CONNECTED are not escaped or unescaped in any version.
//!
//! | | 1.0 | 1.1 | 1.2 |
//! |---|---|---|---|
//! | escapes | none | `\n \c \\` | `\r \n \c \\` |
//! | another backslash, read | literal | literal | [error](DecodeError::UndefinedEscape) |
//! | padding around names and values, read | trimmed | kept | kept |
//! | LF in a value, written | space | `\n` | `\n` |
//! | CR in a value, written | space | space | `\r` |
//! | NUL in a header, written | space | space | space |
//! | colon, space or end of line in a name, written | `_` | escaped, space kept | escaped, space kept |
//!
//! # Leniences
//!
//! Input that is accepted beyond the letter of the specification, and the reason.
//!
//! | leniency | versions | why |
//! |---|---|---|
//! | CR LF ends command and header lines | all (the letter: 1.2) | libraries on Windows; the version of the first frame is not known when it is read |
//! | undefined escapes and a backslash at the end are literal | 1.1 | stomp.js neither escapes nor unescapes in 1.1: `C:\temp` arrives raw |
//! | a raw CR inside a header | all | legal in 1.1, harmless in the others |
//! | colons in a value need no escape; the first colon of the line splits | all | `host:127.0.0.1:61613` in CONNECT; stomp.js in 1.1 |
//! | spaces and tabs around names and values are trimmed | 1.0; CONNECT and STOMP without `accept-version`; CONNECTED without `version` | the examples of the 1.0 specification are padded |
//! | STOMP is a command | all (the letter: 1.1 and later) | the version of the first frame is not known when it is read |
//! | `content-length` on every command | all (the letter: 1.2) | otherwise the next frame is misread |
//! | leading zeros in `content-length` | all | still a number |
//! | repeated headers, also of `content-length`; the first is effective | all (the letter: 1.2) | forwarded headers must stay complete |
//! | a body on a frame other than SEND, MESSAGE and ERROR is read and dropped | all | 1.0 requires it; some clients send an extra empty line |
//! | stray NULs between frames are skipped | all | React Native: `appendMissingNULLonIncoming` and similar options |
//! | CRs between frames are skipped, also without LF | all | halves of CR LF |
//! | EOLs before the first frame | all | heart-beats of clients whose timers start early |
//! | header text may be any UTF-8 | all (the letter: 1.1 and later) | 1.0 in practice |
//!
//! # Refusals
//!
//! Everything else is a [`DecodeError`], whose text says what to look for. After an error the
//! decoder ignores further input, because the end of the faulty frame is unknown.
//!
//! | fault | versions | error |
//! |---|---|---|
//! | a command in small letters, or with spaces | all: commands and names are case-sensitive, `Content-Length` is an ordinary header | [`UnknownCommand`](DecodeError::UnknownCommand) |
//! | `content-length` with other characters than digits | all (in 1.0 after trimming) | [`InvalidContentLength`](DecodeError::InvalidContentLength) |
//! | `content-length` that is too small or too large | all | [`MissingNul`](DecodeError::MissingNul): characters counted instead of bytes, a body cut at a NUL, a split emoji; too small by chance before a NUL: [`UnknownCommand`](DecodeError::UnknownCommand) |
//! | a body with a NUL and no `content-length` | all | the NUL ends the frame; mostly [`UnknownCommand`](DecodeError::UnknownCommand) for the rest |
//! | no NUL at the end | all | none: the frame is incomplete until a limit is exceeded |
//! | a NUL before the blank line | all | [`NulInHeaders`](DecodeError::NulInHeaders) |
//! | a line without colon | all | [`HeaderWithoutColon`](DecodeError::HeaderWithoutColon) |
//! | an empty name (in 1.0 also one of padding only) | all | [`EmptyHeaderName`](DecodeError::EmptyHeaderName) |
//! | headers that are not UTF-8 | all | [`InvalidUtf8`](DecodeError::InvalidUtf8) |
//! | an undefined escape | 1.2 | [`UndefinedEscape`](DecodeError::UndefinedEscape) |
//!
//! # Limits and memory
//!
//! [`Limits`] are checked while bytes arrive. After [`Decoder::decode`] has returned `None`, the
//! decoder holds at most one incomplete frame within them, in its own memory, and no reference to a
//! pushed chunk; between frames it holds no heap. The work per byte is constant, however small the
//! chunks are: nothing is searched again when more arrives.
//!
//! A frame keeps the chunk alive from which it was sliced: copy what is stored for long.
//!
//! [STOMP]: https://stomp.github.io/stomp-specification-1.2.html
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
#![forbid(unsafe_code)]

mod block;
mod decoder;
mod encode;
mod error;
mod escape;
mod frame;
mod headers;
mod input;
mod limits;
mod parse;
mod version;

pub use decoder::{Decoder, Item};
pub use encode::{FrameWriter, write_header, write_headers};
pub use error::{DecodeError, DecodeErrorKind};
pub use frame::{Command, Frame};
pub use headers::Headers;
pub use limits::Limits;
pub use version::Version;

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
