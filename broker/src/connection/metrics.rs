//! What connections count.

use std::time::{Duration, Instant};

use stomp_codec::Command;

use crate::engine::refusal::CloseCode;
use crate::engine::session::Closing;
use crate::metrics::{Counter, Counters, Gauge, Gauges, Histogram, Registry, number};
use crate::transport::handshake::Refused;
use crate::transport::{TCP, WEBSOCKET};

/// What connections count.
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

/// What takes time on one connection, from its begin until it is over.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// Since when a Ping is not answered.
    pinged: Option<Instant>,
    /// Since when the socket does not take all there is.
    blocked: Option<Instant>,
}

/// The frames of one step, by command: counters are shared, so they are counted once for a batch.
#[derive(Debug, Default)]
pub(super) struct Tally([u32; Command::ALL.len()]);

/// A connection that is counted as open for as long as this lives.
#[derive(Debug)]
pub struct Presence(Gauge);

/// What one client's transactions hold, as part of what all hold together.
#[derive(Debug)]
pub(super) struct Held {
    all: Gauge,
    bytes: i64,
}

impl Metrics {
    /// Registers all of them.
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
            "STOMP frames to clients, by command; of MESSAGEs only those that tell a refusal.",
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
                "Clients cut because nothing was heard from them.",
            ),
            refusals: registry.counters(
                "stompd_refusals_total",
                "Clients and connections refused or cut, by reason; handshake_… before there was a WebSocket.",
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
                "From the read that brought messages until their subscribers' sockets or outgoing \
                 queues have them, once for each batch.",
                Duration::from_micros(16)..Duration::from_secs(8),
            ),
            round_trip: registry.histogram(
                "stompd_ping_round_trip_seconds",
                "From a Ping to the Pong of the client, with the time that the Ping waited here.",
                Duration::from_millis(1)..Duration::from_secs(60),
            ),
            blocked: registry.histogram(
                "stompd_outbox_blocked_seconds",
                "How long a client's outgoing queue was not empty because its socket took no more, \
                 when that is over.",
                Duration::from_millis(1)..Duration::from_secs(300),
            ),
            held: registry.gauge(
                "stompd_transaction_bytes",
                "Bytes of the messages that open transactions hold.",
            ),
        }
    }

    /// Counts a refusal that happened before there was a session.
    pub fn refuse(&self, label: &str) {
        self.refusals.with(label).inc();
    }

    /// A connection has come; it counts as open until what is returned is dropped.
    pub(super) fn arrive(&self, transport: &str) -> Presence {
        self.opened.with(transport).inc();
        let gauge = self.connections.with(transport);
        gauge.inc();
        Presence(gauge)
    }

    /// A client that holds nothing yet.
    pub(super) fn held(&self) -> Held {
        Held {
            all: self.held.clone(),
            bytes: 0,
        }
    }

    pub(super) fn count_received(&self, tally: &mut Tally) {
        for (counter, frames) in self.received.iter().zip(&mut tally.0) {
            if *frames > 0 {
                counter.inc_by(std::mem::take(frames).into());
            }
        }
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

    /// A Pong that nobody asked for is none of our business.
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

impl Held {
    pub(super) fn set(&mut self, bytes: usize) {
        let bytes = number(bytes);
        if bytes != self.bytes {
            self.all.add(bytes - self.bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Held {
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
