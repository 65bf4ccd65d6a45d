//! One client's session: frames and time in, actions out.
//!
//! The driver of a session calls the `on_…` inputs, then sends each [`Session::next_reply`] and does
//! each [`Session::next_action`], in order. Queries ([`Session::wants_input`],
//! [`Session::next_timeout`]) are possible at any time.
//!
//! ```text
//!            CONNECT or STOMP              verdict: welcome
//!  Opening ────────────────► Authenticating ────────────► Ready
//!     │                          │                          │ DISCONNECT, refusal,
//!     │ refusal, timeout         │ refusal                  │ heart-beat, stop
//!     ▼                          ▼      replies wait?       ▼
//!  Closed ◄────────────────────────────────────────────────────────► Leaving
//!     ▲                              no                  yes            │
//!     └─────────────────────────────────────────────────────────────────┘
//!                                                       all sent, timeout
//! ```

mod action;
mod frames;
mod replies;
mod reply;

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stomp_codec::{Command, Frame, Version};

use super::SessionId;
use super::ack::DeliveryId;
use super::destination::Destination;
use super::heart_beat::{Due, HeartBeat, Intervals, OutboundState};
use super::refusal::{CloseCode, Refusal};
use super::subscription::{self, Prefetch, Subscriptions};
use super::transaction::Transactions;

use self::action::Actions;
pub use self::action::{Acknowledgement, Action, Closing, Credentials, LoginVerdict, Publication};
use self::replies::Replies;
pub use self::replies::{Receipt, Ticket, WaitingReplies};
pub use self::reply::error_frame;
use self::reply::{closing, refusal_message};

/// Settings of every session of a broker.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// The value of the `server` header, such as `stompd/1.0.0`.
    pub server: String,
    /// How often the broker can send a heart-beat; zero if not at all.
    pub send: Duration,
    /// How often the broker wants to hear from a client; zero if not at all.
    pub want: Duration,
    /// Duration of silence after which to ping a WebSocket client; zero if never.
    pub ping: Duration,
    /// How long the socket may accept no byte while replies are queued.
    pub stall: Duration,
    /// How long a client may take to send CONNECT after it was accepted.
    pub connect_timeout: Duration,
    /// Limits of the subscriptions of one session.
    pub subscriptions: subscription::Limits,
    /// Prefetch of a subscription that does not ask for one.
    pub prefetch: Prefetch,
}

/// The session of one client.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    settings: Arc<SessionSettings>,
    state: State,
    version: Version,
    heart_beat: HeartBeat,
    opened: Instant,
    subscriptions: Subscriptions,
    transactions: Transactions,
    /// Whether the client stays connected when a SEND is refused (`x-refusals:true`).
    lives_with_refusals: bool,
    refusals: u64,
    /// The destination of the last SEND: most clients publish to few destinations.
    last_destination: Option<Destination>,
    replies: Replies,
    actions: Actions,
}

#[derive(Debug)]
enum State {
    Opening,
    Authenticating { intervals: Intervals },
    Ready,
    Leaving(Box<Leaving>),
    Closed,
}

/// The end of a session that waits for its replies.
#[derive(Debug)]
struct Leaving {
    closing: Closing,
    /// When it waits no longer.
    until: Instant,
}

impl Session {
    /// Returns a session whose client was accepted at `accepted`; `can_ping` says whether its
    /// transport has Ping and Pong.
    pub fn new(
        id: SessionId,
        settings: Arc<SessionSettings>,
        can_ping: bool,
        accepted: Instant,
    ) -> Self {
        let heart_beat = HeartBeat::new(settings.ping, settings.stall, can_ping, accepted);
        Self {
            id,
            settings,
            state: State::Opening,
            version: Version::V1_0,
            heart_beat,
            opened: accepted,
            subscriptions: Subscriptions::default(),
            transactions: Transactions::default(),
            lives_with_refusals: false,
            refusals: 0,
            last_destination: None,
            replies: Replies::default(),
            actions: Actions::default(),
        }
    }

    /// Handles a frame from the client. Must not be called while [`Session::wants_input`] is
    /// `false`.
    pub fn on_frame(&mut self, mut frame: Frame) {
        let done = match self.state {
            State::Opening => self.on_first_frame(&frame),
            State::Ready => self.on_next_frame(&mut frame),
            State::Authenticating { .. } | State::Leaving(_) | State::Closed => Ok(()),
        };
        if let Err(refusal) = done {
            // CONNECT cannot ask for a RECEIPT, whatever the frame says.
            let receipt = frame
                .header("receipt")
                .filter(|_| !is_connect(frame.command));
            self.refuse(&refusal, receipt);
        }
    }

    /// Handles the authenticator's answer.
    pub fn on_verdict(&mut self, verdict: LoginVerdict, now: Instant) {
        let State::Authenticating { intervals } = self.state else {
            return;
        };
        match verdict {
            LoginVerdict::Refused(refusal) => self.refuse(&refusal, None),
            LoginVerdict::Welcome { user } => self.open(intervals, user, now),
        }
    }

    /// Records that bytes arrived from the client, whether or not they complete a frame.
    pub fn on_read(&mut self, now: Instant) {
        self.heart_beat.on_read(now);
    }

    /// Records that the driver stops or resumes reading from the client.
    pub fn on_reading(&mut self, reading: bool, now: Instant) {
        self.heart_beat.on_reading(reading, now);
    }

    /// Handles a deadline that [`Session::next_timeout`] returned.
    pub fn on_timeout(&mut self, now: Instant, outbound: &OutboundState) {
        match self.state {
            State::Closed => {}
            State::Opening | State::Authenticating { .. } => {
                if now >= self.opened + self.settings.connect_timeout {
                    self.refuse(
                        &Refusal::ConnectTimeout(self.settings.connect_timeout),
                        None,
                    );
                }
            }
            State::Leaving(ref mut leaving) if leaving.until <= now => {
                self.replies.cut_waiting();
                leaving.closing.forget_receipt();
            }
            State::Ready | State::Leaving(_)
                if self.stalled_at(outbound).is_some_and(|at| at <= now) =>
            {
                self.refuse(&Refusal::Stalled(self.settings.stall), None);
            }
            State::Ready | State::Leaving(_) => {
                for due in self.heart_beat.on_timeout(now, outbound) {
                    match due {
                        Due::Cut(silence) => self.refuse(&Refusal::HeartBeatMissed(silence), None),
                        Due::Beat => self.actions.push_back(Action::Beat),
                        Due::Ping => self.actions.push_back(Action::Ping),
                    }
                }
            }
        }
    }

    /// Like [`Session::on_timeout`], within a step and while the client is not read: returns what
    /// must be sent at once.
    pub fn on_busy(&mut self, now: Instant, outbound: &OutboundState) -> Vec<Due> {
        if self.is_connected() {
            self.heart_beat.on_timeout(now, outbound)
        } else {
            Vec::new()
        }
    }

    /// Returns when to call [`Session::on_busy`] next.
    pub fn next_beat(&self, outbound: &OutboundState) -> Option<Instant> {
        let connected = self.is_connected();
        connected
            .then(|| self.heart_beat.next_timeout(outbound))
            .flatten()
    }

    /// Whether [`Session::on_timeout`] would disconnect the client because it was silent.
    pub fn would_cut(&self, now: Instant, outbound: &OutboundState) -> bool {
        self.is_connected() && self.heart_beat.would_cut(now, outbound)
    }

    /// Ends the session for an external reason: bytes that are not a frame, a full outbox.
    /// `receipt` is that of the faulty frame, if known.
    pub fn on_failure(&mut self, refusal: &Refusal, receipt: Option<&str>) {
        self.actions.clear();
        // The receipt of a CONNECT is ignored, even if the frame cannot be parsed.
        let receipt = receipt.filter(|_| !matches!(self.state, State::Opening));
        self.refuse(refusal, receipt);
    }

    /// Handles that the frame with this ticket is done: its RECEIPT can be sent.
    pub fn on_done(&mut self, ticket: Ticket) {
        self.replies.complete(ticket);
    }

    /// Handles that a frame with this ticket, if it has one, cannot be done. If it is a SEND or a
    /// COMMIT, and the client asked for `x-refusals`, a MESSAGE takes the place of its RECEIPT;
    /// else the session ends, and frames after it get no RECEIPT. Returns whether the client stays
    /// connected.
    pub fn on_refused(&mut self, refusal: &Refusal, ticket: Option<Ticket>) -> bool {
        let receipt = ticket.and_then(|ticket| self.replies.receipt_id(ticket));
        let receipt = receipt.as_deref();
        if self.lives_with_refusals && refusal.is_survivable() {
            self.refusals += 1;
            let id = DeliveryId {
                session: self.id,
                subscription: 0,
                number: self.refusals,
            };
            let message = refusal_message(refusal, id, receipt);
            match ticket {
                Some(ticket) => self.replies.answer(ticket, message),
                None => self.replies.push(Box::new(message)),
            }
            return true;
        }
        match ticket {
            Some(ticket) => self.replies.cut(ticket),
            None => self.replies.cut_waiting(),
        }
        // It comes before whatever else has ended the session.
        self.actions.clear();
        self.leave(closing(refusal, receipt));
        false
    }

    /// Handles shutdown of the broker: the client sees only the close code.
    pub fn on_stop(&mut self) {
        self.close(Closing {
            farewell: None,
            code: CloseCode::Stopping,
            reason: "the broker is stopping".into(),
            label: "stopping",
            absent: false,
        });
    }

    /// Handles the start of the WebSocket closing handshake by the client; the transport answers
    /// it.
    pub fn on_close(&mut self) {
        self.state = State::Closed;
        self.actions.clear();
    }

    /// Returns the next frame to send to the client.
    #[inline]
    pub fn next_reply(&mut self) -> Option<Box<Frame>> {
        self.replies.next()
    }

    /// Returns the next action. Replies must have been sent: an action that sends a frame itself
    /// waits for those before it.
    #[inline]
    pub fn next_action(&mut self) -> Option<Action> {
        if !self.replies.is_empty() && self.is_held_back() {
            return None;
        }
        if self.actions.is_empty() {
            return self.last_action();
        }
        self.actions.pop_front()
    }

    /// Returns the Close of a session that waits for nothing any more.
    fn last_action(&mut self) -> Option<Action> {
        if !matches!(self.state, State::Leaving(_)) || !self.replies.is_empty() {
            return None;
        }
        match mem::replace(&mut self.state, State::Closed) {
            State::Leaving(leaving) => Some(Action::Close(leaving.closing)),
            _ => None,
        }
    }

    /// Whether the next frame can be handled: not while a verdict is pending, nor while a SUBSCRIBE
    /// waits for the RECEIPTs before its own, nor after the end.
    pub fn wants_input(&self) -> bool {
        matches!(self.state, State::Opening | State::Ready) && !self.is_held_back()
    }

    /// Whether the session has ended, although replies may still wait.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Leaving(_) | State::Closed)
    }

    /// Returns how many replies wait.
    pub fn waiting_replies(&self) -> WaitingReplies {
        self.replies.waiting()
    }

    /// Returns when to call [`Session::on_timeout`] next, if nothing happens until then.
    pub fn next_timeout(&self, outbound: &OutboundState) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Opening | State::Authenticating { .. } => {
                Some(self.opened + self.settings.connect_timeout)
            }
            State::Ready | State::Leaving(_) => self
                .stalled_at(outbound)
                .into_iter()
                .chain(self.heart_beat.next_timeout(outbound))
                .chain(self.leaves_at())
                .min(),
        }
    }

    /// Returns the number of bytes of the messages that its transactions hold.
    pub fn held(&self) -> usize {
        self.transactions.bytes()
    }

    /// Returns the negotiated version; 1.0 before negotiation.
    pub fn version(&self) -> Version {
        self.version
    }

    fn refuse(&mut self, refusal: &Refusal, receipt: Option<&str>) {
        self.close(closing(refusal, receipt));
    }

    fn close(&mut self, closing: Closing) {
        match self.state {
            State::Opening | State::Authenticating { .. } | State::Ready => self.leave(closing),
            // What cannot wait ends the waiting.
            State::Leaving(_) if !closing.waits() => self.leave(closing),
            State::Leaving(_) | State::Closed => {}
        }
    }

    /// Closes the connection when all replies are sent.
    fn leave(&mut self, closing: Closing) {
        if !closing.waits() {
            self.replies.cut_waiting();
        }
        if self.replies.is_empty() {
            self.state = State::Closed;
            self.actions.push_back(Action::Close(closing));
        } else {
            let until = self.heart_beat.last_read() + LEAVING_TIME;
            self.state = State::Leaving(Box::new(Leaving { closing, until }));
        }
    }

    fn is_connected(&self) -> bool {
        matches!(self.state, State::Ready | State::Leaving(_))
    }

    /// Whether the next action is a SUBSCRIBE that must wait for the RECEIPTs before its own: no
    /// MESSAGE of it may precede its RECEIPT.
    fn is_held_back(&self) -> bool {
        let held = matches!(self.actions.front(), Some(Action::Subscribe(_, Some(_))));
        held && !self.replies.is_empty()
    }

    fn leaves_at(&self) -> Option<Instant> {
        match &self.state {
            State::Leaving(leaving) => Some(leaving.until),
            _ => None,
        }
    }

    fn stalled_at(&self, outbound: &OutboundState) -> Option<Instant> {
        outbound
            .replies_stuck
            .map(|since| since + self.settings.stall)
    }
}

/// How long a session waits for its replies before it ends without them.
const LEAVING_TIME: Duration = Duration::from_secs(5);

fn is_connect(command: Command) -> bool {
    matches!(command, Command::Connect | Command::Stomp)
}
