//! What a header may contain on the wire, per version, in both directions
//! (STOMP 1.2 and 1.1, "Value Encoding").

use crate::{Command, Version};

/// How the headers of one frame are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escaping {
    /// Nothing can be escaped: 1.0, and CONNECT, STOMP and CONNECTED of every version.
    None,
    /// `\n \c \\`.
    V1_1,
    /// `\r \n \c \\`.
    V1_2,
}

/// Whether a text is the name or the value of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Name,
    Value,
}

impl Escaping {
    /// Returns the escaping of frames whose headers are escaped.
    pub(crate) const fn of_version(version: Version) -> Self {
        match version {
            Version::V1_0 => Self::None,
            Version::V1_1 => Self::V1_1,
            Version::V1_2 => Self::V1_2,
        }
    }

    /// Returns the escaping of a frame.
    pub(crate) const fn of_frame(version: Version, command: Command) -> Self {
        if command.is_escaped() {
            Self::of_version(version)
        } else {
            Self::None
        }
    }

    /// Returns the number of bytes of `text` on the wire.
    pub(crate) fn len(self, text: &str, part: Part) -> usize {
        if self.is_plain(text, part) {
            return text.len();
        }
        text.bytes()
            .map(|byte| self.encode(byte, part).map_or(1, <[u8]>::len))
            .sum()
    }

    /// Writes `text` so that it cannot end its name or value.
    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>, text: &str, part: Part) {
        if self.is_plain(text, part) {
            out.extend_from_slice(text.as_bytes());
        } else {
            self.write_escaped(out, text, part);
        }
    }

    fn write_escaped(self, out: &mut Vec<u8>, text: &str, part: Part) {
        out.reserve(self.len(text, part));
        for byte in text.bytes() {
            match self.encode(byte, part) {
                Some(escaped) => out.extend_from_slice(escaped),
                None => out.push(byte),
            }
        }
    }

    /// Whether a text needs no encoding; may return `false` although it needs none.
    #[inline]
    fn is_plain(self, text: &str, part: Part) -> bool {
        match (self, part) {
            (Self::None, Part::Name) => false,
            _ => is_plain(text.as_bytes()),
        }
    }

    /// Returns the encoding of a byte that cannot be written as it is.
    ///
    /// Characters that a version cannot express become spaces. A CR would be legal in 1.1, but some
    /// clients end lines at it. Names without escapes get no spaces: a receiver that trims would
    /// read a different name, and ` content-length` could move the end of the frame.
    const fn encode(self, byte: u8, part: Part) -> Option<&'static [u8]> {
        Some(match (self, part, byte) {
            (Self::V1_1 | Self::V1_2, _, b'\n') => b"\\n",
            (Self::V1_1 | Self::V1_2, _, b'\\') => b"\\\\",
            (Self::V1_1 | Self::V1_2, _, b':') => b"\\c",
            (Self::V1_2, _, b'\r') => b"\\r",
            (Self::None, Part::Name, b'\n' | b'\r' | b'\0' | b':' | b' ' | b'\t') => b"_",
            (_, _, b'\n' | b'\r' | b'\0') => b" ",
            _ => return None,
        })
    }

    /// Appends `text` with its escapes resolved. An escape that 1.2 does not define is returned as
    /// an error; in 1.1 it is taken literally, as is a backslash at the end.
    pub(crate) fn resolve(self, text: &str, out: &mut String) -> Result<(), Undefined> {
        let mut rest = text;
        while let Some((plain, escape)) = rest.split_once('\\') {
            out.push_str(plain);
            let code = escape.chars().next();
            match (self.decode(code), self) {
                (Some(decoded), _) => {
                    out.push(decoded);
                    rest = &escape[1..];
                }
                (None, Self::V1_2) => return Err(Undefined(code)),
                (None, _) => {
                    out.push('\\');
                    rest = escape;
                }
            }
        }
        out.push_str(rest);
        Ok(())
    }

    const fn decode(self, code: Option<char>) -> Option<char> {
        match (code, self) {
            (Some('n'), Self::V1_1 | Self::V1_2) => Some('\n'),
            (Some('c'), Self::V1_1 | Self::V1_2) => Some(':'),
            (Some('\\'), Self::V1_1 | Self::V1_2) => Some('\\'),
            (Some('r'), Self::V1_2) => Some('\r'),
            _ => None,
        }
    }
}

/// The character after the backslash of an undefined escape, if there is one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Undefined(pub(crate) Option<char>);

/// Whether a text needs no escaping in any version.
///
/// Searches for five bytes, too many for one `memchr`; without an early exit the compiler
/// vectorizes this, which is faster than two passes of `memchr3` on short texts.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    !text.iter().fold(false, |found, byte| {
        found | matches!(byte, b'\0' | b'\n' | b'\r' | b':' | b'\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(escaping: Escaping, text: &str, part: Part) -> String {
        let mut out = Vec::new();
        escaping.write(&mut out, text, part);
        assert_eq!(out.len(), escaping.len(text, part));
        String::from_utf8(out).unwrap()
    }

    fn resolved(escaping: Escaping, text: &str) -> Result<String, Undefined> {
        let mut out = String::new();
        escaping.resolve(text, &mut out).map(|()| out)
    }

    #[test]
    fn each_version_writes_what_it_can_express() {
        let text = "a\r\n:\\\0é";
        assert_eq!(
            written(Escaping::V1_2, text, Part::Value),
            "a\\r\\n\\c\\\\ é"
        );
        assert_eq!(written(Escaping::V1_1, text, Part::Value), "a \\n\\c\\\\ é");
        assert_eq!(written(Escaping::None, text, Part::Value), "a  :\\ é");
        assert_eq!(written(Escaping::None, text, Part::Name), "a___\\_é");
        assert_eq!(
            written(Escaping::None, " content-length", Part::Name),
            "_content-length"
        );
    }

    #[test]
    fn each_version_reads_its_own_escapes() {
        assert_eq!(
            resolved(Escaping::V1_2, "\\r\\n\\c\\\\n").as_deref(),
            Ok("\r\n:\\n")
        );
        assert_eq!(
            resolved(Escaping::V1_1, "\\r\\n\\c\\\\n").as_deref(),
            Ok("\\r\n:\\n")
        );
        assert_eq!(
            resolved(Escaping::None, "\\r\\n\\c\\\\n").as_deref(),
            Ok("\\r\\n\\c\\\\n")
        );
    }

    #[test]
    fn undefined_escapes_are_literal_in_1_1_and_errors_in_1_2() {
        for text in ["C:\\temp", "é\\é", "end\\"] {
            assert_eq!(resolved(Escaping::V1_1, text).as_deref(), Ok(text));
        }
        assert_eq!(
            resolved(Escaping::V1_2, "\\temp"),
            Err(Undefined(Some('t')))
        );
        assert_eq!(resolved(Escaping::V1_2, "\\é"), Err(Undefined(Some('é'))));
        assert_eq!(resolved(Escaping::V1_2, "end\\"), Err(Undefined(None)));
    }
}
