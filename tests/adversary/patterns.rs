//! The cost of matching, storing and changing patterns.

use std::time::{Duration, Instant};

use crate::case::Case;
use crate::client::{Client, Door, told};
use crate::frames;

/// A destination of 60 segments that matches none of the arrangements.
fn deep() -> Vec<u8> {
    let name = vec!["a"; 60].join(".");
    frames::send(&format!("/topic/{name}"), 4)
}

fn subscribed(door: Door, patterns: &[u8]) -> (Client, String) {
    let mut client = door.tcp();
    let outcome = told(&client.sync(patterns));
    (client, outcome)
}

/// Two clients send this at the same time; returns how long until both have their RECEIPT.
fn two_send(door: Door, bytes: &[u8]) -> Duration {
    let (mut one, mut two) = (door.tcp(), door.tcp());
    let begin = Instant::now();
    for client in [&mut one, &mut two] {
        client.write(bytes).unwrap();
        client.write(frames::SYNC).unwrap();
    }
    for client in [&mut one, &mut two] {
        client.expect(|seen| seen.receipts > 0).unwrap();
    }
    begin.elapsed()
}

#[test]
fn deep_sends_behind_ten_thousand_arrangements() {
    let patterns = frames::arrangements(10_000, 57);
    let subscribes = frames::many(patterns.len(), |number| {
        format!("SUBSCRIBE\nid:{number}\ndestination:{}", patterns[number])
    });
    let sends = deep().repeat(4);
    Case::new("10,000 patterns, 2 × 4 deep SENDs").run(|scene| {
        let (client, outcome) = subscribed(scene.door, &subscribes);
        let time = two_send(scene.door, &sends);
        drop(client);
        format!(
            "{outcome}; the SENDs took {:.1} ms",
            time.as_secs_f64() * 1e3
        )
    });
}

/// Patterns within the limits of a broker: few arrangements, each with many matches.
#[test]
fn deep_sends_behind_ten_thousand_patterns_of_one_arrangement() {
    let subscribes = frames::many(10_000, |number| {
        let middle = ["*"; 40].join(".");
        format!("SUBSCRIBE\nid:{number}\ndestination:/topic/#.{middle}.#.{number}")
    });
    let sends = deep().repeat(4);
    Case::new("10,000 patterns of one arrangement, deep SENDs").run(|scene| {
        let (client, outcome) = subscribed(scene.door, &subscribes);
        let time = two_send(scene.door, &sends);
        drop(client);
        format!(
            "{outcome}; the SENDs took {:.1} ms",
            time.as_secs_f64() * 1e3
        )
    });
}

/// Patterns spread over 20 connections, as one connection may not have all.
#[test]
fn deep_sends_behind_arrangements_of_many_connections() {
    let patterns = frames::arrangements(10_000, 57);
    let parts: Vec<_> = patterns.chunks(500).collect();
    let subscribes: Vec<_> = parts
        .iter()
        .map(|part| {
            frames::many(part.len(), |number| {
                format!("SUBSCRIBE\nid:{number}\ndestination:{}", part[number])
            })
        })
        .collect();
    let sends = deep().repeat(4);
    Case::new("20 × 500 patterns, deep SENDs").run(|scene| {
        let clients = subscribes.iter().map(|bytes| subscribed(scene.door, bytes));
        let clients: Vec<_> = clients.collect();
        let refused = clients
            .iter()
            .filter(|(_, outcome)| outcome != "accepted")
            .count();
        let time = two_send(scene.door, &sends);
        format!(
            "{refused} of 20 refused; the SENDs took {:.1} ms",
            time.as_secs_f64() * 1e3
        )
    });
}

#[test]
fn memory_of_long_patterns() {
    let rest = ["a"; 58].join(".");
    let subscribes = frames::many(10_000, |number| {
        let digits: Vec<_> = format!("{number:04}").chars().map(String::from).collect();
        let digits = digits.join(".");
        format!("SUBSCRIBE\nid:{number}\ndestination:/topic/*.{digits}.{rest}")
    });
    let mebibytes = f64::from(u32::try_from(subscribes.len()).unwrap()) / 1024.0 / 1024.0;
    // Ten times the bytes sent, and the broker's buffers for reading and writing.
    Case::new("10,000 patterns of 63 segments")
        .growth(10.0 * mebibytes + 4.0)
        .run(|scene| {
            let (client, outcome) = subscribed(scene.door, &subscribes);
            drop(client);
            format!("{outcome}; {mebibytes:.2} MiB sent")
        });
}

/// Each change of a pattern waits for matching tasks, and they wait for it.
#[test]
fn patterns_that_come_and_go() {
    let patterns = frames::arrangements(400, 57);
    let changes = frames::many(800, |number| {
        let pattern = &patterns[number / 2];
        if number % 2 == 0 {
            format!("SUBSCRIBE\nid:s\ndestination:{pattern}")
        } else {
            "UNSUBSCRIBE\nid:s".to_owned()
        }
    });
    let sends = deep().repeat(200);
    Case::new("patterns come and go, deep SENDs").run(|scene| {
        let (mut changing, mut sending) = (scene.door.tcp(), scene.door.tcp());
        let begin = Instant::now();
        let mut result = Ok(());
        let mut rounds = 0;
        while begin.elapsed() < Duration::from_secs(2) && result.is_ok() {
            sending.write(&sends).unwrap();
            result = changing.sync(&changes);
            sending.sync(&[]).unwrap();
            rounds += 1;
        }
        format!("{}; {rounds} × 800 changes", told(&result))
    });
}
