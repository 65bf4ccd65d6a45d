//! The outgoing side of one client: a bounded queue, and the socket behind it.
//!
//! A task that has data for a client writes it to the socket at once, under the outbox's lock and
//! without waiting. A publisher's task thus serves its subscribers itself. Only what the kernel
//! does not take is queued here, and the client's own task writes it when the socket is ready
//! again. So a slow client costs its publishers one failed attempt and no more.
//!
//! While data is queued, no task writes ahead of it. This also keeps the replies in order: the
//! client's own task appends them, and writes them when its step is done.

mod allowance;
mod backlog;
mod inbox;
mod index;
mod item;
mod load;
mod patience;
mod progress;
mod state;
mod subscriber;
mod wake;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use crate::encoding::EncodedRun;
use crate::engine::heart_beat::OutboundState;

pub use self::allowance::Allowance;
pub use self::backlog::{AT_ONCE, Backlog, Removed};
pub use self::inbox::Notice;
pub use self::load::{OutboxBounds, OutboxLoad, Policy, RUN_OVERHEAD, Traffic};
pub use self::patience::Press;
pub use self::progress::{Progress, Track};
pub use self::state::Wire;
pub use self::subscriber::{Subscriber, SubscriberId};

use self::state::State;
use self::wake::Wake;

/// The outgoing side of one client.
#[derive(Debug)]
pub struct Outbox {
    policy: Policy,
    state: Mutex<State>,
    wake: Wake,
    allowance: Allowance,
}

/// The result of pushing messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Number of messages that were accepted and not dropped in the same call.
    pub accepted: usize,
    /// Number of messages, these or older ones, dropped because the outbox was full.
    pub dropped: usize,
    /// No other task will write what was accepted: call [`Outbox::flush_for_owner`].
    pub flush: bool,
    /// Number of bytes that the socket took.
    pub written: usize,
    /// The publisher should wait for the client because much is queued, see [`Outbox::press`].
    pub pressed: bool,
}

/// The result of pushing deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Whether they were accepted; if not, the subscription or the connection has ended.
    pub taken: bool,
    /// Whether the queue must stop granting because many are queued, see [`Outbox::wait_for_room`].
    pub full: bool,
}

/// Progress of deliveries since the client's own task last asked.
#[derive(Debug, Default)]
pub struct News {
    /// The numbers of the reporting subscriptions whose deliveries were written.
    pub written: Vec<u32>,
    /// The numbers of the subscriptions that waited for room and now have it.
    pub room: Vec<u32>,
}

/// The state after [`Outbox::flush`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is queued.
    All,
    /// The socket takes no more now.
    Blocked,
    /// The turn is over; more can be written at once.
    Some,
}

/// When to write what is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// At once, if nothing is queued.
    Now,
    /// Later, by [`Outbox::flush`]: more will be pushed first.
    Later,
}

impl Outbox {
    /// Returns an empty outbox for a socket.
    pub fn new(wire: Arc<dyn Wire>, policy: Policy, now: Instant) -> Self {
        Self {
            policy,
            state: Mutex::new(State::new(wire, policy, now)),
            wake: Wake::default(),
            allowance: Allowance::default(),
        }
    }

    /// The total that the client's private queues hold.
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Pushes the messages of an encoded run for the subscription with this number, unless that has
    /// `ended`.
    pub fn push(
        &self,
        encoded: &Arc<EncodedRun>,
        number: u32,
        ended: &AtomicBool,
        write: Write,
        now: Instant,
    ) -> Pushed {
        let mut state = self.lock();
        if !state.open || ended.load(Ordering::Relaxed) {
            return Pushed::default();
        }
        let was_empty = state.backlog.is_empty();
        let written = match write {
            Write::Now if was_empty => state.write_at_once(encoded.bytes(), now),
            Write::Now | Write::Later => 0,
        };
        if written == encoded.bytes().len() {
            state.traffic.frames += encoded.len() as u64;
            return Pushed {
                accepted: encoded.len(),
                written,
                ..Pushed::default()
            };
        }
        let mut pushed = state.enqueue(encoded, number, written, self.policy, now);
        state.traffic.frames += pushed.accepted as u64;
        pushed.flush = was_empty && write == Write::Later;
        // The task of a busy client may take long to write what others have queued for it.
        if !was_empty && state.is_writable() && state.backlog.messages().bytes >= MUCH {
            pushed.written += state.write_for_owner(now);
        }
        pushed.pressed = state.press(self.policy, now) == Press::Holds;
        if !state.inbox.is_empty() || (was_empty && write == Write::Now) {
            drop(state);
            self.wake.call();
        }
        pushed
    }

    /// Whether publishers should wait for the client: much is queued, the time of
    /// [`Policy::patience`] is not used up, and it makes progress. A client that was disconnected
    /// is given up.
    pub fn press(&self, now: Instant) -> Press {
        self.lock().press(self.policy, now)
    }

    /// Pushes deliveries of a queue for the subscription with this number, unless that has `ended`.
    /// They are never dropped: the queue must stop granting when there are many.
    pub fn deliver(
        &self,
        encoded: &Arc<EncodedRun>,
        number: u32,
        ended: &AtomicBool,
        track: Track,
        now: Instant,
    ) -> Delivered {
        let mut state = self.lock();
        if !state.open || ended.load(Ordering::Relaxed) {
            return Delivered::default();
        }
        if state.is_full_of_deliveries(self.policy.bounds) {
            return Delivered {
                taken: false,
                full: true,
            };
        }
        let was_empty = state.backlog.is_empty();
        let mut written = 0;
        if was_empty {
            written = state.write_at_once(encoded.bytes(), now);
        }
        let whole = encoded.whole(written);
        if whole > 0 {
            track.advance(whole, false);
        }
        if whole < encoded.len() {
            let part = written - encoded.start(whole);
            let rest = whole..encoded.len();
            state
                .backlog
                .push_messages(encoded, rest, number, part, Some(track));
        }
        state.traffic.frames += encoded.len() as u64;
        let full = state.is_full_of_deliveries(self.policy.bounds);
        let wake = was_empty && whole < encoded.len();
        drop(state);
        if wake {
            self.wake.call();
        }
        Delivered { taken: true, full }
    }

    /// Whether there is room for deliveries of this subscription again. If not, the client's own
    /// task learns of it later from [`Outbox::take_news`].
    pub fn wait_for_room(&self, number: u32) -> bool {
        let mut state = self.lock();
        if !state.open || state.has_room(self.policy.bounds) {
            return true;
        }
        state.waiting.insert(number);
        false
    }

    /// Takes the progress of deliveries.
    pub fn take_news(&self) -> News {
        let mut state = self.lock();
        let room = if !state.waiting.is_empty() && state.has_room(self.policy.bounds) {
            std::mem::take(&mut state.waiting)
        } else {
            BTreeSet::new()
        };
        News {
            written: state.backlog.take_progressed().into_iter().collect(),
            room: room.into_iter().collect(),
        }
    }

    /// Appends a RECEIPT or an ERROR, which [`Outbox::flush`] writes.
    pub fn reply(&self, reply: Bytes, now: Instant) {
        self.append(|state| {
            state.replies_since.get_or_insert(now);
            state.backlog.push_reply(reply);
        });
    }

    /// Like [`Outbox::reply`], but no other task writes until [`Outbox::release`]: the RECEIPT of a
    /// SUBSCRIBE must not be sent before publishers can see the subscription.
    pub fn reply_and_hold(&self, reply: Bytes, now: Instant) {
        self.append(|state| {
            state.replies_since.get_or_insert(now);
            state.backlog.push_reply(reply);
            state.held = true;
        });
    }

    /// Ends what [`Outbox::reply_and_hold`] started.
    pub fn release(&self) {
        self.lock().held = false;
    }

    /// Appends a Pong or a Close, which [`Outbox::flush`] writes.
    pub fn control(&self, control: Bytes, now: Instant) {
        self.append(|state| {
            state.replies_since.get_or_insert(now);
            state.backlog.push_control(control);
        });
    }

    /// Appends a heart-beat, which [`Outbox::flush`] writes.
    pub fn beat(&self, beat: Bytes) {
        self.append(|state| state.backlog.push_beat(beat));
    }

    /// Inserts a Ping before everything that is not partly written; [`Outbox::flush`] writes it.
    /// Returns `false` if one is already queued.
    pub fn ping(&self, ping: Bytes) -> bool {
        let mut first = false;
        self.append(|state| {
            first = !state.backlog.ping_waits();
            if first {
                state.ping_progress = None;
                state.backlog.push_ping(ping);
            }
        });
        first
    }

    /// Ends a subscription: none of its messages is accepted from now on, and the queued ones are
    /// removed, except a frame that is partly written. Returns the number of messages removed.
    pub fn end_subscription(&self, number: u32, ended: &AtomicBool) -> usize {
        let mut state = self.lock();
        ended.store(true, Ordering::Relaxed);
        let before = state.backlog.messages().frames;
        state.backlog.remove_subscription(number);
        state.waiting.remove(&number);
        before - state.backlog.messages().frames
    }

    /// Accepts no more messages and drops the queued ones, except one that is partly written.
    /// Returns how many were dropped, and the removed messages for the caller to free.
    pub fn end(&self) -> (usize, Removed) {
        let mut state = self.lock();
        state.open = false;
        let before = state.backlog.messages().frames;
        let removed = state.backlog.remove_messages();
        (before - state.backlog.messages().frames, removed)
    }

    /// Releases the socket. Returns what was queued, for the caller to free.
    pub fn close(&self) -> Removed {
        let mut state = self.lock();
        state.open = false;
        state.wire = None;
        let removed = state.backlog.clear();
        drop(state);
        self.wake.forget();
        removed
    }

    /// Writes queued data until the socket takes no more or the turn is over.
    ///
    /// # Errors
    /// Any error that ended the connection.
    pub fn flush(&self, now: Instant) -> io::Result<Flushed> {
        let mut turn = 0;
        while turn < TURN {
            // One system call for each time the lock is taken: publishers may wait for it.
            match self.lock().write_once(now)? {
                (bytes, Flushed::Some) => turn += bytes,
                (_, flushed) => return Ok(flushed),
            }
        }
        Ok(Flushed::Some)
    }

    /// Like [`Outbox::flush`], but writes once and from another task than the client's own, which
    /// is woken if anything is left to do. Returns the number of bytes that the socket took.
    pub fn flush_for_owner(&self, now: Instant) -> usize {
        let mut state = self.lock();
        if state.held {
            return 0;
        }
        let bytes = state.write_for_owner(now);
        let is_done = state.backlog.is_empty() && state.inbox.is_empty();
        if is_done && !state.has_news(self.policy.bounds) {
            return bytes;
        }
        drop(state);
        self.wake.call();
        bytes
    }

    /// Sends a notice to the client's own task.
    pub fn notify(&self, notice: Notice) {
        self.lock().inbox.push(notice);
        self.wake.call();
    }

    /// Takes the most urgent notice to the client's own task.
    pub fn take_notice(&self) -> Option<Notice> {
        self.lock().inbox.take()
    }

    /// Whether [`Outbox::take_notice`] would return anything.
    pub fn has_notices(&self) -> bool {
        !self.lock().inbox.is_empty()
    }

    /// Waits until the client's own task has something to do here.
    pub async fn woken(&self) {
        self.wake.called().await;
    }

    /// Returns what heart-beats need to know.
    pub fn outbound_state(&self) -> OutboundState {
        let state = self.lock();
        let replies_since = state
            .replies_since
            .filter(|_| state.backlog.replies().frames > 0);
        OutboundState {
            last_data: state.last_data,
            last_write: state.last_write,
            open: state.wire.is_some(),
            blocked: state.blocked && !state.backlog.is_empty(),
            replies_stuck: replies_since.map(|since| since.max(state.last_write)),
            ping_progress: state.ping_progress,
        }
    }

    /// Whether so many replies are queued, with those that `wait` elsewhere, that reading from the
    /// client must pause.
    pub fn is_full_of_replies(&self, wait: OutboxLoad) -> bool {
        let OutboxLoad { frames, bytes } = self.lock().backlog.replies().with(wait);
        let bounds = self.policy.bounds;
        frames >= bounds.messages || bytes + frames * bounds.per_run >= bounds.bytes
    }

    /// Returns what is queued: messages, deliveries, RECEIPTs and ERRORs.
    pub fn load(&self) -> OutboxLoad {
        let state = self.lock();
        let backlog = &state.backlog;
        let [messages, deliveries] = [backlog.messages(), backlog.deliveries()];
        messages.with(deliveries).with(backlog.replies())
    }

    /// Returns how many messages and deliveries were accepted so far, and how many bytes of all
    /// kinds the socket took.
    pub fn traffic(&self) -> Traffic {
        self.lock().traffic
    }

    /// Number of bytes of memory that queued data takes, without encoded runs, which clients share.
    pub fn memory(&self) -> usize {
        self.lock().backlog.memory()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.lock().backlog.is_empty()
    }

    /// Appends, unless the socket was released: then the data is discarded.
    fn append(&self, append: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        if state.wire.is_some() {
            append(&mut state);
        }
    }

    /// The lock is held for a few instructions and one non-blocking system call; for more calls
    /// only when a message does not fit and the socket may take what precedes it. A panic under the
    /// lock leaves the backlog consistent, so poison is ignored.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When this number of bytes is queued, a task that pushes more also writes some.
const MUCH: usize = 64 * 1024;

/// Maximum number of bytes in one turn, so that clients with long backlogs do not delay others.
const TURN: usize = 64 * 1024;
