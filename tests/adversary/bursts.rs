//! A publisher writes more at once than a subscriber takes at once.

use std::thread;
use std::time::Duration;

use crate::case::Case;
use crate::client::{Way, Window};
use crate::frames;
use crate::readers::Readers;

/// Both subscribers read 64 KiB and pause for 1 ms; all has to arrive.
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

/// A subscriber that stops reading is cut; when it reads on it finds out why.
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
fn who_stops_reading_over_tcp_reads_why() {
    stopped("a subscriber stops reading, TCP", Way::Tcp);
}

#[test]
fn who_stops_reading_over_websocket_reads_why() {
    stopped("a subscriber stops reading, WebSocket", Way::WebSocket);
}

/// Ten that do not read: together they must not stop the publisher's own round trips for long.
#[test]
fn many_subscribers_that_do_not_read() {
    let sends = frames::sends(20_000, "/topic/burst", 1000);
    Case::new("50 subscribers of a burst do not read")
        .leaves(32.0)
        .run(|scene| {
            let silent: Vec<_> = (0..50)
                .map(|_| {
                    let mut client = scene.door.tcp();
                    client
                        .sync(&frames::subscribes(0, 1, "/topic/burst"))
                        .unwrap();
                    client
                })
                .collect();
            let mut publisher = scene.door.tcp();
            let begin = std::time::Instant::now();
            publisher.sync(&sends).unwrap();
            let time = begin.elapsed();
            scene.expect(time < Duration::from_secs(5), "the publisher waits");
            drop(silent);
            format!("the publisher's burst took {:.2} s", time.as_secs_f64())
        });
}
