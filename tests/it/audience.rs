//! The receivers of a destination, compared with a plain list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use stomp_codec::Version;
use stompd::config::SlowConsumer;
use stompd::encoding::Framing;
use stompd::encoding::Kind;
use stompd::engine::SessionId;
use stompd::engine::destination::Pattern;
use stompd::engine::subscription::{AckMode, Prefetch, Subscription};
use stompd::hub::audience::{Audience, Cohort, Receiver, Receivers};
use stompd::outbox::{Outbox, OutboxBounds, Policy, Subscriber, SubscriberId};
use support::wire::MemoryWire;

/// Subscribers are identified by number; the ids repeat every 16 numbers.
const IDS: u32 = 16;

fn subscriber(number: u32) -> Arc<Subscriber> {
    let policy = Policy {
        bounds: OutboxBounds {
            bytes: 1,
            messages: 1,
            per_run: 0,
        },
        slow_consumer: SlowConsumer::Disconnect,
        patience: Duration::ZERO,
    };
    let framing = if number.is_multiple_of(3) {
        Framing::Tcp
    } else {
        Framing::Text
    };
    Arc::new(Subscriber {
        session: SessionId(number.into()),
        subscription: Subscription {
            number: 1,
            id: Some(format!("{}", number % IDS).into()),
            pattern: Pattern::parse("/topic/a").unwrap(),
            mode: AckMode::Auto,
            prefetch: Prefetch {
                messages: 1,
                bytes: None,
            },
            no_local: false,
        },
        kind: Kind {
            version: Version::V1_2,
            framing,
        },
        outbox: Arc::new(Outbox::new(MemoryWire::open(), policy, Instant::now())),
        ended: AtomicBool::new(false),
        progress: Arc::default(),
    })
}

/// The members of an audience. Checks that the members of each cohort are alike.
fn all(audience: Option<&Audience>) -> Vec<SubscriberId> {
    let mut all = Vec::new();
    for cohort in audience.into_iter().flat_map(Audience::cohorts) {
        let Cohort::Direct { kind, id, members } = &**cohort else {
            panic!("no subscriber has a private queue");
        };
        assert!(!members.is_empty());
        for member in members {
            assert_eq!((member.kind, &member.subscription.id), (*kind, id));
            all.push(member.id());
        }
    }
    all.sort_unstable();
    all
}

#[derive(Clone, Debug)]
enum Step {
    /// Subscribers join, numbered from here.
    Come(u32, u32),
    /// The subscriber at this index leaves.
    Leave(prop::sample::Index),
    /// All but a few leave.
    LeaveTo(usize),
    /// A publisher holds the current audience until the end.
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u32..2000, 1_u32..20).prop_map(|(first, count)| Step::Come(first, count)),
        1 => (0_u32..2000, 500_u32..900).prop_map(|(first, count)| Step::Come(first, count)),
        8 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (0_usize..40).prop_map(Step::LeaveTo),
        4 => Just(Step::Publish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn an_audience_keeps_the_members_it_was_taken_with(steps in vec(step(), 1..60)) {
        let (mut members, mut model) = (Receivers::default(), BTreeMap::new());
        let mut taken = Vec::new();
        for step in steps {
            match step {
                Step::Come(first, count) => for number in first..first + count {
                    if let std::collections::btree_map::Entry::Vacant(place) = model.entry(number) {
                        let subscriber = subscriber(number);
                        place.insert(subscriber.id());
                        members.insert(subscriber.id(), Receiver::Direct(subscriber));
                    }
                },
                Step::Leave(at) if !model.is_empty() => {
                    let number = *at.get(&model.keys().copied().collect::<Vec<_>>());
                    prop_assert!(members.remove(model.remove(&number).unwrap()));
                }
                Step::Leave(_) => prop_assert!(!members.remove((SessionId(9999), 1))),
                Step::LeaveTo(few) => while model.len() > few {
                    let (_, id) = model.pop_last().unwrap();
                    prop_assert!(members.remove(id));
                },
                Step::Publish => {
                    let audience = members.audience();
                    let now: Vec<_> = model.values().copied().collect();
                    prop_assert_eq!(all(audience.as_ref()), now.clone());
                    taken.push((audience, now));
                }
            }
            prop_assert_eq!(members.len(), model.len());
        }
        for (audience, then) in taken {
            prop_assert_eq!(all(audience.as_ref()), then);
        }
    }
}

#[test]
fn a_change_of_many_members_copies_one_cohort() {
    let mut members = Receivers::default();
    for number in 0..10_000 {
        let subscriber = subscriber(number);
        members.insert(subscriber.id(), Receiver::Direct(subscriber));
    }
    let before = members.audience().unwrap();
    let next = subscriber(10_000);
    members.insert(next.id(), Receiver::Direct(next));
    assert!(members.remove((SessionId(17), 1)));
    let after = members.audience().unwrap();
    let is_new = |cohort: &&Arc<Cohort>| {
        !before
            .cohorts()
            .iter()
            .any(|other| Arc::ptr_eq(cohort, other))
    };
    let copied = after.cohorts().iter().filter(is_new).count();
    assert!(after.cohorts().len() > 30 && copied <= 2, "{copied}");
}
