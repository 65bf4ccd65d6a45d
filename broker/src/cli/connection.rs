//! The flags of commands that connect to a broker.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use stomp_codec::Version;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::client::{Address, Client, Error, Options};
use crate::error;

/// Where the broker is, and how to log in.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(super) struct Connection {
    /// The broker: ws://host:port/path, wss://…, tcp://host:port, tcp+tls://…
    #[arg(
        short,
        long,
        env = "STOMPD_URL",
        hide_env_values = true,
        default_value = "ws://127.0.0.1:15674/ws"
    )]
    url: Address,
    /// User
    #[arg(
        short,
        long,
        env = "STOMPD_LOGIN",
        hide_env_values = true,
        value_name = "USER"
    )]
    login: Option<String>,
    /// Password; in the environment it is hidden from the list of processes
    #[arg(
        short,
        long,
        env = "STOMPD_PASSCODE",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    passcode: Option<String>,
    /// Virtual host; RabbitMQ usually has "/", others accept any
    #[arg(long, default_value = "/", value_name = "NAME")]
    host: String,
    /// Use only this version of STOMP: 1.0, 1.1 or 1.2 [default: the newest that the broker has]
    #[arg(long, value_parser = version)]
    version: Option<Version>,
    /// How often to offer and request heart-beats; 0s: never
    #[arg(long, default_value = "10s", value_name = "DUR", value_parser = duration)]
    heart_beat: Duration,
    /// Open the WebSocket without naming a subprotocol, for servers that have none
    #[arg(long)]
    no_subprotocol: bool,
    /// Trust the certificates in FILE (PEM) instead of those of the system
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Connection {
    pub(super) async fn open(&self) -> Result<Client, Error> {
        let options = Options {
            login: self.login.clone(),
            passcode: self.passcode.clone(),
            host: self.host.clone(),
            version: self.version,
            heart_beat: self.heart_beat,
            subprotocols: !self.no_subprotocol,
            ca: self.ca.clone(),
            ..Options::default()
        };
        Client::connect(&self.url, &options).await
    }

    pub(super) const fn url(&self) -> &Address {
        &self.url
    }
}

/// Who settles a message, and when.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Ack {
    /// The broker, once it has sent it
    Auto,
    /// The client, together with all messages before it
    Client,
    /// The client, each one separately
    ClientIndividual,
}

impl Ack {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Client => "client",
            Self::ClientIndividual => "client-individual",
        }
    }
}

/// Parses `10s`, `500ms`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).ok();
    duration
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "write 10s, 500ms or 1m30s, up to 30days".to_owned())
}

/// Parses a header as `name:value`.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write name:value".to_owned()),
    }
}

fn version(text: &str) -> Result<Version, String> {
    let mut known = Version::ALL.into_iter();
    known
        .find(|it| it.as_str() == text)
        .ok_or_else(|| "the versions are 1.0, 1.1 and 1.2".to_owned())
}

/// Waits for a signal to end.
pub(super) async fn interrupted() -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(error::Error::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(error::Error::Signal)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// Beyond it clocks overflow, and heart-beats do not fit into 32 bits.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long to wait for the last frame of a broker.
pub(super) const LAST_WORD: Duration = Duration::from_secs(10);
