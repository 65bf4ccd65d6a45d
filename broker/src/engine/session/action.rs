//! The actions that a session requests, and the answers it receives.

use std::collections::VecDeque;

use stomp_codec::{Command, Frame, Version};

use crate::engine::ack::AckVerdict;
use crate::engine::ack::DeliveryId;
use crate::engine::message::Message;
use crate::engine::refusal::{CloseCode, Refusal};
use crate::engine::subscription::Subscription;
use crate::engine::transaction::Transaction;

use super::replies::{Receipt, Ticket};

/// A client's credentials from CONNECT. `Debug` does not show the passcode.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The `login` header.
    pub login: Option<String>,
    /// The `passcode` header.
    pub passcode: Option<String>,
}

/// The authenticator's answer to [`Credentials`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginVerdict {
    /// The client is accepted, under this name if it has one.
    Welcome {
        /// The `user-name` of CONNECTED.
        user: Option<String>,
    },
    /// The client is rejected.
    Refused(Refusal),
}

/// A message to hand over to its subscribers.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The message.
    pub message: Message,
    /// The reply that waits for that: the RECEIPT, if the SEND asked for one.
    pub ticket: Option<Ticket>,
}

/// An ACK or NACK for a delivery of this session.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The delivery; in mode `client` those before it are included.
    pub delivery: DeliveryId,
    /// The outcome of the delivery.
    pub verdict: AckVerdict,
    /// The number of the transaction that holds it until COMMIT.
    pub transaction: Option<u32>,
    /// The RECEIPT that waits for that, if the frame asked for one.
    pub ticket: Option<Ticket>,
}

/// What the driver must do, in the order in which the session returns it.
///
/// When an action with a [`Ticket`] is done, then or later, the driver calls
/// [`Session::on_done`](super::Session::on_done); if it cannot be done,
/// [`Session::on_refused`](super::Session::on_refused).
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask the authenticator; pass its answer to
    /// [`Session::on_verdict`](super::Session::on_verdict).
    Authenticate(Credentials),
    /// Read and write frames by the rules of this version from now on, with the limits of an
    /// authenticated client.
    Open(Version),
    /// Create the subscription. The RECEIPT enters the outbox before a publisher can see the
    /// subscription, so that no MESSAGE of it overtakes the RECEIPT.
    Subscribe(Subscription, Option<Receipt>),
    /// End the subscription with this number. No MESSAGE of it follows the RECEIPT.
    Unsubscribe(u32, Option<Ticket>),
    /// Hand a message over. May be batched with the ones that follow, and must be done before any
    /// other action.
    Publish(Publication),
    /// Settle deliveries of a queue, or hold them for a transaction.
    Settle(Acknowledgement),
    /// Count an ACK or NACK that has no effect and does no harm.
    IgnoreAck(Option<Ticket>),
    /// Commit all or nothing of a transaction.
    Commit(Transaction, Option<Ticket>),
    /// Discard what a transaction holds.
    Abort(Transaction, Option<Ticket>),
    /// Refuse a SEND or a COMMIT: call [`Session::on_refused`](super::Session::on_refused).
    Refuse(Box<Refusal>, Option<Ticket>),
    /// Send a heart-beat: one EOL.
    Beat,
    /// Send a Ping of WebSocket, ahead of all frames that are not partly written.
    Ping,
    /// End the connection. Always the last action.
    Close(Closing),
}

/// The actions that a session requests, in order.
///
/// There is rarely more than one, and that one needs no allocation: an action is large, and an idle
/// client would keep the memory.
#[derive(Debug, Default)]
pub(super) struct Actions {
    first: Option<Action>,
    /// Those after the first.
    more: VecDeque<Action>,
}

/// How a connection ends.
#[derive(Clone, Debug)]
pub struct Closing {
    /// The last frame: an ERROR, or the RECEIPT of DISCONNECT.
    pub farewell: Option<Frame>,
    /// The code of the Close frame of WebSocket.
    pub code: CloseCode,
    /// Its reason, not yet shortened.
    pub reason: String,
    /// The label of the reason in metrics.
    pub label: &'static str,
    /// Whether the peer does not respond, so that the broker writes only once and does not wait.
    pub absent: bool,
}

impl Actions {
    pub(super) fn push_back(&mut self, action: Action) {
        if self.is_empty() {
            self.first = Some(action);
        } else {
            self.more.push_back(action);
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Action> {
        if self.first.is_some() {
            return self.first.take();
        }
        let next = self.more.pop_front();
        if self.more.is_empty() {
            self.more = VecDeque::new();
        }
        next
    }

    pub(super) fn front(&self) -> Option<&Action> {
        self.first.as_ref().or_else(|| self.more.front())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Closing {
    /// Whether the broker is shutting down, so that there is little time.
    pub fn is_stop(&self) -> bool {
        self.code == CloseCode::Stopping
    }

    /// Leaves out the RECEIPT of DISCONNECT, which would say that all frames before it are done.
    pub(super) fn forget_receipt(&mut self) {
        self.farewell
            .take_if(|frame| frame.command == Command::Receipt);
    }

    /// Whether there is time for replies that wait: not when the broker stops, nor when the peer
    /// does not respond.
    pub fn waits(&self) -> bool {
        !self.is_stop() && !self.absent
    }

    /// Whether the client has done nothing wrong: it disconnects, or the broker is shutting down.
    pub fn is_orderly(&self) -> bool {
        matches!(self.code, CloseCode::Normal | CloseCode::Stopping)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}
