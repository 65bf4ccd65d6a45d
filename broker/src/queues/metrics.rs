//! Metrics of queues: counters, and gauges that are computed when metrics are read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::engine::ack::AckVerdict;
use crate::engine::destination::Destination;
use crate::engine::queue::Depth;
use crate::metrics::{Counter, Gauge, Gauges, Registry, number};

use super::{Common, QueueSettings};

/// Counters of queues.
#[derive(Debug)]
pub(super) struct Metrics {
    acknowledged: Counter,
    rejected: Counter,
    pub(super) redelivered: Counter,
    pub(super) ignored: Counter,
    pub(super) starved: Counter,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            acknowledged: registry.counter(
                "stompd_messages_acknowledged_total",
                "Messages settled by an ACK, or in mode auto by being written.",
            ),
            rejected: registry.counter(
                "stompd_messages_rejected_total",
                "Messages given up by a NACK with requeue:false.",
            ),
            redelivered: registry.counter(
                "stompd_messages_redelivered_total",
                "Messages returned to their queue after they were sent to a consumer.",
            ),
            ignored: registry.counter(
                "stompd_acks_ignored_total",
                "ACKs and NACKs that matched no unsettled message.",
            ),
            starved: registry.counter(
                "stompd_consumers_starved_total",
                "Consumers found without credit that had acknowledged nothing for 60 s.",
            ),
        }
    }

    pub(super) fn count_settled(&self, verdict: AckVerdict, count: usize) {
        if count > 0 {
            let counter = match verdict {
                AckVerdict::Ack => &self.acknowledged,
                AckVerdict::Requeue => &self.redelivered,
                AckVerdict::Drop => &self.rejected,
            };
            counter.inc_by(count as u64);
        }
    }
}

/// Whenever metrics are read, asks all queues for their depth, and reports some by name.
pub(super) fn observe(common: &Arc<Common>, settings: QueueSettings, registry: &Registry) {
    let gauge = |name, help| registry.gauge(name, help);
    gauge(
        "stompd_queues_limit",
        "Maximum number of queues: [queue] max_queues.",
    )
    .set(number(settings.queues));
    let total = Total {
        queues: gauge("stompd_queues", "Number of named queues."),
        ready: gauge(
            "stompd_queue_messages_ready",
            "Messages that wait for a consumer, in queues and for subscriptions to topics with acknowledgement.",
        ),
        unacknowledged: gauge(
            "stompd_queue_messages_unacknowledged",
            "Messages that consumers have and have not settled, of queues and of topics.",
        ),
        bytes: gauge(
            "stompd_queue_bytes",
            "Memory of the messages that wait or are not settled and of their queues, of queues and of topics.",
        ),
        consumers: gauge(
            "stompd_queue_consumers",
            "Consumers of queues, and subscriptions to topics with acknowledgement.",
        ),
    };
    let by_name = settings.named.map(|most| ByName::new(most, registry));
    let common = Arc::downgrade(common);
    registry.before_reading(move || read(&common, &total, by_name.as_ref()));
}

struct Total {
    queues: Gauge,
    ready: Gauge,
    unacknowledged: Gauge,
    bytes: Gauge,
    consumers: Gauge,
}

/// The gauges of single queues. Only the `most` queues with the most messages have them: clients
/// choose the names, and each adds three lines of text.
struct ByName {
    most: usize,
    unnamed: Gauge,
    ready: Gauges,
    unacknowledged: Gauges,
    consumers: Gauges,
}

impl ByName {
    fn new(most: usize, registry: &Registry) -> Self {
        let gauges = |name, help| registry.gauges(name, help, "queue", []);
        Self {
            most,
            unnamed: registry.gauge(
                "stompd_queues_unnamed",
                "Queues beyond [queue] metrics_limit, which stompd_each_queue_... omits.",
            ),
            ready: gauges(
                "stompd_each_queue_messages_ready",
                "As stompd_queue_messages_ready, by queue.",
            ),
            unacknowledged: gauges(
                "stompd_each_queue_messages_unacknowledged",
                "As stompd_queue_messages_unacknowledged, by queue.",
            ),
            consumers: gauges(
                "stompd_each_queue_consumers",
                "As stompd_queue_consumers, by queue.",
            ),
        }
    }

    fn set_all(&self, fullest: Fullest) {
        for gauges in [&self.ready, &self.unacknowledged, &self.consumers] {
            gauges.clear();
        }
        self.unnamed.set(number(fullest.left_out));
        for Reverse((_, Reverse(name), depth)) in fullest.heap {
            self.set(&name, &depth);
        }
    }

    fn set(&self, name: &Destination, depth: &Depth) {
        let name = name.as_str();
        self.ready.with(name).set(number(depth.ready));
        self.unacknowledged
            .with(name)
            .set(number(depth.unacknowledged));
        self.consumers.with(name).set(number(depth.consumers));
    }
}

fn read(common: &Weak<Common>, total: &Total, by_name: Option<&ByName>) {
    let Some(common) = common.upgrade() else {
        return;
    };
    let mut fullest = Fullest::default();
    let mut sum = Depth::default();
    common.visit(|queue| {
        let depth = queue.depth();
        sum.ready += depth.ready;
        sum.unacknowledged += depth.unacknowledged;
        sum.bytes += depth.bytes;
        sum.consumers += depth.consumers;
        if let (Some(by_name), Some(name)) = (by_name, queue.name()) {
            fullest.add(name, depth, by_name.most);
        }
    });
    total
        .queues
        .set(number(common.count.load(Ordering::Relaxed)));
    total.ready.set(number(sum.ready));
    total.unacknowledged.set(number(sum.unacknowledged));
    total.bytes.set(number(sum.bytes));
    total.consumers.set(number(sum.consumers));
    by_name.inspect(|by_name| by_name.set_all(fullest));
}

/// The queues with the most messages; ties are ordered by name.
#[derive(Default)]
struct Fullest {
    heap: BinaryHeap<Reverse<(usize, Reverse<Destination>, Depth)>>,
    left_out: usize,
}

impl Fullest {
    fn add(&mut self, name: &Destination, depth: Depth, most: usize) {
        let messages = depth.ready + depth.unacknowledged;
        let name = Reverse(name.clone());
        self.heap.push(Reverse((messages, name, depth)));
        if self.heap.len() > most {
            self.heap.pop();
            self.left_out += 1;
        }
    }
}
