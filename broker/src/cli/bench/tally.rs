//! What has arrived, and what is lost, duplicated or out of order.

use std::collections::{HashMap, VecDeque};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::stamp::Stamp;

/// The counts of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Tally {
    streams: HashMap<Stream, Numbers>,
    /// Messages of this run, duplicates included.
    pub(super) delivered: u64,
    /// Messages that this subscriber had received before.
    pub(super) duplicates: u64,
    /// Messages that came after a later one of their stream.
    pub(super) out_of_order: u64,
    /// Messages of this run whose body is not what was sent.
    pub(super) damaged: u64,
    /// Messages of other senders or of an earlier run.
    pub(super) foreign: u64,
    /// Microseconds from when a message was due until it arrived.
    pub(super) latencies: Option<Histogram<u64>>,
    /// When the last one arrived.
    pub(super) last: Option<Instant>,
}

/// Messages of one publisher to one destination, which keep their order.
pub(super) type Stream = (u16, u16);

#[derive(Debug, Default)]
struct Numbers {
    seen: Seen,
    highest: u64,
}

impl Tally {
    /// Counts a message of this run.
    pub(super) fn take(&mut self, stamp: Stamp, microseconds: u64) {
        let numbers = self
            .streams
            .entry((stamp.publisher, stamp.destination))
            .or_default();
        self.delivered += 1;
        match numbers.seen.insert(stamp.number) {
            Some(true) if stamp.number < numbers.highest => self.out_of_order += 1,
            Some(true) => numbers.highest = stamp.number,
            Some(false) => self.duplicates += 1,
            None => self.damaged += 1,
        }
        if self.latencies.is_none() {
            // Three digits; cannot fail for this number.
            self.latencies = Histogram::new(3).ok();
        }
        if let Some(latencies) = &mut self.latencies {
            // It resizes itself; a value that memory cannot hold is not a latency.
            let _ = latencies.record(microseconds);
        }
    }

    /// Returns what was seen of a stream.
    pub(super) fn seen(&self, stream: Stream) -> Option<&Seen> {
        self.streams.get(&stream).map(|numbers| &numbers.seen)
    }
}

/// A set of numbers that arrive almost without gaps: one bit each, and none for the complete start.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// All numbers below are in the set; a multiple of 64.
    base: u64,
    words: VecDeque<u64>,
}

impl Seen {
    /// Returns whether the number is new. `None` if it is too far ahead to be valid.
    fn insert(&mut self, number: u64) -> Option<bool> {
        let Some(offset) = number.checked_sub(self.base) else {
            return Some(false);
        };
        let (word, bit) = position(offset);
        if word >= FARTHEST {
            return None;
        }
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.trim();
        Some(is_new)
    }

    fn trim(&mut self) {
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.base += 64;
        }
    }

    /// Adds all numbers of another set. Returns how many were in both.
    pub(super) fn merge(&mut self, other: &Self) -> u64 {
        let both = self.len() + other.len();
        let base = self.base.max(other.base);
        let words = base / 64..self.end().max(other.end());
        let united = words.map(|index| self.word(index) | other.word(index));
        *self = Self {
            base,
            words: united.collect(),
        };
        self.trim();
        both - self.len()
    }

    /// Returns how many of the numbers below this one are in the set.
    pub(super) fn count_below(&self, number: u64) -> u64 {
        let whole = |index| u64::from(self.word(index).count_ones());
        let begin = self.base.min(number);
        let (last, rest) = (number / 64, number % 64);
        let last_bits = self.word(last) & ((1 << rest) - 1);
        if number <= self.base {
            return begin;
        }
        begin + (begin / 64..last).map(whole).sum::<u64>() + u64::from(last_bits.count_ones())
    }

    fn len(&self) -> u64 {
        let bits: u64 = self
            .words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
        self.base + bits
    }

    /// Returns the position after the last word.
    fn end(&self) -> u64 {
        self.base / 64 + self.words.len() as u64
    }

    fn word(&self, index: u64) -> u64 {
        match index.checked_sub(self.base / 64) {
            None => u64::MAX,
            Some(offset) => {
                let offset = usize::try_from(offset).ok();
                offset
                    .and_then(|offset| self.words.get(offset))
                    .copied()
                    .unwrap_or(0)
            }
        }
    }
}

/// Returns the word of a number, and its bit in that word.
fn position(offset: u64) -> (usize, u64) {
    let word = usize::try_from(offset / 64).unwrap_or(usize::MAX);
    (word, 1 << (offset % 64))
}

/// Maximum number of words in a set: 32 MiB, 268 million numbers from the first gap on.
const FARTHEST: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    fn seen(numbers: impl IntoIterator<Item = u64>) -> Seen {
        let mut seen = Seen::default();
        for number in numbers {
            seen.insert(number);
        }
        seen
    }

    #[test]
    fn a_set_without_gaps_takes_no_room() {
        let seen = seen(0..1000);
        assert_eq!((seen.base, seen.words.len(), seen.len()), (960, 1, 1000));
    }

    #[test]
    fn a_set_knows_what_is_in_and_what_is_not() {
        let numbers: BTreeSet<u64> = (0..500).filter(|n| n % 7 != 3 && n % 11 != 5).collect();
        let mut shuffled: Vec<u64> = numbers.iter().copied().collect();
        shuffled.sort_by_key(|n| n * 7919 % 509);
        let mut set = seen(shuffled);
        for limit in [0, 1, 63, 64, 65, 200, 500, 1000] {
            let expected = numbers.iter().filter(|n| **n < limit).count() as u64;
            assert_eq!(set.count_below(limit), expected, "{limit}");
        }
        for number in 0..500 {
            let is_new = !numbers.contains(&number);
            assert_eq!(set.clone().insert(number), Some(is_new), "{number}");
        }
        assert_eq!(set.insert(u64::MAX), None);
    }

    #[test]
    fn sets_unite_and_count_what_both_had() {
        for (mine, theirs) in [(0..200, 100..300), (100..300, 0..200), (0..10, 500..510)] {
            let expected: BTreeSet<u64> = mine.clone().chain(theirs.clone()).collect();
            let both = mine.clone().filter(|n| theirs.contains(n)).count() as u64;
            let mut set = seen(mine);
            assert_eq!(set.merge(&seen(theirs)), both);
            assert_eq!(set.len(), expected.len() as u64);
            let holes = (0..600).filter(|n| set.clone().insert(*n) == Some(true));
            assert_eq!(holes.count(), 600 - expected.len());
        }
    }

    #[test]
    fn latencies_are_kept_at_three_digits() {
        let mut tally = Tally::default();
        for (number, microseconds) in [(0, 1), (1, 500_000), (2, 70_000_000)] {
            let stamp = Stamp {
                run: 0,
                publisher: 0,
                destination: 0,
                number,
                due: Duration::ZERO,
            };
            tally.take(stamp, microseconds);
        }
        let latencies = tally.latencies.unwrap();
        assert_eq!(latencies.len(), 3);
        assert!(latencies.value_at_quantile(0.5).abs_diff(500_000) < 500);
        assert!(latencies.max().abs_diff(70_000_000) < 70_000);
    }

    fn tally(numbers: &[u64]) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        for number in numbers {
            let stamp = Stamp {
                run: 0,
                publisher: 0,
                destination: 0,
                number: *number,
                due: Duration::ZERO,
            };
            tally.take(stamp, 1);
        }
        let seen = tally.seen((0, 0)).unwrap().count_below(4);
        (4 - seen, tally.duplicates, tally.out_of_order)
    }

    #[test]
    fn what_is_lost_doubled_or_late_is_found() {
        assert_eq!(tally(&[0, 1, 2, 3]), (0, 0, 0));
        assert_eq!(tally(&[0, 1, 3]), (1, 0, 0));
        assert_eq!(tally(&[0, 2, 1, 3]), (0, 0, 1));
        assert_eq!(tally(&[0, 1, 1, 2, 3, 0]), (0, 2, 0));
        assert_eq!(tally(&[3, 2, 1, 0]), (0, 0, 3));
    }
}
