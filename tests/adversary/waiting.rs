//! Frames that inspect what is queued or in flight, and their cost.

use std::time::{Duration, Instant};

use crate::case::{Case, Scene, strict};
use crate::client::{header, told};
use crate::frames;

/// Limits the broker's processor time for an operation.
fn used(scene: &Scene, bound: f64, what: impl FnOnce() -> String) -> String {
    let before = scene.broker.cpu();
    let outcome = what();
    let used = scene.broker.cpu().saturating_sub(before).as_secs_f64();
    let bound = if strict() { bound } else { 3.0 * bound };
    scene.expect(
        used <= bound,
        format!("{used:.2} s of processor time, the bound is {bound} s"),
    );
    format!("{outcome}; {used:.2} s of CPU for it")
}

#[test]
fn unsubscribes_behind_waiting_messages() {
    let subscribes = frames::subscribes_in_turn(0, 2000, "/topic/flood");
    let flood = frames::sends_in_turn(58_000, "/topic/flood", 2000, 1);
    let unsubscribes = frames::many(2000, |number| format!("UNSUBSCRIBE\nid:0.{number}"));
    let case = Case::new("2,000 UNSUBSCRIBEs behind 58,000 messages");
    let case = case.set("LIMITS__OUTBOX_BYTES", "64MiB");
    case.leaves(8.0).run(|scene| {
        let mut client = scene.door.small();
        client.sync(&subscribes).unwrap();
        let mut publisher = scene.door.tcp();
        publisher
            .sync(&frames::send("/topic/flood.1999", 100_000))
            .unwrap();
        publisher.sync(&flood).unwrap();
        used(scene, 0.1, || {
            let result = client.sync(&unsubscribes);
            let messages = client.seen.messages;
            format!("{}; {messages} messages came first", told(&result))
        })
    });
}

/// A full outbox in which each message drops the oldest one, here the only one of its topic.
#[test]
fn drop_oldest_with_a_full_backlog() {
    let subscribes = frames::subscribes_in_turn(0, 65_536 / 8, "/topic/drop");
    let fill = frames::sends_in_turn(65_536, "/topic/drop", 65_536 / 8, 1);
    let case = Case::new("drop-oldest, 65,536 messages of 8,192 topics wait");
    let case = case.set("LIMITS__SLOW_CONSUMER", "drop-oldest");
    case.leaves(16.0).run(|scene| {
        let mut client = scene.door.small();
        client.sync(&subscribes).unwrap();
        let mut publisher = scene.door.tcp();
        let begin = Instant::now();
        let mut rounds = 0;
        while begin.elapsed() < Duration::from_secs(2) {
            publisher.sync(&fill).unwrap();
            rounds += 1;
        }
        let sent = rounds * 65_536;
        format!("accepted; {sent} SENDs in {:.1?}", begin.elapsed())
    });
}

#[test]
fn a_disconnect_behind_replies() {
    let sends = frames::many(60_000, |number| {
        format!("SEND\ndestination:/topic/nobody\nreceipt:{number:020}")
    });
    Case::new("DISCONNECT behind 60,000 replies")
        .leaves(8.0)
        .run(|scene| {
            let mut client = scene.door.small();
            used(scene, 0.4, || {
                let written = client.write(&sends);
                let written =
                    written.and_then(|()| client.write(b"DISCONNECT\nreceipt:last\n\n\0"));
                let result = written.and_then(|()| client.expect(|seen| seen.ended));
                format!(
                    "{}; {} of 60,001 receipts",
                    told(&result),
                    client.seen.receipts
                )
            })
        });
}

#[test]
fn transactions_over_sixty_thousand_in_flight() {
    // 50 µs for each round, which is far above what constant time needs.
    transactions("BEGIN, ACK, ABORT of one with 60,000 in flight", 0, 0.15);
}

#[test]
fn transactions_of_sixty_thousand_in_flight() {
    // Each holds and releases 60,000 messages, some nanoseconds for each.
    transactions("BEGIN, ACK, ABORT of 60,000 in flight", 59_999, 2.0);
}

/// Holds all up to this one, and releases them, again and again.
fn transactions(name: &'static str, last: usize, bound: f64) {
    let jobs = frames::sends(60_000, "/queue/jobs", 1);
    let subscribe =
        b"SUBSCRIBE\nid:1\ndestination:/queue/jobs\nack:client\nprefetch-count:65535\n\n\0";
    Case::new(name).leaves(32.0).run(|scene| {
        let (mut client, mut publisher) = (scene.door.tcp(), scene.door.tcp());
        publisher.sync(&jobs).unwrap();
        client.seen.kept = Some(Vec::new());
        client.sync(subscribe).unwrap();
        client.expect(|seen| seen.messages == 60_000).unwrap();
        let kept = client.seen.kept.take().unwrap();
        let ack = header(&kept[last], "ack");
        let round = format!(
            "BEGIN\ntransaction:t\n\n\0ACK\nid:{ack}\ntransaction:t\n\n\0ABORT\ntransaction:t\n\n\0"
        );
        let rounds = round.repeat(3000).into_bytes();
        used(scene, bound, || told(&client.sync(&rounds)))
    });
}

/// A consumer of a long queue subscribes and leaves: its granted messages return each time.
#[test]
fn a_consumer_of_a_long_queue_that_comes_and_goes() {
    let jobs = frames::sends(60_000, "/queue/jobs", 1);
    let round = b"SUBSCRIBE\nid:1\ndestination:/queue/jobs\nack:client\nprefetch-count:65535\n\n\0UNSUBSCRIBE\nid:1\n\n\0";
    Case::new("SUBSCRIBE, UNSUBSCRIBE to 60,000 messages")
        .leaves(32.0)
        .run(|scene| {
            let (mut client, mut publisher) = (scene.door.tcp(), scene.door.tcp());
            publisher.sync(&jobs).unwrap();
            let begin = Instant::now();
            let mut rounds = 0;
            let mut result = Ok(());
            while begin.elapsed() < Duration::from_secs(2) && result.is_ok() {
                result = client.sync(round);
                rounds += 1;
            }
            let messages = client.seen.messages;
            format!("{}; {rounds} rounds, {messages} messages", told(&result))
        });
}

/// A consumer refuses all messages, endlessly.
#[test]
fn a_consumer_that_refuses_all() {
    let jobs = frames::sends(20_000, "/queue/jobs", 1);
    let subscribe =
        b"SUBSCRIBE\nid:1\ndestination:/queue/jobs\nack:client\nprefetch-count:20000\n\n\0";
    Case::new("NACK of 20,000 again and again")
        .leaves(16.0)
        .run(|scene| {
            let (mut client, mut publisher) = (scene.door.tcp(), scene.door.tcp());
            publisher.sync(&jobs).unwrap();
            client.seen.kept = Some(Vec::new());
            client.sync(subscribe).unwrap();
            let begin = Instant::now();
            let mut rounds = 0;
            let mut result = Ok(());
            while begin.elapsed() < Duration::from_secs(2) && result.is_ok() {
                let expected = 20_000 * (rounds + 1);
                result = client.expect(|seen| seen.messages >= expected);
                let kept = client.seen.kept.replace(Vec::new()).unwrap();
                if let (Ok(()), Some(last)) = (&result, kept.last()) {
                    let nack = format!("NACK\nid:{}\n\n\0", header(last, "ack"));
                    result = client.write(nack.as_bytes());
                    rounds += 1;
                }
            }
            format!("{}; {rounds} rounds", told(&result))
        });
}
