//! Every setting, checked: code that has a [`Config`] may rely on its fields.
//!
//! One section is one struct, which one part of the program reads. `broker.toml` is the reference
//! for people: the same keys, with the same defaults. A new setting is a field with its doc line
//! and default here, and a line in `broker.toml`; a rule that the type of the field cannot express
//! goes to `check.rs`. A key that holds a secret comes with a twin `<key>_file`.

mod check;
mod error;
mod load;
mod reference;
#[cfg(test)]
mod tests;
mod units;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::error::{ConfigError, Place};
pub use self::load::{Flag, Loaded, Origin, Source};
pub use self::reference::REFERENCE;
use self::units::{
    Address, As, Choice, Count, Interval, Level, List, Positive, Size, Switch, Word,
};

/// All settings of one process.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where clients and operators connect.
    pub listen: Listen,
    /// How silent peers are detected.
    pub heart_beat: HeartBeat,
    /// Limits of one client, and of all of them.
    pub limits: Limits,
    /// Limits of queues.
    pub queue: Queue,
    /// What the admin port offers besides metrics and health, and its limits.
    pub admin: Admin,
    /// How the broker stops.
    pub stop: Stop,
    /// Threads.
    pub runtime: Runtime,
    /// What is logged to standard error.
    pub log: Log,
}

/// `[listen]`: where clients and operators connect. At least one of the three is on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// `host:port` for STOMP over WebSocket; the host is resolved when the broker binds. `None`: off.
    #[serde(with = "As::<Address>")]
    pub websocket: Option<String>,
    /// `host:port` for STOMP over TCP. `None`: off.
    #[serde(with = "As::<Address>")]
    pub tcp: Option<String>,
    /// `host:port` for metrics and health, meant for operators only. `None`: off.
    #[serde(with = "As::<Address>")]
    pub admin: Option<String>,
    /// Request paths at which a WebSocket is opened; each other path is answered with 404.
    #[serde(with = "As::<List>")]
    pub paths: Vec<String>,
}

/// `[heart_beat]`: how silent peers are detected. Each interval is whole milliseconds and fits 32
/// bits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeartBeat {
    /// The broker offers to send something at least this often. Zero: it offers nothing.
    #[serde(with = "As::<Interval>")]
    pub send: Duration,
    /// The broker asks clients to send something at least this often, and clients that offer to
    /// send more often to do so. Zero: it asks for nothing.
    #[serde(with = "As::<Interval>")]
    pub want: Duration,
    /// A WebSocket on which nothing was written, or nothing was read, for this long gets a Ping, so
    /// that no proxy considers it idle. Zero: never.
    #[serde(with = "As::<Interval>")]
    pub ping: Duration,
}

/// `[limits]`: limits of one client, and of all of them. None of them is zero.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a frame's body, up to 1 GiB; a larger frame ends the connection. Together with
    /// `header_bytes` never more than `outbox_bytes` or the `prefetch_bytes` of queues.
    #[serde(with = "As::<Positive<Size>>")]
    pub body: usize,
    /// Header lines of a frame; one more ends the connection.
    #[serde(with = "As::<Positive<Count>>")]
    pub headers: usize,
    /// Bytes of one header line; never more than `header_bytes`.
    #[serde(with = "As::<Positive<Size>>")]
    pub header_line: usize,
    /// Bytes of all header lines of a frame together, up to 16 MiB.
    #[serde(with = "As::<Positive<Size>>")]
    pub header_bytes: usize,
    /// Time from accept until CONNECT is complete; slower clients are disconnected.
    #[serde(with = "As::<Positive<Interval>>")]
    pub connect_timeout: Duration,
    /// Clients connected at the same time; the next one is refused.
    #[serde(with = "As::<Positive<Count>>")]
    pub connections: usize,
    /// Subscriptions of one connection; one more ends it.
    #[serde(with = "As::<Positive<Count>>")]
    pub subscriptions: usize,
    /// Bytes of memory that the subscriptions of one connection take; one more ends it.
    #[serde(with = "As::<Positive<Size>>")]
    pub subscription_bytes: usize,
    /// Arrangements of wildcards that the subscriptions of all connections may have; a subscription
    /// that adds one more ends its connection. Each costs every match a look-up.
    #[serde(with = "As::<Positive<Count>>")]
    pub pattern_shapes: usize,
    /// Like `pattern_shapes`, for the subscriptions of one connection.
    #[serde(with = "As::<Positive<Count>>")]
    pub connection_pattern_shapes: usize,
    /// Bytes queued for one client before `slow_consumer` applies; a single message may be larger.
    #[serde(with = "As::<Positive<Size>>")]
    pub outbox_bytes: usize,
    /// Messages queued for one client before `slow_consumer` applies.
    #[serde(with = "As::<Positive<Count>>")]
    pub outbox_messages: usize,
    /// How long publishers wait for a client whose outbox is half full, before they fill it; it is
    /// renewed as the outbox is written. Zero: never.
    #[serde(with = "As::<Interval>")]
    pub patience: Duration,
    /// A client whose socket accepts no byte for this long, while replies are queued, is
    /// disconnected.
    #[serde(with = "As::<Positive<Interval>>")]
    pub stall: Duration,
    /// What happens to a client whose outbox is full when the next message arrives.
    #[serde(with = "As::<Word<SlowConsumer>>")]
    pub slow_consumer: SlowConsumer,
}

/// What happens to a client that reads more slowly than its subscriptions deliver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SlowConsumer {
    /// It is disconnected, so that it notices the loss and can catch up after it has reconnected.
    Disconnect,
    /// It stays connected, and the oldest messages queued for it are dropped.
    DropOldest,
}

/// `[queue]`: limits of queues, and of what their consumers have at a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Unsettled messages that a consumer may have, if it sets no limit itself.
    #[serde(with = "As::<Positive<Count>>")]
    pub prefetch: usize,
    /// Bytes that such a consumer may have; the message that reaches the limit is the last.
    #[serde(with = "As::<Positive<Size>>")]
    pub prefetch_bytes: usize,
    /// Messages in a queue that wait for a consumer; one more is refused.
    #[serde(with = "As::<Positive<Count>>")]
    pub max_length: usize,
    /// Memory of all messages of a queue, including those that consumers have: their text and the
    /// overhead of each. One message may be larger.
    #[serde(with = "As::<Positive<Size>>")]
    pub max_bytes: usize,
    /// Maximum number of queues; one more is refused.
    #[serde(with = "As::<Positive<Count>>")]
    pub max_queues: usize,
    /// Whether `/metrics` names queues. Clients choose the names, so there can be many.
    #[serde(with = "As::<Switch>")]
    pub metrics: bool,
    /// Maximum number of queues that it names: those with the most messages.
    #[serde(with = "As::<Positive<Count>>")]
    pub metrics_limit: usize,
}

/// `[admin]`: what the admin port offers besides metrics and health, and its limits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Whether `/demo/` serves the demo page.
    #[serde(with = "As::<Switch>")]
    pub demo: bool,
    /// Connections to the admin port at the same time; one more replaces the one that has been
    /// silent longest.
    #[serde(with = "As::<Positive<Count>>")]
    pub connections: usize,
    /// Time limit of a request; also of a connection without one.
    #[serde(with = "As::<Positive<Interval>>")]
    pub timeout: Duration,
}

/// `[stop]`: how the broker stops after SIGTERM. It takes at most the sum of the three.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Time for which it still accepts clients but already reports itself as not ready.
    #[serde(with = "As::<Interval>")]
    pub delay: Duration,
    /// Time over which the closing of connections is spread, so that not all reconnect at once.
    #[serde(with = "As::<Interval>")]
    pub spread: Duration,
    /// Time for the last bytes to reach the clients.
    #[serde(with = "As::<Interval>")]
    pub flush: Duration,
}

/// `[runtime]`: threads.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// Threads that serve clients. Zero: one per core.
    #[serde(with = "As::<Count>")]
    pub workers: usize,
}

/// `[log]`: what is logged to standard error.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The format of a line.
    #[serde(with = "As::<Word<LogFormat>>")]
    pub format: LogFormat,
    /// A level, or directives of `tracing_subscriber::EnvFilter`; known to parse.
    #[serde(with = "As::<Level>")]
    pub level: String,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// One readable line.
    Text,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            websocket: Some("127.0.0.1:15674".to_owned()),
            tcp: Some("127.0.0.1:61613".to_owned()),
            admin: Some("127.0.0.1:15692".to_owned()),
            paths: vec!["/ws".to_owned(), "/stomp".to_owned()],
        }
    }
}

impl Default for HeartBeat {
    fn default() -> Self {
        Self {
            send: Duration::from_secs(1),
            want: Duration::from_secs(10),
            ping: Duration::from_secs(25),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 * MIB,
            headers: 256,
            header_line: 16 * KIB,
            header_bytes: 64 * KIB,
            connect_timeout: Duration::from_secs(10),
            connections: 100_000,
            subscriptions: 10_000,
            subscription_bytes: 16 * MIB,
            pattern_shapes: 256,
            connection_pattern_shapes: 64,
            outbox_bytes: 8 * MIB,
            outbox_messages: 65_536,
            patience: Duration::from_secs(1),
            stall: Duration::from_secs(30),
            slow_consumer: SlowConsumer::Disconnect,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            prefetch: 1000,
            prefetch_bytes: 8 * MIB,
            max_length: 100_000,
            max_bytes: 256 * MIB,
            max_queues: 100_000,
            metrics: false,
            metrics_limit: 1000,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            demo: true,
            connections: 64,
            timeout: Duration::from_secs(10),
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            spread: Duration::from_secs(3),
            flush: Duration::from_secs(2),
        }
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "the defaults of all sections are read here, zeros included"
)]
impl Default for Runtime {
    fn default() -> Self {
        Self { workers: 0 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

impl Choice for SlowConsumer {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disconnect", Self::Disconnect),
        ("drop-oldest", Self::DropOldest),
    ];
}

impl Choice for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
