//! Encodes frames.

use bytes::Bytes;

use crate::{
    Command, Frame, Headers, Version,
    escape::{Escaping, Part},
};

/// Appends one frame to a buffer, without allocations of its own.
///
/// Headers are escaped for the version of the receiver; characters that a version cannot express
/// become spaces, so that no header can end its line or its frame. Headers of CONNECT, STOMP and
/// CONNECTED are never escaped (STOMP 1.2, "Value Encoding").
///
/// A frame is complete only after [`body`](Self::body) or [`no_body`](Self::no_body).
///
/// ```
/// use stomp_codec::{Command, FrameWriter, Version};
///
/// let mut out = Vec::new();
/// FrameWriter::new(&mut out, Version::V1_2, Command::Message)
///     .header("destination", "/topic/a")
///     .header("subscription", "0")
///     .header("message-id", "7")
///     .body(b"hello");
/// assert!(out.ends_with(b"content-length:5\n\nhello\0"));
/// ```
#[derive(Debug)]
#[must_use = "a frame ends with `body` or `no_body`"]
pub struct FrameWriter<'a> {
    out: &'a mut Vec<u8>,
    escaping: Escaping,
}

impl<'a> FrameWriter<'a> {
    /// Starts a frame with its command line.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, version: Version, command: Command) -> Self {
        let escaping = Escaping::of_frame(version, command);
        out.extend_from_slice(command.as_str().as_bytes());
        out.push(b'\n');
        Self { out, escaping }
    }

    /// Writes a header. Omits `content-length`, which [`body`](Self::body) writes, and a header
    /// with an empty name, which the grammar does not allow.
    #[inline]
    pub fn header(self, name: &str, value: &str) -> Self {
        header_line(self.out, self.escaping, name, value);
        self
    }

    /// Writes `content-length` and the body, and ends the frame.
    #[inline]
    pub fn body(self, body: &[u8]) {
        let mut digits = itoa::Buffer::new();
        let length = digits.format(body.len()).as_bytes();
        self.out
            .reserve(CONTENT_LENGTH.len() + length.len() + body.len() + 3);
        self.out.extend_from_slice(CONTENT_LENGTH);
        self.out.extend_from_slice(length);
        self.out.extend_from_slice(b"\n\n");
        self.out.extend_from_slice(body);
        self.out.push(b'\0');
    }

    /// Ends the frame without `content-length` and body.
    #[inline]
    pub fn no_body(self) {
        self.out.extend_from_slice(b"\n\0");
    }
}

/// Writes one header line with its LF, escaped for `version`. Omits `content-length` and a header
/// with an empty name, like [`FrameWriter::header`].
///
/// Only for frames whose headers are escaped, so not for CONNECT, STOMP and CONNECTED.
#[inline]
pub fn write_header(out: &mut Vec<u8>, version: Version, name: &str, value: &str) {
    header_line(out, Escaping::of_version(version), name, value);
}

/// Writes the headers whose names `keep` accepts, in order, including repeats.
#[inline]
pub fn write_headers(
    out: &mut Vec<u8>,
    version: Version,
    headers: &Headers,
    keep: impl Fn(&str) -> bool,
) {
    for (name, value) in headers.iter().filter(|(name, _)| keep(name)) {
        write_header(out, version, name, value);
    }
}

#[inline]
fn header_line(out: &mut Vec<u8>, escaping: Escaping, name: &str, value: &str) {
    if !is_written(name) {
        return;
    }
    out.reserve(name.len() + value.len() + 2);
    escaping.write(out, name, Part::Name);
    out.push(b':');
    escaping.write(out, value, Part::Value);
    out.push(b'\n');
}

/// Encodes a whole frame in one allocation.
pub(crate) fn frame(frame: &Frame, version: Version) -> Bytes {
    let length = encoded_len(frame, version);
    let mut out = Vec::with_capacity(length);
    let mut writer = FrameWriter::new(&mut out, version, frame.command);
    for (name, value) in written_headers(frame) {
        writer = writer.header(name, value);
    }
    if frame.command.has_body() {
        writer.body(&frame.body);
    } else {
        writer.no_body();
    }
    debug_assert_eq!(out.len(), length, "the length that was reserved is exact");
    Bytes::from(out)
}

fn encoded_len(frame: &Frame, version: Version) -> usize {
    let escaping = Escaping::of_frame(version, frame.command);
    let headers: usize = written_headers(frame)
        .map(|(name, value)| escaping.len(name, Part::Name) + escaping.len(value, Part::Value) + 2)
        .sum();
    let ends = frame.command.as_str().len() + 1 + headers + 2;
    if frame.command.has_body() {
        let digits = itoa::Buffer::new().format(frame.body.len()).len();
        ends + CONTENT_LENGTH.len() + digits + 1 + frame.body.len()
    } else {
        ends
    }
}

fn written_headers(frame: &Frame) -> impl Iterator<Item = (&str, &str)> {
    frame.headers.iter().filter(|(name, _)| is_written(name))
}

/// A second `content-length` could end the frame elsewhere; a header must have a name.
#[inline]
fn is_written(name: &str) -> bool {
    !name.is_empty() && name != "content-length"
}

const CONTENT_LENGTH: &[u8] = b"content-length:";

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: &Frame, version: Version) -> String {
        String::from_utf8(frame.encode(version).to_vec()).unwrap()
    }

    #[test]
    fn headers_of_connected_are_safe_and_not_escaped() {
        let frame = Frame::new(Command::Connected).with_header("a:b", "1:2\\\n\0");
        for version in Version::ALL {
            assert_eq!(text(&frame, version), "CONNECTED\na_b:1:2\\  \n\n\0");
        }
    }

    #[test]
    fn content_length_is_computed_and_sent_once() {
        let frame = Frame::new(Command::Send)
            .with_header("content-length", "99")
            .with_body("abc");
        assert_eq!(
            text(&frame, Version::V1_1),
            "SEND\ncontent-length:3\n\nabc\0"
        );
        let empty = Frame::new(Command::Message);
        assert_eq!(
            text(&empty, Version::V1_0),
            "MESSAGE\ncontent-length:0\n\n\0"
        );
    }

    #[test]
    fn a_command_without_a_body_is_sent_without_one() {
        let frame = Frame::new(Command::Receipt)
            .with_header("content-length", "3")
            .with_body("abc");
        assert_eq!(text(&frame, Version::V1_2), "RECEIPT\n\n\0");
    }

    #[test]
    fn a_header_without_a_name_is_left_out() {
        let frame = Frame::new(Command::Receipt)
            .with_header("", "x")
            .with_header("a", "");
        assert_eq!(text(&frame, Version::V1_2), "RECEIPT\na:\n\n\0");
    }

    #[test]
    fn only_wanted_headers_are_written() {
        let headers: Headers = [("a", "1"), ("b", "2"), ("a", "3:")].into_iter().collect();
        let mut out = Vec::new();
        write_headers(&mut out, Version::V1_2, &headers, |name| name == "a");
        assert_eq!(out, b"a:1\na:3\\c\n");
    }
}
