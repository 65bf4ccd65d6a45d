//! The memory that the broker reports against its resident memory.

use std::thread;
use std::time::Duration;

use crate::broker::{Broker, knows};
use crate::case::line;
use crate::client::{Client, told};
use crate::frames;

/// Allowed difference between the two, as a fraction of the reported memory.
const APART: f64 = 0.2;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Reported and resident memory, in MiB.
fn held(broker: &Broker) -> (f64, f64) {
    let gauges = [
        "stompd_queue_bytes",
        "stompd_outbox_memory_bytes",
        "stompd_subscription_bytes",
    ];
    let accounted: f64 = gauges.iter().map(|name| broker.metric(name)).sum();
    (accounted / MEBIBYTE, broker.resident())
}

/// Runs one of them: its row, and whether the two are close.
fn weigh(
    name: &str,
    settings: &[(&str, &str)],
    fill: impl FnOnce(&Broker) -> (Vec<Client>, String),
) -> (String, bool) {
    let known = settings.iter().filter(|(key, _)| {
        let setting = key.rsplit("__").next().unwrap_or_default();
        knows(&setting.to_lowercase())
    });
    let environment: Vec<_> = known
        .map(|(key, value)| (format!("STOMPD__{key}"), (*value).to_owned()))
        .collect();
    let broker = Broker::start(&environment, None);
    // So that the memory of every broker with clients is allocated already.
    broker
        .door
        .tcp()
        .sync(&frames::sends(20_000, "/topic/warm", 10))
        .unwrap();
    let before = held(&broker);
    let (clients, outcome) = fill(&broker);
    thread::sleep(Duration::from_millis(300));
    let after = held(&broker);
    drop(clients);
    let (accounted, resident) = (after.0 - before.0, after.1 - before.1);
    let close = (resident / accounted - 1.0).abs() <= APART;
    let ratio = resident / accounted;
    let row = format!("{name} | {accounted:.1} | {resident:.1} | {ratio:.2} | {outcome}");
    (row, close)
}

fn sent(broker: &Broker, parts: &[Vec<u8>]) -> (Vec<Client>, String) {
    let mut client = broker.door.tcp();
    let result = parts.iter().try_for_each(|part| client.sync(part));
    (vec![client], told(&result))
}

/// 40 clients that do not read; each message is a separate piece, and ids make them differ.
fn waiting(broker: &Broker, id: impl Fn(usize) -> usize) -> (Vec<Client>, String) {
    let small = |number| {
        let mut client = broker.door.small();
        let subscribes = frames::subscribes_in_turn(id(number), 2, "/topic/waiting");
        client.sync(&subscribes).unwrap();
        client
    };
    let clients: Vec<_> = (0..40).map(small).collect();
    let large = frames::send("/topic/waiting.0", 100_000);
    let tiny = frames::sends_in_turn(17_000, "/topic/waiting", 2, 10);
    let (_, outcome) = sent(broker, &[large, tiny]);
    (clients, outcome)
}

#[test]
fn reported_memory_matches_resident_memory() {
    let empty = vec![frames::sends(50_000, "/queue/empty", 0); 20];
    let rows = [
        weigh(
            "1,000,000 empty messages",
            &[
                ("QUEUE__MAX_LENGTH", "2000000"),
                ("QUEUE__MAX_BYTES", "1GiB"),
            ],
            |broker| sent(broker, &empty),
        ),
        weigh(
            "100,000 queues",
            &[("QUEUE__MAX_QUEUES", "200000")],
            |broker| {
                sent(
                    broker,
                    &[frames::many(100_000, |n| {
                        format!("SEND\ndestination:/queue/q.{n}\n\nx")
                    })],
                )
            },
        ),
        weigh(
            "10,000 subscriptions with ids of 1 KiB",
            &[("LIMITS__SUBSCRIPTION_BYTES", "1GiB")],
            |broker| {
                let subscribe = |n| {
                    format!(
                        "SUBSCRIBE\nid:{n:01024}\ndestination:/topic/ids.{}",
                        n % 100
                    )
                };
                sent(broker, &[frames::many(10_000, subscribe)])
            },
        ),
        weigh(
            "10,000 patterns",
            &[("LIMITS__SUBSCRIPTION_BYTES", "1GiB")],
            |broker| {
                let subscribe =
                    |n| format!("SUBSCRIBE\nid:{n}\ndestination:/topic/prices.of.market.{n}.*");
                sent(broker, &[frames::many(10_000, subscribe)])
            },
        ),
        weigh("17,000 waiting messages for each of 40", &[], |broker| {
            waiting(broker, |number| number)
        }),
    ];
    // Messages queued for several clients are stored once, and counted for each.
    let (shared, _) = weigh("the same, all with one id", &[], |broker| {
        waiting(broker, |_| 0)
    });
    let head = "memory | accounted MiB | resident MiB | ratio | outcome";
    line(head, &format!("\n{head}"));
    for (row, close) in &rows {
        let verdict = if *close { "" } else { " — FAILS" };
        line(head, &format!("{row}{verdict}"));
    }
    line(head, &format!("{shared} (nothing is asserted)"));
    let apart = rows.iter().filter(|(_, close)| !close).count();
    assert_eq!(apart, 0, "rows that are more than 20 % apart");
}
