//! Messages to very many subscribers, and their effect on uninvolved clients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Scene};
use crate::client::{Client, Door};
use crate::frames;
use crate::readers::{Readers, nice};

/// Clients with `each` subscriptions to a topic whose ids are all different.
fn crowd(door: Door, clients: usize, each: usize, topic: &str) -> Vec<Client> {
    let subscribed = |number| {
        let mut client = door.tcp();
        client
            .sync(&frames::subscribes(number * each, each, topic))
            .unwrap();
        client
    };
    (0..clients).map(subscribed).collect()
}

fn cut(clients: &[Client]) -> usize {
    clients.iter().filter(|client| client.seen.ended).count()
}

/// Like a gateway: it reads as fast as it can and publishes to very many.
#[test]
fn a_fast_reader_that_publishes() {
    let burst = [frames::SYNC, &frames::sends(5, "/topic/wide", 10)].concat();
    let others = frames::sends(68, "/topic/gateway", 8000);
    Case::new("fast reader publishes to 80,000").run(|scene| {
        let readers = Readers::two(crowd(scene.door, 8, 10_000, "/topic/wide"));
        let mut gateway = scene.door.tcp();
        gateway
            .sync(&frames::subscribes(0, 1, "/topic/gateway"))
            .unwrap();
        let mut writing = gateway.twin();
        let reading = Readers::of(vec![gateway]);
        let stop = AtomicBool::new(false);
        let (mut wrote, mut before) = (0, 0);
        thread::scope(|threads| {
            for _ in 0..2 {
                // 110 MB/s in total.
                threads.spawn(|| pour(scene.door, &others, Duration::from_millis(10), &stop));
            }
            thread::sleep(Duration::from_millis(600));
            before = reading.messages();
            for _ in 0..6 {
                thread::sleep(Duration::from_millis(500));
                wrote += usize::from(writing.raw(&burst).is_ok());
            }
            thread::sleep(Duration::from_millis(600));
            stop.store(true, Ordering::Relaxed);
        });
        let wide = readers.messages();
        let gateway = reading.stop().remove(0);
        let (messages, ended) = (gateway.seen.messages, gateway.seen.ended);
        let why = gateway.seen.ending().unwrap_or_default();
        let lost = cut(&readers.stop());
        scene.expect(!ended, format!("the reader was cut: {why}"));
        scene.expect(lost == 0, format!("{lost} subscribers were cut"));
        let fate = if ended { "cut" } else { "lives" };
        format!(
            "{fate}, {wrote} of 6 writes, {messages} read ({before} before the first); {wide} to the 80,000; {lost} of 8 cut"
        )
    });
}

/// Publishes these bytes again and again until it is stopped.
fn pour(door: Door, bytes: &[u8], every: Duration, stop: &AtomicBool) {
    nice();
    let mut client = door.tcp();
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        if client.write(bytes).is_err() {
            return;
        }
        thread::sleep(every.saturating_sub(begin.elapsed()));
    }
}

/// Two bodies of 4 MiB to this many subscribers, each with its own id.
fn bodies(name: &'static str, workers: &str, subscribers: usize, reading: bool) {
    let sends = frames::sends(2, "/topic/large", 4 * 1024 * 1024 - 100);
    // The broker stores queued messages: a copy for each id.
    let case = Case::new(name)
        .set("RUNTIME__WORKERS", workers)
        .leaves(48.0);
    case.run(|scene| {
        let crowd = crowd(scene.door, subscribers, 1, "/topic/large");
        let mut publisher = scene.door.tcp();
        let expected = 2 * subscribers as u64;
        if !reading {
            publisher.sync(&sends).unwrap();
            thread::sleep(Duration::from_millis(500));
            drop(crowd);
            return "accepted; no client reads".to_owned();
        }
        let readers = Readers::of(crowd);
        publisher.sync(&sends).unwrap();
        readers.wait(expected, Duration::from_secs(15));
        let messages = readers.messages();
        let lost = cut(&readers.stop());
        format!("accepted; {messages} of {expected} read, {lost} cut")
    });
}

#[test]
fn large_bodies_to_readers_with_one_worker() {
    bodies("2 × 4 MiB to 250 readers, 1 worker", "1", 250, true);
}

#[test]
fn large_bodies_to_readers_with_two_workers() {
    bodies("2 × 4 MiB to 250 readers, 2 workers", "2", 250, true);
}

#[test]
fn large_bodies_to_clients_that_do_not_read_with_one_worker() {
    bodies(
        "2 × 4 MiB to 100 who do not read, 1 worker",
        "1",
        100,
        false,
    );
}

#[test]
fn large_bodies_to_clients_that_do_not_read_with_two_workers() {
    bodies(
        "2 × 4 MiB to 100 who do not read, 2 workers",
        "2",
        100,
        false,
    );
}

/// Each publish after a change rebuilds the list of 100,000 receivers.
fn rebuild(name: &'static str, workers: &str, changes: &[u8]) {
    let send = frames::send("/topic/crowd", 10);
    Case::new(name)
        .set("RUNTIME__WORKERS", workers)
        .leaves(16.0)
        .run(|scene| {
            let readers = Readers::two(crowd(scene.door, 20, 5000, "/topic/crowd"));
            let (mut changing, mut publisher) = (scene.door.tcp(), scene.door.tcp());
            let begin = Instant::now();
            let mut count = 0;
            while begin.elapsed() < Duration::from_secs(2) {
                changing.sync(changes).unwrap();
                publisher.sync(&send).unwrap();
                count += 1;
                thread::sleep(Duration::from_millis(150));
            }
            readers.wait(count * 100_000, Duration::from_secs(5));
            let messages = readers.messages();
            let lost = cut(&readers.stop());
            format!("accepted; {count} messages, {messages} read, {lost} of 20 cut")
        });
}

const PATTERN: &[u8] =
    b"SUBSCRIBE\nid:w\ndestination:/topic/unrelated.*\n\n\0UNSUBSCRIBE\nid:w\n\n\0";
const MEMBER: &[u8] = b"SUBSCRIBE\nid:w\ndestination:/topic/crowd\n\n\0UNSUBSCRIBE\nid:w\n\n\0";

#[test]
fn an_unrelated_pattern_rebuilds_an_audience_with_one_worker() {
    rebuild(
        "100,000 receivers, a pattern comes and goes, 1 worker",
        "1",
        PATTERN,
    );
}

#[test]
fn an_unrelated_pattern_rebuilds_an_audience_with_two_workers() {
    rebuild(
        "100,000 receivers, a pattern comes and goes, 2 workers",
        "2",
        PATTERN,
    );
}

#[test]
fn a_member_rebuilds_an_audience_with_one_worker() {
    rebuild(
        "100,000 receivers, a member comes and goes, 1 worker",
        "1",
        MEMBER,
    );
}

#[test]
fn a_member_rebuilds_an_audience_with_two_workers() {
    rebuild(
        "100,000 receivers, a member comes and goes, 2 workers",
        "2",
        MEMBER,
    );
}

/// A small message precedes a huge one in the same write.
#[test]
fn a_small_message_before_a_huge_one() {
    let both = [
        frames::send("/topic/small", 10),
        frames::send("/topic/huge", 10),
    ]
    .concat();
    Case::new("small before 60,000 in one write").run(|scene| {
        let readers = Readers::two(crowd(scene.door, 6, 10_000, "/topic/huge"));
        let mut times = small(scene, &both);
        let lost = cut(&readers.stop());
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        // The small one goes first, so half of them do not receive the huge one.
        scene.at_most(Duration::from_millis(5), median, "the small one");
        format!("small one: median {median:.1?}, worst {worst:.1?}; {lost} of 6 cut")
    });
}

fn small(scene: &Scene, both: &[u8]) -> Vec<Duration> {
    let (mut publisher, mut receiver) = (scene.door.tcp(), scene.door.tcp());
    receiver
        .sync(&frames::subscribes(0, 1, "/topic/small"))
        .unwrap();
    (1..=20)
        .map(|number| {
            thread::sleep(Duration::from_millis(150));
            let begin = Instant::now();
            publisher.write(both).unwrap();
            receiver.expect(|seen| seen.messages == number).unwrap();
            begin.elapsed()
        })
        .collect()
}
