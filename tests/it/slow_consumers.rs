//! Clients that do not read: how they are limited, and that others are not affected.

use std::time::Duration;

use stompd::config::SlowConsumer;
use support::broker::TestBroker;
use support::peer::{Peer, Seen};

/// More than the buffers of both kernels hold: some of these messages are queued in the broker.
const FLOOD: usize = 1500;

fn body() -> String {
    "x".repeat(16 * 1024)
}

/// Publishes `FLOOD` large messages and waits until all are handed over.
async fn flood(publisher: &mut Peer, destination: &str) {
    let body = body();
    for number in 0..FLOOD {
        publisher
            .send(&format!(
                "SEND\ndestination:{destination}\nn:{number}\n\n{body}"
            ))
            .await;
    }
    publisher.sync().await;
}

fn number(frame: &str) -> usize {
    let line = frame.lines().find_map(|line| line.strip_prefix("n:"));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_without_affecting_others() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let (mut publisher, mut slow, mut quick) = (
        broker.connected_tcp().await,
        broker.connected_ws().await,
        broker.connected_ws().await,
    );
    slow.subscribe("s", "/topic/flood").await;
    quick.subscribe("q", "/topic/flood").await;
    let body = body();
    for number in 0..FLOOD {
        publisher
            .send(&format!(
                "SEND\ndestination:/topic/flood\nn:{number}\n\n{body}"
            ))
            .await;
        assert_eq!(self::number(&quick.frame().await), number);
    }
    broker
        .wait_for("stompd_refusals_total{reason=\"slow_consumer\"}", 1.0)
        .await;
    broker
        .wait_for("stompd_connections{transport=\"websocket\"}", 1.0)
        .await;
    assert!(
        broker
            .metric("stompd_messages_dropped_total{reason=\"slow_consumer\"}")
            .await
            > 0.0
    );
}

#[tokio::test]
async fn drop_oldest_keeps_the_client_and_the_newest_messages() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 256 * 1024;
        config.limits.slow_consumer = SlowConsumer::DropOldest;
    })
    .await;
    let (mut publisher, mut slow) = (broker.connected_tcp().await, broker.connected_ws().await);
    slow.subscribe("s", "/topic/flood").await;
    slow.subscribe("t", "/topic/calm").await;
    publisher
        .send("SEND\ndestination:/topic/calm\nn:7\n\nfirst of all")
        .await;
    flood(&mut publisher, "/topic/flood").await;
    slow.expect("MESSAGE\nsubscription:t\n*n:7\n\nfirst of all")
        .await;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&(FLOOD - 1)) {
        numbers.push(number(&slow.frame().await));
    }
    assert!(
        numbers.is_sorted_by(|one, other| one < other),
        "in order, none twice"
    );
    let dropped = broker
        .metric("stompd_messages_dropped_total{reason=\"slow_consumer\"}")
        .await;
    assert!(dropped > 0.0);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let all = numbers.len() as f64 + dropped;
    assert!(
        (all - 1500.0).abs() < 0.1,
        "{} read and {dropped} dropped",
        numbers.len()
    );
    slow.sync().await;
}

#[tokio::test]
async fn replies_are_never_dropped_and_a_client_that_does_not_read_them_is_not_read() {
    let broker = TestBroker::with(|config| config.limits.outbox_messages = 100).await;
    let client = broker.connected_tcp().await;
    let id = "i".repeat(8 * 1024);
    let (frames, receipts) = (2000, 2000);
    let (mut read, mut write) = client.stream.into_split();
    let writer = tokio::spawn(async move {
        for number in 0..frames {
            let frame = format!("UNSUBSCRIBE\nid:none\nreceipt:{id}-{number}\n\n\0");
            tokio::io::AsyncWriteExt::write_all(&mut write, frame.as_bytes())
                .await
                .unwrap();
        }
        write
    });
    // The broker must stop reading long before the writer has finished.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        !writer.is_finished(),
        "the broker read everything, although its replies are not read"
    );
    let mut decoder = stomp_codec::Decoder::new(stomp_codec::Limits::default());
    let mut next = 0;
    while next < receipts {
        let mut bytes = bytes::BytesMut::with_capacity(64 * 1024);
        assert!(
            tokio::io::AsyncReadExt::read_buf(&mut read, &mut bytes)
                .await
                .unwrap()
                > 0
        );
        decoder.push(bytes.freeze());
        while let Some(item) = decoder.decode().unwrap() {
            let stomp_codec::Item::Frame(frame) = item else {
                continue;
            };
            assert!(
                frame
                    .header("receipt-id")
                    .unwrap()
                    .ends_with(&format!("-{next}"))
            );
            next += 1;
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_client_that_takes_no_replies_is_cut_after_stall() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_messages = 100;
        config.limits.stall = Duration::from_millis(200);
    })
    .await;
    let client = broker.connected_ws().await;
    let frame = support::script::wire(&format!(
        "UNSUBSCRIBE\nid:none\nreceipt:{}",
        "i".repeat(8 * 1024)
    ));
    let bytes =
        support::websocket::masked(support::websocket::FIN | support::websocket::TEXT, &frame);
    let (_read, mut write) = client.stream.into_split();
    let writer = tokio::spawn(async move {
        while tokio::io::AsyncWriteExt::write_all(&mut write, &bytes)
            .await
            .is_ok()
        {}
    });
    broker
        .wait_for("stompd_refusals_total{reason=\"stalled\"}", 1.0)
        .await;
    writer.await.unwrap();
}

#[tokio::test]
async fn a_client_that_pings_endlessly_and_reads_nothing_is_limited() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 64 * 1024;
        config.limits.stall = Duration::from_millis(200);
    })
    .await;
    let client = broker.connected_ws().await;
    let ping = support::websocket::masked(
        support::websocket::FIN | support::websocket::PING,
        &[7; 125],
    );
    let pings = ping.repeat(1000);
    let (_read, mut write) = client.stream.into_split();
    let writer = tokio::spawn(async move {
        while tokio::io::AsyncWriteExt::write_all(&mut write, &pings)
            .await
            .is_ok()
        {}
    });
    broker
        .wait_for("stompd_refusals_total{reason=\"stalled\"}", 1.0)
        .await;
    writer.await.unwrap();
}

#[tokio::test]
async fn a_large_message_fits_an_empty_outbox_of_any_limit() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 1024).await;
    let mut client = broker.connected_ws().await;
    client.subscribe("s", "/topic/a").await;
    let body = "y".repeat(3 * 1024 * 1024);
    client
        .send(&format!("SEND\ndestination:/topic/a\n\n{body}"))
        .await;
    match client.seen().await {
        Seen::Frame(frame, _) => assert!(frame.ends_with(&body)),
        other => panic!("{other:?}"),
    }
    client.sync().await;
}
