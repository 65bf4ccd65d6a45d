//! The queue of the engine, compared with a model of a few lists that it searches linearly.
//!
//! The model does not predict which consumer is next: the queue chooses. It defines which ones are
//! allowed, that none is served twice while another one that has credit waits, and everything else.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use stomp_codec::Headers;
use stompd::engine::SessionId;
use stompd::engine::ack::AckVerdict;
use stompd::engine::destination::Destination;
use stompd::engine::memory::allocated;
use stompd::engine::message::Message;
use stompd::engine::queue::{Bounds, ConsumerId, Depth, Grant, Queue, Return, Settled};
use stompd::engine::subscription::{AckMode, Prefetch};

// --- Steps -------------------------------------------------------------------------------------

/// Consumers are chosen among all that ever existed, deliveries among all that a consumer was ever
/// given, so that ended and nonexistent ones are tried as well.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    /// Number of small messages.
    Burst(usize),
    Reserve(Vec<usize>),
    PushReserved(Index),
    Unreserve(Index),
    DropOldest,
    Subscribe(AckMode, usize, Option<usize>),
    Retire(Index, Index),
    End(Index, Index, Return),
    Settle(Index, Index, AckVerdict, Option<usize>),
    /// Number of consecutive ACKs.
    AckMany(Index, Vec<Index>),
    Commit(Index, usize),
    Abort(Index, usize),
    Written(Index, Index),
    Pause(Index),
    Resume(Index),
    Reject(Index, Index),
    Take(usize, usize),
    Starved(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    let size = || 1_usize..20;
    let transaction = || 0..TRANSACTIONS;
    let mode = select(&[AckMode::Auto, AckMode::Client, AckMode::Individual][..]);
    prop_oneof![
        12 => size().prop_map(Step::Push),
        1 => vec(size(), 1..4).prop_map(Step::Reserve),
        1 => at().prop_map(Step::PushReserved),
        1 => at().prop_map(Step::Unreserve),
        1 => Just(Step::DropOldest),
        3 => (mode, 1_usize..5, option::of(1_usize..40))
            .prop_map(|(mode, messages, bytes)| Step::Subscribe(mode, messages, bytes)),
        1 => (at(), at()).prop_map(|(of, begun)| Step::Retire(of, begun)),
        1 => (at(), at(), cause()).prop_map(|(of, begun, cause)| Step::End(of, begun, cause)),
        10 => (at(), at(), verdict(), option::weighted(0.4, transaction()))
            .prop_map(|(of, number, verdict, hold)| Step::Settle(of, number, verdict, hold)),
        2 => (at(), transaction()).prop_map(|(of, transaction)| Step::Commit(of, transaction)),
        2 => (at(), transaction()).prop_map(|(of, transaction)| Step::Abort(of, transaction)),
        3 => (at(), at()).prop_map(|(of, number)| Step::Written(of, number)),
        1 => at().prop_map(Step::Pause),
        2 => at().prop_map(Step::Resume),
        1 => (at(), at()).prop_map(|(of, first)| Step::Reject(of, first)),
        10 => (1_usize..8, 1_usize..80).prop_map(|(messages, bytes)| Step::Take(messages, bytes)),
        2 => (0_u64..60).prop_map(Step::Starved),
    ]
}

/// Steps of a consumer with many deliveries: gaps among them are closed when there are many.
fn settling() -> impl Strategy<Value = Step> {
    let at = any::<Index>;
    let transaction = || 0..TRANSACTIONS;
    prop_oneof![
        6 => (at(), vec(at(), 50..200)).prop_map(|(of, numbers)| Step::AckMany(of, numbers)),
        4 => (at(), at(), verdict(), option::weighted(0.6, transaction()))
            .prop_map(|(of, number, verdict, hold)| Step::Settle(of, number, verdict, hold)),
        1 => (at(), transaction()).prop_map(|(of, transaction)| Step::Commit(of, transaction)),
        1 => (at(), transaction()).prop_map(|(of, transaction)| Step::Abort(of, transaction)),
        1 => (at(), at()).prop_map(|(of, begun)| Step::Retire(of, begun)),
        2 => Just(Step::Take(256, usize::MAX)),
    ]
}

fn verdict() -> impl Strategy<Value = AckVerdict> {
    prop_oneof![4 => Just(AckVerdict::Ack), 2 => Just(AckVerdict::Requeue), 1 => Just(AckVerdict::Drop)]
}

fn cause() -> impl Strategy<Value = Return> {
    select(&[Return::Lost, Return::Left][..])
}

/// Number of transactions that each consumer has open.
const TRANSACTIONS: usize = 4;

const PATIENCE: Duration = Duration::from_millis(100);

// --- The model ---------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    id: u64,
    bytes: usize,
    returned: Option<Return>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Out,
    Held(u32, AckVerdict),
    Over,
}

#[derive(Debug)]
struct Delivery {
    note: Note,
    state: State,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "any of them may hold with any other"
)]
struct Consumer {
    id: ConsumerId,
    mode: AckMode,
    prefetch: Prefetch,
    /// All deliveries it was ever given; the first one has number 1.
    given: Vec<Delivery>,
    paused: bool,
    retired: bool,
    gone: bool,
    starving: Option<Instant>,
    told: bool,
    /// Consumers served since this one had credit, or was served itself.
    passed_by: Vec<usize>,
    /// The numbers of its open transactions.
    transactions: [u32; TRANSACTIONS],
}

#[derive(Debug)]
struct Model {
    bounds: Bounds,
    /// In the order of acceptance.
    ready: Vec<Note>,
    consumers: Vec<Consumer>,
    reserved: Vec<usize>,
}

impl Consumer {
    fn number(&self, index: Index) -> u64 {
        index.index(self.given.len() + 2) as u64
    }

    /// Returns the indices of deliveries that are not settled.
    fn open(&self) -> Vec<usize> {
        let places = 0..self.given.len();
        places
            .filter(|&at| self.given[at].state != State::Over)
            .collect()
    }

    /// Returns the indices of those that count against the credit.
    fn out(&self) -> Vec<usize> {
        let places = 0..self.given.len();
        places
            .filter(|&at| self.given[at].state == State::Out)
            .collect()
    }

    fn has_room(&self) -> bool {
        let out = self.out();
        let bytes: usize = out.iter().map(|&at| self.given[at].note.bytes).sum();
        out.len() < self.prefetch.messages && self.prefetch.bytes.is_none_or(|limit| bytes < limit)
    }

    fn starves_at(&self) -> Option<Instant> {
        let since = self.starving.filter(|_| !self.told);
        since.map(|since| since + PATIENCE)
    }

    fn can_take(&self) -> bool {
        !self.gone && !self.retired && !self.paused && self.has_room()
    }

    /// Returns the indices that an ACK of this number covers.
    fn affected(&self, number: u64) -> Vec<usize> {
        let last = usize::try_from(number).unwrap() - 1;
        let about = |at: &usize| *at == last || (self.mode == AckMode::Client && *at < last);
        self.out().into_iter().filter(about).collect()
    }

    fn go_if_done(&mut self) -> bool {
        self.gone |= self.retired && self.open().is_empty();
        self.gone
    }
}

impl Model {
    /// Returns the size of all messages.
    fn all_held(&self) -> usize {
        let ready: usize = self.ready.iter().map(|note| held(note.bytes)).sum();
        let open: usize = self
            .consumers
            .iter()
            .flat_map(|consumer| {
                let notes = consumer.open().into_iter().map(|at| &consumer.given[at]);
                notes.map(|delivery| held(delivery.note.bytes))
            })
            .sum();
        ready + open
    }

    fn fits(&self, sizes: &[usize]) -> bool {
        let messages = self.ready.len() + self.reserved.len();
        let sum = |sizes: &[usize]| sizes.iter().copied().map(held).sum::<usize>();
        let bytes = self.all_held() + sum(&self.reserved);
        let one_into_nothing = bytes == 0 && sizes.len() == 1;
        one_into_nothing
            || (messages + sizes.len() <= self.bounds.messages
                && bytes + sum(sizes) <= self.bounds.bytes)
    }

    fn append(&mut self, id: u64, bytes: usize) {
        self.ready.push(Note {
            id,
            bytes,
            returned: None,
        });
    }

    fn put_back(&mut self, mut note: Note, cause: Option<Return>) {
        note.returned = cause.or(note.returned);
        self.ready.push(note);
        self.ready.sort_by_key(|note| note.id);
    }

    fn settle_one(&mut self, of: usize, at: usize, verdict: AckVerdict) {
        let delivery = &mut self.consumers[of].given[at];
        delivery.state = State::Over;
        let note = delivery.note;
        if verdict == AckVerdict::Requeue {
            self.put_back(note, Some(Return::Nack));
        }
    }

    fn settle(
        &mut self,
        of: usize,
        number: u64,
        verdict: AckVerdict,
        transaction: Option<u32>,
    ) -> Settled {
        let consumer = &mut self.consumers[of];
        if consumer.gone || consumer.mode == AckMode::Auto {
            return Settled::Ignored;
        }
        if number == 0 || number > consumer.given.len() as u64 {
            return Settled::Unknown;
        }
        let affected = consumer.affected(number);
        if affected.is_empty() {
            return Settled::Ignored;
        }
        (consumer.starving, consumer.told) = (None, false);
        for &at in &affected {
            match transaction {
                Some(number) => {
                    self.consumers[of].given[at].state = State::Held(number, verdict);
                }
                None => self.settle_one(of, at, verdict),
            }
        }
        self.consumers[of].go_if_done();
        Settled::Done(affected.len())
    }

    /// The indices of what a transaction holds, and the purpose.
    fn held(&self, of: usize, transaction: u32) -> Vec<(usize, AckVerdict)> {
        let given = self.consumers[of].given.iter().enumerate();
        given
            .filter_map(|(at, delivery)| match delivery.state {
                State::Held(by, verdict) if by == transaction => Some((at, verdict)),
                _ => None,
            })
            .collect()
    }

    /// Returns the numbers of acknowledged, returned and dropped messages.
    fn commit(&mut self, of: usize, transaction: u32) -> [usize; 3] {
        let held = self.held(of, transaction);
        for &(at, verdict) in &held {
            self.settle_one(of, at, verdict);
        }
        self.consumers[of].go_if_done();
        [AckVerdict::Ack, AckVerdict::Requeue, AckVerdict::Drop]
            .map(|verdict| held.iter().filter(|(_, other)| *other == verdict).count())
    }

    /// Returns the number of messages that are unacknowledged again.
    fn abort(&mut self, of: usize, transaction: u32) -> usize {
        let held = self.held(of, transaction);
        for &(at, _) in &held {
            self.consumers[of].given[at].state = State::Out;
        }
        held.len()
    }

    fn written(&mut self, of: usize, number: u64) -> usize {
        let out = self.consumers[of].out();
        let written: Vec<_> = out.into_iter().filter(|&at| (at as u64) < number).collect();
        for &at in &written {
            self.settle_one(of, at, AckVerdict::Ack);
        }
        if !written.is_empty() {
            let consumer = &mut self.consumers[of];
            (consumer.starving, consumer.told) = (None, false);
            consumer.go_if_done();
        }
        written.len()
    }

    /// Returns to the queue what a consumer has not settled from a number on; returns how many.
    fn take_back(&mut self, of: usize, first: u64, cause: Option<Return>) -> usize {
        let open = self.consumers[of].open();
        let back: Vec<_> = open
            .into_iter()
            .filter(|&at| at as u64 + 1 >= first)
            .collect();
        for &at in &back {
            let delivery = &mut self.consumers[of].given[at];
            delivery.state = State::Over;
            let note = delivery.note;
            self.put_back(note, cause);
        }
        back.len()
    }

    fn retire(&mut self, of: usize, begun: u64) -> bool {
        self.take_back(of, begun + 1, None);
        let consumer = &mut self.consumers[of];
        consumer.retired = true;
        for delivery in &mut consumer.given {
            if let State::Held(..) = delivery.state {
                delivery.state = State::Out;
            }
        }
        consumer.go_if_done()
    }

    fn end(&mut self, of: usize, begun: u64, cause: Return) -> usize {
        self.take_back(of, begun + 1, None);
        self.consumers[of].gone = true;
        self.take_back(of, 0, Some(cause))
    }

    fn starved(&mut self, now: Instant) -> Vec<ConsumerId> {
        let mut starved = Vec::new();
        for consumer in &mut self.consumers {
            if consumer.starves_at().is_some_and(|at| at <= now) {
                consumer.told = true;
                starved.push(consumer.id);
            }
        }
        starved
    }

    /// Returns when the next consumer is to be reported.
    fn next_timeout(&self) -> Option<Instant> {
        self.consumers.iter().filter_map(Consumer::starves_at).min()
    }

    /// A consumer starves from the step on that leaves it without credit.
    fn note_who_starves(&mut self, now: Instant) {
        for consumer in &mut self.consumers {
            if consumer.gone || consumer.paused || consumer.retired || consumer.has_room() {
                (consumer.starving, consumer.told) = (None, false);
            } else {
                consumer.starving.get_or_insert(now);
            }
        }
    }

    fn can_take(&self) -> bool {
        !self.ready.is_empty() && self.consumers.iter().any(Consumer::can_take)
    }

    fn depth(&self) -> Depth {
        let present = self.consumers.iter().filter(|consumer| !consumer.gone);
        Depth {
            ready: self.ready.len(),
            unacknowledged: present.clone().map(|consumer| consumer.open().len()).sum(),
            bytes: 0,
            consumers: present.filter(|consumer| !consumer.retired).count(),
        }
    }

    /// The oldest ready message goes to this consumer.
    fn grant(&mut self, of: usize) {
        let note = self.ready.remove(0);
        assert!(
            self.consumers[of].can_take(),
            "consumer {of} can take {note:?}"
        );
        self.consumers[of].given.push(Delivery {
            note,
            state: State::Out,
        });
        for (at, consumer) in self.consumers.iter_mut().enumerate() {
            if at == of {
                consumer.passed_by.clear();
            } else if consumer.can_take() {
                let twice = consumer.passed_by.contains(&of);
                assert!(!twice, "consumer {of} was served twice while {at} waited");
                consumer.passed_by.push(of);
            }
        }
    }

    /// A consumer without credit does not wait.
    fn forget_who_waited(&mut self) {
        for consumer in &mut self.consumers {
            if !consumer.can_take() {
                consumer.passed_by.clear();
            }
        }
    }
}

// --- Both --------------------------------------------------------------------------------------

struct World {
    queue: Queue<usize>,
    model: Model,
    now: Instant,
    last_id: u64,
    last_transaction: u32,
    /// What is held for a COMMIT.
    promised: Vec<Vec<Arc<Message>>>,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        Self {
            queue: Queue::new(bounds, PATIENCE),
            model: Model {
                bounds,
                ready: Vec::new(),
                consumers: Vec::new(),
                reserved: Vec::new(),
            },
            now: Instant::now(),
            last_id: 0,
            last_transaction: 0,
            promised: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(size) => self.push(size),
            Step::Burst(count) => (0..count).for_each(|_| self.push(1)),
            Step::Reserve(sizes) => self.reserve(&sizes),
            Step::PushReserved(at) => self.push_reserved(at),
            Step::Unreserve(at) => self.unreserve(at),
            Step::DropOldest => {
                let dropped = !self.model.ready.is_empty();
                self.model.ready.drain(..usize::from(dropped));
                assert_eq!(self.queue.drop_oldest(), dropped);
            }
            Step::Subscribe(mode, messages, bytes) => {
                self.subscribe(mode, Prefetch { messages, bytes });
            }
            Step::Take(messages, bytes) => self.take(Bounds { messages, bytes }),
            Step::Starved(millis) => self.starved(millis),
            Step::Retire(of, _)
            | Step::End(of, ..)
            | Step::Settle(of, ..)
            | Step::AckMany(of, _)
            | Step::Commit(of, _)
            | Step::Abort(of, _)
            | Step::Written(of, _)
            | Step::Pause(of)
            | Step::Resume(of)
            | Step::Reject(of, _) => {
                if !self.model.consumers.is_empty() {
                    self.consumer_step(of.index(self.model.consumers.len()), &step);
                }
            }
        }
        self.compare();
    }

    /// Applies a step to one of the consumers.
    fn consumer_step(&mut self, of: usize, step: &Step) {
        let (queue, model) = (&mut self.queue, &mut self.model);
        let consumer = &mut model.consumers[of];
        let id = consumer.id;
        match step {
            // At most the given deliveries can be begun, and each that is begun is retired once.
            Step::Retire(_, begun) if !consumer.retired && !consumer.gone => {
                let begun = consumer.number(*begun).min(consumer.given.len() as u64);
                assert_eq!(queue.retire(id, begun), model.retire(of, begun));
            }
            Step::End(_, begun, cause) => {
                let begun = consumer.number(*begun).min(consumer.given.len() as u64);
                assert_eq!(queue.end(id, begun, *cause), model.end(of, begun, *cause));
            }
            Step::Settle(_, number, verdict, transaction) => {
                let number = consumer.number(*number);
                let hold = transaction.map(|at| consumer.transactions[at]);
                let settled = queue.settle(id, number, *verdict, hold, self.now);
                assert_eq!(settled, model.settle(of, number, *verdict, hold));
            }
            Step::AckMany(_, numbers) => {
                for number in numbers {
                    let one = Step::Settle(*number, *number, AckVerdict::Ack, None);
                    self.consumer_step(of, &one);
                }
            }
            Step::Commit(_, at) => {
                let transaction = self.end_transaction(of, *at);
                let settled = self.queue.commit(id, transaction);
                assert_eq!(settled, self.model.commit(of, transaction));
            }
            Step::Abort(_, at) => {
                let transaction = self.end_transaction(of, *at);
                let released = self.queue.abort(id, transaction, self.now);
                assert_eq!(released, self.model.abort(of, transaction));
            }
            Step::Written(_, number) if consumer.mode == AckMode::Auto => {
                let number = consumer.number(*number).min(consumer.given.len() as u64);
                let settled = queue.settle_written(id, number, self.now);
                assert_eq!(settled, model.written(of, number));
            }
            Step::Pause(_) => {
                queue.pause(id);
                consumer.paused = true;
            }
            Step::Resume(_) => {
                queue.resume(id, self.now);
                consumer.paused = false;
            }
            Step::Reject(_, first) if !consumer.gone => {
                let first = consumer.number(*first).max(1);
                queue.reject(id, first);
                consumer.paused = true;
                model.take_back(of, first, None);
            }
            _ => {}
        }
    }

    fn push(&mut self, size: usize) {
        self.last_id += 1;
        let fits = self.model.fits(&[size]);
        if fits {
            self.model.append(self.last_id, size);
        }
        assert_eq!(self.queue.push(&message(size), self.last_id), fits);
    }

    fn reserve(&mut self, sizes: &[usize]) {
        let fits = self.model.fits(sizes);
        assert_eq!(
            self.queue
                .reserve(sizes.len(), sizes.iter().copied().map(held).sum()),
            fits,
            "{sizes:?}"
        );
        if fits {
            self.model.reserved.extend(sizes);
            self.promised
                .push(sizes.iter().copied().map(message).collect());
        }
    }

    /// Removes what was promised at one time, and its sizes from the reservation.
    fn keep_promise(&mut self, at: Index) -> Vec<Arc<Message>> {
        if self.promised.is_empty() {
            return Vec::new();
        }
        let messages = self.promised.remove(at.index(self.promised.len()));
        for message in &messages {
            let reserved = &mut self.model.reserved;
            let place = reserved.iter().position(|size| *size == message.bytes());
            reserved.remove(place.unwrap());
        }
        messages
    }

    fn push_reserved(&mut self, at: Index) {
        for message in self.keep_promise(at) {
            self.last_id += 1;
            self.queue.push_reserved(&message, self.last_id);
            self.model.append(self.last_id, message.bytes());
        }
    }

    fn unreserve(&mut self, at: Index) {
        let messages = self.keep_promise(at);
        let bytes = messages.iter().map(|message| message.held()).sum();
        self.queue.unreserve(messages.len(), bytes);
    }

    fn subscribe(&mut self, mode: AckMode, prefetch: Prefetch) {
        let place = self.model.consumers.len();
        // Some belong to one session.
        let id = (SessionId(place as u64 / 2), u32::try_from(place).unwrap());
        let transactions = [(); TRANSACTIONS].map(|()| self.next_transaction());
        self.queue.subscribe(id, mode, prefetch, place);
        self.model.consumers.push(Consumer {
            id,
            mode,
            prefetch,
            given: Vec::new(),
            paused: false,
            retired: false,
            gone: false,
            starving: None,
            told: false,
            passed_by: Vec::new(),
            transactions,
        });
    }

    fn next_transaction(&mut self) -> u32 {
        self.last_transaction += 1;
        self.last_transaction
    }

    fn end_transaction(&mut self, of: usize, at: usize) -> u32 {
        let next = self.next_transaction();
        std::mem::replace(&mut self.model.consumers[of].transactions[at], next)
    }

    fn starved(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let mut starved = self.queue.on_timeout(self.now);
        starved.sort_unstable();
        assert_eq!(starved, self.model.starved(self.now));
    }

    fn take(&mut self, budget: Bounds) {
        let grants = self.queue.take(budget, self.now);
        let granted = self.granted(&grants);
        // For any consumers, the oldest ones are dropped, each with its state.
        let notes: Vec<_> = granted.iter().map(|(note, _)| *note).collect();
        let oldest = self.model.ready[..notes.len()].to_vec();
        assert_eq!(notes, oldest, "the oldest ones, in order");
        let mut bytes = 0;
        for (place, (note, of)) in granted.iter().enumerate() {
            assert!(place < budget.messages && bytes < budget.bytes);
            bytes += note.bytes;
            self.model.grant(*of);
        }
        let enough = granted.len() == budget.messages || bytes >= budget.bytes;
        assert!(
            enough || !self.model.can_take(),
            "more could have been granted"
        );
    }

    /// Grants, by age, and their consumers.
    fn granted(&self, grants: &[Grant<usize>]) -> Vec<(Note, usize)> {
        let mut granted = Vec::new();
        for (place, grant) in grants.iter().enumerate() {
            let consumer = &self.model.consumers[grant.handle];
            assert_eq!(grant.consumer, consumer.id);
            assert_eq!(grant.first, consumer.given.len() as u64 + 1);
            assert!(!grant.entries.is_empty());
            let again = |other: &Grant<usize>| other.consumer == grant.consumer;
            assert!(!grants[..place].iter().any(again), "one grant for each");
            assert!(grant.entries.is_sorted_by_key(|entry| entry.id), "in order");
            granted.extend(grant.entries.iter().map(|entry| {
                let note = Note {
                    id: entry.id,
                    bytes: entry.message.bytes(),
                    returned: entry.returned,
                };
                (note, grant.handle)
            }));
        }
        granted.sort_by_key(|(note, _)| note.id);
        granted
    }

    fn compare(&mut self) {
        let (queue, model) = (&mut self.queue, &mut self.model);
        model.forget_who_waited();
        model.note_who_starves(self.now);
        if let Some(due) = model.next_timeout() {
            let next = queue.next_timeout();
            assert!(
                next.is_some_and(|next| next <= due),
                "{next:?} is after {due:?}"
            );
        }
        let (depth, load) = (queue.depth(), queue.load());
        assert_eq!(Depth { bytes: 0, ..depth }, model.depth());
        assert_eq!(
            (load.messages, load.bytes),
            (model.ready.len(), model.all_held())
        );
        // The metric also counts the lists, whose capacity the model does not know.
        let places = (depth.ready + depth.unacknowledged) * 64;
        assert!(depth.bytes >= load.bytes - places);
        assert_eq!(queue.can_take(), model.can_take());
        let unused = model.consumers.iter().all(|consumer| consumer.gone)
            && model.ready.is_empty()
            && model.reserved.is_empty();
        assert_eq!(queue.is_unused(), unused);
        for consumer in &model.consumers {
            assert_eq!(queue.has(consumer.id), !consumer.gone);
        }
    }
}

fn message(size: usize) -> Arc<Message> {
    Arc::new(Message {
        destination: Destination::parse("/queue/a").unwrap(),
        headers: Headers::new(),
        body: vec![b'x'; size].into(),
    })
}

/// The size of such a message in a queue.
fn held(size: usize) -> usize {
    static EMPTY: LazyLock<usize> = LazyLock::new(|| message(0).held());
    *EMPTY + allocated(size)
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let bytes = prop_oneof![1_usize..4000, Just(usize::MAX)];
    (1_usize..12, bytes).prop_map(|(messages, bytes)| Bounds { messages, bytes })
}

proptest! {
    #![proptest_config(super::config())]
    #[test]
    fn a_queue_behaves_like_its_model(bounds in bounds(), steps in vec(step(), 1..120)) {
        let mut world = World::new(bounds);
        for step in steps {
            world.step(step);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..super::config() })]
    #[test]
    fn many_deliveries_are_settled_in_any_order(
        mode in select(&[AckMode::Client, AckMode::Individual, AckMode::Individual][..]),
        steps in vec(settling(), 1..12),
    ) {
        let mut world = World::new(Bounds { messages: 1000, bytes: usize::MAX });
        world.step(Step::Burst(400));
        world.step(Step::Subscribe(mode, 250, None));
        world.step(Step::Take(250, usize::MAX));
        for step in steps {
            world.step(step);
        }
    }
}
