//! Who receives what is sent to one destination, sorted by how it is encoded for them.

use std::collections::HashMap;
use std::sync::Arc;

use bytestring::ByteString;
use smallvec::SmallVec;

use crate::encoding::Kind;
use crate::queues::SharedQueue;
use crate::subscriber::{Subscriber, SubscriberId};

/// How one subscription of a topic receives.
#[derive(Clone, Debug)]
pub enum Receiver {
    /// Its client is written to.
    Direct(Arc<Subscriber>),
    /// A queue of its own holds what is not acknowledged.
    Queued(Arc<SharedQueue>),
}

/// The exact subscribers of one destination, and the audience that was last made of them.
#[derive(Debug, Default)]
pub struct Topic {
    members: HashMap<SubscriberId, Receiver>,
    /// The number of the last change of the members; zero if there never were any.
    version: u64,
    audience: Option<Arc<Audience>>,
}

/// The exact subscribers of a destination at one moment.
#[derive(Debug, Default)]
pub struct Members {
    receivers: Vec<Receiver>,
    version: u64,
}

/// All receivers of one destination at one moment, exact and wild, sorted.
#[derive(Debug)]
pub struct Audience {
    /// The state of the patterns of which it was made.
    generation: u64,
    groups: Few<Group, 1>,
    queued: Vec<Arc<SharedQueue>>,
}

/// Receivers of one kind.
#[derive(Debug)]
pub struct Group {
    /// The kind.
    pub kind: Kind,
    /// They, by the id of their subscription.
    pub circles: Few<Circle, 1>,
}

/// Receivers for whom a message is the same, octet for octet.
#[derive(Debug)]
pub struct Circle {
    /// The id of their subscriptions.
    pub id: Option<ByteString>,
    /// They.
    pub members: Few<Arc<Subscriber>, 2>,
}

/// Most destinations have few receivers, of one kind: what they are sorted into lies in one piece.
type Few<T, const N: usize> = SmallVec<[T; N]>;

impl Topic {
    /// Adds a subscriber. The number of this `change` is above zero and no topic has it again, not
    /// even one of the same name that comes after this one.
    pub fn insert(&mut self, id: SubscriberId, receiver: Receiver, change: u64) {
        self.members.insert(id, receiver);
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
            receivers: self.members.values().cloned().collect(),
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
    pub fn audience(&self, wild: &[Receiver], generation: u64) -> Arc<Audience> {
        Arc::new(Audience::new(self.receivers.iter().chain(wild), generation))
    }
}

impl Audience {
    /// The receivers, by kind.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The receivers that have a queue of their own.
    pub fn queued(&self) -> &[Arc<SharedQueue>] {
        &self.queued
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.queued.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        let circles = self.groups.iter().flat_map(|group| &group.circles);
        let direct: usize = circles.map(|circle| circle.members.len()).sum();
        direct + self.queued.len()
    }

    fn new<'a>(receivers: impl Iterator<Item = &'a Receiver>, generation: u64) -> Self {
        let mut sorted: HashMap<Kind, HashMap<Option<&str>, Few<Arc<Subscriber>, 2>>> =
            HashMap::new();
        let mut queued = Vec::new();
        for receiver in receivers {
            let subscriber = match receiver {
                Receiver::Direct(subscriber) => subscriber,
                Receiver::Queued(queue) => {
                    queued.push(Arc::clone(queue));
                    continue;
                }
            };
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
            queued,
        }
    }
}
