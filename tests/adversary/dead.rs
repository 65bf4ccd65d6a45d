//! Clients that are dead, or seem to be.

use std::thread;
use std::time::Duration;

use crate::case::Case;
use crate::client::{Way, Window};
use crate::frames;

const DEAD: usize = 4;

/// The output is blocked for longer than the EOL interval, then the client sends one byte and
/// closes its socket with unread input, which the kernel answers with a reset. Several of them,
/// since timing decides what the broker notices first.
fn dead(name: &'static str, way: Way, beat: &str) {
    let filling = frames::sends(3000, "/topic/filling", 1000);
    let jobs = frames::sends_in_turn(100 * DEAD, "/queue/jobs", DEAD, 10);
    Case::new(name).set("HEART_BEAT__SEND", "1s").run(|scene| {
        let mut other = scene.door.tcp();
        other.sync(&jobs).unwrap();
        let connect = |number| {
            let mut client = scene.door.connect(way, beat, Window::Small).unwrap();
            let subscribes = format!(
                "SUBSCRIBE\nid:1\ndestination:/queue/jobs.{number}\nack:client\n\n\0\
                 SUBSCRIBE\nid:2\ndestination:/topic/filling\n\n\0"
            );
            client.sync(subscribes.as_bytes()).unwrap();
            client.expect(|seen| seen.messages == 100).unwrap();
            client
        };
        let mut clients: Vec<_> = (0..DEAD).map(connect).collect();
        other.sync(&filling).unwrap();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(500));
            for client in clients.iter_mut().filter(|_| way == Way::WebSocket) {
                // Its own heart-beats, so that it is not cut as silent.
                client.write(b"\n").unwrap();
            }
        }
        for mut client in clients {
            let _ = client.raw(match way {
                Way::Tcp => b"\n",
                // The first byte of a message.
                Way::WebSocket => b"\x82",
            });
        }
        let used = scene.rested(Duration::from_secs(5)).as_secs_f64();
        scene.expect(used < 0.2, format!("{used:.2} s of processor time in 5 s"));
        let all = 100 * DEAD;
        other
            .write(&frames::subscribes_in_turn(0, DEAD, "/queue/jobs"))
            .unwrap();
        let back = other.wait(Duration::from_secs(2), |seen| seen.messages == all as u64);
        let count = other.seen.messages;
        scene.expect(back, format!("{count} of {all} messages came back"));
        format!("{used:.2} s of CPU in the 5 s after; {count} of {all} messages to another one")
    });
}

#[test]
fn dead_clients_over_tcp() {
    dead("4 dead, TCP 0,1000", Way::Tcp, "0,1000");
}

#[test]
fn dead_clients_over_websocket() {
    dead("4 dead, WebSocket 1000,1000", Way::WebSocket, "1000,1000");
}

/// Ten connections with 10,000 subscriptions each end at the same moment.
#[test]
fn a_hundred_thousand_subscriptions_that_end_at_once() {
    let subscribes: Vec<_> = (0..10)
        .map(|client| {
            frames::many(10_000, |number| {
                format!("SUBSCRIBE\nid:{number}\ndestination:/topic/ends.{client}.{number}")
            })
        })
        .collect();
    Case::new("100,000 subscriptions end at once").run(|scene| {
        let mut clients = Vec::new();
        for subscribes in &subscribes {
            let mut client = scene.door.tcp();
            client.sync(subscribes).unwrap();
            clients.push(client);
        }
        drop(clients);
        "accepted".to_owned()
    });
}

/// The same for one topic, whose list of receivers shrinks with each.
#[test]
fn a_hundred_thousand_receivers_that_end_at_once() {
    let subscribes = frames::subscribes(0, 10_000, "/topic/crowd");
    Case::new("100,000 receivers of one topic end at once").run(|scene| {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = scene.door.tcp();
            client.sync(&subscribes).unwrap();
            clients.push(client);
        }
        drop(clients);
        "accepted".to_owned()
    });
}
