//! Stopping the broker.

use std::time::Duration;

use support::broker::TestBroker;
use support::peer::Seen;

#[tokio::test]
async fn connections_are_closed_with_1001_without_an_error() {
    let broker = TestBroker::with(|config| config.stop.spread = Duration::from_millis(100)).await;
    let mut web = broker.connected_ws().await;
    let mut tcp = broker.connected_tcp().await;
    let unconnected = broker.ws().await;
    web.subscribe("s", "/topic/a").await;
    tcp.send("SEND\ndestination:/topic/a\n\nthe last one").await;
    tcp.sync().await;
    let stopped = tokio::spawn(broker.broker.stop());
    web.expect("MESSAGE\nsubscription:s\n*\n\nthe last one")
        .await;
    web.expect_close(1001).await;
    assert_eq!(tcp.seen().await, Seen::End);
    drop((web, tcp, unconnected));
    stopped.await.unwrap();
}

#[tokio::test]
async fn new_clients_are_refused_and_operators_see_why() {
    let broker = TestBroker::with(|config| {
        config.stop.spread = Duration::from_millis(300);
        config.stop.delay = Duration::from_millis(300);
    })
    .await;
    assert_eq!(broker.admin("/readyz").await.0, "HTTP/1.1 200 OK");
    assert_eq!(
        broker.admin("/healthz").await,
        ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned())
    );
    let (websocket, admin) = (broker.websocket(), broker.broker.admin().unwrap());
    let mut early = broker.connected_ws().await;
    let stopped = tokio::spawn(broker.broker.stop());
    tokio::task::yield_now().await;
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    let request = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = support::websocket::exchange(&mut stream, request).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("stopping"), "{answer}");
    // During the delay new clients are accepted.
    let late = support::peer::Peer::websocket(websocket, None).await;
    early.expect_close(1001).await;
    drop((early, late));
    stopped.await.unwrap();
    assert!(tokio::net::TcpStream::connect(websocket).await.is_err());
}

#[tokio::test]
async fn a_client_that_does_not_leave_does_not_delay_the_stop() {
    let broker = TestBroker::with(|config| {
        config.stop.spread = Duration::ZERO;
        config.stop.flush = Duration::from_millis(200);
    })
    .await;
    let _deaf = broker.connected_ws().await;
    broker.broker.stop().await;
}
