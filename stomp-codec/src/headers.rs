//! The headers of a frame: one block of text and the positions of the headers in it.

use std::fmt;

use bytestring::ByteString;
use smallvec::SmallVec;

/// The headers of a frame in wire order, including repeats; the first of repeated headers is
/// effective (STOMP 1.2, "Repeated Header Entries").
///
/// Decoded headers share one block of text with the bytes that were read: no header has its own
/// allocation. A header block holds less than 4 GiB.
///
/// ```
/// use stomp_codec::Headers;
///
/// let headers: Headers = [("a", "1"), ("b", "2"), ("a", "3")].into_iter().collect();
/// assert_eq!(headers.get("a"), Some("1"));
/// assert_eq!(headers.iter().count(), 3);
/// ```
#[derive(Clone, Default)]
pub struct Headers {
    block: Block,
    lines: Lines,
}

impl Headers {
    /// Returns an empty list of headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value of the first header with this name. Names are case-sensitive.
    pub fn get(&self, name: &str) -> Option<&str> {
        let line = self.find(name)?;
        Some(&self.block.as_str()[line.value()])
    }

    /// Returns the value of the first header with this name as a string that can be stored: a slice
    /// of the block that was read, or a copy if the headers were built by [`push`](Self::push).
    ///
    /// The slice keeps the whole chunk from which it was read in memory.
    pub fn get_bytestring(&self, name: &str) -> Option<ByteString> {
        let line = self.find(name)?;
        let value = &self.block.as_str()[line.value()];
        Some(match &self.block {
            Block::Shared(block) => block.slice_ref(value),
            Block::Own(_) => ByteString::from(value),
        })
    }

    /// Returns all headers in wire order, including repeats.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = self.block.as_str();
        self.lines
            .iter()
            .map(move |line| (&text[line.name()], &text[line.value()]))
    }

    /// Appends a header.
    ///
    /// # Panics
    ///
    /// If the total size would be 4 GiB or more.
    pub fn push(&mut self, name: &str, value: &str) {
        let text = self.block.to_mut();
        let start = text.len();
        text.reserve(name.len() + value.len() + 1);
        text.push_str(name);
        text.push(':');
        text.push_str(value);
        self.lines
            .push(Line::new(start, start + name.len(), text.len()));
    }

    /// Returns the number of headers, including repeats.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Creates headers from a block of text that was read or decoded.
    pub(crate) fn from_block(block: ByteString, lines: Lines) -> Self {
        Self {
            block: Block::Shared(block),
            lines,
        }
    }

    /// Copies the text if it is a slice of what was read, so that these headers no longer keep the
    /// whole chunk in memory.
    pub fn detach(&mut self) {
        if let Block::Shared(block) = &mut self.block {
            *block = ByteString::from(&**block);
        }
    }

    /// Returns the number of bytes of their text.
    pub fn bytes(&self) -> usize {
        self.block.as_str().len()
    }

    /// Returns the heap size of a copy of the headers' positions. Zero for up to eight headers.
    pub fn spilled(&self) -> usize {
        if self.lines.len() > self.lines.inline_size() {
            self.lines.len().next_power_of_two() * size_of::<Line>()
        } else {
            0
        }
    }

    fn find(&self, name: &str) -> Option<&Line> {
        let block = self.block.as_str().as_bytes();
        self.lines
            .iter()
            .find(|line| &block[line.name()] == name.as_bytes())
    }
}

impl<N: AsRef<str>, V: AsRef<str>> Extend<(N, V)> for Headers {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, headers: I) {
        for (name, value) in headers {
            self.push(name.as_ref(), value.as_ref());
        }
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut all = Self::new();
        all.extend(headers);
        all
    }
}

/// Compares names and values in order, independent of their storage.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

/// Shows the headers, except passwords and tokens.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| match name {
            "passcode" | "Authorization" | "authorization" => (name, "(hidden)"),
            _ => (name, value),
        });
        f.debug_map().entries(shown).finish()
    }
}

/// Positions of headers; up to eight need no allocation.
pub(crate) type Lines = SmallVec<[Line; 8]>;

/// The position of a header in its block: name, one byte, value.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    start: u32,
    colon: u32,
    end: u32,
}

impl Line {
    /// Creates the position of a header from its start, its colon and its end.
    ///
    /// The decoder's limits keep positions below 2 GiB; `Headers::push` documents the panic.
    pub(crate) fn new(start: usize, colon: usize, end: usize) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "a documented panic; limits rule it out in decoding"
        )]
        let position = |at: usize| u32::try_from(at).expect("a header block is below 4 GiB");
        Self {
            start: position(start),
            colon: position(colon),
            end: position(end),
        }
    }

    pub(crate) fn name(self) -> std::ops::Range<usize> {
        self.start as usize..self.colon as usize
    }

    pub(crate) fn value(self) -> std::ops::Range<usize> {
        self.colon as usize + 1..self.end as usize
    }
}

#[derive(Clone)]
enum Block {
    /// A slice of what was read, or a decoded copy of it.
    Shared(ByteString),
    /// Built by `push`.
    Own(String),
}

impl Block {
    fn as_str(&self) -> &str {
        match self {
            Self::Shared(text) => text,
            Self::Own(text) => text,
        }
    }

    fn to_mut(&mut self) -> &mut String {
        if let Self::Shared(text) = self {
            *self = Self::Own(String::from(&**text));
        }
        match self {
            Self::Own(text) => text,
            Self::Shared(_) => unreachable!("made its own a line above"),
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::Shared(ByteString::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_repeated_headers_counts() {
        let headers: Headers = [("a", "1"), ("a", "2")].into_iter().collect();
        assert_eq!(headers.get("a"), Some("1"));
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "1"), ("a", "2")]);
    }

    #[test]
    fn names_are_case_sensitive() {
        let headers: Headers = [("Receipt", "1")].into_iter().collect();
        assert_eq!(headers.get("receipt"), None);
    }

    #[test]
    fn colons_and_empty_values_are_kept() {
        let headers: Headers = [("a:b", "c:d"), ("e", "")].into_iter().collect();
        assert_eq!(headers.get("a:b"), Some("c:d"));
        assert_eq!(headers.get("e"), Some(""));
        assert_eq!(headers.get("a"), None);
    }

    #[test]
    fn pushing_to_a_read_block_copies_it_first() {
        let block = ByteString::from_static("a:1\n");
        let mut headers = Headers::from_block(block, Lines::from_slice(&[Line::new(0, 1, 3)]));
        headers.push("b", "2");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
    }

    #[test]
    fn the_ninth_header_takes_memory_of_its_own() {
        let headers = |count: usize| -> Headers {
            let name = |number: usize| (format!("h{number}"), "v");
            (0..count).map(name).collect()
        };
        assert_eq!(headers(8).spilled(), 0);
        for count in [9, 16, 17, 100] {
            let headers = headers(count);
            // A clone has the exact size, without spare capacity.
            let copy = headers.clone();
            assert_eq!(headers.spilled(), copy.lines.capacity() * size_of::<Line>());
        }
    }

    #[test]
    fn debug_hides_secrets() {
        let headers: Headers = [("login", "joe"), ("passcode", "s3cret")]
            .into_iter()
            .collect();
        let shown = format!("{headers:?}");
        assert!(
            shown.contains("joe") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
