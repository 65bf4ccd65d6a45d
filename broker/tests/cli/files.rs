//! A broker that has fewer file descriptors than clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::support::{Broker, run, stompd};

const FILES: u32 = 200;

fn connect(address: &str) -> TcpStream {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let address = address.split('/').next().unwrap_or_default();
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// A client that says what it has to say; returned with the first bytes of the answer.
fn client(address: &str, request: &str) -> (TcpStream, String) {
    let mut stream = connect(address);
    // Who is refused may find the connection closed already; the answer is there all the same.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = [0; 64];
    let read = stream.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    (stream, answer)
}

#[test]
fn who_finds_no_file_descriptor_is_refused_and_operators_are_answered() {
    let broker = Broker::with_files(FILES, &[]);
    assert!(broker.begin.contains("LimitNOFILE"), "{}", broker.begin);
    let room = broker.metric("stompd_connections_limit");
    assert!((100.0..190.0).contains(&room), "{room}");
    let connect = "CONNECT\naccept-version:1.2\nhost:x\n\n\0";
    let upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let (mut clients, mut welcome, mut refused) = (Vec::new(), 0, 0);
    for number in 0..400 {
        let (address, request) = match number % 2 {
            0 => (&broker.tcp, connect),
            _ => (&broker.websocket, upgrade),
        };
        let (stream, answer) = client(address, request);
        clients.push(stream);
        match answer.split(['\n', ' ']).take(2).collect::<Vec<_>>()[..] {
            ["CONNECTED", _] | ["HTTP/1.1", "101"] => welcome += 1,
            ["ERROR", _] | ["HTTP/1.1", "503"] => refused += 1,
            _ => panic!("client {number} was answered {answer:?}"),
        }
    }
    assert!(
        (f64::from(welcome) - room).abs() < 0.5,
        "{welcome} of {room}"
    );
    assert_eq!(welcome + refused, 400);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = broker.ask(path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let address = |url: &str| url.split(['/', '\n']).nth(2).unwrap().to_owned();
    for flags in [
        ["--websocket", &address(&broker.websocket), "--tcp", ""],
        ["--websocket", "", "--tcp", &address(&broker.tcp)],
    ] {
        let (status, out, err) = run(stompd(&["healthcheck"]).args(flags));
        assert_eq!(status, Some(0), "{out}{err}");
    }
    // The alert near the limit sees it, and no accept has failed.
    let there = broker.metric("stompd_connections{transport=\"tcp\"}")
        + broker.metric("stompd_connections{transport=\"websocket\"}");
    assert!(there / room > 0.8, "{there} of {room}");
    for listener in ["websocket", "tcp", "admin"] {
        let name = format!("stompd_accept_errors_total{{listener=\"{listener}\"}}");
        assert!(broker.metric(&name) < 0.5, "{name}");
    }
}

#[test]
fn a_broker_with_enough_files_says_nothing_of_them() {
    let broker = Broker::with(&[], &[("STOMPD__LIMITS__CONNECTIONS", "100")]);
    assert!(!broker.begin.contains("LimitNOFILE"), "{}", broker.begin);
    assert!((broker.metric("stompd_connections_limit") - 100.0).abs() < 0.5);
}

#[test]
fn accepts_that_fail_are_counted_and_logged_once() {
    let broker = Broker::start(&[]);
    let limit = |files: u32| {
        let pid = broker.child.id().to_string();
        let limits = format!("--nofile={files}:");
        let set = Command::new("prlimit")
            .args(["--pid", &pid, &limits])
            .status();
        assert!(set.unwrap().success());
    };
    // Fewer than are open already.
    limit(6);
    let mut waiting = connect(&broker.tcp);
    waiting
        .write_all(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        .unwrap();
    // Some accepts are to fail.
    thread::sleep(Duration::from_millis(500));
    limit(200);
    let mut answer = [0; 9];
    waiting.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"CONNECTED");
    let failed = broker.metric("stompd_accept_errors_total{listener=\"tcp\"}");
    assert!((2.0..20.0).contains(&failed), "{failed}");
    drop(waiting);
    let log = broker.stop();
    let lines = log.lines().filter(|line| line.contains("cannot accept"));
    assert_eq!(lines.count(), 1, "{log}");
}
