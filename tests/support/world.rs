//! One session on a virtual clock, checked against a script.
//!
//! | line | meaning |
//! |---|---|
//! | `> SEND\|destination:/topic/a\|\|body` | the client sends this frame; `\|` is an end of line |
//! | `< RECEIPT\|receipt-id:1` | the client receives this frame; `*` matches anything |
//! | `! PUBLISH /topic/a body` | the session requests this |
//! | `@ 15s` | time passes |
//! | `~ pong` | something else happens, see [`World::happens`] |
//!
//! Each `<` and `!` must occur in this order, and nothing else may occur.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stomp_codec::{Decoder, Frame, Item, Limits, Version};
use stompd::auth::Authenticator;
use stompd::config::SlowConsumer;
use stompd::encoding::Framing;
use stompd::engine::SessionId;
use stompd::engine::ack::AckVerdict;
use stompd::engine::refusal::Refusal;
use stompd::engine::session::{
    Acknowledgement, Action, Closing, Credentials, LoginVerdict, Session, SessionSettings, Ticket,
};
use stompd::engine::subscription::{self, AckMode, Prefetch, Subscription};
use stompd::engine::transaction::Transaction;
use stompd::outbox::{Outbox, OutboxBounds, Policy, RUN_OVERHEAD};

use crate::script;
use crate::wire::MemoryWire;

/// A session, its client's bytes, and the output.
#[derive(Debug)]
pub struct World {
    /// The session itself.
    pub session: Session,
    start: Instant,
    now: Instant,
    framing: Framing,
    decoder: Decoder,
    wire: Arc<MemoryWire>,
    outbox: Outbox,
    /// Credentials wait for a verdict of the script instead of being accepted at once.
    slow_login: bool,
    /// If frames are done only when the script says so: all their tickets.
    slow: Option<Vec<Ticket>>,
    /// How long the client takes to answer a Ping; `None` if it does not.
    pong_after: Option<Duration>,
    pong_at: Option<Instant>,
    log: VecDeque<(Duration, String)>,
}

impl World {
    /// A client over WebSocket.
    pub fn websocket() -> Self {
        Self::with(Framing::Text, |_| ())
    }

    /// A client over TCP.
    pub fn tcp() -> Self {
        Self::with(Framing::Tcp, |_| ())
    }

    /// A client of a broker with modified settings.
    pub fn with(framing: Framing, change: impl FnOnce(&mut SessionSettings)) -> Self {
        let mut settings = SessionSettings {
            server: "stompd/test".into(),
            send: Duration::from_secs(1),
            want: Duration::from_secs(10),
            ping: Duration::from_secs(25),
            stall: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            subscriptions: subscription::Limits {
                count: 10,
                bytes: 1 << 20,
                shapes: 10,
            },
            prefetch: Prefetch {
                messages: 1000,
                bytes: Some(1 << 20),
            },
        };
        change(&mut settings);
        let policy = Policy {
            bounds: OutboxBounds {
                bytes: 1 << 20,
                messages: 1000,
                per_run: RUN_OVERHEAD,
            },
            slow_consumer: SlowConsumer::Disconnect,
            patience: Duration::ZERO,
        };
        let start = Instant::now();
        let wire = MemoryWire::open();
        Self {
            session: Session::new(
                SessionId(0xc1),
                Arc::new(settings),
                framing.is_websocket(),
                start,
            ),
            start,
            now: start,
            framing,
            decoder: Decoder::new(Limits::default()),
            outbox: Outbox::new(Arc::<MemoryWire>::clone(&wire), policy, start),
            wire,
            slow_login: false,
            slow: None,
            pong_after: None,
            pong_at: None,
            log: VecDeque::new(),
        }
    }

    /// The same, but each login waits for `~ welcome` or `~ refused`.
    #[must_use]
    pub fn slow_login(mut self) -> Self {
        self.slow_login = true;
        self
    }

    /// The same, but a frame with a RECEIPT is done at `~ done n`, and refused at `~ full n`, where
    /// `n` counts these frames.
    #[must_use]
    pub fn slow(mut self) -> Self {
        self.slow = Some(Vec::new());
        self
    }

    /// The same, but the client answers each Ping after this time.
    #[must_use]
    pub fn answering_pings(mut self, after: Duration) -> Self {
        self.pong_after = Some(after);
        self
    }

    /// The same, connected in this version without heart-beats.
    #[must_use]
    pub fn connected(self, version: Version) -> Self {
        self.connected_with(version, "0,0")
    }

    /// The same, connected in this version with these heart-beats.
    #[must_use]
    pub fn connected_with(mut self, version: Version, heart_beat: &str) -> Self {
        self.check(&format!(
            "> CONNECT|accept-version:{version}|heart-beat:{heart_beat}
             < CONNECTED|version:{version}|*"
        ));
        self
    }

    /// Checks the session against a script.
    #[track_caller]
    pub fn check(&mut self, script: &str) {
        for line in script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
            if matches!(kind, "<" | "!") {
                let expected = line.replace('|', "\n");
                match self.log.pop_front() {
                    Some((at, actual)) => assert!(
                        script::matches(&actual, &expected),
                        "expected:\n{expected}\n\ngot, after {at:?}:\n{actual}\n"
                    ),
                    None => panic!("nothing arrived where this was expected:\n{expected}\n"),
                }
                continue;
            }
            self.expect_nothing(line);
            match kind {
                ">" => self.bytes(&script::wire(&text.replace('|', "\n"))),
                "@" => self.pass(duration(text)),
                "~" => self.happens(text),
                _ => panic!("not a line of a script: {line:?}"),
            }
        }
        self.expect_nothing("the end");
    }

    /// Returns what the session requested since the last call, and when.
    pub fn log(&mut self) -> Vec<(Duration, String)> {
        self.log.drain(..).collect()
    }

    /// Bytes of the client arrive.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.session.on_read(self.now);
        self.decoder.push(Bytes::copy_from_slice(bytes));
        self.process();
    }

    /// Advances the clock and processes what is due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        loop {
            let due = self.session.next_timeout(&self.outbox.outbound_state());
            let Some(next) = due.into_iter().chain(self.pong_at).min() else {
                break;
            };
            if next > end {
                break;
            }
            turns = if next > self.now { 0 } else { turns + 1 };
            assert!(turns < 10, "a deadline remains due: {:?}", self.log);
            self.now = self.now.max(next);
            if self.pong_at.is_some_and(|at| at <= self.now) {
                self.pong_at = None;
                self.session.on_read(self.now);
            }
            self.session
                .on_timeout(self.now, &self.outbox.outbound_state());
            self.perform();
        }
        self.now = end;
    }

    /// Processes anything that is neither a frame nor time.
    pub fn happens(&mut self, what: &str) {
        let user = |name: &str| (!name.is_empty()).then(|| name.trim().to_owned());
        match what.split_once(' ').unwrap_or((what, "")) {
            ("pong", "") => self.session.on_read(self.now),
            ("bytes", part) => self.bytes(part.replace('|', "\n").as_bytes()),
            ("takes", "nothing") => self.takes(0),
            ("takes", "all") => self.takes(usize::MAX),
            ("takes", bytes) => self.takes(bytes.parse().unwrap()),
            ("unread", "") => self.session.on_reading(false, self.now),
            ("read", "") => self.session.on_reading(true, self.now),
            ("stop", "") => self.session.on_stop(),
            ("done", place) => {
                let ticket = self.ticket(place);
                self.session.on_done(ticket);
            }
            ("full", place) => {
                let ticket = self.ticket(place);
                let refusal = Refusal::QueueFull("/queue/a".into());
                self.session.on_refused(&refusal, Some(ticket));
            }
            ("overflow", "") => self.session.on_failure(&Refusal::SlowConsumer, None),
            ("closed", "") => self.session.on_close(),
            ("welcome", name) => {
                let verdict = LoginVerdict::Welcome { user: user(name) };
                self.session.on_verdict(verdict, self.now);
            }
            ("refused", "") => {
                let verdict = LoginVerdict::Refused(Refusal::SecondConnect);
                self.session.on_verdict(verdict, self.now);
            }
            _ => panic!("unknown event: {what:?}"),
        }
        self.perform();
        self.process();
    }

    #[track_caller]
    fn expect_nothing(&self, before: &str) {
        assert!(self.log.is_empty(), "before {before}: {:#?}", self.log);
    }

    /// The client's side takes this many more bytes from now on.
    fn takes(&mut self, bytes: usize) {
        self.wire.allow(bytes);
        self.outbox.flush(self.now).unwrap();
    }

    fn process(&mut self) {
        while self.session.wants_input() {
            match self.decoder.decode() {
                Ok(Some(Item::Frame(frame))) => self.session.on_frame(frame),
                Ok(Some(Item::HeartBeat)) => {}
                Ok(None) => break,
                Err(error) => {
                    let receipt = self.decoder.receipt();
                    self.session
                        .on_failure(&Refusal::Frame(error), receipt.as_deref());
                }
            }
            self.perform();
        }
    }

    fn perform(&mut self) {
        while let Some(action) = self.next_action() {
            match action {
                Action::Authenticate(credentials) => self.authenticate(credentials),
                Action::Open(version) => self.decoder.set_version(version),
                Action::Subscribe(subscription, receipt) => {
                    self.note(subscribed(&subscription));
                    self.reply(receipt.as_deref());
                }
                Action::Unsubscribe(number, ticket) => {
                    self.note(format!("! UNSUBSCRIBE {number}"));
                    self.done(ticket);
                }
                Action::Publish(publication) => {
                    let message = &publication.message;
                    let body = String::from_utf8_lossy(&message.body);
                    let line = format!("! PUBLISH {} {body}", message.destination);
                    self.note(line.trim_end().to_owned());
                    self.done(publication.ticket);
                }
                Action::Settle(acknowledgement) => {
                    self.note(settled(&acknowledgement));
                    self.done(acknowledgement.ticket);
                }
                Action::IgnoreAck(ticket) => {
                    self.note("! IGNORE".to_owned());
                    self.done(ticket);
                }
                Action::Commit(transaction, ticket) => {
                    self.note(ended("COMMIT", &transaction));
                    self.done(ticket);
                }
                Action::Abort(transaction, ticket) => {
                    self.note(ended("ABORT", &transaction));
                    self.done(ticket);
                }
                Action::Refuse(refusal, ticket) => {
                    self.session.on_refused(&refusal, ticket);
                }
                Action::Beat => {
                    self.note("! EOL".to_owned());
                    self.outbox.beat(self.framing.beat());
                }
                Action::Ping => {
                    self.note("! PING".to_owned());
                    self.outbox.ping(self.framing.ping());
                    self.pong_at = self.pong_after.map(|after| self.now + after);
                }
                Action::Close(closing) => self.close(&closing),
            }
        }
        self.outbox.flush(self.now).unwrap();
    }

    fn next_action(&mut self) -> Option<Action> {
        while let Some(frame) = self.session.next_reply() {
            self.reply(Some(&frame));
        }
        self.session.next_action()
    }

    /// A frame is done: now or, if frames take time, when the script says so.
    fn done(&mut self, ticket: Option<Ticket>) {
        match &mut self.slow {
            Some(slow) => slow.extend(ticket),
            None => ticket
                .into_iter()
                .for_each(|ticket| self.session.on_done(ticket)),
        }
    }

    /// Takes a ticket that waits, by its place among all that ever waited.
    fn ticket(&mut self, place: &str) -> Ticket {
        let place: usize = place.parse().unwrap();
        self.slow.as_ref().unwrap()[place - 1]
    }

    fn authenticate(&mut self, credentials: Credentials) {
        if self.slow_login {
            self.note(format!("! AUTHENTICATE {credentials:?}"));
        } else {
            let verdict = Authenticator::Open.verdict(credentials);
            self.session.on_verdict(verdict, self.now);
        }
    }

    fn close(&mut self, closing: &Closing) {
        self.reply(closing.farewell.as_ref());
        let absent = if closing.absent { ", not waiting" } else { "" };
        self.note(format!(
            "! CLOSE {} {}{absent}",
            closing.code.number(),
            closing.label
        ));
        assert_eq!(
            self.session
                .next_action()
                .map(|action| format!("{action:?}")),
            None,
            "Close is the last action"
        );
    }

    fn reply(&mut self, frame: Option<&Frame>) {
        if let Some(frame) = frame {
            self.note(format!("< {}", script::show(frame)));
            let bytes = frame.encode(self.session.version());
            self.outbox.reply(self.framing.wrap(&bytes), self.now);
        }
    }

    fn note(&mut self, line: String) {
        self.log.push_back((self.now - self.start, line));
    }
}

fn subscribed(subscription: &Subscription) -> String {
    let Subscription {
        number,
        pattern,
        mode,
        prefetch,
        no_local,
        ..
    } = subscription;
    let mut line = format!("! SUBSCRIBE {number} {}", pattern.as_str());
    if *mode != AckMode::Auto {
        write!(line, " {mode:?}").unwrap();
    }
    if prefetch.bytes.is_none() {
        write!(line, " prefetch {}", prefetch.messages).unwrap();
    }
    if *no_local {
        line += " no-local";
    }
    line
}

fn settled(acknowledgement: &Acknowledgement) -> String {
    let verdict = match acknowledgement.verdict {
        AckVerdict::Ack => "ACK",
        AckVerdict::Requeue => "REQUEUE",
        AckVerdict::Drop => "DROP",
    };
    let delivery = acknowledgement.delivery;
    let line = format!("! {verdict} {}-{}", delivery.subscription, delivery.number);
    match acknowledgement.transaction {
        Some(transaction) => format!("{line} in {transaction}"),
        None => line,
    }
}

fn ended(how: &str, transaction: &Transaction) -> String {
    let mut line = format!("! {how} {}", transaction.number);
    for message in &transaction.messages {
        let body = String::from_utf8_lossy(&message.body);
        write!(line, ", {} {body}", message.destination).unwrap();
    }
    for subscription in &transaction.subscriptions {
        write!(line, ", of {subscription}").unwrap();
    }
    line
}

fn duration(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(number) => Duration::from_millis(number.parse().unwrap()),
        None => Duration::from_secs_f64(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}
