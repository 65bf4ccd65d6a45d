//! Who receives what is sent to one destination, sorted by how it is encoded for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytestring::ByteString;

use crate::encoding::Kind;
use crate::engine::SessionId;
use crate::engine::subscription::Subscription;
use crate::outbox::Outbox;

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
}

/// Names a subscription among all of the broker.
pub type SubscriberId = (SessionId, u32);

/// The exact subscribers of one destination, and the audience that was last made of them.
#[derive(Debug, Default)]
pub struct Topic {
    members: HashMap<SubscriberId, Arc<Subscriber>>,
    /// The number of the last change of the members; zero if there never were any.
    version: u64,
    audience: Option<Arc<Audience>>,
}

/// The exact subscribers of a destination at one moment.
#[derive(Debug, Default)]
pub struct Members {
    subscribers: Vec<Arc<Subscriber>>,
    version: u64,
}

/// All receivers of one destination at one moment, exact and wild, sorted.
#[derive(Debug)]
pub struct Audience {
    /// The state of the patterns of which it was made.
    generation: u64,
    groups: Vec<Group>,
}

/// Receivers of one kind.
#[derive(Debug)]
pub struct Group {
    /// The kind.
    pub kind: Kind,
    /// They, by the id of their subscription.
    pub circles: Vec<Circle>,
}

/// Receivers for whom a message is the same, octet for octet.
#[derive(Debug)]
pub struct Circle {
    /// The id of their subscriptions.
    pub id: Option<ByteString>,
    /// They.
    pub members: Vec<Arc<Subscriber>>,
}

impl Subscriber {
    /// Its name.
    pub fn id(&self) -> SubscriberId {
        (self.session, self.subscription.number)
    }
}

impl Topic {
    /// Adds a subscriber. The number of this `change` is above zero and no topic has it again, not
    /// even one of the same name that comes after this one.
    pub fn insert(&mut self, subscriber: &Arc<Subscriber>, change: u64) {
        self.members.insert(subscriber.id(), Arc::clone(subscriber));
        self.change(change);
    }

    /// Takes a subscriber out; `change` is as in [`Topic::insert`].
    pub fn remove(&mut self, id: &SubscriberId, change: u64) -> bool {
        self.change(change);
        self.members.remove(id).is_some()
    }

    /// Whether it has no exact subscriber.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The audience, if neither the members nor the patterns have changed since it was made.
    pub fn audience(&self, generation: u64) -> Option<Arc<Audience>> {
        self.audience
            .clone()
            .filter(|audience| audience.generation == generation)
    }

    /// The members, to make an audience of them.
    pub fn members(&self) -> Members {
        Members {
            subscribers: self.members.values().cloned().collect(),
            version: self.version,
        }
    }

    /// Remembers an audience, unless the members have changed since.
    pub fn remember(&mut self, audience: &Arc<Audience>, version: u64) {
        if self.version == version {
            self.audience = Some(Arc::clone(audience));
        }
    }

    /// Forgets the audience.
    pub fn forget(&mut self) {
        self.audience = None;
    }

    fn change(&mut self, change: u64) {
        self.version = change;
        self.audience = None;
    }
}

impl Members {
    /// The state of the topic at that moment.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The audience of these members and of the subscribers `wild` whose patterns match.
    ///
    /// Making it costs a step for each of them, as the delivery that follows does too.
    pub fn audience(&self, wild: &[Arc<Subscriber>], generation: u64) -> Arc<Audience> {
        Arc::new(Audience::new(
            self.subscribers.iter().chain(wild),
            generation,
        ))
    }
}

impl Audience {
    /// The receivers, by kind.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let circles = self.groups.iter().flat_map(|group| &group.circles);
        circles.map(|circle| circle.members.len()).sum()
    }

    fn new<'a>(subscribers: impl Iterator<Item = &'a Arc<Subscriber>>, generation: u64) -> Self {
        let mut sorted: HashMap<Kind, HashMap<Option<&str>, Vec<Arc<Subscriber>>>> = HashMap::new();
        for subscriber in subscribers {
            let id = subscriber.subscription.id.as_deref();
            let circles = sorted.entry(subscriber.kind).or_default();
            circles.entry(id).or_default().push(Arc::clone(subscriber));
        }
        let groups = sorted.into_iter().map(|(kind, circles)| Group {
            kind,
            circles: circles
                .into_values()
                .map(|members| Circle {
                    id: members[0].subscription.id.clone(),
                    members,
                })
                .collect(),
        });
        Self {
            generation,
            groups: groups.collect(),
        }
    }
}
