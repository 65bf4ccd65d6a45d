//! `stompd pub` and `stompd sub`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::{Broker, Subscriber, run, run_with, signal, stompd};

/// Publishes and expects that to succeed in silence.
#[track_caller]
fn publish(url: &str, arguments: &[&str], input: &[u8]) {
    let mut command = stompd(&[&["pub", "--url", url], arguments].concat());
    assert_eq!(
        run_with(&mut command, input),
        (Some(0), String::new(), String::new())
    );
}

#[test]
fn bodies_of_every_kind_arrive_as_they_were_sent() {
    let broker = Broker::start(&[]);
    for url in [&broker.websocket, &broker.tcp] {
        let subscriber = Subscriber::start(url, &["/topic/a", "--count", "5"]);
        publish(url, &["/topic/a", "Hello"], b"");
        publish(url, &["/topic/a", "-"], b"bin\0ary \xff\n");
        publish(url, &["/topic/a"], b"from a pipe");
        publish(url, &["/topic/a", ""], b"not read");
        publish(url, &["/topic/a", "--", "-dashes-"], b"");
        let expected = b"Hello\nbin\0ary \xff\n\nfrom a pipe\n\n-dashes-\n";
        let (status, out, err) = subscriber.end();
        assert_eq!((status, err.as_str()), (Some(0), ""), "{url}");
        assert_eq!(out, expected, "{url}");
    }
}

#[test]
fn without_newline_one_body_is_exactly_one_body() {
    let broker = Broker::start(&[]);
    let subscriber = Subscriber::start(&broker.tcp, &["/topic/a", "-N", "--count", "2"]);
    publish(&broker.tcp, &["/topic/a", "--count", "2"], b"\0\x01\xfe");
    assert_eq!(subscriber.end().1, b"\0\x01\xfe\0\x01\xfe");
}

#[test]
fn lines_are_messages_as_they_come() {
    let broker = Broker::start(&[]);
    let mut subscriber = Subscriber::start(&broker.websocket, &["/topic/a", "--count", "3"]);
    let mut out = BufReader::new(subscriber.child.stdout.take().unwrap());
    let mut command = stompd(&["pub", "--url", &broker.websocket, "/topic/a", "--lines"]);
    let mut publisher = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = publisher.stdin.take().unwrap();
    // Each line arrives while the input is still open.
    for line in ["first\n", "\n"] {
        input.write_all(line.as_bytes()).unwrap();
        let mut read = String::new();
        out.read_line(&mut read).unwrap();
        assert_eq!(read, line);
    }
    input.write_all(b"last, without its end").unwrap();
    drop(input);
    assert_eq!(publisher.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "last, without its end\n");
    assert_eq!(subscriber.end().0, Some(0));
}

#[test]
fn headers_are_sent_and_printed() {
    let broker = Broker::start(&[]);
    let subscriber = Subscriber::start(&broker.tcp, &["/topic/a", "--headers", "--count", "1"]);
    let headers = [
        "-H",
        "note:a:b",
        "--header",
        "empty:",
        "--content-type",
        "text/x",
    ];
    publish(
        &broker.tcp,
        &[&["/topic/a", "body"], &headers[..]].concat(),
        b"",
    );
    let out = String::from_utf8(subscriber.end().1).unwrap();
    let (head, body) = out.split_once("\n\n").unwrap();
    assert_eq!(body, "body\n");
    for line in [
        "destination: /topic/a",
        "note: a:b",
        "empty: ",
        "content-type: text/x",
    ] {
        assert!(head.lines().any(|it| it == line), "{line}: {out}");
    }
}

#[test]
fn json_has_a_line_for_each_message() {
    let broker = Broker::start(&[]);
    let url = &broker.websocket;
    let subscriber = Subscriber::start(url, &["/topic/*", "--json", "--count", "2"]);
    publish(url, &["/topic/a", "two\nlines", "-H", "note:x"], b"");
    publish(url, &["/topic/b"], b"\xff\0");
    let out = String::from_utf8(subscriber.end().1).unwrap();
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["destination"], "/topic/a");
    assert_eq!(lines[0]["headers"]["note"], "x");
    assert_eq!(lines[0]["body"], "two\nlines");
    assert_eq!(lines[1]["destination"], "/topic/b");
    assert_eq!(lines[1]["body_base64"], "/wA=");
    assert_eq!(lines[1].get("body"), None);
}

#[test]
fn of_a_queue_only_what_was_printed_is_gone() {
    let broker = Broker::start(&[]);
    for (url, ack) in [
        (&broker.tcp, "client-individual"),
        (&broker.websocket, "client"),
    ] {
        publish(url, &["/queue/a", "--lines"], b"1\n2\n3\n4\n");
        let taken = |count: &str, more: &[&str]| {
            let fixed = ["sub", "--url", url, "/queue/a", "--count", count];
            run(&mut stompd(&[&fixed, more].concat()))
        };
        let (status, out, err) = taken("1", &[]);
        assert_eq!((status, out.as_str(), err.as_str()), (Some(0), "1\n", ""));
        assert_eq!(taken("2", &["--ack", ack, "--prefetch", "4"]).1, "2\n3\n");
        assert_eq!(taken("1", &["--version", "1.0"]).1, "4\n");
        let (status, out, err) = taken("1", &["--timeout", "100ms"]);
        assert_eq!((status, out.as_str()), (Some(1), ""));
        assert!(err.contains("the time is up with 0 of 1 messages"), "{err}");
    }
    // By its other name it is a queue as well.
    let taken = || {
        let fixed = ["sub", "--url", &broker.tcp, "/amq/queue/b", "--count", "1"];
        run(&mut stompd(&fixed)).1
    };
    publish(&broker.tcp, &["/queue/b", "--lines"], b"1\n2\n");
    assert_eq!((taken(), taken()), ("1\n".to_owned(), "2\n".to_owned()));
}

#[test]
fn a_reader_that_leaves_loses_nothing_of_a_queue() {
    let broker = Broker::start(&[]);
    let url = &broker.tcp;
    let mut subscriber = Subscriber::start(url, &["/queue/a", "--prefetch", "1"]);
    let mut out = BufReader::new(subscriber.child.stdout.take().unwrap());
    publish(url, &["/queue/a", "1"], b"");
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    publish(url, &["/queue/a", "2"], b"");
    let (status, _, err) = subscriber.end();
    assert_eq!((line.as_str(), status, err.as_str()), ("1\n", Some(0), ""));
    let (_, out, _) = run(&mut stompd(&["sub", "-u", url, "/queue/a", "--count", "1"]));
    assert_eq!(out, "2\n");
}

#[test]
fn interrupted_it_tells_how_many_came() {
    let broker = Broker::start(&[]);
    for (name, url) in [("INT", &broker.websocket), ("TERM", &broker.tcp)] {
        let mut subscriber = Subscriber::start(url, &["/topic/a"]);
        publish(url, &["/topic/a", "x"], b"");
        let mut out = BufReader::new(subscriber.child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        signal(&subscriber.child, name);
        let (status, _, err) = subscriber.end();
        assert_eq!((status, err.as_str()), (Some(0), "stompd: 1 messages\n"));
    }
}

#[test]
fn an_interrupted_publisher_says_what_is_confirmed() {
    let broker = Broker::start(&[]);
    let mut subscriber = Subscriber::start(&broker.tcp, &["/topic/a", "--count", "1"]);
    let mut command = stompd(&["pub", "-u", &broker.tcp, "/topic/a", "x", "--count", "9"]);
    let child = crate::support::start(command.args(["--interval", "1h"]));
    subscriber.child.wait().unwrap();
    // The RECEIPT follows the MESSAGE, and nothing shows from outside that it has arrived.
    thread::sleep(Duration::from_millis(200));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        output.stderr,
        b"stompd: interrupted after 1 of 9 messages\n"
    );
}

#[test]
fn a_broker_that_stops_is_a_failure_with_its_reason() {
    let broker = Broker::start(&[]);
    let subscriber = Subscriber::start(&broker.websocket, &["/topic/a"]);
    signal(&broker.child, "TERM");
    let (status, _, err) = subscriber.end();
    assert_eq!(status, Some(1));
    let reason = "stompd: the broker closed the connection: 1001 ";
    assert!(err.starts_with(reason), "{err}");
}

#[test]
fn refusals_are_told_as_the_broker_tells_them() {
    let broker = Broker::start(&[]);
    for url in [&broker.websocket, &broker.tcp] {
        for command in ["pub", "sub"] {
            let (status, out, err) = run(&mut stompd(&[command, "-u", url, "/topic/"]));
            assert_eq!((status, out.as_str()), (Some(1), ""));
            assert!(err.starts_with("stompd: the broker refused: "), "{err}");
            assert!(err.lines().count() > 1, "the body is printed too: {err}");
        }
    }
}

#[test]
fn the_first_message_refused_of_many_is_counted() {
    let broker = Broker::with(&[], &[("STOMPD__QUEUE__MAX_LENGTH", "3")]);
    let mut command = stompd(&["pub", "-u", &broker.tcp, "/queue/a", "x", "--count", "9"]);
    let (status, _, err) = run(&mut command);
    assert_eq!(status, Some(1));
    assert!(err.ends_with("\n3 of 9 messages are confirmed\n"), "{err}");
}

#[test]
fn what_newcomers_do_wrong_is_explained() {
    let broker = Broker::start(&[]);
    let refused = "tcp://127.0.0.1:1".to_owned();
    let wrong_path = broker.websocket.replace("/ws", "/nope");
    let tcp_as_ws = format!("{}/ws", broker.tcp.replace("tcp:", "ws:"));
    let ws_as_tcp = broker.websocket.replace("ws:", "tcp:").replace("/ws", "");
    for (url, advice) in [
        (&refused, "Connection refused (is the broker running"),
        (
            &wrong_path,
            "404: There is nothing here. WebSockets are opened at /ws",
        ),
        (&tcp_as_ws, "begins with tcp://)"),
        (&ws_as_tcp, "begins with ws:// and has a path)"),
    ] {
        let (status, out, err) = run(&mut stompd(&["pub", "-u", url, "/topic/a", "x"]));
        assert_eq!((status, out.as_str()), (Some(1), ""));
        assert!(err.contains(advice), "{url}: {err}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [
        &["pub", "/topic/a", "x", "-u", "localhost:61613"][..],
        &["pub", "/topic/a", "x", "-H", "no-colon"],
        &["pub", "/topic/a", "x", "--lines"],
        &["pub", "/topic/a", "--no-reciept"],
        &["pub", "/topic/a", "x", "--interval", "500000000000years"],
        &[
            "pub",
            "/topic/a",
            "x",
            "--ca",
            "no/such.pem",
            "-u",
            "wss://127.0.0.1:1",
        ],
        &["sub"],
        &["sub", "/topic/a", "--ack", "never"],
        &["sub", "/topic/a", "--version", "1.3"],
        &["bench", "--size", "1"],
    ] {
        let (status, out, err) = run(&mut stompd(arguments));
        assert_eq!(
            (status, out.as_str()),
            (Some(2), ""),
            "{arguments:?}: {err}"
        );
    }
}

#[test]
fn without_a_receipt_nothing_is_confirmed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().flatten().for_each(mute));
    for more in [&[][..], &["--no-receipt"]] {
        let fixed = ["pub", "-u", &url, "/topic/a", "x", "--timeout", "100ms"];
        let (status, _, err) = run(&mut stompd(&[&fixed, more].concat()));
        assert_eq!(status, Some(1));
        assert!(err.contains("RECEIPT"), "{err}");
    }
}

#[test]
fn interrupted_before_the_receipt_nothing_is_confirmed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let child = crate::support::start(&mut stompd(&["pub", "-u", &url, "/topic/a", "x"]));
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"CONNECTED\nversion:1.2\n\n\0").unwrap();
    // CONNECT, then SEND.
    let mut frames = BufReader::new(stream).split(0);
    frames.nth(1).unwrap().unwrap();
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        output.stderr,
        b"stompd: interrupted after 1 of 1 messages\n"
    );
}

/// A broker that says CONNECTED and nothing more.
fn mute(mut stream: TcpStream) {
    stream.write_all(b"CONNECTED\nversion:1.2\n\n\0").unwrap();
    thread::spawn(move || stream.read_to_end(&mut Vec::new()));
}

#[test]
fn the_environment_names_broker_and_user() {
    let broker = Broker::start(&[]);
    let mut command = stompd(&["pub", "/topic/a", "x"]);
    let (status, _, err) = run(command
        .env("STOMPD_URL", &broker.tcp)
        .env("STOMPD_LOGIN", "me")
        .env("STOMPD_PASSCODE", "secret"));
    assert_eq!((status, err.as_str()), (Some(0), ""));
}
