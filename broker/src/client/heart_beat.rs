//! Heart-beats of a client (STOMP 1.2, "Heart-beating").

use std::time::Duration;

use tokio::time::Instant;

use super::Error;

/// The agreed intervals, and the times of the last output and input.
#[derive(Debug)]
pub(super) struct HeartBeat {
    /// Client → server; zero if none was agreed on.
    outbound: Duration,
    /// Server → client; zero if none was agreed on.
    inbound: Duration,
    last_write: Instant,
    last_read: Instant,
}

/// What is due.
pub(super) enum Due {
    /// Send an EOL.
    Beat,
    /// The broker was silent for too long.
    Silent,
}

impl HeartBeat {
    /// Before CONNECTED there are no heart-beats.
    pub(super) const fn none(now: Instant) -> Self {
        Self {
            outbound: Duration::ZERO,
            inbound: Duration::ZERO,
            last_write: now,
            last_read: now,
        }
    }

    /// Computes the intervals from what we offer and request, and from the broker's header.
    pub(super) fn agree(ours: Duration, theirs: &str, now: Instant) -> Self {
        let (send, want) = theirs.split_once(',').unwrap_or_default();
        let both = |theirs: &str| match theirs.trim().parse().unwrap_or(0) {
            0 => Duration::ZERO,
            // The header contains whole milliseconds.
            _ if ours.as_millis() == 0 => Duration::ZERO,
            milliseconds => ours.max(Duration::from_millis(milliseconds)),
        };
        Self {
            outbound: both(want),
            inbound: both(send),
            ..Self::none(now)
        }
    }

    pub(super) const fn on_write(&mut self, now: Instant) {
        self.last_write = now;
    }

    pub(super) const fn on_read(&mut self, now: Instant) {
        self.last_read = now;
    }

    /// When to send an EOL: early enough for a timer that is late.
    pub(super) fn beat_at(&self) -> Option<Instant> {
        (!self.outbound.is_zero()).then(|| self.last_write + self.outbound * 3 / 4)
    }

    /// When the broker has been silent for too long.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        (!self.inbound.is_zero()).then(|| self.last_read + self.inbound * 5 / 2)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.beat_at(), self.silent_at()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        if self.silent_at().is_some_and(|at| at <= now) {
            return Some(Due::Silent);
        }
        self.beat_at().filter(|at| *at <= now).map(|_| Due::Beat)
    }

    pub(super) const fn silent(&self) -> Error {
        Error::Silent {
            interval: self.inbound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(ours: u64, theirs: &str) -> (u128, u128) {
        let ours = Duration::from_millis(ours);
        let agreed = HeartBeat::agree(ours, theirs, Instant::now());
        (agreed.outbound.as_millis(), agreed.inbound.as_millis())
    }

    #[test]
    fn the_larger_interval_is_in_force() {
        assert_eq!(agreed(10, "20,5"), (10, 20));
        assert_eq!(agreed(10, "5,20"), (20, 10));
    }

    #[test]
    fn zero_on_either_side_is_none() {
        assert_eq!(agreed(0, "20,5"), (0, 0));
        assert_eq!(agreed(10, "0,5"), (10, 0));
        assert_eq!(agreed(10, "5,0"), (0, 10));
        assert_eq!(agreed(10, ""), (0, 0));
        assert_eq!(agreed(10, "soon,later"), (0, 0));
        let none = HeartBeat::agree(Duration::from_micros(500), "10,10", Instant::now());
        assert!(none.next_timeout().is_none());
    }

    #[test]
    fn a_beat_comes_before_its_interval_has_passed_and_a_cut_long_after() {
        let now = Instant::now();
        let agreed = HeartBeat::agree(Duration::from_secs(4), "4000,4000", now);
        assert_eq!(agreed.next_timeout(), Some(now + Duration::from_secs(3)));
        assert!(agreed.due(now).is_none());
        let later = now + Duration::from_secs(3);
        assert!(matches!(agreed.due(later), Some(Due::Beat)));
        let later = now + Duration::from_secs(10);
        assert!(matches!(agreed.due(later), Some(Due::Silent)));
    }
}
