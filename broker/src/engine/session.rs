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

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use bytestring::ByteString;
use stomp_codec::{Command, Frame, Version};

use super::SessionId;
use super::ack::{self, AckId, DeliveryId};
use super::destination::{Destination, Pattern};
use super::heart_beat::{Due, HeartBeat, Intervals, Link};
use super::message::Message;
use super::queue::Verdict as Settlement;
use super::refusal::{CloseCode, Refusal};
use super::subscription::{AckMode, Key, Prefetch, Subscription, Subscriptions};
use super::transaction::{Transaction, Transactions};

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
    /// How long a socket may take no octet while replies wait.
    pub stall: Duration,
    /// How long a client has for its CONNECT, from the moment it was accepted.
    pub connect_timeout: Duration,
    /// The most subscriptions of one session.
    pub subscriptions: usize,
    /// How much a subscription that names no number may have on the way to it.
    pub prefetch: Prefetch,
}

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

/// A message to hand over to its subscribers, and the RECEIPT to send when that is done.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The message.
    pub message: Message,
    /// The RECEIPT, if the SEND asked for one.
    pub receipt: Option<Frame>,
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
    pub receipt: Option<Frame>,
}

/// What is to be done, in the order in which the session gives it out.
#[derive(Clone, Debug)]
pub enum Action {
    /// Ask the authenticator; its answer comes in with [`Session::on_verdict`].
    Authenticate(Credentials),
    /// Read and write frames by the rules of this version from now on, under the limits of a
    /// client that is known.
    Open(Version),
    /// Make the subscription. The RECEIPT enters the outbox before a publisher can see the
    /// subscription, so that no MESSAGE of it overtakes the RECEIPT.
    Subscribe(Subscription, Option<Frame>),
    /// End the subscription of this number. No MESSAGE of it follows the RECEIPT.
    Unsubscribe(u32, Option<Frame>),
    /// Hand a message over; if a queue refuses it that is told with [`Session::on_refused`]. May be
    /// gathered with the ones that follow, and must be done before any other action.
    Publish(Publication),
    /// Settle deliveries of a queue, or hold them for a transaction. If there never was such a
    /// delivery that is told with [`Session::on_failure`].
    Settle(Acknowledgement),
    /// An ACK or NACK that means nothing and does no harm: counted.
    IgnoreAck(Option<Frame>),
    /// Do what a transaction holds, all or nothing; nothing is told with [`Session::on_refused`].
    Commit(Transaction, Option<Frame>),
    /// Give up what a transaction holds.
    Abort(Transaction, Option<Frame>),
    /// Send a frame.
    Reply(Frame),
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
    pub fn on_frame(&mut self, frame: &Frame) {
        let done = match self.state {
            State::Opening => self.on_first_frame(frame),
            State::Ready => self.on_next_frame(frame),
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

    /// Octets of the client have arrived, whether or not they end a frame.
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

    /// Something outside the session ends it: octets that are no frame, a full outbox. `receipt`
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

    /// The octets of the messages that its transactions hold.
    pub fn held(&self) -> usize {
        self.transactions.octets()
    }

    /// The version that was agreed on; 1.0 before that.
    pub fn version(&self) -> Version {
        self.version
    }

    fn on_first_frame(&mut self, frame: &Frame) -> Result<(), Refusal> {
        match frame.command {
            Command::Connect | Command::Stomp => self.on_connect(frame),
            command if command.is_client() => Err(Refusal::ConnectFirst(command)),
            command => Err(Refusal::ServerFrame(command)),
        }
    }

    fn on_next_frame(&mut self, frame: &Frame) -> Result<(), Refusal> {
        match frame.command {
            Command::Send => self.on_send(frame),
            Command::Subscribe => self.on_subscribe(frame),
            Command::Unsubscribe => self.on_unsubscribe(frame),
            Command::Disconnect => {
                self.on_disconnect(frame);
                Ok(())
            }
            Command::Nack if self.version == Version::V1_0 => Err(Refusal::NackIn10),
            Command::Ack => self.on_ack(frame, Settlement::Ack),
            Command::Nack => self.on_ack(frame, ack::nack(frame)),
            Command::Begin => self.on_begin(frame),
            Command::Commit => self.on_commit(frame),
            Command::Abort => self.on_abort(frame),
            Command::Connect | Command::Stomp => Err(Refusal::SecondConnect),
            Command::Connected | Command::Error | Command::Message | Command::Receipt => {
                Err(Refusal::ServerFrame(frame.command))
            }
        }
    }

    fn on_connect(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let offered = frame.header("accept-version");
        let Some(version) = Version::negotiate(offered) else {
            return Err(Refusal::NoCommonVersion(offered.unwrap_or_default().into()));
        };
        let intervals = match frame
            .header("heart-beat")
            .filter(|_| version > Version::V1_0)
        {
            Some(text) => {
                Intervals::parse(text).ok_or_else(|| Refusal::HeartBeatMalformed(text.into()))?
            }
            None => Intervals::default(),
        };
        self.version = version;
        self.lives_with_refusals = is_true(frame.header("x-refusals"));
        self.state = State::Authenticating { intervals };
        self.actions.push_back(Action::Authenticate(Credentials {
            login: frame.header("login").map(Into::into),
            passcode: frame.header("passcode").map(Into::into),
        }));
        Ok(())
    }

    fn open(&mut self, intervals: Intervals, user: Option<String>, now: Instant) {
        let own = Intervals {
            send: milliseconds(self.settings.send),
            want: milliseconds(self.settings.want),
        };
        let mut connected = Frame::new(Command::Connected)
            .with_header("version", self.version.as_str())
            .with_header("session", &self.id.to_string())
            .with_header("server", &self.settings.server);
        if self.version > Version::V1_0 {
            connected = connected.with_header("heart-beat", &format!("{},{}", own.send, own.want));
        }
        if let Some(user) = user {
            connected = connected.with_header("user-name", &user);
        }
        self.heart_beat.agree(intervals, own, now);
        self.state = State::Ready;
        self.actions.push_back(Action::Open(self.version));
        self.actions.push_back(Action::Reply(connected));
    }

    fn on_send(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let text = required(frame, "destination")?;
        let destination = match &self.last_destination {
            Some(last) if last.as_str() == text => last.clone(),
            _ => self
                .last_destination
                .insert(Destination::parse(text)?)
                .clone(),
        };
        let message = Message {
            destination,
            headers: frame.headers.clone(),
            body: frame.body.clone(),
        };
        let receipt = receipt(frame);
        if let Some(transaction) = frame.header("transaction") {
            self.transactions.hold_message(transaction, &message)?;
            self.actions.extend(receipt.map(Action::Reply));
        } else {
            let publication = Publication { message, receipt };
            self.actions.push_back(Action::Publish(publication));
        }
        Ok(())
    }

    fn on_ack(&mut self, frame: &Frame, verdict: Settlement) -> Result<(), Refusal> {
        let id = AckId::of(frame, self.version)?;
        let transaction = frame.header("transaction");
        if let Some(transaction) = transaction {
            self.transactions.check(transaction)?;
        }
        let delivery = match id {
            // Number 0 is no subscription: its messages are those of `x-refusals`.
            AckId::Delivery(id) if id.session == self.id && id.subscription > 0 => id,
            AckId::Delivery(_) | AckId::Nothing => {
                self.actions.push_back(Action::IgnoreAck(receipt(frame)));
                return Ok(());
            }
        };
        if !self.subscriptions.was_given(delivery.subscription) {
            return Err(Refusal::AckUnknown(delivery));
        }
        let hold = |id| {
            self.transactions
                .hold_delivery(id, delivery.subscription, delivery.number)
        };
        self.actions.push_back(Action::Settle(Acknowledgement {
            delivery,
            verdict,
            transaction: transaction.map(hold).transpose()?,
            receipt: receipt(frame),
        }));
        Ok(())
    }

    fn on_begin(&mut self, frame: &Frame) -> Result<(), Refusal> {
        self.transactions.begin(required(frame, "transaction")?)?;
        self.actions.extend(receipt(frame).map(Action::Reply));
        Ok(())
    }

    fn on_commit(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let transaction = self.transactions.end(required(frame, "transaction")?)?;
        self.actions
            .push_back(Action::Commit(transaction, receipt(frame)));
        Ok(())
    }

    fn on_abort(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let transaction = self.transactions.end(required(frame, "transaction")?)?;
        self.actions
            .push_back(Action::Abort(transaction, receipt(frame)));
        Ok(())
    }

    fn on_subscribe(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let destination = required(frame, "destination")?;
        let id = match frame.header("id") {
            None if self.version > Version::V1_0 => required(frame, "id").map(Some)?,
            id => id,
        };
        let mode = frame.header("ack").unwrap_or("auto");
        let mode = AckMode::parse(mode).ok_or_else(|| Refusal::AckModeUnknown(mode.into()))?;
        let prefetch = prefetch(frame)?.unwrap_or(self.settings.prefetch);
        let pattern = Pattern::parse(destination)?;
        refuse_unsupported(frame)?;
        let key = key(id, destination);
        if self.subscriptions.contains(&key) {
            return Err(Refusal::DuplicateSubscription(key.as_str().into()));
        }
        if self.subscriptions.len() >= self.settings.subscriptions {
            return Err(Refusal::TooManySubscriptions(self.settings.subscriptions));
        }
        let subscription = Subscription {
            number: self.subscriptions.add(key),
            id: id.map(ByteString::from),
            pattern,
            mode,
            prefetch,
            no_local: ["no-local", "activemq.noLocal"]
                .iter()
                .any(|name| is_true(frame.header(name))),
        };
        self.actions
            .push_back(Action::Subscribe(subscription, receipt(frame)));
        Ok(())
    }

    fn on_unsubscribe(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let key = match (frame.header("id"), frame.header("destination")) {
            (Some(id), _) => Key::Id(id.into()),
            (None, Some(destination)) if self.version == Version::V1_0 => {
                Key::Destination(destination.into())
            }
            (None, _) => {
                return Err(Refusal::HeaderMissing {
                    command: frame.command,
                    header: "id",
                });
            }
        };
        // What the client wants, that the subscription is no more, holds for an unknown one too.
        let action = match self.subscriptions.remove(&key) {
            Some(number) => Some(Action::Unsubscribe(number, receipt(frame))),
            None => receipt(frame).map(Action::Reply),
        };
        self.actions.extend(action);
        Ok(())
    }

    fn on_disconnect(&mut self, frame: &Frame) {
        self.close(Closing {
            farewell: receipt(frame),
            code: CloseCode::Normal,
            reason: "DISCONNECT".into(),
            label: "disconnect",
            absent: false,
        });
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

/// How a connection ends after a refusal.
fn closing(refusal: &Refusal, receipt: Option<&str>) -> Closing {
    Closing {
        farewell: Some(error_frame(refusal, receipt)),
        code: refusal.code(),
        reason: refusal.to_string(),
        label: refusal.label(),
        absent: refusal.is_absence(),
    }
}

/// The MESSAGE that tells a client of a refusal it lives with. No subscription is needed for it.
fn refusal_message(refusal: &Refusal, id: DeliveryId, receipt: Option<&str>) -> Frame {
    let mut message = Frame::new(Command::Message)
        .with_header("destination", REFUSALS)
        .with_header("subscription", REFUSALS)
        .with_header("message-id", &id.to_string())
        .with_header("reason", refusal.label());
    if let Some(receipt) = receipt {
        message = message.with_header("receipt-id", receipt);
    }
    let text = format!("{refusal}\n\n{}\n", refusal.advice());
    message
        .with_header("content-type", "text/plain")
        .with_body(Bytes::from(text))
}

/// The ERROR that tells a client of a refusal, with the `receipt` of the frame at fault.
pub fn error_frame(refusal: &Refusal, receipt: Option<&str>) -> Frame {
    let message = refusal.to_string();
    let mut error = Frame::new(Command::Error).with_header("message", &message);
    if matches!(refusal, Refusal::NoCommonVersion(_)) {
        error = error.with_header("version", &Version::ALL.map(Version::as_str).join(","));
    }
    if let Some(receipt) = receipt {
        error = error.with_header("receipt-id", receipt);
    }
    let text = format!("{message}\n\n{}\n", refusal.advice());
    error
        .with_header("content-type", "text/plain")
        .with_body(Bytes::from(text))
}

/// The RECEIPT that a frame asks for.
fn receipt(frame: &Frame) -> Option<Frame> {
    let id = frame.header("receipt")?;
    Some(Frame::new(Command::Receipt).with_header("receipt-id", id))
}

/// How many messages a SUBSCRIBE wants to have on the way to it; `None` if it leaves that to the
/// broker. No number is above what AMQP can say, since it is memory.
fn prefetch(frame: &Frame) -> Result<Option<Prefetch>, Refusal> {
    let named = ["prefetch-count", "activemq.prefetchSize"];
    let Some(text) = named.iter().find_map(|name| frame.header(name)) else {
        return Ok(None);
    };
    let malformed = || Refusal::PrefetchMalformed(text.into());
    if text.is_empty() || !text.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(malformed());
    }
    let count = text.parse().unwrap_or(MAX_PREFETCH).min(MAX_PREFETCH);
    Ok((count > 0).then_some(Prefetch {
        messages: count,
        octets: None,
    }))
}

fn required<'a>(frame: &'a Frame, header: &'static str) -> Result<&'a str, Refusal> {
    frame.header(header).ok_or(Refusal::HeaderMissing {
        command: frame.command,
        header,
    })
}

fn key(id: Option<&str>, destination: &str) -> Key {
    id.map_or_else(
        || Key::Destination(destination.into()),
        |id| Key::Id(id.into()),
    )
}

/// A subscriber that wants some of the messages, or only to look at them, must not get and take all.
fn refuse_unsupported(frame: &Frame) -> Result<(), Refusal> {
    if frame
        .header("selector")
        .is_some_and(|text| !text.is_empty())
    {
        return Err(Refusal::NotSupported("a selector"));
    }
    if is_true(frame.header("browser")) {
        return Err(Refusal::NotSupported("browsing a queue"));
    }
    Ok(())
}

fn is_true(value: Option<&str>) -> bool {
    matches!(value, Some("true" | "True"))
}

fn is_connect(command: Command) -> bool {
    matches!(command, Command::Connect | Command::Stomp)
}

fn milliseconds(interval: Duration) -> u32 {
    u32::try_from(interval.as_millis()).unwrap_or(u32::MAX)
}

/// Where a client that lives with refusals is told of them.
const REFUSALS: &str = "/stompd/refusals";

/// The largest prefetch that a client can name.
const MAX_PREFETCH: usize = 65_535;
