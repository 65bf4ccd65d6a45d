//! Memory that an idle connection keeps.

use std::thread;
use std::time::Duration;

use crate::case::{Case, RETURNED, Scene, wait_until};
use crate::client::Client;
use crate::frames;
use crate::readers::Readers;

const CLIENTS: u32 = 200;
/// Memory that the broker may keep for itself, in KiB: its threads reuse it.
const OWN: u32 = 4096;
/// Number of connections, so large that the broker's common memory matters less.
const MANY: u32 = 1000;

/// The goal is 8 KiB; resident memory is counted in pages, and the allocator keeps some.
const KEPT: f64 = 8.0;

/// Memory that each of them holds in addition, in KiB.
fn kept(scene: &Scene, before: f64, clients: u32) -> String {
    thread::sleep(Duration::from_millis(500));
    let kept = || (scene.broker.resident() - before) * 1024.0 / f64::from(clients);
    let kept = wait_until(RETURNED, || kept() <= KEPT, kept);
    let most = KEPT + f64::from(OWN) / f64::from(clients);
    scene.expect(
        kept <= most,
        format!("an idle connection keeps {kept:.0} KiB"),
    );
    format!("{kept:.1} KiB stay for each connection")
}

#[test]
fn a_burst_that_was_drained() {
    let first = frames::send("/topic/burst.0", 100_000);
    let tiny = frames::sends_in_turn(17_800, "/topic/burst", 2, 1);
    Case::new("200 clients drain 17,800 messages each")
        .busy(CLIENTS)
        .run(|scene| {
            let small = |_| {
                let mut client = scene.door.small();
                client
                    .sync(&frames::subscribes_in_turn(0, 2, "/topic/burst"))
                    .unwrap();
                client
            };
            let clients: Vec<Client> = (0..CLIENTS).map(small).collect();
            let before = scene.broker.resident();
            let mut publisher = scene.door.tcp();
            // The first one fills the kernel's buffer.
            publisher.sync(&first).unwrap();
            publisher.sync(&tiny).unwrap();
            let full = scene.broker.resident() - before;
            for client in &clients {
                let socket = socket2::SockRef::from(&client.stream);
                socket.set_recv_buffer_size(1024 * 1024).unwrap();
            }
            let expected = 17_801 * u64::from(CLIENTS);
            let readers = Readers::two(clients);
            readers.wait(expected, Duration::from_secs(20));
            let messages = readers.messages();
            let clients = readers.stop();
            let ended = clients.iter().filter(|client| client.seen.ended).count();
            let kept = kept(scene, before, CLIENTS);
            drop(clients);
            format!(
                "{kept}; {full:.0} MiB while they wait; {messages} of {expected} read, {ended} cut"
            )
        });
}

#[test]
fn very_many_frames_in_one_write() {
    let tiny = frames::sends(1024, "/topic/nobody", 1);
    Case::new("1,000 clients send 1,024 tiny SENDs in one write")
        .busy(MANY)
        .run(|scene| {
            let mut clients: Vec<Client> = (0..MANY).map(|_| scene.door.tcp()).collect();
            let before = scene.broker.resident();
            for client in &mut clients {
                client.write(&tiny).unwrap();
            }
            for client in &mut clients {
                client.sync(&[]).unwrap();
            }
            let kept = kept(scene, before, MANY);
            drop(clients);
            kept
        });
}

/// Flights, receipts and held messages, whose memory a connection may keep.
#[test]
fn queues_and_transactions_that_were_used() {
    let jobs = frames::sends(1000, "/queue/jobs", 1);
    let held = frames::many(1000, |_| {
        "SEND\ndestination:/topic/nobody\ntransaction:t\n\nx".into()
    });
    let transaction = [
        b"BEGIN\ntransaction:t\n\n\0".as_slice(),
        &held,
        b"COMMIT\ntransaction:t\n\n\0",
    ]
    .concat();
    let subscribe =
        b"SUBSCRIBE\nid:1\ndestination:/queue/jobs\nack:client\nprefetch-count:1000\n\n\0";
    Case::new("1,000 clients use queues and transactions")
        .busy(MANY)
        .run(|scene| {
            let mut clients: Vec<Client> = (0..MANY).map(|_| scene.door.tcp()).collect();
            let before = scene.broker.resident();
            let mut publisher = scene.door.tcp();
            for client in &mut clients {
                publisher.sync(&jobs).unwrap();
                client.seen.kept = Some(Vec::new());
                client.sync(subscribe).unwrap();
                client.expect(|seen| seen.messages == 1000).unwrap();
                let kept = client.seen.kept.take().unwrap();
                let ack = crate::client::header(&kept[999], "ack");
                let ack = format!("ACK\nid:{ack}\n\n\0UNSUBSCRIBE\nid:1\n\n\0");
                client.sync(ack.as_bytes()).unwrap();
                client.sync(&transaction).unwrap();
            }
            let kept = kept(scene, before, MANY);
            drop(clients);
            kept
        });
}
