//! Tables that a client can grow, and the memory behind each entry.

use crate::case::Case;
use crate::client::told;
use crate::frames;

/// `max_bytes` must count the memory of an empty message.
#[test]
fn empty_messages_up_to_max_bytes() {
    let part = frames::sends(10_000, "/queue/empty", 0);
    let case = Case::new("empty messages, max_bytes = 4 MiB");
    let case = case
        .set("QUEUE__MAX_BYTES", "4MiB")
        .set("QUEUE__MAX_LENGTH", "10000000");
    case.growth(4.0 * 1.2 + 6.0).run(|scene| {
        let mut client = scene.door.tcp();
        let mut result = Ok(());
        for _ in 0..100 {
            result = client.sync(&part);
            if result.is_err() {
                break;
            }
        }
        let ready = scene.broker.metric("stompd_queue_messages_ready");
        let counted = scene.broker.metric("stompd_queue_bytes") / 1024.0 / 1024.0;
        format!(
            "{} after {ready} messages, {counted:.1} MiB counted",
            told(&result)
        )
    });
}

/// A queue with one message stays when its publisher leaves.
#[test]
fn a_hundred_thousand_queues() {
    let sends = frames::many(100_000, |number| {
        format!("SEND\ndestination:/queue/q.{number}\n\nx")
    });
    Case::new("100,000 queues")
        // They hold messages within their limit: some 900 bytes each, which are counted.
        .growth(110.0)
        .leaves(90.0)
        .run(|scene| {
            let mut client = scene.door.tcp();
            let outcome = told(&client.sync(&sends));
            let queues = scene.broker.metric("stompd_queues");
            format!("{outcome}; {queues} queues stay")
        });
}

#[test]
fn long_ids_of_subscriptions() {
    Case::new("10,000 subscriptions with ids of 16,000 bytes")
        .growth(40.0)
        .run(|scene| {
            let mut client = scene.door.tcp();
            let mut result = Ok(());
            for part in 0..100 {
                let subscribes = frames::many(100, |number| {
                    let id = part * 100 + number;
                    format!(
                        "SUBSCRIBE\nid:{id:016000}\ndestination:/topic/ids.{}",
                        id % 10
                    )
                });
                result = client.sync(&subscribes);
                if result.is_err() {
                    break;
                }
            }
            told(&result)
        });
}

/// One client sends to very many topics without subscribers.
#[test]
fn a_million_topics() {
    let parts: Vec<_> = (0..10)
        .map(|part| {
            frames::many(100_000, |number| {
                format!("SEND\ndestination:/topic/t.{part}.{number}\n\nx")
            })
        })
        .collect();
    Case::new("SENDs to 1,000,000 topics")
        .growth(32.0)
        .run(|scene| {
            let mut client = scene.door.tcp();
            let result = parts.iter().try_for_each(|part| client.sync(part));
            told(&result)
        });
}

/// The same with a pattern that matches all, so that each has an audience to cache.
#[test]
fn a_million_topics_that_a_pattern_matches() {
    let parts: Vec<_> = (0..5)
        .map(|part| {
            frames::many(100_000, |number| {
                format!("SEND\ndestination:/topic/t.{part}.{number}\n\nx")
            })
        })
        .collect();
    Case::new("SENDs to 500,000 topics under one pattern")
        .growth(64.0)
        .run(|scene| {
            let (mut client, mut subscriber) = (scene.door.tcp(), scene.door.tcp());
            subscriber
                .sync(&frames::subscribes(0, 1, "/topic/t.#"))
                .unwrap();
            let readers = crate::readers::Readers::of(vec![subscriber]);
            let result = parts.iter().try_for_each(|part| client.sync(part));
            let messages = readers.messages();
            readers.stop();
            format!("{}; {messages} read", told(&result))
        });
}

/// What transactions hold is limited for each connection; 20 of them hold the maximum.
#[test]
fn open_transactions_up_to_their_limit() {
    let held = frames::many(16, |number| format!("BEGIN\ntransaction:{number}"));
    let sends = frames::many(1000, |number| {
        let (transaction, body) = (number % 16, "x".repeat(800));
        format!("SEND\ndestination:/queue/held.{number}\ntransaction:{transaction}\n\n{body}")
    });
    let bytes = [held, sends].concat();
    Case::new("20 clients with 16 open transactions")
        .growth(48.0)
        .run(|scene| {
            let mut clients: Vec<_> = (0..20).map(|_| scene.door.tcp()).collect();
            let results: Vec<_> = clients
                .iter_mut()
                .map(|client| client.sync(&bytes))
                .collect();
            let refused = results.iter().filter(|result| result.is_err()).count();
            let counted = scene.broker.metric("stompd_transaction_bytes") / 1024.0 / 1024.0;
            format!("{refused} of 20 refused, {counted:.1} MiB counted")
        });
}
