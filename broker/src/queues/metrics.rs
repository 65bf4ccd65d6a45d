//! What queues count, and what is asked of them when metrics are read.

use std::sync::{Arc, Weak};

use crate::engine::destination::Destination;
use crate::engine::queue::{Depth, Verdict};
use crate::metrics::{Counter, Gauge, Gauges, Registry, number};

use super::Common;

/// What queues count.
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
                "Messages that a consumer had and that went back to their queue.",
            ),
            ignored: registry.counter(
                "stompd_acks_ignored_total",
                "ACKs and NACKs that named nothing that could be settled.",
            ),
            starved: registry.counter(
                "stompd_consumers_starved_total",
                "Consumers found without credit that had acknowledged nothing for 60 s.",
            ),
        }
    }

    pub(super) fn count_settled(&self, verdict: Verdict, count: usize) {
        if count > 0 {
            let counter = match verdict {
                Verdict::Ack => &self.acknowledged,
                Verdict::Requeue => &self.redelivered,
                Verdict::Drop => &self.rejected,
            };
            counter.inc_by(count as u64);
        }
    }
}

/// Asks all queues how much they hold whenever metrics are read, and each by its name if `each`.
pub(super) fn observe(common: &Arc<Common>, each: bool, registry: &Registry) {
    let gauge = |name, help| registry.gauge(name, help);
    let total = Total {
        queues: gauge("stompd_queues", "Queues that clients have named."),
        ready: gauge(
            "stompd_queue_messages_ready",
            "Messages that wait for a consumer, in queues and for subscriptions to topics with acknowledgement.",
        ),
        unacknowledged: gauge(
            "stompd_queue_messages_unacknowledged",
            "Messages that consumers have and have not settled, of queues and of topics.",
        ),
        octets: gauge(
            "stompd_queue_bytes",
            "Octets of the messages that wait or are not settled, of queues and of topics.",
        ),
        consumers: gauge(
            "stompd_queue_consumers",
            "Consumers of queues, and subscriptions to topics with acknowledgement.",
        ),
    };
    let by_name = each.then(|| ByName::new(registry));
    let common = Arc::downgrade(common);
    registry.before_reading(move || read(&common, &total, by_name.as_ref()));
}

struct Total {
    queues: Gauge,
    ready: Gauge,
    unacknowledged: Gauge,
    octets: Gauge,
    consumers: Gauge,
}

struct ByName {
    ready: Gauges,
    unacknowledged: Gauges,
    consumers: Gauges,
}

impl ByName {
    fn new(registry: &Registry) -> Self {
        let gauges = |name, help| registry.gauges(name, help, "queue", []);
        Self {
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

    fn clear(&self) {
        for gauges in [&self.ready, &self.unacknowledged, &self.consumers] {
            gauges.clear();
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
    by_name.inspect(|by_name| by_name.clear());
    let mut sum = Depth::default();
    for queue in common.all() {
        let depth = queue.depth();
        sum.ready += depth.ready;
        sum.unacknowledged += depth.unacknowledged;
        sum.octets += depth.octets;
        sum.consumers += depth.consumers;
        if let (Some(by_name), Some(name)) = (by_name, queue.name()) {
            by_name.set(name, &depth);
        }
    }
    total.queues.set(number(common.named.len()));
    total.ready.set(number(sum.ready));
    total.unacknowledged.set(number(sum.unacknowledged));
    total.octets.set(number(sum.octets));
    total.consumers.set(number(sum.consumers));
}
