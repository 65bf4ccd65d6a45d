//! Returns freed memory to the operating system.
//!
//! glibc keeps freed memory for reuse; after a burst that can be most of the process. It returns it
//! on request, but blocks threads that allocate meanwhile: about 20 ms for 300 MiB. So the broker
//! requests it when there is much to return and little to do, and at least once a minute otherwise.
//! Without glibc this does nothing.

use std::time::{Duration, Instant};

/// When memory is returned.
#[derive(Debug)]
pub(super) struct Trim {
    /// Earliest time of the next attempt.
    next: Instant,
    /// Latest time of the next attempt, however busy the broker is.
    latest: Instant,
    /// Time of the last check, and the processor time that the process had used by then.
    last: (Instant, Duration),
}

impl Trim {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            latest: now + PATIENCE,
            last: (now, Duration::ZERO),
        }
    }

    /// Returns memory if it is time for that. This takes a while, so a thread that serves clients
    /// must not call it.
    pub(super) fn run_maintenance(&mut self, now: Instant) {
        let quiet = self.is_quiet(now);
        if now < self.next || (!quiet && now < self.latest) {
            return;
        }
        self.latest = now + PATIENCE;
        let Some(resident) = resident() else {
            return;
        };
        let used = allocator::used();
        let spare = resident.saturating_sub(used);
        if !is_worth(spare, used) {
            return;
        }
        allocator::trim();
        let returned = resident.saturating_sub(self::resident().unwrap_or(resident));
        tracing::debug!(spare, returned, "returned memory to the operating system");
        // Fragmented memory cannot be returned: do not try again at once.
        if returned < spare / 4 {
            self.next = now + PATIENCE;
        }
    }

    fn is_quiet(&mut self, now: Instant) -> bool {
        let Some(used) = processor_time() else {
            return true;
        };
        let (then, before) = std::mem::replace(&mut self.last, (now, used));
        used.saturating_sub(before) * QUIET <= now.saturating_duration_since(then)
    }
}

/// Whether `spare` free bytes are worth returning while `used` bytes are in use.
fn is_worth(spare: usize, used: usize) -> bool {
    spare >= LITTLE && spare >= used / 2
}

/// Returns the number of bytes that the process has from the operating system.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Returns the processor time that the process has used, in steps of 10 ms.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may contain anything.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator {
    /// Returns the number of allocated bytes.
    #[expect(
        unsafe_code,
        reason = "glibc's allocator is queried through a C function"
    )]
    pub(super) fn used() -> usize {
        // SAFETY: it takes no argument and returns a plain structure.
        let info = unsafe { libc::mallinfo2() };
        info.uordblks + info.hblkhd
    }

    /// Returns free memory to the operating system.
    #[expect(
        unsafe_code,
        reason = "glibc's allocator is trimmed through a C function"
    )]
    pub(super) fn trim() {
        // SAFETY: it touches no allocated memory, and takes the allocator's own locks.
        unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod allocator {
    pub(super) fn used() -> usize {
        usize::MAX
    }

    pub(super) fn trim() {}
}

/// Fewer free bytes than this, or than half of what is used, stay with the allocator.
const LITTLE: usize = 16 * 1024 * 1024;

/// The broker is idle if it uses less than this fraction (1/20) of a processor.
const QUIET: u32 = 20;

/// Longest time that a return may be postponed.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_worth_it_if_there_is_much_and_not_only_a_small_part() {
        assert!(!is_worth(LITTLE - 1, 0));
        assert!(is_worth(LITTLE, LITTLE));
        assert!(!is_worth(LITTLE, 3 * LITTLE));
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn what_was_freed_is_given_back() {
        // Small pieces, since large ones are returned when they are freed.
        let all: Vec<_> = (0..400_000).map(|_| vec![1_u8; 200]).collect();
        let full = resident().expect("Linux");
        drop(all);
        let now = Instant::now();
        let mut trim = Trim::new(now);
        trim.run_maintenance(now + PATIENCE);
        let after = resident().expect("Linux");
        assert!(full > after + 60 * 1024 * 1024, "{full} {after}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn processor_time_is_read() {
        assert!(processor_time().is_some());
    }
}
