//! What a session wants done, and what it is told in return.

use stomp_codec::{Frame, Version};

use crate::engine::ack::DeliveryId;
use crate::engine::message::Message;
use crate::engine::queue::Verdict as Settlement;
use crate::engine::refusal::{CloseCode, Refusal};
use crate::engine::subscription::Subscription;
use crate::engine::transaction::Transaction;

/// What a client says about itself in CONNECT. The passcode is not shown by `Debug`.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The `login` header.
    pub login: Option<String>,
    /// The `passcode` header.
    pub passcode: Option<String>,
}

/// What the authenticator says to [`Credentials`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client may work, under this name if it has one.
    Welcome {
        /// The `user-name` of CONNECTED.
        user: Option<String>,
    },
    /// It may not.
    Refused(Refusal),
}

/// A RECEIPT that is sent when something is done. Few frames ask for one, and without a box each
/// action would be twice as large, which is moved for each message.
pub type Receipt = Box<Frame>;

/// A message to hand over to its subscribers, and the RECEIPT to send when that is done.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The message.
    pub message: Message,
    /// The RECEIPT, if the SEND asked for one.
    pub receipt: Option<Receipt>,
}

/// An ACK or NACK for a delivery of this session.
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    /// The delivery; in mode `client` those before it are meant too.
    pub delivery: DeliveryId,
    /// What becomes of it.
    pub verdict: Settlement,
    /// The number of the transaction that holds it until COMMIT.
    pub transaction: Option<u32>,
    /// The RECEIPT, if the frame asked for one.
    pub receipt: Option<Receipt>,
}

/// What is to be done, in the order in which the session gives it out.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask the authenticator; its answer comes in with [`Session::on_verdict`](super::Session::on_verdict).
    Authenticate(Credentials),
    /// Read and write frames by the rules of this version from now on, under the limits of a
    /// client that is known.
    Open(Version),
    /// Make the subscription. The RECEIPT enters the outbox before a publisher can see the
    /// subscription, so that no MESSAGE of it overtakes the RECEIPT.
    Subscribe(Subscription, Option<Receipt>),
    /// End the subscription of this number. No MESSAGE of it follows the RECEIPT.
    Unsubscribe(u32, Option<Receipt>),
    /// Hand a message over; if a queue refuses it that is told with [`Session::on_refused`](super::Session::on_refused). May be
    /// gathered with the ones that follow, and must be done before any other action.
    Publish(Publication),
    /// Settle deliveries of a queue, or hold them for a transaction. If there never was such a
    /// delivery that is told with [`Session::on_failure`](super::Session::on_failure).
    Settle(Acknowledgement),
    /// An ACK or NACK that means nothing and does no harm: counted.
    IgnoreAck(Option<Receipt>),
    /// Do what a transaction holds, all or nothing; nothing is told with [`Session::on_refused`](super::Session::on_refused).
    Commit(Transaction, Option<Receipt>),
    /// Give up what a transaction holds.
    Abort(Transaction, Option<Receipt>),
    /// A SEND or a COMMIT is refused, and the client lives with that. Send what
    /// [`Session::on_refused`](super::Session::on_refused) returns in the place of the RECEIPT.
    Refuse(Box<Refusal>, Option<Receipt>),
    /// Send a frame.
    Reply(Box<Frame>),
    /// Send a heart-beat: one EOL.
    Beat,
    /// Send a Ping of WebSocket, ahead of all frames that are not partly written.
    Ping,
    /// End the connection. Always the last action.
    Close(Closing),
}

/// How a connection ends.
#[derive(Clone, Debug)]
pub struct Closing {
    /// The last frame: an ERROR, or the RECEIPT of DISCONNECT.
    pub farewell: Option<Frame>,
    /// The code of the Close frame of WebSocket.
    pub code: CloseCode,
    /// Its reason, uncut.
    pub reason: String,
    /// The label of the reason in metrics.
    pub label: &'static str,
    /// Whether the peer does not listen, so that nothing is waited for beyond one write.
    pub absent: bool,
}

impl Closing {
    /// Whether the broker stops, so that there is little time.
    pub fn is_stop(&self) -> bool {
        self.code == CloseCode::Stopping
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}
