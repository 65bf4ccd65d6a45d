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
    replies: Load,
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
    },
    Reply(Bytes),
    /// A Pong or a Close: no data, which is what heart-beats are measured by.
    Control(Bytes),
    Beat(Bytes),
    Ping(Bytes),
}

/// Where the messages of each destination wait that are not partly written, oldest first. Kept
/// only for a policy that drops the oldest, so that a drop costs no search.
type Index = HashMap<Destination, VecDeque<u64>>;

impl Backlog {
    /// An empty backlog that can drop the oldest message of a destination.
    pub fn indexed() -> Self {
        Self {
            index: Some(Index::new()),
            ..Self::default()
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The messages that wait.
    pub fn messages(&self) -> Load {
        self.messages
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
    ) {
        debug_assert!(
            written == 0 || self.items.is_empty(),
            "only the front is partly written"
        );
        self.messages.frames += range.len();
        self.messages.octets += piece.size(&range);
        let place = self.push(Content::Messages {
            piece: Arc::clone(piece),
            range,
            subscription,
        });
        if let Some(index) = &mut self.index {
            index
                .entry(piece.destination().clone())
                .or_default()
                .push_back(place);
        }
        self.advance(written);
    }

    /// Appends a RECEIPT or an ERROR.
    pub fn push_reply(&mut self, reply: Bytes) {
        self.replies.add(reply.len());
        self.push(Content::Reply(reply));
    }

    /// Appends a Pong or a Close.
    pub fn push_control(&mut self, control: Bytes) {
        self.replies.add(control.len());
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

    /// Takes out the oldest message to a destination that is not partly written; `false` if there
    /// is none, or if this backlog is not [`Backlog::indexed`].
    pub fn remove_oldest(&mut self, destination: &Destination) -> bool {
        let Some(places) = self
            .index
            .as_mut()
            .and_then(|index| index.get_mut(destination))
        else {
            return false;
        };
        let Some(&place) = places.front() else {
            return false;
        };
        let first = self.items.partition_point(|item| item.place < place);
        let skip = usize::from(first == 0 && self.written > 0);
        let found = self
            .items
            .range_mut(first + skip..)
            .find_map(|item| match &mut item.content {
                Content::Messages { piece, range, .. } => Some((piece, range)),
                _ => None,
            });
        let Some((piece, range)) = found else {
            return false;
        };
        self.messages.frames -= 1;
        self.messages.octets -= piece.size(&(range.start..range.start + 1));
        range.start += 1;
        if range.start == range.end {
            places.pop_front();
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
        let Some(front) = self.items.front_mut() else {
            return;
        };
        let place = front.place;
        let Content::Messages {
            piece,
            range,
            subscription,
        } = &mut front.content
        else {
            self.written += octets;
            return;
        };
        let begin = piece.start(range.start) + self.written;
        let current = piece.whole(begin + octets);
        if current == range.start && self.written > 0 {
            self.written += octets;
            return;
        }
        let done = range.start..current;
        let size = piece.size(&done);
        self.messages.frames -= done.len();
        self.messages.octets -= size;
        self.written = begin + octets - piece.start(current);
        range.start = current;
        if self.written == 0 {
            return;
        }
        let rest = current + 1..range.end;
        if rest.is_empty() {
            let destination = piece.destination().clone();
            self.unindex(&destination);
            return;
        }
        let content = Content::Messages {
            piece: Arc::clone(piece),
            range: rest,
            subscription: *subscription,
        };
        range.end = current + 1;
        self.items.insert(1, Item { place, content });
    }

    fn pop_front(&mut self) {
        let started = std::mem::take(&mut self.written) > 0;
        let Some(item) = self.items.pop_front() else {
            return;
        };
        match item.content {
            Content::Messages { piece, range, .. } => {
                self.messages.frames -= range.len();
                self.messages.octets -= piece.size(&range);
                if !started {
                    self.unindex(piece.destination());
                }
            }
            Content::Reply(reply) | Content::Control(reply) => {
                self.replies.frames -= 1;
                self.replies.octets -= reply.len();
            }
            Content::Beat(_) => self.beat_waits = false,
            Content::Ping(_) => self.ping_waits = false,
        }
        while self.items.front().is_some_and(Item::is_hollow) {
            self.items.pop_front();
            self.hollow -= 1;
        }
    }

    /// The oldest item with messages to a destination is not one that could be dropped any more.
    fn unindex(&mut self, destination: &Destination) {
        let Some(index) = &mut self.index else { return };
        if let Some(places) = index.get_mut(destination) {
            places.pop_front();
            if places.is_empty() {
                index.remove(destination);
            }
        }
    }

    /// Items in line without messages must not outnumber the others, or a client that reads
    /// nothing would grow the line for ever; at the front there is none at all.
    fn drop_hollow(&mut self) {
        if self.hollow * 2 > self.items.len() || self.items.front().is_some_and(Item::is_hollow) {
            self.items.retain(|item| !item.is_hollow());
            self.hollow = 0;
        }
    }

    fn retain_messages(&mut self, keep: impl Fn(u32) -> bool) {
        let mut at = 0;
        let started = self.written > 0;
        self.items.retain(|item| {
            at += 1;
            match &item.content {
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
        self.hollow = 0;
        if let Some(index) = &mut self.index {
            index.clear();
        }
        for (at, item) in self.items.iter().enumerate() {
            let Content::Messages { piece, range, .. } = &item.content else {
                continue;
            };
            self.messages.frames += range.len();
            self.messages.octets += piece.size(range);
            self.hollow += usize::from(range.is_empty());
            if let Some(index) = self
                .index
                .as_mut()
                .filter(|_| !(range.is_empty() || started && at == 0))
            {
                index
                    .entry(piece.destination().clone())
                    .or_default()
                    .push_back(item.place);
            }
        }
        self.drop_hollow();
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

    fn is_data(&self) -> bool {
        !matches!(self, Self::Control(_) | Self::Ping(_))
    }
}

impl Load {
    fn add(&mut self, octets: usize) {
        self.frames += 1;
        self.octets += octets;
    }
}

/// Frames smaller than this are copied together for one write.
const COALESCE: usize = 64 * 1024;
