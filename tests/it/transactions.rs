//! Transactions: what is held until COMMIT, what takes effect then, and what aborted ones leave.

use stompd::config::Config;
use support::broker::TestBroker;
use support::peer::Peer;
use support::script::{self, body, header, wire};

#[tokio::test]
async fn only_the_receipt_of_commit_confirms_the_effect() {
    let broker = TestBroker::start().await;
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        let mut watcher = broker.connected_tcp().await;
        watcher.subscribe("q", "/queue/a").await;
        watcher.subscribe("t", "/topic/t").await;
        client.send("BEGIN\ntransaction:t\nreceipt:begin").await;
        client.expect("RECEIPT\nreceipt-id:begin").await;
        for (number, destination) in ["/queue/a", "/topic/t", "/queue/a"].iter().enumerate() {
            let frame = format!(
                "SEND\ndestination:{destination}\ntransaction:t\nreceipt:{number}\nh:v\n\n{number}"
            );
            client.send(&frame).await;
            client
                .expect(&format!("RECEIPT\nreceipt-id:{number}"))
                .await;
        }
        watcher.expect_nothing().await;
        client.send("COMMIT\ntransaction:t\nreceipt:commit").await;
        client.expect("RECEIPT\nreceipt-id:commit").await;
        watcher
            .expect("MESSAGE\nsubscription:q\nmessage-id:*\ndestination:/queue/a\nh:v\n\n0")
            .await;
        watcher
            .expect("MESSAGE\nsubscription:t\nmessage-id:*\ndestination:/topic/t\nh:v\n\n1")
            .await;
        watcher.expect_messages(&["2"]).await;
        watcher.expect_nothing().await;
        watcher.send("DISCONNECT").await;
        watcher.expect_close(1000).await;
    }
    broker
        .expect_metric("stompd_messages_published_total", 6)
        .await;
}

#[tokio::test]
async fn abort_leaves_no_effect() {
    let broker = TestBroker::start().await;
    let (mut client, mut watcher) = (broker.connected_ws().await, broker.connected_tcp().await);
    watcher.subscribe("t", "/topic/t").await;
    client.publish("/queue/a", &["1", "2", "3"]).await;
    client
        .subscribe_with("s", "/queue/a", "ack:client-individual\nprefetch-count:2")
        .await;
    let frames = client.expect_messages(&["1", "2"]).await;
    client.send("BEGIN\ntransaction:t").await;
    hold(&mut client, "t", &["/topic/t", "/queue/b"]).await;
    client.settle("ACK", &frames[0], IN_T).await;
    client.settle("NACK", &frames[1], IN_T).await;
    // Held messages take no credit.
    let third = client.expect_messages(&["3"]).await;
    client.expect_nothing().await;
    client.send("ABORT\ntransaction:t\nreceipt:r").await;
    client.expect("RECEIPT\nreceipt-id:r").await;
    // Nothing was sent and nothing redelivered: the message is unacknowledged as before.
    watcher.expect_nothing().await;
    client.expect_nothing().await;
    broker.expect_metric("stompd_queues", 1).await;
    broker
        .expect_metric("stompd_queue_messages_unacknowledged", 3)
        .await;
    client.publish("/queue/a", &["4"]).await;
    client.settle("ACK", &third[0], "").await;
    client.expect_nothing().await;
    client.settle("NACK", &frames[0], "").await;
    client.expect_messages(&["1 again"]).await;
    client.settle("ACK", &frames[1], "").await;
    client.expect_messages(&["4"]).await;
    broker
        .expect_metric("stompd_messages_acknowledged_total", 2)
        .await;
}

#[tokio::test]
async fn the_end_of_the_connection_returns_held_messages() {
    let broker = TestBroker::start().await;
    for way in ["DISCONNECT", "COMMIT\ntransaction:other", "CUT"] {
        let (mut client, mut watcher) = (broker.connected_ws().await, broker.connected_tcp().await);
        watcher.subscribe("t", "/topic/t").await;
        watcher.publish("/queue/a", &["1", "2", "3", "4"]).await;
        client
            .subscribe_with("s", "/queue/a", "ack:client-individual\nprefetch-count:3")
            .await;
        let frames = client.expect_messages(&["1", "2", "3"]).await;
        client.send("BEGIN\ntransaction:t").await;
        hold(&mut client, "t", &["/topic/t", "/queue/a"]).await;
        client.settle("ACK", &frames[0], IN_T).await;
        client
            .settle("NACK", &frames[2], &format!("{IN_T}\nrequeue:false"))
            .await;
        client.expect_messages(&["4"]).await;
        client.sync().await;
        match way {
            "CUT" => drop(client),
            "DISCONNECT" => {
                client.send("DISCONNECT").await;
                client.expect_close(1000).await;
            }
            wrong => {
                client.send(wrong).await;
                let text = "transaction \"other\" is not open";
                client.expect_refusal(text, 1002).await;
            }
        }
        broker.wait_for("stompd_queue_consumers", 0.0).await;
        watcher.subscribe("s", "/queue/a").await;
        let all = ["1 again", "2 again", "3 again", "4 again"];
        watcher.expect_messages(&all).await;
        watcher.expect_nothing().await;
        watcher.unsubscribe("s").await;
    }
    broker
        .expect_metric("stompd_messages_rejected_total", 0)
        .await;
}

#[tokio::test]
async fn commit_applies_sends_acks_and_nacks_together() {
    let broker = TestBroker::start().await;
    let (mut client, mut watcher) = (broker.connected_ws().await, broker.connected_tcp().await);
    watcher.subscribe("b", "/queue/b").await;
    watcher.subscribe("t", "/topic/t").await;
    let bodies = ["1", "2", "3", "4"];
    watcher.publish("/queue/a", &bodies).await;
    client
        .subscribe_with("s", "/queue/a", "ack:client-individual")
        .await;
    let frames = client.expect_messages(&bodies).await;
    client.send("BEGIN\ntransaction:t").await;
    client.settle("ACK", &frames[0], IN_T).await;
    hold(&mut client, "t", &["/queue/b"]).await;
    client.settle("NACK", &frames[1], IN_T).await;
    client
        .settle("NACK", &frames[2], &format!("{IN_T}\nrequeue:false"))
        .await;
    hold(&mut client, "t", &["/topic/t", "/queue/a"]).await;
    client.expect_nothing().await;
    watcher.expect_nothing().await;
    broker
        .expect_metric("stompd_queue_messages_unacknowledged", 4)
        .await;
    broker
        .expect_metric("stompd_messages_acknowledged_total", 0)
        .await;
    client.send("COMMIT\ntransaction:t\nreceipt:done").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(client.frame().await);
    }
    // The message to its own queue and the returned one may arrive before the RECEIPT.
    seen.sort_unstable_by_key(|frame| header(frame, "redelivered").is_none());
    script::check(&seen[0], "MESSAGE\n*\nredelivered:true\n*\n\n2");
    seen[1..].sort_unstable();
    script::check(&seen[1], "MESSAGE\nsubscription:s\n*\n\n/queue/a");
    assert_eq!(seen[2], "RECEIPT\nreceipt-id:done");
    watcher.expect_messages(&["/queue/b", "/topic/t"]).await;
    for (name, value) in [
        ("acknowledged", 2),
        ("redelivered", 1),
        ("rejected", 1),
        ("published", 7),
    ] {
        broker
            .expect_metric(&format!("stompd_messages_{name}_total"), value)
            .await;
    }
    // Messages that were held and are settled cannot be settled again.
    client.settle("NACK", &frames[0], "").await;
    client.expect_nothing().await;
    broker.expect_metric("stompd_acks_ignored_total", 1).await;
    // Messages that it did not name are unchanged.
    client.settle("NACK", &frames[3], "").await;
    client.expect_messages(&["4 again"]).await;
}

#[tokio::test]
async fn messages_of_a_transaction_are_queued_at_its_commit() {
    let broker = TestBroker::start().await;
    let (mut client, mut other) = (broker.connected_ws().await, broker.connected_tcp().await);
    client.send("BEGIN\ntransaction:t").await;
    client.send("BEGIN\ntransaction:u").await;
    for (transaction, body) in [
        ("transaction:t", "t1"),
        ("transaction:u", "u1"),
        ("none:", "1"),
        ("transaction:t", "t2"),
    ] {
        let frame = format!("SEND\ndestination:/queue/a\n{transaction}\n\n{body}");
        client.send(&frame).await;
        client.sync().await;
        other.publish("/queue/a", &["other"]).await;
    }
    client.send("COMMIT\ntransaction:u").await;
    client.publish("/queue/a", &["2"]).await;
    client.send("COMMIT\ntransaction:t").await;
    client.publish("/queue/a", &["3"]).await;
    other.subscribe("s", "/queue/a").await;
    other
        .expect_messages(&[
            "other", "other", "1", "other", "other", "u1", "2", "t1", "t2", "3",
        ])
        .await;
}

#[tokio::test]
async fn a_batch_with_transactions_has_the_effect_of_frame_by_frame() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    let send = |headers: &str, body: &str| {
        wire(&format!(
            "SEND\ndestination:/queue/a\nreceipt:{body}\n{headers}\n\n{body}"
        ))
    };
    let batch = [
        send("x:", "1"),
        wire("BEGIN\ntransaction:t\nreceipt:begin"),
        send("transaction:t", "2"),
        send("x:", "3"),
        send("transaction:t", "4"),
        wire("COMMIT\ntransaction:t\nreceipt:commit"),
        send("x:", "5"),
        wire("BEGIN\ntransaction:t"),
        send("transaction:t", "6"),
        wire("ABORT\ntransaction:t\nreceipt:abort"),
        wire("SUBSCRIBE\nid:s\ndestination:/queue/a\nreceipt:sub"),
    ];
    client.send_bytes(&batch.concat()).await;
    for id in [
        "1", "begin", "2", "3", "4", "commit", "5", "6", "abort", "sub",
    ] {
        client.expect(&format!("RECEIPT\nreceipt-id:{id}")).await;
    }
    client.expect_messages(&["1", "3", "2", "4", "5"]).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn sixteen_transactions_may_be_open_and_one_more_ends_the_session() {
    let broker = TestBroker::start().await;
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        for number in 0..17 {
            client.send(&format!("BEGIN\ntransaction:{number}")).await;
            hold(&mut client, &number.to_string(), &["/queue/a"]).await;
            if number == 0 {
                client.send("COMMIT\ntransaction:0").await;
            }
        }
        client.sync().await;
        client.send("BEGIN\ntransaction:17\nreceipt:r").await;
        let error = client
            .expect_refusal("more than 16 open transactions", 1013)
            .await;
        assert_eq!(header(&error, "receipt-id"), Some("r"));
    }
    broker
        .expect_metric("stompd_messages_published_total", 2)
        .await;
    broker.expect_metric("stompd_queue_messages_ready", 2).await;
}

#[tokio::test]
async fn a_transaction_holds_1024_frames_and_one_more_ends_the_session() {
    let broker = TestBroker::start().await;
    let mut watcher = broker.connected_tcp().await;
    watcher.publish("/queue/a", &["1"]).await;
    for (mut client, more) in [
        (broker.connected_ws().await, false),
        (broker.connected_tcp().await, true),
    ] {
        client.subscribe_with("s", "/queue/a", "ack:client").await;
        let first = client.frame().await;
        client.send("BEGIN\ntransaction:t").await;
        client.settle("ACK", &first, IN_T).await;
        let send = "SEND\ndestination:/queue/b\ntransaction:t\n\nx";
        client.send_bytes(&wire(send).repeat(1023)).await;
        client.sync().await;
        broker.expect_metric("stompd_queue_messages_ready", 0).await;
        if more {
            client.send(&format!("{send}more")).await;
            let text = "a transaction of more than 1024 frames, or transactions of more than 16777216 bytes";
            client.expect_refusal(text, 1013).await;
            broker.wait_for("stompd_queues", 1.0).await;
            watcher.subscribe("s", "/queue/a").await;
            watcher.expect_messages(&["1 again"]).await;
        } else {
            // A transaction at the limit works, and ABORT makes room.
            client.send("ABORT\ntransaction:t").await;
            client.send("BEGIN\ntransaction:t").await;
            client.send_bytes(&wire(send).repeat(1024)).await;
            client.send("COMMIT\ntransaction:t").await;
            client.sync().await;
            broker
                .expect_metric("stompd_queue_messages_ready", 1024)
                .await;
            watcher.subscribe("b", "/queue/b").await;
            for _ in 0..1024 {
                watcher.expect_messages(&["x"]).await;
            }
            watcher.unsubscribe("b").await;
            client.send("DISCONNECT").await;
            client.expect_close(1000).await;
            broker.wait_for("stompd_queue_consumers", 0.0).await;
        }
    }
}

#[tokio::test]
async fn all_transactions_of_a_connection_hold_16_mib() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    let body = "x".repeat(3 * 1024 * 1024);
    for transaction in ["t", "u"] {
        client
            .send(&format!("BEGIN\ntransaction:{transaction}"))
            .await;
    }
    let mut send = async |transaction: &str, receipt: &str| {
        let head = format!("destination:/queue/a\ntransaction:{transaction}\nreceipt:{receipt}");
        client.send(&format!("SEND\n{head}\n\n{body}")).await;
        client.frame().await
    };
    for number in ["1", "2", "3", "4", "5"] {
        let transaction = if number < "4" { "t" } else { "u" };
        let receipt = send(transaction, number).await;
        assert_eq!(receipt, format!("RECEIPT\nreceipt-id:{number}"));
    }
    // 15 MiB are held; aborted ones make room.
    client.send("ABORT\ntransaction:u").await;
    client.send("BEGIN\ntransaction:u").await;
    let mut send = async |receipt: &str| {
        let head = format!("destination:/queue/a\ntransaction:u\nreceipt:{receipt}");
        client.send(&format!("SEND\n{head}\n\n{body}")).await;
    };
    send("6").await;
    send("7").await;
    send("8").await;
    client.expect("RECEIPT\nreceipt-id:6").await;
    client.expect("RECEIPT\nreceipt-id:7").await;
    let text = "a transaction of more than 1024 frames, or transactions of more than 16777216 bytes\nreceipt-id:8";
    client.expect_refusal(text, 1013).await;
    broker
        .expect_metric("stompd_messages_published_total", 0)
        .await;
    broker.expect_metric("stompd_queues", 0).await;
}

#[tokio::test]
async fn unsubscribe_before_commit_cancels_held_acks() {
    let broker = TestBroker::start().await;
    let (mut client, mut other) = (broker.connected_ws().await, broker.connected_tcp().await);
    other.publish("/queue/a", &["1", "2", "3"]).await;
    client
        .subscribe_with("s", "/queue/a", "ack:client-individual\nprefetch-count:3")
        .await;
    let frames = client.expect_messages(&["1", "2", "3"]).await;
    client.send("BEGIN\ntransaction:t").await;
    client.settle("ACK", &frames[0], IN_T).await;
    client.settle("ACK", &frames[1], IN_T).await;
    hold(&mut client, "t", &["/queue/b"]).await;
    client.unsubscribe("s").await;
    client.send("COMMIT\ntransaction:t\nreceipt:r").await;
    client.expect("RECEIPT\nreceipt-id:r").await;
    // The SEND took effect; the ACKs did not, and can be sent again.
    other.subscribe("b", "/queue/b").await;
    other.expect_messages(&["/queue/b"]).await;
    broker
        .expect_metric("stompd_queue_messages_unacknowledged", 3)
        .await;
    client.settle("ACK", &frames[0], "").await;
    client.sync().await;
    client.send("DISCONNECT").await;
    client.expect_close(1000).await;
    other.subscribe("a", "/queue/a").await;
    other.expect_messages(&["2 again", "3 again"]).await;
    other.expect_nothing().await;
}

#[tokio::test]
async fn a_held_cumulative_ack_covers_what_was_delivered_when_it_was_sent() {
    let broker = TestBroker::start().await;
    for (command, left) in [
        ("ACK", &["4 again", "5 again"][..]),
        (
            "NACK",
            &["1 again", "2 again", "3 again", "4 again", "5 again"],
        ),
    ] {
        let (mut client, mut other) = (broker.connected_ws().await, broker.connected_tcp().await);
        client
            .subscribe_with("s", "/queue/a", "ack:client\nprefetch-count:3")
            .await;
        other.publish("/queue/a", &["1", "2", "3"]).await;
        let frames = client.expect_messages(&["1", "2", "3"]).await;
        client.send("BEGIN\ntransaction:t").await;
        client.settle(command, &frames[2], IN_T).await;
        other.publish("/queue/a", &["4", "5"]).await;
        client.expect_messages(&["4", "5"]).await;
        client.send("COMMIT\ntransaction:t\nreceipt:r").await;
        let mut again = Vec::new();
        loop {
            let frame = client.frame().await;
            if frame == "RECEIPT\nreceipt-id:r" {
                break;
            }
            again.push(frame);
        }
        client.send("DISCONNECT").await;
        // A NACK returned one to it, as its prefetch is 3.
        assert!(again.len() <= usize::from(command == "NACK"), "{again:?}");
        broker.wait_for("stompd_queue_consumers", 0.0).await;
        other.subscribe("s", "/queue/a").await;
        other.expect_messages(left).await;
        other.expect_nothing().await;
        other.unsubscribe("s").await;
    }
}

#[tokio::test]
async fn after_abort_a_cumulative_ack_covers_held_messages_again() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    client.publish("/queue/a", &["1", "2", "3", "4"]).await;
    client.subscribe_with("s", "/queue/a", "ack:client").await;
    let frames = client.expect_messages(&["1", "2", "3", "4"]).await;
    client.send("BEGIN\ntransaction:t").await;
    client.settle("ACK", &frames[2], IN_T).await;
    client.send("ABORT\ntransaction:t").await;
    client.settle("ACK", &frames[1], "").await;
    client.expect_nothing().await;
    broker
        .expect_metric("stompd_messages_acknowledged_total", 2)
        .await;
    client.settle("NACK", &frames[3], "").await;
    client.expect_messages(&["3 again", "4 again"]).await;
}

#[tokio::test]
async fn a_held_message_cannot_be_acknowledged_again() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    client.publish("/queue/a", &["1", "2"]).await;
    client
        .subscribe_with("s", "/queue/a", "ack:client-individual")
        .await;
    let frames = client.expect_messages(&["1", "2"]).await;
    client.send("BEGIN\ntransaction:t").await;
    client.send("BEGIN\ntransaction:u").await;
    client.settle("ACK", &frames[0], IN_T).await;
    for headers in ["", IN_T, "transaction:u", "requeue:false"] {
        client.settle("NACK", &frames[0], headers).await;
        client.expect_nothing().await;
    }
    broker.expect_metric("stompd_acks_ignored_total", 4).await;
    // The other transaction does not release it either.
    client.send("COMMIT\ntransaction:u").await;
    client.expect_nothing().await;
    broker
        .expect_metric("stompd_queue_messages_unacknowledged", 2)
        .await;
    client.send("COMMIT\ntransaction:t").await;
    client.expect_nothing().await;
    broker
        .expect_metric("stompd_queue_messages_unacknowledged", 1)
        .await;
    broker
        .expect_metric("stompd_messages_acknowledged_total", 1)
        .await;
    client.settle("NACK", &frames[1], "").await;
    client.expect_messages(&["2 again"]).await;
}

#[tokio::test]
async fn acks_of_a_private_queue_are_held_too() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    client.subscribe_with("s", "/topic/a", "ack:client").await;
    client.send("SEND\ndestination:/topic/a\n\n1").await;
    client.send("SEND\ndestination:/topic/a\n\n2").await;
    let frames = client.expect_messages(&["1", "2"]).await;
    client.send("BEGIN\ntransaction:t").await;
    client.settle("NACK", &frames[1], IN_T).await;
    client.expect_nothing().await;
    client.send("COMMIT\ntransaction:t").await;
    client.expect_messages(&["1 again", "2 again"]).await;
}

#[tokio::test]
async fn a_commit_is_refused_as_a_whole() {
    let broker = TestBroker::with(short).await;
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        let mut watcher = broker.connected_tcp().await;
        watcher.subscribe("t", "/topic/t").await;
        watcher.publish("/queue/full", &["x"]).await;
        watcher.publish("/queue/own", &["1"]).await;
        client
            .subscribe_with("s", "/queue/own", "ack:client-individual")
            .await;
        let frames = client.expect_messages(&["1"]).await;
        client.send("BEGIN\ntransaction:t").await;
        client.settle("ACK", &frames[0], IN_T).await;
        let three = ["/queue/full"; 3];
        hold(&mut client, "t", &["/queue/new", "/topic/t"]).await;
        hold(&mut client, "t", &three).await;
        client.send("COMMIT\ntransaction:t\nreceipt:r").await;
        client
            .expect_refusal("queue is full: /queue/full\nreceipt-id:r", 1013)
            .await;
        broker.wait_for("stompd_queue_consumers", 0.0).await;
        broker.expect_metric("stompd_queues", 2).await;
        watcher.subscribe("a", "/queue/own").await;
        watcher.expect_messages(&["1 again"]).await;
        watcher.subscribe("b", "/queue/full").await;
        watcher.expect_messages(&["x"]).await;
        watcher.subscribe("c", "/queue/new").await;
        watcher.expect_nothing().await;
        watcher.send("DISCONNECT").await;
        watcher.expect_close(1000).await;
        broker.wait_for("stompd_queues", 0.0).await;
    }
}

#[tokio::test]
async fn a_refused_commit_aborts_its_transaction_and_the_client_stays() {
    let broker = TestBroker::with(short).await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client
            .connect_with("accept-version:1.2\nx-refusals:true")
            .await;
        client.publish("/queue/own", &["1", "2"]).await;
        client
            .subscribe_with("s", "/queue/own", "ack:client-individual")
            .await;
        let frames = client.expect_messages(&["1", "2"]).await;
        client.publish("/queue/full", &["x", "y"]).await;
        client.send("BEGIN\ntransaction:t").await;
        client.settle("ACK", &frames[0], IN_T).await;
        client.settle("NACK", &frames[1], IN_T).await;
        hold(
            &mut client,
            "t",
            &["/queue/new", "/queue/full", "/queue/full"],
        )
        .await;
        let batch = [
            wire("SEND\ndestination:/queue/new\nreceipt:before\n\nbefore"),
            wire("COMMIT\ntransaction:t\nreceipt:commit"),
            wire("SEND\ndestination:/queue/new\nreceipt:after\n\nafter"),
        ];
        client.send_bytes(&batch.concat()).await;
        client.expect("RECEIPT\nreceipt-id:before").await;
        client
            .expect(
                "MESSAGE\ndestination:/stompd/refusals\nsubscription:/stompd/refusals\n\
                 message-id:*\nreason:queue_full\nreceipt-id:commit\n*queue is full: /queue/full\n*",
            )
            .await;
        client.expect("RECEIPT\nreceipt-id:after").await;
        // It had no effect; its acknowledgements can be sent again, and its id is free.
        client.subscribe("new", "/queue/new").await;
        client.expect_messages(&["before", "after"]).await;
        client.send("BEGIN\ntransaction:t").await;
        client.settle("NACK", &frames[0], IN_T).await;
        hold(&mut client, "t", &["/queue/full"]).await;
        client.send("COMMIT\ntransaction:t").await;
        client.expect_messages(&["1 again"]).await;
        client.settle("NACK", &frames[1], "").await;
        client.expect_messages(&["2 again"]).await;
        client.subscribe("full", "/queue/full").await;
        let all = ["x", "y", "/queue/full"];
        client.expect_messages(&all).await;
        client.send("COMMIT\ntransaction:t").await;
        let text = "transaction \"t\" is not open";
        client.expect_refusal(text, 1002).await;
        // The next client finds no messages.
        let mut other = broker.connected_tcp().await;
        broker.wait_for("stompd_queue_consumers", 0.0).await;
        other.subscribe("s", "/queue/own").await;
        other.expect_messages(&["1 again", "2 again"]).await;
        other.unsubscribe("s").await;
    }
}

#[tokio::test]
async fn refusals_keep_their_order_among_the_sends_of_one_read() {
    let broker = TestBroker::start().await;
    for mut client in [broker.ws().await, broker.tcp().await] {
        client
            .connect_with("accept-version:1.2\nx-refusals:true")
            .await;
        client.subscribe("s", "/queue/a").await;
        let batch = [
            wire("SEND\ndestination:/queue/a\nreceipt:1\n\none"),
            wire("SEND\ndestination:/queue/*\nreceipt:2\n\nbad"),
            wire("SEND\ndestination:/queue/a\nreceipt:3\n\ntwo"),
            wire("SEND\ndestination:/queue/a\nreceipt:4\nreply-to:/topic/*\n\nbad"),
            wire("BEGIN\ntransaction:t"),
            wire("SEND\ndestination:/queue/a\ntransaction:t\nreceipt:5\n\nheld"),
            wire("SEND\ndestination:/user/a\ntransaction:t\nreceipt:6\n\nbad"),
            wire("SEND\ndestination:/queue/a\nreceipt:7\n\nthree"),
            wire("COMMIT\ntransaction:t\nreceipt:8"),
            wire("SEND\ndestination:/queue/a\nreceipt:9\n\nfour"),
        ];
        client.send_bytes(&batch.concat()).await;
        let (mut answers, mut bodies) = (Vec::new(), Vec::new());
        while answers.len() < 9 || bodies.len() < 4 {
            let frame = client.frame().await;
            match header(&frame, "receipt-id") {
                Some(id) => answers.push(match header(&frame, "reason") {
                    Some(reason) => format!("{id} {reason}"),
                    None => id.to_owned(),
                }),
                None => bodies.push(body(&frame).to_owned()),
            }
        }
        assert_eq!(
            answers,
            [
                "1",
                "2 wildcard",
                "3",
                "4 reply_to",
                "5",
                "6 reserved_destination",
                "7",
                "8 transaction_broken",
                "9"
            ]
        );
        assert_eq!(bodies, ["one", "two", "three", "four"]);
        client.unsubscribe("s").await;
    }
    for reason in ["wildcard", "reply_to", "transaction_broken"] {
        assert_eq!(broker.refusals(reason).await, 2, "{reason}");
    }
    // For a client that did not ask for refusals, the connection ends.
    let mut client = broker.connected_tcp().await;
    client
        .send("SEND\ndestination:/topic/a\nreply-to:/topic/*\nreceipt:r")
        .await;
    let text = "reply-to cannot be sent to: SEND to the wildcard \"/topic/*\"";
    client.expect_refusal(text, 1002).await;
}

#[tokio::test]
async fn room_reserved_by_a_refused_commit_is_free_again() {
    let broker = TestBroker::with(short).await;
    let mut client = broker.tcp().await;
    client
        .connect_with("accept-version:1.2\nx-refusals:true")
        .await;
    client.publish("/queue/full", &["1", "2", "3"]).await;
    client.publish("/queue/a", &["1"]).await;
    for _ in 0..5 {
        client.send("BEGIN\ntransaction:t").await;
        hold(&mut client, "t", &["/queue/a", "/queue/a", "/queue/full"]).await;
        client.send("COMMIT\ntransaction:t").await;
        client.expect("MESSAGE\n*\nreason:queue_full\n*").await;
    }
    client.publish("/queue/a", &["2", "3"]).await;
    client.subscribe("s", "/queue/a").await;
    client.expect_messages(&["1", "2", "3"]).await;
    broker.expect_metric("stompd_queues", 2).await;
}

#[tokio::test]
async fn a_commit_that_just_fits_is_accepted() {
    let broker = TestBroker::with(short).await;
    let mut client = broker.connected_ws().await;
    client.publish("/queue/a", &["0"]).await;
    client.send("BEGIN\ntransaction:t").await;
    hold(
        &mut client,
        "t",
        &["/queue/a", "/topic/x", "/queue/b", "/queue/a"],
    )
    .await;
    client.send("COMMIT\ntransaction:t\nreceipt:r").await;
    client.expect("RECEIPT\nreceipt-id:r").await;
    client.send("SEND\ndestination:/queue/a\n\nx").await;
    client.expect_refusal("queue is full: /queue/a", 1013).await;
}

/// Sends its own name to each destination, within a transaction.
async fn hold(client: &mut Peer, transaction: &str, destinations: &[&str]) {
    for destination in destinations {
        let head = format!("destination:{destination}\ntransaction:{transaction}");
        client.send(&format!("SEND\n{head}\n\n{destination}")).await;
    }
}

fn short(config: &mut Config) {
    config.queue.max_length = 3;
}

const IN_T: &str = "transaction:t";
