//! The registry of metrics and its text format. Metrics are declared next to the code that updates
//! them; labels come from closed sets, never from client input.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{
    HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder,
};

/// Counts events.
pub type Counter = IntCounter;
/// A current number.
pub type Gauge = IntGauge;

/// A distribution of durations.
#[derive(Clone, Debug)]
pub struct Histogram(prometheus::Histogram);

/// Creates and exports metrics.
#[derive(Default)]
pub struct Registry {
    inner: prometheus::Registry,
    before_reading: Mutex<Vec<Box<dyn Fn() + Send>>>,
}

/// Metrics with one name that differ in one label.
#[derive(Debug)]
pub struct Labelled<T>(T);

/// [`Counter`]s with one name that differ in one label.
pub type Counters = Labelled<IntCounterVec>;
/// [`Gauge`]s with one name that differ in one label.
pub type Gauges = Labelled<IntGaugeVec>;

impl Registry {
    /// Creates an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls `set` each time before the metrics are read: for gauges that are easier to compute
    /// then than to keep up to date.
    pub fn before_reading(&self, set: impl Fn() + Send + 'static) {
        self.lock().push(Box::new(set));
    }

    /// Adds the process metrics of the operating system (`process_…`), and the version.
    pub fn add_process(&self) {
        #[cfg(target_os = "linux")]
        self.register(prometheus::process_collector::ProcessCollector::for_self());
        let info = IntGaugeVec::new(
            Opts::new(
                "stompd_build_info",
                "Always 1; the labels say what is running.",
            ),
            &["version"],
        );
        let info = made(info);
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.register(info);
    }

    /// Creates a counter; the name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = made(IntCounter::new(name, help));
        self.register(counter.clone());
        counter
    }

    /// Creates a gauge.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = made(IntGauge::new(name, help));
        self.register(gauge.clone());
        gauge
    }

    /// Creates a histogram of durations, each bucket four times as wide as the previous one; the
    /// name ends in `_seconds`.
    pub fn histogram(&self, name: &str, help: &str, buckets: Range<Duration>) -> Histogram {
        let ends = std::iter::successors(Some(buckets.start), |end| Some(*end * 4));
        let ends = ends.take_while(|end| *end < buckets.end);
        let ends = ends.map(|end| end.as_secs_f64()).collect();
        let options = HistogramOpts::new(name, help).buckets(ends);
        let histogram = made(prometheus::Histogram::with_opts(options));
        self.register(histogram.clone());
        Histogram(histogram)
    }

    /// Creates counters with one label; those of `known` values exist from the start, at zero.
    pub fn counters<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Counters {
        let counters = made(IntCounterVec::new(Opts::new(name, help), &[label]));
        known
            .into_iter()
            .for_each(|value| drop(counters.with_label_values(&[value])));
        self.register(counters.clone());
        Labelled(counters)
    }

    /// Creates gauges with one label; those of `known` values exist from the start, at zero.
    pub fn gauges<'a>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Gauges {
        let gauges = made(IntGaugeVec::new(Opts::new(name, help), &[label]));
        known
            .into_iter()
            .for_each(|value| drop(gauges.with_label_values(&[value])));
        self.register(gauges.clone());
        Labelled(gauges)
    }

    /// Returns all metrics in the text format of Prometheus.
    pub fn text(&self) -> String {
        // Also prevents two readers from setting the same gauges at once.
        let before = self.lock();
        before.iter().for_each(|set| set());
        TextEncoder::new()
            .encode_to_string(&self.inner.gather())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<dyn Fn() + Send>>> {
        self.before_reading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, collector: impl prometheus::core::Collector + 'static) {
        made(self.inner.register(Box::new(collector)));
    }
}

/// Converts a count to the type of gauges.
pub fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Histogram {
    /// Records one duration. It costs a few atomic additions: once per batch, not per message.
    pub fn observe(&self, duration: Duration) {
        self.0.observe(duration.as_secs_f64());
    }
}

impl Counters {
    /// Returns the counter for one value of the label. It hashes: keep the result if it is used
    /// often.
    pub fn with(&self, value: &str) -> Counter {
        self.0.with_label_values(&[value])
    }
}

impl Gauges {
    /// Returns the gauge for one value of the label. It hashes: keep the result if it is used
    /// often.
    pub fn with(&self, value: &str) -> Gauge {
        self.0.with_label_values(&[value])
    }

    /// Removes all values of the label.
    pub fn clear(&self) {
        self.0.reset();
    }
}

#[expect(
    clippy::expect_used,
    reason = "names are constants; a wrong one fails in every test"
)]
fn made<T>(metric: prometheus::Result<T>) -> T {
    metric.expect("the name of the metric is valid and unique")
}
