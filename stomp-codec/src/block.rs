//! Converts the raw lines of a header block to [`Headers`].
//!
//! All version differences in reading headers are handled here, at the end of the block, when it is
//! known whether a CONNECT has an `accept-version`.

use bytes::Bytes;
use bytestring::ByteString;
use memchr::memchr;

use crate::{
    Command, DecodeError, Headers, Version,
    escape::{Escaping, Undefined},
    headers::{Line, Lines},
};

/// Creates headers from a block and the positions of its lines. The block is shared, unless
/// something in it has to be unescaped or trimmed.
pub(crate) fn headers(
    block: Bytes,
    lines: Lines,
    command: Command,
    version: Option<Version>,
) -> Result<Headers, DecodeError> {
    if is_padded_version(&block, &lines, command, version) {
        if lines.iter().any(|line| is_padded(&block, *line)) {
            return trimmed(text(&block, &lines)?, &lines);
        }
    } else if let Some(version) = version.filter(|_| command.is_escaped())
        && memchr(b'\\', &block).is_some()
    {
        return unescaped(text(&block, &lines)?, &lines, version);
    }
    match ByteString::try_from(block) {
        Ok(block) => Ok(Headers::from_block(block, lines)),
        Err(fault) => Err(not_utf8(fault.valid_up_to(), &lines)),
    }
}

/// Returns the number in a `content-length` header; `u64::MAX` stands for all larger numbers.
pub(crate) fn content_length(headers: &Headers) -> Result<Option<u64>, DecodeError> {
    let Some(value) = headers.get("content-length") else {
        return Ok(None);
    };
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = value
            .chars()
            .take(EXCERPT)
            .flat_map(char::escape_debug)
            .collect();
        return Err(DecodeError::InvalidContentLength { value });
    }
    let digits = value.bytes().map(|digit| u64::from(digit - b'0'));
    Ok(Some(digits.fold(0, |sum: u64, digit| {
        sum.saturating_mul(10).saturating_add(digit)
    })))
}

/// Returns the `receipt` header from a block that may be incomplete or faulty.
pub(crate) fn receipt(block: &[u8], version: Option<Version>) -> Option<String> {
    let lines = block.split_inclusive(|byte| *byte == b'\n');
    let complete = lines.filter_map(|line| line.strip_suffix(b"\n"));
    let texts = complete.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let value = texts
        .take_while(|line| !line.is_empty() && memchr(0, line).is_none())
        .find_map(|line| line.strip_prefix(b"receipt:"))?;
    let value = std::str::from_utf8(value).ok()?;
    let mut receipt = String::new();
    match version {
        None => receipt.push_str(value),
        Some(Version::V1_0) => receipt.push_str(value.trim_matches(PADDING)),
        Some(version) => Escaping::of_version(version)
            .resolve(value, &mut receipt)
            .ok()?,
    }
    Some(receipt)
}

/// Whether names and values may be padded: in 1.0, and in a first frame that does not announce a
/// later version.
fn is_padded_version(
    block: &[u8],
    lines: &Lines,
    command: Command,
    version: Option<Version>,
) -> bool {
    let has = |name: &[u8]| lines.iter().any(|line| &block[line.name()] == name);
    match command {
        Command::Connect | Command::Stomp => !has(b"accept-version"),
        Command::Connected => !has(b"version"),
        _ => version == Some(Version::V1_0),
    }
}

fn is_padded(block: &[u8], line: Line) -> bool {
    let ends = [&block[line.name()], &block[line.value()]].map(|part| [part.first(), part.last()]);
    ends.as_flattened()
        .iter()
        .any(|end| matches!(end, Some(b' ' | b'\t')))
}

fn text<'a>(block: &'a [u8], lines: &Lines) -> Result<&'a str, DecodeError> {
    simdutf8::compat::from_utf8(block).map_err(|fault| not_utf8(fault.valid_up_to(), lines))
}

fn not_utf8(at: usize, lines: &Lines) -> DecodeError {
    let index = lines
        .iter()
        .take_while(|line| line.value().end <= at)
        .count();
    DecodeError::InvalidUtf8 {
        line: line_number(index),
    }
}

fn trimmed(text: &str, lines: &Lines) -> Result<Headers, DecodeError> {
    let is_padding = |line: &Line| text[line.name()].trim_matches(PADDING).is_empty();
    if let Some(index) = lines.iter().position(is_padding) {
        return Err(DecodeError::EmptyHeaderName {
            line: line_number(index),
        });
    }
    rebuilt(text, lines, |part, out, _| {
        out.push_str(part.trim_matches(PADDING));
        Ok(())
    })
}

fn unescaped(text: &str, lines: &Lines, version: Version) -> Result<Headers, DecodeError> {
    let escaping = Escaping::of_version(version);
    rebuilt(text, lines, |part, out, index| {
        escaping
            .resolve(part, out)
            .map_err(|Undefined(code)| DecodeError::UndefinedEscape {
                line: line_number(index),
                sequence: std::iter::once('\\')
                    .chain(code.into_iter().flat_map(char::escape_debug))
                    .collect(),
                version,
            })
    })
}

/// Copies names and values through `write`, which must not lengthen them, into a new block.
fn rebuilt(
    text: &str,
    lines: &Lines,
    write: impl Fn(&str, &mut String, usize) -> Result<(), DecodeError>,
) -> Result<Headers, DecodeError> {
    let mut block = String::with_capacity(text.len());
    let mut places = Lines::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let start = block.len();
        write(&text[line.name()], &mut block, index)?;
        let colon = block.len();
        block.push(':');
        write(&text[line.value()], &mut block, index)?;
        places.push(Line::new(start, colon, block.len()));
    }
    Ok(Headers::from_block(ByteString::from(block), places))
}

/// Returns the line number in the frame; the command line is the first.
pub(crate) const fn line_number(header: usize) -> usize {
    header + 2
}

const PADDING: [char; 2] = [' ', '\t'];

/// Maximum number of characters of a faulty value that an error repeats.
const EXCERPT: usize = 32;
