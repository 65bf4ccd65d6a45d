//! The arrangement of a pattern's wildcards, which determines the cost of a match.

use super::Scan;
use crate::engine::destination::{Destination, Segment, Wildcard, segments};

/// The arrangement of a pattern's wildcards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arrangement {
    /// At most one multi-segment wildcard, so that each literal segment has a fixed place, counted
    /// from the beginning or from the end. All patterns of one shape together cost a match one
    /// look-up.
    Anchored(Shape),
    /// Several multi-segment wildcards: the segments between them can be anywhere, so a match
    /// checks each such pattern.
    Floating(Destination),
}

/// The places of a pattern's wildcards and slashes, independent of its literal segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Number of segments.
    length: usize,
    /// Bit n: segment n is a literal.
    literals: u64,
    /// Bit n: the separator before segment n is `/`.
    slashes: u64,
    /// The place of the multi-segment wildcard.
    many: Option<usize>,
}

impl Arrangement {
    /// Returns the arrangement of a valid pattern.
    pub fn of(pattern: &Destination) -> Self {
        let mut shape = Shape {
            length: 0,
            literals: 0,
            slashes: 0,
            many: None,
        };
        for (at, (segment, wildcard)) in steps(pattern.as_str()).enumerate() {
            shape.length = at + 1;
            shape.slashes |= u64::from(is_slash(segment)) << at;
            match wildcard {
                None => shape.literals |= 1 << at,
                Some(Wildcard::One) => {}
                Some(Wildcard::Many) if shape.many.is_none() => shape.many = Some(at),
                Some(Wildcard::Many) => return Self::Floating(pattern.clone()),
            }
        }
        Self::Anchored(shape)
    }

    /// Returns what it adds to the cost of a match, in look-ups of about 0.1 µs.
    pub fn cost(&self) -> usize {
        match self {
            Self::Anchored(_) => 1,
            Self::Floating(pattern) => 1 + segments(pattern.as_str()).count() / 4,
        }
    }
}

impl Shape {
    /// Returns a digest of the literal segments of a pattern of this shape.
    pub(super) fn key_of(&self, pattern: &Scan<'_>) -> u64 {
        combine(self.literals, 0, 0, pattern)
    }

    /// Returns the key of the patterns of this shape that match a destination; `None` if none can.
    pub(super) fn key(&self, destination: &Scan<'_>) -> Option<u64> {
        let length = destination.len();
        let Some(many) = self.many else {
            let fits = length == self.length && destination.slashes == self.slashes;
            return fits.then(|| combine(self.literals, 0, 0, destination));
        };
        let behind = self.length - many - 1;
        let skipped = length.checked_sub(many + behind)?;
        let differ = destination.slashes ^ self.slashes;
        // The wildcard includes the separator before it, so if it skips a segment that one must
        // agree.
        let before = many + usize::from(skipped > 0);
        let tail = from(destination.slashes, many + skipped) ^ from(self.slashes, many + 1);
        if differ & low(before) != 0 || tail & low(behind) != 0 {
            return None;
        }
        Some(combine(self.literals, many, skipped, destination))
    }

    /// Whether a pattern of this shape matches a destination whose [`Shape::key`] equals the
    /// pattern's. The key is only a digest; this compares the texts.
    pub(super) fn agrees(&self, pattern: &Destination, destination: &Scan<'_>) -> bool {
        let many = self.many.unwrap_or(self.length);
        let skipped = (destination.len() + usize::from(self.many.is_some())) - self.length;
        steps(pattern.as_str())
            .enumerate()
            .all(|(at, (segment, wildcard))| {
                let place = if at < many { at } else { at + skipped - 1 };
                wildcard.is_some() || destination.text(place) == segment.text
            })
    }
}

/// Returns the segments of a pattern, and the meaning of each.
pub(super) fn steps(pattern: &str) -> impl Iterator<Item = (Segment<'_>, Option<Wildcard>)> {
    let mut all = segments(pattern).peekable();
    std::iter::from_fn(move || {
        let segment = all.next()?;
        Some((segment, segment.wildcard(all.peek().is_none())))
    })
}

pub(super) fn is_slash(segment: Segment<'_>) -> bool {
    segment.separator == Some(b'/')
}

/// Returns a digest of the segments at these places; those after `many` are shifted by `skipped`
/// places, less the one that the wildcard takes.
fn combine(mut places: u64, many: usize, skipped: usize, scan: &Scan<'_>) -> u64 {
    let mut digest = 0_u64;
    while places != 0 {
        let at = places.trailing_zeros() as usize;
        places &= places - 1;
        let place = if many > 0 && at > many {
            at + skipped - 1
        } else {
            at
        };
        // The digests of the segments are keyed, so any mixing that depends on the order is
        // sufficient.
        digest = (digest.rotate_left(5) ^ scan.digest(place)).wrapping_mul(MIX);
    }
    digest
}

/// Returns the bits from `first` on.
const fn from(bits: u64, first: usize) -> u64 {
    match first {
        64.. => 0,
        _ => bits >> first,
    }
}

/// Returns the lowest `bits` bits.
pub(super) const fn low(bits: usize) -> u64 {
    match bits {
        64.. => u64::MAX,
        _ => (1 << bits) - 1,
    }
}

/// A random odd number.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
