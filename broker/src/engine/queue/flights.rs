//! The unsettled deliveries of one consumer, by their numbers.

use std::collections::{BTreeMap, VecDeque};

use super::super::memory;
use super::{Entry, Load};
use crate::engine::ack::AckVerdict;

/// The unsettled deliveries of one consumer, first to last.
///
/// Numbers are consecutive, so a delivery is found by its distance from the first one. Settling out
/// of order leaves gaps; when there are many they are removed, and then a binary search replaces
/// the distance.
#[derive(Debug, Default)]
pub(super) struct Flights {
    line: VecDeque<Flight>,
    /// The most recent number; zero if there was none.
    last: u64,
    /// Number of gaps in the line.
    gaps: usize,
    /// All deliveries up to this number were covered by a cumulative ACK or NACK: they are settled
    /// or held, except those in `released`.
    covered: u64,
    /// Covered deliveries that a transaction has released: the first and the last number of each
    /// range. The ranges are never adjacent to each other or to `covered`; they would be merged.
    released: BTreeMap<u64, u64>,
    /// What each transaction holds, so that its end visits nothing else.
    notes: Vec<Notes>,
    /// What counts against the credit: everything except held deliveries.
    out: Load,
    /// Number of places visited for an ACK, a NACK or the end of a transaction.
    #[cfg(test)]
    visited: usize,
}

/// Numbers from the first to the last, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
}

/// What a transaction holds.
#[derive(Debug)]
struct Notes {
    transaction: u32,
    ranges: Vec<Range>,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    /// `None` if it is settled.
    entry: Option<Entry>,
    hold: Option<Hold>,
}

/// A transaction will settle the delivery.
#[derive(Clone, Copy, Debug)]
struct Hold {
    transaction: u32,
    verdict: AckVerdict,
}

impl Flights {
    /// Number of unsettled deliveries, including held ones.
    pub(super) fn len(&self) -> usize {
        self.line.len() - self.gaps
    }

    /// Returns the memory of the line.
    pub(super) fn lines(&self) -> usize {
        memory::line(&self.line)
    }

    /// Returns what counts against the credit.
    pub(super) fn out(&self) -> Load {
        self.out
    }

    /// Whether a delivery with this number ever existed.
    pub(super) fn was_given(&self, number: u64) -> bool {
        (1..=self.last).contains(&number)
    }

    /// Adds a delivery; returns its number.
    pub(super) fn add(&mut self, entry: Entry) -> u64 {
        self.last += 1;
        self.out.add(&entry);
        self.line.push_back(Flight {
            number: self.last,
            entry: Some(entry),
            hold: None,
        });
        self.last
    }

    /// Removes the delivery with this number or, if `cumulative`, all up to it, except held ones.
    /// Returns how many; no others are visited.
    pub(super) fn settle(
        &mut self,
        number: u64,
        cumulative: bool,
        mut settle: impl FnMut(Entry),
    ) -> usize {
        let mut settled = 0;
        while let Some(range) = self.next_free(number, cumulative) {
            for at in self.places(range) {
                let flight = &mut self.line[at];
                if flight.hold.is_none()
                    && let Some(entry) = flight.entry.take()
                {
                    self.gaps += 1;
                    self.out.remove(&entry);
                    settled += 1;
                    settle(entry);
                }
            }
            if !cumulative {
                break;
            }
        }
        self.tidy();
        settled
    }

    /// Holds for a transaction what [`Flights::settle`] would remove. Returns how many; no others
    /// are visited.
    pub(super) fn hold(
        &mut self,
        number: u64,
        cumulative: bool,
        transaction: u32,
        verdict: AckVerdict,
    ) -> usize {
        let mut held = 0;
        while let Some(range) = self.next_free(number, cumulative) {
            let before = held;
            for at in self.places(range) {
                let flight = &mut self.line[at];
                if let (Some(entry), None) = (&flight.entry, flight.hold) {
                    flight.hold = Some(Hold {
                        transaction,
                        verdict,
                    });
                    self.out.remove(entry);
                    held += 1;
                }
            }
            if held > before {
                self.note(transaction, range);
            }
            if !cumulative {
                break;
            }
        }
        held
    }

    /// Removes what a transaction held. Nothing else is visited.
    pub(super) fn commit(&mut self, transaction: u32, mut settle: impl FnMut(Entry, AckVerdict)) {
        for range in self.take_notes(transaction) {
            for at in self.places(range) {
                let flight = &mut self.line[at];
                if let Some(hold) = flight.hold.filter(|hold| hold.transaction == transaction)
                    && let Some(entry) = flight.entry.take()
                {
                    self.gaps += 1;
                    settle(entry, hold.verdict);
                }
            }
        }
        self.tidy();
    }

    /// Releases what a transaction held. Returns how many; no others are visited.
    pub(super) fn release(&mut self, transaction: u32) -> usize {
        let mut released = 0;
        for range in self.take_notes(transaction) {
            for at in self.places(range) {
                let flight = &mut self.line[at];
                if let (Some(entry), Some(_)) = (&flight.entry, flight.hold.take()) {
                    self.out.add(entry);
                    released += 1;
                }
            }
            self.uncover(range);
        }
        released
    }

    /// Releases everything that any transaction held.
    pub(super) fn release_all(&mut self) {
        while let Some(notes) = self.notes.last() {
            self.release(notes.transaction);
        }
    }

    /// Removes the deliveries from this number on.
    pub(super) fn take_from(&mut self, first: u64, mut take: impl FnMut(Entry)) {
        let at = self.lower_bound(first);
        for flight in self.line.drain(at..) {
            match flight.entry {
                Some(entry) => {
                    if flight.hold.is_none() {
                        self.out.remove(&entry);
                    }
                    take(entry);
                }
                None => self.gaps -= 1,
            }
        }
        self.released.split_off(&first);
        self.tidy();
    }

    /// Returns the next range that an ACK or NACK applies to; if not `cumulative` always the same
    /// one. A cumulative one leaves nothing that another one would visit again.
    fn next_free(&mut self, number: u64, cumulative: bool) -> Option<Range> {
        if !cumulative {
            return Some(Range {
                first: number,
                last: number,
            });
        }
        if let Some(hole) = self.released.first_entry()
            && *hole.key() <= number
        {
            let (first, last) = hole.remove_entry();
            if last > number {
                self.released.insert(number + 1, last);
            }
            let last = last.min(number);
            return Some(Range { first, last });
        }
        let first = self.covered + 1;
        (first <= number).then(|| {
            self.covered = number;
            Range {
                first,
                last: number,
            }
        })
    }

    /// Returns the place of the first delivery with at least this number.
    fn lower_bound(&self, number: u64) -> usize {
        let Some(front) = self.line.front() else {
            return 0;
        };
        let Some(distance) = number.checked_sub(front.number) else {
            return 0;
        };
        let at = usize::try_from(distance).unwrap_or(usize::MAX);
        match self.line.get(at) {
            Some(flight) if flight.number == number => at,
            _ => self.line.partition_point(|flight| flight.number < number),
        }
    }

    /// Returns the places of these numbers.
    fn places(&mut self, range: Range) -> std::ops::Range<usize> {
        let begin = self.lower_bound(range.first);
        let end = if range.first == range.last {
            begin + usize::from(self.is_at(begin, range.first))
        } else {
            self.lower_bound(range.last + 1).max(begin)
        };
        #[cfg(test)]
        {
            self.visited += end - begin;
        }
        begin..end
    }

    fn is_at(&self, at: usize, number: u64) -> bool {
        self.line
            .get(at)
            .is_some_and(|flight| flight.number == number)
    }

    /// Records that a transaction holds these numbers.
    fn note(&mut self, transaction: u32, range: Range) {
        let known = self
            .notes
            .iter_mut()
            .find(|notes| notes.transaction == transaction);
        let Some(notes) = known else {
            return self.notes.push(Notes {
                transaction,
                ranges: vec![range],
            });
        };
        match notes.ranges.last_mut() {
            Some(last) if last.last + 1 == range.first => last.last = range.last,
            _ => notes.ranges.push(range),
        }
    }

    /// Removes and returns what a transaction holds.
    fn take_notes(&mut self, transaction: u32) -> Vec<Range> {
        let at = self
            .notes
            .iter()
            .position(|notes| notes.transaction == transaction);
        at.map(|at| self.notes.swap_remove(at).ranges)
            .unwrap_or_default()
    }

    /// Marks a range as no longer covered.
    fn uncover(&mut self, range: Range) {
        if range.last > self.covered {
            // Only cumulative ones cover.
            return;
        }
        let Range {
            mut first,
            mut last,
        } = range;
        let before = self.released.range(..first).next_back();
        if let Some((&start, &end)) = before
            && end + 1 == first
        {
            self.released.remove(&start);
            first = start;
        }
        if let Some(end) = self.released.remove(&(last + 1)) {
            last = end;
        }
        if last == self.covered {
            self.covered = first - 1;
        } else {
            self.released.insert(first, last);
        }
    }

    /// Removes a gap at the front at once, others when they outnumber the remaining deliveries.
    fn tidy(&mut self) {
        while self.line.front().is_some_and(Flight::is_gap) {
            self.line.pop_front();
            self.gaps -= 1;
        }
        if self.gaps > FEW && self.gaps > self.line.len() / 2 {
            self.line.retain(|flight| !flight.is_gap());
            self.gaps = 0;
        }
        memory::shrink(&mut self.line);
    }
}

impl Flight {
    fn is_gap(&self) -> bool {
        self.entry.is_none()
    }
}

impl Load {
    fn add(&mut self, entry: &Entry) {
        self.messages += 1;
        self.bytes += entry.bytes;
    }

    fn remove(&mut self, entry: &Entry) {
        self.messages -= 1;
        self.bytes -= entry.bytes;
    }
}

/// Number of gaps that are not worth removing.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stomp_codec::Headers;

    use super::*;
    use crate::engine::destination::Destination;
    use crate::engine::message::Message;

    const MANY: u64 = 60_000;

    /// Returns deliveries from 1 to [`MANY`].
    fn many() -> Flights {
        let message = Arc::new(Message {
            destination: Destination::parse("/queue/a").unwrap(),
            headers: Headers::new(),
            body: "x".into(),
        });
        let mut flights = Flights::default();
        for id in 1..=MANY {
            let number = flights.add(Entry::new(Arc::clone(&message), id, id, 1));
            assert_eq!(number, id);
        }
        flights
    }

    /// Returns how many flights `what` visits, and how many it affects.
    fn visits(flights: &mut Flights, what: impl FnOnce(&mut Flights) -> usize) -> (usize, usize) {
        flights.visited = 0;
        let affected = what(flights);
        (flights.visited, affected)
    }

    fn commit(flights: &mut Flights, transaction: u32) -> usize {
        let mut count = 0;
        flights.commit(transaction, |_, _| count += 1);
        count
    }

    #[test]
    fn a_transaction_visits_what_it_holds() {
        for cumulative in [true, false] {
            let mut flights = many();
            let hold = |number, transaction| {
                move |flights: &mut Flights| {
                    flights.hold(number, cumulative, transaction, AckVerdict::Ack)
                }
            };
            // The first of many, then one in the middle of what is held already.
            assert_eq!(visits(&mut flights, hold(1, 1)), (1, 1));
            let range = if cumulative { 29_999 } else { 1 };
            assert_eq!(visits(&mut flights, hold(30_000, 2)), (range, range));
            assert_eq!(visits(&mut flights, hold(30_001, 3)), (1, 1));
            // Each alone, whatever others hold or what is before and after it.
            assert_eq!(visits(&mut flights, |flights| flights.release(1)), (1, 1));
            assert_eq!(visits(&mut flights, hold(1, 4)), (1, 1));
            assert_eq!(visits(&mut flights, |flights| commit(flights, 4)), (1, 1));
            assert_eq!(visits(&mut flights, |flights| flights.release(3)), (1, 1));
            assert_eq!(
                visits(&mut flights, |flights| flights.release(2)),
                (range, range)
            );
            assert_eq!(flights.out().messages, 59_999);
            assert_eq!(flights.len(), 59_999);
        }
    }

    #[test]
    fn begin_ack_and_abort_again_and_again_visit_one_each() {
        let mut flights = many();
        assert_eq!(flights.hold(20_000, true, 1, AckVerdict::Ack), 20_000);
        for transaction in 2..1000 {
            let turn = |flights: &mut Flights| {
                flights.hold(20_001, true, transaction, AckVerdict::Requeue)
                    + flights.release(transaction)
            };
            assert_eq!(visits(&mut flights, turn), (2, 2));
        }
        assert!(flights.released.is_empty() && flights.notes.len() == 1);
    }

    #[test]
    fn what_was_let_go_is_covered_again_and_only_that_is_visited() {
        let mut flights = many();
        for transaction in 1..=6 {
            let number = u64::from(transaction) * 10_000;
            assert_eq!(
                flights.hold(number, true, transaction, AckVerdict::Ack),
                10_000
            );
        }
        for transaction in [2, 4, 3] {
            assert_eq!(flights.release(transaction), 10_000);
        }
        // Adjacent released ranges are merged.
        assert_eq!(flights.released, BTreeMap::from([(10_001, 40_000)]));
        let ack = |number| move |flights: &mut Flights| flights.settle(number, true, |_| ());
        assert_eq!(visits(&mut flights, ack(9000)), (0, 0));
        assert_eq!(visits(&mut flights, ack(10_010)), (10, 10));
        assert_eq!(visits(&mut flights, ack(10_010)), (0, 0));
        assert_eq!(visits(&mut flights, ack(60_000)), (29_990, 29_990));
        assert!(flights.released.is_empty());
        // The last one releases a range at the end of what is covered.
        assert_eq!(flights.release(6), 10_000);
        assert_eq!(flights.covered, 50_000);
        flights.release_all();
        assert_eq!((flights.covered, flights.out().messages), (40_000, 30_000));
    }

    #[test]
    fn what_a_transaction_held_may_be_gone_when_it_ends() {
        let mut flights = many();
        assert_eq!(flights.hold(10, true, 1, AckVerdict::Ack), 10);
        assert_eq!(flights.hold(60_000, true, 2, AckVerdict::Ack), 59_990);
        let mut taken = 0;
        flights.take_from(6, |_| taken += 1);
        assert_eq!((taken, flights.len()), (59_995, 5));
        assert_eq!(flights.release(2), 0);
        assert_eq!(flights.release(1), 5);
        assert_eq!(flights.settle(60_000, true, |_| ()), 5);
        assert_eq!(flights.len(), 0);
    }
}
