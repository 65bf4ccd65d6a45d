//! Frames as text: what a test sends and expects.

use std::fmt::Write;

use stomp_codec::Frame;

/// Returns the bytes of a frame written as text; adds a missing blank line and NUL.
pub fn wire(frame: &str) -> Vec<u8> {
    let mut bytes = frame.as_bytes().to_vec();
    if !frame.contains("\n\n") {
        bytes.extend_from_slice(b"\n\n");
    }
    bytes.push(0);
    bytes
}

/// Returns a frame as text: command and headers in order, then the body, if any, after a blank
/// line. `content-length` is left out, as it follows from the body.
pub fn show(frame: &Frame) -> String {
    let mut text = frame.command.as_str().to_owned();
    for (name, value) in frame
        .headers
        .iter()
        .filter(|(name, _)| *name != "content-length")
    {
        write!(text, "\n{name}:{value}").unwrap();
    }
    if !frame.body.is_empty() {
        write!(text, "\n\n{}", String::from_utf8_lossy(&frame.body)).unwrap();
    }
    text
}

/// Returns the value of a header of a frame that [`show`] wrote.
pub fn header<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    let head = frame.split("\n\n").next().unwrap_or_default();
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Returns the body of a frame that [`show`] wrote.
pub fn body(frame: &str) -> &str {
    frame.split_once("\n\n").map_or("", |(_, body)| body)
}

/// Compares a frame with the expected one, in which each `*` matches anything.
#[track_caller]
pub fn check(actual: &str, expected: &str) {
    assert!(
        matches(actual, expected),
        "expected:\n{expected}\n\ngot:\n{actual}\n"
    );
}

/// Whether `actual` matches `expected`, in which each `*` matches anything.
pub fn matches(actual: &str, expected: &str) -> bool {
    let mut parts = expected.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = actual.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
