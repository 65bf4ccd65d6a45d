//! The ready messages of a queue, in the order in which consumers take them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Entry, Return};
use crate::engine::ack::AckVerdict;
use crate::engine::memory;
use crate::engine::message::Message;

/// The ready messages of a queue, and the memory that all its messages hold.
///
/// There is one lane, as all messages have the same priority.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lane: Lane,
    next_position: u64,
    /// Number of bytes that the ready messages hold.
    ready: usize,
    /// Number of bytes that all messages hold, including those in flight.
    held: usize,
}

/// Where a consumer begins to look in a lane: messages before it are not for this consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor(u64);

/// Messages by position.
///
/// Consumers usually take the first one, so most messages are in a line. If one behind the first is
/// taken, those before it move to the tree, once each. Returned messages are also in the tree.
#[derive(Debug, Default)]
struct Lane {
    /// The messages that precede the line.
    tree: BTreeMap<u64, Entry>,
    /// Consecutive messages, in the order of their positions.
    line: VecDeque<Entry>,
}

impl Lanes {
    /// Number of ready messages.
    pub(super) fn len(&self) -> usize {
        self.lane.tree.len() + self.lane.line.len()
    }

    /// Whether no message is ready.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes that all messages hold, ready and in flight.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Number of bytes that messages in flight hold.
    pub(super) fn in_flight(&self) -> usize {
        self.held - self.ready
    }

    /// Returns the memory of the lanes without that of the messages.
    pub(super) fn memory(&self) -> usize {
        memory::line(&self.lane.line) + self.lane.tree.len() * IN_TREE
    }

    /// Appends a message that holds `held` bytes.
    pub(super) fn push(&mut self, message: &Arc<Message>, id: u64, held: usize) {
        let entry = Entry::new(Arc::clone(message), id, self.next_position, held);
        self.next_position += 1;
        self.held += entry.held();
        self.ready += entry.held();
        self.lane.line.push_back(entry);
    }

    /// Takes the first message at or after the cursor; it stays among what the queue holds.
    pub(super) fn take(&mut self, cursor: Cursor) -> Option<Entry> {
        let entry = self.lane.take(cursor)?;
        self.ready -= entry.held();
        Some(entry)
    }

    /// Removes the oldest message; `false` if there is none.
    pub(super) fn drop_oldest(&mut self) -> bool {
        let oldest = self.take(Cursor::START);
        self.held -= oldest.as_ref().map_or(0, Entry::held);
        self.shrink();
        oldest.is_some()
    }

    /// Settles a message that was taken.
    pub(super) fn settle(&mut self, entry: Entry, verdict: AckVerdict) {
        match verdict {
            AckVerdict::Ack | AckVerdict::Drop => self.held -= entry.held(),
            AckVerdict::Requeue => self.put_back(entry, Some(Return::Nack)),
        }
    }

    /// Returns a message that was taken to its place; without a cause, no consumer has seen it.
    pub(super) fn put_back(&mut self, mut entry: Entry, cause: Option<Return>) {
        entry.returned = cause.or(entry.returned);
        self.ready += entry.held();
        // It was in the line, where nothing before it is left.
        self.lane.tree.insert(entry.position, entry);
    }

    /// Releases spare capacity.
    pub(super) fn shrink(&mut self) {
        memory::shrink(&mut self.lane.line);
    }
}

impl Cursor {
    /// For a consumer that wants all messages.
    pub(super) const START: Self = Self(0);
}

impl Lane {
    fn take(&mut self, cursor: Cursor) -> Option<Entry> {
        if cursor == Cursor::START
            && let Some((_, entry)) = self.tree.pop_first()
        {
            return Some(entry);
        }
        let found = self.tree.range(cursor.0..).next();
        if let Some(position) = found.map(|(position, _)| *position) {
            return self.tree.remove(&position);
        }
        let first = self.line.front()?.position;
        for _ in first..cursor.0 {
            let skipped = self.line.pop_front()?;
            self.tree.insert(skipped.position, skipped);
        }
        self.line.pop_front()
    }
}

/// The memory of a message's place in the tree, whose nodes are about two thirds full.
const IN_TREE: usize = size_of::<(u64, Entry)>() * 3 / 2;

#[cfg(test)]
mod tests {
    use stomp_codec::Headers;

    use super::*;
    use crate::engine::destination::Destination;

    fn lanes(messages: u64) -> Lanes {
        let message = Arc::new(Message {
            destination: Destination::parse("/queue/a").unwrap(),
            headers: Headers::new(),
            body: "x".into(),
        });
        let mut lanes = Lanes::default();
        (0..messages).for_each(|id| lanes.push(&message, id, 100));
        lanes
    }

    fn take_all(lanes: &mut Lanes) -> Vec<u64> {
        std::iter::from_fn(|| lanes.take(Cursor::START))
            .map(|entry| entry.id)
            .collect()
    }

    #[test]
    fn a_cursor_leaves_what_is_before_it() {
        let mut lanes = lanes(6);
        assert_eq!(lanes.take(Cursor(2)).map(|entry| entry.id), Some(2));
        assert_eq!(lanes.take(Cursor(1)).map(|entry| entry.id), Some(1));
        assert_eq!(lanes.take(Cursor(1)).map(|entry| entry.id), Some(3));
        assert!(lanes.take(Cursor(6)).is_none());
        assert_eq!(
            (lanes.len(), lanes.held(), lanes.in_flight()),
            (3, 600, 300)
        );
        assert_eq!(take_all(&mut lanes), [0, 4, 5]);
    }

    #[test]
    fn what_returns_is_found_at_its_place_by_every_cursor() {
        let mut lanes = lanes(5);
        let taken: Vec<_> = (0..4).map(|_| lanes.take(Cursor::START).unwrap()).collect();
        for entry in [&taken[3], &taken[1]] {
            lanes.put_back(entry.clone(), None);
        }
        assert_eq!(lanes.take(Cursor(2)).map(|entry| entry.id), Some(3));
        assert_eq!(take_all(&mut lanes), [1, 4]);
    }

    #[test]
    fn the_last_cause_of_a_return_is_kept_until_there_is_another() {
        let mut lanes = lanes(1);
        for (cause, kept) in [
            (None, None),
            (Some(Return::Left), Some(Return::Left)),
            (None, Some(Return::Left)),
            (Some(Return::Lost), Some(Return::Lost)),
        ] {
            let entry = lanes.take(Cursor::START).unwrap();
            lanes.put_back(entry, cause);
            let entry = lanes.take(Cursor::START).unwrap();
            assert_eq!(entry.returned, kept);
            lanes.put_back(entry, None);
        }
    }
}
