//! How the client's own task is woken.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// Wakes one task. Waiting costs two atomic operations and no lock, and happens in each turn of a
/// client's task: tokio's `Notify`, which serves many tasks, takes a lock when it begins to wait
/// and another when it gives up.
#[derive(Debug, Default)]
pub(super) struct Wake {
    called: AtomicBool,
    waker: AtomicWaker,
}

impl Wake {
    /// Wakes the task, or makes its next wait return at once.
    pub(super) fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for the next call.
    pub(super) async fn called(&self) {
        poll_fn(|context| {
            if self.take() {
                return Poll::Ready(());
            }
            self.waker.register(context.waker());
            // A call in between found no waker registered.
            if self.take() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Drops the waker, which would keep the task in memory as long as this exists.
    pub(super) fn forget(&self) {
        self.waker.take();
    }

    fn take(&self) -> bool {
        // Usually there was no call; then nothing is written.
        self.called.load(Ordering::Acquire) && self.called.swap(false, Ordering::AcqRel)
    }
}
