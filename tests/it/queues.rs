//! Queues: which consumer gets which message in which order, how much a consumer has at a time, and
//! what is refused when a queue is full.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stomp_codec::{Headers, Version};
use stompd::config::{Config, SlowConsumer};
use stompd::encoding::Framing;
use stompd::encoding::Kind;
use stompd::engine::SessionId;
use stompd::engine::destination::{Destination, Pattern};
use stompd::engine::message::Message;
use stompd::engine::queue;
use stompd::engine::subscription::{AckMode, Prefetch, Subscription};
use stompd::engine::transaction::Transactions;
use stompd::hub::{self, Hub, Pressure};
use stompd::metrics::Registry;
use stompd::outbox::{Outbox, OutboxBounds, Policy, Subscriber};
use stompd::queues::QueueSettings;
use support::broker::TestBroker;
use support::peer::{Peer, Seen};
use support::script::{self, body, header, wire};
use support::wire::{MemoryWire, read};

#[tokio::test]
async fn a_queue_keeps_messages_until_a_consumer_arrives() {
    let broker = TestBroker::start().await;
    for mut consumer in [broker.connected_ws().await, broker.connected_tcp().await] {
        let mut publisher = broker.connected_tcp().await;
        publisher
            .send("SEND\ndestination:/queue/a\nb:2\na:1\nb:3\nack:forged\nredelivered:true\nreceipt:r\n\nhi")
            .await;
        publisher.expect("RECEIPT\nreceipt-id:r").await;
        publisher.publish("/queue/a", &["2", "3"]).await;
        drop(publisher);
        consumer.subscribe("x:y", "/queue/a").await;
        consumer
            .expect("MESSAGE\nsubscription:x:y\nmessage-id:*-*\ndestination:/queue/a\nb:2\na:1\nb:3\n\nhi")
            .await;
        consumer.expect_messages(&["2", "3"]).await;
        consumer.expect_nothing().await;
        consumer.unsubscribe("x:y").await;
    }
}

#[tokio::test]
async fn consumers_take_turns() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let (mut one, mut two, mut three) = (
        broker.connected_tcp().await,
        broker.connected_ws().await,
        broker.connected_tcp().await,
    );
    for consumer in [&mut one, &mut two, &mut three] {
        consumer.subscribe("s", "/queue/a").await;
    }
    publisher
        .publish("/queue/a", &["1", "2", "3", "4", "5", "6", "7"])
        .await;
    one.expect_messages(&["1", "4", "7"]).await;
    two.expect_messages(&["2", "5"]).await;
    three.expect_messages(&["3", "6"]).await;
    // A consumer that left is skipped, and the others keep their order.
    two.unsubscribe("s").await;
    publisher.publish("/queue/a", &["8", "9", "10"]).await;
    three.expect_messages(&["8", "10"]).await;
    one.expect_messages(&["9"]).await;
    for mut consumer in [one, two, three] {
        consumer.expect_nothing().await;
    }
}

#[tokio::test]
async fn two_subscriptions_of_one_client_alternate_too() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    client.subscribe("one", "/queue/a").await;
    // Queues ignore no-local: some consumer must get the message.
    client
        .subscribe_with("two", "/queue/a", "no-local:true")
        .await;
    for body in ["1", "2", "3", "4"] {
        client
            .send(&format!("SEND\ndestination:/queue/a\n\n{body}"))
            .await;
    }
    let frames = [
        client.frame().await,
        client.frame().await,
        client.frame().await,
        client.frame().await,
    ];
    let of = |id: &str| -> Vec<&str> {
        let own = frames
            .iter()
            .filter(|frame| header(frame, "subscription") == Some(id));
        own.map(|frame| body(frame)).collect()
    };
    assert_eq!(of("one"), ["1", "3"]);
    assert_eq!(of("two"), ["2", "4"]);
}

#[tokio::test]
async fn a_consumer_without_credit_is_skipped() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let (mut one, mut two) = (broker.connected_tcp().await, broker.connected_ws().await);
    for consumer in [&mut one, &mut two] {
        consumer.subscribe_with("s", "/queue/a", ONE).await;
    }
    publisher
        .publish("/queue/a", &["1", "2", "3", "4", "5"])
        .await;
    let first = one.expect_messages(&["1"]).await;
    let second = two.expect_messages(&["2"]).await;
    one.expect_nothing().await;
    two.settle("ACK", &second[0], "").await;
    let third = two.expect_messages(&["3"]).await;
    two.settle("ACK", &third[0], "").await;
    two.expect_messages(&["4"]).await;
    two.expect_nothing().await;
    one.settle("ACK", &first[0], "").await;
    one.expect_messages(&["5"]).await;
    for mut consumer in [one, two] {
        consumer.expect_nothing().await;
    }
}

#[tokio::test]
async fn the_prefetch_is_the_configured_or_the_requested_one() {
    let broker = TestBroker::with(|config| config.queue.prefetch = 2).await;
    let mut publisher = broker.connected_tcp().await;
    for (headers, has) in [
        ("ack:client", 2),
        ("ack:client\nprefetch-count:3", 3),
        ("ack:client\nactivemq.prefetchSize:1", 1),
        ("ack:client\nprefetch-count:0", 2),
        ("ack:auto", 4),
    ] {
        let bodies = ["1", "2", "3", "4"];
        publisher.publish("/queue/a", &bodies).await;
        let mut consumer = broker.connected_tcp().await;
        consumer.subscribe_with("s", "/queue/a", headers).await;
        let mut left = &bodies[..];
        while !left.is_empty() {
            let now = &left[..has.min(left.len())];
            let frames = consumer.expect_messages(now).await;
            consumer.expect_nothing().await;
            left = &left[now.len()..];
            if headers != "ack:auto" {
                consumer.settle("ACK", frames.last().unwrap(), "").await;
            }
        }
        consumer.sync().await;
        consumer.unsubscribe("s").await;
    }
    broker.expect_metric("stompd_queues", 0).await;
}

#[tokio::test]
async fn the_message_that_reaches_prefetch_bytes_is_the_last() {
    let broker = TestBroker::with(|config| config.queue.prefetch_bytes = 100).await;
    let mut publisher = broker.connected_tcp().await;
    let large = "x".repeat(1000);
    // One message of 60 bytes is below the limit, two are not.
    let small = "x".repeat(60);
    for (body, has) in [(&large, 1), (&small, 2)] {
        let mut consumer = broker.connected_ws().await;
        consumer
            .subscribe_with("s", "/queue/a", "ack:client-individual")
            .await;
        let mut bodies = vec![body.as_str(); 6];
        publisher.publish("/queue/a", &bodies).await;
        while !bodies.is_empty() {
            let frames = consumer
                .expect_messages(&bodies.split_off(bodies.len() - has))
                .await;
            consumer.expect_nothing().await;
            for frame in &frames {
                consumer.settle("ACK", frame, "").await;
            }
        }
        consumer.expect_nothing().await;
        consumer.unsubscribe("s").await;
    }
}

#[tokio::test]
async fn a_requested_prefetch_count_disables_the_byte_limit() {
    let broker = TestBroker::with(|config| config.queue.prefetch_bytes = 100).await;
    let mut client = broker.connected_tcp().await;
    let large = "x".repeat(1000);
    client
        .subscribe_with("s", "/queue/a", "ack:client\nprefetch-count:4")
        .await;
    for _ in 0..6 {
        client
            .send(&format!("SEND\ndestination:/queue/a\n\n{large}"))
            .await;
    }
    let frames = client.expect_messages(&[large.as_str(); 4]).await;
    client.expect_nothing().await;
    client.settle("ACK", &frames[3], "").await;
    client.expect_messages(&[large.as_str(); 2]).await;
}

#[tokio::test]
async fn an_empty_queue_without_consumers_is_removed() {
    let broker = TestBroker::with(|config| config.queue.metrics = true).await;
    let mut client = broker.connected_tcp().await;
    let named = async || {
        let (_, text) = broker.admin("/metrics").await;
        text.contains("queue=\"/queue/a\"")
    };
    assert!(!named().await);

    // Created by a SUBSCRIBE, until its end.
    client.subscribe("s", "/queue/a").await;
    broker.expect_metric("stompd_queues", 1).await;
    broker.expect_metric(&each("consumers"), 1).await;
    client.unsubscribe("s").await;
    assert!(!named().await);
    broker.expect_metric("stompd_queues", 0).await;

    // Created by a SEND, until the message is settled and its consumer has left.
    client.publish("/queue/a", &["1"]).await;
    broker.expect_metric(&each("messages_ready"), 1).await;
    let mut consumer = broker.connected_ws().await;
    consumer.subscribe_with("s", "/queue/a", ONE).await;
    let frames = consumer.expect_messages(&["1"]).await;
    consumer.unsubscribe("s").await;
    assert!(named().await, "the message may return");
    consumer.settle("ACK", &frames[0], "").await;
    consumer.sync().await;
    assert!(!named().await);

    // Created by a COMMIT that is not refused, and not by an empty one.
    client.send("BEGIN\ntransaction:t").await;
    client
        .send("SEND\ndestination:/queue/a\ntransaction:t\n\n2")
        .await;
    client.sync().await;
    assert!(!named().await, "the transaction may end without it");
    client.send("COMMIT\ntransaction:t").await;
    client.sync().await;
    assert!(named().await);
    client.subscribe("s", "/queue/a").await;
    client.expect_messages(&["2"]).await;
    client.send("DISCONNECT").await;
    client.expect_close(1000).await;
    broker.wait_for("stompd_queues", 0.0).await;
    assert!(!named().await);
}

#[tokio::test]
async fn metrics_count_held_and_finished_messages_of_queues() {
    let broker = TestBroker::with(|config| config.queue.metrics = true).await;
    let mut publisher = broker.connected_tcp().await;
    let bodies = ["1", "2", "3", "4", "5", "6"];
    publisher.publish("/queue/a", &bodies).await;
    publisher.publish("/queue/b", &["1"]).await;
    let mut consumer = broker.connected_ws().await;
    consumer
        .subscribe_with("s", "/queue/a", "ack:client-individual\nprefetch-count:4")
        .await;
    let frames = consumer.expect_messages(&bodies[..4]).await;
    for (name, value) in [
        ("stompd_queues", 2),
        ("stompd_queue_messages_ready", 3),
        ("stompd_queue_messages_unacknowledged", 4),
        ("stompd_queue_consumers", 1),
        (&each("messages_ready"), 2),
        (&each("messages_unacknowledged"), 4),
        (&each("consumers"), 1),
    ] {
        broker.expect_metric(name, value).await;
    }

    consumer.settle("NACK", &frames[2], "").await;
    consumer.settle("ACK", &frames[0], "").await;
    consumer.settle("NACK", &frames[1], "requeue:false").await;
    consumer.expect_messages(&["3 again", "5", "6"]).await;
    consumer.sync().await;
    for (name, value) in [
        ("stompd_messages_acknowledged_total", 1),
        ("stompd_messages_rejected_total", 1),
        ("stompd_messages_redelivered_total", 1),
        ("stompd_messages_published_total", 7),
        ("stompd_messages_delivered_total", 7),
        (&each("messages_ready"), 0),
        (&each("messages_unacknowledged"), 4),
    ] {
        broker.expect_metric(name, value).await;
    }

    consumer.send("DISCONNECT").await;
    consumer.expect_close(1000).await;
    broker.wait_for("stompd_queue_consumers", 0.0).await;
    for (name, value) in [
        ("stompd_messages_redelivered_total", 5),
        ("stompd_queue_messages_ready", 5),
        ("stompd_queue_messages_unacknowledged", 0),
        (&each("messages_ready"), 4),
        (&each("messages_unacknowledged"), 0),
        (&each("consumers"), 0),
    ] {
        broker.expect_metric(name, value).await;
    }

    publisher.subscribe("a", "/queue/a").await;
    let again = ["3 again", "4 again", "5 again", "6 again"];
    publisher.expect_messages(&again).await;
    publisher.subscribe("b", "/queue/b").await;
    publisher.expect_messages(&["1"]).await;
    broker
        .expect_metric("stompd_messages_acknowledged_total", 6)
        .await;
    // The queues themselves use memory until the last subscription ends.
    assert!(broker.metric("stompd_queue_bytes").await > 0.0);
    drop(publisher);
    broker.wait_for("stompd_queue_bytes", 0.0).await;
}

#[tokio::test]
async fn a_queue_refuses_messages_above_max_length() {
    let broker = TestBroker::with(short).await;
    for (mut publisher, mut consumer) in [
        (broker.connected_ws().await, broker.connected_tcp().await),
        (broker.connected_tcp().await, broker.connected_ws().await),
    ] {
        publisher.publish("/queue/a", &["1", "2", "3"]).await;
        publisher
            .send("SEND\ndestination:/queue/a\nreceipt:r\n\n4")
            .await;
        let error = publisher
            .expect_refusal("queue is full: /queue/a\nreceipt-id:r", 1013)
            .await;
        assert!(error.contains("max_length"), "{error}");
        consumer.subscribe("s", "/queue/a").await;
        consumer.expect_messages(&["1", "2", "3"]).await;
        consumer.expect_nothing().await;
        consumer.unsubscribe("s").await;
    }
    assert_eq!(broker.refusals("queue_full").await, 2);
    broker
        .expect_metric("stompd_messages_published_total", 6)
        .await;
}

#[tokio::test]
async fn max_length_counts_queued_messages_and_not_those_of_consumers() {
    let broker = TestBroker::with(short).await;
    let mut client = broker.connected_tcp().await;
    client
        .subscribe_with("s", "/queue/a", "ack:client\nprefetch-count:2")
        .await;
    for body in ["1", "2", "3", "4", "5"] {
        client
            .send(&format!("SEND\ndestination:/queue/a\n\n{body}"))
            .await;
    }
    client.expect_messages(&["1", "2"]).await;
    client.sync().await;
    client.send("SEND\ndestination:/queue/a\n\n6").await;
    client.expect_refusal("queue is full", 1013).await;
}

#[tokio::test]
async fn max_bytes_includes_the_messages_of_consumers() {
    let broker = TestBroker::with(|config| config.queue.max_bytes = 4500).await;
    let mut publisher = broker.tcp().await;
    publisher
        .connect_with("accept-version:1.2\nx-refusals:true")
        .await;
    let mut consumer = broker.connected_ws().await;
    consumer
        .subscribe_with("s", "/queue/a", "ack:client-individual")
        .await;
    let large = "x".repeat(1000);
    publisher.publish("/queue/a", &[large.as_str(); 3]).await;
    let frames = consumer.expect_messages(&[large.as_str(); 3]).await;
    let send = format!("SEND\ndestination:/queue/a\n\n{large}");
    publisher.send(&send).await;
    publisher.expect("MESSAGE\n*reason:queue_full\n*").await;
    consumer.settle("ACK", &frames[1], "").await;
    consumer.sync().await;
    publisher.publish("/queue/a", &[&large]).await;
    consumer.expect_messages(&[&large]).await;
}

#[tokio::test]
async fn max_bytes_includes_the_overhead_of_messages() {
    let broker = TestBroker::with(|config| config.queue.max_bytes = 100 * 1024).await;
    let mut publisher = broker.tcp().await;
    publisher
        .connect_with("accept-version:1.2\nx-refusals:true")
        .await;
    // By their text alone there would be room for more than 4,000.
    let batch = wire("SEND\ndestination:/queue/a\n\n").repeat(1000);
    publisher.send_bytes(&batch).await;
    publisher.expect("MESSAGE\n*reason:queue_full\n*").await;
    let taken = broker.metric("stompd_queue_messages_ready").await;
    assert!((150.0..400.0).contains(&taken), "{taken}");
    let held = broker.metric("stompd_queue_bytes").await;
    assert!((80_000.0..130_000.0).contains(&held), "{held}");
}

#[tokio::test]
async fn a_queue_that_was_long_frees_its_memory() {
    let broker = TestBroker::start().await;
    let (mut publisher, mut client) = (broker.connected_tcp().await, broker.connected_tcp().await);
    client.subscribe("s", "/queue/a").await;
    // To learn the size of an empty queue with a consumer.
    publisher.publish("/queue/a", &["1"]).await;
    client.expect_messages(&["1"]).await;
    broker
        .wait_for("stompd_messages_acknowledged_total", 1.0)
        .await;
    let empty = broker.metric("stompd_queue_bytes").await;
    assert!((500.0..10_000.0).contains(&empty), "{empty}");
    client.unsubscribe("s").await;
    let bodies = vec![""; 20_000];
    publisher.publish("/queue/a", &bodies).await;
    let full = broker.metric("stompd_queue_bytes").await;
    assert!(full > 200.0 * 20_000.0, "{full}");
    client
        .subscribe_with("s", "/queue/a", "ack:client\nprefetch-count:30000")
        .await;
    let frames = client.expect_messages(&bodies).await;
    client.settle("ACK", &frames[frames.len() - 1], "").await;
    client.sync().await;
    // A small capacity is kept.
    let after = broker.metric("stompd_queue_bytes").await;
    assert!(after < empty + 4096.0, "{after}, and {empty} before");
}

#[tokio::test]
async fn a_send_or_commit_that_exceeds_the_queue_limit_is_refused() {
    let broker = TestBroker::with(|config| config.queue.max_queues = 3).await;
    broker.expect_metric("stompd_queues_limit", 3).await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client
            .connect_with("accept-version:1.2\nx-refusals:true")
            .await;
        for name in ["/queue/a", "/queue/b", "/queue/c"] {
            client.publish(name, &["x"]).await;
        }
        client
            .send("SEND\ndestination:/queue/d\nreceipt:r\n\nx")
            .await;
        let refusal = "MESSAGE\ndestination:/stompd/refusals\n*reason:queues\nreceipt-id:r\n*";
        client.expect(refusal).await;
        client.send("BEGIN\ntransaction:t").await;
        for name in ["/queue/a", "/queue/e"] {
            client
                .send(&format!("SEND\ndestination:{name}\ntransaction:t\n\nx"))
                .await;
        }
        client.send("COMMIT\ntransaction:t\nreceipt:r").await;
        client.expect(refusal).await;
        // The transaction had no effect.
        client.subscribe("a", "/queue/a").await;
        client.expect_messages(&["x"]).await;
        client.expect_nothing().await;
        client.unsubscribe("a").await;
        // The empty queue was removed, which makes room for another one.
        client.publish("/queue/d", &["x"]).await;
        broker.expect_metric("stompd_queues", 3).await;
        for (id, name) in [("b", "/queue/b"), ("c", "/queue/c"), ("d", "/queue/d")] {
            client.subscribe(id, name).await;
            client.expect_messages(&["x"]).await;
        }
        client.send("DISCONNECT").await;
        broker.wait_for("stompd_queues", 0.0).await;
    }
    assert_eq!(broker.refusals("queues").await, 4);
}

#[tokio::test]
async fn a_subscribe_that_exceeds_the_queue_limit_is_refused() {
    let broker = TestBroker::with(|config| config.queue.max_queues = 2).await;
    let mut other = broker.connected_tcp().await;
    other.subscribe("b", "/queue/b").await;
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        for name in ["/queue/a", "/queue/b", "/topic/t"] {
            client.subscribe(name, name).await;
        }
        client
            .send("SUBSCRIBE\nid:c\ndestination:/queue/c\nreceipt:r")
            .await;
        let error = client.expect_refusal("more than 2 queues", 1013).await;
        assert!(error.contains("\nreceipt-id:r\n"), "{error}");
        drop(client);
        broker.wait_for("stompd_subscriptions", 1.0).await;
    }
    broker.expect_metric("stompd_queues", 1).await;
}

#[tokio::test]
async fn metrics_name_the_longest_queues_and_count_the_others() {
    let broker = TestBroker::with(|config| {
        config.queue.metrics = true;
        config.queue.metrics_limit = 3;
    })
    .await;
    let mut client = broker.connected_tcp().await;
    for number in 0..10 {
        let name = format!("/queue/{number}");
        let messages = if number == 7 { 2 } else { 1 };
        client.publish(&name, &["x", "x"][..messages]).await;
    }
    let (_, text) = broker.admin("/metrics").await;
    let lines = text.lines();
    let named: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("stompd_each_queue_messages_ready"))
        .collect();
    let expected = [
        "{queue=\"/queue/0\"} 1",
        "{queue=\"/queue/1\"} 1",
        "{queue=\"/queue/7\"} 2",
    ];
    assert_eq!(named, expected);
    broker.expect_metric("stompd_queues_unnamed", 7).await;
    broker
        .expect_metric("stompd_queue_messages_ready", 11)
        .await;
}

#[tokio::test]
async fn a_single_message_fits_an_empty_queue_for_any_max_bytes() {
    let broker = TestBroker::with(|config| config.queue.max_bytes = 100).await;
    let mut client = broker.connected_tcp().await;
    let large = "x".repeat(1000);
    client.publish("/queue/a", &[&large]).await;
    client.publish("/queue/b", &[&large]).await;
    client.subscribe("b", "/queue/b").await;
    client.expect_messages(&[&large]).await;
    // Messages that went straight to a consumer take no room.
    for _ in 0..3 {
        let send = format!("SEND\ndestination:/queue/b\n\n{large}");
        client.send(&send).await;
        client.expect_messages(&[&large]).await;
    }
    client.send("SEND\ndestination:/queue/a\n\nx").await;
    client.expect_refusal("queue is full: /queue/a", 1013).await;
}

#[tokio::test]
async fn redelivered_messages_return_above_max_length() {
    let broker = TestBroker::with(short).await;
    let mut publisher = broker.connected_tcp().await;
    let mut consumer = broker.connected_ws().await;
    consumer
        .subscribe_with("s", "/queue/a", "ack:client\nprefetch-count:2")
        .await;
    publisher
        .publish("/queue/a", &["1", "2", "3", "4", "5"])
        .await;
    consumer.expect_messages(&["1", "2"]).await;
    consumer.send("DISCONNECT").await;
    consumer.expect_close(1000).await;
    broker.wait_for("stompd_queue_messages_ready", 5.0).await;
    publisher.send("SEND\ndestination:/queue/a\n\n6").await;
    publisher.expect_refusal("queue is full", 1013).await;
    let mut consumer = broker.connected_tcp().await;
    consumer.subscribe("s", "/queue/a").await;
    let all = ["1 again", "2 again", "3", "4", "5"];
    consumer.expect_messages(&all).await;
    consumer.expect_nothing().await;
}

#[tokio::test]
async fn receipts_and_refusals_keep_the_order_of_their_frames() {
    let broker = TestBroker::with(short).await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client
            .connect_with("accept-version:1.2\nx-refusals:true")
            .await;
        let mut batch = Vec::new();
        for (number, destination) in [
            "/queue/a", "/queue/a", "/queue/a", "/queue/a", "/topic/x", "/queue/a", "/queue/b",
        ]
        .iter()
        .enumerate()
        {
            let frame = format!("SEND\ndestination:{destination}\nreceipt:{number}\n\n{number}");
            batch.extend(wire(&frame));
        }
        batch.extend(wire("SEND\ndestination:/queue/a\n\nno receipt"));
        batch.extend(wire("UNSUBSCRIBE\nid:none\nreceipt:last"));
        client.send_bytes(&batch).await;
        for number in 0..7 {
            if [3, 5].contains(&number) {
                client
                    .expect(&format!(
                        "MESSAGE\ndestination:/stompd/refusals\nsubscription:/stompd/refusals\n\
                         message-id:*\nreason:queue_full\nreceipt-id:{number}\n\
                         content-type:text/plain\n\nqueue is full: /queue/a\n*"
                    ))
                    .await;
            } else {
                client
                    .expect(&format!("RECEIPT\nreceipt-id:{number}"))
                    .await;
            }
        }
        let told = client.frame().await;
        script::check(&told, "MESSAGE\ndestination:/stompd/refusals\n*");
        assert_eq!(header(&told, "receipt-id"), None);
        client.expect("RECEIPT\nreceipt-id:last").await;
        // The connection stays open, and the refusal is no delivery.
        let id = header(&told, "message-id").unwrap();
        client.send(&format!("ACK\nid:{id}")).await;
        client.subscribe("a", "/queue/a").await;
        client.expect_messages(&["0", "1", "2"]).await;
        client.subscribe("b", "/queue/b").await;
        client.expect_messages(&["6"]).await;
        client.send("DISCONNECT\nreceipt:bye").await;
        client.expect("RECEIPT\nreceipt-id:bye").await;
        client.expect_close(1000).await;
        broker.wait_for("stompd_queues", 0.0).await;
    }
    assert_eq!(broker.refusals("queue_full").await, 6);
    broker
        .expect_metric("stompd_messages_published_total", 10)
        .await;
    broker.expect_metric("stompd_acks_ignored_total", 2).await;
}

#[tokio::test]
async fn frames_before_a_refused_send_count_and_later_ones_do_not() {
    let broker = TestBroker::with(short).await;
    for mut publisher in [broker.connected_ws().await, broker.connected_tcp().await] {
        let mut watcher = broker.connected_tcp().await;
        watcher.subscribe("t", "/topic/x").await;
        let mut batch = Vec::new();
        for (number, destination) in [
            "/queue/a", "/topic/x", "/queue/a", "/queue/b", "/queue/a", "/queue/a", "/topic/x",
            "/queue/b",
        ]
        .iter()
        .enumerate()
        {
            let frame = format!("SEND\ndestination:{destination}\nreceipt:{number}\n\n{number}");
            batch.extend(wire(&frame));
        }
        batch.extend(wire(
            "SUBSCRIBE\nid:late\ndestination:/queue/b\nreceipt:late",
        ));
        publisher.send_bytes(&batch).await;
        for number in 0..5 {
            publisher
                .expect(&format!("RECEIPT\nreceipt-id:{number}"))
                .await;
        }
        publisher
            .expect_refusal("queue is full: /queue/a\nreceipt-id:5", 1013)
            .await;
        watcher.expect_messages(&["1"]).await;
        watcher.subscribe("a", "/queue/a").await;
        watcher.expect_messages(&["0", "2", "4"]).await;
        watcher.subscribe("b", "/queue/b").await;
        watcher.expect_messages(&["3"]).await;
        watcher.expect_nothing().await;
        watcher.unsubscribe("a").await;
        watcher.unsubscribe("b").await;
    }
}

#[tokio::test]
async fn a_batch_that_consumers_take_at_once_fits() {
    let broker = TestBroker::with(short).await;
    let mut consumer = broker.connected_ws().await;
    consumer.subscribe("s", "/queue/a").await;
    let mut publisher = broker.connected_ws().await;
    let send = |number: usize| wire(&format!("SEND\ndestination:/queue/a\n\n{number}"));
    let batch: Vec<u8> = (0..2000).flat_map(send).collect();
    publisher.send_bytes(&batch).await;
    publisher.sync().await;
    for number in 0..2000 {
        consumer.expect(&format!("MESSAGE\n*\n\n{number}")).await;
    }
}

#[tokio::test]
async fn a_full_outbox_takes_no_more_from_queues_and_no_client_is_cut() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 256 * 1024;
        config.queue.metrics = true;
    })
    .await;
    for ack in ["auto", "client"] {
        let mut publisher = broker.connected_tcp().await;
        let (mut slow, mut quick) = (broker.connected_ws().await, broker.connected_tcp().await);
        slow.subscribe_with("s", "/queue/a", &format!("ack:{ack}\nprefetch-count:65535"))
            .await;
        flood(&mut publisher).await;
        // The queue keeps what the kernels and the outbox did not take, for another consumer.
        let waiting = broker.metric(&each("messages_ready")).await;
        assert!(waiting > 100.0, "only {waiting} wait");
        quick
            .subscribe_with("q", "/queue/a", "ack:client\nprefetch-count:10")
            .await;
        let mut numbers = HashSet::new();
        for _ in 0..10 {
            let frame = quick.frame().await;
            numbers.insert(number(&frame));
            if numbers.len() == 10 {
                quick.unsubscribe("q").await;
                quick.settle("ACK", &frame, "").await;
            }
        }
        assert_eq!(numbers.len(), 10);
        // Its requests are answered after the queued frames, and it continues when it reads again.
        slow.send("UNSUBSCRIBE\nid:none\nreceipt:answer").await;
        let mut answered = false;
        while numbers.len() < FLOOD || !answered {
            let frame = slow.frame().await;
            if frame == "RECEIPT\nreceipt-id:answer" {
                answered = true;
            } else {
                assert!(numbers.insert(number(&frame)), "none twice");
            }
        }
        slow.expect_nothing().await;
        slow.send("DISCONNECT\nreceipt:bye").await;
        slow.expect("RECEIPT\nreceipt-id:bye").await;
        slow.expect_close(1000).await;
        if ack == "client" {
            broker.wait_for("stompd_queue_consumers", 0.0).await;
            broker.expect_metric(&each("messages_ready"), 1490).await;
        } else {
            broker.wait_for("stompd_queues", 0.0).await;
        }
    }
    assert_eq!(broker.refusals("slow_consumer").await, 0);
}

#[tokio::test]
async fn an_error_is_not_lost_behind_queue_deliveries() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let mut publisher = broker.connected_tcp().await;
    let mut slow = broker.connected_ws().await;
    slow.subscribe("s", "/queue/a").await;
    flood(&mut publisher).await;
    slow.send("ACK\nid:wrong\nreceipt:r").await;
    broker
        .wait_for("stompd_refusals_total{reason=\"ack_malformed\"}", 1.0)
        .await;
    let mut next = 0;
    let error = loop {
        let frame = slow.frame().await;
        if frame.starts_with("ERROR\n") {
            break frame;
        }
        assert_eq!(number(&frame), next);
        next += 1;
    };
    script::check(&error, "ERROR\nmessage:\"wrong\" is *\nreceipt-id:r\n*");
    slow.expect_close(1002).await;
    // The last one it saw may have been partly written when it was cut, and then is redelivered.
    let mut other = broker.connected_tcp().await;
    other.subscribe("s", "/queue/a").await;
    let first = other.frame().await;
    match header(&first, "redelivered") {
        Some(_) => assert_eq!(number(&first), next - 1),
        None => assert_eq!(number(&first), next),
    }
    for expected in number(&first) + 1..FLOOD {
        let frame = other.frame().await;
        assert_eq!(number(&frame), expected);
        assert_eq!(header(&frame, "redelivered"), None);
    }
}

#[tokio::test]
async fn many_messages_reach_many_consumers_once_each() {
    const MESSAGES: usize = 5000;
    let broker = TestBroker::start().await;
    let mut consumers = Vec::new();
    for ack in ["auto", "client", "client-individual\nprefetch-count:1"] {
        for mut peer in [broker.connected_ws().await, broker.connected_tcp().await] {
            peer.subscribe("over", "/topic/over").await;
            peer.subscribe_with("s", "/queue/a", &format!("ack:{ack}"))
                .await;
            consumers.push(tokio::spawn(consume(peer)));
        }
    }
    let mut publisher = broker.connected_tcp().await;
    let send = |number: usize| wire(&format!("SEND\ndestination:/queue/a\nn:{number}\n\nx"));
    let batch: Vec<u8> = (0..MESSAGES).flat_map(send).collect();
    publisher.raw(&batch).await;
    publisher.sync().await;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let all = MESSAGES as f64;
    broker
        .wait_for("stompd_messages_acknowledged_total", all)
        .await;
    publisher.publish("/topic/over", &["x"]).await;
    let mut numbers = HashSet::new();
    for consumer in consumers {
        let seen = consumer.await.unwrap();
        assert!(!seen.is_empty(), "each consumer gets some");
        assert!(seen.is_sorted(), "each in order");
        for number in seen {
            assert!(numbers.insert(number), "none twice");
        }
    }
    assert_eq!(numbers.len(), MESSAGES);
}

/// Acknowledges messages until it is stopped; returns the numbers.
async fn consume(mut peer: Peer) -> Vec<usize> {
    let mut numbers = Vec::new();
    loop {
        let frame = peer.frame().await;
        if header(&frame, "subscription") == Some("over") {
            return numbers;
        }
        numbers.push(number(&frame));
        if header(&frame, "ack").is_some() {
            peer.settle("ACK", &frame, "").await;
        }
    }
}

/// Sends `FLOOD` large messages, more than the buffers of both kernels hold.
pub(super) async fn flood(publisher: &mut Peer) {
    let body = "x".repeat(16 * 1024);
    for number in 0..FLOOD {
        let frame = format!("SEND\ndestination:/queue/a\nn:{number}\n\n{body}");
        publisher.send(&frame).await;
    }
    publisher.sync().await;
}

/// The number of a message of a flood.
pub(super) fn number(frame: &str) -> usize {
    header(frame, "n").unwrap().parse().unwrap()
}

/// Returns the metric of `/queue/a` alone.
fn each(what: &str) -> String {
    format!("stompd_each_queue_{what}{{queue=\"/queue/a\"}}")
}

fn short(config: &mut Config) {
    config.queue.max_length = 3;
}

/// Receives and settles one message at a time.
pub(super) const ONE: &str = "ack:client-individual\nprefetch-count:1";
/// This many messages of 16 KiB are more than the kernels hold.
pub(super) const FLOOD: usize = 1500;

// --- Many threads ------------------------------------------------------------------------------

const PUBLISHERS: usize = 2;
const BATCHES: usize = 5000;

/// A hub whose queues are so short that a batch of three fills them.
fn hub() -> Hub {
    let settings = QueueSettings {
        bounds: queue::Bounds {
            messages: 2,
            bytes: 1 << 20,
        },
        queues: usize::MAX,
        named: None,
    };
    let hub = hub::HubSettings {
        policy: policy(),
        pattern_shapes: 256,
    };
    Hub::new("m", hub, settings, &Registry::new())
}

fn policy() -> Policy {
    Policy {
        bounds: OutboxBounds {
            bytes: 1 << 20,
            messages: 1 << 16,
            per_run: 0,
        },
        slow_consumer: SlowConsumer::Disconnect,
        patience: Duration::ZERO,
    }
}

fn batch(at: usize, number: usize) -> Vec<Message> {
    let message = |part| Message {
        destination: Destination::parse("/queue/a").unwrap(),
        headers: Headers::new(),
        body: format!("{at} {number} {part}").into(),
    };
    (0..3).map(message).collect()
}

/// Publishes all batches; retries refused ones.
async fn publish_all(hub: Arc<Hub>, at: usize) {
    let id = SessionId(at as u64);
    for number in 0..BATCHES {
        let batch = batch(at, number);
        let mut rest = &batch[..];
        let mut pressure = Pressure::default();
        while let Err(refused) = hub.publish(rest, id, &mut pressure, Instant::now()).await {
            rest = &rest[refused.accepted..];
            tokio::task::yield_now().await;
        }
    }
}

/// Commits all batches without their third message, as there is room for two.
async fn commit_all(hub: Arc<Hub>, at: usize) {
    let id = SessionId(at as u64);
    for number in 0..BATCHES {
        let mut transactions = Transactions::default();
        transactions.begin("t").unwrap();
        for message in &batch(at, number)[..2] {
            transactions.hold_message("t", message).unwrap();
        }
        let transaction = transactions.end("t").unwrap();
        let commit = || hub.commit(&transaction, |_| None, Instant::now());
        while commit().is_err() {
            tokio::task::yield_now().await;
        }
        let mut pressure = Pressure::default();
        let messages = &transaction.messages;
        hub.publish_accepted(messages, id, &mut pressure, Instant::now())
            .await;
    }
}

/// Subscribes, consumes, and unsubscribes, again and again until `stop`.
async fn visit(hub: Arc<Hub>, id: u64, stop: Arc<AtomicBool>) -> Vec<String> {
    let kind = Kind {
        version: Version::V1_2,
        framing: Framing::Tcp,
    };
    let wire = MemoryWire::open();
    let socket = Arc::<MemoryWire>::clone(&wire);
    let outbox = Arc::new(Outbox::new(socket, policy(), Instant::now()));
    let mut number = 0;
    let mut last = false;
    while !last {
        // Messages that are left after the stop are consumed, too.
        last = stop.load(Ordering::SeqCst);
        number += 1;
        let subscriber = Arc::new(Subscriber {
            session: SessionId(id),
            subscription: Subscription {
                number,
                id: Some("s".into()),
                pattern: Pattern::parse("/queue/a").unwrap(),
                mode: AckMode::Auto,
                prefetch: Prefetch {
                    messages: 1000,
                    bytes: None,
                },
                no_local: false,
            },
            kind,
            outbox: Arc::clone(&outbox),
            ended: AtomicBool::new(false),
            progress: Arc::default(),
        });
        let place = hub.take_place(&subscriber.subscription.pattern).unwrap();
        let queue = hub.subscribe(&subscriber, place, Instant::now());
        tokio::task::yield_now().await;
        hub.unsubscribe(&subscriber, queue.as_ref(), Instant::now());
        tokio::task::yield_now().await;
    }
    let (seen, rest) = read(kind, &wire.written());
    assert_eq!(rest, 0, "only whole frames");
    let frame = |seen| match seen {
        Seen::Frame(frame, _) => frame,
        other => panic!("{other:?}"),
    };
    seen.into_iter().map(frame).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_is_lost_or_duplicated_when_a_queue_is_removed_and_created_again() {
    let hub = Arc::new(hub());
    let stop = Arc::new(AtomicBool::new(false));
    let visitors =
        [100, 101].map(|id| tokio::spawn(visit(Arc::clone(&hub), id, Arc::clone(&stop))));
    let mut publishers = Vec::new();
    for at in 0..PUBLISHERS {
        publishers.push(tokio::spawn(publish_all(Arc::clone(&hub), at)));
    }
    publishers.push(tokio::spawn(commit_all(Arc::clone(&hub), PUBLISHERS)));
    for publisher in publishers {
        publisher.await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let mut frames = Vec::new();
    for visitor in visitors {
        frames.extend(visitor.await.unwrap());
    }
    frames.extend(visit(hub, 102, stop).await);
    let mut seen = HashMap::new();
    for frame in &frames {
        assert_eq!(header(frame, "redelivered"), None);
        *seen.entry(body(frame)).or_insert(0) += 1;
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(
        twice.is_empty(),
        "{} twice, such as {:?}",
        twice.len(),
        twice.first()
    );
    assert_eq!(seen.len(), BATCHES * (3 * PUBLISHERS + 2));
}
