//! `stompd bench`: measures a broker and checks it.
//!
//! Each body carries the numbers of its publisher, its destination and its place in the sequence
//! (`stamp.rs`), so each subscriber can detect what is lost, duplicated or out of order
//! (`tally.rs`). A message counts as published when the broker has confirmed it, and only confirmed
//! ones can be lost. The latency of a message starts when it was due, even if the broker kept the
//! publisher waiting then.

mod plan;
mod publisher;
mod report;
mod stamp;
mod subscriber;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep};

use self::plan::Plan;
use self::publisher::Publisher;
use self::report::{Report, Times};
use self::stamp::Stamp;
use self::subscriber::Subscriber;
use self::tally::Tally;
use super::connection::{Ack, Connection, duration, interrupted};
use super::{Failure, block_on, print};
use crate::client::Error;

const EXAMPLES: &str = "\
Examples:
  stompd bench                                          one to one, at full speed
  stompd bench --subscribers 100 --rate 1000            fan-out at a steady rate
  stompd bench --queue --publishers 4 --subscribers 4 --ack client-individual
  stompd bench --url tcp://broker:61613 --messages 100000 --json

On the machine of the broker, the bench uses about as much of the processors as the broker.
At full speed publishers pause while a subscriber is --lag messages behind, so that the treatment of
slow consumers is not measured.

Exit status: 0 all arrived once and in order, 1 not, 2 wrong command line.";

#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Connections that send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    publishers: u16,
    /// Connections that receive
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    subscribers: u16,
    /// Destinations, over which both are spread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    destinations: u16,
    /// Size of a body, such as 128 or 16KiB
    #[arg(long, value_name = "SIZE", default_value = "128", value_parser = size)]
    size: usize,
    /// How long to send
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = duration, conflicts_with = "messages")]
    duration: Duration,
    /// Number of messages to send in all, instead of for a time
    #[arg(long, value_name = "N")]
    messages: Option<u64>,
    /// Messages per second of all publishers together [default: as many as possible]
    #[arg(long, value_name = "N", value_parser = rate)]
    rate: Option<f64>,
    /// Pause publishers while a subscriber is N messages behind; 0: never
    #[arg(long, value_name = "N", default_value_t = 1000)]
    lag: u64,
    /// Use queues instead of topics
    #[arg(long)]
    queue: bool,
    /// How messages are acknowledged
    #[arg(long, value_name = "MODE", default_value = "auto")]
    ack: Ack,
    /// How many messages the broker may send ahead of their ACKs
    #[arg(long, value_name = "N")]
    prefetch: Option<u64>,
    /// Name of the destinations: /topic/NAME.0 and so on
    #[arg(long, default_value = "stompd-bench")]
    name: String,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        let json = self.json;
        let report = block_on(Builder::new_multi_thread(), measure(self))?;
        let text = if json {
            let text = serde_json::to_string(&report);
            text.map_or_else(|error| error.to_string(), |text| text + "\n")
        } else {
            report.to_string()
        };
        print(text.as_bytes())?;
        report
            .fault()
            .map_or(Ok(()), |fault| Err(Failure::Found(fault)))
    }

    const fn acks(&self) -> bool {
        !matches!(self.ack, Ack::Auto)
    }

    /// Number of messages for a publisher to send.
    fn messages_of(&self, publisher: u16) -> u64 {
        let publishers = u64::from(self.publishers);
        let share = |all| all / publishers + u64::from(u64::from(publisher) < all % publishers);
        self.messages.map_or(u64::MAX, share)
    }

    /// Returns when publishers must end.
    fn end(&self, begin: Instant) -> Option<Instant> {
        self.messages.is_none().then(|| begin + self.duration)
    }
}

async fn measure(arguments: Arguments) -> Result<Report, Failure> {
    let plan = Arc::new(Plan::new(arguments, getrandom::u32().unwrap_or_default()));
    tokio::select! {
        report = Run::whole(Arc::clone(&plan)) => Ok(report?),
        failure = interrupted_twice(&plan) => Err(failure),
    }
}

/// The first signal stops publishing and the result is reported; the second one ends the run.
async fn interrupted_twice(plan: &Plan) -> Failure {
    for _ in 0..2 {
        if let Err(failure) = interrupted().await {
            return failure;
        }
        plan.progress.stop();
    }
    Failure::Found("interrupted".to_owned())
}

/// A run in progress.
struct Run {
    plan: Arc<Plan>,
    start: Instant,
    bar: ProgressBar,
    publishing: JoinSet<Result<Instant, Error>>,
    receiving: JoinSet<(u16, Tally, Option<Error>)>,
    tallies: Vec<Tally>,
    errors: Vec<String>,
    /// When the last message was confirmed.
    published: Instant,
}

impl Run {
    async fn whole(plan: Arc<Plan>) -> Result<Report, Error> {
        let (go, started) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let start = Instant::now();
        let mut run = Self {
            bar: bar(&plan.arguments),
            publishing: JoinSet::new(),
            receiving: JoinSet::new(),
            tallies: Vec::new(),
            errors: Vec::new(),
            published: start,
            start,
            plan,
        };
        run.connect(&started, &stopped).await?;
        run.start = Instant::now();
        run.published = run.start;
        go.send_replace(Some(run.start));
        run.publish().await;
        run.receive_the_rest().await;
        stop.send_replace(true);
        while let Some(done) = run.receiving.join_next().await {
            run.on_subscriber(done);
        }
        run.bar.finish_and_clear();
        Ok(run.report())
    }

    /// All subscribe before the first publisher connects. Each is a task at once, which keeps up
    /// its heart-beats while the others connect.
    async fn connect(
        &mut self,
        started: &watch::Receiver<Option<Instant>>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(), Error> {
        let arguments = &self.plan.arguments;
        for id in 0..arguments.subscribers {
            let client = arguments.connection.open().await?;
            let subscriber = Subscriber::new(Arc::clone(&self.plan), id, client).await?;
            self.receiving.spawn(subscriber.run(stopped.clone()));
            self.tallies.push(Tally::default());
        }
        for id in 0..arguments.publishers {
            let client = arguments.connection.open().await?;
            let publisher = Publisher::new(Arc::clone(&self.plan), id, client);
            self.publishing.spawn(publisher.run(started.clone()));
        }
        Ok(())
    }

    /// Waits until the last publisher is done.
    async fn publish(&mut self) {
        let mut ticks = interval(TICK);
        loop {
            tokio::select! {
                done = self.publishing.join_next() => match done {
                    Some(done) => self.on_publisher(done),
                    None => return,
                },
                Some(done) = self.receiving.join_next() => self.on_subscriber(done),
                _ = ticks.tick() => self.show(),
            }
        }
    }

    /// Waits until all that was sent has arrived, or nothing more arrives for too long.
    async fn receive_the_rest(&mut self) {
        let progress = &Arc::clone(&self.plan).progress;
        let (mut received, mut since) = (progress.received(), Instant::now());
        let mut ticks = interval(TICK);
        while received < self.plan.expected() && since.elapsed() < PATIENCE {
            tokio::select! {
                Some(done) = self.receiving.join_next() => self.on_subscriber(done),
                _ = ticks.tick() => self.show(),
            }
            if progress.received() > received {
                (received, since) = (progress.received(), Instant::now());
            }
            if self.receiving.is_empty() {
                return;
            }
        }
        // Duplicates may arrive after all the others.
        sleep(GRACE).await;
    }

    /// If one has failed the others need not continue.
    fn on_publisher(&mut self, done: Result<Result<Instant, Error>, JoinError>) {
        match done {
            Ok(Ok(published)) => self.published = self.published.max(published),
            Ok(Err(error)) => self.on_failure(format!("a publisher: {error}")),
            Err(error) => self.on_failure(format!("a publisher: {error}")),
        }
    }

    fn on_subscriber(&mut self, done: Result<(u16, Tally, Option<Error>), JoinError>) {
        match done {
            Ok((id, tally, error)) => {
                self.tallies[usize::from(id)] = tally;
                if let Some(error) = error {
                    self.on_failure(format!("a subscriber: {error}"));
                }
            }
            Err(error) => self.on_failure(format!("a subscriber: {error}")),
        }
    }

    fn on_failure(&mut self, text: String) {
        self.plan.progress.stop();
        self.published = Instant::now();
        // The same error can occur many times.
        if !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }

    fn show(&self) {
        let progress = &self.plan.progress;
        let position = match self.plan.arguments.messages {
            Some(_) => progress.sent(),
            None => u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        self.bar.set_position(position);
        self.bar.set_message(format!(
            "{} published, {} delivered",
            HumanCount(progress.confirmed()),
            HumanCount(progress.received())
        ));
    }

    fn report(self) -> Report {
        let last = self.tallies.iter().filter_map(|tally| tally.last).max();
        let times = Times {
            publish: self.published - self.start,
            deliver: last.map_or(Duration::ZERO, |last| {
                last.saturating_duration_since(self.start)
            }),
        };
        Report::new(&self.plan, &self.tallies, &times, self.errors)
    }
}

/// A progress bar, visible only on a terminal.
fn bar(arguments: &Arguments) -> ProgressBar {
    let milliseconds = u64::try_from(arguments.duration.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(arguments.messages.unwrap_or(milliseconds));
    match ProgressStyle::with_template("{bar:30} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size: Option<ByteSize> = text.parse().ok();
    size.and_then(|size| usize::try_from(size.as_u64()).ok())
        .filter(|size| (Stamp::SIZE..=MOST_BYTES).contains(size))
        .ok_or_else(|| format!("write 128 or 16KiB, from {} to 64MiB", Stamp::SIZE))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: Option<f64> = text.parse().ok();
    rate.filter(|rate| (0.001..=1e9).contains(rate))
        .ok_or_else(|| "write a number of messages per second, more than 0".to_owned())
}

/// How often the progress is shown, and checked at the end.
const TICK: Duration = Duration::from_millis(50);

/// Time without arrivals after which missing messages count as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for duplicates.
const GRACE: Duration = Duration::from_millis(100);

const MOST_BYTES: usize = 64 << 20;
