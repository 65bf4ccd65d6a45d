//! `stompd pub`: sends messages.

use std::io::{IsTerminal, stdin};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use stomp_codec::{Command, Frame};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{Connection, duration, header, interrupted};
use super::input::{self, Bodies};
use super::{Failure, block_on};
use crate::client::{self, Client};

const EXAMPLES: &str = "\
Examples:
  stompd pub /topic/chat Hello
  stompd pub /queue/images - < image.png
  tail -f log | stompd pub /topic/log --lines
  stompd pub /queue/a x --url tcp://127.0.0.1:61613 -H persistent:true

Exit status: 0 the broker has confirmed each message by a RECEIPT, 1 it has not, 2 wrong command line.";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where to, such as /topic/chat or /queue/orders
    destination: String,
    /// The body; "-" is standard input. Without it: standard input, or nothing if that is a terminal
    #[arg(conflicts_with = "lines", allow_negative_numbers = true)]
    body: Option<String>,
    /// Send each line of standard input as a message, as it comes, without its end of line
    #[arg(long)]
    lines: bool,
    /// A header of each message; can be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The content-type of each message
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Number of times to send the body
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "lines")]
    count: u64,
    /// Wait between one message and the next
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = duration)]
    interval: Duration,
    /// Ask for no RECEIPT except the last one: faster, but lost messages are not known
    #[arg(long)]
    no_receipt: bool,
    /// How long to wait for each next RECEIPT
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(Builder::new_current_thread(), self.publish())
    }

    async fn publish(self) -> Result<(), Failure> {
        let mut bodies = self.bodies().await?;
        let client = self.connection.open().await?;
        let mut publishing = Publishing {
            arguments: &self,
            client,
            sent: 0,
            receipts: 0,
            gathered: (0, 0),
        };
        let was_interrupted = tokio::select! {
            biased;
            done = publishing.send_all(&mut bodies) => {
                done?;
                false
            }
            came = interrupted() => {
                came?;
                true
            }
        };
        let sent = publishing.sent;
        let was_interrupted = tokio::select! {
            biased;
            // On a second signal, or when all is sent: at once, without knowing what was confirmed.
            came = interrupted() => {
                came?;
                true
            }
            done = publishing.finish() => {
                done?;
                was_interrupted
            }
        };
        if was_interrupted {
            return Err(Failure::Found(self.interrupted_after(sent)));
        }
        Ok(())
    }

    fn interrupted_after(&self, sent: u64) -> String {
        if self.lines {
            format!("interrupted after {sent} messages")
        } else {
            format!("interrupted after {sent} of {} messages", self.count)
        }
    }

    async fn bodies(&self) -> Result<Bodies, Failure> {
        if self.lines {
            return Ok(Bodies::lines());
        }
        let body = match self.body.as_deref() {
            Some("-") => input::whole().await.map_err(Failure::Input)?,
            None if !stdin().is_terminal() => input::whole().await.map_err(Failure::Input)?,
            body => Bytes::from(body.unwrap_or_default().to_owned()),
        };
        Ok(Bodies::Same(body, self.count))
    }
}

/// What was sent, and what is confirmed.
struct Publishing<'a> {
    arguments: &'a Arguments,
    client: Client,
    sent: u64,
    receipts: u64,
    /// Messages and bytes that are gathered and not sent.
    gathered: (usize, usize),
}

impl Publishing<'_> {
    /// Sends all messages; may be dropped at any time.
    async fn send_all(&mut self, bodies: &mut Bodies) -> Result<(), Failure> {
        let mut due = Instant::now();
        loop {
            if self.gathered.0 >= MOST_MESSAGES || self.gathered.1 >= MOST_BYTES {
                self.flush().await?;
            }
            while !self.arguments.no_receipt && self.sent - self.receipts >= WINDOW {
                self.hear().await?;
            }
            let next = async {
                // A timer would waste a millisecond.
                if due > Instant::now() {
                    sleep_until(due).await;
                }
                bodies.next().await.map_err(Failure::Input)
            };
            tokio::select! {
                // What can be sent is gathered first, and sent together.
                biased;
                body = next => match body? {
                    Some(body) => self.send(body),
                    None => return Ok(()),
                },
                frame = self.client.next() => {
                    let frame = frame.map_err(|error| self.failed(&error))?;
                    self.count(&frame);
                    continue;
                }
            }
            due = Instant::now() + self.arguments.interval;
        }
    }

    fn send(&mut self, body: Bytes) {
        let arguments = self.arguments;
        let mut frame =
            Frame::new(Command::Send).with_header("destination", &arguments.destination);
        if let Some(kind) = &arguments.content_type {
            frame.headers.push("content-type", kind);
        }
        let more = arguments.headers.iter().map(|(name, value)| (name, value));
        frame.headers.extend(more);
        self.sent += 1;
        if !arguments.no_receipt {
            frame.headers.push("receipt", &self.sent.to_string());
        }
        self.gathered.0 += 1;
        self.gathered.1 += body.len();
        self.client.write(&frame.with_body(body));
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        self.gathered = (0, 0);
        let flushed = self.client.flush().await;
        flushed.map_err(|error| self.failed(&error))
    }

    /// Waits for a RECEIPT.
    async fn hear(&mut self) -> Result<(), Failure> {
        let patience = self.arguments.timeout;
        let frame = match timeout(patience, self.client.next()).await {
            Ok(frame) => frame.map_err(|error| self.failed(&error))?,
            Err(_) => {
                return Err(Failure::Found(format!(
                    "no RECEIPT came for {patience:?}{}",
                    self.known()
                )));
            }
        };
        self.count(&frame);
        Ok(())
    }

    fn count(&mut self, frame: &Frame) {
        self.receipts += u64::from(frame.command == Command::Receipt);
    }

    /// Waits for the remaining RECEIPTs, and disconnects.
    async fn finish(mut self) -> Result<(), Failure> {
        while !self.arguments.no_receipt && self.receipts < self.sent {
            self.hear().await?;
        }
        let known = self.known();
        let is_known = !self.arguments.no_receipt;
        match self.client.disconnect(self.arguments.timeout).await {
            Ok(()) => Ok(()),
            // All is confirmed, however the broker disconnects.
            Err(_) if is_known => Ok(()),
            Err(error) => Err(Failure::Found(format!("{error}{known}"))),
        }
    }

    /// The ERROR for a message says nothing about those before it.
    fn failed(&self, error: &client::Error) -> Failure {
        Failure::Found(format!("{error}{}", self.known()))
    }

    fn known(&self) -> String {
        match (self.arguments.no_receipt, self.sent) {
            (_, 0 | 1) => String::new(),
            (true, sent) => format!("\n{sent} messages were sent, some of them perhaps in vain"),
            (false, sent) => format!("\n{} of {sent} messages are confirmed", self.receipts),
        }
    }
}

/// Number of messages that may wait for their RECEIPT.
const WINDOW: u64 = 256;

/// Limits of what is written at once.
const MOST_MESSAGES: usize = 128;
const MOST_BYTES: usize = 256 << 10;
