//! How long a thread works for one task before it yields to others.
//!
//! A worker thread runs one task at a time, and a task with much work would block all other clients
//! of its thread. So work done for a client is counted here, where it happens. After a certain
//! amount the clock is read, and after a fraction of a millisecond the task yields. Counting is
//! cheap, reading the clock is not, and yielding is expensive: it wakes another thread to look for
//! work, and a publisher that is interrupted gets smaller batches.
//!
//! The count belongs to the thread: what one task leaves makes the next one end its turn sooner,
//! which is harmless.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Counts work: subscribers served, messages moved or similar steps, and bytes copied or written.
pub fn add(steps: usize, bytes: usize) {
    DONE.set(DONE.get().saturating_add(steps * STEP + bytes));
}

/// Starts the turn of a task.
pub fn begin(now: Instant) {
    DONE.set(0);
    BEGUN.set(Some(now));
}

/// Whether the turn is over. If it is, the caller ends it.
pub fn is_over() -> bool {
    is_longer_than(TURN)
}

/// Like [`is_over`], for the hand-over of a batch, which is cheapest without interruption.
pub fn is_over_in_batch() -> bool {
    is_longer_than(BATCH)
}

/// Yields to other tasks if the turn is over.
pub async fn end_if_over() {
    if is_over() {
        end().await;
    }
}

/// Yields to other tasks.
pub async fn end() {
    tokio::task::yield_now().await;
    begin(Instant::now());
}

fn is_longer_than(limit: Duration) -> bool {
    DONE.get() >= QUANTUM && is_late(limit)
}

#[cold]
fn is_late(limit: Duration) -> bool {
    DONE.set(0);
    let now = Instant::now();
    let worked = BEGUN
        .get()
        .map(|begun| now.saturating_duration_since(begun));
    // If the start is long ago, the thread was idle in between and this turn has just begun.
    let worked = worked.filter(|worked| *worked < STALE);
    if worked.is_none() {
        BEGUN.set(Some(now));
    }
    worked.is_some_and(|worked| worked >= limit)
}

thread_local! {
    static DONE: Cell<usize> = const { Cell::new(0) };
    static BEGUN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Maximum duration of a turn.
const TURN: Duration = Duration::from_micros(250);

/// Maximum duration in the hand-over of a batch.
const BATCH: Duration = Duration::from_millis(1);

/// Longer than any turn.
const STALE: Duration = Duration::from_millis(10);

/// About a tenth of a millisecond of work, in bytes copied.
const QUANTUM: usize = 256 * 1024;

/// Cost of a step, in bytes copied: a system call takes some microseconds, as does copying this
/// many bytes.
const STEP: usize = 4 * 1024;

/// Cost of moving or settling a message, in bytes copied.
pub const MESSAGE: usize = 512;
