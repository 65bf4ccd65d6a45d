//! One client must not starve another, and the messages accepted from it must not be lost.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::broker::TestBroker;
use support::peer::Peer;
use support::script::wire;
use tokio::time::timeout;

/// More than one read returns.
const WORDS: usize = 3000;

/// Sends to a destination without subscribers as fast as possible, until the connection is closed.
fn flood(address: SocketAddr) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(&wire("CONNECT\naccept-version:1.2"))
            .unwrap();
        let sends = wire("SEND\ndestination:/topic/nobody\n\nx").repeat(10_000);
        while stream.write_all(&sends).is_ok() {}
    })
}

#[tokio::test]
async fn publishers_that_never_pause_yield_to_others() {
    let broker = TestBroker::with(|config| config.stop.spread = Duration::ZERO).await;
    let address = broker.broker.tcp().unwrap();
    let flooders = [flood(address), flood(address)];
    let mut client = broker.connected_ws().await;
    for _ in 0..20 {
        timeout(Duration::from_secs(5), client.sync())
            .await
            .unwrap();
    }
    broker.broker.stop().await;
    drop(client);
    for flooder in flooders {
        flooder.join().unwrap();
    }
}

#[tokio::test]
async fn frames_sent_before_a_client_left_are_processed() {
    let broker = TestBroker::start().await;
    let mut subscriber = broker.connected_tcp().await;
    subscriber.subscribe("s", "/topic/last.words").await;
    let mut publisher = broker.connected_tcp().await;
    // So that the kernels take everything that follows at once.
    let warm_up = wire(&format!(
        "SEND\ndestination:/topic/nobody\n\n{}",
        "x".repeat(100_000)
    ));
    publisher.raw(&warm_up.repeat(40)).await;
    publisher.sync().await;
    let mut words = Vec::new();
    for number in 0..WORDS {
        let frame = format!("SEND\ndestination:/topic/last.words\nreceipt:{number}\n\n{number}");
        words.extend(wire(&frame));
    }
    publisher.raw(&words).await;
    // The broker runs in this thread, so it reads nothing until everything was sent and the client
    // has left, which answers the first RECEIPT with a reset.
    std::thread::sleep(Duration::from_millis(100));
    drop(publisher);
    for number in 0..WORDS {
        subscriber.expect(&format!("MESSAGE\n*\n\n{number}")).await;
    }
}

#[tokio::test]
async fn a_client_that_stopped_sending_still_gets_its_receipts() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    let id = "i".repeat(1024);
    for number in 0..3000 {
        client
            .send(&format!(
                "SEND\ndestination:/topic/a\nreceipt:{number}-{id}"
            ))
            .await;
    }
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
        .await
        .unwrap();
    for number in 0..3000 {
        client
            .expect(&format!("RECEIPT\nreceipt-id:{number}-*"))
            .await;
    }
    client.expect_close(1000).await;
}

#[tokio::test]
async fn many_frames_in_one_message_do_not_cut_a_subscriber_that_reads() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 1024 * 1024;
        config.limits.outbox_messages = 10_000;
    })
    .await;
    let mut subscriber = broker.connected_tcp().await;
    subscriber.subscribe("s", "/topic/many").await;
    let address = broker.websocket();
    let publisher = tokio::spawn(async move {
        let mut publisher = Peer::websocket(address, Some("v12.stomp")).await;
        publisher.connect("1.2").await;
        let frames = wire("SEND\ndestination:/topic/many\n\n").repeat(100_000);
        publisher.send_bytes(&frames).await;
        publisher.sync().await;
    });
    for _ in 0..100_000 {
        subscriber.expect("MESSAGE\nsubscription:s\n*").await;
    }
    publisher.await.unwrap();
}
