//! A destination prepared for a match, and the patterns that are matched one by one.

use std::hash::{BuildHasher, RandomState};

use super::arrangement::{is_slash, low, steps};
use crate::engine::destination::{Destination, Wildcard};
use crate::engine::size::DESTINATION_SEGMENTS;

/// A destination, or a pattern, split into its segments.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    segments: [(&'a str, u64); DESTINATION_SEGMENTS],
    len: usize,
    /// Bit n: the separator before segment n is `/`.
    pub(super) slashes: u64,
}

/// A pattern with several multi-segment wildcards.
#[derive(Debug)]
pub(super) struct Floating(Box<[Step]>);

#[derive(Debug)]
struct Step {
    slash: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The digest of its text.
    Literal(u64),
    One,
    Many,
}

impl<'a> Scan<'a> {
    /// Splits a destination, which has at most [`DESTINATION_SEGMENTS`].
    pub(super) fn new(text: &'a Destination, keys: &RandomState) -> Self {
        let mut scan = Self {
            segments: [("", 0); DESTINATION_SEGMENTS],
            len: 0,
            slashes: 0,
        };
        for (place, segment) in scan.segments.iter_mut().zip(text.segments()) {
            *place = (segment.text, keys.hash_one(segment.text));
            scan.slashes |= u64::from(is_slash(segment)) << scan.len;
            scan.len += 1;
        }
        scan
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the text of a segment; empty after the last one.
    pub(super) fn text(&self, at: usize) -> &'a str {
        self.segments.get(at).map_or("", |(text, _)| text)
    }

    /// Returns the digest of a segment.
    pub(super) fn digest(&self, at: usize) -> u64 {
        self.segments.get(at).map_or(0, |(_, digest)| *digest)
    }
}

impl Floating {
    pub(super) fn of(pattern: &Destination, keys: &RandomState) -> Self {
        let step = |(segment, wildcard): (crate::engine::destination::Segment<'_>, _)| Step {
            slash: is_slash(segment),
            kind: match wildcard {
                None => Kind::Literal(keys.hash_one(segment.text)),
                Some(Wildcard::One) => Kind::One,
                Some(Wildcard::Many) => Kind::Many,
            },
        };
        Self(steps(pattern.as_str()).map(step).collect())
    }

    /// Whether this pattern matches a destination. Compares the digests first and then, as they
    /// could be equal by chance, the texts.
    pub(super) fn sees(&self, pattern: &Destination, destination: &Scan<'_>) -> bool {
        self.reaches_end(destination, |step, at| match self.0[step].kind {
            Kind::Literal(digest) => destination.digest(at) == digest,
            Kind::One | Kind::Many => true,
        }) && {
            let texts: Vec<_> = pattern.segments().map(|segment| segment.text).collect();
            self.reaches_end(destination, |step, at| texts[step] == destination.text(at))
        }
    }

    /// Runs the pattern as a nondeterministic automaton. Its state is the set of possible numbers
    /// of segments read so far: bit n of `places`, and `all` for all of them.
    fn reaches_end(
        &self,
        destination: &Scan<'_>,
        is_literal: impl Fn(usize, usize) -> bool,
    ) -> bool {
        let length = destination.len();
        // The segments left to read; there are none after the last.
        let (mut places, mut all) = (1_u64, length == 0);
        for (at, step) in self.0.iter().enumerate() {
            let separated = if step.slash {
                destination.slashes
            } else {
                !destination.slashes
            };
            let can_read = places & separated & low(length);
            match step.kind {
                Kind::Many => {
                    if can_read != 0 {
                        // From the first segment that can be read on, any number of them.
                        places |= !low(can_read.trailing_zeros() as usize + 1) & low(length);
                        all = true;
                    }
                }
                Kind::One | Kind::Literal(_) => {
                    let mut read = can_read;
                    if matches!(step.kind, Kind::Literal(_)) {
                        let mut left = can_read;
                        while left != 0 {
                            let place = left.trailing_zeros() as usize;
                            left &= left - 1;
                            if !is_literal(at, place) {
                                read &= !(1 << place);
                            }
                        }
                    }
                    all = read >> (length - 1) & 1 == 1;
                    places = read << 1 & low(length);
                }
            }
            if places == 0 && !all {
                return false;
            }
        }
        all
    }
}
