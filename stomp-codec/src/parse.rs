//! The grammar of a frame as nom parsers, named as in "Augmented BNF" of STOMP 1.2:
//!
//! ```text
//! frame-stream = 1*frame
//! frame        = command EOL *( header EOL ) EOL *BYTE NULL *( EOL )
//! header       = header-name ":" header-value
//! EOL          = [CR] LF
//! ```
//!
//! Rules that may reach the end of the available input are streaming: they return
//! [`nom::Err::Incomplete`] and receive in the next call the number of bytes already `seen`, so
//! that nothing is searched twice. `memchr` finds the terminators. The rules do not depend on
//! versions; what is optional in one of them is accepted here and checked in `decoder`.

use memchr::{memchr, memchr2};
use nom::{
    IResult, Needed, Parser,
    bytes::{
        complete::{tag as colon, take_while},
        streaming::tag,
    },
    combinator::{opt, rest},
    error::{ErrorKind, ParseError},
    sequence::{pair, separated_pair, terminated},
};

use crate::Command;

/// Why a rule does not match. The decoder adds line and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The line does not end within its limit.
    LineTooLong,
    /// The body does not end within its limit.
    BodyTooLong,
    /// A NUL before the end of the header block.
    Nul,
    /// The line is not a command.
    NoCommand,
    /// The line has no colon.
    NoColon,
    /// The name before the colon is empty.
    NoName,
    /// The byte after a counted body is not a NUL.
    NoNul,
}

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Fault>;

/// A line of the header block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderLine<'a> {
    /// The line that ends the block.
    Blank,
    /// A header in its raw form.
    Header(&'a [u8], &'a [u8]),
}

/// The bytes allowed between frames: EOLs, which are heart-beats, and stray NULs.
pub(crate) fn between_frames(input: &[u8]) -> Parsed<'_, &[u8]> {
    take_while(|byte| matches!(byte, b'\n' | b'\r' | b'\0')).parse(input)
}

/// `command EOL`
pub(crate) fn command_line(input: &[u8], seen: usize, limit: usize) -> Parsed<'_, Command> {
    let (input, text) = line(input, seen, limit)?;
    let command = Command::from_bytes(text).ok_or(nom::Err::Failure(Fault::NoCommand))?;
    Ok((input, command))
}

/// `header EOL` or the final `EOL` of a header block.
#[inline]
pub(crate) fn header_line(input: &[u8], seen: usize, limit: usize) -> Parsed<'_, HeaderLine<'_>> {
    let (input, text) = line(input, seen, limit)?;
    if text.is_empty() {
        return Ok((input, HeaderLine::Blank));
    }
    let (_, (name, value)) = header(text)?;
    Ok((input, HeaderLine::Header(name, value)))
}

/// `header = header-name ":" header-value`; splits at the first colon, values may have more.
#[inline]
fn header(line: &[u8]) -> Parsed<'_, (&[u8], &[u8])> {
    separated_pair(header_name, colon(":"), rest).parse(line)
}

#[inline]
fn header_name(line: &[u8]) -> Parsed<'_, &[u8]> {
    match memchr(b':', line) {
        None => Err(nom::Err::Failure(Fault::NoColon)),
        Some(0) => Err(nom::Err::Failure(Fault::NoName)),
        Some(at) => Ok((&line[at..], &line[..at])),
    }
}

/// A line without its EOL, which must end within `limit` bytes.
#[inline]
fn line(input: &[u8], seen: usize, limit: usize) -> Parsed<'_, &[u8]> {
    terminated(|input| line_text(input, seen, limit), eol).parse(input)
}

/// The text before the EOL; one CR belongs to the EOL.
#[inline]
fn line_text(input: &[u8], seen: usize, limit: usize) -> Parsed<'_, &[u8]> {
    let within = &input[..input.len().min(limit)];
    match memchr2(b'\n', b'\0', &within[seen.min(within.len())..]).map(|at| at + seen) {
        Some(at) if input[at] == b'\0' => Err(nom::Err::Failure(Fault::Nul)),
        Some(at) => {
            let end = if at > 0 && input[at - 1] == b'\r' {
                at - 1
            } else {
                at
            };
            Ok((&input[end..], &input[..end]))
        }
        None if input.len() >= limit => Err(nom::Err::Failure(Fault::LineTooLong)),
        None => Err(nom::Err::Incomplete(Needed::Unknown)),
    }
}

/// `EOL = [CR] LF`
#[inline]
fn eol(input: &[u8]) -> Parsed<'_, ()> {
    pair(opt(tag("\r")), tag("\n")).map(|_| ()).parse(input)
}

/// `*BYTE NULL` of a known length; returns the length.
pub(crate) fn counted_body(input: &[u8], length: usize) -> Parsed<'_, usize> {
    match input.get(length) {
        Some(0) => Ok((&input[length + 1..], length)),
        Some(_) => Err(nom::Err::Failure(Fault::NoNul)),
        None => Err(nom::Err::Incomplete(Needed::new(length + 1 - input.len()))),
    }
}

/// `*BYTE NULL` that ends at the first NUL; returns its length, at most `limit`.
pub(crate) fn body_until_nul(input: &[u8], seen: usize, limit: usize) -> Parsed<'_, usize> {
    let within = &input[..input.len().min(limit.saturating_add(1))];
    match memchr(0, &within[seen.min(within.len())..]).map(|at| at + seen) {
        Some(length) => Ok((&input[length + 1..], length)),
        None if input.len() > limit => Err(nom::Err::Failure(Fault::BodyTooLong)),
        None => Err(nom::Err::Incomplete(Needed::Unknown)),
    }
}

/// The rules create all faults; nom's combinators only pass them on.
impl ParseError<&[u8]> for Fault {
    fn from_error_kind(_: &[u8], _: ErrorKind) -> Self {
        Self::NoColon
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

#[cfg(test)]
mod tests {
    use nom::Err::{Failure, Incomplete};

    use super::*;

    #[test]
    fn one_cr_before_the_lf_is_removed() {
        assert_eq!(line(b"a\r\nb", 0, 9), Ok((&b"b"[..], &b"a"[..])));
        assert_eq!(line(b"a\r\r\n", 0, 9), Ok((&b""[..], &b"a\r"[..])));
        assert_eq!(line(b"\r\n", 0, 9), Ok((&b""[..], &b""[..])));
    }

    #[test]
    fn the_first_colon_splits() {
        assert_eq!(header(b"a:b:c"), Ok((&b""[..], (&b"a"[..], &b"b:c"[..]))));
        assert_eq!(header(b"a:"), Ok((&b""[..], (&b"a"[..], &b""[..]))));
        assert_eq!(header(b":a"), Err(Failure(Fault::NoName)));
        assert_eq!(header(b"a"), Err(Failure(Fault::NoColon)));
    }

    #[test]
    fn a_line_that_cannot_end_within_its_limit_fails_before_its_end() {
        assert_eq!(line(b"abc", 0, 4), Err(Incomplete(Needed::Unknown)));
        assert_eq!(line(b"abc\n", 0, 4), Ok((&b""[..], &b"abc"[..])));
        assert_eq!(line(b"abcd", 0, 4), Err(Failure(Fault::LineTooLong)));
        assert_eq!(line(b"abcd\n", 3, 4), Err(Failure(Fault::LineTooLong)));
    }

    #[test]
    fn what_has_been_seen_is_not_searched_again() {
        assert_eq!(body_until_nul(b"\0\0", 1, 9), Ok((&b""[..], 1)));
        assert_eq!(line(b"\n\n", 1, 9), Ok((&b""[..], &b"\n"[..])));
    }

    #[test]
    fn bodies_end_where_they_are_said_to() {
        assert_eq!(counted_body(b"a\0b\0c", 3), Ok((&b"c"[..], 3)));
        assert_eq!(counted_body(b"abc", 2), Err(Failure(Fault::NoNul)));
        assert_eq!(counted_body(b"abc", 5), Err(Incomplete(Needed::new(3))));
        assert_eq!(body_until_nul(b"ab\0", 0, 2), Ok((&b""[..], 2)));
        assert_eq!(
            body_until_nul(b"abc", 0, 2),
            Err(Failure(Fault::BodyTooLong))
        );
    }
}
