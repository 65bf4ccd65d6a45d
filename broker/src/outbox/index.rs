//! Where the queued messages of each subscription and destination are, so that removing them needs
//! no search of the backlog.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::load::OutboxLoad;
use crate::encoding::EncodedRun;
use crate::engine::destination::Destination;

/// The positions of the messages that are not partly written, so that removing some needs no scan.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_subscription: BTreeMap<u32, Places>,
    /// For topics. Kept only for a policy that drops the oldest message.
    by_destination: Option<HashMap<Destination, Places>>,
}

#[derive(Debug, Default)]
struct Places {
    /// The places of the items with its messages, oldest first. May include items that were removed
    /// or are hollow.
    order: VecDeque<u64>,
    load: OutboxLoad,
}

impl Index {
    /// An index that also finds the oldest message of a destination.
    pub(super) fn with_destinations() -> Self {
        Self {
            by_destination: Some(HashMap::new()),
            ..Self::default()
        }
    }

    /// Removes a subscription and returns the places of its items, oldest first.
    pub(super) fn take_subscription(&mut self, number: u32) -> Option<VecDeque<u64>> {
        let places = self.by_subscription.remove(&number)?;
        Some(places.order)
    }

    pub(super) fn clear(&mut self) {
        self.by_subscription.clear();
        if let Some(all) = &mut self.by_destination {
            all.clear();
        }
    }

    pub(super) fn add(
        &mut self,
        encoded: &EncodedRun,
        subscription: u32,
        is_topic: bool,
        place: u64,
        load: OutboxLoad,
    ) {
        let places = self.by_subscription.entry(subscription).or_default();
        places.add(place, load);
        if let Some(all) = self.by_destination.as_mut().filter(|_| is_topic) {
            let places = all.entry(encoded.destination().clone()).or_default();
            places.add(place, load);
        }
    }

    /// Some messages of an encoded run can no longer be removed; up to the place `gone` nothing of
    /// their subscription is left.
    pub(super) fn remove(
        &mut self,
        encoded: &EncodedRun,
        subscription: u32,
        is_topic: bool,
        load: OutboxLoad,
        gone: u64,
    ) {
        self.remove_from_subscription(subscription, load, gone);
        if is_topic {
            self.remove_from_destination(encoded.destination(), load, gone);
        }
    }

    pub(super) fn remove_from_subscription(&mut self, number: u32, load: OutboxLoad, gone: u64) {
        if let Some(places) = self.by_subscription.get_mut(&number)
            && places.remove(load, gone)
        {
            self.by_subscription.remove(&number);
        }
    }

    pub(super) fn remove_from_destination(
        &mut self,
        destination: &Destination,
        load: OutboxLoad,
        gone: u64,
    ) {
        if let Some(all) = &mut self.by_destination
            && let Some(places) = all.get_mut(destination)
            && places.remove(load, gone)
        {
            all.remove(destination);
        }
    }

    pub(super) fn oldest(&self, destination: &Destination) -> Option<u64> {
        let places = self.by_destination.as_ref()?.get(destination)?;
        places.order.front().copied()
    }

    pub(super) fn load(&self, destination: &Destination) -> OutboxLoad {
        let all = self.by_destination.as_ref();
        let places = all.and_then(|all| all.get(destination));
        places.map_or_else(OutboxLoad::default, |places| places.load)
    }
}

impl Places {
    fn add(&mut self, place: u64, load: OutboxLoad) {
        self.order.push_back(place);
        self.load.add(load);
    }

    /// Returns whether nothing is left.
    fn remove(&mut self, load: OutboxLoad, gone: u64) -> bool {
        self.load = self.load.without(load);
        while self.order.front().is_some_and(|place| *place <= gone) {
            self.order.pop_front();
        }
        self.load.frames == 0
    }
}
