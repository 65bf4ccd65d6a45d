//! One client's conversation: frames and time in, actions out.
//!
//! Whoever drives a session calls the `on_…` inputs, then takes [`Session::actions`] and does
//! them in their order. If one cannot be done it discards the rest and says so with
//! [`Session::on_failure`]. Questions ([`Session::wants_input`], [`Session::next_timeout`]) may
//! be asked at any time.
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
use super::heart_beat::{Due, HeartBeat, Intervals, Link};
use super::refusal::{CloseCode, Refusal};
use super::subscription::{self, Prefetch, Subscriptions};
use super::transaction::Transactions;

pub use self::action::{
    Acknowledgement, Action, Closing, Credentials, Publication, Receipt, Verdict,
};
pub use self::reply::error_frame;
use self::reply::{closing, refusal_message};

/// What holds for every session of a broker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The value of the `server` header, such as `stompd/1.0.0`.
    pub server: String,
    /// How often the broker can send a heart-beat; zero if not at all.
    pub send: Duration,
    /// How often the broker wants to hear from a client; zero if not at all.
    pub want: Duration,
    /// After how long a silence to ping a WebSocket client; zero if never.
    pub ping: Duration,
    /// How long a socket may take no byte while replies wait.
    pub stall: Duration,
    /// How long a client has for its CONNECT, from the moment it was accepted.
    pub connect_timeout: Duration,
    /// How much the subscriptions of one session may take.
    pub subscriptions: subscription::Limits,
    /// How much a subscription that names no number may have on the way to it.
    pub prefetch: Prefetch,
}

/// The conversation with one client.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    settings: Arc<Settings>,
    state: State,
    version: Version,
    heart_beat: HeartBeat,
    opened: Instant,
    subscriptions: Subscriptions,
    transactions: Transactions,
    /// Whether the client lives with the refusal of a SEND (`x-refusals:true`).
    lives_with_refusals: bool,
    refusals: u64,
    /// Where the last SEND went: most clients publish to few destinations.
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
    /// A session whose client was accepted at `accepted`; `can_ping` says whether its transport
    /// has Ping and Pong.
    pub fn new(id: SessionId, settings: Arc<Settings>, can_ping: bool, accepted: Instant) -> Self {
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

    /// A frame of the client. None is given in while [`Session::wants_input`] says no.
    pub fn on_frame(&mut self, mut frame: Frame) {
        let done = match self.state {
            State::Opening => self.on_first_frame(&frame),
            State::Ready => self.on_next_frame(&mut frame),
            State::Authenticating { .. } | State::Closed => Ok(()),
        };
        if let Err(refusal) = done {
            // A RECEIPT is never asked for in CONNECT, whatever the frame says.
            let receipt = frame
                .header("receipt")
                .filter(|_| !is_connect(frame.command));
            self.refuse(&refusal, receipt);
        }
    }

    /// The authenticator has answered.
    pub fn on_verdict(&mut self, verdict: Verdict, now: Instant) {
        let State::Authenticating { intervals } = self.state else {
            return;
        };
        match verdict {
            Verdict::Refused(refusal) => self.refuse(&refusal, None),
            Verdict::Welcome { user } => self.open(intervals, user, now),
        }
    }

    /// Bytes of the client have arrived, whether or not they end a frame.
    pub fn on_read(&mut self, now: Instant) {
        self.heart_beat.on_read(now);
    }

    /// The driver stops reading the client, or goes on.
    pub fn on_reading(&mut self, reading: bool, now: Instant) {
        self.heart_beat.on_reading(reading, now);
    }

    /// A moment that [`Session::next_timeout`] named has come.
    pub fn on_timeout(&mut self, now: Instant, link: &Link) {
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
            State::Ready if self.stalled_at(link).is_some_and(|at| at <= now) => {
                self.refuse(&Refusal::Stalled(self.settings.stall), None);
            }
            State::Ready => {
                for due in self.heart_beat.on_timeout(now, link) {
                    match due {
                        Due::Cut(silence) => self.refuse(&Refusal::HeartBeatMissed(silence), None),
                        Due::Beat => self.actions.push_back(Action::Beat),
                        Due::Ping => self.actions.push_back(Action::Ping),
                    }
                }
            }
        }
    }

    /// As [`Session::on_timeout`], in the middle of a step and while the client is not read: what is
    /// to be sent at once.
    pub fn on_busy(&mut self, now: Instant, link: &Link) -> Vec<Due> {
        match self.state {
            State::Ready => self.heart_beat.on_timeout(now, link),
            _ => Vec::new(),
        }
    }

    /// When to call [`Session::on_busy`] next.
    pub fn next_beat(&self, link: &Link) -> Option<Instant> {
        match self.state {
            State::Ready => self.heart_beat.next_timeout(link),
            _ => None,
        }
    }

    /// Whether [`Session::on_timeout`] would cut the client off because it was not heard.
    pub fn would_cut(&self, now: Instant, link: &Link) -> bool {
        self.state == State::Ready && self.heart_beat.would_cut(now, link)
    }

    /// Something outside the session ends it: bytes that are no frame, a full outbox. `receipt`
    /// is that of the frame at fault, if it is known.
    pub fn on_failure(&mut self, refusal: &Refusal, receipt: Option<&str>) {
        self.actions.clear();
        // The receipt of a CONNECT is ignored, also of one that cannot be read.
        let receipt = receipt.filter(|_| self.state != State::Opening);
        self.refuse(refusal, receipt);
    }

    /// A SEND or a COMMIT was refused. Returns what to send in the place of its RECEIPT, if the
    /// client asked to live with refusals, else how the connection ends.
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

    /// The broker stops: the client is told by the close code alone.
    pub fn on_stop(&mut self) {
        self.close(Closing {
            farewell: None,
            code: CloseCode::Stopping,
            reason: "the broker is stopping".into(),
            label: "stopping",
            absent: false,
        });
    }

    /// The client has begun the closing handshake of WebSocket; the transport answers it.
    pub fn on_close(&mut self) {
        self.state = State::Closed;
        self.actions.clear();
    }

    /// The next thing to do.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What is to be done, in order.
    pub fn actions(&mut self) -> impl Iterator<Item = Action> + '_ {
        std::iter::from_fn(|| self.next_action())
    }

    /// Whether the next frame may be given in: not while a verdict is open, nor after the end.
    pub fn wants_input(&self) -> bool {
        matches!(self.state, State::Opening | State::Ready)
    }

    /// When to call [`Session::on_timeout`] next, if nothing happens until then.
    pub fn next_timeout(&self, link: &Link) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Opening | State::Authenticating { .. } => {
                Some(self.opened + self.settings.connect_timeout)
            }
            State::Ready => self
                .stalled_at(link)
                .into_iter()
                .chain(self.heart_beat.next_timeout(link))
                .min(),
        }
    }

    /// The bytes of the messages that its transactions hold.
    pub fn held(&self) -> usize {
        self.transactions.bytes()
    }

    /// The version that was agreed on; 1.0 before that.
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

    fn stalled_at(&self, link: &Link) -> Option<Instant> {
        link.replies_stuck.map(|since| since + self.settings.stall)
    }
}

fn is_connect(command: Command) -> bool {
    matches!(command, Command::Connect | Command::Stomp)
}
