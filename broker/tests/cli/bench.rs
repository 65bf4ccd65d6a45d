//! `stompd bench`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use serde_json::Value;
use stomp_codec::{Command, Decoder, Frame, Item, Limits, Version};

use crate::support::{Broker, Subscriber, run, signal, start, stompd};

/// Measures with these arguments: the exit status and the report.
fn bench(url: &str, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let fixed = ["bench", "--json", "--url", url];
    let (status, out, err) = run(&mut stompd(&[&fixed, arguments].concat()));
    (status, serde_json::from_str(&out).unwrap(), err)
}

#[test]
fn a_broker_that_keeps_its_word_loses_nothing() {
    let broker = Broker::start(&[]);
    let many = [
        "--publishers",
        "2",
        "--subscribers",
        "3",
        "--messages",
        "2000",
    ];
    for (url, more, delivered) in [
        (&broker.websocket, &[][..], 6000),
        (
            &broker.tcp,
            &["--destinations", "3", "--size", "1KiB"],
            2000,
        ),
        (&broker.tcp, &["--queue", "--destinations", "2"], 2000),
        // Several for each subscriber.
        (&broker.tcp, &["--destinations", "10"], 2000),
        (
            &broker.websocket,
            &["--queue", "--ack", "client-individual"],
            2000,
        ),
        (
            &broker.tcp,
            &["--ack", "client", "--prefetch", "10", "--version", "1.1"],
            6000,
        ),
        (&broker.tcp, &["--version", "1.0"], 6000),
    ] {
        let (status, report, err) = bench(url, &[&many, more].concat());
        assert_eq!((status, err.as_str()), (Some(0), ""), "{more:?}: {report}");
        assert_eq!(report["published"], 2000, "{more:?}: {report}");
        assert_eq!(report["delivered"], delivered, "{more:?}: {report}");
        assert_eq!(report["expected"], delivered, "{more:?}: {report}");
        for count in ["lost", "duplicates", "out_of_order", "damaged", "foreign"] {
            assert_eq!(report[count], 0, "{more:?}: {report}");
        }
        let latency = |name: &str| report["latency_ms"][name].as_f64().unwrap();
        assert!(
            0.0 < latency("p50") && latency("p50") <= latency("max"),
            "{report}"
        );
    }
}

#[test]
fn a_rate_is_kept_and_no_more() {
    let broker = Broker::start(&[]);
    let arguments = ["--rate", "200", "--duration", "1s", "--publishers", "2"];
    let (status, report, _) = bench(&broker.tcp, &arguments);
    assert_eq!(status, Some(0));
    let published = report["published"].as_u64().unwrap();
    assert!((100..=202).contains(&published), "{report}");
}

#[test]
fn the_table_says_what_was_found() {
    let broker = Broker::start(&[]);
    let arguments = ["bench", "--url", &broker.tcp, "--messages", "1500"];
    let (status, out, err) = run(&mut stompd(&arguments));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let row = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(row("published").contains(" 1,500 "), "{out}");
    assert!(row("lost").ends_with(" 0   of 1,500"), "{out}");
    assert!(
        row("latency").ends_with("p50      p90      p99    p99.9      max"),
        "{out}"
    );
}

#[test]
fn what_a_broker_does_wrong_is_found() {
    let url = faulty_broker();
    // One body after the other, so that the faults hit what they are meant for.
    let (status, report, err) = bench(&url, &["--messages", "20", "--rate", "1000"]);
    assert_eq!(status, Some(1), "{report}");
    assert_eq!(report["published"], 20, "{report}");
    assert_eq!(report["lost"], 2, "{report}");
    assert_eq!(report["duplicates"], 1, "{report}");
    assert_eq!(report["out_of_order"], 1, "{report}");
    assert_eq!(report["damaged"], 1, "{report}");
    assert_eq!(report["foreign"], 1, "{report}");
    assert_eq!(
        err,
        "stompd: 2 lost, 1 doubled, 1 out of order, 1 damaged\n"
    );
}

#[test]
fn what_is_lost_is_not_waited_for_for_ever() {
    let broker = Broker::start(&[]);
    // Another consumer takes half of it.
    let thief = Subscriber::start(&broker.tcp, &["/queue/stompd-bench.0"]);
    let (status, report, err) = bench(&broker.tcp, &["--queue", "--lag", "10"]);
    assert_eq!(status, Some(1), "{report}");
    assert!(report["lost"].as_u64().unwrap() >= 10, "{report}");
    assert!(err.contains(" lost"), "{err}");
    signal(&thief.child, "INT");
    thief.end();
}

#[test]
fn a_broker_that_dies_is_reported_with_what_was_measured() {
    let broker = Broker::start(&[]);
    let child = start(&mut stompd(&[
        "bench",
        "--json",
        "--url",
        &broker.tcp,
        "--rate",
        "100",
        "--duration",
        "1h",
    ]));
    broker.wait_for("stompd_messages_delivered_total", 10.0);
    signal(&broker.child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["delivered"].as_u64().unwrap() >= 10, "{report}");
    assert!(!report["errors"].as_array().unwrap().is_empty(), "{report}");
}

#[test]
fn interrupted_it_reports_what_was_measured() {
    let broker = Broker::start(&[]);
    let arguments = ["bench", "--json", "--url", &broker.tcp, "--rate", "100"];
    let child = start(stompd(&arguments).args(["--duration", "1h"]));
    broker.wait_for("stompd_messages_delivered_total", 10.0);
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["published"].as_u64().unwrap() >= 10, "{report}");
    assert_eq!(report["lost"], 0, "{report}");
}

/// A broker for topics that gives a receipt for everything, and of the messages it gets loses the
/// 3rd, doubles the 5th, cuts the 7th, adds one of its own after the 9th and swaps the 11th and 12th.
fn faulty_broker() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let subscriber = Arc::new(Mutex::new(None));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let subscriber = Arc::clone(&subscriber);
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream, &subscriber));
        }
    });
    url
}

fn serve(mut stream: TcpStream, subscriber: &Mutex<Option<TcpStream>>) {
    let version = Version::V1_2;
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(version);
    let (mut count, mut held, mut input) = (0, None, [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut input) {
        decoder.push(Bytes::copy_from_slice(&input[..read]));
        while let Some(item) = decoder.decode().unwrap() {
            let Item::Frame(frame) = item else { continue };
            match frame.command {
                Command::Connect => {
                    let connected = Frame::new(Command::Connected).with_header("version", "1.2");
                    stream.write_all(&connected.encode(version)).unwrap();
                }
                Command::Subscribe => {
                    *subscriber.lock().unwrap() = Some(stream.try_clone().unwrap());
                }
                Command::Send => {
                    count += 1;
                    let bodies = match count {
                        3 => vec![],
                        5 => vec![frame.body.clone(), frame.body.clone()],
                        7 => vec![frame.body.slice(..frame.body.len() - 1)],
                        9 => vec![frame.body.clone(), Bytes::from_static(b"of nobody")],
                        11 => {
                            held = Some(frame.body.clone());
                            vec![]
                        }
                        _ => [Some(frame.body.clone()), held.take()]
                            .into_iter()
                            .flatten()
                            .collect(),
                    };
                    let mut subscriber = subscriber.lock().unwrap();
                    for body in bodies {
                        let message = Frame::new(Command::Message).with_body(body);
                        let message = message.encode(version);
                        subscriber.as_mut().unwrap().write_all(&message).unwrap();
                    }
                }
                _ => {}
            }
            if let Some(receipt) = frame.header("receipt") {
                let receipt = Frame::new(Command::Receipt).with_header("receipt-id", receipt);
                stream.write_all(&receipt.encode(version)).unwrap();
            }
        }
    }
}
