//! What the lock of an outbox protects: the backlog, and the socket behind it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::config::SlowConsumer;
use crate::encoding::EncodedRun;
use crate::engine::refusal::Refusal;

use super::backlog::{AT_ONCE, Backlog};
use super::inbox::{Inbox, Notice};
use super::load::{OutboxBounds, OutboxLoad, Policy, Traffic};
use super::patience::{Patience, Press};
use super::{Flushed, Pushed};

/// What an outbox writes to. Never blocks: it refuses what the kernel cannot take now with
/// [`io::ErrorKind::WouldBlock`].
pub trait Wire: fmt::Debug + Send + Sync {
    /// Writes some of the bytes.
    ///
    /// # Errors
    /// `WouldBlock`, or any error that ends the connection.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

#[derive(Debug)]
pub(super) struct State {
    /// `None` after the end.
    pub(super) wire: Option<Arc<dyn Wire>>,
    pub(super) backlog: Backlog,
    /// Whether messages are still accepted.
    pub(super) open: bool,
    /// Whether the socket took only a part of the last write.
    pub(super) blocked: bool,
    /// Whether only the client's own task may write, because it is within a step.
    pub(super) held: bool,
    pub(super) inbox: Inbox,
    /// The subscriptions whose queues wait for room.
    pub(super) waiting: BTreeSet<u32>,
    /// Allocated when first needed, as few clients are slow.
    patience: Option<Box<Patience>>,
    pub(super) last_data: Instant,
    pub(super) last_write: Instant,
    pub(super) replies_since: Option<Instant>,
    pub(super) ping_progress: Option<Instant>,
    /// The messages and deliveries that were accepted, and the bytes that the socket took.
    pub(super) traffic: Traffic,
}

impl State {
    pub(super) fn new(wire: Arc<dyn Wire>, policy: Policy, now: Instant) -> Self {
        let backlog = match policy.slow_consumer {
            SlowConsumer::Disconnect => Backlog::default(),
            SlowConsumer::DropOldest => Backlog::indexed(),
        };
        Self {
            wire: Some(wire),
            backlog,
            open: true,
            blocked: false,
            held: false,
            inbox: Inbox::default(),
            waiting: BTreeSet::new(),
            patience: None,
            last_data: now,
            last_write: now,
            replies_since: None,
            ping_progress: None,
            traffic: Traffic::default(),
        }
    }

    /// Tries to write directly if the backlog is empty. The client's own task retries after an
    /// error, and reports it.
    pub(super) fn write_at_once(&mut self, bytes: &[u8], now: Instant) -> usize {
        let bytes = &bytes[..bytes.len().min(AT_ONCE)];
        let done = self.wire.as_ref().map(|wire| wire.try_write(bytes));
        let written = done.and_then(Result::ok).unwrap_or_default();
        self.blocked = written < bytes.len();
        if written > 0 {
            self.traffic.bytes += written as u64;
            self.last_data = self.last_data.max(now);
            self.last_write = self.last_write.max(now);
        }
        written
    }

    /// Writes once. Returns how many bytes the socket took, and what is left.
    pub(super) fn write_once(&mut self, now: Instant) -> io::Result<(usize, Flushed)> {
        match self.write_some(now) {
            Ok(0) => Ok((0, Flushed::All)),
            Ok(bytes) if self.backlog.is_empty() => Ok((bytes, Flushed::All)),
            Ok(bytes) => Ok((bytes, Flushed::Some)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                Ok((0, Flushed::Blocked))
            }
            Err(error) => {
                self.open = false;
                Err(error)
            }
        }
    }

    /// Like [`State::write_once`], for another task than the client's own, which gets a notice on
    /// an error. Returns the number of bytes that the socket took.
    pub(super) fn write_for_owner(&mut self, now: Instant) -> usize {
        if let Ok((bytes, _)) = self.write_once(now) {
            return bytes;
        }
        self.inbox.push(Notice::Lost);
        0
    }

    /// Whether another task than the client's own may write, and the socket may take something.
    pub(super) fn is_writable(&self) -> bool {
        !self.held && !self.blocked && self.open
    }

    /// Writes once; zero if nothing is queued.
    fn write_some(&mut self, now: Instant) -> io::Result<usize> {
        let Some(wire) = &self.wire else { return Ok(0) };
        let written = SCRATCH.with_borrow_mut(|scratch| {
            let bytes = self.backlog.gather(scratch);
            if bytes.is_empty() {
                return Ok(0);
            }
            let written = write(wire.as_ref(), bytes)?;
            self.blocked = written < bytes.len();
            Ok::<_, io::Error>(written)
        })?;
        if written > 0 {
            self.traffic.bytes += written as u64;
            // A publisher's `now` can be older than a later write by the client's own task.
            self.last_write = self.last_write.max(now);
            let ping_waited = self.backlog.ping_waits();
            if self.backlog.advance(written) {
                self.last_data = self.last_data.max(now);
            }
            // No other bytes moved ahead of a Ping that is written at once.
            if self.backlog.ping_waits() || (ping_waited && self.ping_progress.is_some()) {
                self.ping_progress = Some(now);
            }
            if self.backlog.replies().frames == 0 {
                self.replies_since = None;
            }
        }
        Ok(written)
    }

    pub(super) fn enqueue(
        &mut self,
        encoded: &Arc<EncodedRun>,
        number: u32,
        written: usize,
        policy: Policy,
        now: Instant,
    ) -> Pushed {
        let first = encoded.whole(written);
        let part = written - encoded.start(first);
        let rest = first..encoded.len();
        if self.backlog.fits_all(encoded, &rest, policy.bounds) {
            self.backlog
                .push_messages(encoded, rest, number, part, None);
            return Pushed {
                accepted: encoded.len(),
                written,
                ..Pushed::default()
            };
        }
        let begun = first + usize::from(part > 0);
        let mut pushed = Pushed {
            accepted: first,
            written,
            ..Pushed::default()
        };
        for at in rest {
            let part = if at == first { part } else { 0 };
            let one = at..at + 1;
            let fits = part > 0 || self.make_room(encoded, &one, policy, &mut pushed, now);
            if fits {
                self.backlog.push_messages(encoded, one, number, part, None);
                pushed.accepted += 1;
            } else if policy.slow_consumer == SlowConsumer::Disconnect {
                self.open = false;
                self.inbox.push(Notice::Refuse(Refusal::SlowConsumer));
                // The part of this encoded run that was accepted is among the messages dropped now.
                pushed.accepted = begun;
                pushed.dropped += encoded.len() - at + self.drop_messages();
                return pushed;
            } else {
                pushed.dropped += 1;
            }
        }
        pushed
    }

    /// Whether a message fits, after the socket has taken what it can and the policy has dropped
    /// older messages.
    fn make_room(
        &mut self,
        encoded: &EncodedRun,
        one: &std::ops::Range<usize>,
        policy: Policy,
        pushed: &mut Pushed,
        now: Instant,
    ) -> bool {
        let (bytes, destination) = (encoded.size(one), encoded.destination());
        while !self.backlog.fits(bytes, policy.bounds) && self.is_writable() {
            match self.write_for_owner(now) {
                0 => break,
                written => pushed.written += written,
            }
        }
        let drops = policy.slow_consumer == SlowConsumer::DropOldest
            && self.backlog.could_fit(bytes, destination, policy.bounds);
        while !self.backlog.fits(bytes, policy.bounds) {
            if !drops || !self.backlog.remove_oldest(destination) {
                return false;
            }
            pushed.dropped += 1;
        }
        true
    }

    pub(super) fn is_full_of_deliveries(&self, bounds: OutboxBounds) -> bool {
        let OutboxLoad { frames, bytes } = self.backlog.deliveries();
        frames >= bounds.messages || bytes >= bounds.bytes
    }

    /// Whether a queue that was paused may continue: when half of the queued data is written.
    pub(super) fn has_room(&self, bounds: OutboxBounds) -> bool {
        let OutboxLoad { frames, bytes } = self.backlog.deliveries();
        frames <= bounds.messages / 2 && bytes <= bounds.bytes / 2
    }

    pub(super) fn press(&mut self, policy: Policy, now: Instant) -> Press {
        if !self.open {
            return Press::GivenUp;
        }
        if policy.slow_consumer != SlowConsumer::Disconnect {
            return Press::Eased;
        }
        let waits = OutboxLoad {
            frames: self.backlog.messages().frames,
            bytes: self.backlog.message_bytes(policy.bounds),
        };
        let drained = self.backlog.drained();
        if self.patience.is_none() && Patience::has_room(waits, policy.bounds) {
            return Press::Eased;
        }
        self.patience
            .get_or_insert_default()
            .press(waits, drained, self.last_write, policy, now)
    }

    pub(super) fn has_news(&self, bounds: OutboxBounds) -> bool {
        self.backlog.has_progressed() || (!self.waiting.is_empty() && self.has_room(bounds))
    }

    fn drop_messages(&mut self) -> usize {
        let before = self.backlog.messages().frames;
        drop(self.backlog.remove_messages());
        before - self.backlog.messages().frames
    }
}

fn write(wire: &dyn Wire, bytes: &[u8]) -> io::Result<usize> {
    match wire.try_write(bytes) {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        done => done,
    }
}

thread_local! {
    /// Buffer in which small frames are combined for one write: one per thread, not per client.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
