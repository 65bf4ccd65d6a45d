//! A publisher writes more at once than a subscriber takes at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::client::{Client, Door, Way, Window};
use crate::frames;
use crate::readers::{Readers, nice};

/// Both subscribers read 64 KiB and pause for 1 ms; every message must arrive.
fn burst(name: &'static str, count: usize, body: usize) {
    let sends = frames::sends(count, "/topic/burst", body);
    Case::new(name).leaves(16.0).run(|scene| {
        let mut clients = vec![scene.door.tcp(), scene.door.websocket()];
        for client in &mut clients {
            client
                .sync(&frames::subscribes(0, 1, "/topic/burst"))
                .unwrap();
        }
        let readers = Readers::modest(clients, Duration::from_millis(1));
        let mut publisher = scene.door.tcp();
        publisher.sync(&sends).unwrap();
        readers.wait(2 * count as u64, Duration::from_secs(5));
        let ends: Vec<_> = readers
            .stop()
            .into_iter()
            .map(|client| {
                let (messages, why) = (client.seen.messages, client.seen.ending());
                let whole = messages == count as u64;
                scene.expect(whole, format!("{messages} of {count} arrive"));
                format!("{messages} {}", why.unwrap_or_default())
            })
            .collect();
        format!("TCP {}, WebSocket {}", ends[0].trim(), ends[1].trim())
    });
}

#[test]
fn a_burst_of_messages_of_1000_bytes() {
    burst("burst of 20,000 × 1,000 bytes", 20_000, 1000);
}

#[test]
fn a_burst_of_messages_of_100_bytes() {
    burst("burst of 100,000 × 100 bytes", 100_000, 100);
}

/// A subscriber that stops reading is cut; when it reads on it gets the reason.
fn stopped(name: &'static str, way: Way) {
    let sends = frames::sends(20_000, "/topic/burst", 1000);
    Case::new(name).leaves(16.0).run(|scene| {
        let mut client = scene.door.connect(way, "0,0", Window::Usual).unwrap();
        client
            .sync(&frames::subscribes(0, 1, "/topic/burst"))
            .unwrap();
        let mut publisher = scene.door.tcp();
        publisher.sync(&sends).unwrap();
        let cut = "stompd_refusals_total{reason=\"slow_consumer\"}";
        let cut = scene.broker.reaches(cut, 1.0, Duration::from_secs(5));
        thread::sleep(Duration::from_millis(500));
        let ended = client.wait(Duration::from_secs(5), |seen| seen.ended);
        let why = client.seen.ending().unwrap_or_default();
        scene.expect(cut && ended, "it was not cut");
        scene.expect(client.seen.error.is_some(), "no ERROR");
        let code = way == Way::Tcp || client.seen.close == Some(4007);
        scene.expect(code, "no close code 4007");
        format!("cut after {} messages with \"{why}\"", client.seen.messages)
    });
}

#[test]
fn a_subscriber_that_stopped_reading_over_tcp_gets_the_reason() {
    stopped("a subscriber stops reading, TCP", Way::Tcp);
}

#[test]
fn a_subscriber_that_stopped_reading_over_websocket_gets_the_reason() {
    stopped("a subscriber stops reading, WebSocket", Way::WebSocket);
}

/// A publisher's burst of 20 MB while `slow` controls subscribers to the topic. If the broker makes
/// the publisher wait for them, the wait is limited.
fn beside(name: &'static str, slow: impl Fn(Door, &AtomicBool) -> usize + Sync) {
    let sends = frames::sends(2000, "/topic/burst", 1000);
    Case::new(name).leaves(32.0).run(|scene| {
        let (stop, ready) = (AtomicBool::new(false), Duration::from_millis(300));
        let mut publisher = scene.door.tcp();
        let (mut worst, begin) = (Duration::ZERO, Instant::now());
        let subscribers = thread::scope(|threads| {
            let slow = threads.spawn(|| {
                nice();
                slow(scene.door, &stop)
            });
            thread::sleep(ready);
            for _ in 0..10 {
                let begin = Instant::now();
                publisher.sync(&sends).unwrap();
                worst = worst.max(begin.elapsed());
            }
            stop.store(true, Ordering::Relaxed);
            slow.join().unwrap()
        });
        let all = begin.elapsed().saturating_sub(ready);
        // A pause of 1 s, and then a tenth of the time.
        scene.at_most(Duration::from_secs(2), all, "the burst");
        format!("{subscribers} subscribers; the burst took {all:.1?}, a tenth of it {worst:.1?} at worst")
    });
}

fn subscriber(door: Door) -> Client {
    let mut client = door.tcp();
    client
        .sync(&frames::subscribes(0, 1, "/topic/burst"))
        .unwrap();
    client
}

#[test]
fn many_subscribers_that_do_not_read() {
    beside("burst, 50 subscribers do not read", |door, stop| {
        let silent: Vec<_> = (0..50).map(|_| subscriber(door)).collect();
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        silent.len()
    });
}

/// Each of them always makes some progress.
#[test]
fn many_subscribers_that_trickle() {
    beside(
        "burst, 50 subscribers read 100 bytes every 10 ms",
        |door, stop| {
            let mut tricklers: Vec<_> = (0..50).map(|_| subscriber(door)).collect();
            let mut few = [0; 100];
            while !stop.load(Ordering::Relaxed) {
                for client in &mut tricklers {
                    client.stream.set_nonblocking(true).unwrap();
                    client.read(&mut few);
                }
                thread::sleep(Duration::from_millis(10));
            }
            tricklers.len()
        },
    );
}

/// The publisher waits again for each one that reconnects; its own budget must limit that.
#[test]
fn subscribers_that_reconnect_again_and_again() {
    beside(
        "burst, 10 subscribers do not read and come back",
        |door, stop| {
            let mut silent: Vec<_> = (0..10).map(|_| subscriber(door)).collect();
            let mut count = silent.len();
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
                // Only a reader learns which of them was cut, so the oldest makes room.
                silent.remove(0);
                silent.push(subscriber(door));
                count += 1;
            }
            count
        },
    );
}
