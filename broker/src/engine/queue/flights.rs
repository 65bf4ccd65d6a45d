//! What one consumer has been given and not settled, by the number of the delivery.

use std::collections::VecDeque;

use super::{Entry, Load, Verdict};

/// The deliveries of one consumer that are not settled, first to last.
///
/// Numbers follow each other, so a delivery is found by its distance from the first one. What is
/// settled out of order leaves a gap; when gaps are many they are closed, and then a search by
/// halves takes the place of the distance.
#[derive(Debug, Default)]
pub(super) struct Flights {
    line: VecDeque<Flight>,
    /// The number that was given last; zero if none was.
    last: u64,
    /// Gaps in the line.
    gaps: usize,
    /// All deliveries up to this number were covered by a cumulative ACK or NACK.
    covered: u64,
    /// What counts against the credit: all but what is held.
    out: Load,
}

#[derive(Debug)]
struct Flight {
    number: u64,
    /// `None` if it is settled.
    entry: Option<Entry>,
    hold: Option<Hold>,
}

/// A transaction will settle it.
#[derive(Clone, Copy, Debug)]
struct Hold {
    transaction: u32,
    verdict: Verdict,
}

impl Flights {
    /// How many are not settled, held ones included.
    pub(super) fn len(&self) -> usize {
        self.line.len() - self.gaps
    }

    /// What counts against the credit.
    pub(super) fn out(&self) -> Load {
        self.out
    }

    /// Whether there ever was a delivery of this number.
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

    /// Takes out the delivery of this number or, if `cumulative`, all up to it; what is held stays.
    /// Returns how many.
    pub(super) fn settle(
        &mut self,
        number: u64,
        cumulative: bool,
        mut settle: impl FnMut(Entry),
    ) -> usize {
        let mut settled = 0;
        for at in self.affected(number, cumulative) {
            if self.line[at].hold.is_none()
                && let Some(entry) = self.line[at].entry.take()
            {
                self.gaps += 1;
                self.out.remove(&entry);
                settled += 1;
                settle(entry);
            }
        }
        self.tidy();
        settled
    }

    /// Holds for a transaction what [`Flights::settle`] would take out. Returns how many.
    pub(super) fn hold(
        &mut self,
        number: u64,
        cumulative: bool,
        transaction: u32,
        verdict: Verdict,
    ) -> usize {
        let mut held = 0;
        for at in self.affected(number, cumulative) {
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
        held
    }

    /// Takes out what a transaction held by these numbers.
    pub(super) fn commit(
        &mut self,
        numbers: &[u64],
        cumulative: bool,
        transaction: u32,
        mut settle: impl FnMut(Entry, Verdict),
    ) {
        for at in self.held(numbers, cumulative) {
            let flight = &mut self.line[at];
            if let Some(hold) = flight.hold.filter(|hold| hold.transaction == transaction)
                && let Some(entry) = flight.entry.take()
            {
                self.gaps += 1;
                settle(entry, hold.verdict);
            }
        }
        self.tidy();
    }

    /// Lets go what a transaction held by these numbers.
    pub(super) fn release(&mut self, numbers: &[u64], cumulative: bool, transaction: u32) {
        for at in self.held(numbers, cumulative) {
            let is_its = |hold: Hold| hold.transaction == transaction;
            if self.line[at].hold.is_some_and(is_its) {
                self.release_at(at);
            }
        }
    }

    /// Lets go all that any transaction held.
    pub(super) fn release_all(&mut self) {
        for at in 0..self.line.len() {
            self.release_at(at);
        }
    }

    /// Takes out the deliveries from this number on.
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
        self.tidy();
    }

    /// The places that an ACK or NACK is about.
    fn affected(&mut self, number: u64, cumulative: bool) -> std::ops::Range<usize> {
        if !cumulative {
            return self.find(number).map_or(0..0, |at| at..at + 1);
        }
        // Below `covered` there is only what is settled or held.
        let begin = self.lower_bound(self.covered + 1);
        let end = self.lower_bound(number + 1);
        self.covered = self.covered.max(number);
        begin..end.max(begin)
    }

    /// The places at which a transaction may hold something.
    fn held(&self, numbers: &[u64], cumulative: bool) -> impl Iterator<Item = usize> + use<> {
        let (all, some) = if cumulative {
            let last = numbers.iter().copied().max().unwrap_or_default();
            (0..self.lower_bound(last + 1), Vec::new())
        } else {
            let found = numbers.iter().filter_map(|number| self.find(*number));
            (0..0, found.collect())
        };
        all.chain(some)
    }

    fn find(&self, number: u64) -> Option<usize> {
        let at = self.lower_bound(number);
        let flight = self.line.get(at)?;
        (flight.number == number).then_some(at)
    }

    /// The place of the first delivery of at least this number.
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

    fn release_at(&mut self, at: usize) {
        let flight = &mut self.line[at];
        if let (Some(entry), Some(_)) = (&flight.entry, flight.hold.take()) {
            self.out.add(entry);
            self.covered = self.covered.min(flight.number - 1);
        }
    }

    /// A gap at the front goes at once, others when they are more than what is left.
    fn tidy(&mut self) {
        while self.line.front().is_some_and(Flight::is_gap) {
            self.line.pop_front();
            self.gaps -= 1;
        }
        if self.gaps > FEW && self.gaps > self.line.len() / 2 {
            self.line.retain(|flight| !flight.is_gap());
            self.gaps = 0;
        }
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
        self.octets += entry.octets;
    }

    fn remove(&mut self, entry: &Entry) {
        self.messages -= 1;
        self.octets -= entry.octets;
    }
}

/// So many gaps are not worth closing.
const FEW: usize = 64;
