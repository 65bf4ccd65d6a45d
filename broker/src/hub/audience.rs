//! Who receives messages to one destination, or to all that match one pattern.
//!
//! Receivers with the same encoding are grouped in cohorts of at most 256. A publisher takes an
//! [`Audience`], which shares the cohorts; a change copies its cohort if an audience holds it. So
//! the cost of a change does not depend on the number of receivers, and the next publish costs one
//! step per cohort.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytestring::ByteString;
use smallvec::SmallVec;

use crate::encoding::Kind;
use crate::outbox::{Subscriber, SubscriberId};
use crate::queues::SharedQueue;

/// How one subscription receives.
#[derive(Clone, Debug)]
pub enum Receiver {
    /// Messages are written to its client.
    Direct(Arc<Subscriber>),
    /// A private queue holds its unacknowledged messages.
    Queued(Arc<SharedQueue>),
}

/// Receivers with the same encoding.
#[derive(Clone, Debug)]
pub enum Cohort {
    /// Receivers for which a message is the same, byte for byte.
    Direct {
        /// How messages are encoded for them.
        kind: Kind,
        /// The id of their subscriptions.
        id: Option<ByteString>,
        /// The receivers.
        members: Few<Arc<Subscriber>>,
    },
    /// Receivers that have a private queue.
    Queued(Few<Arc<SharedQueue>>),
}

/// Stores few receivers inline, as most destinations have few.
type Few<T> = SmallVec<[T; 2]>;

/// What the members of a cohort have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Direct(Kind, Option<ByteString>),
    Queued,
}

/// All receivers at one moment.
#[derive(Clone, Debug)]
pub enum Audience {
    /// All of them are in one cohort.
    One(Arc<Cohort>),
    /// There are several kinds, or too many receivers for one cohort.
    Several(Arc<[Arc<Cohort>]>),
}

/// The receivers of one destination or pattern.
#[derive(Debug, Default)]
pub struct Receivers {
    /// None of them is empty.
    cohorts: Vec<Arc<Cohort>>,
    len: usize,
    /// Kept only while there are many receivers.
    index: Option<Box<Index>>,
    /// The most recent audience of several cohorts, if nothing has changed since.
    audience: Option<Audience>,
}

/// The places of members. Trees, because a growing hash table pauses while it is moved.
#[derive(Debug, Default)]
struct Index {
    places: BTreeMap<SubscriberId, Place>,
    /// A cohort with room, by the hash of its key. If keys have equal hashes, one may be missing.
    open: BTreeMap<u64, usize>,
    hasher: RandomState,
}

/// A cohort, and a member of it.
type Place = (usize, usize);

impl Receivers {
    /// Adds a receiver that is not yet present.
    pub fn insert(&mut self, id: SubscriberId, receiver: Receiver) {
        self.audience = None;
        let cohort = self.room_for(&receiver);
        let members = Arc::make_mut(&mut self.cohorts[cohort]);
        members.push(receiver);
        let place = (cohort, members.len() - 1);
        let (full, key) = (members.is_full(), members.key());
        self.len += 1;
        if let Some(index) = &mut self.index {
            index.places.insert(id, place);
            let hash = index.hasher.hash_one(&key);
            if full {
                index.open.remove(&hash);
            } else {
                index.open.insert(hash, cohort);
            }
        } else if self.len > FEW {
            self.index = Some(Box::new(Index::of(&self.cohorts)));
        }
    }

    /// Removes a receiver. Returns whether it was present.
    pub fn remove(&mut self, id: SubscriberId) -> bool {
        let Some((cohort, at)) = self.find(id) else {
            return false;
        };
        self.audience = None;
        self.len -= 1;
        if self.len <= FEW / 2 {
            self.index = None;
        }
        let members = Arc::make_mut(&mut self.cohorts[cohort]);
        members.swap_remove(at);
        let moved = members.id(at);
        let (empty, key) = (members.is_empty(), members.key());
        if let Some(index) = &mut self.index {
            index.places.remove(&id);
            if let Some(moved) = moved {
                index.places.insert(moved, (cohort, at));
            }
            if !empty {
                let hash = index.hasher.hash_one(&key);
                index.open.entry(hash).or_insert(cohort);
            }
        }
        if empty {
            self.remove_cohort(cohort, &key);
        }
        true
    }

    /// Returns the number of receivers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no receivers.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the audience if it is cached; `Some(None)` if there is no receiver.
    pub fn known_audience(&self) -> Option<Option<Audience>> {
        match &self.cohorts[..] {
            [] => Some(None),
            [one] => Some(Some(Audience::One(Arc::clone(one)))),
            _ => self.audience.clone().map(Some),
        }
    }

    /// Returns the audience; `None` if there is no receiver.
    pub fn audience(&mut self) -> Option<Audience> {
        self.known_audience().unwrap_or_else(|| {
            let several = Audience::Several(self.cohorts.iter().cloned().collect());
            self.audience = Some(several.clone());
            Some(several)
        })
    }

    /// Returns a cohort with room for a receiver, creating it if there is none.
    fn room_for(&mut self, receiver: &Receiver) -> usize {
        let key = Key::of(receiver);
        let found = match &self.index {
            Some(index) => {
                let open = index.open.get(&index.hasher.hash_one(&key)).copied();
                open.filter(|cohort| self.cohorts[*cohort].key() == key)
            }
            None => self
                .cohorts
                .iter()
                .position(|cohort| !cohort.is_full() && cohort.key() == key),
        };
        found.unwrap_or_else(|| {
            self.cohorts.push(Arc::new(Cohort::new(key)));
            self.cohorts.len() - 1
        })
    }

    fn find(&self, id: SubscriberId) -> Option<Place> {
        if let Some(index) = &self.index {
            return index.places.get(&id).copied();
        }
        let mut cohorts = self.cohorts.iter().enumerate();
        cohorts.find_map(|(number, cohort)| {
            let at = (0..cohort.len()).find(|at| cohort.id(*at) == Some(id))?;
            Some((number, at))
        })
    }

    /// Removes an empty cohort; the last one takes its place.
    fn remove_cohort(&mut self, cohort: usize, key: &Key) {
        self.cohorts.swap_remove(cohort);
        if self.cohorts.capacity() > 4 * self.cohorts.len() {
            self.cohorts.shrink_to(2 * self.cohorts.len());
        }
        let Some(index) = &mut self.index else {
            return;
        };
        let hash = index.hasher.hash_one(key);
        if index.open.get(&hash) == Some(&cohort) {
            index.open.remove(&hash);
        }
        if let Some(moved) = self.cohorts.get(cohort) {
            let hash = index.hasher.hash_one(moved.key());
            if let Some(open) = index.open.get_mut(&hash)
                && *open == self.cohorts.len()
            {
                *open = cohort;
            }
            index.add(cohort, moved);
        }
    }
}

impl Index {
    fn of(cohorts: &[Arc<Cohort>]) -> Self {
        let mut index = Self::default();
        for (number, cohort) in cohorts.iter().enumerate() {
            index.add(number, cohort);
            if !cohort.is_full() {
                let hash = index.hasher.hash_one(cohort.key());
                index.open.insert(hash, number);
            }
        }
        index
    }

    /// Records the places of a cohort's members.
    fn add(&mut self, number: usize, cohort: &Cohort) {
        for at in 0..cohort.len() {
            if let Some(id) = cohort.id(at) {
                self.places.insert(id, (number, at));
            }
        }
    }
}

impl Audience {
    /// Returns the cohorts. Several may have the same encoding.
    pub fn cohorts(&self) -> &[Arc<Cohort>] {
        match self {
            Self::One(cohort) => std::slice::from_ref(cohort),
            Self::Several(cohorts) => cohorts,
        }
    }
}

impl Cohort {
    fn new(key: Key) -> Self {
        match key {
            Key::Direct(kind, id) => Self::Direct {
                kind,
                id,
                members: Few::new(),
            },
            Key::Queued => Self::Queued(Few::new()),
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Direct { kind, id, .. } => Key::Direct(*kind, id.clone()),
            Self::Queued(_) => Key::Queued,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Direct { members, .. } => members.len(),
            Self::Queued(queues) => queues.len(),
        }
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_full(&self) -> bool {
        self.len() >= COHORT
    }

    /// Returns the id of a member; `None` if there are fewer.
    fn id(&self, at: usize) -> Option<SubscriberId> {
        match self {
            Self::Direct { members, .. } => members.get(at).map(|member| member.id()),
            Self::Queued(queues) => queues.get(at)?.subscriber().map(|member| member.id()),
        }
    }

    /// Adds a receiver with this cohort's key.
    fn push(&mut self, receiver: Receiver) {
        match (self, receiver) {
            (Self::Direct { members, .. }, Receiver::Direct(member)) => members.push(member),
            (Self::Queued(queues), Receiver::Queued(queue)) => queues.push(queue),
            _ => debug_assert!(false, "a receiver has the kind of its cohort's key"),
        }
    }

    fn swap_remove(&mut self, at: usize) {
        match self {
            Self::Direct { members, .. } => drop(members.swap_remove(at)),
            Self::Queued(queues) => drop(queues.swap_remove(at)),
        }
    }
}

impl Key {
    fn of(receiver: &Receiver) -> Self {
        match receiver {
            Receiver::Direct(member) => Self::Direct(member.kind, member.subscription.id.clone()),
            Receiver::Queued(_) => Self::Queued,
        }
    }
}

/// Maximum number of members of a cohort, and so of those that a change copies.
const COHORT: usize = 256;

/// Maximum number of members that are searched one by one.
const FEW: usize = 32;
