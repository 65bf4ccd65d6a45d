//! The driver of one client: what its socket brings goes through transport, decoder and session,
//! and what the session wants done is done.
//!
//! One task per client. It alone reads the socket and touches the session; others reach the
//! client through its [`Outbox`] only. A step is: read once, do what that brought, write once.

mod linger;
mod members;
mod metrics;
mod timer;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use stomp_codec::{Decoder, Frame, Item, Limits, Version};
use tokio::io::Interest;
use tokio::time::Instant;
use tracing::{Span, debug};

use crate::auth::Authenticator;
use crate::encoding::Kind;
use crate::engine::SessionId;
use crate::engine::message::Message;
use crate::engine::queue::Settled;
use crate::engine::refusal::{CloseCode, Refusal};
use crate::engine::session::{Acknowledgement, Action, Closing, Publication, Session, Settings};
use crate::engine::subscription::Subscription;
use crate::engine::transaction::Transaction;
use crate::framing::Framing;
use crate::hub::{Hub, Loss};
use crate::outbox::{Flushed, Outbox, Policy, Progress, Signal};
use crate::subscriber::Subscriber;
use crate::transport::{self, Incoming, Socket, Transport};

use self::members::Members;
use self::metrics::{Clocks, Held, Tally};
pub use self::metrics::{Metrics, Presence};
use self::timer::Timer;

/// What all connections are driven with.
#[derive(Debug)]
pub struct Shared {
    /// Where messages go.
    pub hub: Hub,
    /// The rules of sessions.
    pub settings: Arc<Settings>,
    /// The largest frames.
    pub limits: Limits,
    /// How much may wait for a client.
    pub policy: Policy,
    /// Who clients are.
    pub authenticator: Authenticator,
    /// How long the last octets get when the broker stops.
    pub stop_flush: Duration,
    /// What is counted.
    pub metrics: Metrics,
}

/// A client that has just come.
#[derive(Debug)]
pub struct Arrival {
    /// Its session.
    pub id: SessionId,
    /// Its socket.
    pub socket: Socket,
    /// What carries STOMP over it.
    pub transport: Transport,
    /// What it sent already.
    pub rest: Bytes,
    /// The version that the subprotocol of WebSocket names.
    pub subprotocol: Option<Version>,
    /// When it was accepted.
    pub accepted: Instant,
    /// What its log lines stand in.
    pub span: Span,
}

/// Drives a client until it is gone.
pub async fn serve(shared: Arc<Shared>, arrival: Arrival) {
    let Arrival {
        id,
        socket,
        transport,
        rest,
        subprotocol,
        accepted,
        span,
    } = arrival;
    let _presence = shared.metrics.arrive(transport.name());
    let now = Instant::now().into_std();
    let outbox = Arc::new(Outbox::new(Arc::new(socket.clone()), shared.policy, now));
    shared.hub.join(id, &outbox);
    let can_ping = transport.framing().is_websocket();
    let mut connection = Connection {
        session: Session::new(
            id,
            Arc::clone(&shared.settings),
            can_ping,
            accepted.into_std(),
        ),
        decoder: Decoder::new(shared.limits_before_connect()),
        id,
        socket,
        transport,
        outbox,
        subprotocol,
        members: Members::default(),
        messages: Vec::new(),
        receipts: Vec::new(),
        gathered: 0,
        turn: 0,
        received: Tally::default(),
        clocks: Clocks::default(),
        held: shared.metrics.held(),
        read_at: now,
        reading: true,
        span,
        shared,
    };
    let end = connection.run(rest).await;
    connection.end(end).await;
}

/// A client that is being driven.
#[derive(Debug)]
struct Connection {
    shared: Arc<Shared>,
    id: SessionId,
    socket: Socket,
    transport: Transport,
    decoder: Decoder,
    session: Session,
    outbox: Arc<Outbox>,
    subprotocol: Option<Version>,
    /// Its subscriptions.
    members: Members,
    /// What one read brought and is not handed over yet, and the RECEIPTs to send when it is, by
    /// the number of messages up to theirs.
    messages: Vec<Message>,
    receipts: Vec<(usize, Frame)>,
    /// Their octets.
    gathered: usize,
    /// The octets that were read since others had their turn.
    turn: usize,
    received: Tally,
    clocks: Clocks,
    held: Held,
    /// When what is worked on was read.
    read_at: std::time::Instant,
    reading: bool,
    span: Span,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The session says so.
    Closing(Box<Closing>),
    /// The client has begun the closing handshake of WebSocket.
    ClosedByClient,
    /// The client has said all it has to say.
    Finished,
    /// The socket is broken.
    Lost(io::Error),
}

impl Connection {
    async fn run(&mut self, rest: Bytes) -> End {
        let Err(end) = self.converse(rest).await;
        end
    }

    async fn converse(&mut self, rest: Bytes) -> Result<Infallible, End> {
        self.on_octets(rest).await?;
        let mut timer = Timer::default();
        loop {
            let flushed = self.flush();
            self.members.hear_news(&self.outbox, now());
            self.breathe(flushed == Flushed::Some).await;
            if self.update_reading().await? {
                continue;
            }
            let blocked = flushed != Flushed::All;
            timer.arm(self.session.next_timeout(&self.outbox.link()));
            tokio::select! {
                biased;
                () = self.outbox.woken() => self.on_signal()?,
                () = timer.passed() => self.on_timeout().await?,
                ready = ready(&self.socket, self.reading, blocked) => {
                    let readable = ready.map_err(End::Lost)?;
                    if readable && self.reading {
                        self.on_readable().await?;
                    }
                }
            }
        }
    }

    /// Writes what waits. A socket that cannot be written may still hold what the client said
    /// before it went away, and that counts: reading finds the end.
    fn flush(&mut self) -> Flushed {
        let now = now();
        let flushed = self.outbox.flush(now).unwrap_or_else(|error| {
            debug!(parent: &self.span, %error, "cannot write");
            self.outbox.close();
            Flushed::All
        });
        match flushed {
            Flushed::All => self.clocks.unblock(now, &self.shared.metrics),
            Flushed::Blocked => self.clocks.block(now),
            Flushed::Some => {}
        }
        flushed
    }

    /// Lets other clients of this thread have their turn when this one has had its own.
    async fn breathe(&mut self, now: bool) {
        if now || self.turn >= TURN {
            self.turn = 0;
            tokio::task::yield_now().await;
        }
    }

    async fn on_readable(&mut self) -> Result<(), End> {
        match transport::read(self.socket.stream()) {
            Ok(octets) if octets.is_empty() => Err(End::Finished),
            Ok(octets) => {
                self.turn += octets.len();
                self.read_at = now();
                self.session.on_read(self.read_at);
                self.on_octets(octets).await
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(End::Lost(error)),
        }
    }

    async fn on_octets(&mut self, octets: Bytes) -> Result<(), End> {
        if !octets.is_empty() {
            self.transport.feed(octets);
        }
        let ended = self.process().await;
        // Earlier SENDs count whatever came after them, and if one is refused that comes first.
        let ended = self.hand_over().await.and(ended);
        self.members.dispatch(now());
        self.shared.metrics.count_received(&mut self.received);
        self.held.set(self.session.held());
        let output = self.transport.take_output();
        if !output.is_empty() {
            self.outbox.control(output, now());
        }
        ended
    }

    /// Takes frames out of what was fed, until it is used up or the session wants no more.
    async fn process(&mut self) -> Result<(), End> {
        let mut frames = 0_usize;
        while self.session.wants_input() {
            match self.decoder.decode() {
                Ok(Some(Item::Frame(frame))) => {
                    self.received.add(frame.command);
                    self.session.on_frame(&frame);
                    self.perform().await?;
                    frames += 1;
                    if frames.is_multiple_of(FRAMES) && !self.pause().await? {
                        return Ok(());
                    }
                }
                Ok(Some(Item::HeartBeat)) => {}
                Ok(None) => match self.transport.take_input() {
                    Ok(Some(Incoming::Data(octets))) => self.decoder.push(octets),
                    Ok(Some(Incoming::Pong)) => {
                        self.clocks.pong(self.read_at, &self.shared.metrics);
                    }
                    Ok(Some(Incoming::Close)) => {
                        self.session.on_close();
                        return Err(End::ClosedByClient);
                    }
                    Ok(None) => return Ok(()),
                    Err(fault) => self.fail(Refusal::WebSocket(fault)).await?,
                },
                Err(error) => self.fail(Refusal::Frame(error)).await?,
            }
        }
        Ok(())
    }

    /// One message of WebSocket can hold very many frames: what they brought so far is handed over
    /// and written, and others have their turn. `false` if the rest has to wait because the client
    /// does not read its replies.
    async fn pause(&mut self) -> Result<bool, End> {
        self.hand_over().await?;
        self.members.dispatch(now());
        self.flush();
        self.breathe(true).await;
        Ok(!self.outbox.is_full_of_replies())
    }

    async fn fail(&mut self, refusal: Refusal) -> Result<(), End> {
        let receipt = self.decoder.receipt();
        self.session.on_failure(&refusal, receipt.as_deref());
        self.perform().await
    }

    async fn on_timeout(&mut self) -> Result<(), End> {
        // What has arrived and was not read yet is a sign of life: we may be the ones who slept.
        if self.reading && self.socket.has_input() {
            self.session.on_read(now());
        }
        self.session.on_timeout(now(), &self.outbox.link());
        self.perform().await
    }

    fn on_signal(&mut self) -> Result<(), End> {
        match self.outbox.take_signal() {
            None => return Ok(()),
            Some(Signal::Lost) => {
                self.outbox.close();
                return Ok(());
            }
            Some(Signal::Overflow) => self.session.on_failure(&Refusal::SlowConsumer, None),
            Some(Signal::Stop) => self.session.on_stop(),
        }
        self.end_by_session()
    }

    /// Stops reading a client whose replies pile up, or while its login is decided. When that is
    /// over it goes on with what was read before, and says so.
    async fn update_reading(&mut self) -> Result<bool, End> {
        let reading = self.session.wants_input() && !self.outbox.is_full_of_replies();
        if reading == self.reading {
            return Ok(false);
        }
        self.reading = reading;
        self.session.on_reading(reading, now());
        self.socket.set_user_timeout(!reading);
        if reading {
            self.on_octets(Bytes::new()).await?;
        }
        Ok(reading)
    }

    /// Does what the session wants done, in order.
    async fn perform(&mut self) -> Result<(), End> {
        while let Some(action) = self.session.next_action() {
            if !matches!(action, Action::Publish(_)) {
                self.hand_over().await?;
            }
            match action {
                Action::Authenticate(credentials) => {
                    let verdict = self.shared.authenticator.verdict(credentials);
                    self.session.on_verdict(verdict, now());
                }
                Action::Open(version) => self.open(version),
                Action::Subscribe(subscription, receipt) => {
                    self.subscribe(subscription, receipt)?;
                }
                Action::Unsubscribe(number, receipt) => self.unsubscribe(number, receipt),
                Action::Publish(publication) => self.gather(publication).await?,
                Action::Settle(acknowledgement) => self.settle(acknowledgement)?,
                Action::IgnoreAck(receipt) => {
                    self.shared.hub.queues().count_ignored();
                    self.reply_if_any(receipt);
                }
                Action::Commit(transaction, receipt) => {
                    self.commit(transaction, receipt).await?;
                }
                Action::Abort(transaction, receipt) => {
                    let hub = &self.shared.hub;
                    hub.queues()
                        .abort(&transaction, |number| self.members.held(number));
                    self.reply_if_any(receipt);
                }
                Action::Reply(frame) => self.reply(&frame),
                Action::Beat => {
                    self.shared.metrics.beats.inc();
                    self.outbox.beat(self.framing().beat());
                }
                Action::Ping => {
                    if self.outbox.ping(self.framing().ping()) {
                        self.clocks.ping(now());
                        self.shared.metrics.pings.inc();
                    }
                }
                Action::Close(closing) => return Err(End::Closing(Box::new(closing))),
            }
        }
        Ok(())
    }

    async fn gather(&mut self, publication: Publication) -> Result<(), End> {
        self.gathered += publication.message.octets();
        self.messages.push(publication.message);
        let place = self.messages.len();
        let receipt = publication.receipt;
        self.receipts
            .extend(receipt.map(|receipt| (place, receipt)));
        // A batch is no larger than what one read brings: subscribers are given time to take it.
        if self.gathered >= BATCH {
            self.hand_over().await?;
            self.breathe(true).await;
        }
        Ok(())
    }

    /// Hands the gathered messages over, then sends their RECEIPTs. If one is refused and the client
    /// lives with that, the ones behind it have their turn.
    async fn hand_over(&mut self) -> Result<(), End> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let messages = std::mem::take(&mut self.messages);
        let mut receipts = std::mem::take(&mut self.receipts).into_iter().peekable();
        self.gathered = 0;
        let (mut done, mut at_once) = (0, messages.len());
        while done < messages.len() {
            let part = &messages[done..messages.len().min(done + at_once)];
            let refused = self.shared.hub.publish(part, self.id, now()).await.err();
            done += refused
                .as_ref()
                .map_or(part.len(), |refused| refused.accepted);
            while let Some((_, receipt)) = receipts.next_if(|(place, _)| *place <= done) {
                self.reply(&receipt);
            }
            if let Some(refused) = refused {
                done += 1;
                let receipt = receipts.next_if(|(place, _)| *place == done);
                let receipt = receipt.as_ref().map(|(_, receipt)| receipt);
                self.refuse(&refused.refusal, receipt)?;
                // The next one is likely to be refused as well, so not all are looked at each time.
                at_once = FEW;
            }
        }
        let metrics = &self.shared.metrics;
        metrics.hand_over.observe(now() - self.read_at);
        // The room is used again.
        self.messages = messages;
        self.messages.clear();
        Ok(())
    }

    /// A SEND or COMMIT was refused: the client is told in the place of its RECEIPT, or it is the end.
    fn refuse(&mut self, refusal: &Refusal, receipt: Option<&Frame>) -> Result<(), End> {
        let told = self.session.on_refused(refusal, receipt_id(receipt));
        let message = told.map_err(End::Closing)?;
        self.shared.metrics.refuse(refusal.label());
        self.reply(&message);
        Ok(())
    }

    fn settle(&mut self, acknowledgement: Acknowledgement) -> Result<(), End> {
        match self.members.settle(&acknowledgement) {
            Settled::Done(_) => {}
            Settled::Ignored => self.shared.hub.queues().count_ignored(),
            Settled::Unknown => {
                let refusal = Refusal::AckUnknown(acknowledgement.delivery);
                return self.end_for(&refusal, acknowledgement.receipt.as_ref());
            }
        }
        self.reply_if_any(acknowledgement.receipt);
        Ok(())
    }

    async fn commit(
        &mut self,
        transaction: Transaction,
        receipt: Option<Frame>,
    ) -> Result<(), End> {
        let hub = &self.shared.hub;
        let held = |number| self.members.held(number);
        let done = hub.commit(&transaction, held, self.id, now()).await;
        for (subscription, _) in &transaction.deliveries {
            self.members.forget_if_done(*subscription);
        }
        match done {
            Ok(()) => self.reply_if_any(receipt),
            Err(refusal) => self.refuse(&refusal, receipt.as_ref())?,
        }
        Ok(())
    }

    /// What a frame wants cannot be done.
    fn end_for(&mut self, refusal: &Refusal, receipt: Option<&Frame>) -> Result<(), End> {
        self.session.on_failure(refusal, receipt_id(receipt));
        self.end_by_session()
    }

    fn end_by_session(&mut self) -> Result<(), End> {
        match self.session.actions().last() {
            Some(Action::Close(closing)) => Err(End::Closing(Box::new(closing))),
            _ => Ok(()),
        }
    }

    fn open(&mut self, version: Version) {
        if self
            .subprotocol
            .is_some_and(|subprotocol| subprotocol != version)
        {
            self.shared.metrics.version_mismatches.inc();
        }
        self.decoder.set_version(version);
        self.decoder.set_limits(self.shared.limits);
        self.transport.set_limit(self.shared.largest_frame());
        debug!(parent: &self.span, version = version.as_str(), "connected");
    }

    fn subscribe(&mut self, subscription: Subscription, receipt: Option<Frame>) -> Result<(), End> {
        let limit = self.shared.settings.subscriptions;
        if self.members.len() >= limit {
            return self.end_for(&Refusal::TooManySubscriptions(limit), receipt.as_ref());
        }
        let subscriber = Arc::new(Subscriber {
            session: self.id,
            kind: Kind {
                version: self.session.version(),
                framing: self.framing(),
            },
            outbox: Arc::clone(&self.outbox),
            ended: AtomicBool::new(false),
            progress: Arc::new(Progress::default()),
            subscription,
        });
        // The RECEIPT waits in the outbox before a publisher can see the subscription, and leaves
        // at the end of this step, when every publisher sees it.
        if let Some(receipt) = receipt {
            let octets = self.encode(&receipt);
            self.outbox.reply_and_hold(octets, now());
        }
        self.members.subscribe(subscriber, &self.shared.hub, now());
        Ok(())
    }

    fn unsubscribe(&mut self, number: u32, receipt: Option<Frame>) {
        self.members.unsubscribe(number, &self.shared.hub, now());
        self.reply_if_any(receipt);
    }

    fn reply_if_any(&self, frame: Option<Frame>) {
        if let Some(frame) = frame {
            self.reply(&frame);
        }
    }

    fn reply(&self, frame: &Frame) {
        self.outbox.reply(self.encode(frame), now());
    }

    fn encode(&self, frame: &Frame) -> Bytes {
        self.shared.metrics.sent(frame.command);
        self.framing().wrap(&frame.encode(self.session.version()))
    }

    fn framing(&self) -> Framing {
        self.transport.framing()
    }

    /// Says what there is to say at the end, and sees that it arrives.
    async fn end(&mut self, end: End) {
        self.unsubscribe_all().await;
        let label = end.label();
        match end {
            End::Lost(error) => debug!(parent: &self.span, %error, "connection lost"),
            End::ClosedByClient | End::Finished => {
                self.linger(Duration::ZERO, transport::DRAIN_TIME).await;
            }
            End::Closing(closing) => self.close(*closing).await,
        }
        self.shared.metrics.closed.with(label).inc();
    }

    async fn unsubscribe_all(&mut self) {
        let lost = self.outbox.end();
        self.shared.hub.drop_messages(Loss::Closed, lost);
        for some in self.members.numbers().chunks(FRAMES) {
            for number in some {
                self.members.end(*number, &self.shared.hub, now());
            }
            self.breathe(true).await;
        }
        self.members.end_all(&self.shared.hub, now());
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
            // One attempt: the client does not read, and there is no reason to wait for it.
            let _ = self.outbox.flush(now());
        } else if closing.is_stop() {
            self.linger(Duration::ZERO, self.shared.stop_flush).await;
        } else {
            // STOMP 1.2, "DISCONNECT": it is the client that closes when it has the RECEIPT, and
            // some take it for a failure if it is not.
            let asked = closing.code == CloseCode::Normal && closing.farewell.is_some();
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

/// Nothing of a client is left behind, also if its task is ended by a panic or by the runtime.
impl Drop for Connection {
    fn drop(&mut self) {
        self.outbox.close();
        self.members.end_all(&self.shared.hub, now());
        self.shared.hub.leave(self.id);
    }
}

impl Shared {
    /// The largest message of WebSocket: the largest frame, with something for its command.
    pub fn largest_frame(&self) -> usize {
        self.limits.body + self.limits.header_bytes + 1024
    }

    /// Before CONNECT nobody is known, so nobody gets much.
    fn limits_before_connect(&self) -> Limits {
        Limits {
            body: self.limits.body.min(BEFORE_CONNECT),
            ..self.limits
        }
    }
}

impl End {
    fn label(&self) -> &'static str {
        match self {
            Self::Closing(closing) => closing.label,
            Self::ClosedByClient => "client_close",
            Self::Finished => "client_gone",
            Self::Lost(_) => "client_reset",
        }
    }
}

/// Waits until the socket can be used as wanted; says whether it can be read.
async fn ready(socket: &Socket, read: bool, write: bool) -> io::Result<bool> {
    let interest = match (read, write) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => std::future::pending().await,
    };
    Ok(socket.stream().ready(interest).await?.is_readable())
}

/// What a RECEIPT answers.
fn receipt_id(receipt: Option<&Frame>) -> Option<&str> {
    receipt.and_then(|receipt| receipt.header("receipt-id"))
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// So many octets are read before others have their turn.
const TURN: usize = 64 * 1024;

/// A batch with as many octets is handed over before more is gathered.
const BATCH: usize = 64 * 1024;

/// How long a client of TCP may take to close after the RECEIPT of its DISCONNECT.
const COURTESY: Duration = Duration::from_secs(1);

/// So many messages are handed over at once after one was refused.
const FEW: usize = 16;

/// So many frames, or subscriptions that end, are worked on before others have their turn.
const FRAMES: usize = 1024;

/// The most octets of a frame of a client that has not connected.
pub const BEFORE_CONNECT: usize = 64 * 1024;
