//! A consumer of a queue: its credit, and what it has not settled.

use std::time::{Duration, Instant};

use super::flights::Flights;
use super::lanes::Cursor;
use crate::engine::subscription::{AckMode, Prefetch};

#[derive(Debug)]
pub(super) struct Consumer<H> {
    pub(super) handle: H,
    pub(super) mode: AckMode,
    prefetch: Prefetch,
    pub(super) flights: Flights,
    /// Its outbox is full.
    paused: bool,
    /// Its subscription has ended; it may still settle what it has seen.
    retired: bool,
    pub(super) in_ring: bool,
    starving: Option<Starving>,
}

/// Since when a consumer has had no credit and has settled nothing.
#[derive(Clone, Copy, Debug)]
struct Starving {
    since: Instant,
    reported: bool,
}

impl<H> Consumer<H> {
    pub(super) fn new(handle: H, mode: AckMode, prefetch: Prefetch) -> Self {
        Self {
            handle,
            mode,
            prefetch,
            flights: Flights::default(),
            paused: false,
            retired: false,
            in_ring: false,
            starving: None,
        }
    }

    /// Returns where it begins to look for messages: it wants all of them.
    #[expect(
        clippy::unused_self,
        reason = "the place of a consumer that wants only some messages"
    )]
    pub(super) fn cursor(&self) -> Cursor {
        Cursor::START
    }

    /// Whether it can receive a message.
    pub(super) fn has_credit(&self) -> bool {
        !self.paused && !self.retired && self.has_room()
    }

    /// Whether it can receive a message and is not in the ring; it is counted as in the ring then.
    pub(super) fn enter_ring(&mut self) -> bool {
        let enters = !self.in_ring && self.has_credit();
        self.in_ring |= enters;
        enters
    }

    /// Whether its subscription has ended and nothing is left to settle.
    pub(super) fn is_done(&self) -> bool {
        self.retired && self.flights.len() == 0
    }

    /// Credit counts text, which is what a consumer receives. The message that reaches the limit
    /// may exceed it, so that one message is always granted when nothing is in flight.
    fn has_room(&self) -> bool {
        let out = self.flights.out();
        out.messages < self.prefetch.messages
            && self.prefetch.bytes.is_none_or(|bytes| out.bytes < bytes)
    }

    /// Whether its subscription has ended.
    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Ends its subscription: no transaction holds its deliveries any more.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        self.starving = None;
        self.flights.release_all();
    }

    /// Grants nothing until it resumes.
    pub(super) fn pause(&mut self) {
        self.paused = true;
        self.starving = None;
    }

    /// Ends what [`Consumer::pause`] began.
    pub(super) fn resume(&mut self) {
        self.paused = false;
    }

    /// Records that it has settled something.
    pub(super) fn on_settled(&mut self) {
        self.starving = None;
    }

    /// Updates since when it has been starving.
    pub(super) fn on_credit_changed(&mut self, now: Instant) {
        if self.paused || self.retired || self.has_room() {
            self.starving = None;
        } else if self.starving.is_none() {
            self.starving = Some(Starving {
                since: now,
                reported: false,
            });
        }
    }

    /// Returns when to report it as starving; `None` if it is not, or was reported.
    pub(super) fn report_at(&self, patience: Duration) -> Option<Instant> {
        let starving = self.starving.filter(|starving| !starving.reported);
        starving.map(|starving| starving.since + patience)
    }

    /// Records that it was reported; it is not again until it settles something.
    pub(super) fn on_reported(&mut self) {
        if let Some(starving) = &mut self.starving {
            starving.reported = true;
        }
    }
}
