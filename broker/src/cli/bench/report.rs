//! The result of a run, as a table or as JSON.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::Serialize;

use super::plan::Plan;
use super::tally::{Seen, Tally};

/// The result of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) publishers: u16,
    pub(super) subscribers: u16,
    pub(super) destinations: u16,
    pub(super) size: usize,
    pub(super) rate: Option<f64>,
    /// Messages written.
    pub(super) sent: u64,
    /// Messages that the broker confirmed.
    pub(super) published: u64,
    /// From the start to the last confirmation.
    pub(super) publish_seconds: f64,
    pub(super) published_per_second: f64,
    /// Messages of this run that arrived, duplicates included.
    pub(super) delivered: u64,
    /// Number of deliveries expected of the confirmed messages.
    pub(super) expected: u64,
    /// From the start to the last arrival.
    pub(super) deliver_seconds: f64,
    pub(super) delivered_per_second: f64,
    pub(super) delivered_mib_per_second: f64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    pub(super) out_of_order: u64,
    pub(super) damaged: u64,
    pub(super) foreign: u64,
    pub(super) latency_ms: Option<Latency>,
    /// The errors that ended connections early.
    pub(super) errors: Vec<String>,
}

/// Milliseconds from when a message was due until it had arrived.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p999: f64,
    max: f64,
}

/// The durations of a run.
pub(super) struct Times {
    pub(super) publish: Duration,
    pub(super) deliver: Duration,
}

impl Report {
    pub(super) fn new(plan: &Plan, tallies: &[Tally], times: &Times, errors: Vec<String>) -> Self {
        let arguments = &plan.arguments;
        let total = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
        let (expected, missing, doubled) = compare(plan, tallies);
        let (published, delivered) = (plan.progress.confirmed(), total(|it| it.delivered));
        let delivered_per_second = per_second(delivered, times.deliver);
        #[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
        let size = arguments.size as f64;
        Self {
            url: arguments.connection.url().to_string(),
            publishers: arguments.publishers,
            subscribers: arguments.subscribers,
            destinations: arguments.destinations,
            size: arguments.size,
            rate: arguments.rate,
            sent: plan.progress.sent(),
            published,
            publish_seconds: times.publish.as_secs_f64(),
            published_per_second: per_second(published, times.publish),
            delivered,
            expected,
            deliver_seconds: times.deliver.as_secs_f64(),
            delivered_per_second,
            delivered_mib_per_second: delivered_per_second * size / 1_048_576.0,
            lost: missing,
            duplicates: total(|it| it.duplicates) + doubled,
            out_of_order: total(|it| it.out_of_order),
            damaged: total(|it| it.damaged),
            foreign: total(|it| it.foreign),
            latency_ms: latency(tallies),
            errors,
        }
    }

    /// Returns what is wrong, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        let counts = [
            (self.lost, "lost"),
            (self.duplicates, "doubled"),
            (self.out_of_order, "out of order"),
            (self.damaged, "damaged"),
        ];
        let found = counts.into_iter().filter(|(count, _)| *count > 0);
        let mut faults: Vec<_> = found
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        faults.extend(self.errors.iter().cloned());
        if faults.is_empty() && self.delivered == 0 {
            faults.push("nothing arrived".to_owned());
        }
        (!faults.is_empty()).then(|| faults.join(", "))
    }
}

/// Of the confirmed messages: how many should have arrived, how many did not, and how many reached
/// two consumers of a queue.
fn compare(plan: &Plan, tallies: &[Tally]) -> (u64, u64, u64) {
    let (mut expected, mut missing, mut doubled) = (0, 0, 0);
    for publisher in 0..plan.arguments.publishers {
        let confirmed = plan.progress.confirmed_of(publisher);
        for (destination, messages) in plan.split(publisher, confirmed) {
            let stream = (publisher, destination);
            let mut owe = |seen: Option<&Seen>| {
                expected += messages;
                missing += messages - seen.map_or(0, |seen| seen.count_below(messages));
            };
            if plan.arguments.queue {
                let mut all = Seen::default();
                for seen in tallies.iter().filter_map(|tally| tally.seen(stream)) {
                    doubled += all.merge(seen);
                }
                owe(Some(&all));
            } else {
                let with_id = tallies.iter().zip(0..);
                let hearers = with_id.filter(|(_, id)| plan.sources(*id).contains(&destination));
                hearers.for_each(|(tally, _)| owe(tally.seen(stream)));
            }
        }
    }
    (expected, missing, doubled)
}

fn per_second(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate to be read by people")]
    let count = count as f64;
    count / time.as_secs_f64().max(1e-9)
}

fn latency(tallies: &[Tally]) -> Option<Latency> {
    let mut all: Histogram<u64> = Histogram::new(3).ok()?;
    for latencies in tallies.iter().filter_map(|tally| tally.latencies.as_ref()) {
        all.add(latencies).ok()?;
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits count")]
    let milliseconds = |microseconds: u64| microseconds as f64 / 1000.0;
    let at = |quantile| milliseconds(all.value_at_quantile(quantile));
    (!all.is_empty()).then(|| Latency {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: milliseconds(all.max()),
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, size, .. } = self;
        writeln!(
            f,
            "{} publishers, {} subscribers, {} destinations, {size} bytes, {url}\n",
            self.publishers, self.subscribers, self.destinations
        )?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, count: u64, more: &str| {
            writeln!(
                f,
                "{name:<13}{:>15}   {more}",
                HumanCount(count).to_string()
            )
        };
        let rate = |rate: f64, seconds: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is not negative and far below the end of 64 bits"
            )]
            let whole = HumanCount(rate.round() as u64);
            format!("{whole}/s in {seconds:.2} s")
        };
        let published = rate(self.published_per_second, self.publish_seconds);
        row(f, "published", self.published, &published)?;
        let delivered = rate(self.delivered_per_second, self.deliver_seconds);
        let delivered = format!("{delivered}, {:.1} MiB/s", self.delivered_mib_per_second);
        row(f, "delivered", self.delivered, &delivered)?;
        row(
            f,
            "lost",
            self.lost,
            &format!("of {}", HumanCount(self.expected)),
        )?;
        row(f, "duplicates", self.duplicates, "")?;
        row(f, "out of order", self.out_of_order, "")?;
        if self.sent != self.published {
            let unknown = self.sent.saturating_sub(self.published);
            row(f, "unconfirmed", unknown, "sent, and perhaps in vain")?;
        }
        if self.damaged > 0 {
            row(f, "damaged", self.damaged, "not as they were sent")?;
        }
        if self.foreign > 0 {
            row(
                f,
                "foreign",
                self.foreign,
                "of other senders, or of an earlier run",
            )?;
        }
        if let Some(latency) = &self.latency_ms {
            writeln!(
                f,
                "\n{:<13}{:>9}{:>9}{:>9}{:>9}{:>9}",
                "latency", "p50", "p90", "p99", "p99.9", "max"
            )?;
            let Latency {
                p50,
                p90,
                p99,
                p999,
                max,
            } = latency;
            writeln!(
                f,
                "{:<13}{p50:>9.3}{p90:>9.3}{p99:>9.3}{p999:>9.3}{max:>9.3}",
                "  ms"
            )?;
            if self.rate.is_none() {
                writeln!(
                    f,
                    "  (at full speed most of it is waiting; --rate shows how fast the broker is)"
                )?;
            }
        }
        Ok(())
    }
}
