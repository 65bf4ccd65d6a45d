//! One client's session: frames and time in, actions out.
//!
//! The driver of a session calls the `on_…` inputs, then takes [`Session::actions`] and does them
//! in order. If one cannot be done it discards the rest and calls [`Session::on_failure`]. Queries
//! ([`Session::wants_input`], [`Session::next_timeout`]) are possible at any time.
//!
//! ```text
//!            CONNECT or STOMP              verdict: welcome
//!  Opening ────────────────► Authenticating ────────────► Ready
//!     │                          │                          │
//!     │ refusal, timeout         │ refusal                  │ DISCONNECT, refusal,
//!     ▼                          ▼                          ▼ heart-beat, stop
//!  Closed ◄─────────────────────────────────────────────────┘
//! ```

mod action;
mod frames;
mod reply;

use std::collections::VecDeque;
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

pub use self::action::{
    Acknowledgement, Action, Closing, Credentials, LoginVerdict, Publication, Receipt,
};
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
    actions: VecDeque<Action>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Authenticating { intervals: Intervals },
    Ready,
    Closed,
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
            actions: VecDeque::new(),
        }
    }

    /// Handles a frame from the client. Must not be called while [`Session::wants_input`] is
    /// `false`.
    pub fn on_frame(&mut self, mut frame: Frame) {
        let done = match self.state {
            State::Opening => self.on_first_frame(&frame),
            State::Ready => self.on_next_frame(&mut frame),
            State::Authenticating { .. } | State::Closed => Ok(()),
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
            State::Ready if self.stalled_at(outbound).is_some_and(|at| at <= now) => {
                self.refuse(&Refusal::Stalled(self.settings.stall), None);
            }
            State::Ready => {
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
        match self.state {
            State::Ready => self.heart_beat.on_timeout(now, outbound),
            _ => Vec::new(),
        }
    }

    /// Returns when to call [`Session::on_busy`] next.
    pub fn next_beat(&self, outbound: &OutboundState) -> Option<Instant> {
        match self.state {
            State::Ready => self.heart_beat.next_timeout(outbound),
            _ => None,
        }
    }

    /// Whether [`Session::on_timeout`] would disconnect the client because it was silent.
    pub fn would_cut(&self, now: Instant, outbound: &OutboundState) -> bool {
        self.state == State::Ready && self.heart_beat.would_cut(now, outbound)
    }

    /// Ends the session for an external reason: bytes that are not a frame, a full outbox.
    /// `receipt` is that of the faulty frame, if known.
    pub fn on_failure(&mut self, refusal: &Refusal, receipt: Option<&str>) {
        self.actions.clear();
        // The receipt of a CONNECT is ignored, even if the frame cannot be parsed.
        let receipt = receipt.filter(|_| self.state != State::Opening);
        self.refuse(refusal, receipt);
    }

    /// Handles the refusal of a SEND or a COMMIT. Returns what to send instead of its RECEIPT if
    /// the client asked for `x-refusals`, else how the connection ends.
    ///
    /// # Errors
    /// The end of the connection; the session is closed then.
    pub fn on_refused(
        &mut self,
        refusal: &Refusal,
        receipt: Option<&str>,
    ) -> Result<Frame, Box<Closing>> {
        if self.lives_with_refusals && refusal.is_survivable() {
            self.refusals += 1;
            let id = DeliveryId {
                session: self.id,
                subscription: 0,
                number: self.refusals,
            };
            return Ok(refusal_message(refusal, id, receipt));
        }
        self.state = State::Closed;
        self.actions.clear();
        Err(Box::new(closing(refusal, receipt)))
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

    /// Returns the next action.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Returns the actions to do, in order.
    pub fn actions(&mut self) -> impl Iterator<Item = Action> + '_ {
        std::iter::from_fn(|| self.next_action())
    }

    /// Whether the next frame can be handled: not while a verdict is pending, nor after the end.
    pub fn wants_input(&self) -> bool {
        matches!(self.state, State::Opening | State::Ready)
    }

    /// Returns when to call [`Session::on_timeout`] next, if nothing happens until then.
    pub fn next_timeout(&self, outbound: &OutboundState) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Opening | State::Authenticating { .. } => {
                Some(self.opened + self.settings.connect_timeout)
            }
            State::Ready => self
                .stalled_at(outbound)
                .into_iter()
                .chain(self.heart_beat.next_timeout(outbound))
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
        if self.state != State::Closed {
            self.state = State::Closed;
            self.actions.push_back(Action::Close(closing));
        }
    }

    fn stalled_at(&self, outbound: &OutboundState) -> Option<Instant> {
        outbound
            .replies_stuck
            .map(|since| since + self.settings.stall)
    }
}

fn is_connect(command: Command) -> bool {
    matches!(command, Command::Connect | Command::Stomp)
}
