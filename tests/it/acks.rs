//! Acknowledgement: what settles a message, what returns it to its queue, in which order and with
//! which headers, on queues and on topics.

use socket2::SockRef;
use stompd::config::{Config, SlowConsumer};
use support::broker::TestBroker;
use support::peer::{Peer, Seen};
use support::script::{header, wire};
use support::websocket::{CLOSE, FIN, masked};
use tokio::io::AsyncWriteExt;

use super::queues::{FLOOD, ONE, flood, number};

#[tokio::test]
async fn each_delivery_has_its_own_ack_id() {
    let broker = TestBroker::start().await;
    let mut client = broker.tcp().await;
    let connected = client.connect("1.2").await;
    let session = header(&connected, "session").unwrap();
    client.publish("/queue/a", &["1", "2"]).await;
    client
        .subscribe_with("s", "/queue/a", "ack:client-individual")
        .await;
    client
        .expect(&format!(
            "MESSAGE\nsubscription:s\nmessage-id:{session}-1-1\nack:{session}-1-1\n\
             destination:/queue/a\n\n1"
        ))
        .await;
    client.expect_messages(&["2"]).await;
    client.send(&format!("NACK\nid:{session}-1-1")).await;
    client
        .expect(&format!(
            "MESSAGE\nsubscription:s\nmessage-id:{session}-1-3\nack:{session}-1-3\n\
             redelivered:true\ndestination:/queue/a\n\n1"
        ))
        .await;
    client
        .subscribe_with("t", "/topic/t", "ack:client-individual")
        .await;
    client.send("SEND\ndestination:/topic/t\n\n1").await;
    client
        .expect(&format!(
            "MESSAGE\nsubscription:t\nmessage-id:{session}-2-1\nack:{session}-2-1\n\
             destination:/topic/t\n\n1"
        ))
        .await;
}

#[tokio::test]
async fn each_version_acknowledges_with_its_own_header() {
    let broker = TestBroker::start().await;
    for version in ["1.0", "1.1", "1.2"] {
        for transport in [broker.tcp().await, broker.ws().await] {
            let mut client = transport;
            client.connect(version).await;
            client.publish("/queue/a", &["1", "2"]).await;
            client.subscribe_with("s", "/queue/a", ONE).await;
            let first = client.expect_messages(&["1"]).await;
            let id = header(&first[0], "message-id").unwrap();
            let ack = header(&first[0], "ack");
            assert_eq!(ack, Some(id).filter(|_| version == "1.2"));
            let lines = match version {
                "1.0" => format!("message-id:{id}"),
                "1.1" => format!("subscription:s\nmessage-id:{id}"),
                _ => format!("id:{id}"),
            };
            if version == "1.0" {
                client.send(&format!("ACK\n{lines}")).await;
            } else {
                client.send(&format!("NACK\n{lines}")).await;
                let again = client.expect_messages(&["1 again"]).await;
                let other = header(&again[0], "message-id").unwrap();
                client
                    .send(&format!("ACK\n{}", lines.replace(id, other)))
                    .await;
            }
            client.expect_messages(&["2"]).await;
            client.send("UNSUBSCRIBE\nid:s").await;
            client.sync().await;
            client.send("DISCONNECT").await;
            client.expect_close(1000).await;
            let mut other = broker.connected_tcp().await;
            other.subscribe("s", "/queue/a").await;
            other.expect_messages(&["2 again"]).await;
            other.expect_nothing().await;
            other.unsubscribe("s").await;
        }
    }
}

#[tokio::test]
async fn acks_of_unknown_ids_are_ignored_and_counted() {
    let broker = TestBroker::start().await;
    let (mut one, mut two) = (broker.connected_tcp().await, broker.connected_ws().await);
    one.publish("/queue/a", &["1", "2"]).await;
    one.subscribe_with("s", "/queue/a", ONE).await;
    let ones = one.expect_messages(&["1"]).await;
    two.subscribe_with("s", "/queue/a", ONE).await;
    let twos = two.expect_messages(&["2"]).await;
    one.publish("/queue/b", &["x"]).await;
    one.subscribe("b", "/queue/b").await;
    let auto = one.expect_messages(&["x"]).await;
    assert_eq!(header(&auto[0], "ack"), None);
    let id = |frame: &str| header(frame, "message-id").unwrap().to_owned();

    one.settle("ACK", &ones[0], "").await;
    one.sync().await;
    for ignored in [id(&ones[0]), id(&twos[0]), id(&auto[0]), "undefined".into()] {
        for command in ["ACK", "NACK"] {
            one.send(&format!("{command}\nid:{ignored}\nreceipt:r"))
                .await;
            one.expect("RECEIPT\nreceipt-id:r").await;
        }
    }
    broker.wait_for("stompd_acks_ignored_total", 8.0).await;
    assert_eq!(of(&broker, "acknowledged").await, 2, "1 and x");
    // The second message can still be settled.
    two.settle("NACK", &twos[0], "").await;
    one.expect_messages(&["2 again"]).await;

    // Numbers that were not issued yet are an error.
    let given = id(&ones[0]);
    let (start, _) = given.rsplit_once('-').unwrap();
    one.send(&format!("ACK\nid:{start}-99\nreceipt:r")).await;
    let text = format!("{start}-99 was never delivered");
    let error = one.expect_refusal(&text, 1002).await;
    assert_eq!(header(&error, "receipt-id"), Some("r"));
    two.expect_messages(&["2 again"]).await;
}

#[tokio::test]
async fn client_mode_is_cumulative_within_its_subscription() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    client
        .subscribe_with("a", "/queue/a", "ack:client\nprefetch-count:3")
        .await;
    client.subscribe_with("b", "/queue/b", "ack:client").await;
    let mut publisher = broker.connected_tcp().await;
    publisher.publish("/queue/b", &["b1", "b2"]).await;
    client.expect_messages(&["b1", "b2"]).await;
    publisher
        .publish("/queue/a", &["1", "2", "3", "4", "5", "6"])
        .await;
    let frames = client.expect_messages(&["1", "2", "3"]).await;
    client.settle("ACK", &frames[1], "").await;
    let more = client.expect_messages(&["4", "5"]).await;
    client.expect_nothing().await;
    // The messages before it are settled already, so this settles 3 only, and then nothing.
    client.settle("ACK", &frames[2], "").await;
    client.expect_messages(&["6"]).await;
    client.settle("ACK", &frames[0], "").await;
    client.sync().await;
    assert_eq!(of(&broker, "acknowledged").await, 3);
    // A NACK is cumulative too, and all messages return in their order.
    client.settle("NACK", &more[1], "").await;
    client.expect_messages(&["4 again", "5 again"]).await;
    assert_eq!(of(&broker, "redelivered").await, 2);
    client.unsubscribe("a").await;
    client.send("DISCONNECT").await;
    client.expect_close(1000).await;
    broker.wait_for("stompd_queue_consumers", 0.0).await;
    publisher.subscribe("a", "/queue/a").await;
    let all = ["4 again", "5 again", "6 again"];
    publisher.expect_messages(&all).await;
    publisher.subscribe("b", "/queue/b").await;
    publisher.expect_messages(&["b1 again", "b2 again"]).await;
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn client_individual_settles_one_in_any_order() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    client
        .subscribe_with("s", "/queue/a", "ack:client-individual\nprefetch-count:4")
        .await;
    let mut publisher = broker.connected_tcp().await;
    let bodies = ["1", "2", "3", "4", "5", "6"];
    publisher.publish("/queue/a", &bodies).await;
    let frames = client.expect_messages(&bodies[..4]).await;
    client.settle("ACK", &frames[3], "").await;
    client.expect_messages(&["5"]).await;
    client.settle("ACK", &frames[1], "").await;
    client.expect_messages(&["6"]).await;
    drop(client);
    broker.wait_for("stompd_queue_consumers", 0.0).await;
    publisher.subscribe("s", "/queue/a").await;
    let left = ["1 again", "3 again", "5 again", "6 again"];
    publisher.expect_messages(&left).await;
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn a_nack_returns_a_message_to_its_place() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    client.publish("/queue/a", &["1", "2", "3", "4", "5"]).await;
    client
        .subscribe_with("s", "/queue/a", "ack:client-individual\nprefetch-count:3")
        .await;
    let frames = client.expect_messages(&["1", "2", "3"]).await;
    client.settle("NACK", &frames[1], "").await;
    let again = client.expect_messages(&["2 again"]).await;
    // In one read, so that both have returned before the next message is chosen.
    let nacks = [&frames[2], &again[0]].map(|frame| {
        let id = header(frame, "ack").unwrap();
        wire(&format!("NACK\nid:{id}\nrequeue:true"))
    });
    client.send_bytes(&nacks.concat()).await;
    client.expect_messages(&["2 again", "3 again"]).await;
    client.settle("ACK", &frames[0], "").await;
    client.expect_messages(&["4"]).await;
}

#[tokio::test]
async fn a_nacked_message_can_go_to_another_consumer() {
    let broker = TestBroker::start().await;
    let (mut one, mut two) = (broker.connected_tcp().await, broker.connected_ws().await);
    one.subscribe_with("s", "/queue/a", "ack:client\nprefetch-count:1")
        .await;
    one.send("SEND\ndestination:/queue/a\n\n1").await;
    let first = one.expect_messages(&["1"]).await;
    two.subscribe("s", "/queue/a").await;
    one.settle("NACK", &first[0], "").await;
    two.expect_messages(&["1 again"]).await;
    one.expect_nothing().await;
}

#[tokio::test]
async fn a_nack_with_requeue_false_discards_the_message() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    for (ack, left) in [
        ("client", &["3 again"][..]),
        ("client-individual", &["1 again", "3 again"]),
    ] {
        let mut publisher = broker.connected_tcp().await;
        publisher.publish("/queue/a", &["1", "2", "3"]).await;
        let headers = format!("ack:{ack}");
        client.subscribe_with("s", "/queue/a", &headers).await;
        let frames = client.expect_messages(&["1", "2", "3"]).await;
        client.settle("NACK", &frames[1], "requeue:false").await;
        client.expect_nothing().await;
        client.send("DISCONNECT").await;
        client.expect_close(1000).await;
        client = broker.connected_ws().await;
        broker.wait_for("stompd_queue_consumers", 0.0).await;
        publisher.subscribe("s", "/queue/a").await;
        publisher.expect_messages(left).await;
        publisher.expect_nothing().await;
        publisher.unsubscribe("s").await;
    }
    assert_eq!(of(&broker, "rejected").await, 3);
}

#[tokio::test]
async fn unsettled_messages_return_however_the_client_leaves() {
    let broker = TestBroker::start().await;
    let ways = [
        Way::Disconnect,
        Way::Close,
        Way::Fin,
        Way::Reset,
        Way::Error,
    ];
    for way in ways {
        for ack in ["client", "client-individual"] {
            let mut publisher = broker.connected_tcp().await;
            let mut consumer = match way {
                Way::Close => broker.connected_ws().await,
                _ => broker.connected_tcp().await,
            };
            let bodies = ["1", "2", "3", "4", "5", "6"];
            publisher.publish("/queue/a", &bodies).await;
            consumer
                .subscribe_with("s", "/queue/a", &format!("ack:{ack}\nprefetch-count:4"))
                .await;
            let frames = consumer.expect_messages(&bodies[..4]).await;
            consumer.settle("ACK", &frames[0], "").await;
            consumer.expect_messages(&["5"]).await;
            consumer.sync().await;
            leave(consumer, way).await;
            broker.wait_for("stompd_queue_consumers", 0.0).await;
            publisher.subscribe("s", "/queue/a").await;
            let left = ["2 again", "3 again", "4 again", "5 again", "6"];
            publisher.expect_messages(&left).await;
            publisher.expect_nothing().await;
            publisher.unsubscribe("s").await;
        }
    }
}

#[tokio::test]
async fn returned_messages_go_before_newer_ones() {
    let broker = TestBroker::start().await;
    let (mut one, mut two) = (broker.connected_tcp().await, broker.connected_ws().await);
    for consumer in [&mut one, &mut two] {
        let headers = "ack:client\nprefetch-count:2";
        consumer.subscribe_with("s", "/queue/a", headers).await;
    }
    let mut publisher = broker.connected_tcp().await;
    publisher
        .publish("/queue/a", &["1", "2", "3", "4", "5", "6", "7"])
        .await;
    let frames = one.expect_messages(&["1", "3"]).await;
    two.expect_messages(&["2", "4"]).await;
    leave(two, Way::Reset).await;
    broker.wait_for("stompd_queue_consumers", 1.0).await;
    one.settle("ACK", &frames[1], "").await;
    let frames = one.expect_messages(&["2 again", "4 again"]).await;
    one.settle("ACK", &frames[1], "").await;
    one.expect_messages(&["5", "6"]).await;
}

#[tokio::test]
async fn in_auto_mode_a_message_is_settled_when_it_is_written() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let mut consumer = broker.connected_ws().await;
    consumer.subscribe("s", "/queue/a").await;
    publisher.publish("/queue/a", &["1", "2", "3"]).await;
    assert_eq!(of(&broker, "acknowledged").await, 3);
    let unacknowledged = broker.metric("stompd_queue_messages_unacknowledged").await;
    assert!(unacknowledged < 0.1);
    // No message of a client that was sent everything returns, whether the client reads it or not.
    leave(consumer, Way::Reset).await;
    broker.wait_for("stompd_queues", 0.0).await;
    publisher.subscribe("s", "/queue/a").await;
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn when_an_auto_consumer_leaves_only_a_partly_written_message_may_be_delivered_twice() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let mut publisher = broker.connected_tcp().await;
    for mut slow in [broker.connected_tcp().await, broker.connected_ws().await] {
        slow.subscribe("s", "/queue/a").await;
        flood(&mut publisher).await;
        // It sends DISCONNECT, then reads the rest: at most the message that was partly written.
        slow.stream.shutdown().await.unwrap();
        broker.wait_for("stompd_queue_consumers", 0.0).await;
        let mut seen = 0;
        while let Some(frame) = frame_or_end(&mut slow).await {
            assert_eq!(number(&frame), seen);
            seen += 1;
        }
        assert!(0 < seen && seen < FLOOD, "{seen} were written");
        expect_rest(&mut publisher, seen, 1).await;
    }
}

#[tokio::test]
async fn when_an_auto_consumer_is_cut_all_unwritten_messages_return() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let mut publisher = broker.connected_tcp().await;
    let mut settled = 0;
    for mut slow in [broker.connected_tcp().await, broker.connected_ws().await] {
        slow.subscribe("s", "/queue/a").await;
        flood(&mut publisher).await;
        leave(slow, Way::Reset).await;
        broker.wait_for("stompd_queue_consumers", 0.0).await;
        // Messages that the kernel took are settled; the one that it took a part of was begun.
        let written = of(&broker, "acknowledged").await - settled;
        assert!(0 < written && written < FLOOD, "{written} were written");
        settled += FLOOD;
        let mut other = broker.connected_ws().await;
        other.subscribe("s", "/queue/a").await;
        for expected in written..FLOOD {
            let frame = other.frame().await;
            assert_eq!(number(&frame), expected);
            let again = header(&frame, "redelivered").is_some();
            assert!(!again || expected == written, "{expected} was not begun");
        }
        other.expect_nothing().await;
        other.unsubscribe("s").await;
        assert_eq!(of(&broker, "acknowledged").await, settled);
    }
}

#[tokio::test]
async fn messages_that_an_acknowledging_client_never_saw_return_unmarked() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let mut publisher = broker.connected_tcp().await;
    let mut slow = broker.connected_ws().await;
    let headers = "ack:client\nprefetch-count:65535";
    slow.subscribe_with("s", "/queue/a", headers).await;
    flood(&mut publisher).await;
    slow.stream.shutdown().await.unwrap();
    broker.wait_for("stompd_queue_consumers", 0.0).await;
    let mut seen = 0;
    while frame_or_end(&mut slow).await.is_some() {
        seen += 1;
    }
    assert_eq!(of(&broker, "redelivered").await, seen);
    publisher.subscribe("s", "/queue/a").await;
    for expected in 0..FLOOD {
        let frame = publisher.frame().await;
        assert_eq!(number(&frame), expected);
        let again = header(&frame, "redelivered").is_some();
        assert_eq!(again, expected < seen, "{expected} of {seen} seen");
    }
}

#[tokio::test]
async fn a_message_that_was_seen_stays_marked_when_the_next_consumer_does_not_see_it() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let mut publisher = broker.connected_tcp().await;
    let mut first = broker.connected_tcp().await;
    let headers = "ack:client\nprefetch-count:65535";
    first.subscribe_with("s", "/queue/a", headers).await;
    flood(&mut publisher).await;
    for expected in 0..FLOOD {
        assert_eq!(number(&first.frame().await), expected);
    }
    leave(first, Way::Disconnect).await;
    let mut slow = broker.connected_tcp().await;
    slow.subscribe("s", "/queue/a").await;
    leave(slow, Way::Reset).await;
    broker.wait_for("stompd_queue_consumers", 0.0).await;
    let written = of(&broker, "acknowledged").await;
    assert!(written < FLOOD, "{written} were written");
    publisher.subscribe("s", "/queue/a").await;
    for expected in written..FLOOD {
        let frame = publisher.frame().await;
        assert_eq!(number(&frame), expected);
        assert_eq!(header(&frame, "redelivered"), Some("true"));
    }
}

#[tokio::test]
async fn after_unsubscribe_no_message_follows_and_the_id_is_free() {
    let broker = TestBroker::with(|config| config.limits.outbox_bytes = 256 * 1024).await;
    let mut publisher = broker.connected_tcp().await;
    for ack in ["auto", "client"] {
        let mut slow = broker.connected_ws().await;
        let headers = format!("ack:{ack}\nprefetch-count:65535");
        slow.subscribe_with("s", "/queue/a", &headers).await;
        flood(&mut publisher).await;
        slow.send("UNSUBSCRIBE\nid:s\nreceipt:over").await;
        slow.send("SUBSCRIBE\nid:s\ndestination:/queue/b\nreceipt:new")
            .await;
        let mut seen = 0;
        loop {
            let frame = slow.frame().await;
            if frame == "RECEIPT\nreceipt-id:over" {
                break;
            }
            assert_eq!(number(&frame), seen);
            seen += 1;
        }
        assert!(0 < seen && seen < FLOOD, "{seen} were written");
        slow.expect("RECEIPT\nreceipt-id:new").await;
        publisher.publish("/queue/b", &["other"]).await;
        let other = slow.expect_messages(&["other"]).await;
        assert_eq!(header(&other[0], "subscription"), Some("s"));
        // All messages that it has not seen go to others, and are new to them.
        publisher.subscribe("s", "/queue/a").await;
        for expected in seen..FLOOD {
            let frame = publisher.frame().await;
            assert_eq!(number(&frame), expected);
            assert_eq!(header(&frame, "redelivered"), None);
        }
        publisher.expect_nothing().await;
        // Messages that it has seen are settled in mode auto, else return when the session ends.
        slow.send("DISCONNECT").await;
        slow.expect_close(1000).await;
        if ack == "client" {
            for expected in 0..seen {
                let frame = publisher.frame().await;
                assert_eq!(number(&frame), expected);
                assert_eq!(header(&frame, "redelivered"), Some("true"));
            }
        }
        publisher.expect_nothing().await;
        publisher.unsubscribe("s").await;
        broker.wait_for("stompd_queues", 0.0).await;
    }
}

#[tokio::test]
async fn after_unsubscribe_written_messages_can_be_acknowledged_until_the_session_ends() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let mut consumer = broker.connected_ws().await;
    let bodies = ["1", "2", "3", "4", "5", "6"];
    publisher.publish("/queue/a", &bodies).await;
    consumer
        .subscribe_with("s", "/queue/a", "ack:client-individual\nprefetch-count:5")
        .await;
    let old = consumer.expect_messages(&bodies[..5]).await;
    consumer.unsubscribe("s").await;
    // Same id, another subscription: it gets ready messages and none that the old one holds.
    consumer.subscribe_with("s", "/queue/a", ONE).await;
    let new = consumer.expect_messages(&["6"]).await;
    consumer.settle("ACK", &new[0], "").await;
    consumer.expect_nothing().await;

    consumer.settle("ACK", &old[0], "").await;
    consumer.settle("NACK", &old[2], "requeue:false").await;
    consumer.expect_nothing().await;
    consumer.settle("NACK", &old[3], "").await;
    consumer.expect_messages(&["4 again"]).await;
    consumer.expect_nothing().await;
    assert_eq!(of(&broker, "acknowledged").await, 2);
    assert_eq!(of(&broker, "rejected").await, 1);

    consumer.send("DISCONNECT").await;
    consumer.expect_close(1000).await;
    publisher.subscribe("s", "/queue/a").await;
    broker.wait_for("stompd_queue_consumers", 1.0).await;
    let left = ["2 again", "4 again", "5 again"];
    publisher.expect_messages(&left).await;
    publisher.expect_nothing().await;
}

#[tokio::test]
async fn an_ack_mode_on_a_topic_creates_a_private_queue_with_prefetch() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let (mut one, mut two, mut plain) = (
        broker.connected_ws().await,
        broker.connected_tcp().await,
        broker.connected_tcp().await,
    );
    one.subscribe_with("1", "/topic/a.b", "ack:client-individual\nprefetch-count:2")
        .await;
    two.subscribe_with("2", "/topic/a.*", "ack:client\nprefetch-count:3")
        .await;
    plain.subscribe("3", "/topic/#").await;
    let bodies = ["1", "2", "3", "4"];
    publisher.publish("/topic/a.b", &bodies).await;
    plain.expect_messages(&bodies).await;
    let ones = one.expect_messages(&["1", "2"]).await;
    let twos = two.expect_messages(&["1", "2", "3"]).await;
    one.expect_nothing().await;
    two.expect_nothing().await;

    // A NACK returns the message to its own subscription only.
    one.settle("NACK", &ones[0], "").await;
    one.expect_messages(&["1 again"]).await;
    one.settle("NACK", &ones[1], "requeue:false").await;
    one.expect_messages(&["3"]).await;
    two.settle("ACK", &twos[2], "").await;
    two.expect_messages(&["4"]).await;
    for client in [&mut one, &mut two, &mut plain] {
        client.expect_nothing().await;
    }
    // It is not counted as a queue that clients have named.
    assert!(broker.metric("stompd_queues").await < 0.1);
}

#[tokio::test]
async fn a_private_queue_ends_with_its_subscription() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let (mut gone, mut stays) = (broker.connected_ws().await, broker.connected_tcp().await);
    gone.subscribe_with("s", "/topic/a", ONE).await;
    stays.subscribe("s", "/topic/a").await;
    publisher.publish("/topic/a", &["1", "2", "3"]).await;
    let frames = gone.expect_messages(&["1"]).await;
    gone.unsubscribe("s").await;
    gone.settle("NACK", &frames[0], "").await;
    gone.expect_nothing().await;
    gone.subscribe_with("s", "/topic/a", ONE).await;
    gone.expect_nothing().await;
    publisher.publish("/topic/a", &["4", "5"]).await;
    gone.expect_messages(&["4"]).await;
    leave(gone, Way::Reset).await;
    broker.wait_for("stompd_queue_consumers", 0.0).await;
    stays.expect_messages(&["1", "2", "3", "4", "5"]).await;
    stays.expect_nothing().await;
    for (reason, count) in [("unsubscribed", 2.0), ("closed", 1.0)] {
        let name = format!("stompd_messages_dropped_total{{reason=\"{reason}\"}}");
        broker.wait_for(&name, count).await;
    }
    for name in ["ready", "unacknowledged"] {
        let left = broker
            .metric(&format!("stompd_queue_messages_{name}"))
            .await;
        assert!(left < 0.1, "{left} {name}");
    }
}

#[tokio::test]
async fn a_private_queue_honours_no_local() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    client
        .subscribe_with("s", "/topic/a", &format!("{ONE}\nno-local:true"))
        .await;
    client.publish("/topic/a", &["mine"]).await;
    let mut other = broker.connected_tcp().await;
    other.publish("/topic/a", &["theirs"]).await;
    client.expect_messages(&["theirs"]).await;
}

#[tokio::test]
async fn a_full_private_queue_cuts_its_client_if_the_policy_says_so() {
    let broker = TestBroker::with(few).await;
    let mut publisher = broker.connected_tcp().await;
    for mut slow in [broker.connected_ws().await, broker.connected_tcp().await] {
        slow.subscribe_with("s", "/topic/a", ONE).await;
        publisher.publish("/topic/a", &["1"]).await;
        let frames = slow.expect_messages(&["1"]).await;
        publisher.publish("/topic/a", &["2", "3", "4"]).await;
        slow.settle("ACK", &frames[0], "").await;
        slow.expect_messages(&["2"]).await;
        publisher.publish("/topic/a", &["5"]).await;
        slow.expect_nothing().await;
        // Three messages are queued; one more is too many.
        publisher.publish("/topic/a", &["6"]).await;
        slow.expect_refusal("slow consumer", 4007).await;
    }
    assert_eq!(broker.refusals("slow_consumer").await, 2);
    broker.wait_for("stompd_queue_consumers", 0.0).await;
}

#[tokio::test]
async fn a_full_private_queue_drops_its_oldest_if_the_policy_says_so() {
    let broker = TestBroker::with(|config| {
        few(config);
        config.limits.slow_consumer = SlowConsumer::DropOldest;
    })
    .await;
    let mut publisher = broker.connected_tcp().await;
    let mut slow = broker.connected_ws().await;
    slow.subscribe_with("s", "/topic/a.#", ONE).await;
    publisher.publish("/topic/a.b", &["1"]).await;
    let frames = slow.expect_messages(&["1"]).await;
    publisher.publish("/topic/a.b", &["2", "3", "4"]).await;
    publisher.publish("/topic/a", &["5", "6"]).await;
    slow.settle("ACK", &frames[0], "").await;
    let frames = slow.expect_messages(&["4"]).await;
    // Redelivered messages return above the limit, and go first.
    publisher.publish("/topic/a", &["7"]).await;
    slow.settle("NACK", &frames[0], "").await;
    let frames = slow.expect_messages(&["4 again"]).await;
    publisher.publish("/topic/a", &["8"]).await;
    slow.settle("ACK", &frames[0], "").await;
    let mut next = slow.expect_messages(&["6"]).await;
    for body in ["7", "8"] {
        slow.settle("ACK", &next[0], "").await;
        next = slow.expect_messages(&[body]).await;
    }
    let dropped = "stompd_messages_dropped_total{reason=\"slow_consumer\"}";
    broker.wait_for(dropped, 3.0).await;
    assert_eq!(broker.refusals("slow_consumer").await, 0);
}

#[tokio::test]
async fn a_batch_that_a_private_queue_passes_on_at_once_fits() {
    let broker = TestBroker::with(few).await;
    let mut publisher = broker.connected_ws().await;
    let mut client = broker.connected_ws().await;
    client
        .subscribe_with("s", "/topic/a", "ack:client\nprefetch-count:5")
        .await;
    let sends = ["1", "2", "3", "4", "5"];
    let batch = sends.map(|body| wire(&format!("SEND\ndestination:/topic/a\n\n{body}")));
    // Frame by frame nothing is ever queued, as the client has credit for all messages.
    publisher.send_bytes(&batch.concat()).await;
    client.expect_messages(&sends).await;
}

#[tokio::test]
async fn an_ack_makes_room_for_a_send_of_the_same_batch() {
    let broker = TestBroker::with(|config| config.queue.max_length = 1).await;
    let (mut publisher, mut client) = (broker.connected_tcp().await, broker.connected_ws().await);
    client.subscribe_with("s", "/queue/a", ONE).await;
    publisher.publish("/queue/a", &["1", "2"]).await;
    let first = client.expect_messages(&["1"]).await;
    let id = header(&first[0], "ack").unwrap();
    let batch = [
        wire(&format!("ACK\nid:{id}")),
        wire("SEND\ndestination:/queue/a\nreceipt:r\n\n3"),
    ];
    client.send_bytes(&batch.concat()).await;
    let mut seen = [client.frame().await, client.frame().await];
    seen.sort();
    assert!(seen[0].ends_with("\n\n2"), "{seen:?}");
    assert!(seen[1].starts_with("RECEIPT\nreceipt-id:r"), "{seen:?}");
}

#[tokio::test]
async fn the_prefetch_pauses_a_private_queue_before_its_limit_cuts_the_client() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 64 * 1024;
        config.queue.prefetch_bytes = 64 * 1024;
    })
    .await;
    let (mut publisher, mut client) = (broker.connected_tcp().await, broker.connected_ws().await);
    client.subscribe_with("s", "/topic/a", "ack:client").await;
    let body = "x".repeat(10 * 1024);
    // Seven are in flight, and three are queued.
    publisher.publish("/topic/a", &[body.as_str(); 10]).await;
    let first = client.expect_messages(&[body.as_str(); 7]).await;
    client.expect_nothing().await;
    client.settle("ACK", &first[6], "").await;
    client.expect_messages(&[body.as_str(); 3]).await;
}

#[tokio::test]
async fn a_private_queue_drops_nothing_for_a_message_that_would_not_fit_anyway() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 64 * 1024;
        config.limits.slow_consumer = SlowConsumer::DropOldest;
        config.queue.prefetch_bytes = 64 * 1024;
    })
    .await;
    let (mut publisher, mut client) = (broker.connected_tcp().await, broker.connected_ws().await);
    client.subscribe_with("s", "/topic/a", "ack:client").await;
    let large = "x".repeat(70 * 1024);
    publisher.publish("/topic/a", &[&large, "1", "2"]).await;
    let first = client.expect_messages(&[&large]).await;
    publisher.publish("/topic/a", &[&large, "3"]).await;
    client.settle("ACK", &first[0], "").await;
    client.expect_messages(&["1", "2", "3"]).await;
    let dropped = "stompd_messages_dropped_total{reason=\"slow_consumer\"}";
    broker.wait_for(dropped, 1.0).await;
}

#[tokio::test]
async fn the_private_queues_of_a_client_are_limited_together() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 64 * 1024;
        config.limits.slow_consumer = SlowConsumer::DropOldest;
        config.queue.prefetch_bytes = 64 * 1024;
    })
    .await;
    let (mut publisher, mut client) = (broker.connected_tcp().await, broker.connected_ws().await);
    let mut other = broker.connected_ws().await;
    for number in 0..40 {
        let name = format!("/topic/{number}");
        let headers = "ack:client\nprefetch-count:1";
        client.subscribe_with(&name, &name, headers).await;
    }
    other.subscribe_with("s", "/topic/39", "ack:client").await;
    // Each message would fit its own queue.
    let body = "x".repeat(10 * 1024);
    for number in 0..40 {
        publisher
            .publish(&format!("/topic/{number}"), &[body.as_str(); 5])
            .await;
    }
    let held = broker.metric("stompd_queue_bytes").await;
    // Two clients; the memory of the 41 queues themselves is counted as well.
    assert!(held < 2.0 * 128.0 * 1024.0 + 41.0 * 4096.0, "{held}");
    // The queues of another client are counted separately.
    other.expect_messages(&[body.as_str(); 5]).await;
    // Settled messages make room.
    let dropped = "stompd_messages_dropped_total{reason=\"slow_consumer\"}";
    let mut left = 200.0 - broker.metric(dropped).await;
    assert!((5.0..15.0).contains(&left), "{left}");
    while left > 0.0 {
        let frame = client.frame().await;
        client.settle("ACK", &frame, "").await;
        left -= 1.0;
    }
    publisher.publish("/topic/39", &["at last"]).await;
    client.expect_messages(&["at last"]).await;
}

#[tokio::test]
async fn a_client_whose_private_queues_exceed_their_common_limit_is_cut() {
    let broker = TestBroker::with(|config| config.limits.outbox_messages = 10).await;
    let (mut publisher, mut client) = (broker.connected_tcp().await, broker.connected_ws().await);
    for name in ["/topic/0", "/topic/1", "/topic/2"] {
        let headers = "ack:client\nprefetch-count:1";
        client.subscribe_with(name, name, headers).await;
    }
    for name in ["/topic/0", "/topic/1", "/topic/2"] {
        publisher.publish(name, &["x"; 5]).await;
    }
    while !matches!(client.seen().await, Seen::Close(4007, _)) {}
    broker.wait_for("stompd_queue_bytes", 0.0).await;
}

#[tokio::test]
async fn ended_and_settled_subscriptions_do_not_count() {
    let broker = TestBroker::with(|config| {
        few(config);
        config.limits.subscriptions = 2;
    })
    .await;
    let (mut publisher, mut client) = (broker.connected_tcp().await, broker.connected_ws().await);
    for _ in 0..5 {
        client.subscribe_with("s", "/queue/a", ONE).await;
        publisher.publish("/queue/a", &["1"]).await;
        let seen = client.expect_messages(&["1"]).await;
        client.unsubscribe("s").await;
        let id = header(&seen[0], "ack").unwrap();
        client.send("BEGIN\ntransaction:t").await;
        client.send(&format!("ACK\nid:{id}\ntransaction:t")).await;
        client.send("COMMIT\ntransaction:t").await;
    }
    client.sync().await;
}

// --- Ways to leave -----------------------------------------------------------------------------

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Disconnect,
    /// With a WebSocket Close.
    Close,
    /// It sends nothing more, and reads on.
    Fin,
    /// Without notice: the kernel answers later data with a reset.
    Reset,
    /// It sends an invalid frame and is cut.
    Error,
}

async fn leave(mut peer: Peer, way: Way) {
    match way {
        Way::Disconnect => {
            peer.send("DISCONNECT\nreceipt:bye").await;
            peer.expect("RECEIPT\nreceipt-id:bye").await;
            peer.expect_close(1000).await;
        }
        Way::Close => {
            peer.raw(&masked(FIN | CLOSE, &1000_u16.to_be_bytes()))
                .await;
            assert!(matches!(peer.seen().await, Seen::Close(1000, _)));
        }
        Way::Fin => peer.stream.shutdown().await.unwrap(),
        Way::Reset => {
            let socket = SockRef::from(&peer.stream);
            socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        Way::Error => {
            peer.send("ABORT\ntransaction:none").await;
            let text = "transaction \"none\" is not open";
            peer.expect_refusal(text, 1002).await;
        }
    }
}

/// Returns the next frame, until the end of the stream or the Close.
async fn frame_or_end(peer: &mut Peer) -> Option<String> {
    match peer.seen().await {
        Seen::Frame(frame, _) => Some(frame),
        Seen::End | Seen::Close(..) => None,
        other => panic!("{other:?}"),
    }
}

/// Expects all messages of the flood that a consumer that has `seen` this many has not, and at most
/// `twice` of those that it has, which are marked.
async fn expect_rest(peer: &mut Peer, seen: usize, twice: usize) {
    peer.subscribe("rest", "/queue/a").await;
    let mut last = None;
    while last != Some(FLOOD - 1) {
        let frame = peer.frame().await;
        let again = header(&frame, "redelivered") == Some("true");
        let number = number(&frame);
        assert_eq!(again, number < seen, "{number} of {seen} seen");
        match last {
            None => assert!((seen - twice..=seen).contains(&number), "{number}, {seen}"),
            Some(last) => assert_eq!(number, last + 1),
        }
        last = Some(number);
    }
    peer.expect_nothing().await;
    peer.unsubscribe("rest").await;
}

/// Returns a counter of how messages ended.
async fn of(broker: &TestBroker, what: &str) -> usize {
    let value = broker
        .metric(&format!("stompd_messages_{what}_total"))
        .await;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small count"
    )]
    let count = value as usize;
    count
}

fn few(config: &mut Config) {
    config.limits.outbox_messages = 3;
}
