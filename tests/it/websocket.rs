//! RFC 6455 after the handshake, frame by frame: what a client may send, and how it is closed when
//! it violates the protocol.

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use support::broker::TestBroker;
use support::peer::{PATIENCE, Peer, Seen};
use support::websocket::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, masked, unmasked};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

#[tokio::test]
async fn a_frame_that_is_not_masked_is_refused() {
    let broker = TestBroker::start().await;
    for first in [FIN | TEXT, FIN | BINARY, FIN | PING, FIN | CLOSE, TEXT] {
        let bytes = unmasked(first, b"");
        refused(
            &broker,
            &bytes,
            "WebSocket: a frame that is not masked",
            1002,
        )
        .await;
    }
    assert_eq!(broker.refusals("websocket_protocol").await, 5);
}

#[tokio::test]
async fn each_reserved_bit_is_refused() {
    let broker = TestBroker::start().await;
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            let bytes = masked(FIN | bit | opcode, b"");
            refused(&broker, &bytes, "WebSocket: reserved bits are set*", 1002).await;
        }
    }
}

#[tokio::test]
async fn each_reserved_opcode_is_refused() {
    let broker = TestBroker::start().await;
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        let bytes = masked(FIN | opcode, b"SEND\n");
        refused(&broker, &bytes, "WebSocket: a reserved opcode", 1002).await;
    }
}

#[tokio::test]
async fn invalid_utf8_is_refused_wherever_it_is_split() {
    let broker = TestBroker::start().await;
    for pieces in [
        &[&b"SEND\ndestination:/topic/a\n\n\xff\0"[..]][..],
        // An overlong slash, a surrogate, a code point above the last one.
        &[b"\xc0\xaf"],
        &[b"\xed\xa0\x80"],
        &[b"\xf4\x90\x80\x80"],
        // The message ends within a character.
        &[b"\xc3"],
        &[b"\xf0\x9f", b"\xa6"],
        // The end of one fragment and the start of the next form no valid character.
        &[b"\xc3", b"("],
        &[b"\xf0\x9f\xa6", b"", b"\x80\xff"],
    ] {
        let bytes = fragments(TEXT, pieces);
        refused(&broker, &bytes, "WebSocket: text that is not UTF-8", 1007).await;
    }
    assert_eq!(broker.refusals("websocket_utf8").await, 8);
}

#[tokio::test]
async fn a_control_frame_in_fragments_is_refused() {
    let broker = TestBroker::start().await;
    for opcode in [PING, PONG, CLOSE] {
        refused(
            &broker,
            &masked(opcode, b""),
            "WebSocket: a control frame in fragments",
            1002,
        )
        .await;
    }
}

#[tokio::test]
async fn a_control_frame_of_more_than_125_bytes_is_refused() {
    let broker = TestBroker::start().await;
    for opcode in [PING, PONG, CLOSE] {
        let bytes = masked(FIN | opcode, &[b'x'; 126]);
        refused(
            &broker,
            &bytes,
            "WebSocket: a control frame of more than 125 bytes",
            1002,
        )
        .await;
    }
}

#[tokio::test]
async fn a_continuation_without_a_message_is_refused() {
    let broker = TestBroker::start().await;
    for first in [FIN | CONTINUATION, CONTINUATION] {
        refused(
            &broker,
            &masked(first, b"x"),
            "WebSocket: a continuation of a message that was not begun",
            1002,
        )
        .await;
    }
}

#[tokio::test]
async fn a_new_message_within_a_message_is_refused() {
    let broker = TestBroker::start().await;
    for inner in [FIN | TEXT, TEXT, FIN | BINARY] {
        let bytes = [masked(TEXT, b"SEND\n"), masked(inner, b"x")].concat();
        refused(
            &broker,
            &bytes,
            "WebSocket: a new message before the end*",
            1002,
        )
        .await;
    }
}

#[tokio::test]
async fn a_valid_close_is_echoed_and_ends_the_stream() {
    let broker = TestBroker::start().await;
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999,
    ] {
        let mut peer = broker.connected_ws().await;
        peer.raw(&close(code, "bye ü".as_bytes())).await;
        assert_eq!(peer.seen().await, Seen::Close(code, "bye ü".into()));
        assert_eq!(peer.seen().await, Seen::End);
    }
    // Without a code the answer has none either (1005 stands for that).
    let mut peer = broker.connected_ws().await;
    peer.raw(&masked(FIN | CLOSE, b"")).await;
    assert_eq!(peer.seen().await, Seen::Close(1005, String::new()));
    assert_eq!(peer.seen().await, Seen::End);
}

#[tokio::test]
async fn a_close_with_a_forbidden_code_is_answered_1002() {
    let broker = TestBroker::start().await;
    for code in [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535,
    ] {
        let mut peer = broker.connected_ws().await;
        peer.raw(&close(code, b"")).await;
        match peer.seen().await {
            Seen::Close(1002, reason) => assert!(!reason.is_empty(), "{code}"),
            other => panic!("{code}: {other:?}"),
        }
        assert_eq!(peer.seen().await, Seen::End);
    }
}

#[tokio::test]
async fn a_close_with_half_a_code_or_an_invalid_reason_is_refused() {
    let broker = TestBroker::start().await;
    let half = masked(FIN | CLOSE, &[3]);
    refused(&broker, &half, "WebSocket: a Close with half a code", 1002).await;
    let reason = close(1000, b"\xff");
    refused(&broker, &reason, "WebSocket: text that is not UTF-8", 1007).await;
}

#[tokio::test]
async fn frames_before_a_close_count_and_later_ones_do_not() {
    let broker = TestBroker::start().await;
    let (mut peer, mut witness) = (broker.connected_ws().await, broker.connected_tcp().await);
    witness.subscribe("w", "/topic/#").await;
    let send = |name: &str| {
        masked(
            FIN | TEXT,
            format!("SEND\ndestination:/topic/{name}\nreceipt:{name}\n\nx\0").as_bytes(),
        )
    };
    peer.raw(&[send("before"), close(1000, b""), send("behind")].concat())
        .await;
    peer.expect("RECEIPT\nreceipt-id:before").await;
    assert_eq!(peer.seen().await, Seen::Close(1000, String::new()));
    assert_eq!(peer.seen().await, Seen::End);
    witness
        .expect("MESSAGE\n*\ndestination:/topic/before\n*")
        .await;
    witness.sync().await;
}

#[tokio::test]
async fn a_frame_counts_even_if_its_message_fails_after_it() {
    let broker = TestBroker::start().await;
    let mut witness = broker.connected_tcp().await;
    witness.subscribe("w", "/topic/a").await;
    let bytes = fragments(TEXT, &[b"SEND\ndestination:/topic/a\n\nx\0", b"\xff"]);
    refused(&broker, &bytes, "WebSocket: text that is not UTF-8", 1007).await;
    witness.expect("MESSAGE\n*\n\nx").await;
}

#[tokio::test]
async fn an_error_is_reported_even_if_a_close_followed_it() {
    let broker = TestBroker::start().await;
    let say = |frame: &str| [masked(FIN | TEXT, frame.as_bytes()), close(1000, b"")].concat();
    let mut peer = broker.connected_ws().await;
    peer.raw(&say("DISCONNECT\nreceipt:bye\n\n\0")).await;
    peer.expect("RECEIPT\nreceipt-id:bye").await;
    assert!(matches!(peer.seen().await, Seen::Close(1000, _)));
    assert_eq!(peer.seen().await, Seen::End);
    let bytes = say("ABORT\ntransaction:none\n\n\0");
    refused(&broker, &bytes, "*transaction*none*", 1002).await;
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload_at_any_time() {
    let broker = TestBroker::start().await;
    let mut peer = broker.ws().await;
    let longest = [0xff; 125];
    // Before CONNECT.
    peer.raw(&masked(FIN | PING, b"early")).await;
    assert_eq!(peer.seen().await, Seen::Pong("early".into()));
    peer.connect("1.2").await;
    peer.raw(&masked(FIN | PING, &longest)).await;
    assert_eq!(peer.seen().await, Seen::Pong(longest.to_vec().into()));
    // In the middle of a message in fragments.
    peer.subscribe("s", "/topic/a").await;
    peer.raw(&masked(TEXT, b"SEND\ndestination:/to")).await;
    peer.raw(&masked(FIN | PING, b"fragments")).await;
    assert_eq!(peer.seen().await, Seen::Pong("fragments".into()));
    peer.raw(&masked(FIN | CONTINUATION, b"pic/a\n\none\0"))
        .await;
    peer.expect("MESSAGE\n*\n\none").await;
    // While a frame of STOMP is unfinished.
    peer.send_bytes(b"SEND\ndestination:/topic/a\n\n").await;
    peer.raw(&masked(FIN | PING, b"")).await;
    assert_eq!(peer.seen().await, Seen::Pong("".into()));
    peer.send_bytes(b"two\0").await;
    peer.expect("MESSAGE\n*\n\ntwo").await;
}

#[tokio::test]
async fn an_unsolicited_pong_is_ignored() {
    let broker = TestBroker::start().await;
    let mut peer = broker.ws().await;
    peer.raw(&masked(FIN | PONG, b"")).await;
    peer.connect("1.2").await;
    peer.raw(&masked(FIN | PONG, &[1; 125])).await;
    peer.sync().await;
}

#[tokio::test]
async fn a_character_may_be_split_between_fragments() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connected_ws().await;
    peer.subscribe("s", "/topic/a").await;
    let frame = "SEND\ndestination:/topic/a\n\nü€🦀\0".as_bytes();
    let body = frame.len() - 10;
    for cut in body..frame.len() {
        peer.raw(&fragments(TEXT, &[&frame[..cut], &frame[cut..]]))
            .await;
        peer.expect("MESSAGE\n*\n\nü€🦀").await;
    }
    let bytes: Vec<&[u8]> = frame.chunks(1).collect();
    peer.raw(&fragments(TEXT, &bytes)).await;
    peer.expect("MESSAGE\n*\n\nü€🦀").await;
    // Empty fragments, also as the first and the last.
    peer.raw(&fragments(BINARY, &[b"", frame, b"", b""])).await;
    peer.expect("MESSAGE\n*\n\nü€🦀").await;
}

#[tokio::test]
async fn frames_may_arrive_byte_by_byte() {
    let broker = TestBroker::start().await;
    let mut peer = broker.ws().await;
    let connect = masked(FIN | TEXT, b"CONNECT\naccept-version:1.2\n\n\0");
    let long = format!("RECEIPT\nreceipt-id:{}", "r".repeat(200));
    let send = format!("SEND\ndestination:/topic/a\n{}\n\nx\0", &long[8..]).replace("-id", "");
    for frame in [
        connect,
        masked(FIN | TEXT, send.as_bytes()),
        masked(FIN | PING, b"p"),
    ] {
        for byte in frame {
            peer.raw(&[byte]).await;
        }
    }
    peer.expect("CONNECTED\nversion:1.2\n*").await;
    peer.expect(&long).await;
    assert_eq!(peer.seen().await, Seen::Pong("p".into()));
}

#[tokio::test]
async fn many_frames_may_arrive_in_one_segment() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connected_ws().await;
    peer.subscribe("s", "/topic/a").await;
    let mut bytes = Vec::new();
    for number in 0..20 {
        let send = format!("SEND\ndestination:/topic/a\nreceipt:{number}\n\nx\0");
        bytes.extend(masked(FIN | TEXT, b"\n"));
        bytes.extend(masked(FIN | TEXT, send.as_bytes()));
        bytes.extend(masked(FIN | BINARY, b""));
    }
    bytes.extend(masked(FIN | PING, b"last"));
    peer.raw(&bytes).await;
    let (mut messages, mut receipts, mut pongs) = (0, 0, 0);
    while (messages, receipts, pongs) != (20, 20, 1) {
        match peer.seen().await {
            Seen::Frame(frame, _) if frame.starts_with("MESSAGE\n") => messages += 1,
            Seen::Frame(frame, _) => {
                assert_eq!(frame, format!("RECEIPT\nreceipt-id:{receipts}"));
                receipts += 1;
            }
            other => {
                assert_eq!(other, Seen::Pong("last".into()));
                pongs += 1;
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_its_payload_is_sent() {
    let broker = TestBroker::with(small).await;
    let text = "WebSocket: a message of more than 3024 bytes";
    for head in [
        &[FIN | TEXT, 0x80 + 126, 0x0b, 0xd1][..],
        &[TEXT, 0x80 + 126, 0xff, 0xff],
        &[FIN | BINARY, 0x80 + 127, 0, 0, 0, 1, 0, 0, 0, 0],
        &[FIN | BINARY, 0x80 + 127, 0xff, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let bytes = [head, &[0; 4]].concat();
        refused(&broker, &bytes, text, 1009).await;
    }
    // The limit applies to all fragments together.
    let bytes = [masked(BINARY, &[b'\n'; 2000]), masked(0, &[b'\n'; 1025])].concat();
    refused(&broker, &bytes, text, 1009).await;
    assert_eq!(broker.refusals("websocket_too_big").await, 5);
    // A message of the maximum size passes, in one piece and in fragments.
    let mut peer = broker.connected_ws().await;
    peer.send_bytes(&[b'\n'; 3024]).await;
    peer.raw(&fragments(TEXT, &[&[b'\n'; 2000], &[b'\n'; 1024]]))
        .await;
    peer.sync().await;
}

#[tokio::test]
async fn eols_before_connect_do_not_count() {
    let broker = TestBroker::start().await;
    let eols = vec![b'\n'; 60_000];
    let connect = b"CONNECT\naccept-version:1.2\n\n\0";
    let before = [&eols[..], &b"\r\n"[..], &connect[..]].concat();
    // In separate messages, in frames of one message, and together with the CONNECT.
    for bytes in [
        [
            masked(FIN | TEXT, &eols).repeat(20),
            masked(FIN | TEXT, connect),
        ]
        .concat(),
        fragments(
            TEXT,
            &[&eols, &eols, &[], &eols, &connect[..9], &connect[9..]],
        ),
        fragments(TEXT, &[&eols, &eols, &before]),
    ] {
        let mut peer = broker.ws().await;
        peer.raw(&bytes).await;
        peer.expect("CONNECTED\n*").await;
    }
    let mut peer = broker.tcp().await;
    for _ in 0..20 {
        peer.raw(&eols).await;
    }
    peer.raw(connect).await;
    peer.expect("CONNECTED\n*").await;
    // Later EOLs count as before.
    let mut peer = broker.ws().await;
    let body = vec![b'x'; 60_000];
    peer.raw(&fragments(
        TEXT,
        &[&eols, b"\nCONNECT\n\n", &body, &body[..5530]],
    ))
    .await;
    peer.expect_refusal("WebSocket: a message of more than 65536 bytes", 1009)
        .await;
}

#[tokio::test]
async fn before_connect_a_message_has_at_most_64_kib() {
    let broker = TestBroker::start().await;
    let mut peer = broker.ws().await;
    peer.raw(&[FIN | TEXT, 0x80 + 127, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0])
        .await;
    peer.expect_refusal("WebSocket: a message of more than 65536 bytes", 1009)
        .await;
    let mut peer = broker.ws().await;
    peer.send_bytes(&vec![b'\n'; 64 * 1024]).await;
    // A client that does not wait for CONNECTED may send as much as one that does.
    let big = format!(
        "SEND\ndestination:/topic/a\nreceipt:r\n\n{}\0",
        "x".repeat(1 << 20)
    );
    peer.raw(
        &[
            masked(FIN | TEXT, b"CONNECT\naccept-version:1.2\n\n\0"),
            masked(FIN | TEXT, big.as_bytes()),
        ]
        .concat(),
    )
    .await;
    peer.expect("CONNECTED\n*").await;
    peer.expect("RECEIPT\nreceipt-id:r").await;
}

#[tokio::test]
async fn every_close_by_the_broker_has_a_code_a_reason_and_an_error_before_it() {
    let broker = TestBroker::with(|config| {
        small(config);
        config.heart_beat.want = Duration::from_millis(50);
        config.limits.connect_timeout = Duration::from_millis(200);
    })
    .await;
    let long = format!(
        "SUBSCRIBE\nid:1\ndestination:/topic/a\nack:{}",
        "ü".repeat(200)
    );
    for (frame, code) in [
        ("SEND\n\nno destination", 1002),
        ("NONSENSE", 1002),
        // A reason that is too long is cut at a character; the peer checks that it is UTF-8.
        (&long, 1002),
        ("SEND\ndestination:/topic/a\ncontent-length:1001", 1009),
    ] {
        let mut peer = broker.connected_ws().await;
        peer.send(frame).await;
        error_and_close(&mut peer, code).await;
    }
    let mut peer = broker.connected_ws().await;
    peer.binary = true;
    peer.send_bytes(b"SEND\nx:\xff\n\n\0").await;
    error_and_close(&mut peer, 1007).await;
    let mut silent = broker.ws().await;
    error_and_close(&mut silent, 1008).await;
    let mut silent = broker.ws().await;
    silent
        .connect_with("accept-version:1.2\nheart-beat:50,0")
        .await;
    error_and_close(&mut silent, 4000).await;
}

#[tokio::test]
async fn error_and_close_arrive_although_the_client_keeps_sending() {
    let broker = TestBroker::start().await;
    let junk = vec![0xff; 8 << 20];
    for bad in [
        unmasked(FIN | TEXT, b"x"),
        masked(FIN | TEXT, b"\xff"),
        masked(FIN | TEXT, b"NONSENSE\n\n\0"),
        masked(FIN | TEXT, b"SEND\ndestination:/queue/a\n\n\0"),
        [&[FIN | TEXT, 0xff][..], &[0x7f; 12]].concat(),
    ] {
        let mut peer = broker.connected_ws().await;
        peer.raw(&bad).await;
        peer.raw(&junk).await;
        let error = peer.frame().await;
        assert!(error.starts_with("ERROR\n"), "{error}");
        assert!(matches!(peer.seen().await, Seen::Close(..)));
        assert_eq!(peer.seen().await, Seen::End);
    }
    // The same after a Close of the client.
    let mut peer = broker.connected_ws().await;
    peer.raw(&close(1000, b"")).await;
    peer.raw(&junk).await;
    assert_eq!(peer.seen().await, Seen::Close(1000, String::new()));
    assert_eq!(peer.seen().await, Seen::End);
}

#[tokio::test]
async fn a_partly_written_message_is_completed_and_the_rest_discarded() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 64 << 20).await;
    let (mut publisher, mut peer) = (broker.connected_tcp().await, broker.connected_ws().await);
    peer.subscribe("s", "/topic/a").await;
    // More than the kernel buffers for a client that does not read.
    let body = "x".repeat(4_000_000);
    for _ in 0..8 {
        publisher
            .send(&format!("SEND\ndestination:/topic/a\n\n{body}"))
            .await;
    }
    publisher.sync().await;
    peer.send("NONSENSE").await;
    // The refusal discards the queued messages.
    broker.await_refusals("unknown_command", 1).await;
    let mut messages = 0;
    loop {
        let frame = peer.frame().await;
        if frame.starts_with("ERROR\n") {
            break;
        }
        assert!(frame.ends_with(&body), "a whole message");
        messages += 1;
    }
    assert!((1..8).contains(&messages), "{messages}");
    peer.expect_close(1002).await;
}

#[tokio::test]
async fn a_heart_beat_is_a_one_byte_message_of_the_kind_that_the_client_sent_first() {
    let broker =
        TestBroker::with(|config| config.heart_beat.send = Duration::from_millis(50)).await;
    for (binary, first) in [(false, FIN | TEXT), (true, FIN | BINARY)] {
        let mut peer = broker.ws().await;
        peer.binary = binary;
        peer.connect_with("accept-version:1.2\nheart-beat:0,50")
            .await;
        // Later messages do not change that.
        peer.binary = !binary;
        peer.send_bytes(b"\n").await;
        for _ in 0..2 {
            let mut beat = [0; 3];
            timeout(PATIENCE, peer.stream.read_exact(&mut beat))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(beat, [first, 1, b'\n']);
        }
    }
}

#[tokio::test]
async fn the_length_of_a_message_has_two_four_or_ten_bytes() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connected_ws().await;
    peer.subscribe("s", "/topic/a").await;
    for (body, kind, head) in [
        (10, None, 2),
        (1024, Some(126), 4),
        (100 * 1024, Some(127), 10),
    ] {
        let body = "x".repeat(body);
        peer.send(&format!("SEND\ndestination:/topic/a\n\n{body}"))
            .await;
        let mut bytes = vec![0; head];
        let read = peer.stream.read_exact(&mut bytes);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        assert_eq!(bytes[0], FIN | TEXT);
        let length = match kind {
            None => u64::from(bytes[1]),
            Some(kind) => {
                assert_eq!(bytes[1], kind);
                bytes[2..]
                    .iter()
                    .fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
        };
        let mut message = vec![0; usize::try_from(length).unwrap()];
        let read = peer.stream.read_exact(&mut message);
        timeout(PATIENCE, read).await.unwrap().unwrap();
        assert!(message.starts_with(b"MESSAGE\n") && message.ends_with(b"x\0"));
    }
}

/// Expects that a connected client that sends these bytes is refused with this ERROR (in which
/// each `*` matches anything) and this code.
async fn refused(broker: &TestBroker, bytes: &[u8], message: &str, code: u16) {
    let mut peer = broker.connected_ws().await;
    peer.raw(bytes).await;
    peer.expect_refusal(message, code).await;
}

/// Expects an ERROR, then a Close with this code, a reason and nothing after it.
async fn error_and_close(peer: &mut Peer, code: u16) {
    let error = peer.frame().await;
    assert!(error.starts_with("ERROR\nmessage:"), "{error}");
    match peer.seen().await {
        Seen::Close(actual, reason) => {
            assert_eq!(actual, code, "{error}");
            assert!(!reason.is_empty() && reason.len() <= 123, "{reason}");
            let message = error.lines().nth(1).unwrap_or_default();
            assert!(message.contains(&reason), "{reason:?} in {message:?}");
        }
        other => panic!("expected a Close, got {other:?}"),
    }
    assert_eq!(peer.seen().await, Seen::End);
}

/// One message in pieces.
fn fragments(opcode: u8, pieces: &[&[u8]]) -> Vec<u8> {
    let last = pieces.len() - 1;
    let frame = |(number, piece): (usize, &&[u8])| {
        let opcode = if number == 0 { opcode } else { CONTINUATION };
        masked(if number == last { FIN | opcode } else { opcode }, piece)
    };
    pieces.iter().enumerate().flat_map(frame).collect()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    masked(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// Messages of at most 3024 bytes.
fn small(config: &mut stompd::config::Config) {
    config.limits.body = 1000;
    config.limits.header_bytes = 1000;
    config.limits.header_line = 1000;
}

#[tokio::test]
async fn a_tungstenite_client_connects_publishes_and_closes() {
    let broker = TestBroker::start().await;
    let mut request = format!("ws://{}/ws", broker.websocket())
        .into_client_request()
        .unwrap();
    let offer = "v10.stomp, v12.stomp".parse().unwrap();
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", offer);
    let (mut client, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "v12.stomp");
    let mut script =
        String::from("CONNECT\naccept-version:1.2\n\n\0SUBSCRIBE\nid:s\ndestination:/topic/a\n\n");
    write!(script, "\0SEND\ndestination:/topic/a\n\nZürich\0").unwrap();
    client.send(Message::text(script)).await.unwrap();
    let binary = &b"SEND\ndestination:/topic/a\ncontent-length:2\n\n\xff\0\0"[..];
    client.send(Message::binary(binary)).await.unwrap();
    client.send(Message::Ping("p".into())).await.unwrap();
    let closing = CloseFrame {
        code: 1000.into(),
        reason: "done".into(),
    };
    let mut seen = Vec::new();
    while let Some(message) = timeout(PATIENCE, client.next()).await.unwrap() {
        let message = message.unwrap();
        seen.push(match &message {
            Message::Text(text) => text.lines().next().unwrap_or_default().to_owned(),
            Message::Binary(bytes) => format!("binary {}", bytes.ends_with(b"\n\n\xff\0\0")),
            Message::Pong(payload) => format!("Pong {payload:?}"),
            other => format!("{other:?}"),
        });
        if seen.len() == 4 {
            client.close(Some(closing.clone())).await.unwrap();
        }
    }
    // A Pong may overtake queued frames.
    let pong = seen.iter().position(|seen| seen == "Pong b\"p\"").unwrap();
    seen.remove(pong);
    assert_eq!(seen[..3], ["CONNECTED", "MESSAGE", "binary true"]);
    assert!(
        seen[3].starts_with("Close(") && seen[3].contains("done"),
        "{seen:?}"
    );
}
