//! What the broker knows of its clients, readable without their tasks.

use std::time::Instant;

use stompd::outbox::Traffic;
use support::broker::TestBroker;

#[tokio::test]
async fn each_client_is_known_until_it_leaves() {
    let broker = TestBroker::start().await;
    let begin = Instant::now();
    let mut named = broker.tcp().await;
    named
        .send("CONNECT\naccept-version:1.2\nlogin:alice\n\n")
        .await;
    named.expect("CONNECTED\n*\nuser-name:alice").await;
    let unnamed = broker.connected_ws().await;
    let mut clients = broker.broker.clients().all();
    clients.sort_by_key(|client| client.transport);
    let [tcp, websocket] = &clients[..] else {
        panic!("two clients: {clients:?}");
    };
    assert_eq!((tcp.transport, tcp.user()), ("tcp", Some("alice")));
    assert_eq!((websocket.transport, websocket.user()), ("websocket", None));
    for (client, peer) in [(tcp, &named), (websocket, &unnamed)] {
        assert_eq!(client.peer, peer.stream.local_addr().unwrap());
        assert!(client.accepted >= begin && client.accepted <= Instant::now());
        let known = broker.broker.clients().get(client.session).unwrap();
        assert_eq!(known.session, client.session);
    }
    drop(named);
    broker
        .wait_for("stompd_connections{transport=\"tcp\"}", 0.0)
        .await;
    assert!(broker.broker.clients().get(tcp.session).is_none());
    assert_eq!(broker.broker.clients().len(), 1);
}

#[tokio::test]
async fn frames_and_bytes_are_counted_both_ways() {
    let broker = TestBroker::start().await;
    let mut peer = broker.connected_tcp().await;
    let client = broker.broker.clients().all().remove(0);
    let (before, sent) = (client.received(), client.sent());
    assert_eq!((before.frames, sent.frames), (1, 0));
    let subscribe = "SUBSCRIBE\nid:1\ndestination:/topic/a\nreceipt:1\n\n";
    peer.send(subscribe).await;
    peer.expect("RECEIPT\nreceipt-id:1").await;
    let frame = "SEND\ndestination:/topic/a\n\nhello";
    peer.send(frame).await;
    peer.send(frame).await;
    peer.expect_messages(&["hello", "hello"]).await;
    let received = subscribe.len() + 2 * frame.len() + 3;
    assert_eq!(
        client.received(),
        Traffic {
            frames: before.frames + 3,
            bytes: before.bytes + received as u64,
        }
    );
    let after = client.sent();
    assert_eq!(after.frames, 2);
    assert!(after.bytes > sent.bytes + 2 * 60, "{after:?}");
}
