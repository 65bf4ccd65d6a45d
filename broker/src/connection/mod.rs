//! The driver of one client: passes its input through transport, decoder and session, and performs
//! the session's actions.
//!
//! One task per client. Only this task reads the socket and touches the session; others reach the
//! client only through its [`Outbox`]. A step is: read once, process the input, write once.
//!
//! A task reserves memory for everything it may ever await, so work that a listening client does
//! rarely is boxed while it lasts.

mod batch;
mod ending;
mod linger;
mod members;
mod metrics;
mod pauses;
mod perform;
mod timer;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use stomp_codec::{Command, Decoder, Item, Limits, Version};
use tokio::time::Instant;
use tracing::{Span, debug};

use crate::auth::Authenticator;
use crate::engine::SessionId;
use crate::engine::queue::Return;
use crate::engine::refusal::Refusal;
use crate::engine::session::{Closing, Session, SessionSettings, WaitingReplies};
use crate::hub::{Client, Hub};
use crate::outbox::{Flushed, Notice, Outbox, OutboxLoad, Policy};
use crate::transport::{self, Incoming, Socket, Transport};
use crate::turn;
use crate::websocket::WebSocketFault;

use self::batch::Batch;
use self::ending::let_go;
use self::members::Members;
use self::metrics::{Clocks, HeldBytes, Tally};
pub use self::metrics::{Metrics, Presence};
use self::pauses::Pauses;
use self::timer::Timer;

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Routes messages.
    pub hub: Hub,
    /// The rules of sessions.
    pub settings: Arc<SessionSettings>,
    /// Maximum sizes of frames.
    pub limits: Limits,
    /// How much may be queued for a client.
    pub policy: Policy,
    /// Authenticates clients.
    pub authenticator: Authenticator,
    /// Time for the last bytes when the broker stops.
    pub stop_flush: Duration,
    /// The metrics of connections.
    pub metrics: Metrics,
}

/// A newly connected client.
#[derive(Debug)]
pub struct Arrival {
    /// Its session.
    pub id: SessionId,
    /// The address it connects from.
    pub peer: SocketAddr,
    /// Its socket.
    pub socket: Socket,
    /// What carries STOMP over it.
    pub transport: Transport,
    /// Input that has already arrived.
    pub rest: BytesMut,
    /// The version that the subprotocol of WebSocket names.
    pub subprotocol: Option<Version>,
    /// When it was accepted.
    pub accepted: Instant,
    /// The span of its log lines.
    pub span: Span,
}

/// Drives a client until its connection ends.
pub async fn serve(shared: Arc<Shared>, arrival: Arrival) {
    let Arrival {
        id,
        peer,
        socket,
        transport,
        rest,
        subprotocol,
        accepted,
        span,
    } = arrival;
    let accepted = accepted.into_std();
    let _presence = shared.metrics.arrive(transport.name());
    let now = Instant::now().into_std();
    let outbox = Arc::new(Outbox::new(Arc::new(socket.clone()), shared.policy, now));
    let client = Client::new(id, peer, transport.name(), accepted, Arc::clone(&outbox));
    let client = Arc::new(client);
    shared.hub.join(&client);
    let can_ping = transport.framing().is_websocket();
    let mut connection = Connection {
        session: Session::new(id, Arc::clone(&shared.settings), can_ping, accepted),
        decoder: Decoder::new(shared.limits_before_connect()),
        id,
        socket,
        transport,
        outbox,
        client,
        subprotocol,
        members: Members::default(),
        batch: Batch::default(),
        pauses: None,
        turn: 0,
        timer: Timer::default(),
        received: Tally::default(),
        clocks: Clocks::default(),
        held: shared.metrics.held(),
        read_at: now,
        reading: true,
        span,
        shared,
    };
    let end = connection.run(rest).await;
    Box::pin(connection.end(end)).await;
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
    /// What others may know of it.
    client: Arc<Client>,
    subprotocol: Option<Version>,
    /// Its subscriptions.
    members: Members,
    batch: Batch,
    /// How long it may still wait for others, if it ever had to.
    pauses: Option<Box<Pauses>>,
    /// Bytes read since the task last yielded.
    turn: usize,
    timer: Timer,
    received: Tally,
    clocks: Clocks,
    held: HeldBytes,
    /// When the current input was read.
    read_at: std::time::Instant,
    reading: bool,
    span: Span,
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The session ends it.
    Closing(Box<Closing>),
    /// The client starts the closing handshake of WebSocket; this is the reply.
    ClosedByClient(Bytes),
    /// The client has sent all its input.
    Finished,
    /// The socket is broken.
    Lost(io::Error),
}

impl Connection {
    async fn run(&mut self, rest: BytesMut) -> End {
        let Err(end) = self.converse(rest).await;
        end
    }

    async fn converse(&mut self, rest: BytesMut) -> Result<Infallible, End> {
        self.on_bytes(rest).await?;
        loop {
            let flushed = self.flush();
            self.members.on_outbox_progress(&self.outbox, now()).await;
            self.yield_if_due(flushed == Flushed::Some).await;
            if self.update_reading().await? {
                continue;
            }
            let blocked = flushed != Flushed::All;
            self.timer
                .arm(self.session.next_timeout(&self.outbox.outbound_state()));
            tokio::select! {
                biased;
                () = self.outbox.woken() => self.on_notices()?,
                () = self.timer.passed() => self.on_timeout().await?,
                ready = ready(&self.socket, self.reading, blocked) => {
                    let readable = ready.map_err(End::Lost)?;
                    if readable && self.reading {
                        self.on_readable().await?;
                    }
                }
            }
        }
    }

    /// Writes what is queued. A socket that cannot be written may still hold input that the client
    /// sent before it disconnected, and that counts: reading finds the end.
    fn flush(&mut self) -> Flushed {
        let now = now();
        let flushed = self.outbox.flush(now).unwrap_or_else(|error| {
            debug!(parent: &self.span, %error, "cannot write");
            let_go(self.outbox.close());
            Flushed::All
        });
        match flushed {
            Flushed::All => self.clocks.unblock(now, &self.shared.metrics),
            Flushed::Blocked => self.clocks.block(now),
            Flushed::Some => {}
        }
        flushed
    }

    /// Yields to other clients of this thread when this one has used its turn.
    async fn yield_if_due(&mut self, now: bool) {
        if now || self.turn >= TURN {
            self.turn = 0;
            turn::end().await;
        }
    }

    async fn on_readable(&mut self) -> Result<(), End> {
        match transport::read(self.socket.stream()) {
            Ok(bytes) if bytes.is_empty() => Err(End::Finished),
            Ok(bytes) => {
                let now = Instant::now();
                turn::begin(now);
                self.turn += bytes.len();
                self.client.count_received(0, bytes.len());
                self.read_at = now.into_std();
                self.session.on_read(self.read_at);
                self.on_bytes(bytes).await
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(End::Lost(error)),
        }
    }

    async fn on_bytes(&mut self, bytes: BytesMut) -> Result<(), End> {
        if !bytes.is_empty() {
            self.transport.feed(bytes);
        }
        // Boxed, since an idle client would keep the memory for it.
        let ended = Box::pin(async {
            let ended = self.process().await;
            // Earlier SENDs count whatever follows them; a refusal of one takes precedence.
            let ended = self.hand_over().await.and(ended);
            let ended = ended.and_then(|()| self.end_by_session());
            self.members.dispatch(now()).await;
            ended
        })
        .await;
        let frames = self.shared.metrics.count_received(&mut self.received);
        self.client.count_received(frames, 0);
        self.held.set(self.session.held());
        ended
    }

    /// Processes frames from the input, until it is used up or the session accepts no more.
    async fn process(&mut self) -> Result<(), End> {
        while self.session.wants_input() {
            match self.decoder.decode() {
                Ok(Some(Item::Frame(frame))) => {
                    self.received.add(frame.command);
                    if frame.command != Command::Send {
                        self.hand_over().await?;
                    }
                    self.session.on_frame(frame);
                    self.perform().await?;
                    turn::add(0, turn::MESSAGE);
                    if turn::is_over() && !self.pause().await? {
                        return Ok(());
                    }
                }
                Ok(Some(Item::HeartBeat)) => {}
                Ok(None) => match self.take_input().await? {
                    Ok(Some(Incoming::Data(bytes))) => self.decoder.push(bytes),
                    Ok(Some(Incoming::Pong)) => {
                        self.clocks.pong(self.read_at, &self.shared.metrics);
                    }
                    Ok(Some(Incoming::Close(answer))) => {
                        self.session.on_close();
                        return Err(End::ClosedByClient(answer));
                    }
                    Ok(None) => return Ok(()),
                    Err(fault) => self.fail(Refusal::WebSocket(fault)).await?,
                },
                Err(error) => self.fail(Refusal::Frame(error)).await?,
            }
        }
        Ok(())
    }

    /// Takes input from the transport. Sends the transport's own answers, which are Pongs, after
    /// those to earlier frames and before those to later ones.
    async fn take_input(&mut self) -> Result<Result<Option<Incoming>, WebSocketFault>, End> {
        let input = self.transport.take_input();
        let output = self.transport.take_output();
        if !output.is_empty() {
            self.hand_over().await?;
            self.outbox.control(output, now());
        }
        Ok(input)
    }

    /// One read can contain very many frames: hands over and writes what they have caused so far,
    /// and yields. Returns `false` if the rest must wait because the client does not read its
    /// replies.
    async fn pause(&mut self) -> Result<bool, End> {
        self.hand_over().await?;
        self.members.dispatch(now()).await;
        self.flush();
        self.yield_if_due(true).await;
        let full = self.is_full_of_replies();
        if full {
            // Now, and not at the next check: by then there may be room, and the rest of the input
            // would be forgotten.
            self.set_reading(false);
        }
        Ok(!full)
    }

    async fn fail(&mut self, refusal: Refusal) -> Result<(), End> {
        let receipt = self.decoder.receipt();
        self.session.on_failure(&refusal, receipt.as_deref());
        self.perform().await
    }

    async fn on_timeout(&mut self) -> Result<(), End> {
        let (now, outbound) = (now(), self.outbox.outbound_state());
        // Unread input is a sign of life: this process may have been suspended.
        if self.session.would_cut(now, &outbound) && self.socket.has_input() {
            self.session.on_read(now);
        }
        self.session.on_timeout(now, &outbound);
        Box::pin(self.perform()).await
    }

    fn on_notices(&mut self) -> Result<(), End> {
        while let Some(notice) = self.outbox.take_notice() {
            match notice {
                Notice::Lost => let_go(self.outbox.close()),
                Notice::Refuse(refusal) => self.session.on_failure(&refusal, None),
                Notice::Stop => self.session.on_stop(),
            }
            self.end_by_session()?;
        }
        Ok(())
    }

    /// Stops reading from a client while its replies pile up, or its login is pending. Afterwards
    /// it continues with the input that is left. Returns whether it did.
    async fn update_reading(&mut self) -> Result<bool, End> {
        let reading = self.session.wants_input() && !self.is_full_of_replies();
        if reading == self.reading {
            return Ok(false);
        }
        self.set_reading(reading);
        if reading {
            self.on_bytes(BytesMut::new()).await?;
        }
        Ok(reading)
    }

    /// Whether so many replies are queued, or wait for something else, that reading must pause.
    fn is_full_of_replies(&self) -> bool {
        let WaitingReplies { frames, bytes } = self.session.waiting_replies();
        self.outbox.is_full_of_replies(OutboxLoad { frames, bytes })
    }

    fn set_reading(&mut self, reading: bool) {
        self.reading = reading;
        self.session.on_reading(reading, now());
        self.socket.set_user_timeout(!reading);
    }
}

/// Cleans up after a client, even if its task is ended by a panic or by the runtime.
impl Drop for Connection {
    fn drop(&mut self) {
        let_go(self.outbox.close());
        self.members.end_all(&self.shared.hub, Return::Left, now());
        self.shared.hub.leave(self.id);
    }
}

impl Shared {
    /// Returns the maximum size of a WebSocket message: the largest frame, with room for its
    /// command.
    pub fn largest_frame(&self) -> usize {
        self.limits.body + self.limits.header_bytes + 1024
    }

    /// Before CONNECT a client is not authenticated, so its limits are low.
    fn limits_before_connect(&self) -> Limits {
        Limits {
            body: self.limits.body.min(BEFORE_CONNECT),
            ..self.limits
        }
    }
}

/// Waits until the socket is ready as wanted; returns whether it is readable.
async fn ready(socket: &Socket, read: bool, write: bool) -> io::Result<bool> {
    let stream = socket.stream();
    // The socket remembers only the task that polled last, which is always this one: that is
    // cheaper than a list of waiters.
    poll_fn(|context| {
        if read && let Poll::Ready(ready) = stream.poll_read_ready(context) {
            return Poll::Ready(ready.map(|()| true));
        }
        if write && let Poll::Ready(ready) = stream.poll_write_ready(context) {
            return Poll::Ready(ready.map(|()| false));
        }
        Poll::Pending
    })
    .await
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Number of bytes read before the task yields.
const TURN: usize = 64 * 1024;

/// Maximum bytes of a frame of a client that has not connected.
pub const BEFORE_CONNECT: usize = 64 * 1024;
