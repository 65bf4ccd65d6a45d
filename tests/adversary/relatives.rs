//! The most expensive legal uses of shared resources that no other file covers.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Scene};
use crate::client::{Client, told};
use crate::frames;
use crate::readers::{Readers, nice};

const BUSY: Duration = Duration::from_millis(1500);

/// Repeats something for [`BUSY`]; returns how often, and the outcome.
fn again(mut what: impl FnMut() -> Result<(), String>) -> (u64, String) {
    let (begin, mut rounds) = (Instant::now(), 0);
    let mut result = Ok(());
    while begin.elapsed() < BUSY && result.is_ok() {
        result = what();
        rounds += 1;
    }
    (rounds, told(&result))
}

/// Each has its own queue.
#[test]
fn ten_thousand_private_queues_of_one_topic() {
    let subscribes = frames::many(10_000, |number| {
        format!("SUBSCRIBE\nid:{number}\ndestination:/topic/private\nack:client")
    });
    let send = frames::send("/topic/private", 10);
    Case::new("10,000 ack:client subscriptions to one topic")
        .growth(300.0)
        .leaves(32.0)
        .run(|scene| {
            let mut client = scene.door.tcp();
            let outcome = told(&client.sync(&subscribes));
            let readers = Readers::of(vec![client]);
            let mut publisher = scene.door.tcp();
            let (rounds, fate) = again(|| {
                thread::sleep(Duration::from_millis(50));
                publisher.sync(&send)
            });
            let messages = readers.messages();
            readers.stop();
            format!("{outcome}; {rounds} SENDs {fate}, {messages} read")
        });
}

#[test]
fn a_commit_to_a_thousand_queues() {
    let held = frames::many(1024, |number| {
        format!("SEND\ndestination:/queue/commit.{number}\ntransaction:t\n\nx")
    });
    let transaction = [
        b"BEGIN\ntransaction:t\n\n\0".as_slice(),
        &held,
        b"COMMIT\ntransaction:t\n\n\0",
    ]
    .concat();
    Case::new("COMMIT to 1,024 queues in a loop")
        .leaves(64.0)
        .run(|scene| {
            let mut client = scene.door.tcp();
            let mut rounds = 0;
            let (_, outcome) = again(|| {
                // The memory of the queues is limited to that.
                if rounds == 100 {
                    thread::sleep(BUSY);
                    return Ok(());
                }
                rounds += 1;
                client.sync(&transaction)
            });
            format!("{outcome}; {rounds} transactions")
        });
}

#[test]
fn ten_thousand_queue_subscriptions_that_read_in_bursts() {
    let subscribes = frames::many(10_000, |number| {
        format!("SUBSCRIBE\nid:{number}\ndestination:/queue/q.{number}")
    });
    let sends = frames::many(100_000, |number| {
        format!(
            "SEND\ndestination:/queue/q.{}\n\n{}",
            number % 10_000,
            "x".repeat(200)
        )
    });
    let case = Case::new("10,000 auto subscriptions to queues, read in bursts");
    case.set("QUEUE__MAX_QUEUES", "100000")
        .leaves(48.0)
        .run(|scene| {
            let mut publisher = scene.door.tcp();
            let queues = told(&publisher.sync(&sends));
            let mut client = scene.door.small();
            let mut result = client.write(&subscribes);
            let begin = Instant::now();
            while begin.elapsed() < 2 * BUSY && client.seen.messages < 100_000 && result.is_ok() {
                thread::sleep(Duration::from_millis(100));
                let socket = socket2::SockRef::from(&client.stream);
                socket.set_recv_buffer_size(1024 * 1024).unwrap();
                let wanted = client.seen.messages + 10_000;
                client.wait(Duration::from_millis(300), |seen| seen.messages >= wanted);
                if client.seen.ended {
                    result = Err(client.seen.ending().unwrap_or_default());
                }
            }
            format!(
                "queues {queues}, subscriptions {}; {} read",
                told(&result),
                client.seen.messages
            )
        });
}

/// Two clients write the same bytes as fast as the broker reads them.
fn flood(name: &'static str, bytes: &[u8], reading: bool) {
    Case::new(name).leaves(16.0).run(|scene| {
        let outcomes: Vec<_> = thread::scope(|threads| {
            let flood = |_| {
                threads.spawn(|| {
                    nice();
                    let mut client = scene.door.tcp();
                    client.stream.set_write_timeout(Some(BUSY)).unwrap();
                    let reader = reading.then(|| Readers::of(vec![client.twin()]));
                    let outcome = if reading {
                        while_nonblocking(&mut client, bytes)
                    } else {
                        again(|| client.write(bytes)).1
                    };
                    drop(reader.map(Readers::stop));
                    outcome
                })
            };
            let threads = [0, 1].map(flood);
            threads.map(|thread| thread.join().unwrap()).into()
        });
        outcomes.join(", ")
    });
}

/// The reader's copy of the socket has made it non-blocking.
fn while_nonblocking(client: &mut Client, bytes: &[u8]) -> String {
    let (begin, mut left) = (Instant::now(), bytes);
    let mut total = 0;
    while begin.elapsed() < BUSY {
        match client.stream.write(left) {
            Ok(count) => {
                (left, total) = (&left[count..], total + count);
                if left.is_empty() {
                    left = bytes;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return "refused".to_owned(),
        }
    }
    format!("{} MB", total / 1_000_000)
}

#[test]
fn reads_full_of_heart_beats() {
    flood("floods of EOLs", &b"\n".repeat(1024 * 1024), false);
}

#[test]
fn reads_full_of_acks_that_are_ignored() {
    flood(
        "floods of ignored ACKs",
        &frames::many(50_000, |_| "ACK\nid:undefined".into()),
        false,
    );
}

#[test]
fn reads_full_of_transactions() {
    let bytes = frames::many(40_000, |number| {
        let command = ["BEGIN", "ABORT"][number % 2];
        format!("{command}\ntransaction:t")
    });
    flood("floods of BEGIN and ABORT", &bytes, false);
}

#[test]
fn reads_full_of_subscribes() {
    let bytes = frames::many(40_000, |number| {
        let command = ["SUBSCRIBE", "UNSUBSCRIBE"][number % 2];
        format!("{command}\nid:1\ndestination:/topic/churn.{}", number / 2)
    });
    flood("floods of SUBSCRIBE and UNSUBSCRIBE", &bytes, false);
}

#[test]
fn reads_full_of_queues_that_are_created_and_removed() {
    let bytes = frames::many(40_000, |number| {
        let command = ["SUBSCRIBE", "UNSUBSCRIBE"][number % 2];
        format!("{command}\nid:1\ndestination:/queue/churn.{}", number / 2)
    });
    flood("queues come and go", &bytes, false);
}

#[test]
fn reads_full_of_sends_without_subscribers() {
    flood(
        "floods of SENDs without subscribers",
        &frames::sends(20_000, "/topic/nobody", 1),
        false,
    );
}

#[test]
fn receipts_that_are_not_read() {
    let bytes = frames::many(200, |number| {
        format!("SEND\ndestination:/topic/a\nreceipt:{number:016000}")
    });
    flood("floods of long RECEIPTs, not read", &bytes, false);
}

#[test]
fn receipts_that_are_read() {
    let bytes = frames::many(200, |number| {
        format!("SEND\ndestination:/topic/a\nreceipt:{number:016000}")
    });
    flood("floods of long RECEIPTs, read", &bytes, true);
}

#[test]
fn headers_up_to_their_limits() {
    let mut frame = String::from("SEND\ndestination:/topic/nobody\n");
    for number in 0..250 {
        writeln!(frame, "header-{number}:{}", "\\c".repeat(100)).unwrap();
    }
    let frame = frame.trim_end().to_owned();
    flood(
        "floods of 250 escaped headers",
        &frames::many(100, |_| frame.clone()),
        false,
    );
}

/// WebSocket messages of one byte each, and Pings whose Pongs are not read.
#[test]
fn messages_of_websocket_with_one_byte() {
    let piece = [0x82, 0x81, 0, 0, 0, 0, b'\n'];
    websocket("WebSocket messages with 1 byte", &piece.repeat(100_000));
}

#[test]
fn pings_whose_pongs_are_not_read() {
    let mut ping = vec![0x89, 0x80 + 125, 0, 0, 0, 0];
    ping.extend([b'p'; 125]);
    websocket("WebSocket Pings, Pongs not read", &ping.repeat(5000));
}

fn websocket(name: &'static str, bytes: &[u8]) {
    Case::new(name).leaves(16.0).run(|scene| {
        let mut client = scene.door.websocket();
        client.stream.set_write_timeout(Some(BUSY)).unwrap();
        let (rounds, outcome) = again(|| client.raw(bytes));
        format!("{outcome}; {rounds} × {} KiB", bytes.len() / 1024)
    });
}

/// Four clients send the same bytes in small pieces, the last of which completes a frame.
fn pieces(name: &'static str, websocket: bool, bytes: &[u8], size: usize) {
    Case::new(name).leaves(16.0).run(|scene| {
        let before = scene.broker.cpu();
        let address = if websocket {
            scene.door.websocket
        } else {
            scene.door.tcp
        };
        thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    nice();
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream.set_write_timeout(Some(BUSY)).unwrap();
                    let begin = Instant::now();
                    for piece in bytes.chunks(size) {
                        if begin.elapsed() > 3 * BUSY || stream.write_all(piece).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let used = scene.broker.cpu().saturating_sub(before).as_secs_f64();
        let pieces = 4 * bytes.len().div_ceil(size);
        format!("{used:.2} s of CPU for {pieces} pieces")
    });
}

const CONNECT: &str = "CONNECT\naccept-version:1.2\nhost:h\n\n\0";

#[test]
fn long_headers_byte_by_byte() {
    let line = "x".repeat(16_000);
    let bytes = format!("{CONNECT}SEND\ndestination:/topic/a\na:{line}\nb:{line}\nc:{line}\n\n\0");
    pieces("headers of 48 KB byte by byte", false, bytes.as_bytes(), 1);
}

#[test]
fn many_headers_byte_by_byte() {
    let send = format!(
        "SEND\ndestination:/topic/a\n{}\n\0",
        "name:value\n".repeat(250)
    );
    let bytes = format!("{CONNECT}{}", send.repeat(10));
    pieces("10 × 250 headers byte by byte", false, bytes.as_bytes(), 1);
}

#[test]
fn a_body_in_small_pieces() {
    let body = "x".repeat(1024 * 1024);
    let bytes = format!("{CONNECT}SEND\ndestination:/topic/a\n\n{body}\0");
    pieces(
        "a body of 1 MiB in pieces of 16 bytes",
        false,
        bytes.as_bytes(),
        16,
    );
}

#[test]
fn an_upgrade_byte_by_byte() {
    let mut bytes = String::from("GET /ws HTTP/1.1\r\nHost: localhost\r\n");
    for number in 0..50 {
        write!(bytes, "X-{number}: {}\r\n", "x".repeat(300)).unwrap();
    }
    bytes += "\r\n";
    pieces(
        "an upgrade of 15 KB byte by byte",
        true,
        bytes.as_bytes(),
        1,
    );
}

/// Each sends all but the end of a body, which the broker has to keep.
#[test]
fn bodies_that_do_not_end() {
    let head = b"SEND\ndestination:/topic/a\ncontent-length:4194000\n\n";
    let bytes = [head.as_slice(), &b"x".repeat(4_000_000)].concat();
    Case::new("50 unfinished bodies of 4 MB")
        .growth(330.0)
        .run(|scene| {
            let mut clients: Vec<_> = (0..50).map(|_| scene.door.tcp()).collect();
            for client in &mut clients {
                client.write(&bytes).unwrap();
            }
            thread::sleep(Duration::from_millis(300));
            drop(clients);
            "accepted".to_owned()
        });
}

/// A thousand consumers share a queue, so each message looks for one that has credit.
#[test]
fn a_queue_with_a_thousand_consumers() {
    let sends = frames::sends(2000, "/queue/shared", 10);
    Case::new("a queue with 10,000 consumers, none settles").leaves(32.0).run(|scene| {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let mut client = scene.door.tcp();
            let subscribes = frames::many(1000, |number| {
                format!("SUBSCRIBE\nid:{number}\ndestination:/queue/shared\nack:client\nprefetch-count:1")
            });
            client.sync(&subscribes).unwrap();
            clients.push(client);
        }
        let readers = Readers::of(clients);
        let mut publisher = scene.door.tcp();
        let (rounds, outcome) = again(|| publisher.sync(&sends));
        let messages = readers.messages();
        readers.stop();
        format!("{outcome}; {rounds} × 2,000 SENDs, {messages} delivered")
    });
}

/// One message matches very many patterns of one client.
#[test]
fn a_message_that_matches_ten_thousand_patterns() {
    let subscribes = frames::many(10_000, |number| {
        let (a, b) = (number % 100, number / 100);
        let segment = |index| {
            if index == a % 10 || index == b % 10 {
                "*"
            } else {
                "a"
            }
        };
        let name: Vec<_> = (0..10).map(segment).collect();
        format!(
            "SUBSCRIBE\nid:{number}\ndestination:/topic/{}.#",
            name.join(".")
        )
    });
    let name = ["a"; 12].join(".");
    let send = frames::send(&format!("/topic/{name}"), 10);
    Case::new("a message matches 10,000 patterns")
        .leaves(16.0)
        .run(|scene| {
            let mut client = scene.door.tcp();
            let outcome = told(&client.sync(&subscribes));
            let readers = Readers::of(vec![client]);
            let mut publisher = scene.door.tcp();
            let (rounds, fate) = again(|| {
                thread::sleep(Duration::from_millis(30));
                publisher.sync(&send)
            });
            let messages = readers.messages();
            readers.stop();
            format!("{outcome}; {rounds} SENDs {fate}, {messages} read")
        });
}

/// Each of many destinations has very many receivers: more audiences than the cache holds.
#[test]
fn audiences_that_evict_each_other_from_the_cache() {
    Case::new("40 topics with 8,000 receivers each in turn")
        .leaves(48.0)
        .run(|scene| {
            let readers = Readers::two(receivers(scene));
            let sends: Vec<_> = (0..40)
                .map(|topic| frames::send(&format!("/topic/turn.{topic}"), 10))
                .collect();
            let mut publisher = scene.door.tcp();
            let mut turn = 0;
            let (rounds, outcome) = again(|| {
                turn += 1;
                thread::sleep(Duration::from_millis(10));
                publisher.sync(&sends[turn % 40])
            });
            let messages = readers.messages();
            readers.stop();
            format!("{outcome}; {rounds} SENDs, {messages} read")
        });
}

/// 32 clients, each with 250 subscriptions to each of the 40 topics.
fn receivers(scene: &Scene) -> Vec<Client> {
    let subscribes = frames::many(10_000, |number| {
        format!(
            "SUBSCRIBE\nid:{number}\ndestination:/topic/turn.{}",
            number % 40
        )
    });
    let member = |_| {
        let mut client = scene.door.tcp();
        client.sync(&subscribes).unwrap();
        client
    };
    (0..32).map(member).collect()
}
