//! Metrics of the hub: counters, and gauges that are computed when metrics are read.

use std::sync::Arc;

use super::{Clients, Loss, Wildcards};
use crate::encoding::waiting_bytes;
use crate::metrics::{Counter, Counters, Gauge, Registry, number};
use crate::outbox::OutboxLoad;

/// Counters of the hub.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) published: Counter,
    pub(super) delivered: Counter,
    pub(super) dropped: Counters,
    pub(super) subscriptions: Gauge,
    pub(super) subscription_bytes: Gauge,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            published: registry.counter(
                "stompd_messages_published_total",
                "Messages accepted from publishers.",
            ),
            delivered: registry.counter(
                "stompd_messages_delivered_total",
                "Messages handed to a subscriber's socket or outbox, once for each subscriber.",
            ),
            dropped: registry.counters(
                "stompd_messages_dropped_total",
                "Messages that did not reach a subscriber, by reason.",
                "reason",
                Loss::ALL.map(Loss::label),
            ),
            subscriptions: registry.gauge("stompd_subscriptions", "Subscriptions now."),
            subscription_bytes: registry.gauge(
                "stompd_subscription_bytes",
                "Bytes of memory that subscriptions take, including their ids and patterns.",
            ),
        }
    }
}

/// Whenever metrics are read, asks all outboxes what is queued in them.
pub(super) fn observe_outboxes(clients: &Arc<Clients>, registry: &Registry) {
    let waiting = registry.gauge(
        "stompd_outboxes_waiting",
        "Clients with data in their outbox.",
    );
    let frames = registry.gauge(
        "stompd_outbox_messages",
        "Messages and replies in the outboxes of all clients.",
    );
    let bytes = registry.gauge(
        "stompd_outbox_bytes",
        "Bytes in the outboxes of all clients; shared data counts once per client.",
    );
    let memory = registry.gauge(
        "stompd_outbox_memory_bytes",
        "Bytes of memory that the outboxes of all clients take; shared data counts once.",
    );
    let clients = Arc::downgrade(clients);
    registry.before_reading(move || {
        let clients = clients.upgrade().map(|clients| clients.all());
        let mut held = waiting_bytes();
        let (mut slow, mut all) = (0, OutboxLoad::default());
        for client in clients.into_iter().flatten() {
            let load = client.outbox.load();
            slow += usize::from(load.frames > 0);
            all = all.with(load);
            held += client.outbox.memory();
        }
        waiting.set(number(slow));
        frames.set(number(all.frames));
        bytes.set(number(all.bytes));
        memory.set(number(held));
    });
}

/// Whenever metrics are read, asks for the number and the cost of the patterns.
pub(super) fn observe_patterns(wildcards: &Arc<Wildcards>, limit: usize, registry: &Registry) {
    let patterns = registry.gauge(
        "stompd_patterns",
        "Different patterns with wildcards that clients have subscribed to.",
    );
    let cost = registry.gauge(
        "stompd_pattern_shapes",
        "Shapes of these patterns, as [limits] pattern_shapes counts them.",
    );
    let most = registry.gauge(
        "stompd_pattern_shapes_limit",
        "Maximum number of pattern shapes: [limits] pattern_shapes.",
    );
    most.set(number(limit));
    let wildcards = Arc::downgrade(wildcards);
    registry.before_reading(move || {
        if let Some(wildcards) = wildcards.upgrade() {
            let load = wildcards.load();
            cost.set(number(load.0));
            patterns.set(number(load.1));
        }
    });
}
