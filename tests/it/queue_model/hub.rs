//! Hub, queues and outboxes as their clients see them, compared with an account of every message.
//!
//! Whatever the clients do and wherever their sockets block: each accepted message is done exactly
//! once, or is still held and goes to the consumer that asks last; it has one consumer at a time;
//! it keeps its order as far as visible; it is marked as redelivered if and only if a client
//! received a byte of it and did not settle it; and no consumer that could be served is forgotten.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use stomp_codec::{Command, Frame};
use stompd::config::SlowConsumer;
use stompd::engine::SessionId;
use stompd::engine::ack::AckVerdict;
use stompd::engine::queue::{Bounds, ConsumerId};
use stompd::engine::subscription::AckMode;
use stompd::hub::{self, Hub, Loss};
use stompd::metrics::Registry;
use stompd::outbox::{self, OutboxLoad, Policy};
use stompd::queues;
use tokio::runtime::Runtime;

use super::account::{Account, Home};
use super::client::{Client, Said};

// --- Steps -------------------------------------------------------------------------------------

/// The last is a topic: each of its subscriptions has a private queue.
const DESTINATIONS: [&str; 3] = ["/queue/a", "/queue/b", "/topic/t"];
const QUEUES: usize = 2;

const CLIENTS: usize = 4;

/// Number of transactions that each client has open.
const TRANSACTIONS: usize = 2;

#[derive(Clone, Debug)]
struct Step {
    client: usize,
    what: What,
}

/// Subscriptions and deliveries are chosen among all that ever existed.
#[derive(Clone, Debug)]
enum What {
    Send(Vec<(usize, usize)>),
    SendIn(usize, usize, usize),
    Subscribe(usize, AckMode, usize),
    Unsubscribe(Index),
    Settle(Index, Index, AckVerdict, Option<usize>),
    SettleUnknown(Index),
    Commit(usize),
    Abort(usize),
    /// The socket takes this many bytes; `None` is all.
    Take(Option<usize>),
    Break,
    Leave(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    let destination = || 0..DESTINATIONS.len();
    let size = || prop_oneof![3 => 0_usize..20, 1 => 0_usize..500];
    let transaction = || 0..TRANSACTIONS;
    let mode = select(&[AckMode::Auto, AckMode::Client, AckMode::Individual][..]);
    let verdict = select(
        &[
            AckVerdict::Ack,
            AckVerdict::Ack,
            AckVerdict::Requeue,
            AckVerdict::Drop,
        ][..],
    );
    let what = prop_oneof![
        10 => vec((destination(), size()), 1..6).prop_map(What::Send),
        2 => (transaction(), destination(), size())
            .prop_map(|(transaction, to, size)| What::SendIn(transaction, to, size)),
        6 => (destination(), mode, 1_usize..6)
            .prop_map(|(to, mode, prefetch)| What::Subscribe(to, mode, prefetch)),
        2 => at().prop_map(What::Unsubscribe),
        12 => (at(), at(), verdict, option::weighted(0.3, transaction()))
            .prop_map(|(of, number, verdict, hold)| What::Settle(of, number, verdict, hold)),
        1 => at().prop_map(What::SettleUnknown),
        2 => transaction().prop_map(What::Commit),
        2 => transaction().prop_map(What::Abort),
        7 => option::weighted(0.6, 0_usize..600).prop_map(What::Take),
        1 => Just(What::Break),
        2 => any::<bool>().prop_map(What::Leave),
        1 => (0_u64..100).prop_map(What::Pass),
    ];
    (0..CLIENTS, what).prop_map(|(client, what)| Step { client, what })
}

fn bounds() -> impl Strategy<Value = Bounds> {
    prop_oneof![1_usize..20, Just(1000)].prop_map(|messages| Bounds {
        messages,
        bytes: usize::MAX,
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let slow_consumer = select(&[SlowConsumer::Disconnect, SlowConsumer::DropOldest][..]);
    let bounds = (1_usize..8, 300_usize..2000);
    (bounds, slow_consumer).prop_map(|((messages, bytes), slow_consumer)| Policy {
        bounds: outbox::OutboxBounds {
            bytes,
            messages,
            per_run: 0,
        },
        slow_consumer,
        patience: Duration::ZERO,
    })
}

// --- The world ---------------------------------------------------------------------------------

/// What a transaction of a client holds: its number, and the messages by destination.
type Open = (u32, Vec<(usize, u64)>);

struct World<'a> {
    runtime: &'a Runtime,
    hub: Hub,
    registry: Registry,
    bounds: Bounds,
    policy: Policy,
    now: Instant,
    clients: Vec<Client>,
    open: Vec<[Option<Open>; TRANSACTIONS]>,
    account: Account,
    /// Those of private queues that did not fit.
    overflown: usize,
    /// A connection ended in this step.
    ended: bool,
    last_client: u64,
    last_number: u64,
    last_transaction: u32,
}

impl<'a> World<'a> {
    fn new(runtime: &'a Runtime, bounds: Bounds, policy: Policy) -> Self {
        let registry = Registry::new();
        let settings = queues::QueueSettings {
            bounds,
            queues: usize::MAX,
            named: None,
        };
        let hub_settings = hub::HubSettings {
            policy,
            pattern_shapes: 1000,
        };
        let mut world = Self {
            runtime,
            hub: Hub::new("m", hub_settings, settings, &registry),
            registry,
            bounds,
            policy,
            now: Instant::now(),
            clients: Vec::new(),
            open: Vec::new(),
            account: Account::default(),
            overflown: 0,
            ended: false,
            last_client: 0,
            last_number: 0,
            last_transaction: 0,
        };
        for _ in 0..CLIENTS {
            let client = world.connect();
            world.clients.push(client);
            world.open.push(Default::default());
        }
        world
    }

    fn connect(&mut self) -> Client {
        self.last_client += 1;
        // Every other client accepts refusals.
        let id = self.last_client;
        let client = Client::connect(id, id.is_multiple_of(2), self.policy, self.now);
        let peer = ([127, 0, 0, 1], 1).into();
        let known = hub::Client::new(client.id, peer, "tcp", self.now, Arc::clone(&client.outbox));
        self.hub.join(&Arc::new(known));
        client
    }

    fn step(&mut self, step: &Step) {
        self.account.begin_step();
        self.ended = false;
        let ordered: Vec<_> = (0..QUEUES)
            .map(Home::Queue)
            .filter(|home| !self.is_behind(*home))
            .collect();
        self.slip_where_somebody_is_behind();
        self.act(step);
        self.run();
        self.hear();
        self.check();
        // Messages that several subscriptions return at once may be delivered in between.
        if !matches!(step.what, What::Commit(_)) {
            for home in ordered {
                if !self.is_behind(home) && !self.ended {
                    let store = self.account.store(home);
                    assert!(store.oldest_went_first(), "{home:?}");
                }
            }
        }
    }

    fn act(&mut self, step: &Step) {
        let at = step.client;
        match &step.what {
            What::Take(bytes) => self.clients[at].wire.allow(bytes.unwrap_or(usize::MAX)),
            What::Break => self.clients[at].wire.break_off(),
            What::Leave(politely) => self.leave(at, *politely),
            What::Pass(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.hub.run_maintenance(self.now);
            }
            // Such a client is not read.
            _ if self.clients[at]
                .outbox
                .is_full_of_replies(OutboxLoad::default()) => {}
            What::Send(messages) => self.send(at, messages),
            What::SendIn(transaction, to, size) => self.send_in(at, *transaction, *to, *size),
            What::Subscribe(to, mode, prefetch) => self.subscribe(at, *to, *mode, *prefetch),
            What::Unsubscribe(of) => self.unsubscribe(at, *of),
            What::Settle(of, number, verdict, hold) => {
                self.settle(at, *of, *number, *verdict, *hold);
            }
            What::SettleUnknown(of) => self.settle_unknown(at, *of),
            What::Commit(transaction) => self.commit(at, *transaction),
            What::Abort(transaction) => self.abort(at, *transaction),
        }
    }

    /// Sends frames of a client, each with a receipt, in one piece.
    fn says(&mut self, at: usize, frames: Vec<Frame>) -> Said {
        let client = &mut self.clients[at];
        let frames: Vec<_> = frames
            .into_iter()
            .map(|frame| client.asking(frame))
            .collect();
        client.says(&frames, &self.hub, self.runtime, self.now)
    }

    fn finish(&mut self, at: usize, said: &Said) {
        if said.closed || self.clients[at].turn(self.now) {
            self.end(at);
        }
    }

    fn message(&mut self, to: usize, size: usize) -> (u64, Frame) {
        self.last_number += 1;
        let body = format!("{} {}", self.last_number, "x".repeat(size));
        let frame = Frame::new(Command::Send)
            .with_header("destination", DESTINATIONS[to])
            .with_body(body);
        (self.last_number, frame)
    }

    fn send(&mut self, at: usize, messages: &[(usize, usize)]) {
        let made: Vec<_> = messages
            .iter()
            .map(|(to, size)| (*to, self.message(*to, *size)))
            .collect();
        let frames = made.iter().map(|(_, (_, frame))| frame.clone()).collect();
        let said = self.says(at, frames);
        for ((to, (number, _)), accepted) in made.iter().zip(&said.accepted) {
            if *accepted {
                self.accept(*to, *number);
            }
        }
        self.hear();
        for ((to, _), accepted) in made.iter().zip(&said.accepted) {
            let unseen = self.account.store(Home::Queue(*to)).unseen();
            assert!(
                *accepted || unseen >= self.bounds.messages,
                "refused though there was room"
            );
        }
        self.finish(at, &said);
    }

    fn accept(&mut self, to: usize, number: u64) {
        if to < QUEUES {
            self.account.accept(Home::Queue(to), number);
            return self.slip_where_somebody_is_behind();
        }
        let own = self.account.stores.keys().copied();
        let own: Vec<_> = own.filter(|home| matches!(home, Home::Own(_))).collect();
        for home in own {
            self.account.accept(home, number);
        }
    }

    /// Returns the number of an open transaction of a client, and the BEGIN if it is not open yet.
    fn begin(&mut self, at: usize, transaction: usize) -> (u32, Option<Frame>) {
        let open = &mut self.open[at][transaction];
        if let Some((number, _)) = open {
            return (*number, None);
        }
        self.last_transaction += 1;
        *open = Some((self.last_transaction, Vec::new()));
        let begin = naming(Frame::new(Command::Begin), self.last_transaction);
        (self.last_transaction, Some(begin))
    }

    fn send_in(&mut self, at: usize, transaction: usize, to: usize, size: usize) {
        let (number, frame) = self.message(to, size);
        let (named, begin) = self.begin(at, transaction);
        let frames = begin.into_iter().chain([naming(frame, named)]).collect();
        let said = self.says(at, frames);
        let open = self.open[at][transaction].as_mut().unwrap();
        open.1.push((to, number));
        self.finish(at, &said);
    }

    fn subscribe(&mut self, at: usize, to: usize, mode: AckMode, prefetch: usize) {
        let client = &self.clients[at];
        // Messages of topics without acknowledgement do not concern queues.
        if to >= QUEUES && mode == AckMode::Auto {
            return;
        }
        let number = self.account.of(client.id).count() + 1;
        let id = (client.id, u32::try_from(number).unwrap());
        let home = if to < QUEUES {
            Home::Queue(to)
        } else {
            Home::Own(id)
        };
        let ack = match mode {
            AckMode::Auto => "auto",
            AckMode::Client => "client",
            AckMode::Individual => "client-individual",
        };
        let frame = Frame::new(Command::Subscribe)
            .with_header("id", &format!("s{number}"))
            .with_header("destination", DESTINATIONS[to])
            .with_header("ack", ack)
            .with_header("prefetch-count", &prefetch.to_string());
        self.account.subscribe(id, home, mode, prefetch);
        let said = self.says(at, vec![frame]);
        self.finish(at, &said);
    }

    /// One of the subscriptions that a client ever had.
    fn subscription(&self, at: usize, of: Index) -> Option<ConsumerId> {
        let all = self.account.of(self.clients[at].id);
        let all: Vec<_> = all.map(|(id, _)| id).collect();
        (!all.is_empty()).then(|| all[of.index(all.len())])
    }

    fn unsubscribe(&mut self, at: usize, of: Index) {
        let Some(id) = self.subscription(at, of) else {
            return;
        };
        let home = self.account.consumers[&id].home;
        if self.clients[at].is_behind() {
            self.account.slip(home);
        }
        if self.account.consumers[&id].live {
            self.note_overflow(at, id);
            self.account.retire(id);
        }
        let frame = Frame::new(Command::Unsubscribe).with_header("id", &format!("s{}", id.1));
        let said = self.says(at, vec![frame]);
        self.finish(at, &said);
    }

    fn settle(
        &mut self,
        at: usize,
        of: Index,
        number: Index,
        verdict: AckVerdict,
        hold: Option<usize>,
    ) {
        let Some(id) = self.subscription(at, of) else {
            return;
        };
        let whole = self.account.consumers[&id].whole();
        if whole == 0 {
            return;
        }
        // Usually one of the last.
        let number = whole - number.index(whole.min(8));
        let frame = match verdict {
            AckVerdict::Ack => Frame::new(Command::Ack),
            AckVerdict::Requeue => Frame::new(Command::Nack),
            AckVerdict::Drop => Frame::new(Command::Nack).with_header("requeue", "false"),
        };
        let delivery = self.account.consumers[&id].delivery(number);
        let mut frame = frame.with_header("id", &format!("{}-{}-{delivery}", id.0, id.1));
        let mut frames = Vec::new();
        let hold = hold.map(|transaction| self.begin(at, transaction));
        if let Some((transaction, begin)) = hold.clone() {
            frames.extend(begin);
            frame = naming(frame, transaction);
        }
        frames.push(frame);
        let transaction = hold.map(|(transaction, _)| transaction);
        self.account.settle(id, number, verdict, transaction);
        let said = self.says(at, frames);
        assert!(!said.closed, "the client knows this delivery");
        self.finish(at, &said);
    }

    /// An ACK for a delivery that never existed ends the connection, if its client is read.
    fn settle_unknown(&mut self, at: usize, of: Index) {
        if let Some(id) = self.subscription(at, of) {
            let name = format!("{}-{}-1000000", id.0, id.1);
            let said = self.says(at, vec![Frame::new(Command::Ack).with_header("id", &name)]);
            self.finish(at, &said);
        }
    }

    fn commit(&mut self, at: usize, transaction: usize) {
        let Some((number, messages)) = self.open[at][transaction].take() else {
            return;
        };
        let said = self.says(at, vec![naming(Frame::new(Command::Commit), number)]);
        let session = self.clients[at].id;
        if said.refused {
            self.account.abort(session, number);
        } else {
            self.account.commit(session, number);
            for (to, number) in messages {
                self.accept(to, number);
            }
        }
        self.finish(at, &said);
    }

    fn abort(&mut self, at: usize, transaction: usize) {
        if let Some((number, _)) = self.open[at][transaction].take() {
            self.account.abort(self.clients[at].id, number);
            let said = self.says(at, vec![naming(Frame::new(Command::Abort), number)]);
            self.finish(at, &said);
        }
    }

    fn leave(&mut self, at: usize, politely: bool) {
        if politely
            && !self.clients[at]
                .outbox
                .is_full_of_replies(OutboxLoad::default())
        {
            let said = self.says(at, vec![Frame::new(Command::Disconnect)]);
            assert!(said.closed);
        }
        self.end(at);
    }

    /// Ends a connection, and opens another one in its place.
    fn end(&mut self, at: usize) {
        self.ended = true;
        self.hear();
        let session = self.clients[at].id;
        let consumers: Vec<_> = self
            .account
            .of(session)
            .map(|(id, one)| (id, one.home))
            .collect();
        for &(id, home) in &consumers {
            let several = consumers.iter().filter(|(_, other)| *other == home).count() > 1;
            if self.clients[at].is_behind() || several {
                self.account.slip(home);
            }
            self.note_overflow(at, id);
        }
        self.account.end(session);
        self.clients[at].end(&self.hub, self.now);
        self.hub.leave(session);
        self.open[at] = Default::default();
        self.clients[at] = self.connect();
    }

    /// Messages that a private queue was to hold and does not were dropped by the policy.
    fn note_overflow(&mut self, at: usize, id: ConsumerId) {
        let home = Home::Own(id);
        if let (Some(store), Some(queue)) =
            (self.account.stores.get(&home), self.clients[at].queue(id.1))
        {
            let depth = queue.depth();
            self.overflown += store.len() - depth.ready - depth.unacknowledged;
        }
    }

    /// Runs all tasks until all are idle.
    fn run(&mut self) {
        loop {
            while self.runtime.metrics().num_alive_tasks() > 0 {
                self.runtime.block_on(tokio::task::yield_now());
            }
            let Some(at) = self.clients.iter().position(Client::is_due) else {
                return;
            };
            if self.clients[at].turn(self.now) {
                self.end(at);
            }
        }
    }

    /// Enters what the clients have been sent in the account.
    fn hear(&mut self) {
        for client in &mut self.clients {
            for message in client.messages() {
                let id = (client.id, message.subscription);
                self.account.heard(id, &message, true);
            }
            if let Some(message) = client.begun() {
                let id = (client.id, message.subscription);
                self.account.heard(id, &message, false);
            }
        }
    }

    // --- Invariants after each step ------------------------------------------------------------

    fn check(&self) {
        for (at, client) in self.clients.iter().enumerate() {
            for (id, consumer) in self.account.of(client.id) {
                let (Some(store), Some(queue)) =
                    (self.account.stores.get(&consumer.home), client.queue(id.1))
                else {
                    continue;
                };
                let depth = queue.depth();
                let held = depth.ready + depth.unacknowledged;
                let agrees = match consumer.home {
                    // Messages that a broken socket took are settled when the connection ends.
                    Home::Queue(_) if self.is_broken(consumer.home) => held >= store.len(),
                    Home::Queue(_) => held == store.len(),
                    // The policy may have dropped some.
                    Home::Own(_) => held <= store.len(),
                };
                assert!(
                    agrees,
                    "{:?}: {depth:?}, and {} in the account",
                    consumer.home,
                    store.len()
                );
                let could_take = !client.is_behind() && consumer.has_room();
                assert!(
                    !could_take || depth.ready == 0,
                    "client {at} is forgotten: {id:?}"
                );
            }
        }
    }

    fn any(&self, home: Home, is: impl Fn(&Client) -> bool) -> bool {
        let consumes = |client: &&Client| {
            let mut consumers = self.account.of(client.id);
            consumers.any(|(_, consumer)| consumer.home == home)
        };
        self.clients.iter().filter(consumes).any(is)
    }

    fn is_behind(&self, home: Home) -> bool {
        self.any(home, Client::is_behind)
    }

    fn is_broken(&self, home: Home) -> bool {
        self.any(home, |client| client.wire.is_broken())
    }

    /// A full outbox may return granted messages after others have received newer ones.
    fn slip_where_somebody_is_behind(&mut self) {
        for home in (0..QUEUES).map(Home::Queue) {
            if self.is_behind(home) {
                self.account.slip(home);
            }
        }
    }

    /// All clients leave, and a new one consumes everything that is left.
    fn finale(&mut self) {
        for at in 0..CLIENTS {
            self.account.begin_step();
            self.end(at);
            self.run();
            self.hear();
        }
        for (queue, name) in DESTINATIONS.iter().enumerate().take(QUEUES) {
            let left = self.account.store(Home::Queue(queue)).all();
            self.clients[0].wire.allow(usize::MAX);
            self.subscribe(0, queue, AckMode::Auto, 1000);
            let heard = self.take_all();
            assert_eq!(heard, left, "{name}");
        }
        self.end(0);
        let counted = |name: &str| {
            let text = self.registry.text();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap().parse::<usize>().unwrap()
        };
        assert_eq!(counted("stompd_queues"), 0);
        assert_eq!(counted("stompd_queue_bytes"), 0);
        assert_eq!(
            counted("stompd_messages_rejected_total"),
            self.account.rejected
        );
        let label = Loss::SlowConsumer.label();
        let dropped = format!("stompd_messages_dropped_total{{reason=\"{label}\"}}");
        assert_eq!(counted(&dropped), self.overflown);
        assert_eq!(
            counted("stompd_messages_acknowledged_total"),
            self.account.acknowledged
        );
    }

    fn take_all(&mut self) -> Vec<(u64, bool)> {
        let mut heard = Vec::new();
        loop {
            self.run();
            let messages = self.clients[0].messages();
            if messages.is_empty() {
                return heard;
            }
            for message in messages {
                let id: (SessionId, u32) = (self.clients[0].id, message.subscription);
                self.account.heard(id, &message, true);
                heard.push((message.number, message.redelivered));
            }
        }
    }
}

fn naming(frame: Frame, transaction: u32) -> Frame {
    frame.with_header("transaction", &format!("t{transaction}"))
}

proptest! {
    #![proptest_config(super::config())]
    #[test]
    fn every_message_is_done_once_or_held(
        bounds in bounds(),
        policy in policy(),
        steps in vec(step(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        let mut world = World::new(&runtime, bounds, policy);
        for step in &steps {
            world.step(step);
        }
        world.finale();
    }
}
