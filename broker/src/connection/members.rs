//! The subscriptions of one client and their queues, as its driver needs them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::queue::{Return, Settled};
use crate::engine::session::Acknowledgement;
use crate::hub::{Hub, Place};
use crate::outbox::{News, Outbox, Subscriber};
use crate::queues::{Held, SharedQueue};
use crate::turn;

/// The subscriptions of one client.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Active subscriptions by number.
    live: HashMap<u32, Member>,
    /// Ended subscriptions whose messages may still be acknowledged.
    retired: HashMap<u32, Member>,
    /// Whether there ever was a queue.
    queued: bool,
    /// Queues that may have messages to grant after the settlements of this step.
    to_dispatch: Vec<Arc<SharedQueue>>,
}

/// A subscription, and the queue that grants its messages, if any.
#[derive(Debug)]
struct Member {
    subscriber: Arc<Subscriber>,
    queue: Option<Arc<SharedQueue>>,
}

impl Members {
    /// Number of subscriptions, including ended ones that may still acknowledge.
    pub(super) fn len(&self) -> usize {
        self.live.len() + self.retired.len()
    }

    /// Returns the numbers of the active subscriptions.
    pub(super) fn numbers(&self) -> Vec<u32> {
        self.live.keys().copied().collect()
    }

    /// Makes a subscription visible to publishers.
    pub(super) fn subscribe(
        &mut self,
        subscriber: Arc<Subscriber>,
        place: Place,
        hub: &Hub,
        now: Instant,
    ) {
        let queue = hub.subscribe(&subscriber, place, now);
        self.queued |= queue.is_some();
        let number = subscriber.subscription.number;
        self.live.insert(number, Member { subscriber, queue });
    }

    /// Ends a subscription; messages that the client has seen may still be acknowledged.
    pub(super) fn unsubscribe(&mut self, number: u32, hub: &Hub, now: Instant) {
        let Some(member) = self.live.remove(&number) else {
            return;
        };
        if hub.unsubscribe(&member.subscriber, member.queue.as_ref(), now) {
            self.retired.insert(number, member);
        }
    }

    /// Ends a subscription with its connection, and says why that ends.
    pub(super) fn end(&mut self, number: u32, hub: &Hub, cause: Return, now: Instant) {
        if let Some(Member { subscriber, queue }) = self.live.remove(&number) {
            hub.end(&subscriber, queue.as_ref(), cause, now);
        }
    }

    /// Ends all remaining subscriptions.
    pub(super) fn end_all(&mut self, hub: &Hub, cause: Return, now: Instant) {
        for number in self.numbers() {
            self.end(number, hub, cause, now);
        }
        for (_, Member { subscriber, queue }) in self.retired.drain() {
            if let Some(queue) = queue {
                hub.queues().end(&subscriber, &queue, cause, now);
            }
        }
    }

    /// Returns the queue that holds the unsettled messages of a subscription.
    pub(super) fn held(&self, number: u32) -> Option<Held<'_>> {
        let member = self.live.get(&number);
        let member = member.or_else(|| self.retired.get(&number))?;
        Some((&member.subscriber, member.queue.as_ref()?))
    }

    /// Settles or holds deliveries. [`Members::dispatch`] fills the room that this makes.
    pub(super) fn settle(&mut self, acknowledgement: &Acknowledgement, now: Instant) -> Settled {
        let Acknowledgement {
            delivery,
            verdict,
            transaction,
            ..
        } = acknowledgement;
        let Some((subscriber, queue)) = self.held(delivery.subscription) else {
            return Settled::Ignored;
        };
        let settled = queue.settle(subscriber, delivery.number, *verdict, *transaction, now);
        let queue = Arc::clone(queue);
        self.forget_if_done(delivery.subscription);
        let is_known = |known| Arc::ptr_eq(known, &queue);
        if !self.to_dispatch.iter().any(is_known) {
            self.to_dispatch.push(queue);
        }
        settled
    }

    /// Notes that the queues of these subscriptions may have messages to grant after a COMMIT.
    pub(super) fn note(&mut self, subscriptions: impl IntoIterator<Item = u32>) {
        for number in subscriptions {
            if let Some((_, queue)) = self.held(number) {
                let queue = Arc::clone(queue);
                self.to_dispatch.push(queue);
            }
            self.forget_if_done(number);
        }
    }

    /// Fills the room that was made: once for all settlements of one read.
    pub(super) async fn dispatch(&mut self, now: Instant) {
        if self.to_dispatch.is_empty() {
            return;
        }
        for queue in std::mem::take(&mut self.to_dispatch) {
            queue.dispatch(now);
            turn::end_if_over().await;
        }
    }

    /// Forgets an ended subscription that has nothing left to settle.
    pub(super) fn forget_if_done(&mut self, number: u32) {
        let member = self.retired.get(&number);
        if member.is_some_and(|Member { subscriber, queue }| {
            queue.as_ref().is_none_or(|queue| !queue.has(subscriber))
        }) {
            self.retired.remove(&number);
        }
    }

    /// Reports the progress of deliveries to the queues.
    pub(super) async fn on_outbox_progress(&mut self, outbox: &Outbox, now: Instant) {
        if !self.queued {
            return;
        }
        let News { written, room } = outbox.take_news();
        for number in written {
            if let Some((subscriber, queue)) = self.held(number) {
                queue.settle_written(subscriber, now);
            }
            self.forget_if_done(number);
            turn::end_if_over().await;
        }
        for number in room {
            if let Some((subscriber, queue)) = self.held(number) {
                queue.resume(subscriber, now);
            }
            turn::end_if_over().await;
        }
    }
}
