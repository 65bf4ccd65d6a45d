//! A STOMP client, for the commands `pub`, `sub`, `bench` and `healthcheck`, against any broker.
//!
//! A [`Client`] is one connection, owned by one task. Frames are written into a buffer
//! ([`Client::write`]) and sent by [`Client::flush`] or while [`Client::next`] waits; input that
//! arrives meanwhile is kept, so neither side can block the other. Heart-beats are handled while
//! one of these is awaited; all of them may be dropped at any time and called again. It is no
//! library for applications: it does not reconnect, and an ERROR ends it.

mod address;
mod error;
mod heart_beat;
mod tls;
mod transport;

use std::collections::VecDeque;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use stomp_codec::{Command, Decoder, Frame, Headers, Item, Limits, Version};
use tokio::time::{Instant, sleep_until, timeout};

pub use self::address::{Address, Scheme};
pub use self::error::Error;
use self::heart_beat::{Due, HeartBeat};
use self::transport::{Incoming, Transport};

/// The options of a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// User and password; both are sent only if they are given.
    pub login: Option<String>,
    /// See `login`.
    pub passcode: Option<String>,
    /// The virtual host.
    pub host: String,
    /// The only version to accept. `None`: all supported ones.
    pub version: Option<Version>,
    /// How often we offer and request heart-beats. Zero: not at all.
    pub heart_beat: Duration,
    /// Whether to request the subprotocols of STOMP for a WebSocket; some servers know none.
    pub subprotocols: bool,
    /// A file of certificates (PEM) to trust instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Time limit for connecting, up to CONNECTED.
    pub patience: Duration,
}

/// A connection that has received CONNECTED.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    decoder: Decoder,
    version: Version,
    heart_beat: HeartBeat,
    inbox: VecDeque<Frame>,
    /// Why nothing follows what is in the inbox.
    end: Option<Error>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            login: None,
            passcode: None,
            // The default of RabbitMQ, which refuses unknown hosts; other brokers accept any.
            host: "/".to_owned(),
            version: None,
            heart_beat: Duration::from_secs(10),
            subprotocols: true,
            ca: None,
            patience: Duration::from_secs(10),
        }
    }
}

impl Client {
    /// Opens a connection and sends CONNECT.
    ///
    /// # Errors
    ///
    /// Why there is no CONNECTED.
    pub async fn connect(address: &Address, options: &Options) -> Result<Self, Error> {
        let patience = options.patience;
        timeout(patience, async {
            let mut client = Self::open(address, options).await?;
            client.write(&connect(options));
            client.flush().await?;
            let answer = client.next().await?;
            client.greet(&answer, options)
        })
        .await
        .unwrap_or_else(|_| {
            Err(Error::Slow {
                address: address.to_string(),
                patience,
            })
        })
    }

    async fn open(address: &Address, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            transport: Transport::open(address, options).await?,
            decoder: Decoder::new(LIMITS),
            // CONNECT is not escaped in any version.
            version: Version::V1_0,
            heart_beat: HeartBeat::none(Instant::now()),
            inbox: VecDeque::new(),
            end: None,
        })
    }

    fn greet(mut self, answer: &Frame, options: &Options) -> Result<Self, Error> {
        if answer.command != Command::Connected {
            return Err(Error::Unexpected(answer.command));
        }
        let named = answer.header("version");
        let known = |name: &str| Version::ALL.into_iter().find(|it| it.as_str() == name);
        self.version = match named {
            None => Version::V1_0,
            Some(name) => known(name.trim()).ok_or_else(|| Error::Version(name.to_owned()))?,
        };
        let theirs = answer.header("heart-beat").unwrap_or_default();
        self.heart_beat = HeartBeat::agree(options.heart_beat, theirs, Instant::now());
        Ok(self)
    }

    /// Returns the negotiated version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Adds a frame to the output buffer.
    pub fn write(&mut self, frame: &Frame) {
        self.transport.push(frame.encode(self.version));
        self.heart_beat.on_write(Instant::now());
    }

    /// Subscribes to a destination.
    pub fn subscribe(&mut self, id: &str, destination: &str, ack: &str, more: &Headers) {
        let mut frame = Frame::new(Command::Subscribe)
            .with_header("id", id)
            .with_header("destination", destination)
            .with_header("ack", ack);
        frame.headers.extend(more.iter());
        self.write(&frame);
    }

    /// Acknowledges a message as the version requires.
    pub fn ack(&mut self, message: &Frame) {
        let copy = |ack: Frame, name: &str, from: &str| match message.header(from) {
            Some(value) => ack.with_header(name, value),
            None => ack,
        };
        let ack = Frame::new(Command::Ack);
        let ack = match self.version {
            Version::V1_2 => copy(ack, "id", "ack"),
            Version::V1_0 | Version::V1_1 => {
                let ack = copy(ack, "message-id", "message-id");
                copy(ack, "subscription", "subscription")
            }
        };
        self.write(&ack);
    }

    /// Sends the output buffer.
    ///
    /// # Errors
    ///
    /// Why the connection is over.
    pub async fn flush(&mut self) -> Result<(), Error> {
        while self.end.is_none() {
            let silent = self.heart_beat.silent_at();
            tokio::select! {
                biased;
                came = self.transport.flush() => match came {
                    None => return Ok(()),
                    Some(came) => self.take(came),
                },
                () = at(silent) => self.end = Some(self.heart_beat.silent()),
            }
        }
        Err(self.over())
    }

    /// Returns the next frame of the broker; an ERROR is an error. Sends the output buffer
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// Why the connection is over.
    pub async fn next(&mut self) -> Result<Frame, Error> {
        loop {
            match self.inbox.pop_front() {
                Some(frame) if frame.command == Command::Error => return Err(refused(&frame)),
                Some(frame) => return Ok(frame),
                None if self.end.is_some() => return Err(self.over()),
                None => {}
            }
            let timeout = self.heart_beat.next_timeout();
            tokio::select! {
                biased;
                came = self.transport.exchange() => self.take(came),
                () = at(timeout) => self.beat(),
            }
        }
    }

    /// Returns a frame that has already arrived.
    ///
    /// # Errors
    ///
    /// If it is an ERROR.
    pub fn waiting(&mut self) -> Result<Option<Frame>, Error> {
        match self.inbox.pop_front() {
            Some(frame) if frame.command == Command::Error => Err(refused(&frame)),
            frame => Ok(frame),
        }
    }

    /// Awaits something else and reads nothing meanwhile, so that the broker sends no faster than
    /// its messages are used. Heart-beats continue.
    pub async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        // Otherwise the output would wait for a heart-beat.
        self.transport.send().await;
        loop {
            let beat = self.heart_beat.beat_at();
            tokio::select! {
                biased;
                done = &mut other => {
                    // We did not read, so the broker was not silent.
                    self.heart_beat.on_read(Instant::now());
                    return done;
                }
                () = at(beat) => {
                    self.heart_beat.on_read(Instant::now());
                    self.beat();
                    self.transport.send().await;
                }
            }
        }
    }

    /// Sends DISCONNECT, waits for its RECEIPT, and closes. Messages that arrive before it are
    /// discarded; a normal close counts as well.
    ///
    /// # Errors
    ///
    /// Why there is no RECEIPT.
    pub async fn disconnect(mut self, patience: Duration) -> Result<(), Error> {
        self.write(&Frame::new(Command::Disconnect).with_header("receipt", LAST));
        let answered = timeout(patience, async {
            loop {
                let frame = match self.next().await {
                    // RabbitMQ's answer: a broker that closes this way has read DISCONNECT and all
                    // before it.
                    Err(Error::Closed {
                        code: Some(1000), ..
                    }) => return Ok(()),
                    frame => frame?,
                };
                if frame.command == Command::Receipt && frame.header("receipt-id") == Some(LAST) {
                    return Ok(());
                }
            }
        });
        let no_answer = |_| {
            Err(Error::NoReceipt {
                what: "DISCONNECT",
                patience,
            })
        };
        answered.await.unwrap_or_else(no_answer)?;
        self.transport.close(FAREWELL.min(patience)).await;
        Ok(())
    }

    /// Processes what has arrived.
    fn take(&mut self, came: Incoming) {
        self.heart_beat.on_read(Instant::now());
        match came {
            Incoming::Data(bytes) => {
                self.decoder.push(bytes);
                while self.end.is_none() && self.take_item() {}
            }
            Incoming::Sign => {}
            Incoming::End(error) => self.end = Some(error),
        }
    }

    fn take_item(&mut self) -> bool {
        match self.decoder.decode() {
            Ok(None) => false,
            Ok(Some(Item::HeartBeat)) => true,
            Ok(Some(Item::Frame(frame))) => {
                // What follows it in the same chunk is decoded by the version it names.
                if frame.command == Command::Connected {
                    let named = frame.header("version").unwrap_or("1.0").trim();
                    let version = Version::ALL.into_iter().find(|it| it.as_str() == named);
                    self.decoder.set_version(version.unwrap_or(Version::V1_0));
                }
                self.inbox.push_back(frame);
                true
            }
            Err(error) => {
                self.end = Some(error.into());
                false
            }
        }
    }

    /// Handles a timeout.
    fn beat(&mut self) {
        let now = Instant::now();
        match self.heart_beat.due(now) {
            Some(Due::Beat) => {
                self.transport.push(bytes::Bytes::from_static(b"\n"));
                self.heart_beat.on_write(now);
            }
            Some(Due::Silent) => self.end = Some(self.heart_beat.silent()),
            None => {}
        }
    }

    /// Returns why the connection is over: the ERROR, if the broker sent one before it closed.
    fn over(&mut self) -> Error {
        let error = self.inbox.iter().find(|it| it.command == Command::Error);
        if let Some(frame) = error {
            return refused(frame);
        }
        self.end.take().unwrap_or(Error::Ended)
    }
}

fn connect(options: &Options) -> Frame {
    let versions = options.version.map_or("1.0,1.1,1.2", Version::as_str);
    let milliseconds = options.heart_beat.as_millis();
    let mut frame = Frame::new(Command::Connect)
        .with_header("accept-version", versions)
        .with_header("host", &options.host)
        .with_header("heart-beat", &format!("{milliseconds},{milliseconds}"));
    for (name, value) in [("login", &options.login), ("passcode", &options.passcode)] {
        if let Some(value) = value {
            frame.headers.push(name, value);
        }
    }
    frame
}

fn refused(error: &Frame) -> Error {
    Error::Refused {
        message: error.header("message").unwrap_or_default().to_owned(),
        body: String::from_utf8_lossy(&error.body).trim_end().to_owned(),
    }
}

/// Waits until this time; forever without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Limits of what a broker may send. Commands accept everything; this only sets some bound.
const LIMITS: Limits = Limits {
    header_line: 1 << 20,
    headers: 10_000,
    header_bytes: 4 << 20,
    body: 1 << 30,
};

/// Time limit for closing a connection after the last frame.
const FAREWELL: Duration = Duration::from_secs(1);

/// The receipt of DISCONNECT; users of the client choose other names.
const LAST: &str = "disconnect";
