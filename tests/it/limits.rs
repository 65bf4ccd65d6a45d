//! The limits on what one client may ask for: a client at a limit is served, and one beyond it is
//! refused before the broker stores more.

use std::time::Duration;

use stompd::config::Config;
use support::broker::TestBroker;
use support::peer::Peer;
use tokio::time::sleep;

#[tokio::test]
async fn too_many_headers_are_refused_including_repeated_ones() {
    let broker = TestBroker::with(small).await;
    for headers in ["a:1\nb:2\nc:3\nd:4\n", "a:1\na:1\na:1\na:1\n"] {
        let frame = format!("SEND\nreceipt:r\n{headers}");
        let text = "more than 4 headers in one frame, repeats included";
        refused(&broker, &frame, text, 1009, true).await;
    }
    assert_eq!(broker.refusals("too_many_headers").await, 4);
}

#[tokio::test]
async fn a_header_line_is_refused_before_it_ends() {
    let broker = TestBroker::with(small).await;
    let frame = format!("SEND\nreceipt:r\na:{}", "x".repeat(39));
    let text = "a header line of more than 40 bytes";
    refused(&broker, &frame, text, 1009, true).await;
    assert_eq!(broker.refusals("header_line_too_long").await, 2);
}

#[tokio::test]
async fn header_lines_are_refused_when_their_sum_is_too_long() {
    let broker = TestBroker::with(small).await;
    let line = format!("a:{}\n", "x".repeat(30));
    let frame = format!("SEND\nreceipt:r\n{line}{line}{line}");
    let text = "headers of more than 100 bytes in one frame";
    refused(&broker, &frame, text, 1009, true).await;
    assert_eq!(broker.refusals("headers_too_long").await, 2);
}

#[tokio::test]
async fn input_without_a_command_is_refused_before_the_line_ends() {
    let broker = TestBroker::with(small).await;
    let text = "no command within 32 bytes";
    refused(&broker, &"x".repeat(33), text, 1002, false).await;
    assert_eq!(broker.refusals("command_too_long").await, 2);
}

#[tokio::test]
async fn a_body_is_refused_when_it_is_announced() {
    let broker = TestBroker::with(small).await;
    for (announced, shown) in [
        ("11", "11"),
        ("4294967296", "4294967296"),
        ("18446744073709551616", ""),
    ] {
        // No byte of the body is sent.
        let frame =
            format!("SEND\ndestination:/topic/a\nreceipt:r\ncontent-length:{announced}\n\n");
        let text = format!("content-length announces {shown}*bytes, at most 10 are accepted");
        refused(&broker, &frame, &text, 1009, true).await;
    }
    assert_eq!(broker.refusals("body_too_big").await, 6);
}

#[tokio::test]
async fn a_body_without_a_length_is_refused_at_the_first_byte_above_the_limit() {
    let broker = TestBroker::with(small).await;
    let frame = "SEND\ndestination:/topic/a\nreceipt:r\n\n12345678901";
    let text = "a body of more than 10 bytes, and no NUL that ends it";
    refused(&broker, frame, text, 1009, true).await;
    assert_eq!(broker.refusals("body_too_long").await, 2);
}

#[tokio::test]
async fn a_frame_at_every_limit_passes() {
    let broker = TestBroker::with(small).await;
    let (a, b) = ("x".repeat(38), "x".repeat(24));
    let headers = format!("destination:/topic/a\nreceipt:r\na:{a}\nb:{b}\n\n");
    assert_eq!(headers.len(), 100);
    for mut client in clients(&broker).await {
        client.send(&format!("SEND\n{headers}1234567890")).await;
        client.expect("RECEIPT\nreceipt-id:r").await;
        client
            .send("SEND\ndestination:/topic/a\ncontent-length:10\nreceipt:s\n\n1234567890")
            .await;
        client.expect("RECEIPT\nreceipt-id:s").await;
    }
}

#[tokio::test]
async fn before_connect_a_body_has_at_most_64_kib() {
    let broker = TestBroker::start().await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client
            .send_bytes(b"CONNECT\naccept-version:1.2\ncontent-length:65537\n\n")
            .await;
        let text = "content-length announces 65537 bytes, at most 65536 are accepted";
        client.expect_refusal(text, 1009).await;
    }
    for mut client in clients(&broker).await {
        let body = "x".repeat(1 << 20);
        client
            .send(&format!("SEND\ndestination:/topic/a\nreceipt:r\n\n{body}"))
            .await;
        client.expect("RECEIPT\nreceipt-id:r").await;
    }
}

#[tokio::test]
async fn the_subscriptions_of_a_session_are_limited() {
    let broker = TestBroker::with(|config| config.limits.subscriptions = 2).await;
    for mut client in clients(&broker).await {
        for id in ["1", "2"] {
            client.subscribe(id, "/topic/a").await;
        }
        client.send("UNSUBSCRIBE\nid:1").await;
        client.subscribe("3", "/topic/b").await;
        client
            .send("SUBSCRIBE\nid:4\ndestination:/topic/c\nreceipt:r")
            .await;
        let error = client
            .expect_refusal("more than 2 subscriptions", 1013)
            .await;
        assert!(error.contains("\nreceipt-id:r\n"), "{error}");
    }
    assert_eq!(broker.refusals("subscriptions").await, 2);
    broker.wait_for("stompd_subscriptions", 0.0).await;
}

#[tokio::test]
async fn connect_must_be_complete_in_time() {
    let broker = TestBroker::with(quick).await;
    for part in [
        "",
        "\n",
        "CONNECT\naccept-version:1.2\nhost:a\nreceipt:r\n\n",
    ] {
        for mut client in [broker.ws().await, broker.tcp().await] {
            client.send_bytes(part.as_bytes()).await;
            let error = client.expect_refusal(NO_CONNECT, 1008).await;
            assert!(!error.contains("receipt-id"), "{error}");
        }
    }
    assert_eq!(broker.refusals("connect_timeout").await, 6);
}

#[tokio::test]
async fn single_bytes_do_not_extend_the_connect_timeout() {
    let broker = TestBroker::with(quick).await;
    let (mut web, mut tcp, mut beating) =
        (broker.ws().await, broker.tcp().await, broker.ws().await);
    for byte in &b"CONNECT\naccept-version:1.2"[..15] {
        web.send_bytes(&[*byte]).await;
        tcp.send_bytes(&[*byte]).await;
        beating.send_bytes(b"\n").await;
        sleep(Duration::from_millis(20)).await;
    }
    for mut client in [web, tcp, beating] {
        client.expect_refusal(NO_CONNECT, 1008).await;
    }
}

#[tokio::test]
async fn a_client_connected_in_time_may_be_silent() {
    let time = Duration::from_millis(400);
    let broker = TestBroker::with(|config| config.limits.connect_timeout = time).await;
    let clients = clients(&broker).await;
    sleep(time).await;
    for mut client in clients {
        client.sync().await;
    }
}

#[tokio::test]
async fn a_destination_has_at_most_1024_bytes() {
    let broker = TestBroker::start().await;
    let name = |bytes: usize| format!("/topic/{}", "x".repeat(bytes - "/topic/".len()));
    let text = "destination of 1025 bytes, more than 1024";
    at_the_limit_and_beyond(&broker, &name(1024), &name(1025), text).await;
}

#[tokio::test]
async fn a_destination_has_at_most_64_segments() {
    let broker = TestBroker::start().await;
    for separator in ["/x", ".x"] {
        let name = |segments: usize| format!("/topic/x{}", separator.repeat(segments - 2));
        let text = "destination of 65 segments, more than 64";
        at_the_limit_and_beyond(&broker, &name(64), &name(65), text).await;
    }
}

#[tokio::test]
async fn a_pattern_has_at_most_four_multi_segment_wildcards() {
    let broker = TestBroker::start().await;
    for (fine, bad) in [
        ("/topic/#.a.**.a.#.a.>", "/topic/#.a.**.a.#.a.#.>"),
        ("/topic/#.*.#.*.#.*.#", "/topic/#.#.#.#.#"),
    ] {
        for mut client in clients(&broker).await {
            client.subscribe("fine", fine).await;
            client
                .send("SEND\ndestination:/topic/a.a.a.a.a.a\n\nx")
                .await;
            client.expect("MESSAGE\nsubscription:fine\n*").await;
            client
                .send(&format!("SUBSCRIBE\nid:bad\ndestination:{bad}"))
                .await;
            let text = "pattern with 5 multi-segment wildcards, more than 4";
            client.expect_refusal(text, 1002).await;
        }
    }
}

/// Expects that `fine` can be subscribed to and sent to, and that `bad` can be neither.
async fn at_the_limit_and_beyond(broker: &TestBroker, fine: &str, bad: &str, text: &str) {
    for mut client in clients(broker).await {
        client.subscribe("s", fine).await;
        client.send(&format!("SEND\ndestination:{fine}\n\nx")).await;
        client
            .expect(&format!("MESSAGE\n*\ndestination:{fine}\n\nx"))
            .await;
        client.send(&format!("SEND\ndestination:{bad}\n\nx")).await;
        client.expect_refusal(text, 1002).await;
    }
    for mut client in clients(broker).await {
        client
            .send(&format!("SUBSCRIBE\nid:1\ndestination:{bad}"))
            .await;
        client.expect_refusal(text, 1002).await;
    }
}

/// Expects that a client that sends the start of this frame is refused over both transports.
async fn refused(broker: &TestBroker, frame: &str, text: &str, code: u16, receipt: bool) {
    for mut client in clients(broker).await {
        client.send_bytes(frame.as_bytes()).await;
        let error = client.expect_refusal(text, code).await;
        assert_eq!(error.contains("\nreceipt-id:r\n"), receipt, "{error}");
    }
}

async fn clients(broker: &TestBroker) -> [Peer; 2] {
    [broker.connected_ws().await, broker.connected_tcp().await]
}

fn small(config: &mut Config) {
    config.limits.headers = 4;
    config.limits.header_line = 40;
    config.limits.header_bytes = 100;
    config.limits.body = 10;
}

fn quick(config: &mut Config) {
    config.limits.connect_timeout = Duration::from_millis(200);
}

const NO_CONNECT: &str = "no complete CONNECT frame within 0.2 s (is the final NUL missing?)";
