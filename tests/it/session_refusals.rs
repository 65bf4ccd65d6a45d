//! Every reason to refuse a session, over real sockets: what the client receives, what is counted,
//! and that no frame after the faulty one has any effect.
//!
//! Reasons that are not frames are tested in `handshake` (too many connections), `websocket`,
//! `limits` (time and numbers) and `slow_consumers`.

use std::time::Duration;

use stomp_codec::DecodeError;
use stompd::config::Config;
use support::broker::TestBroker;
use support::peer::Peer;
use support::script::wire;

/// A faulty frame, the start of the ERROR, and the label of the reason.
type Row<'a> = (&'a str, &'a str, &'a str);

#[tokio::test]
async fn missing_and_invalid_headers_are_reported() {
    check(
        "1.2",
        &[
            (
                "SEND\n\nx",
                "SEND without the header \"destination\"",
                "header_missing",
            ),
            (
                // Names are case-sensitive.
                "SEND\nDestination:/topic/a\n\nx",
                "SEND without the header \"destination\"",
                "header_missing",
            ),
            (
                "SUBSCRIBE\nid:1",
                "SUBSCRIBE without the header \"destination\"",
                "header_missing",
            ),
            (
                "SUBSCRIBE\ndestination:/topic/a",
                "SUBSCRIBE without the header \"id\"",
                "header_missing",
            ),
            (
                "UNSUBSCRIBE\ndestination:/topic/a",
                "UNSUBSCRIBE without the header \"id\"",
                "header_missing",
            ),
            (
                "SUBSCRIBE\nid:1\ndestination:/topic/a\nack:Auto",
                "unknown ack mode \"Auto\"",
                "ack_mode",
            ),
            (
                "SUBSCRIBE\nid:1\ndestination:/topic/a\nack:",
                "unknown ack mode \"\"",
                "ack_mode",
            ),
            (
                "SUBSCRIBE\nid:taken\ndestination:/topic/other",
                "subscription \"taken\" exists already",
                "duplicate_subscription",
            ),
            (
                "SEND\ndestination:/topic/a\ntransaction:t\n\nx",
                "transaction \"t\" is not open",
                "transaction_unknown",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn frames_that_are_invalid_in_a_session_are_reported() {
    check(
        "1.2",
        &[
            (
                "CONNECT\naccept-version:1.2",
                "this session is connected already",
                "second_connect",
            ),
            (
                "STOMP\naccept-version:1.2",
                "this session is connected already",
                "second_connect",
            ),
            (
                "CONNECTED\nversion:1.2",
                "CONNECTED is a frame that servers send",
                "server_frame",
            ),
            (
                "MESSAGE\ndestination:/topic/a\n\nx",
                "MESSAGE is a frame that servers send",
                "server_frame",
            ),
            (
                "RECEIPT\nreceipt-id:1",
                "RECEIPT is a frame that servers send",
                "server_frame",
            ),
            (
                "ERROR\nmessage:no",
                "ERROR is a frame that servers send",
                "server_frame",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn invalid_acknowledgements_are_reported() {
    check(
        "1.2",
        &[
            (
                "ACK\nx:y",
                "ACK without the header \"id\"",
                "header_missing",
            ),
            (
                "ACK\nmessage-id:1\nsubscription:0",
                "ACK without the header \"id\"",
                "header_missing",
            ),
            (
                "ACK\nid:1",
                "\"1\" is not the id of a message",
                "ack_malformed",
            ),
            (
                "NACK\nid:\nrequeue:false",
                "\"\" is not the id of a message",
                "ack_malformed",
            ),
            (
                "ACK\nid:1\ntransaction:t",
                "\"1\" is not the id of a message",
                "ack_malformed",
            ),
            (
                "NACK\nid:undefined\ntransaction:t",
                "transaction \"t\" is not open",
                "transaction_unknown",
            ),
            (
                "SUBSCRIBE\nid:1\ndestination:/topic/a\nprefetch-count:many",
                "malformed prefetch \"many\"",
                "prefetch_malformed",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn transactions_that_are_not_open_are_reported() {
    check(
        "1.2",
        &[
            (
                "BEGIN\nx:y",
                "BEGIN without the header \"transaction\"",
                "header_missing",
            ),
            (
                "COMMIT\nx:y",
                "COMMIT without the header \"transaction\"",
                "header_missing",
            ),
            (
                "ABORT\nx:y",
                "ABORT without the header \"transaction\"",
                "header_missing",
            ),
            (
                "COMMIT\ntransaction:t",
                "transaction \"t\" is not open",
                "transaction_unknown",
            ),
            (
                "ABORT\ntransaction:t",
                "transaction \"t\" is not open",
                "transaction_unknown",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn nack_does_not_exist_in_1_0_and_ids_are_required_from_1_1() {
    check(
        "1.0",
        &[
            (
                "NACK\nmessage-id:1",
                "NACK does not exist in STOMP 1.0",
                "nack_in_1_0",
            ),
            (
                "UNSUBSCRIBE\nx:y",
                "UNSUBSCRIBE without the header \"id\"",
                "header_missing",
            ),
        ],
    )
    .await;
    check(
        "1.1",
        &[
            (
                "NACK\nsubscription:s",
                "NACK without the header \"message-id\"",
                "header_missing",
            ),
            (
                "SUBSCRIBE\ndestination:/topic/a",
                "SUBSCRIBE without the header \"id\"",
                "header_missing",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn invalid_and_unsupported_destinations_are_reported() {
    let mut rows = Vec::new();
    for (destination, text, label) in [
        ("", "destination \"\" has no name", "destination"),
        (
            "/topic",
            "destination \"/topic\" has no name",
            "destination",
        ),
        (
            "/topic/",
            "destination \"/topic/\" has no name",
            "destination",
        ),
        (
            "/queue/",
            "destination \"/queue/\" has no name",
            "destination",
        ),
        ("/#", "destination \"/#\" has no name", "destination"),
        (
            "*.eu",
            "pattern \"*.eu\" begins with a wildcard",
            "wildcard",
        ),
        (
            "/#/a",
            "pattern \"/#/a\" begins with a wildcard",
            "wildcard",
        ),
        (
            "/user/queue/x",
            "destination \"/user/queue/x\" is not supported",
            "reserved_destination",
        ),
        (
            "/amq/queue/",
            "destination \"/queue/\" has no name",
            "destination",
        ),
        (
            "/exchange/logs/a",
            "destination \"/exchange/logs/a\" is not supported",
            "reserved_destination",
        ),
        (
            "/temp-queue/a",
            "destination \"/temp-queue/a\" is not supported",
            "reserved_destination",
        ),
        (
            "/stompd/auth",
            "destination \"/stompd/auth\" is not supported",
            "reserved_destination",
        ),
    ] {
        rows.push((format!("SEND\ndestination:{destination}\n\nx"), text, label));
        rows.push((
            format!("SUBSCRIBE\nid:1\ndestination:{destination}"),
            text,
            label,
        ));
    }
    for wildcard in ["/topic/*", "/topic/a.#", "/topic/**/b", "/topic/a.>"] {
        rows.push((
            format!("SEND\ndestination:{wildcard}\n\nx"),
            "SEND to the wildcard \"/topic/",
            "wildcard",
        ));
    }
    for wildcard in ["/queue/*", "/amq/queue/a.#", "/queue/**/b", "/queue/a.>"] {
        rows.push((
            format!("SEND\ndestination:{wildcard}\n\nx"),
            "SEND to the wildcard \"/queue/",
            "wildcard",
        ));
        rows.push((
            format!("SUBSCRIBE\nid:1\ndestination:{wildcard}"),
            "SUBSCRIBE to the queues \"/queue/",
            "wildcard",
        ));
    }
    let rows: Vec<Row> = rows
        .iter()
        .map(|(frame, text, label)| (frame.as_str(), *text, *label))
        .collect();
    check("1.2", &rows).await;
}

#[tokio::test]
async fn a_refusal_before_connect_is_readable_by_every_version() {
    let broker = TestBroker::start().await;
    for (frame, text, label) in [
        (
            "SEND\ndestination:/topic/a\nreceipt:r\n\nx",
            "SEND before CONNECT",
            "connect_first",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:r",
            "SUBSCRIBE before CONNECT",
            "connect_first",
        ),
        (
            "DISCONNECT\nreceipt:r",
            "DISCONNECT before CONNECT",
            "connect_first",
        ),
        (
            "CONNECTED\nversion:1.2\nreceipt:r",
            "CONNECTED is a frame that servers send",
            "server_frame",
        ),
        (
            "MESSAGE\nreceipt:r",
            "MESSAGE is a frame that servers send",
            "server_frame",
        ),
        (
            "CONNECT\naccept-version:2.0,3.1",
            "no common version with \"2.0,3.1\"",
            "no_common_version",
        ),
        (
            "STOMP\naccept-version:",
            "no common version with \"\"",
            "no_common_version",
        ),
        (
            "CONNECT\naccept-version:1.2\nheart-beat:10000",
            "malformed heart-beat \"10000\"",
            "heart_beat_malformed",
        ),
        (
            "CONNECT\naccept-version:1.1\nheart-beat:-1,0",
            "malformed heart-beat \"-1,0\"",
            "heart_beat_malformed",
        ),
        (
            "CONNECT\naccept-version:1.2\nheart-beat:0,4294967296",
            "malformed heart-beat",
            "heart_beat_malformed",
        ),
        (
            "CONNECT\naccept-version:1.2\nheart-beat:a,b",
            "malformed heart-beat \"a,b\"",
            "heart_beat_malformed",
        ),
    ] {
        for mut client in [broker.ws().await, broker.tcp().await] {
            let counted = broker.refusals(label).await;
            client.send(frame).await;
            let error = client.expect_refusal(text, 1002).await;
            let receipt = frame.contains("receipt:r");
            assert_eq!(error.contains("\nreceipt-id:r\n"), receipt, "{error}");
            let versions = error.contains("\nversion:1.0,1.1,1.2\n");
            assert_eq!(versions, label == "no_common_version", "{error}");
            assert_eq!(broker.refusals(label).await, counted + 1, "{label}");
        }
    }
}

#[tokio::test]
async fn a_receipt_on_a_refused_connect_is_ignored() {
    let broker = TestBroker::start().await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client.send("CONNECT\naccept-version:9\nreceipt:r").await;
        let error = client.expect_refusal("no common version", 1002).await;
        assert!(!error.contains("receipt-id"), "{error}");
    }
    for mut client in [broker.ws().await, broker.tcp().await] {
        client.connect_with("accept-version:1.2\nreceipt:r").await;
        client.sync().await;
    }
}

#[tokio::test]
async fn frames_after_a_refused_connect_have_no_effect() {
    let broker = TestBroker::start().await;
    let mut witness = broker.connected_tcp().await;
    witness.subscribe("w", "/topic/#").await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client
            .send_bytes(b"CONNECT\naccept-version:9\n\n\0CONNECT\naccept-version:1.2\n\n\0SEND\ndestination:/topic/a\n\nx\0")
            .await;
        client.expect_refusal("no common version", 1002).await;
    }
    witness.sync().await;
}

#[tokio::test]
async fn every_codec_error_has_its_close_code() {
    let faults = [syntax_faults(), size_faults()].concat();
    let mut labels: Vec<_> = faults.iter().map(|fault| fault.0).collect();
    labels.sort_unstable();
    assert_eq!(labels, DecodeError::LABELS);
    let broker = TestBroker::with(small).await;
    let mut witness = broker.connected_tcp().await;
    witness.subscribe("w", "/topic/#").await;
    for (label, code, text, bytes) in faults {
        for mut client in [broker.ws().await, broker.tcp().await] {
            // Data that is not text is refused before STOMP sees it.
            client.binary = true;
            client.connect("1.2").await;
            // A frame that is refused before its end hides all bytes after it.
            let batch = [
                wire("SEND\ndestination:/topic/early\nreceipt:early\n\nx"),
                bytes.clone(),
                wire("\nSEND\ndestination:/topic/late\nreceipt:late\n\nx"),
            ];
            client.send_bytes(&batch.concat()).await;
            client.expect("RECEIPT\nreceipt-id:early").await;
            let error = client.expect_refusal(text, code).await;
            let receipt = bytes.starts_with(b"SEND\nreceipt:r\n");
            assert_eq!(error.contains("\nreceipt-id:r\n"), receipt, "{error}");
            witness
                .expect("MESSAGE\n*\ndestination:/topic/early\n*")
                .await;
        }
        assert_eq!(broker.refusals(label).await, 2, "{label}");
    }
    witness.sync().await;
}

/// Label, close code, start of the ERROR, bytes.
type Fault = (&'static str, u16, &'static str, Vec<u8>);

fn syntax_faults() -> Vec<Fault> {
    let fault = |label, code, text, bytes: &[u8]| -> Fault { (label, code, text, bytes.to_vec()) };
    vec![
        fault(
            "command_too_long",
            1002,
            "no command within 32 bytes",
            &[b'x'; 33],
        ),
        fault(
            "empty_header_name",
            1002,
            "line 3 of the frame: a header with an empty name",
            b"SEND\nreceipt:r\n:value\n\n\0",
        ),
        fault(
            "header_without_colon",
            1002,
            "line 3 of the frame: a header line without a colon",
            b"SEND\nreceipt:r\ndestination\n\n\0",
        ),
        fault(
            "invalid_content_length",
            1002,
            "content-length is \"+1\"",
            b"SEND\nreceipt:r\ncontent-length:+1\n\nx\0",
        ),
        fault(
            "invalid_utf8",
            1007,
            "line 3 of the frame: a header that is not UTF-8",
            b"SEND\nreceipt:r\na:\xff\n\n\0",
        ),
        fault(
            "missing_nul",
            1002,
            "expected NUL after content-length bytes (1)",
            b"SEND\nreceipt:r\ncontent-length:1\n\nxy\0",
        ),
        fault(
            "nul_in_headers",
            1002,
            "line 3 of the frame: a NUL among the headers",
            b"SEND\nreceipt:r\n\0",
        ),
        fault(
            "undefined_escape",
            1002,
            "line 3 of the frame: undefined escape \\t",
            b"SEND\nreceipt:r\na:\\t\n\n\0",
        ),
        fault(
            "unknown_command",
            1002,
            "unknown command \"send\"",
            b"send\nid:1\n\n\0",
        ),
    ]
}

fn size_faults() -> Vec<Fault> {
    let fault = |label, text, rest: String| -> Fault {
        (
            label,
            1009,
            text,
            ("SEND\nreceipt:r\n".to_owned() + &rest).into(),
        )
    };
    let x = |count| "x".repeat(count);
    vec![
        fault(
            "body_too_big",
            "content-length announces 101 bytes, at most 100",
            "content-length:101\n\n".into(),
        ),
        fault(
            "body_too_long",
            "a body of more than 100 bytes",
            "\n".to_owned() + &x(101),
        ),
        fault(
            "header_line_too_long",
            "a header line of more than 99 bytes",
            "a:".to_owned() + &x(98),
        ),
        fault(
            "headers_too_long",
            "headers of more than 200 bytes",
            format!("a:{}\n", x(90)).repeat(3),
        ),
        fault(
            "too_many_headers",
            "more than 8 headers in one frame",
            "a:b\n".repeat(8),
        ),
    ]
}

#[tokio::test]
async fn a_fault_is_found_wherever_the_bytes_are_split() {
    let broker = TestBroker::start().await;
    let frame = b"SEND\ndestination:/topic/a\nreceipt:r\ncontent-length:1\n\nxy\0";
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        for byte in frame {
            client.send_bytes(&[*byte]).await;
        }
        let error = client
            .expect_refusal("expected NUL after content-length bytes (1)", 1002)
            .await;
        assert!(error.contains("\nreceipt-id:r\n"), "{error}");
    }
}

#[tokio::test]
async fn undefined_escapes_are_refused_in_1_2_only() {
    let broker = TestBroker::start().await;
    for (version, refused) in [("1.0", false), ("1.1", false), ("1.2", true)] {
        for mut client in [broker.ws().await, broker.tcp().await] {
            client.connect(version).await;
            client
                .send("SEND\ndestination:/topic/a\nreceipt:r\na:\\t\n\nx")
                .await;
            if refused {
                client
                    .expect_refusal("line 4 of the frame: undefined escape \\t", 1002)
                    .await;
            } else {
                client.expect("RECEIPT\nreceipt-id:r").await;
            }
        }
    }
}

#[tokio::test]
async fn harmless_deviations_of_clients_are_accepted() {
    let broker = TestBroker::start().await;
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        client.subscribe("s", "/topic/a").await;
        for bytes in [
            // Stray NULs and EOLs between frames.
            &b"\0\0\r\n\n\0SEND\ndestination:/topic/a\n\nx\0\0"[..],
            // The first content-length counts.
            b"SEND\ndestination:/topic/a\ncontent-length:1\ncontent-length:9\n\nx\0",
            // CR before LF.
            b"SEND\r\ndestination:/topic/a\r\n\r\nx\0",
            // A NUL ends a body without a length.
            b"SEND\ndestination:/topic/a\n\nx\0\0\0",
        ] {
            client.send_bytes(bytes).await;
            client.expect("MESSAGE\nsubscription:s\n*\n\nx").await;
        }
        // A body of a frame that must not have one is ignored, its length honoured.
        client
            .send_bytes(b"UNSUBSCRIBE\nid:no\nreceipt:1\ncontent-length:3\n\n\0\0\0\0")
            .await;
        client.expect("RECEIPT\nreceipt-id:1").await;
        client.sync().await;
    }
}

#[tokio::test]
async fn a_silent_client_gets_an_error_and_is_cut() {
    let broker =
        TestBroker::with(|config| config.heart_beat.want = Duration::from_millis(50)).await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client
            .connect_with("accept-version:1.2\nheart-beat:50,0")
            .await;
        client
            .expect_refusal("nothing was received for 0.", 4000)
            .await;
    }
    assert_eq!(broker.refusals("heart_beat").await, 2);
}

#[tokio::test]
async fn the_error_body_gives_advice() {
    let broker = TestBroker::start().await;
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        client
            .send("SEND\ndestination:/topic/*\nreceipt:a:b\n\nx")
            .await;
        client
            .expect(
                "ERROR\nmessage:SEND to the wildcard \"/topic/*\"\nreceipt-id:a:b\ncontent-type:text/plain\n\n\
                 SEND to the wildcard \"/topic/*\"\n\nWildcards *\n",
            )
            .await;
        client.expect_close(1002).await;
    }
}

/// Expects of each row, over both transports: the frame is refused with this ERROR and counted,
/// earlier frames of the same batch count, and later ones do not.
async fn check(version: &str, rows: &[Row<'_>]) {
    let broker = TestBroker::start().await;
    let mut witness = broker.connected_tcp().await;
    witness.subscribe("w", "/topic/#").await;
    for (frame, text, label) in rows {
        for receipt in [false, true] {
            for mut client in [broker.ws().await, broker.tcp().await] {
                let counted = broker.refusals(label).await;
                client.connect(version).await;
                client.subscribe("taken", "/topic/taken").await;
                send_batch(&mut client, frame, receipt).await;
                client.expect("RECEIPT\nreceipt-id:early").await;
                let error = client.expect_refusal(text, 1002).await;
                let known = receipt && *label != "second_connect";
                assert_eq!(error.contains("\nreceipt-id:r\n"), known, "{error}");
                assert_eq!(broker.refusals(label).await, counted + 1, "{label}");
                witness
                    .expect("MESSAGE\n*\ndestination:/topic/early\n*")
                    .await;
            }
        }
    }
    // Only the early messages arrived.
    witness.sync().await;
    let name = "stompd_connections_closed_total{reason=\"disconnect\"}";
    assert!(broker.metric(name).await.abs() < 0.1, "no DISCONNECT");
}

/// A SEND, the faulty frame, and frames after it: one by one if `receipt`, else in one piece.
async fn send_batch(client: &mut Peer, frame: &str, receipt: bool) {
    let at_fault = match frame.split_once('\n') {
        Some((command, rest)) if receipt => format!("{command}\nreceipt:r\n{rest}"),
        _ => frame.to_owned(),
    };
    let frames = [
        "SEND\ndestination:/topic/early\nreceipt:early\n\nx",
        &at_fault,
        "SEND\ndestination:/topic/late\nreceipt:late\n\nx",
        "SUBSCRIBE\nid:late\ndestination:/topic/late\nreceipt:late",
        "DISCONNECT\nreceipt:late",
    ]
    .map(wire);
    if receipt {
        for frame in frames {
            client.send_bytes(&frame).await;
        }
    } else {
        client.send_bytes(&frames.concat()).await;
    }
}

fn small(config: &mut Config) {
    config.limits.headers = 8;
    config.limits.header_line = 99;
    config.limits.header_bytes = 200;
    config.limits.body = 100;
}
