//! The metrics of connections.

use std::time::{Duration, Instant};

use stomp_codec::Command;

use crate::engine::refusal::CloseCode;
use crate::engine::session::Closing;
use crate::metrics::{Counter, Counters, Gauge, Gauges, Histogram, Registry, number};
use crate::transport::handshake::Refused;
use crate::transport::{TCP, WEBSOCKET};

/// The metrics of connections.
#[derive(Debug)]
pub struct Metrics {
    connections: Gauges,
    opened: Counters,
    pub(super) closed: Counters,
    received: [Counter; Command::ALL.len()],
    sent: [Counter; Command::ALL.len()],
    pub(super) beats: Counter,
    pub(super) pings: Counter,
    heart_beat_timeouts: Counter,
    refusals: Counters,
    pub(super) version_mismatches: Counter,
    pub(super) hand_over: Histogram,
    round_trip: Histogram,
    blocked: Histogram,
    held: Gauge,
}

/// What is being timed on one connection.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// When the unanswered Ping was sent.
    pinged: Option<Instant>,
    /// Since when the socket has not accepted all output.
    blocked: Option<Instant>,
}

/// Frames of one step, by command: counters are shared, so they are updated once per batch.
#[derive(Debug, Default)]
pub(super) struct Tally([u32; Command::ALL.len()]);

/// Counts a connection as open for as long as this exists.
#[derive(Debug)]
pub struct Presence(Gauge);

/// Bytes held by one client's transactions, as part of the total.
#[derive(Debug)]
pub(super) struct HeldBytes {
    all: Gauge,
    bytes: i64,
}

impl Metrics {
    /// Registers all metrics.
    pub fn new(registry: &Registry) -> Self {
        let transports = [TCP, WEBSOCKET];
        let received = registry.counters(
            "stompd_frames_received_total",
            "STOMP frames of clients, by command.",
            "command",
            Command::ALL
                .into_iter()
                .filter(|command| command.is_client())
                .map(Command::as_str),
        );
        let sent = registry.counters(
            "stompd_frames_sent_total",
            "STOMP frames to clients, by command; of MESSAGEs only those that report a refusal.",
            "command",
            ["CONNECTED", "ERROR", "MESSAGE", "RECEIPT"],
        );
        Self {
            connections: registry.gauges(
                "stompd_connections",
                "Clients connected now, by transport.",
                "transport",
                transports,
            ),
            opened: registry.counters(
                "stompd_connections_opened_total",
                "Connections whose transport was opened, by transport.",
                "transport",
                transports,
            ),
            closed: registry.counters(
                "stompd_connections_closed_total",
                "Connections that ended, by reason.",
                "reason",
                [
                    "disconnect",
                    "client_close",
                    "client_gone",
                    "client_reset",
                    "stopping",
                ],
            ),
            received: by_command(&received),
            sent: by_command(&sent),
            beats: registry.counter(
                "stompd_heart_beats_sent_total",
                "Heart-beats (EOLs) sent to clients.",
            ),
            pings: registry.counter(
                "stompd_pings_sent_total",
                "Pings of WebSocket sent to clients.",
            ),
            heart_beat_timeouts: registry.counter(
                "stompd_heart_beat_timeouts_total",
                "Clients disconnected because they were silent for too long.",
            ),
            refusals: registry.counters(
                "stompd_refusals_total",
                "Clients and connections refused or disconnected, by reason; handshake_… before the WebSocket opened.",
                "reason",
                ["slow_consumer", "heart_beat"]
                    .into_iter()
                    .chain(Refused::ALL.map(Refused::label)),
            ),
            version_mismatches: registry.counter(
                "stompd_version_mismatches_total",
                "Sessions whose STOMP version is not that of their WebSocket subprotocol.",
            ),
            hand_over: registry.histogram(
                "stompd_publish_to_write_seconds",
                "From the read that brought messages until their subscribers' sockets or outboxes have them, once for each batch.",
                Duration::from_micros(16)..Duration::from_secs(8),
            ),
            round_trip: registry.histogram(
                "stompd_ping_round_trip_seconds",
                "From a Ping to the client's Pong, including the time that the Ping was queued.",
                Duration::from_millis(1)..Duration::from_secs(60),
            ),
            blocked: registry.histogram(
                "stompd_outbox_blocked_seconds",
                "How long a client's outbox was not empty because its socket accepted no more, \
                 recorded when that ends.",
                Duration::from_millis(1)..Duration::from_secs(300),
            ),
            held: registry.gauge(
                "stompd_transaction_bytes",
                "Bytes of the messages in open transactions.",
            ),
        }
    }

    /// Counts a refusal that happened before there was a session.
    pub fn refuse(&self, label: &str) {
        self.refusals.with(label).inc();
    }

    /// Counts a new connection as open until the result is dropped.
    pub(super) fn arrive(&self, transport: &str) -> Presence {
        self.opened.with(transport).inc();
        let gauge = self.connections.with(transport);
        gauge.inc();
        Presence(gauge)
    }

    /// Returns the account of a client that holds nothing yet.
    pub(super) fn held(&self) -> HeldBytes {
        HeldBytes {
            all: self.held.clone(),
            bytes: 0,
        }
    }

    /// Counts the frames of a step; returns their number.
    pub(super) fn count_received(&self, tally: &mut Tally) -> u64 {
        let mut all = 0;
        for (counter, frames) in self.received.iter().zip(&mut tally.0) {
            if *frames > 0 {
                let frames = std::mem::take(frames).into();
                counter.inc_by(frames);
                all += frames;
            }
        }
        all
    }

    pub(super) fn sent(&self, command: Command) {
        self.sent[command as usize].inc();
    }

    pub(super) fn count_refusal(&self, closing: &Closing) {
        if !matches!(closing.code, CloseCode::Normal | CloseCode::Stopping) {
            self.refusals.with(closing.label).inc();
        }
        if closing.code == CloseCode::HeartBeat {
            self.heart_beat_timeouts.inc();
        }
    }
}

impl Clocks {
    pub(super) fn ping(&mut self, now: Instant) {
        self.pinged.get_or_insert(now);
    }

    /// Ignores a Pong that answers no Ping.
    pub(super) fn pong(&mut self, now: Instant, metrics: &Metrics) {
        if let Some(pinged) = self.pinged.take() {
            metrics.round_trip.observe(now - pinged);
        }
    }

    pub(super) fn block(&mut self, now: Instant) {
        self.blocked.get_or_insert(now);
    }

    pub(super) fn unblock(&mut self, now: Instant, metrics: &Metrics) {
        if let Some(since) = self.blocked.take() {
            metrics.blocked.observe(now - since);
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, command: Command) {
        self.0[command as usize] += 1;
    }
}

impl HeldBytes {
    pub(super) fn set(&mut self, bytes: usize) {
        let bytes = number(bytes);
        if bytes != self.bytes {
            self.all.add(bytes - self.bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The counters by the number of the command, so that counting a frame does not hash.
fn by_command(counters: &Counters) -> [Counter; Command::ALL.len()] {
    Command::ALL.map(|command| counters.with(command.as_str()))
}
