//! How `sub` prints a message.

use std::collections::HashSet;

use data_encoding::BASE64;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use stomp_codec::{Frame, Headers};

/// How a message is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// The body, and a newline if wanted.
    Body { newline: bool },
    /// The headers, a blank line, the body.
    Headers { newline: bool },
    /// A JSON object on a line.
    Json,
}

impl Form {
    /// Appends a message to `out`.
    pub(super) fn write(self, message: &Frame, out: &mut Vec<u8>) {
        match self {
            Self::Json => json(message, out),
            Self::Body { newline } => body(message, newline, out),
            Self::Headers { newline } => {
                for (name, value) in message.headers.iter() {
                    let line = format!("{}: {}\n", shown(name), shown(value));
                    out.extend_from_slice(line.as_bytes());
                }
                out.push(b'\n');
                body(message, newline, out);
            }
        }
    }
}

/// Escapes what a terminal would obey.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars() {
        match char {
            '"' | '\'' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    shown
}

fn body(message: &Frame, newline: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&message.body);
    if newline {
        out.push(b'\n');
    }
}

fn json(message: &Frame, out: &mut Vec<u8>) {
    let text = simdutf8::basic::from_utf8(&message.body).ok();
    let line = Line {
        destination: message.header("destination"),
        headers: All(&message.headers),
        body: text,
        body_base64: text.is_none().then(|| BASE64.encode(&message.body)),
    };
    // Fails only for a map whose keys are not text.
    if serde_json::to_writer(&mut *out, &line).is_ok() {
        out.push(b'\n');
    }
}

/// A message as JSON.
#[derive(Serialize)]
struct Line<'a> {
    destination: Option<&'a str>,
    headers: All<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Headers as an object; of repeated ones only the first, which is the one that counts.
struct All<'a>(&'a Headers);

impl Serialize for All<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let mut map = output.serialize_map(None)?;
        let mut seen = HashSet::new();
        for (name, value) in self.0.iter().filter(|(name, _)| seen.insert(*name)) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use stomp_codec::Command;

    use super::*;

    fn written(form: Form, body: &'static [u8]) -> String {
        let message = Frame::new(Command::Message)
            .with_header("destination", "/topic/a")
            .with_header("note", "\"1\"\n2\u{1b}")
            .with_header("note", "3")
            .with_body(body);
        let mut out = Vec::new();
        form.write(&message, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_body_comes_with_or_without_newline() {
        assert_eq!(written(Form::Body { newline: true }, b"a\0b"), "a\0b\n");
        assert_eq!(written(Form::Body { newline: false }, b"a\0b"), "a\0b");
    }

    #[test]
    fn headers_stand_before_a_blank_line_and_control_no_terminal() {
        assert_eq!(
            written(Form::Headers { newline: true }, b"x"),
            "destination: /topic/a\nnote: \"1\"\\n2\\u{1b}\nnote: 3\n\nx\n"
        );
    }

    #[test]
    fn json_has_text_as_text_and_bytes_as_base64() {
        let head = r#"{"destination":"/topic/a","headers":{"destination":"/topic/a","note":"\"1\"\n2\u001b"},"#;
        assert_eq!(
            written(Form::Json, "ü\0".as_bytes()),
            format!("{head}\"body\":\"ü\\u0000\"}}\n")
        );
        assert_eq!(
            written(Form::Json, b"\xff\x00"),
            format!("{head}\"body_base64\":\"/wA=\"}}\n")
        );
    }
}
