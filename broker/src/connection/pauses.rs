//! How long a publisher waits for slow clients.
//!
//! A page in a browser needs seconds for a burst that a service sends in a tenth of one, so waiting
//! that helps may take long. Waiting in vain is limited: clients that are slow again and again, or
//! are many, cannot stop a publisher.

use std::time::{Duration, Instant};

/// Time that a publisher may spend on waiting: some at once, then a fraction of its time.
#[derive(Debug)]
pub(super) struct Pauses {
    /// Maximum of what is left.
    whole: Duration,
    left: Duration,
    at: Instant,
}

/// One period of waiting.
#[derive(Debug)]
pub(super) struct Pause {
    left: Duration,
    begun: Instant,
    /// Time until which it is known to have helped.
    helped: Instant,
}

impl Pauses {
    pub(super) fn new(patience: Duration, now: Instant) -> Self {
        let whole = patience * VAIN;
        Self {
            whole,
            left: whole,
            at: now,
        }
    }

    pub(super) fn begin(&mut self, now: Instant) -> Pause {
        let earned = now.saturating_duration_since(self.at) / SHARE;
        self.left = (self.left + earned).min(self.whole);
        self.at = now;
        Pause {
            left: self.left,
            begun: now,
            helped: now,
        }
    }

    pub(super) fn end(&mut self, pause: &Pause, now: Instant) {
        self.left = self.left.saturating_sub(pause.cost(now));
    }
}

impl Pause {
    /// Notes that a client has made room.
    pub(super) fn helped(&mut self, now: Instant) {
        self.helped = now;
    }

    pub(super) fn may_go_on(&self, now: Instant) -> bool {
        self.cost(now) < self.left
    }

    /// Waiting time counts once if a client made room at its end, else more.
    fn cost(&self, now: Instant) -> Duration {
        let vain = now.saturating_duration_since(self.helped);
        self.helped.saturating_duration_since(self.begun) + vain * VAIN
    }
}

/// Factor for time spent in vain: one such pause is no longer than the patience with one client.
const VAIN: u32 = 20;

/// A publisher may wait for this fraction (1/10) of its time.
const SHARE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Returns how long a pause that begins `at` may last in vain.
    fn in_vain(pauses: &mut Pauses, at: Instant) -> Duration {
        let pause = pauses.begin(at);
        let longest = (0..=10_000)
            .find(|&ms| !pause.may_go_on(at + MS * ms))
            .unwrap()
            * MS;
        pauses.end(&pause, at + longest);
        longest
    }

    #[test]
    fn waiting_in_vain_ends_after_the_patience_and_then_takes_a_two_hundredth_of_the_time() {
        let start = Instant::now();
        let mut pauses = Pauses::new(1000 * MS, start);
        assert_eq!(in_vain(&mut pauses, start), 1000 * MS);
        assert_eq!(in_vain(&mut pauses, start + 1000 * MS), 5 * MS);
        assert_eq!(in_vain(&mut pauses, start + 2000 * MS), 5 * MS);
        assert_eq!(in_vain(&mut pauses, start + 1_000_000 * MS), 1000 * MS);
    }

    #[test]
    fn waiting_that_helps_may_take_twenty_times_as_long() {
        let start = Instant::now();
        let mut pauses = Pauses::new(1000 * MS, start);
        let mut pause = pauses.begin(start);
        for ms in (100..=18_000).step_by(100) {
            assert!(pause.may_go_on(start + MS * ms));
            pause.helped(start + MS * ms);
        }
        pauses.end(&pause, start + 18_000 * MS);
        // Two seconds are left, and 1.8 were earned.
        assert_eq!(in_vain(&mut pauses, start + 18_000 * MS), 190 * MS);
    }
}
