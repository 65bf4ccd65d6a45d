//! What the lock of a queue protects.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard};

use crate::engine::queue::Queue;
use crate::outbox::{Allowance, OutboxLoad, Subscriber};

#[derive(Debug)]
pub(super) struct State {
    pub(super) queue: Queue<Arc<Subscriber>>,
    /// A task is handing over what the queue grants.
    pub(super) dispatching: bool,
    /// It was removed from the table, because it was unused.
    pub(super) gone: bool,
    /// The share of this queue in the client's allowance; zero if clients name the queue.
    pub(super) counted: OutboxLoad,
}

/// The locked state. Its load is counted on unlock.
pub(super) struct Locked<'a> {
    pub(super) state: MutexGuard<'a, State>,
    pub(super) allowance: Option<&'a Allowance>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(allowance) = self.allowance else {
            return;
        };
        let load = self.state.queue.load();
        let now = OutboxLoad {
            frames: load.messages,
            bytes: load.bytes,
        };
        allowance.change(self.state.counted, now);
        self.state.counted = now;
    }
}
