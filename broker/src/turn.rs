//! How long a task works before others have their turn.
//!
//! A worker thread runs one task at a time, and a task that has much to do would keep all other
//! clients of its thread waiting. So it counts its work, and lets the others run after about a
//! millisecond of it.

/// The work of a task since others had their turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Turn(usize);

impl Turn {
    /// Counts work: subscribers served, messages moved or the like, and bytes that were copied or
    /// written.
    pub fn add(&mut self, steps: usize, bytes: usize) {
        self.0 += steps * STEP + bytes;
    }

    /// Whether it is time for others.
    pub const fn is_over(&self) -> bool {
        self.0 >= TURN
    }

    /// Lets others have their turn if it is time.
    pub async fn end(&mut self) {
        if self.is_over() {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// What a step costs, in bytes copied: a call of the kernel takes some microseconds, and so does a
/// copy of this much.
const STEP: usize = 4 * 1024;

/// Bytes copied in about a millisecond.
const TURN: usize = 1024 * 1024;
