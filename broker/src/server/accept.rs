//! Handles a new connection until it is a client.

use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use stomp_codec::Version;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tracing::{debug, debug_span};

use crate::config::Config;
use crate::connection::{self, Arrival, BEFORE_CONNECT, Shared};
use crate::engine::SessionId;
use crate::engine::refusal::Refusal;
use crate::engine::session;
use crate::transport::handshake::{self, Refused};
use crate::transport::{self, Socket, Transport};
use crate::websocket::WebSocket;

use super::files::Shares;

/// Admits connections up to the limit.
#[derive(Debug)]
pub(super) struct Doorman {
    shared: Arc<Shared>,
    /// One permit for each connection that may exist.
    room: Arc<Semaphore>,
    /// One permit for each refused connection that gets time to read the reason.
    lobby: Arc<Semaphore>,
    connections: usize,
    connect_timeout: Duration,
    handshake: Arc<handshake::HandshakeSettings>,
    /// Whether unfinished handshakes must end.
    stopping: watch::Sender<bool>,
}

impl Doorman {
    pub(super) fn new(
        shared: Arc<Shared>,
        config: &Config,
        places: Shares,
        handshake: handshake::HandshakeSettings,
    ) -> Self {
        Self {
            shared,
            room: Arc::new(Semaphore::new(places.connections)),
            lobby: Arc::new(Semaphore::new(places.lobby)),
            connections: places.connections,
            connect_timeout: config.limits.connect_timeout,
            handshake: Arc::new(handshake),
            stopping: watch::Sender::new(false),
        }
    }

    /// Ends the unfinished handshakes.
    pub(super) fn stop_handshakes(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until all connections have ended.
    pub(super) async fn wait_for_all_to_leave(&self) {
        let all = u32::try_from(self.connections).unwrap_or(u32::MAX);
        // Fails only if the semaphore is closed, which never happens.
        let _ = self.room.acquire_many(all).await;
    }

    /// Serves a WebSocket connection: first the handshake, then the client.
    pub(super) fn websocket(&self, stream: TcpStream, peer: SocketAddr) {
        let Some((permit, full)) = self.admit() else {
            self.shared.metrics.refuse(Refused::Full.label());
            return turn_away_at_once(&stream, FULL);
        };
        let (shared, settings) = (Arc::clone(&self.shared), Arc::clone(&self.handshake));
        let accepted = Instant::now();
        let deadline = accepted + self.connect_timeout;
        let mut stopping = self.stopping.subscribe();
        tokio::spawn(async move {
            let handshake = tokio::select! {
                biased;
                done = handshake::open(stream, settings, full, deadline) => done,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            let opened = match handshake {
                Ok(Some(opened)) => opened,
                Ok(None) => return,
                Err(refused) => {
                    debug!(%peer, reason = refused.label(), "handshake refused");
                    return shared.metrics.refuse(refused.label());
                }
            };
            let transport = Transport::WebSocket(Box::new(WebSocket::new(BEFORE_CONNECT)));
            let subprotocol = opened.subprotocol.and_then(Version::from_subprotocol);
            let arrival = arrive(
                opened.stream,
                peer,
                transport,
                opened.rest.into(),
                subprotocol,
                accepted,
            );
            // A separate task, which does not keep the memory that the handshake needed.
            tokio::spawn(async move {
                connection::serve(shared, arrival).await;
                drop(permit);
            });
        });
    }

    /// Serves a TCP connection: a client at once.
    pub(super) fn tcp(&self, stream: TcpStream, peer: SocketAddr) {
        let shared = Arc::clone(&self.shared);
        let permit = match self.admit() {
            Some((permit, false)) => permit,
            refused => {
                let refusal = Refusal::TooManyConnections(self.connections);
                shared.metrics.refuse(refusal.label());
                let error = session::error_frame(&refusal, None).encode(Version::V1_0);
                let Some((permit, _)) = refused else {
                    return turn_away_at_once(&stream, &error);
                };
                tokio::spawn(async move {
                    turn_away(&stream, &error).await;
                    drop(permit);
                });
                return;
            }
        };
        let arrival = arrive(
            stream,
            peer,
            Transport::Tcp(Bytes::new()),
            BytesMut::new(),
            None,
            Instant::now(),
        );
        tokio::spawn(async move {
            connection::serve(shared, arrival).await;
            drop(permit);
        });
    }

    /// Returns a permit to stay, or with `true` a permit for the lobby. `None` if the lobby is full
    /// too: then the answer is sent without waiting until it is read.
    fn admit(&self) -> Option<(OwnedSemaphorePermit, bool)> {
        let permit = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_owned().ok();
        permit(&self.room)
            .map(|permit| (permit, false))
            .or_else(|| permit(&self.lobby).map(|permit| (permit, true)))
    }
}

fn arrive(
    stream: TcpStream,
    peer: SocketAddr,
    transport: Transport,
    rest: BytesMut,
    subprotocol: Option<Version>,
    accepted: Instant,
) -> Arrival {
    // Small messages must not wait for the acknowledgement of others.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream);
    if matches!(transport, Transport::Tcp(_)) {
        // There are no Pings over TCP.
        let _ = socket.set_keep_alive();
    }
    let id = SessionId(random());
    let span = debug_span!("connection", session = %id, %peer, transport = transport.name());
    Arrival {
        id,
        peer,
        socket,
        transport,
        rest,
        subprotocol,
        accepted,
        span,
    }
}

/// Sends a client the reason for its refusal, and waits until it has read it.
async fn turn_away(stream: &TcpStream, answer: &[u8]) {
    if stream.writable().await.is_ok() && stream.try_write(answer).is_ok() {
        transport::drain(stream, Instant::now() + transport::DRAIN_TIME).await;
    }
}

/// The same without waiting, when the lobby is full: the descriptor is held only for an instant.
/// Input that has arrived is read, since the kernel resets a connection that is closed with unread
/// input.
fn turn_away_at_once(stream: &TcpStream, answer: &[u8]) {
    let socket = SockRef::from(stream);
    // A new socket accepts this much. If it does not, the client has left.
    if socket.send(answer).is_ok() && socket.shutdown(Shutdown::Write).is_ok() {
        let mut input = [MaybeUninit::uninit(); 4096];
        let _ = socket.recv(&mut input);
    }
}

/// 64 random bits.
#[expect(
    clippy::expect_used,
    reason = "the broker cannot work without random numbers"
)]
pub(super) fn random() -> u64 {
    getrandom::u64().expect("random numbers from the operating system")
}

/// The answer to a WebSocket client whose request was not read.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    connection: close\r\n\
    retry-after: 5\r\n\r\n\
    There are as many connections as [limits] connections allows. Try again later.\n";
