//! How long a thread works for one task before others have their turn.
//!
//! A worker thread runs one task at a time, and a task that has much to do would keep all other
//! clients of its thread waiting. So whatever is done for a client is counted here, where it is
//! done, and the task lets others run after about a millisecond of it. The count belongs to the
//! thread: what one task leaves of it makes the next one end its turn sooner, and no harm is done.

use std::cell::Cell;

/// Counts work: subscribers served, messages moved or the like, and bytes that were copied or
/// written.
pub fn add(steps: usize, bytes: usize) {
    DONE.set(DONE.get().saturating_add(steps * STEP + bytes));
}

/// Whether it is time for others.
pub fn is_over() -> bool {
    DONE.get() >= TURN
}

/// Lets others have their turn if it is time.
pub async fn end_if_over() {
    if is_over() {
        end().await;
    }
}

/// Lets others have their turn.
pub async fn end() {
    DONE.set(0);
    tokio::task::yield_now().await;
}

thread_local! {
    static DONE: Cell<usize> = const { Cell::new(0) };
}

/// What a step costs, in bytes copied: a call of the kernel takes some microseconds, and so does a
/// copy of this much.
const STEP: usize = 4 * 1024;

/// Bytes copied in about a millisecond.
const TURN: usize = 1024 * 1024;

/// What it costs to move or settle a message, in bytes copied.
pub const MESSAGE: usize = 512;
