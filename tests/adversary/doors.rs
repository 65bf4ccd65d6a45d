//! Connecting: descriptors, handshakes, connections that come and go, and the admin port.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::case::{Case, Scene};
use crate::client::{Client, Way, Window, ask};
use crate::frames;
use crate::readers::{Readers, nice};

const SECOND: Duration = Duration::from_secs(1);

/// Whether the admin port answers all three within 1 s, and the slowest time.
fn health(scene: &Scene) -> Duration {
    let times = ["/healthz", "/readyz", "/metrics"].map(|path| {
        let answer = ask(scene.door.admin, path);
        let time = answer.map_or(Duration::from_secs(9), |(_, time)| time);
        scene.expect(time < SECOND, format!("{path} does not answer within 1 s"));
        time
    });
    times.into_iter().max().unwrap()
}

#[test]
fn more_clients_than_descriptors() {
    Case::new("ulimit -n 200, 400 clients").files(200).run(|scene| {
        let way = |number: usize| [Way::Tcp, Way::WebSocket][number % 2];
        let clients = (0..400).map(|number| scene.door.knock(way(number)));
        let readers = Readers::of(clients.collect());
        thread::sleep(2 * SECOND);
        let slowest = health(scene);
        let clients = readers.stop();
        let (mut connected, mut refused, mut silent, mut hang) = (0, 0, 0, 0);
        for Client { seen, .. } in &clients {
            if seen.connected || (seen.upgrade.is_none() && !seen.ended && seen.bytes > 0) {
                connected += 1;
            } else if seen.ending().is_some() {
                refused += 1;
            } else if seen.ended {
                silent += 1;
            } else {
                hang += 1;
            }
        }
        scene.expect(hang == 0, format!("{hang} clients hang"));
        scene.expect(silent == 0, format!("{silent} are closed without a word"));
        format!("{connected} connected, {refused} refused, {silent} closed without a word, {hang} hang; admin ≤ {slowest:.1?}")
    });
}

#[test]
fn silent_connections_to_the_admin_port() {
    Case::new("190 silent connections to the admin port").run(|scene| {
        let open = |_| {
            let stream = TcpStream::connect(scene.door.admin).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        };
        let mut silent: Vec<_> = (0..190).map(open).collect();
        // Half of them send something, which is not a whole request.
        for stream in silent.iter_mut().step_by(2) {
            let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ");
        }
        let begin = Instant::now();
        let mut slowest = Duration::ZERO;
        while begin.elapsed() < 15 * SECOND && !silent.is_empty() {
            slowest = slowest.max(health(scene));
            silent.retain_mut(|stream| {
                matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == ErrorKind::WouldBlock)
            });
            thread::sleep(SECOND / 2);
        }
        let (left, time) = (silent.len(), begin.elapsed());
        scene.expect(left == 0, format!("{left} are open after 15 s"));
        format!("{left} of 190 open after {time:.1?}; admin ≤ {slowest:.1?}")
    });
}

/// Handshakes that begin and do not end.
#[test]
fn half_open_handshakes() {
    Case::new("2,000 half-open handshakes")
        .leaves(16.0)
        .run(|scene| {
            let half = |number: usize| {
                let address = [scene.door.websocket, scene.door.tcp][number % 2];
                let mut stream = TcpStream::connect(address).unwrap();
                let _ = stream
                    .write_all([b"GET /ws HTTP/1.1\r\nHo".as_slice(), b"CONNECT\nacc"][number % 2]);
                stream
            };
            let half: Vec<_> = (0..2000).map(half).collect();
            let begin = Instant::now();
            let whole = scene.door.connect(Way::WebSocket, "0,0", Window::Usual);
            let time = begin.elapsed();
            scene.expect(whole.is_ok(), "other clients cannot connect");
            thread::sleep(2 * SECOND);
            drop(half);
            format!("another one connects in {time:.1?}")
        });
}

/// Clients that connect, perhaps subscribe, and leave, as fast as they can.
#[test]
fn connections_that_come_and_go() {
    let subscribes = frames::subscribes(0, 20, "/topic/hello");
    Case::new("connections come and go").run(|scene| {
        let counts: Vec<_> = thread::scope(|threads| {
            let churn = |way| {
                let subscribes = &subscribes;
                threads.spawn(move || {
                    nice();
                    let (begin, mut count) = (Instant::now(), 0);
                    // The loopback interface has few ports.
                    while begin.elapsed() < 2 * SECOND && count < 5000 {
                        let Ok(mut client) = scene.door.connect(way, "0,0", Window::Usual) else {
                            break;
                        };
                        let _ = client.write(subscribes);
                        // A reset, which leaves no port behind.
                        let socket = socket2::SockRef::from(&client.stream);
                        socket.set_linger(Some(Duration::ZERO)).unwrap();
                        count += 1;
                    }
                    count
                })
            };
            let threads = [Way::Tcp, Way::WebSocket, Way::Tcp].map(churn);
            threads.map(|thread| thread.join().unwrap()).into()
        });
        format!("{} connections", counts.iter().sum::<i32>())
    });
}

/// Readers of metrics in a loop while there are very many queues, each with its own lines.
#[test]
fn scrapes_of_very_many_queues() {
    let sends = frames::many(100_000, |number| {
        format!("SEND\ndestination:/queue/q.{number}\n\nx")
    });
    let case = Case::new("4 scrape 100,000 queues in a loop").set("QUEUE__METRICS", "true");
    let case = case.set("QUEUE__MAX_QUEUES", "100000");
    case.growth(128.0).leaves(80.0).run(|scene| {
        let mut client = scene.door.tcp();
        let queues = crate::client::told(&client.sync(&sends));
        let admin = scene.door.admin;
        let times: Vec<Duration> = thread::scope(|threads| {
            let scrape = |_| {
                threads.spawn(move || {
                    nice();
                    let (begin, mut worst) = (Instant::now(), Duration::ZERO);
                    while begin.elapsed() < 3 * SECOND {
                        worst =
                            worst.max(ask(admin, "/metrics").map_or(5 * SECOND, |(_, time)| time));
                    }
                    worst
                })
            };
            let threads: Vec<_> = (0..4).map(scrape).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let worst = times.into_iter().max().unwrap();
        scene.expect(worst < 5 * SECOND, "a scrape takes 5 s");
        format!("queues {queues}; the slowest scrape took {worst:.1?}")
    });
}

/// A client that requests metrics and does not read the answer.
#[test]
fn scrapes_that_are_not_read() {
    let sends = frames::many(50_000, |number| {
        format!("SEND\ndestination:/queue/q.{number}\n\nx")
    });
    let case = Case::new("100 scrapes that are not read").set("QUEUE__METRICS", "true");
    let case = case.set("QUEUE__MAX_QUEUES", "100000");
    case.growth(160.0).leaves(64.0).run(|scene| {
        let mut client = scene.door.tcp();
        let queues = crate::client::told(&client.sync(&sends));
        let ask = |_| {
            let mut stream = TcpStream::connect(scene.door.admin).unwrap();
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
            stream
        };
        let unread: Vec<_> = (0..100).map(ask).collect();
        thread::sleep(3 * SECOND);
        let time = crate::client::ask(scene.door.admin, "/healthz").map(|(_, time)| time);
        scene.expect(
            time.is_some_and(|time| time < SECOND),
            "/healthz does not answer within 1 s",
        );
        drop(unread);
        format!("queues {queues}; /healthz in {time:.1?}")
    });
}
