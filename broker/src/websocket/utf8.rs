//! Checks whether a text that arrives in parts is UTF-8.

/// Checks a text part by part; a part may end within a character.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The incomplete character at the end of the last part.
    begun: [u8; 4],
    length: u8,
}

impl Utf8 {
    /// Takes the next part. Returns `false` if the text is not UTF-8, whatever follows.
    pub(super) fn accepts(&mut self, mut part: &[u8]) -> bool {
        while !self.is_complete()
            && let Some((byte, rest)) = part.split_first()
        {
            if !self.accepts_byte(*byte) {
                return false;
            }
            part = rest;
        }
        let (whole, begun) = part.split_at(part.len() - unfinished(part));
        simdutf8::basic::from_utf8(whole).is_ok()
            && begun.iter().all(|byte| self.accepts_byte(*byte))
    }

    /// Whether the text may end here: not within a character.
    pub(super) const fn is_complete(&self) -> bool {
        self.length == 0
    }

    /// Takes the next byte of an incomplete character, or the first of a new one.
    fn accepts_byte(&mut self, byte: u8) -> bool {
        self.begun[usize::from(self.length)] = byte;
        self.length += 1;
        match std::str::from_utf8(&self.begun[..self.length.into()]) {
            Ok(_) => self.length = 0,
            Err(error) => return error.error_len().is_none(),
        }
        true
    }
}

/// Number of bytes at the end that begin an incomplete character.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.iter().rev().take(3);
    let from_start = last.take_while(|byte| is_continuation(**byte)).count() + 1;
    let start = bytes.len().checked_sub(from_start);
    match start {
        Some(start) if width(bytes[start]) > from_start => from_start,
        _ => 0,
    }
}

/// Number of bytes of the character that begins with `first`; one if none begins with it, which the
/// check detects.
const fn width(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

const fn is_continuation(byte: u8) -> bool {
    matches!(byte, 0x80..=0xbf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(parts: &[&[u8]]) -> bool {
        let mut utf8 = Utf8::default();
        parts.iter().all(|part| utf8.accepts(part)) && utf8.is_complete()
    }

    #[test]
    fn a_text_is_judged_alike_wherever_it_is_cut() {
        for text in [
            &b""[..],
            b"plain",
            "ü€🦀ü".as_bytes(),
            "🦀🦀".as_bytes(),
            b"\xff",
            b"a\x80",
            // Overlong, a surrogate, above the last character, cut.
            b"\xc0\xaf",
            b"\xe0\x80\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf5\x80\x80\x80",
            b"a\xf0\x9f\xa6",
            b"\xc3(",
            b"\xf0\x9f\xa6\x80\x80",
        ] {
            let expected = std::str::from_utf8(text).is_ok();
            for first in 0..=text.len() {
                for second in first..=text.len() {
                    let parts = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(accepts(&parts), expected, "{parts:?}");
                }
            }
            let bytes: Vec<_> = text.chunks(1).collect();
            assert_eq!(accepts(&bytes), expected, "{text:?} byte by byte");
        }
    }
}
