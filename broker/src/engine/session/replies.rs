//! The replies of a session, in the order of the frames that asked for them.
//!
//! A RECEIPT may have to wait until its frame is done, for example until a disk has the message.
//! Later frames are handled meanwhile, but their replies do not overtake it. MESSAGEs and
//! heart-beats are not replies, and do not wait.

use std::collections::VecDeque;
use std::num::NonZeroU64;

use stomp_codec::{Command, Frame};

/// A RECEIPT. Boxed, as few frames ask for one: otherwise each action, which is moved for each
/// message, would be twice as large.
pub type Receipt = Box<Frame>;

/// The place of a reply among the replies of a session. Never reused there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(NonZeroU64);

/// The replies that a session has not sent.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// Number of tickets so far.
    last: u64,
    /// `None` if there are no replies, so that an idle client holds no memory for them.
    line: Option<Box<Line>>,
}

#[derive(Debug)]
struct Line {
    /// The number of the first ticket in line; the others follow.
    first: u64,
    replies: VecDeque<Reply>,
    /// Bytes of the headers and bodies of all these frames.
    bytes: usize,
}

#[derive(Debug)]
struct Reply {
    /// What to send; `None` if the client did not ask for a RECEIPT.
    frame: Option<Receipt>,
    waits: bool,
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaitingReplies {
    /// Number of replies.
    pub frames: usize,
    /// Number of bytes of their headers and bodies.
    pub bytes: usize,
}

impl Replies {
    /// Adds a reply that waits until [`Replies::complete`] or [`Replies::answer`]. `None` keeps a
    /// place for a frame that asks for no RECEIPT and may yet need an answer.
    pub(super) fn wait(&mut self, receipt: Option<Receipt>) -> Ticket {
        self.add(receipt, true)
    }

    /// Adds a reply that waits only for the ones before it.
    pub(super) fn push(&mut self, frame: Receipt) {
        self.add(Some(frame), false);
    }

    fn add(&mut self, frame: Option<Receipt>, waits: bool) -> Ticket {
        let number = NonZeroU64::MIN.saturating_add(self.last);
        self.last = number.get();
        let line = self.line.get_or_insert_with(|| {
            Box::new(Line {
                first: self.last,
                replies: VecDeque::new(),
                bytes: 0,
            })
        });
        line.bytes += bytes(frame.as_deref());
        line.replies.push_back(Reply { frame, waits });
        Ticket(number)
    }

    /// The frame with this ticket is done. Has no effect if it is not waiting.
    pub(super) fn complete(&mut self, ticket: Ticket) {
        if let Some((_, reply)) = self.find(ticket) {
            reply.waits = false;
        }
    }

    /// Sends this frame instead of the RECEIPT. Has no effect if the ticket is not waiting.
    pub(super) fn answer(&mut self, ticket: Ticket, frame: Frame) {
        if let Some((total, reply)) = self.find(ticket).filter(|(_, reply)| reply.waits) {
            *total -= bytes(reply.frame.as_deref());
            *total += bytes(Some(&frame));
            *reply = Reply {
                frame: Some(Box::new(frame)),
                waits: false,
            };
        }
    }

    /// Returns the id of the RECEIPT with this ticket.
    pub(super) fn receipt_id(&mut self, ticket: Ticket) -> Option<Box<str>> {
        let (_, reply) = self.find(ticket)?;
        let frame = reply.frame.as_deref()?;
        (frame.command == Command::Receipt)
            .then(|| frame.header("receipt-id").map(Into::into))
            .flatten()
    }

    /// Takes the next reply if it does not wait.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Receipt> {
        self.line.as_ref()?;
        self.next_in_line()
    }

    fn next_in_line(&mut self) -> Option<Receipt> {
        let line = self.line.as_mut()?;
        while line.replies.front().is_some_and(|reply| !reply.waits) {
            let frame = line.replies.pop_front()?.frame;
            line.first += 1;
            line.bytes -= bytes(frame.as_deref());
            if frame.is_some() {
                return frame;
            }
        }
        if line.replies.is_empty() {
            self.line = None;
        }
        None
    }

    /// Removes the reply with this ticket and all after it.
    pub(super) fn cut(&mut self, ticket: Ticket) {
        if let Some(at) = self.place(ticket) {
            self.truncate(at);
        }
    }

    /// Removes the first reply that waits and all after it.
    pub(super) fn cut_waiting(&mut self) {
        let line = self.line.as_ref();
        let first = line.and_then(|line| line.replies.iter().position(|reply| reply.waits));
        if let Some(at) = first {
            self.truncate(at);
        }
    }

    fn truncate(&mut self, at: usize) {
        if let Some(line) = &mut self.line {
            for removed in line.replies.drain(at..) {
                line.bytes -= bytes(removed.frame.as_deref());
            }
        }
    }

    /// Whether there is none, sent or waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.line
            .as_ref()
            .is_none_or(|line| line.replies.is_empty())
    }

    /// Returns how much waits.
    pub(super) fn waiting(&self) -> WaitingReplies {
        let waiting = |line: &Line| WaitingReplies {
            frames: line.replies.len(),
            bytes: line.bytes,
        };
        self.line.as_deref().map(waiting).unwrap_or_default()
    }

    /// Returns the number of bytes of all replies, and the one with this ticket.
    fn find(&mut self, ticket: Ticket) -> Option<(&mut usize, &mut Reply)> {
        let at = self.place(ticket)?;
        let line = self.line.as_mut()?;
        Some((&mut line.bytes, line.replies.get_mut(at)?))
    }

    fn place(&self, ticket: Ticket) -> Option<usize> {
        let line = self.line.as_ref()?;
        usize::try_from(ticket.0.get().checked_sub(line.first)?).ok()
    }
}

fn bytes(frame: Option<&Frame>) -> usize {
    frame.map_or(0, |frame| frame.headers.bytes() + frame.body.len())
}
