//! The data queued for one client, in order and bounded.
//!
//! A backlog is a value: it has no socket, no lock and no clock. Messages arrive as shared
//! [`EncodedRun`]s and are counted, bounded and dropped one by one; replies, heart-beats and frames
//! that are partly written are never dropped.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::encoding::EncodedRun;
use crate::engine::destination::Destination;

use super::index::Index;
use super::item::{Content, Item};
use super::load::{OutboxBounds, OutboxLoad};
use super::progress::Track;

/// The data queued for one client.
#[derive(Debug, Default)]
pub struct Backlog {
    /// The front is never an item without messages; if it is partly written it is a single frame.
    items: VecDeque<Item>,
    /// Number of bytes of the front that are written.
    written: usize,
    messages: OutboxLoad,
    deliveries: OutboxLoad,
    replies: OutboxLoad,
    /// The subscriptions whose deliveries were written, until the owner takes them.
    progressed: BTreeSet<u32>,
    beat_waits: bool,
    ping_waits: bool,
    next_place: u64,
    index: Index,
    /// Number of items in the line whose messages were all dropped.
    hollow: usize,
    /// Everything written so far.
    drained: OutboxLoad,
}

/// Messages that were removed.
#[derive(Debug)]
pub struct Removed {
    #[expect(dead_code, reason = "they are kept to be dropped later")]
    items: VecDeque<Item>,
    bytes: usize,
}

impl Backlog {
    /// Returns an empty backlog that can drop the oldest message of a destination.
    pub fn indexed() -> Self {
        Self {
            index: Index::with_destinations(),
            ..Self::default()
        }
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns the load of queued messages of topics.
    pub fn messages(&self) -> OutboxLoad {
        self.messages
    }

    /// Returns the load of queued deliveries.
    pub fn deliveries(&self) -> OutboxLoad {
        self.deliveries
    }

    /// Takes the numbers of the subscriptions whose deliveries were written.
    pub fn take_progressed(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.progressed)
    }

    /// Whether [`Backlog::take_progressed`] would return anything.
    pub fn has_progressed(&self) -> bool {
        !self.progressed.is_empty()
    }

    /// Returns the load of queued replies.
    pub fn replies(&self) -> OutboxLoad {
        self.replies
    }

    /// Whether a Ping is queued.
    pub fn ping_waits(&self) -> bool {
        self.ping_waits
    }

    /// Returns the load of all messages and deliveries written so far.
    pub fn drained(&self) -> OutboxLoad {
        self.drained
    }

    /// Number of bytes of the queued messages of topics, including what is counted for their
    /// encoded runs.
    pub fn message_bytes(&self, bounds: OutboxBounds) -> usize {
        self.messages.bytes + self.items.len() * bounds.per_run
    }

    /// Number of bytes of memory that this backlog takes, without encoded runs, which clients
    /// share.
    pub fn memory(&self) -> usize {
        // Most of the spare capacity was never touched, so it uses no memory yet.
        let places = self.items.len().max(self.items.capacity() / 4);
        places * (size_of::<Item>() + size_of::<u64>()) + self.replies.bytes
    }

    /// Whether one more message of `bytes` fits. A single one always fits.
    pub fn fits(&self, bytes: usize, bounds: OutboxBounds) -> bool {
        let held = self.message_bytes(bounds) + bounds.per_run;
        self.messages.frames == 0
            || (self.messages.frames < bounds.messages
                && held.saturating_add(bytes) <= bounds.bytes)
    }

    /// Whether all these messages of an encoded run fit.
    pub fn fits_all(
        &self,
        encoded: &EncodedRun,
        range: &Range<usize>,
        bounds: OutboxBounds,
    ) -> bool {
        let held = self.message_bytes(bounds) + bounds.per_run;
        self.messages.frames + range.len() <= bounds.messages
            && held + encoded.size(range) <= bounds.bytes
    }

    /// Appends messages of an encoded run. If nothing else is queued, the kernel may already have
    /// taken `written` bytes of the first of them.
    pub fn push_messages(
        &mut self,
        encoded: &Arc<EncodedRun>,
        range: Range<usize>,
        subscription: u32,
        written: usize,
        track: Option<Track>,
    ) {
        debug_assert!(
            written == 0 || self.items.is_empty(),
            "only the front is partly written"
        );
        encoded.wait();
        let load = OutboxLoad::of(encoded, &range);
        let is_topic = track.is_none();
        self.load_mut(is_topic).add(load);
        let place = self.push(Content::Messages {
            encoded: Arc::clone(encoded),
            range,
            subscription,
            track,
        });
        self.index.add(encoded, subscription, is_topic, place, load);
        self.advance(written);
    }

    /// Appends a RECEIPT or an ERROR.
    pub fn push_reply(&mut self, reply: Bytes) {
        self.replies.add(OutboxLoad::one(reply.len()));
        self.push(Content::Reply(reply));
    }

    /// Appends a Pong or a Close.
    pub fn push_control(&mut self, control: Bytes) {
        self.replies.add(OutboxLoad::one(control.len()));
        self.push(Content::Control(control));
    }

    /// Appends a heart-beat, unless one is queued.
    pub fn push_beat(&mut self, beat: Bytes) {
        if !std::mem::replace(&mut self.beat_waits, true) {
            self.push(Content::Beat(beat));
        }
    }

    /// Inserts a Ping before all frames that are not partly written, unless one is queued.
    pub fn push_ping(&mut self, ping: Bytes) {
        if !std::mem::replace(&mut self.ping_waits, true) {
            // It shares the place of the item that it precedes.
            let place = self
                .items
                .front()
                .map_or(self.next_place, |front| front.place);
            let at = usize::from(self.written > 0);
            self.items.insert(
                at,
                Item {
                    place,
                    content: Content::Ping(ping),
                },
            );
        }
    }

    /// Returns what to write next: the first frames in place or, if they are small, a copy of
    /// several in `scratch`, which is faster than writing them one by one. Empty if nothing is
    /// queued.
    pub fn gather<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let mut slices = self.items.iter().map(|item| item.content.bytes());
        let Some(first) = slices.next().map(|first| &first[self.written..]) else {
            return &[];
        };
        if first.len() >= COALESCE || self.items.len() == 1 {
            return &first[..first.len().min(AT_ONCE)];
        }
        scratch.clear();
        scratch.extend_from_slice(first);
        for slice in slices {
            let room = COALESCE - scratch.len();
            if slice.len() > room {
                break;
            }
            scratch.extend_from_slice(slice);
        }
        scratch
    }

    /// Removes the first `bytes` of the backlog, which the kernel has taken. Returns whether they
    /// included data, that is more than Pings, Pongs and Closes.
    pub fn advance(&mut self, mut bytes: usize) -> bool {
        let mut data = false;
        while let Some(front) = self.items.front().filter(|_| bytes > 0) {
            data |= front.content.is_data();
            let left = front.content.bytes().len() - self.written;
            if bytes < left {
                self.advance_in_front(bytes);
                return data;
            }
            bytes -= left;
            self.pop_front();
        }
        data
    }

    /// Removes the messages of one subscription that are not partly written. Costs a search for
    /// each of them, and nothing for those of other subscriptions.
    pub fn remove_subscription(&mut self, number: u32) {
        let Some(places) = self.index.take_subscription(number) else {
            return;
        };
        for place in places {
            let Some(item) = self.find(place) else {
                continue;
            };
            let content = std::mem::replace(&mut item.content, Content::Hollow);
            let Content::Messages {
                encoded,
                range,
                track,
                ..
            } = &content
            else {
                item.content = content;
                continue;
            };
            let (load, is_topic) = (OutboxLoad::of(encoded, range), track.is_none());
            let all = self.load_mut(is_topic);
            *all = all.without(load);
            self.hollow += 1;
            if is_topic {
                self.index
                    .remove_from_destination(encoded.destination(), load, 0);
            }
        }
        self.drop_hollow();
    }

    /// Removes all messages that are not partly written. Returns them, because dropping them takes
    /// time and is better not done under a lock.
    pub fn remove_messages(&mut self) -> Removed {
        let before = self.messages.bytes + self.deliveries.bytes;
        let all = std::mem::take(&mut self.items);
        let started = self.written > 0;
        let (mut kept, mut removed) = (VecDeque::new(), VecDeque::new());
        for (at, item) in all.into_iter().enumerate() {
            match item.content {
                Content::Hollow => {}
                Content::Messages { .. } if !started || at > 0 => removed.push_back(item),
                _ => kept.push_back(item),
            }
        }
        self.items = kept;
        self.recount();
        let left = self.messages.bytes + self.deliveries.bytes;
        Removed {
            items: removed,
            bytes: before - left,
        }
    }

    /// Removes everything that is queued.
    pub fn clear(&mut self) -> Removed {
        let all = std::mem::take(self);
        Removed {
            bytes: all.messages.bytes + all.deliveries.bytes + all.replies.bytes,
            items: all.items,
        }
    }

    /// Whether a message of `bytes` would fit if older ones to its destination were removed.
    pub fn could_fit(&self, bytes: usize, destination: &Destination, bounds: OutboxBounds) -> bool {
        let own = self.index.load(destination);
        let others = self.messages.without(own);
        others.frames == 0
            || (others.frames < bounds.messages
                && (others.bytes + bounds.per_run).saturating_add(bytes) <= bounds.bytes)
    }

    /// Removes the oldest message to a destination that is not partly written; `false` if there is
    /// none, or if this backlog is not [`Backlog::indexed`].
    pub fn remove_oldest(&mut self, destination: &Destination) -> bool {
        while let Some(place) = self.index.oldest(destination) {
            let Some(item) = self.find(place) else {
                self.index
                    .remove_from_destination(destination, OutboxLoad::default(), place);
                continue;
            };
            let Content::Messages {
                encoded,
                range,
                subscription,
                ..
            } = &mut item.content
            else {
                self.index
                    .remove_from_destination(destination, OutboxLoad::default(), place);
                continue;
            };
            let (subscription, load) = (
                *subscription,
                OutboxLoad::of(encoded, &(range.start..range.start + 1)),
            );
            range.start += 1;
            let hollow = range.start == range.end;
            if hollow {
                item.content = Content::Hollow;
            }
            let gone = if hollow { place } else { 0 };
            self.index.remove_from_destination(destination, load, gone);
            self.index.remove_from_subscription(subscription, load, 0);
            self.messages = self.messages.without(load);
            if hollow {
                self.hollow += 1;
                self.drop_hollow();
            }
            return true;
        }
        false
    }

    /// Returns the messages at this place, if they exist and are not partly written.
    fn find(&mut self, place: u64) -> Option<&mut Item> {
        let first = self.items.partition_point(|item| item.place < place);
        // A partly written item, or a Ping before it, may share the place.
        let skip = usize::from(first == 0 && self.written > 0);
        let mut behind = self.items.range_mut(first + skip..);
        let found = behind.find(|item| item.place > place || item.is_messages());
        found.filter(|item| item.place == place)
    }

    fn push(&mut self, content: Content) -> u64 {
        self.next_place += 1;
        self.items.push_back(Item {
            place: self.next_place,
            content,
        });
        self.next_place
    }

    /// Handles a write of less than the whole front. If the front has several messages, those
    /// behind the partly written one become a separate item.
    fn advance_in_front(&mut self, bytes: usize) {
        let started = self.written > 0;
        self.written += bytes;
        self.drained.bytes += bytes;
        let Some(Item { place, content }) = self.items.front_mut() else {
            return;
        };
        let (
            false,
            Content::Messages {
                encoded,
                range,
                subscription,
                track,
            },
        ) = (started, content)
        else {
            return;
        };
        let start = encoded.start(range.start);
        let current = encoded.whole(start + bytes);
        let done = OutboxLoad::of(encoded, &(range.start..current));
        self.written = start + bytes - encoded.start(current);
        range.start = current;
        let begun = self.written > 0;
        if let Some(track) = track {
            track.advance(current, begun);
            if track.reports && done.frames > 0 {
                report(&mut self.progressed, *subscription);
            }
        }
        let load = match track {
            None => &mut self.messages,
            Some(_) => &mut self.deliveries,
        };
        *load = load.without(done);
        self.drained.frames += done.frames;
        let (number, place, is_topic) = (*subscription, *place, track.is_none());
        if !begun {
            self.index.remove(encoded, number, is_topic, done, 0);
            return;
        }
        let rest = current + 1..range.end;
        range.end = current + 1;
        let gone = done.with(OutboxLoad::of(encoded, range));
        let last = if rest.is_empty() { place } else { 0 };
        self.index.remove(encoded, number, is_topic, gone, last);
        if !rest.is_empty() {
            let content = Content::Messages {
                encoded: Arc::clone(encoded),
                range: rest,
                subscription: number,
                track: track.clone(),
            };
            self.items.insert(1, Item { place, content });
        }
    }

    fn pop_front(&mut self) {
        let written = std::mem::take(&mut self.written);
        let Some(Item { place, content }) = self.items.pop_front() else {
            return;
        };
        self.drained.bytes += content.bytes().len() - written;
        match content {
            Content::Messages {
                encoded,
                range,
                subscription,
                track,
            } => {
                let (load, is_topic) = (OutboxLoad::of(&encoded, &range), track.is_none());
                let all = self.load_mut(is_topic);
                *all = all.without(load);
                self.drained.frames += load.frames;
                if let Some(track) = track {
                    track.advance(range.end, false);
                    if track.reports {
                        report(&mut self.progressed, subscription);
                    }
                }
                if written == 0 {
                    self.index
                        .remove(&encoded, subscription, is_topic, load, place);
                }
            }
            Content::Reply(reply) | Content::Control(reply) => {
                self.replies = self.replies.without(OutboxLoad::one(reply.len()));
            }
            Content::Beat(_) => self.beat_waits = false,
            Content::Ping(_) => self.ping_waits = false,
            Content::Hollow => self.hollow -= 1,
        }
        self.drop_hollow();
    }

    fn load_mut(&mut self, is_topic: bool) -> &mut OutboxLoad {
        if is_topic {
            &mut self.messages
        } else {
            &mut self.deliveries
        }
    }

    /// Ensures that the front is never an item without messages and that elsewhere such items do
    /// not outnumber the others; otherwise the line would grow without limit for a client that
    /// reads nothing. A line that was long releases its spare capacity.
    fn drop_hollow(&mut self) {
        while self.items.front().is_some_and(Item::is_hollow) {
            self.items.pop_front();
            self.hollow -= 1;
        }
        if self.hollow * 2 > self.items.len() {
            self.items.retain(|item| !item.is_hollow());
            self.hollow = 0;
            self.recount();
        }
        if self.items.is_empty() && self.items.capacity() > SPARE {
            self.items = VecDeque::new();
        }
    }

    fn recount(&mut self) {
        self.messages = OutboxLoad::default();
        self.deliveries = OutboxLoad::default();
        self.hollow = 0;
        self.index.clear();
        let started = self.written > 0;
        for (at, item) in self.items.iter().enumerate() {
            let Content::Messages {
                encoded,
                range,
                track,
                subscription,
            } = &item.content
            else {
                continue;
            };
            let (load, is_topic) = (OutboxLoad::of(encoded, range), track.is_none());
            if is_topic {
                self.messages.add(load);
            } else {
                self.deliveries.add(load);
            }
            if !started || at > 0 {
                self.index
                    .add(encoded, *subscription, is_topic, item.place, load);
            }
        }
    }
}

impl Removed {
    /// Returns the number of bytes of these messages.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn report(progressed: &mut BTreeSet<u32>, subscription: u32) {
    progressed.insert(subscription);
}

/// Spare capacity of a line that is not worth releasing.
const SPARE: usize = 16;

/// Maximum number of bytes of an encoded run that are written with one call: the kernel would take
/// megabytes, and other tasks would wait for that. The client's own task writes the rest in its
/// turns.
pub const AT_ONCE: usize = 256 * 1024;

/// Frames smaller than this are copied together for one write.
const COALESCE: usize = 64 * 1024;
