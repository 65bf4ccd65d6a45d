//! A sans-I/O codec for [STOMP] 1.0, 1.1 and 1.2, for servers and for clients.
//!
//! Bytes go into a [`Decoder`] in chunks of any size, frames come out as slices of the chunks.
//! A [`Frame`] or a [`FrameWriter`] makes bytes of them again. The crate does no I/O, reads no
//! clock and starts nothing; what to do about a frame is not its business.
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
//! The first frame, CONNECT or STOMP, says by `accept-version` what the client knows;
//! [`Version::negotiate`] chooses. Until [`Decoder::set_version`] is called nothing is unescaped.
//! CONNECT, STOMP and CONNECTED are never escaped nor unescaped, in no version.
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
//! What is accepted beyond the letter of the specification, and for whom.
//!
//! | leniency | versions | why |
//! |---|---|---|
//! | CR LF ends command and header lines | all (the letter: 1.2) | libraries on Windows; the version of the first frame is not known when it is read |
//! | undefined escapes and a backslash at the end are literal | 1.1 | stomp.js neither escapes nor unescapes in 1.1: `C:\temp` arrives raw |
//! | a raw CR inside a header | all | legal in 1.1, harmless in the others |
//! | colons in a value need no escape; the first colon of the line splits | all | `host:127.0.0.1:61613` in CONNECT; stomp.js in 1.1 |
//! | spaces and tabs around names and values are trimmed | 1.0; CONNECT and STOMP without `accept-version`; CONNECTED without `version` | the examples of the 1.0 specification are padded |
//! | STOMP is a command | all (the letter: 1.1 and later) | the version of the first frame is not known when it is read |
//! | `content-length` on every command | all (the letter: 1.2) | its length has to be honoured, or the next frame is misread |
//! | leading zeros in `content-length` | all | a number all the same |
//! | repeated headers, also of `content-length`; the first counts | all (the letter: 1.2) | what is passed on has to stay complete |
//! | a body on a frame other than SEND, MESSAGE and ERROR is read and dropped | all | 1.0 asks for it; clients send an empty line too much |
//! | stray NULs between frames are skipped | all | React Native: `appendMissingNULLonIncoming` and its like |
//! | CRs between frames are skipped, also without LF | all | halves of CR LF |
//! | EOLs before the first frame | all | heart-beats of clients whose timers do not wait |
//! | header text may be any UTF-8 | all (the letter: 1.1 and later) | 1.0 in practice |
//!
//! # Refusals
//!
//! Everything else is a [`DecodeError`], whose text says what to look for. After one the decoder
//! takes nothing more: where the faulty frame ends is not known.
//!
//! | fault | versions | error |
//! |---|---|---|
//! | a command in small letters, or with spaces | all: commands and names are case-sensitive, `Content-Length` is a header like others | [`UnknownCommand`](DecodeError::UnknownCommand) |
//! | `content-length` that is not of digits only | all (in 1.0 after trimming) | [`InvalidContentLength`](DecodeError::InvalidContentLength) |
//! | `content-length` that is too small or too large | all | [`MissingNul`](DecodeError::MissingNul): characters counted instead of bytes, a body cut at a NUL, a split emoji; too small by chance before a NUL: [`UnknownCommand`](DecodeError::UnknownCommand) |
//! | a body with a NUL and no `content-length` | all | the NUL ends the frame; mostly [`UnknownCommand`](DecodeError::UnknownCommand) for the rest |
//! | no NUL at the end | all | none: the frame is unfinished until a limit is passed |
//! | a NUL before the blank line | all | [`NulInHeaders`](DecodeError::NulInHeaders) |
//! | a line without colon | all | [`HeaderWithoutColon`](DecodeError::HeaderWithoutColon) |
//! | an empty name (in 1.0 also one of padding only) | all | [`EmptyHeaderName`](DecodeError::EmptyHeaderName) |
//! | headers that are not UTF-8 | all | [`InvalidUtf8`](DecodeError::InvalidUtf8) |
//! | an undefined escape | 1.2 | [`UndefinedEscape`](DecodeError::UndefinedEscape) |
//!
//! # Limits and memory
//!
//! [`Limits`] are checked while bytes arrive. After [`Decoder::decode`] has given `None`, the
//! decoder holds at most one unfinished frame within them, in memory of its own, and no reference
//! to a pushed chunk; between frames it holds no heap. The work for a byte is constant, however
//! small the chunks are: nothing that has been searched is searched again when more arrives.
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
