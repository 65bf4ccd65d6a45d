//! What waits to be written to one client, in order, within its bounds.
//!
//! A backlog is a value: it knows no socket, no lock and no clock. Messages come as shared
//! [`Piece`]s and are counted, bounded and dropped one by one; replies, heart-beats and frames
//! that are partly written are never dropped.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::encoding::Piece;
use crate::engine::destination::Destination;

use super::progress::Track;

/// Bounds of the messages that wait. Replies are bounded by not reading the client.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Octets.
    pub octets: usize,
    /// Messages.
    pub messages: usize,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub struct Backlog {
    /// The front is never an item without messages; if it is partly written it is one frame.
    items: VecDeque<Item>,
    /// How much of the front is written.
    written: usize,
    messages: Load,
    deliveries: Load,
    replies: Load,
    /// The subscriptions of which deliveries were written, to be asked for by the owner.
    progressed: Vec<u32>,
    beat_waits: bool,
    ping_waits: bool,
    next_place: u64,
    index: Option<Index>,
    /// Items whose messages were all dropped, and that are still in line.
    hollow: usize,
}

/// How much of something waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Frames.
    pub frames: usize,
    /// Octets.
    pub octets: usize,
}

#[derive(Debug)]
struct Item {
    /// Never falls from front to back, so that an item can be found again.
    place: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The messages of this range of a piece, for the subscription of this number.
    Messages {
        piece: Arc<Piece>,
        range: Range<usize>,
        subscription: u32,
        /// If they are deliveries: where to say how far they have come.
        track: Option<Track>,
    },
    Reply(Bytes),
    /// A Pong or a Close: no data, which is what heart-beats are measured by.
    Control(Bytes),
    Beat(Bytes),
    Ping(Bytes),
}

/// What waits of each destination and is not partly written. Kept only for a policy that drops
/// the oldest, so that a drop costs no search.
#[derive(Debug, Default)]
struct Index(HashMap<Destination, Line>);

#[derive(Debug, Default)]
struct Line {
    /// The places of the items with its messages, oldest first.
    places: VecDeque<u64>,
    load: Load,
}

impl Backlog {
    /// An empty backlog that can drop the oldest message of a destination.
    pub fn indexed() -> Self {
        Self {
            index: Some(Index::default()),
            ..Self::default()
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The messages of topics that wait.
    pub fn messages(&self) -> Load {
        self.messages
    }

    /// The deliveries that wait.
    pub fn deliveries(&self) -> Load {
        self.deliveries
    }

    /// Takes the numbers of the subscriptions of which deliveries were written.
    pub fn take_progressed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.progressed)
    }

    /// Whether [`Backlog::take_progressed`] would bring something.
    pub fn has_progressed(&self) -> bool {
        !self.progressed.is_empty()
    }

    /// The replies that wait.
    pub fn replies(&self) -> Load {
        self.replies
    }

    /// Whether a Ping waits.
    pub fn ping_waits(&self) -> bool {
        self.ping_waits
    }

    /// Whether one more message of so many octets fits. A single one always fits.
    pub fn fits(&self, octets: usize, bounds: Bounds) -> bool {
        self.messages.frames == 0
            || (self.messages.frames < bounds.messages
                && self.messages.octets.saturating_add(octets) <= bounds.octets)
    }

    /// Appends messages of a piece. Of the first of them `written` octets may be with the kernel
    /// already, if nothing else waits.
    pub fn push_messages(
        &mut self,
        piece: &Arc<Piece>,
        range: Range<usize>,
        subscription: u32,
        written: usize,
        track: Option<Track>,
    ) {
        debug_assert!(
            written == 0 || self.items.is_empty(),
            "only the front is partly written"
        );
        let load = Load::of(piece, &range);
        let is_topic = track.is_none();
        self.load_mut(is_topic).add(load);
        let place = self.push(Content::Messages {
            piece: Arc::clone(piece),
            range,
            subscription,
            track,
        });
        if let Some(index) = self.index.as_mut().filter(|_| is_topic) {
            index.add(piece.destination(), place, load);
        }
        self.advance(written);
    }

    /// Appends a RECEIPT or an ERROR.
    pub fn push_reply(&mut self, reply: Bytes) {
        self.replies.add(Load::one(reply.len()));
        self.push(Content::Reply(reply));
    }

    /// Appends a Pong or a Close.
    pub fn push_control(&mut self, control: Bytes) {
        self.replies.add(Load::one(control.len()));
        self.push(Content::Control(control));
    }

    /// Appends a heart-beat, unless one waits.
    pub fn push_beat(&mut self, beat: Bytes) {
        if !std::mem::replace(&mut self.beat_waits, true) {
            self.push(Content::Beat(beat));
        }
    }

    /// Puts a Ping before all frames that are not partly written, unless one waits.
    pub fn push_ping(&mut self, ping: Bytes) {
        if !std::mem::replace(&mut self.ping_waits, true) {
            // It shares the place of what it goes before.
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

    /// What to write next: the first frames where they lie, or, if they are small, a copy of
    /// several in `scratch`, which beats writing them one by one. Empty if nothing waits.
    pub fn gather<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let mut slices = self.items.iter().map(|item| item.content.octets());
        let Some(first) = slices.next().map(|first| &first[self.written..]) else {
            return &[];
        };
        if first.len() >= COALESCE || self.items.len() == 1 {
            return first;
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

    /// So many octets of what waits are with the kernel. Says whether data was among them, and
    /// not only Pings, Pongs and Closes.
    pub fn advance(&mut self, mut octets: usize) -> bool {
        let mut data = false;
        while let Some(front) = self.items.front().filter(|_| octets > 0) {
            data |= front.content.is_data();
            let left = front.content.octets().len() - self.written;
            if octets < left {
                self.advance_in_front(octets);
                return data;
            }
            octets -= left;
            self.pop_front();
        }
        data
    }

    /// Takes out the messages of one subscription that are not partly written.
    pub fn remove_subscription(&mut self, number: u32) {
        self.retain_messages(|subscription| subscription != number);
    }

    /// Takes out all messages that are not partly written.
    pub fn remove_messages(&mut self) {
        self.retain_messages(|_| false);
    }

    /// Whether a message of so many octets would fit if older ones to its destination left.
    pub fn could_fit(&self, octets: usize, destination: &Destination, bounds: Bounds) -> bool {
        let own = self
            .index
            .as_ref()
            .map_or_else(Load::default, |index| index.load(destination));
        let others = self.messages.without(own);
        others.frames == 0
            || (others.frames < bounds.messages
                && others.octets.saturating_add(octets) <= bounds.octets)
    }

    /// Takes out the oldest message to a destination that is not partly written; `false` if there
    /// is none, or if this backlog is not [`Backlog::indexed`].
    pub fn remove_oldest(&mut self, destination: &Destination) -> bool {
        let Some(index) = &mut self.index else {
            return false;
        };
        let Some(place) = index.oldest(destination) else {
            return false;
        };
        let first = self.items.partition_point(|item| item.place < place);
        // What is partly written, or a Ping before it, may share the place.
        let skip = usize::from(first == 0 && self.written > 0);
        let mut behind = self.items.range_mut(first + skip..);
        let Some((piece, range)) = behind.find_map(|item| item.content.messages()) else {
            return false;
        };
        let load = Load::of(piece, &(range.start..range.start + 1));
        range.start += 1;
        let hollow = range.start == range.end;
        index.remove(destination, load, hollow);
        self.messages = self.messages.without(load);
        if hollow {
            self.hollow += 1;
            self.drop_hollow();
        }
        true
    }

    fn push(&mut self, content: Content) -> u64 {
        self.next_place += 1;
        self.items.push_back(Item {
            place: self.next_place,
            content,
        });
        self.next_place
    }

    /// A part of the front, less than all of it, is written. If the front is several messages the
    /// ones behind the partly written one become an item of their own.
    fn advance_in_front(&mut self, octets: usize) {
        let started = self.written > 0;
        self.written += octets;
        let Some(Item { place, content }) = self.items.front_mut() else {
            return;
        };
        let (
            false,
            Content::Messages {
                piece,
                range,
                subscription,
                track,
            },
        ) = (started, content)
        else {
            return;
        };
        let start = piece.start(range.start);
        let current = piece.whole(start + octets);
        let done = Load::of(piece, &(range.start..current));
        self.written = start + octets - piece.start(current);
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
        let index = self.index.as_mut().filter(|_| track.is_none());
        if !begun {
            if let Some(index) = index {
                index.remove(piece.destination(), done, false);
            }
            return;
        }
        let rest = current + 1..range.end;
        range.end = current + 1;
        if let Some(index) = index {
            let gone = done.with(Load::of(piece, range));
            index.remove(piece.destination(), gone, rest.is_empty());
        }
        if !rest.is_empty() {
            let place = *place;
            let content = Content::Messages {
                piece: Arc::clone(piece),
                range: rest,
                subscription: *subscription,
                track: track.clone(),
            };
            self.items.insert(1, Item { place, content });
        }
    }

    fn pop_front(&mut self) {
        let started = std::mem::take(&mut self.written) > 0;
        let Some(item) = self.items.pop_front() else {
            return;
        };
        match item.content {
            Content::Messages {
                piece,
                range,
                subscription,
                track,
            } => {
                let load = Load::of(&piece, &range);
                let all = self.load_mut(track.is_none());
                *all = all.without(load);
                if let Some(track) = track {
                    track.advance(range.end, false);
                    if track.reports {
                        report(&mut self.progressed, subscription);
                    }
                } else if let Some(index) = self.index.as_mut().filter(|_| !started) {
                    index.remove(piece.destination(), load, true);
                }
            }
            Content::Reply(reply) | Content::Control(reply) => {
                self.replies = self.replies.without(Load::one(reply.len()));
            }
            Content::Beat(_) => self.beat_waits = false,
            Content::Ping(_) => self.ping_waits = false,
        }
        self.drop_hollow();
    }

    fn load_mut(&mut self, is_topic: bool) -> &mut Load {
        if is_topic {
            &mut self.messages
        } else {
            &mut self.deliveries
        }
    }

    /// At the front there is no item without messages, and elsewhere they do not outnumber the
    /// others, or a client that reads nothing would grow the line for ever.
    fn drop_hollow(&mut self) {
        while self.items.front().is_some_and(Item::is_hollow) {
            self.items.pop_front();
            self.hollow -= 1;
        }
        if self.hollow * 2 > self.items.len() {
            self.items.retain(|item| !item.is_hollow());
            self.hollow = 0;
        }
    }

    fn retain_messages(&mut self, keep: impl Fn(u32) -> bool) {
        if self.messages.frames == 0 && self.deliveries.frames == 0 {
            return;
        }
        let started = self.written > 0;
        let mut at = 0;
        self.items.retain(|item| {
            at += 1;
            match &item.content {
                Content::Messages { range, .. } if range.is_empty() => false,
                Content::Messages { subscription, .. } => {
                    (started && at == 1) || keep(*subscription)
                }
                _ => true,
            }
        });
        self.recount(started);
    }

    fn recount(&mut self, started: bool) {
        self.messages = Load::default();
        self.deliveries = Load::default();
        self.hollow = 0;
        let mut index = self.index.as_mut();
        if let Some(index) = &mut index {
            index.0.clear();
        }
        for (at, item) in self.items.iter().enumerate() {
            let Content::Messages {
                piece,
                range,
                track,
                ..
            } = &item.content
            else {
                continue;
            };
            let load = Load::of(piece, range);
            if track.is_some() {
                self.deliveries.add(load);
                continue;
            }
            self.messages.add(load);
            if let Some(index) = index.as_mut().filter(|_| !started || at > 0) {
                index.add(piece.destination(), item.place, load);
            }
        }
    }
}

impl Index {
    fn add(&mut self, destination: &Destination, place: u64, load: Load) {
        let line = self.0.entry(destination.clone()).or_default();
        line.places.push_back(place);
        line.load.add(load);
    }

    /// Some of the oldest messages are not to be dropped any more; with `item` none are left at the
    /// oldest place.
    fn remove(&mut self, destination: &Destination, load: Load, item: bool) {
        let Some(line) = self.0.get_mut(destination) else {
            return;
        };
        line.load = line.load.without(load);
        if item {
            line.places.pop_front();
        }
        if line.places.is_empty() {
            self.0.remove(destination);
        }
    }

    fn oldest(&self, destination: &Destination) -> Option<u64> {
        self.0.get(destination)?.places.front().copied()
    }

    fn load(&self, destination: &Destination) -> Load {
        self.0
            .get(destination)
            .map_or_else(Load::default, |line| line.load)
    }
}

impl Item {
    fn is_hollow(&self) -> bool {
        matches!(&self.content, Content::Messages { range, .. } if range.is_empty())
    }
}

impl Content {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Messages { piece, range, .. } => {
                let begin = piece.start(range.start);
                &piece.octets()[begin..begin + piece.size(range)]
            }
            Self::Reply(octets)
            | Self::Control(octets)
            | Self::Beat(octets)
            | Self::Ping(octets) => octets,
        }
    }

    fn messages(&mut self) -> Option<(&Piece, &mut Range<usize>)> {
        match self {
            Self::Messages { piece, range, .. } => Some((piece, range)),
            _ => None,
        }
    }

    fn is_data(&self) -> bool {
        !matches!(self, Self::Control(_) | Self::Ping(_))
    }
}

impl Load {
    fn one(octets: usize) -> Self {
        Self { frames: 1, octets }
    }

    fn of(piece: &Piece, range: &Range<usize>) -> Self {
        Self {
            frames: range.len(),
            octets: piece.size(range),
        }
    }

    fn add(&mut self, other: Self) {
        *self = self.with(other);
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            octets: self.octets + other.octets,
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            frames: self.frames - other.frames,
            octets: self.octets - other.octets,
        }
    }
}

fn report(progressed: &mut Vec<u32>, subscription: u32) {
    // Most often it is one subscription again and again.
    if !progressed.contains(&subscription) {
        progressed.push(subscription);
    }
}

/// Frames smaller than this are copied together for one write.
const COALESCE: usize = 64 * 1024;
