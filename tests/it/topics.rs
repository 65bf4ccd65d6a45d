//! Publish and subscribe on topics, over both transports.

use std::time::Duration;

use support::broker::TestBroker;
use support::peer::{Peer, Seen};
use tokio::time::timeout;

#[tokio::test]
async fn a_message_reaches_its_subscribers_unchanged() {
    let broker = TestBroker::start().await;
    let (mut publisher, mut web, mut tcp) = (
        broker.connected_tcp().await,
        broker.connected_ws().await,
        broker.connected_tcp().await,
    );
    web.subscribe("0", "/topic/a").await;
    tcp.subscribe("x:y", "/topic/a").await;
    publisher.send("SEND\ndestination:/topic/a\nb:2\na:1\nb:3\nmessage-id:forged\nreceipt:r\ncontent-type:text/plain\n\nhi").await;
    publisher.expect("RECEIPT\nreceipt-id:r").await;
    let headers = "destination:/topic/a\nb:2\na:1\nb:3\ncontent-type:text/plain\n\nhi";
    web.expect(&format!(
        "MESSAGE\nsubscription:0\nmessage-id:*-*\n{headers}"
    ))
    .await;
    tcp.expect(&format!(
        "MESSAGE\nsubscription:x:y\nmessage-id:*-*\n{headers}"
    ))
    .await;
}

#[tokio::test]
async fn the_receipt_of_a_subscription_comes_before_its_first_message() {
    let broker = TestBroker::start().await;
    let (mut publisher, mut subscriber) =
        (broker.connected_tcp().await, broker.connected_ws().await);
    for turn in 0..50 {
        for _ in 0..20 {
            publisher.send("SEND\ndestination:/topic/busy\n\nx").await;
        }
        let id = format!("s{turn}");
        subscriber.subscribe(&id, "/topic/busy").await;
        subscriber
            .send(&format!("UNSUBSCRIBE\nid:{id}\nreceipt:{id}"))
            .await;
        while subscriber.frame().await != format!("RECEIPT\nreceipt-id:{id}") {}
        publisher.sync().await;
        // No MESSAGE may follow the RECEIPT of UNSUBSCRIBE.
        subscriber.sync().await;
    }
}

#[tokio::test]
async fn overlapping_subscriptions_get_a_copy_each() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    client.subscribe("exact", "/topic/a.b").await;
    client.subscribe("star", "/topic/a.*").await;
    client.subscribe("hash", "/topic/#").await;
    client.subscribe("other", "/topic/b.*").await;
    client.send("SEND\ndestination:/topic/a.b\n\nx").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let frame = client.frame().await;
        seen.push(frame.lines().nth(1).unwrap().to_owned());
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "subscription:exact",
            "subscription:hash",
            "subscription:star"
        ]
    );
    client.sync().await;
}

#[tokio::test]
async fn a_publisher_gets_its_own_messages_unless_it_sets_no_local() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    client.subscribe("echo", "/topic/a").await;
    client
        .send("SUBSCRIBE\nid:deaf\ndestination:/topic/a\nno-local:true")
        .await;
    client
        .send("SUBSCRIBE\nid:deaf too\ndestination:/topic/a\nactivemq.noLocal:true")
        .await;
    client.send("SEND\ndestination:/topic/a\n\nmine").await;
    client.expect("MESSAGE\nsubscription:echo\n*\n\nmine").await;
    let mut other = broker.connected_tcp().await;
    other.send("SEND\ndestination:/topic/a\n\ntheirs").await;
    for _ in 0..3 {
        client.expect("MESSAGE\nsubscription:*\n\ntheirs").await;
    }
    client.sync().await;
}

#[tokio::test]
async fn each_version_gets_a_format_it_can_read() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let mut subscribers = Vec::new();
    for version in ["1.0", "1.1", "1.2"] {
        let mut peer = broker.tcp().await;
        peer.connect(version).await;
        peer.subscribe("s", "/topic/a").await;
        subscribers.push(peer);
    }
    publisher
        .send("SEND\ndestination:/topic/a\nh:a\\cb\\nc\\\\d\\re\n\nx")
        .await;
    for (mut peer, value) in
        subscribers
            .into_iter()
            .zip(["a:b c\\d e", "a:b\nc\\d e", "a:b\nc\\d\re"])
    {
        peer.expect(&format!(
            "MESSAGE\nsubscription:s\nmessage-id:*\ndestination:/topic/a\nh:{value}\n\nx"
        ))
        .await;
    }
}

#[tokio::test]
async fn a_1_0_subscription_without_id_is_identified_by_its_destination() {
    let broker = TestBroker::start().await;
    let mut client = broker.tcp().await;
    let connected = client.connect_with("heart-beat:10,10").await;
    assert!(!connected.contains("heart-beat"), "{connected}");
    client
        .send("SUBSCRIBE\ndestination:/topic/a\nack:auto\nreceipt:1")
        .await;
    client.expect("RECEIPT\nreceipt-id:1").await;
    client.send("SEND\ndestination:/topic/a\n\nx").await;
    client
        .expect("MESSAGE\nmessage-id:*\ndestination:/topic/a\n\nx")
        .await;
    client
        .send("UNSUBSCRIBE\ndestination:/topic/a\nreceipt:2")
        .await;
    client.expect("RECEIPT\nreceipt-id:2").await;
    client.send("SEND\ndestination:/topic/a\n\ny").await;
    client.sync().await;
    client.send("SUBSCRIBE\ndestination:/topic/a").await;
    client.send("SUBSCRIBE\ndestination:/topic/a").await;
    client
        .expect_refusal("subscription \"/topic/a\" exists already", 1002)
        .await;
}

#[tokio::test]
async fn messages_from_one_publisher_to_one_destination_keep_their_order() {
    let broker = TestBroker::start().await;
    let (mut publisher, mut subscriber) =
        (broker.connected_tcp().await, broker.connected_ws().await);
    subscriber.subscribe("all", "/topic/#").await;
    let mut batch = Vec::new();
    for number in 0..1000 {
        let destination = ["a", "b", "c"][number % 3];
        batch.extend(support::script::wire(&format!(
            "SEND\ndestination:/topic/{destination}\n\n{number}"
        )));
    }
    publisher.raw(&batch).await;
    for number in 0..1000 {
        // No order is guaranteed across destinations, but a batch has the effect of frame by frame.
        subscriber.expect(&format!("MESSAGE\n*\n\n{number}")).await;
    }
}

#[tokio::test]
async fn text_is_sent_as_text_and_anything_else_as_binary() {
    let broker = TestBroker::start().await;
    let mut publisher = broker.connected_tcp().await;
    let mut text = broker.connected_ws().await;
    let mut binary = Peer::websocket(broker.websocket(), Some("v12.stomp")).await;
    binary.binary = true;
    binary.connect("1.2").await;
    for peer in [&mut text, &mut binary] {
        peer.subscribe("s", "/topic/a").await;
    }
    publisher
        .send("SEND\ndestination:/topic/a\n\nZürich 🦀")
        .await;
    publisher
        .send_bytes(b"SEND\ndestination:/topic/a\ncontent-length:2\n\n\xff\0\0")
        .await;
    let kinds = async |peer: &mut Peer| {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            match peer.seen().await {
                Seen::Frame(_, text) => kinds.push(text.unwrap()),
                other => panic!("{other:?}"),
            }
        }
        kinds
    };
    assert_eq!(kinds(&mut text).await, [true, false]);
    assert_eq!(kinds(&mut binary).await, [false, false]);
}

#[tokio::test]
async fn frames_may_span_messages_and_share_one() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_ws().await;
    client.subscribe("s", "/topic/a").await;
    client.send_bytes(b"SEND\ndestination:/to").await;
    client.send_bytes(b"pic/a\n\non").await;
    client
        .send_bytes(
            b"e\0\n\nSEND\ndestination:/topic/a\n\ntwo\0SEND\ndestination:/topic/a\n\nthree\0",
        )
        .await;
    for body in ["one", "two", "three"] {
        client.expect(&format!("MESSAGE\n*\n\n{body}")).await;
    }
}

#[tokio::test]
async fn after_disconnect_a_client_of_tcp_may_close_first() {
    let broker = TestBroker::start().await;
    for receipt in ["", "\nreceipt:bye"] {
        let mut client = broker.connected_tcp().await;
        client.subscribe("s", "/topic/a").await;
        client.send(&format!("DISCONNECT{receipt}")).await;
        if !receipt.is_empty() {
            client.expect("RECEIPT\nreceipt-id:bye").await;
        }
        let early = timeout(Duration::from_millis(500), client.seen()).await;
        assert!(early.is_err(), "closed within 0.5 s: {early:?}");
        assert_eq!(client.seen().await, Seen::End);
    }
}

#[tokio::test]
async fn disconnect_is_answered_and_then_closed() {
    let broker = TestBroker::start().await;
    for mut client in [broker.connected_ws().await, broker.connected_tcp().await] {
        client.subscribe("s", "/topic/a").await;
        client.send("DISCONNECT\nreceipt:bye").await;
        client.expect("RECEIPT\nreceipt-id:bye").await;
        client.expect_close(1000).await;
    }
    assert!(
        (broker
            .metric("stompd_connections_closed_total{reason=\"disconnect\"}")
            .await
            - 2.0)
            .abs()
            < 0.1
    );
    assert!(broker.metric("stompd_subscriptions").await.abs() < 0.1);
}
