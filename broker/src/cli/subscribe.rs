//! `stompd sub`: prints messages.

use std::future::pending;
use std::io;
use std::time::Duration;

use clap::Args;
use stomp_codec::{Command, Frame, Headers};
use tokio::io::{AsyncWriteExt, Stdout, stdout};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::sleep;

use super::connection::{Ack, Connection, LAST_WORD, duration, header, interrupted};
use super::output::Form;
use super::{Failure, block_on, tell};
use crate::client::{self, Client};
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  stompd sub '/topic/chat.*' /queue/orders
  stompd sub /queue/images --count 1 --no-newline > image.png
  stompd sub '/topic/#' --json | jq .body
  stompd sub /queue/orders --ack client-individual --prefetch 1

A message is acknowledged after it is printed, so what a pipe did not accept is delivered again.
It ends without failure on Ctrl-C, or if the reader closes the pipe.

Exit status: 0 success, 1 the broker refused or disconnected, or --timeout passed before --count
was reached, 2 wrong command line.";

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of its own on the command line"
)]
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// What to subscribe to, such as /topic/chat.* or /queue/orders
    #[arg(required = true)]
    destinations: Vec<String>,
    /// Print the headers and a blank line before each body
    #[arg(long)]
    headers: bool,
    /// Print a JSON object per message; a body that is not text is in base64
    #[arg(long, conflicts_with_all = ["headers", "no_newline"])]
    json: bool,
    /// Print no newline after a body
    #[arg(short = 'N', long)]
    no_newline: bool,
    /// Exit after N messages
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Exit after this time
    #[arg(long, value_name = "DUR", value_parser = duration)]
    timeout: Option<Duration>,
    /// How messages are acknowledged [default: client-individual for /queue/, else auto]
    #[arg(long, value_name = "MODE")]
    ack: Option<Ack>,
    /// How many messages the broker may send ahead of their ACKs [default: --count, else the broker's]
    #[arg(long, value_name = "N")]
    prefetch: Option<u64>,
    /// A header of SUBSCRIBE; can be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE", value_parser = header)]
    more: Vec<(String, String)>,
    /// Report on standard error when a subscription is active
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(Builder::new_current_thread(), self.subscribe())
    }

    async fn subscribe(self) -> Result<(), Failure> {
        let client = self.connection.open().await?;
        let mut receiving = Receiving {
            arguments: &self,
            client,
            output: stdout(),
            printed: 0,
        };
        receiving.ask();
        let (stop, stopped) = watch::channel(None);
        let ended = tokio::select! {
            end = receiving.print_all(stopped) => end?,
            failure = self.watch(&stop) => return Err(failure),
        };
        let printed = receiving.printed;
        // A second Ctrl-C does not wait for the broker.
        tokio::select! {
            left = receiving.client.disconnect(LAST_WORD) => self.judge_leave(left)?,
            came = interrupted() => came?,
        }
        match (ended, self.count) {
            (End::Interrupted, _) => tell(&format!("{printed} messages")),
            (End::TimeIsUp, Some(count)) => {
                return Err(Failure::Found(format!(
                    "the time is up with {printed} of {count} messages"
                )));
            }
            _ => {}
        }
        Ok(())
    }

    /// If a broker ends the stream without the last RECEIPT, it is unknown whether it read the
    /// ACKs.
    fn judge_leave(&self, left: Result<(), client::Error>) -> Result<(), Failure> {
        match left {
            Err(client::Error::Ended) if self.destinations.iter().all(|it| !self.acks(it)) => {
                Ok(())
            }
            left => Ok(left?),
        }
    }

    /// Signals when to stop. Returns only if that cannot be determined.
    async fn watch(&self, stop: &watch::Sender<Option<End>>) -> Failure {
        let time_is_up = async {
            match self.timeout {
                Some(timeout) => sleep(timeout).await,
                None => pending().await,
            }
        };
        tokio::select! {
            came = interrupted() => match came {
                Ok(()) => stop.send_replace(Some(End::Interrupted)),
                Err(failure) => return failure,
            },
            () = time_is_up => stop.send_replace(Some(End::TimeIsUp)),
        };
        pending().await
    }

    fn mode(&self, destination: &str) -> Ack {
        match self.ack {
            Some(ack) => ack,
            None if is_queue(destination) => Ack::ClientIndividual,
            None => Ack::Auto,
        }
    }

    fn acks(&self, destination: &str) -> bool {
        self.mode(destination) != Ack::Auto
    }

    fn form(&self) -> Form {
        let newline = !self.no_newline;
        match (self.json, self.headers) {
            (true, _) => Form::Json,
            (false, true) => Form::Headers { newline },
            (false, false) => Form::Body { newline },
        }
    }
}

/// Why it ended, if not by a failure.
#[derive(Clone, Copy)]
enum End {
    /// All requested messages are printed.
    Counted,
    Interrupted,
    /// The reader of the output has closed it.
    ReaderLeft,
    TimeIsUp,
}

struct Receiving<'a> {
    arguments: &'a Arguments,
    client: Client,
    output: Stdout,
    printed: u64,
}

impl Receiving<'_> {
    /// Subscribes; the ids are numbers in the order of the destinations.
    fn ask(&mut self) {
        let arguments = self.arguments;
        let prefetch = arguments.prefetch.or(arguments.count);
        for (id, destination) in arguments.destinations.iter().enumerate() {
            let id = id.to_string();
            let mut more: Headers = arguments
                .more
                .iter()
                .map(|(name, value)| (name, value))
                .collect();
            if let Some(prefetch) = prefetch.filter(|_| arguments.acks(destination)) {
                // The names in RabbitMQ and ActiveMQ; stompd supports both.
                let prefetch = prefetch.clamp(1, MOST_PREFETCH).to_string();
                more.push("prefetch-count", &prefetch);
                more.push("activemq.prefetchSize", &prefetch);
            }
            if arguments.verbose {
                more.push("receipt", &id);
            }
            let ack = arguments.mode(destination).as_str();
            self.client.subscribe(&id, destination, ack, &more);
        }
    }

    /// Prints and acknowledges until it is stopped.
    async fn print_all(&mut self, mut stop: watch::Receiver<Option<End>>) -> Result<End, Failure> {
        while self.arguments.count != Some(self.printed) {
            let first = tokio::select! {
                biased;
                end = stopped(&mut stop) => return Ok(end),
                frame = self.client.next() => frame?,
            };
            let mut batch = Batch::default();
            let mut failure = None;
            self.take(first, &mut batch);
            while !self.is_full(&batch) {
                match self.client.waiting() {
                    Ok(Some(frame)) => self.take(frame, &mut batch),
                    Ok(None) => break,
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            // What is printed is counted and acknowledged, unless the reader is blocked.
            let is_stuck = async {
                let end = stopped(&mut stop).await;
                sleep(STUCK).await;
                end
            };
            tokio::select! {
                biased;
                is_read = self.print(batch) => if !is_read? {
                    return Ok(End::ReaderLeft);
                },
                end = is_stuck => return Ok(end),
            }
            failure.map_or(Ok(()), Err)?;
        }
        Ok(End::Counted)
    }

    fn take(&self, frame: Frame, batch: &mut Batch) {
        match frame.command {
            Command::Message => {
                self.arguments.form().write(&frame, &mut batch.text);
                batch.messages.push(frame);
            }
            Command::Receipt => {
                let id = frame.header("receipt-id").unwrap_or_default();
                let destinations = &self.arguments.destinations;
                if let Some(destination) =
                    id.parse().ok().and_then(|id: usize| destinations.get(id))
                {
                    tell(&format!("subscribed to {destination}"));
                }
            }
            _ => {}
        }
    }

    fn is_full(&self, batch: &Batch) -> bool {
        let with_these = self.printed + batch.messages.len() as u64;
        batch.text.len() >= MOST_BYTES || self.arguments.count == Some(with_these)
    }

    /// Prints, then acknowledges. Returns false if the output is closed.
    async fn print(&mut self, batch: Batch) -> Result<bool, Failure> {
        let output = &mut self.output;
        let written = self.client.meanwhile(async {
            output.write_all(&batch.text).await?;
            output.flush().await
        });
        match written.await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(Error::Output(error).into()),
        }
        self.printed += batch.messages.len() as u64;
        for message in &batch.messages {
            let id = message
                .header("subscription")
                .and_then(|id| id.parse().ok());
            let destination = id.and_then(|id: usize| self.arguments.destinations.get(id));
            // STOMP 1.0 names no subscription if none was named.
            let destination = destination.map_or_else(
                || message.header("destination").unwrap_or_default(),
                String::as_str,
            );
            if self.arguments.acks(destination) {
                self.client.ack(message);
            }
        }
        Ok(true)
    }
}

/// Whether it is a queue, by either of its names.
fn is_queue(destination: &str) -> bool {
    let name = destination.strip_prefix("/amq").unwrap_or(destination);
    name.starts_with("/queue/")
}

async fn stopped(stop: &mut watch::Receiver<Option<End>>) -> End {
    match stop.wait_for(Option::is_some).await.map(|end| *end) {
        Ok(Some(end)) => end,
        // The sender lives as long as this.
        _ => pending().await,
    }
}

/// Messages that are printed together.
#[derive(Default)]
struct Batch {
    text: Vec<u8>,
    messages: Vec<Frame>,
}

/// How long the reader may take for the current output when it is time to stop.
const STUCK: Duration = Duration::from_secs(1);

/// Number of bytes printed at once.
const MOST_BYTES: usize = 64 << 10;

/// The largest value of the header that every broker accepts.
const MOST_PREFETCH: u64 = 65_535;
