//! How a connection ends: what it leaves behind, and what it sends last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::debug;

use super::{Connection, End, linger, now};
use crate::engine::queue::Return;
use crate::engine::refusal::CloseCode;
use crate::engine::session::Closing;
use crate::hub::{Client, Loss};
use crate::outbox::Removed;
use crate::transport;
use crate::turn;

impl Connection {
    /// Sends the last frames, and waits until they arrive.
    pub(super) async fn end(&mut self, end: End) {
        self.unsubscribe_all(end.cause()).await;
        let label = end.label();
        match end {
            End::Lost(error) => debug!(parent: &self.span, %error, "connection lost"),
            End::ClosedByClient(answer) => {
                self.outbox.control(answer, now());
                self.linger(Duration::ZERO, transport::DRAIN_TIME).await;
            }
            End::Finished => self.linger(Duration::ZERO, transport::DRAIN_TIME).await,
            End::Closing(closing) => self.close(*closing).await,
        }
        self.shared.metrics.closed.with(label).inc();
        self.log_end(label);
    }

    fn log_end(&self, reason: &str) {
        let Client { accepted, .. } = &*self.client;
        let (received, sent) = (self.client.received(), self.client.sent());
        debug!(
            parent: &self.span,
            reason,
            user = self.client.user(),
            seconds = (now() - *accepted).as_secs(),
            received_frames = received.frames,
            received_bytes = received.bytes,
            sent_messages = sent.frames,
            sent_bytes = sent.bytes,
            "disconnected"
        );
    }

    async fn unsubscribe_all(&mut self, cause: Return) {
        let (lost, removed) = self.outbox.end();
        self.shared.hub.drop_messages(Loss::Closed, lost);
        let_go(removed);
        for number in self.members.numbers() {
            self.members.end(number, &self.shared.hub, cause, now());
            turn::add(ENDED, 0);
            turn::end_if_over().await;
        }
        self.members.end_all(&self.shared.hub, cause, now());
    }

    async fn close(&self, closing: Closing) {
        debug!(parent: &self.span, reason = closing.reason, code = closing.code.number(), "closing");
        self.shared.metrics.count_refusal(&closing);
        if let Some(farewell) = &closing.farewell {
            self.reply(farewell);
        }
        let close = self.framing().close(closing.code, &closing.reason);
        if !close.is_empty() {
            self.outbox.control(close, now());
        }
        if closing.absent {
            // The client may be unreachable; if not, it learns why it was disconnected.
            self.linger(Duration::ZERO, FAREWELL).await;
        } else if closing.is_stop() {
            self.linger(Duration::ZERO, self.shared.stop_flush).await;
        } else {
            // STOMP 1.2, "DISCONNECT": the client closes, at once or after the RECEIPT, and some
            // report a failure if the server closes first.
            let asked = closing.code == CloseCode::Normal;
            let courtesy = if asked && !self.framing().is_websocket() {
                COURTESY
            } else {
                Duration::ZERO
            };
            self.linger(courtesy, transport::DRAIN_TIME).await;
        }
    }

    async fn linger(&self, courtesy: Duration, time: Duration) {
        let deadline = Instant::now() + time;
        linger::linger(self.socket.stream(), &self.outbox, courtesy, deadline).await;
    }
}

impl End {
    /// Returns why unsettled messages of the client return to their queues.
    fn cause(&self) -> Return {
        match self {
            Self::Closing(closing) if closing.is_orderly() => Return::Left,
            Self::ClosedByClient(answer) if is_normal(answer) => Return::Left,
            Self::Closing(_) | Self::ClosedByClient(_) | Self::Finished | Self::Lost(_) => {
                Return::Lost
            }
        }
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Closing(closing) => closing.label,
            Self::ClosedByClient(_) => "client_close",
            Self::Finished => "client_gone",
            Self::Lost(_) => "client_reset",
        }
    }
}

/// Whether a Close, whose reply this is, has no code, 1000 or 1001.
fn is_normal(answer: &[u8]) -> bool {
    let code = answer.get(2..4);
    code.is_none_or(|code| code == 1000_u16.to_be_bytes() || code == 1001_u16.to_be_bytes())
}

/// Time for a TCP client to close after its DISCONNECT.
const COURTESY: Duration = Duration::from_secs(1);

/// Frees what was queued for a client. Freeing large messages of many clients that end at once
/// would delay the others, so a thread that serves no clients does it, and only one: several would
/// take processors from those that do.
pub(super) fn let_go(removed: Removed) {
    if removed.bytes() <= LARGE {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let mut garbage = GARBAGE.lock().unwrap_or_else(PoisonError::into_inner);
    garbage.waits.push(removed);
    let is_freed = std::mem::replace(&mut garbage.is_freed, true);
    // A runtime that shuts down drops the closure at once.
    drop(garbage);
    if !is_freed {
        let freeing = Freeing;
        runtime.spawn_blocking(move || drop(freeing));
    }
}

/// Frees all garbage when it is dropped, including what is added meanwhile: also if the runtime
/// shuts down and never runs what it was given.
struct Freeing;

impl Drop for Freeing {
    fn drop(&mut self) {
        loop {
            let mut garbage = GARBAGE.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(next) = garbage.waits.pop() else {
                *garbage = Garbage::NONE;
                return;
            };
            drop(garbage);
            drop(next);
        }
    }
}

/// What is to be freed.
struct Garbage {
    waits: Vec<Removed>,
    /// Whether a thread is freeing it.
    is_freed: bool,
}

impl Garbage {
    const NONE: Self = Self {
        waits: Vec::new(),
        is_freed: false,
    };
}

static GARBAGE: Mutex<Garbage> = Mutex::new(Garbage::NONE);

/// Cost of the end of a subscription, in steps of a turn.
const ENDED: usize = 4;

/// More bytes than this count as large.
const LARGE: usize = 1024 * 1024;

/// Time for a client that was disconnected as silent to read the reason.
const FAREWELL: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;

    use super::*;
    use crate::encoding::Framing;
    use crate::engine::refusal::Refusal;

    #[test]
    fn only_a_client_that_leaves_in_order_is_not_lost() {
        let closing = |code| {
            End::Closing(Box::new(Closing {
                farewell: None,
                code,
                reason: String::new(),
                label: Refusal::SlowConsumer.label(),
                absent: false,
            }))
        };
        let closed = |code| End::ClosedByClient(Framing::Text.close(code, ""));
        for end in [
            closing(CloseCode::Normal),
            closing(CloseCode::Stopping),
            closed(CloseCode::Normal),
            closed(CloseCode::Stopping),
            End::ClosedByClient(Bytes::from_static(b"\x88\x00")),
        ] {
            assert_eq!(end.cause(), Return::Left, "{end:?}");
        }
        for end in [
            closing(CloseCode::Protocol),
            closing(CloseCode::HeartBeat),
            closing(CloseCode::SlowConsumer),
            closed(CloseCode::Protocol),
            End::Finished,
            End::Lost(io::ErrorKind::ConnectionReset.into()),
        ] {
            assert_eq!(end.cause(), Return::Lost, "{end:?}");
        }
    }
}
