//! The one timer of a connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

/// The one timer of a connection. Deadlines mostly move later, so it is set again only when one
/// moves earlier, and when it has passed.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Sets the deadline.
    pub(super) fn arm(&mut self, deadline: Option<std::time::Instant>) {
        let Some(deadline) = deadline.map(Instant::from_std) else {
            self.sleep = None;
            return;
        };
        match &mut self.sleep {
            Some(sleep) if sleep.is_elapsed() || sleep.deadline() > deadline => {
                sleep.as_mut().reset(deadline);
            }
            Some(_) => {}
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
    }

    /// Waits until the deadline has passed.
    pub(super) async fn passed(&mut self) {
        poll_fn(|context| self.poll_passed(context)).await;
    }

    /// Like [`Timer::passed`], for a future that also waits for other things.
    pub(super) fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}
