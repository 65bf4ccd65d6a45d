//! What the broker says that queues take, against what the operating system says.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::Broker;

/// What is accounted and what is resident may differ by one part in five.
const TOLERANCE: f64 = 0.2;

/// Sends frames over TCP, and waits until all are accepted.
fn send(broker: &Broker, frames: &str) {
    let address = broker.tcp.trim_start_matches("tcp://");
    let mut stream = TcpStream::connect(address).unwrap();
    let connect = "CONNECT\naccept-version:1.2\nhost:x\n\n\0";
    let disconnect = "DISCONNECT\nreceipt:r\n\n\0";
    stream.write_all(connect.as_bytes()).unwrap();
    stream.write_all(frames.as_bytes()).unwrap();
    stream.write_all(disconnect.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("RECEIPT\nreceipt-id:r"), "{answer}");
}

/// What `frames` make the broker keep: as it says itself, and as the operating system says.
fn growth(frames: &str) -> (f64, f64) {
    let broker = Broker::with(&[], &[("STOMPD__QUEUE__MAX_LENGTH", "1000000")]);
    // What the first client needs is not of the queues.
    send(&broker, "SEND\ndestination:/queue/warm\n\n\0");
    let values =
        || ["stompd_queue_bytes", "process_resident_memory_bytes"].map(|n| broker.metric(n));
    let before = values();
    send(&broker, frames);
    let after = values();
    (after[0] - before[0], after[1] - before[1])
}

fn expect_accounted(frames: &str) {
    let (accounted, resident) = growth(frames);
    let ratio = accounted / resident;
    assert!(
        (1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&ratio),
        "{accounted} accounted, {resident} resident"
    );
}

#[test]
fn what_is_accounted_for_empty_messages_is_what_they_take() {
    expect_accounted(&"SEND\ndestination:/queue/a\n\n\0".repeat(200_000));
}

#[test]
fn what_is_accounted_for_many_queues_is_what_they_take() {
    let frames = (0..50_000).fold(String::new(), |mut frames, number| {
        let _ = write!(frames, "SEND\ndestination:/queue/{number}\n\n\0");
        frames
    });
    expect_accounted(&frames);
}
