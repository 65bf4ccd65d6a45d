//! A client with its driver: the session, the subscriptions, and the output to an in-memory socket
//! that takes as much as a test allows. The steps of the task in `broker/src/connection` are run
//! one by one, and only when that task would have been woken.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stomp_codec::{Command, Frame, Version};
use stompd::auth::Authenticator;
use stompd::encoding::Framing;
use stompd::encoding::Kind;
use stompd::engine::SessionId;
use stompd::engine::message::Message as Published;
use stompd::engine::queue::{Return, Settled};
use stompd::engine::refusal::Refusal;
use stompd::engine::session::{Acknowledgement, Action, Session, SessionSettings, Ticket};
use stompd::engine::subscription::{self, Prefetch, Subscription};
use stompd::engine::transaction::Transaction;
use stompd::hub::{Hub, Pressure};
use stompd::outbox::{Flushed, News, Notice, Outbox, Policy, Progress, Subscriber, Wire};
use stompd::queues::{Held, SharedQueue};
use tokio::runtime::Runtime;

const KIND: Kind = Kind {
    version: Version::V1_2,
    framing: Framing::Tcp,
};

/// A socket that takes this many bytes, and remembers what else it was offered.
#[derive(Debug)]
pub(super) struct PartialWire(Mutex<Line>);

#[derive(Debug)]
struct Line {
    written: Vec<u8>,
    /// The bytes that follow if it is written: at least the rest of a begun frame.
    offered: Vec<u8>,
    budget: usize,
    broken: bool,
}

impl PartialWire {
    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap()
    }

    pub(super) fn allow(&self, bytes: usize) {
        self.lock().budget = bytes;
    }

    pub(super) fn break_off(&self) {
        self.lock().broken = true;
    }

    fn is_writable(&self) -> bool {
        let bytes = self.lock();
        bytes.broken || bytes.budget > 0
    }

    pub(super) fn is_broken(&self) -> bool {
        self.lock().broken
    }
}

impl Wire for PartialWire {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        let taken = bytes.len().min(state.budget);
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.offered = bytes[taken..].to_vec();
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.written.extend_from_slice(&bytes[..taken]);
        state.budget -= taken;
        Ok(taken)
    }
}

/// A MESSAGE as its receiver sees it.
#[derive(Debug)]
pub(super) struct Message {
    /// The number of the subscription.
    pub(super) subscription: u32,
    pub(super) ack: Option<String>,
    pub(super) redelivered: bool,
    /// The number of the message: the first word of the body.
    pub(super) number: u64,
}

/// The result of a client's frames.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// For each message, whether it was accepted.
    pub(super) accepted: Vec<bool>,
    /// A COMMIT was refused.
    pub(super) refused: bool,
    /// The connection must end.
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: SessionId,
    pub(super) wire: Arc<PartialWire>,
    pub(super) outbox: Arc<Outbox>,
    session: Session,
    subscriptions: BTreeMap<u32, (Arc<Subscriber>, Arc<SharedQueue>)>,
    retired: BTreeMap<u32, (Arc<Subscriber>, Arc<SharedQueue>)>,
    to_dispatch: Vec<Arc<SharedQueue>>,
    gathered: Vec<(Published, Option<Ticket>)>,
    /// What its last flush did not write.
    flushed: Flushed,
    /// Number of bytes reported to it.
    heard: usize,
    /// Number of RECEIPTs requested, and received.
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// The RECEIPT of the SUBSCRIBE, by subscription.
    receipts: BTreeMap<u32, u64>,
}

impl Client {
    pub(super) fn connect(
        id: u64,
        lives_with_refusals: bool,
        policy: Policy,
        now: Instant,
    ) -> Self {
        let wire = Arc::new(PartialWire(Mutex::new(Line {
            written: Vec::new(),
            offered: Vec::new(),
            budget: usize::MAX,
            broken: false,
        })));
        let id = SessionId(id);
        let mut session = Session::new(id, Arc::new(settings()), false, now);
        let connect = Frame::new(Command::Connect)
            .with_header("accept-version", "1.2")
            .with_header("x-refusals", &lives_with_refusals.to_string());
        session.on_frame(connect);
        let Some(Action::Authenticate(credentials)) = session.next_action() else {
            panic!("CONNECT did not request a verdict");
        };
        session.on_verdict(Authenticator::Open.verdict(credentials), now);
        // CONNECTED is not checked here.
        assert!(matches!(session.next_action(), Some(Action::Open(_))));
        assert!(session.next_reply().is_some());
        Self {
            id,
            outbox: Arc::new(Outbox::new(Arc::<PartialWire>::clone(&wire), policy, now)),
            wire,
            session,
            subscriptions: BTreeMap::new(),
            retired: BTreeMap::new(),
            to_dispatch: Vec::new(),
            gathered: Vec::new(),
            flushed: Flushed::All,
            heard: 0,
            asked: 0,
            answered: 0,
            receipts: BTreeMap::new(),
        }
    }

    /// The client's frame with the next `receipt`.
    pub(super) fn asking(&mut self, frame: Frame) -> Frame {
        self.asked += 1;
        frame.with_header("receipt", &self.asked.to_string())
    }

    /// The driver's step: everything that one read returned.
    pub(super) fn says(
        &mut self,
        frames: &[Frame],
        hub: &Hub,
        runtime: &Runtime,
        now: Instant,
    ) -> Said {
        let mut said = Said::default();
        for frame in frames {
            if frame.command != Command::Send {
                self.hand_over(&mut said, hub, runtime, now);
            }
            if self.session.wants_input() {
                self.session.on_frame(frame.clone());
            }
            while let Some(action) = self.next_action(now) {
                self.perform(action, &mut said, hub, runtime, now);
            }
        }
        self.hand_over(&mut said, hub, runtime, now);
        for queue in self.to_dispatch.drain(..) {
            queue.dispatch(now);
        }
        self.retired
            .retain(|_, (subscriber, queue)| queue.has(subscriber));
        said
    }

    /// Sends the replies, then returns the next action.
    fn next_action(&mut self, now: Instant) -> Option<Action> {
        while let Some(frame) = self.session.next_reply() {
            self.reply(&frame, now);
        }
        self.session.next_action()
    }

    fn done(&mut self, ticket: Option<Ticket>) {
        if let Some(ticket) = ticket {
            self.session.on_done(ticket);
        }
    }

    fn perform(
        &mut self,
        action: Action,
        said: &mut Said,
        hub: &Hub,
        runtime: &Runtime,
        now: Instant,
    ) {
        if !matches!(action, Action::Publish(_)) {
            self.hand_over(said, hub, runtime, now);
        }
        match action {
            Action::Publish(publication) => {
                self.gathered
                    .push((publication.message, publication.ticket));
            }
            Action::Subscribe(subscription, receipt) => {
                self.subscribe(subscription, &receipt.unwrap(), hub, now);
            }
            Action::Unsubscribe(number, ticket) => {
                if let Some((subscriber, queue)) = self.subscriptions.remove(&number)
                    && hub.unsubscribe(&subscriber, Some(&queue), now)
                {
                    self.retired.insert(number, (subscriber, queue));
                }
                self.done(ticket);
            }
            Action::Settle(acknowledgement) => said.closed |= !self.settle(&acknowledgement, now),
            Action::Commit(transaction, ticket) => {
                let done = self.commit(&transaction, hub, runtime, now);
                match done {
                    Ok(()) => self.done(ticket),
                    Err(refusal) => {
                        said.refused = true;
                        said.closed |= !self.session.on_refused(&refusal, ticket);
                    }
                }
            }
            Action::Abort(transaction, ticket) => {
                hub.queues()
                    .abort(&transaction, |number| self.held(number), now);
                self.done(ticket);
            }
            Action::IgnoreAck(ticket) => self.done(ticket),
            Action::Close(_) => said.closed = true,
            other => panic!("not expected here: {other:?}"),
        }
    }

    fn subscribe(&mut self, subscription: Subscription, receipt: &Frame, hub: &Hub, now: Instant) {
        let number = subscription.number;
        let asked = receipt.header("receipt-id").unwrap().parse().unwrap();
        self.receipts.insert(number, asked);
        let subscriber = Arc::new(Subscriber {
            session: self.id,
            subscription,
            kind: KIND,
            outbox: Arc::clone(&self.outbox),
            ended: AtomicBool::new(false),
            progress: Arc::new(Progress::default()),
        });
        self.outbox.reply_and_hold(encode(receipt), now);
        let place = hub.take_place(&subscriber.subscription.pattern).unwrap();
        let queue = hub.subscribe(&subscriber, place, now).unwrap();
        self.outbox.release();
        self.subscriptions.insert(number, (subscriber, queue));
    }

    fn settle(&mut self, acknowledgement: &Acknowledgement, now: Instant) -> bool {
        let Acknowledgement {
            delivery,
            verdict,
            transaction,
            ticket,
        } = acknowledgement;
        let mut settled = Settled::Ignored;
        if let Some((subscriber, queue)) = self.held(delivery.subscription) {
            settled = queue.settle(subscriber, delivery.number, *verdict, *transaction, now);
            let queue = Arc::clone(queue);
            self.to_dispatch.push(queue);
        }
        if settled != Settled::Unknown {
            self.done(*ticket);
        }
        settled != Settled::Unknown
    }

    fn commit(
        &self,
        transaction: &Transaction,
        hub: &Hub,
        runtime: &Runtime,
        now: Instant,
    ) -> Result<(), Refusal> {
        let held = |number| self.held(number);
        hub.commit(transaction, held, now)?;
        for number in &transaction.subscriptions {
            if let Some((_, queue)) = self.held(*number) {
                queue.dispatch(now);
            }
        }
        let mut pressure = Pressure::default();
        let messages = &transaction.messages;
        runtime.block_on(hub.publish_accepted(messages, self.id, &mut pressure, now));
        Ok(())
    }

    fn hand_over(&mut self, said: &mut Said, hub: &Hub, runtime: &Runtime, now: Instant) {
        let gathered = std::mem::take(&mut self.gathered);
        let (messages, tickets): (Vec<_>, Vec<_>) = gathered.into_iter().unzip();
        let mut done = 0;
        while done < messages.len() && !said.closed {
            let mut pressure = Pressure::default();
            let publish = hub.publish(&messages[done..], self.id, &mut pressure, now);
            let published = runtime.block_on(publish);
            let rest = messages.len() - done;
            let accepted = published
                .as_ref()
                .map_or_else(|refused| refused.accepted, |()| rest);
            for ticket in &tickets[done..done + accepted] {
                self.done(*ticket);
            }
            said.accepted.extend(vec![true; accepted]);
            done += accepted;
            if let Err(refused) = published {
                said.closed |= !self.session.on_refused(&refused.refusal, tickets[done]);
                said.accepted.push(false);
                done += 1;
            }
        }
        while let Some(frame) = self.session.next_reply() {
            self.reply(&frame, now);
        }
    }

    fn reply(&self, frame: &Frame, now: Instant) {
        self.outbox.reply(encode(frame), now);
    }

    fn held(&self, number: u32) -> Option<Held<'_>> {
        let (subscriber, queue) = self.member(number)?;
        Some((subscriber, queue))
    }

    fn member(&self, number: u32) -> Option<&(Arc<Subscriber>, Arc<SharedQueue>)> {
        let live = self.subscriptions.get(&number);
        live.or_else(|| self.retired.get(&number))
    }

    /// The queue behind a subscription, if it still holds anything for it.
    pub(super) fn queue(&self, number: u32) -> Option<&Arc<SharedQueue>> {
        let (subscriber, queue) = self.member(number)?;
        queue.has(subscriber).then_some(queue)
    }

    /// Whether the client's task would run now.
    pub(super) fn is_due(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        let woken = pin!(self.outbox.woken()).poll(&mut context).is_ready();
        let writable = self.flushed == Flushed::Blocked && self.wire.is_writable();
        woken || writable || self.flushed == Flushed::Some
    }

    /// Runs the client's task. Returns whether the connection must end.
    pub(super) fn turn(&mut self, now: Instant) -> bool {
        while let Some(notice) = self.outbox.take_notice() {
            match notice {
                Notice::Refuse(_) => return true,
                Notice::Lost => drop(self.outbox.close()),
                Notice::Stop => panic!("the broker is never stopped"),
            }
        }
        let flushed = self.outbox.flush(now);
        self.flushed = flushed.unwrap_or_else(|_| {
            drop(self.outbox.close());
            Flushed::All
        });
        let News { written, room } = self.outbox.take_news();
        for (subscriber, queue) in written.iter().filter_map(|number| self.held(*number)) {
            queue.settle_written(subscriber, now);
        }
        for (subscriber, queue) in room.iter().filter_map(|number| self.held(*number)) {
            queue.resume(subscriber, now);
        }
        false
    }

    /// Its output is discarded or queued: it does not see everything sent to it.
    pub(super) fn is_behind(&self) -> bool {
        !self.outbox.is_empty() || self.wire.is_broken()
    }

    /// Ends the connection. A begun frame is still written.
    pub(super) fn end(&mut self, hub: &Hub, now: Instant) {
        drop(self.outbox.end());
        for (_, (subscriber, queue)) in std::mem::take(&mut self.subscriptions) {
            hub.end(&subscriber, Some(&queue), Return::Lost, now);
        }
        for (_, (subscriber, queue)) in std::mem::take(&mut self.retired) {
            hub.queues().end(&subscriber, &queue, Return::Lost, now);
        }
        let begun = self.begun().map(|message| message.number);
        self.wire.allow(usize::MAX);
        let _ = self.outbox.flush(now);
        let last: Vec<_> = self
            .messages()
            .into_iter()
            .map(|message| message.number)
            .collect();
        if !self.wire.is_broken() {
            assert_eq!(
                last,
                Vec::from_iter(begun),
                "only what was begun is written"
            );
        }
        self.outbox.close();
    }

    /// Returns the messages received since the last call.
    pub(super) fn messages(&mut self) -> Vec<Message> {
        let bytes = self.wire.lock().written[self.heard..].to_vec();
        let mut messages = Vec::new();
        for frame in bytes.split_inclusive(|byte| *byte == 0) {
            if let Some(frame) = frame.strip_suffix(&[0]) {
                self.heard += frame.len() + 1;
                messages.extend(self.read(frame));
            }
        }
        messages
    }

    /// Returns the message that was received in part.
    pub(super) fn begun(&mut self) -> Option<Message> {
        let bytes = {
            let wire = self.wire.lock();
            [&wire.written[self.heard..], &wire.offered].concat()
        };
        if self.wire.lock().written.len() == self.heard {
            return None;
        }
        let frame = bytes.split(|byte| *byte == 0).next().unwrap();
        let text = std::str::from_utf8(frame).unwrap();
        text.starts_with("MESSAGE\nsubscription:s")
            .then(|| message(text))
    }

    fn read(&mut self, frame: &[u8]) -> Option<Message> {
        let text = std::str::from_utf8(frame).unwrap();
        if let Some(receipt) = header(text, "receipt-id") {
            self.answered += 1;
            assert_eq!(receipt, self.answered.to_string(), "answers come in order");
        }
        if !text.starts_with("MESSAGE\nsubscription:s") {
            return None;
        }
        let message = message(text);
        let receipt = self.receipts[&message.subscription];
        assert!(receipt <= self.answered, "the RECEIPT comes first");
        Some(message)
    }
}

fn message(frame: &str) -> Message {
    let number = frame.split_once("\n\n").unwrap().1.split(' ').next();
    Message {
        subscription: header(frame, "subscription").unwrap()[1..].parse().unwrap(),
        ack: header(frame, "ack").map(Into::into),
        redelivered: header(frame, "redelivered") == Some("true"),
        number: number.unwrap().parse().unwrap(),
    }
}

fn header<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = frame.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn encode(frame: &Frame) -> Bytes {
    KIND.framing.wrap(&frame.encode(KIND.version))
}

fn settings() -> SessionSettings {
    let long = Duration::from_secs(3600);
    SessionSettings {
        server: "stompd/test".into(),
        send: Duration::ZERO,
        want: Duration::ZERO,
        ping: Duration::ZERO,
        stall: long,
        connect_timeout: long,
        subscriptions: subscription::Limits {
            count: 1000,
            bytes: 1 << 30,
            shapes: 1000,
        },
        prefetch: Prefetch {
            messages: 1000,
            bytes: None,
        },
    }
}
