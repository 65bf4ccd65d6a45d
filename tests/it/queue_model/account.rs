//! The state of every message, as far as its clients can tell.
//!
//! A message is held from when its SEND was accepted until it is done. A held message is either
//! *seen* (a client was sent a byte of it and has not settled it) or not. More cannot be observed
//! from outside: a message that is not seen may be ready, or queued in an outbox.

use std::collections::{BTreeMap, HashMap};

use stompd::engine::SessionId;
use stompd::engine::ack::AckVerdict;
use stompd::engine::queue::ConsumerId;
use stompd::engine::subscription::AckMode;

use super::client::Message;

/// What holds messages: a queue that clients name, or a subscription to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Home {
    Queue(usize),
    Own(ConsumerId),
}

/// All messages that are held, and all consumers of connected clients.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) stores: HashMap<Home, Store>,
    pub(super) consumers: BTreeMap<ConsumerId, Consumer>,
    last_order: u64,
    pub(super) acknowledged: usize,
    pub(super) rejected: usize,
    pub(super) redelivered: usize,
}

/// The messages of one home, by the order in which they were accepted.
#[derive(Debug, Default)]
pub(super) struct Store {
    items: BTreeMap<u64, Item>,
    /// Messages accepted up to here may have returned without having been seen.
    slipped: u64,
    /// The newest message that was begun in this step.
    newest: u64,
}

#[derive(Debug)]
struct Item {
    number: u64,
    /// A consumer has seen it and it was returned.
    marked: bool,
    seen: bool,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) home: Home,
    mode: AckMode,
    prefetch: usize,
    /// Its subscription has not ended.
    pub(super) live: bool,
    /// All messages it has seen, first to last.
    given: Vec<Given>,
    newest: u64,
    /// An ABORT may give it more than its prefetch.
    aborted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    order: u64,
    number: u64,
    /// The number in its ack id.
    delivery: u64,
    whole: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Out,
    Held(u32, AckVerdict),
    Over,
}

impl Consumer {
    /// Number of deliveries that its client can acknowledge.
    pub(super) fn whole(&self) -> usize {
        self.given.iter().filter(|given| given.whole).count()
    }

    /// The suffix of the ack id of its n-th message.
    pub(super) fn delivery(&self, number: usize) -> u64 {
        self.given[number - 1].delivery
    }

    fn out(&self) -> usize {
        let out = |given: &&Given| given.state == State::Out;
        self.given.iter().filter(out).count()
    }

    /// If nothing is queued for its client it has room for more.
    pub(super) fn has_room(&self) -> bool {
        self.live && self.out() < self.prefetch
    }
}

impl Store {
    /// Number of messages it holds.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Number of messages that no client holds.
    pub(super) fn unseen(&self) -> usize {
        self.items.values().filter(|item| !item.seen).count()
    }

    /// Unseen messages are newer than all that were begun in this step.
    pub(super) fn oldest_went_first(&self) -> bool {
        let unseen = self.items.iter().find(|(_, item)| !item.seen);
        unseen.is_none_or(|(order, _)| *order > self.newest)
    }

    /// All numbers in order, and whether each is marked.
    pub(super) fn all(&self) -> Vec<(u64, bool)> {
        let items = self.items.values();
        items.map(|item| (item.number, item.marked)).collect()
    }

    fn put_back(&mut self, order: u64) {
        let item = self.items.get_mut(&order).unwrap();
        (item.seen, item.marked) = (false, true);
    }
}

impl Account {
    pub(super) fn begin_step(&mut self) {
        for store in self.stores.values_mut() {
            store.newest = 0;
        }
    }

    pub(super) fn store(&mut self, home: Home) -> &mut Store {
        self.stores.entry(home).or_default()
    }

    pub(super) fn accept(&mut self, home: Home, number: u64) {
        self.last_order += 1;
        let (marked, seen) = (false, false);
        let item = Item {
            number,
            marked,
            seen,
        };
        let order = self.last_order;
        self.store(home).items.insert(order, item);
    }

    pub(super) fn subscribe(&mut self, id: ConsumerId, home: Home, mode: AckMode, prefetch: usize) {
        self.store(home);
        let consumer = Consumer {
            home,
            mode,
            prefetch,
            live: true,
            given: Vec::new(),
            newest: 0,
            aborted: false,
        };
        assert!(self.consumers.insert(id, consumer).is_none());
    }

    /// Messages that return from here on may not have been seen.
    pub(super) fn slip(&mut self, home: Home) {
        let newest = self.last_order;
        self.store(home).slipped = newest;
    }

    /// A client has received a part of this message, or all of it.
    pub(super) fn heard(&mut self, id: ConsumerId, message: &Message, whole: bool) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        if let Some(last) = consumer.given.last_mut().filter(|last| !last.whole) {
            assert_eq!(
                last.number, message.number,
                "the rest belongs to the same message"
            );
            last.whole = whole;
        } else {
            self.begin(id, message, whole);
        }
        let consumer = self.consumers.get_mut(&id).unwrap();
        if whole && consumer.mode == AckMode::Auto {
            let last = consumer.given.len() - 1;
            self.settle_at(id, last, AckVerdict::Ack);
        }
    }

    fn begin(&mut self, id: ConsumerId, message: &Message, whole: bool) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        let room = consumer.aborted || consumer.has_room();
        assert!(consumer.live, "after UNSUBSCRIBE: {message:?}");
        assert!(room, "more than the prefetch: {message:?}");
        // Messages that an outbox did not take have used a number too.
        let last = consumer.given.last().map_or(0, |given| given.delivery);
        let delivery = message.ack.as_ref().map_or(0, |ack| {
            let delivery = ack.rsplit('-').next().unwrap().parse().unwrap();
            assert_eq!(*ack, format!("{}-{}-{delivery}", id.0, id.1));
            assert!(delivery > last, "{message:?} after number {last}");
            delivery
        });
        assert_eq!(message.ack.is_some(), consumer.mode != AckMode::Auto);

        let store = self.stores.get_mut(&consumer.home).unwrap();
        let mut items = store.items.iter_mut();
        let found = items.find(|(_, item)| item.number == message.number);
        let (&order, item) = found.unwrap_or_else(|| panic!("it is not held: {message:?}"));
        assert!(!item.seen, "a consumer has it: {message:?}");
        assert_eq!(item.marked, message.redelivered, "{message:?}");
        item.seen = true;
        let in_order = order > consumer.newest || item.marked || order <= store.slipped;
        assert!(in_order, "a newer one was delivered before: {message:?}");
        store.newest = store.newest.max(order);
        consumer.newest = consumer.newest.max(order);
        consumer.given.push(Given {
            order,
            number: message.number,
            delivery,
            whole,
            state: State::Out,
        });
    }

    /// An ACK or NACK for the delivery with this number, counted from 1.
    pub(super) fn settle(
        &mut self,
        id: ConsumerId,
        number: usize,
        verdict: AckVerdict,
        hold: Option<u32>,
    ) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        let first = match consumer.mode {
            AckMode::Auto => return,
            AckMode::Client => 0,
            AckMode::Individual => number - 1,
        };
        for at in first..number {
            let state = &mut self.consumers.get_mut(&id).unwrap().given[at].state;
            match hold {
                _ if *state != State::Out => {}
                Some(transaction) => *state = State::Held(transaction, verdict),
                None => self.settle_at(id, at, verdict),
            }
        }
    }

    fn settle_at(&mut self, id: ConsumerId, at: usize, verdict: AckVerdict) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        let given = &mut consumer.given[at];
        given.state = State::Over;
        let store = self.stores.get_mut(&consumer.home).unwrap();
        match verdict {
            AckVerdict::Requeue => {
                self.redelivered += 1;
                return store.put_back(given.order);
            }
            AckVerdict::Ack => self.acknowledged += 1,
            AckVerdict::Drop => self.rejected += 1,
        }
        store.items.remove(&given.order).unwrap();
    }

    pub(super) fn commit(&mut self, session: SessionId, transaction: u32) {
        for (id, at, verdict) in self.held(session, transaction) {
            self.settle_at(id, at, verdict);
        }
    }

    pub(super) fn abort(&mut self, session: SessionId, transaction: u32) {
        for (id, at, _) in self.held(session, transaction) {
            self.release(id, at);
        }
    }

    fn release(&mut self, id: ConsumerId, at: usize) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        consumer.given[at].state = State::Out;
        consumer.aborted = true;
    }

    fn held(&self, session: SessionId, transaction: u32) -> Vec<(ConsumerId, usize, AckVerdict)> {
        let mut held = Vec::new();
        for (id, consumer) in self.of(session) {
            for (at, given) in consumer.given.iter().enumerate() {
                match given.state {
                    State::Held(by, verdict) if by == transaction => held.push((id, at, verdict)),
                    _ => {}
                }
            }
        }
        held
    }

    /// The consumers of one session.
    pub(super) fn of(&self, session: SessionId) -> impl Iterator<Item = (ConsumerId, &Consumer)> {
        let all = self.consumers.range((session, 0)..=(session, u32::MAX));
        all.map(|(id, consumer)| (*id, consumer))
    }

    /// UNSUBSCRIBE.
    pub(super) fn retire(&mut self, id: ConsumerId) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        consumer.live = false;
        for given in &mut consumer.given {
            if let State::Held(..) = given.state {
                given.state = State::Out;
            }
        }
        self.lose_own(id);
    }

    /// The connection has ended.
    pub(super) fn end(&mut self, session: SessionId) {
        let ids: Vec<_> = self.of(session).map(|(id, _)| id).collect();
        for id in ids {
            self.lose_own(id);
            let consumer = self.consumers.remove(&id).unwrap();
            let open = consumer.given.iter();
            for given in open.filter(|given| given.state != State::Over) {
                let store = self.stores.get_mut(&consumer.home).unwrap();
                store.put_back(given.order);
                self.redelivered += 1;
            }
        }
    }

    /// A private queue ends with its subscription.
    fn lose_own(&mut self, id: ConsumerId) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        if consumer.home == Home::Own(id) {
            consumer.live = false;
            for given in &mut consumer.given {
                given.state = State::Over;
            }
            self.stores.remove(&consumer.home);
        }
    }
}
