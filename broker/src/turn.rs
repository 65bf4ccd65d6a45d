//! How long a thread works for one task before others have their turn.
//!
//! A worker thread runs one task at a time, and a task that has much to do would keep all other
//! clients of its thread waiting. So whatever is done for a client is counted here, where it is
//! done. When that is some work the clock is asked, and after a part of a millisecond the task lets
//! others run. Counting is cheap, asking the clock is not, and letting others run is dear: it wakes
//! another thread to look for work, and a publisher that is interrupted gets smaller batches.
//!
//! The count belongs to the thread: what one task leaves of it makes the next one end its turn
//! sooner, and no harm is done.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Counts work: subscribers served, messages moved or the like, and bytes that were copied or
/// written.
pub fn add(steps: usize, bytes: usize) {
    DONE.set(DONE.get().saturating_add(steps * STEP + bytes));
}

/// A task begins to work.
pub fn begin(now: Instant) {
    DONE.set(0);
    BEGUN.set(Some(now));
}

/// Whether it is time for others. If it is, the caller ends the turn.
pub fn is_over() -> bool {
    is_longer_than(TURN)
}

/// As [`is_over`], in the hand-over of a batch, which is cheapest in one piece.
pub fn is_over_in_batch() -> bool {
    is_longer_than(BATCH)
}

/// Lets others have their turn if it is time.
pub async fn end_if_over() {
    if is_over() {
        end().await;
    }
}

/// Lets others have their turn.
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
    // If it is long ago the thread was idle in between, and this turn has just begun.
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

/// How long a turn is.
const TURN: Duration = Duration::from_micros(250);

/// How long it is in the hand-over of a batch.
const BATCH: Duration = Duration::from_millis(1);

/// No turn is as long.
const STALE: Duration = Duration::from_millis(10);

/// Work of about a tenth of a millisecond, in bytes copied.
const QUANTUM: usize = 256 * 1024;

/// What a step costs, in bytes copied: a call of the kernel takes some microseconds, and so does a
/// copy of this much.
const STEP: usize = 4 * 1024;

/// What it costs to move or settle a message, in bytes copied.
pub const MESSAGE: usize = 512;
