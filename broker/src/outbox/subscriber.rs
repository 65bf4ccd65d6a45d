//! One subscription with the outbox of its client.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::encoding::Kind;
use crate::engine::SessionId;
use crate::engine::subscription::Subscription;

use super::{Outbox, Progress};

/// One subscription with the outbox of its client.
#[derive(Debug)]
pub struct Subscriber {
    /// Its session.
    pub session: SessionId,
    /// What the client subscribed to.
    pub subscription: Subscription,
    /// How its messages are encoded.
    pub kind: Kind,
    /// The outbox of its client.
    pub outbox: Arc<Outbox>,
    /// Whether it has ended; read and written under the outbox's lock.
    pub ended: AtomicBool,
    /// Progress of its deliveries, if a queue grants them.
    pub progress: Arc<Progress>,
}

/// Identifies a subscription within the broker.
pub type SubscriberId = (SessionId, u32);

impl Subscriber {
    /// Returns its id.
    pub fn id(&self) -> SubscriberId {
        (self.session, self.subscription.number)
    }
}
