//! Metrics of what is queued, slow and held.

use std::time::Duration;

use support::broker::TestBroker;
use support::peer::Seen;
use support::websocket::{FIN, PONG, masked};

const BODY: u32 = 64 * 1024;
/// More than the buffers of both kernels hold.
const FLOOD: u32 = 400;

#[tokio::test]
async fn the_round_trip_of_each_ping_is_measured() {
    let broker =
        TestBroker::with(|config| config.heart_beat.ping = Duration::from_millis(50)).await;
    let mut client = broker.connected_ws().await;
    for round in 1..=2 {
        while client.seen().await != Seen::Ping {}
        client.raw(&masked(FIN | PONG, b"")).await;
        broker
            .wait_for("stompd_ping_round_trip_seconds_count", round.into())
            .await;
    }
    // An unsolicited Pong.
    client.raw(&masked(FIN | PONG, b"")).await;
    client.sync().await;
    let [answered, sent, time] = [
        "stompd_ping_round_trip_seconds_count",
        "stompd_pings_sent_total",
        "stompd_ping_round_trip_seconds_sum",
    ];
    assert!(broker.metric(answered).await <= broker.metric(sent).await);
    assert!(broker.metric(time).await > 0.0);
}

#[tokio::test]
async fn each_batch_is_measured_once_when_it_is_handed_over() {
    let broker = TestBroker::start().await;
    let (mut publisher, mut subscriber) =
        (broker.connected_tcp().await, broker.connected_ws().await);
    subscriber.subscribe("s", "/topic/a").await;
    for number in 0..5 {
        publisher.publish("/topic/a", &[&number.to_string()]).await;
    }
    broker
        .wait_for("stompd_publish_to_write_seconds_count", 5.0)
        .await;
    assert!(broker.metric("stompd_publish_to_write_seconds_sum").await > 0.0);
}

#[tokio::test]
async fn queued_bytes_are_reported_until_the_client_reads() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 64 << 20).await;
    let (mut publisher, mut slow) = (broker.connected_tcp().await, broker.connected_ws().await);
    slow.subscribe("s", "/topic/a").await;
    let body = "x".repeat(BODY as usize);
    for _ in 0..FLOOD {
        publisher.publish("/topic/a", &[&body]).await;
    }
    broker.wait_for("stompd_outboxes_waiting", 1.0).await;
    let messages = broker.metric("stompd_outbox_messages").await;
    let bytes = broker.metric("stompd_outbox_bytes").await;
    assert!((1.0..=f64::from(FLOOD)).contains(&messages), "{messages}");
    assert!(
        bytes > (messages - 1.0) * f64::from(BODY),
        "{bytes} of {messages}"
    );
    for _ in 0..FLOOD {
        slow.frame().await;
    }
    broker.wait_for("stompd_outboxes_waiting", 0.0).await;
    broker.wait_for("stompd_outbox_bytes", 0.0).await;
    broker
        .wait_for("stompd_outbox_blocked_seconds_count", 1.0)
        .await;
}

#[tokio::test]
async fn what_transactions_hold_is_reported_until_they_end() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    let held = "stompd_transaction_bytes";
    for is_aborted in [true, false] {
        client.send("BEGIN\ntransaction:t").await;
        client
            .send("SEND\ndestination:/topic/a\ntransaction:t\n\n0123456789")
            .await;
        client.sync().await;
        assert!(broker.metric(held).await >= 10.0);
        if is_aborted {
            client.send("ABORT\ntransaction:t").await;
            client.sync().await;
            broker.wait_for(held, 0.0).await;
        }
    }
    // A connection that is lost holds nothing.
    drop(client);
    broker.wait_for(held, 0.0).await;
}

#[tokio::test]
async fn the_connection_limit_is_reported() {
    let broker = TestBroker::with(|config| config.limits.connections = 7).await;
    broker.wait_for("stompd_connections_limit", 7.0).await;
}
