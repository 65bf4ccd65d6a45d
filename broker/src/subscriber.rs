//! One subscription with the way out to its client.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::encoding::Kind;
use crate::engine::SessionId;
use crate::engine::subscription::Subscription;
use crate::outbox::{Outbox, Progress};

/// One subscription with the way out to its client.
#[derive(Debug)]
pub struct Subscriber {
    /// Its session.
    pub session: SessionId,
    /// What was asked for.
    pub subscription: Subscription,
    /// How its messages are encoded.
    pub kind: Kind,
    /// Its client's way out.
    pub outbox: Arc<Outbox>,
    /// Whether it has ended; read and written under the outbox's lock.
    pub ended: AtomicBool,
    /// How far its deliveries have come, if a queue grants them.
    pub progress: Arc<Progress>,
}

/// Names a subscription among all of the broker.
pub type SubscriberId = (SessionId, u32);

impl Subscriber {
    /// Its name.
    pub fn id(&self) -> SubscriberId {
        (self.session, self.subscription.number)
    }
}
