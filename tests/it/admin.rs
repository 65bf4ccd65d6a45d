//! The admin port, and idle connections to it.

use std::time::Duration;

use support::broker::TestBroker;
use support::http;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const TIMEOUT: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(30);

async fn connect(broker: &TestBroker) -> TcpStream {
    let address = broker.broker.admin().unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// Waits until the broker closes a connection; returns how long that took and the last bytes sent.
async fn end(stream: &mut TcpStream) -> (Duration, String) {
    let begin = Instant::now();
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    // Closed or reset: the connection has ended.
    let _ = read.unwrap();
    (begin.elapsed(), String::from_utf8_lossy(&rest).into_owned())
}

#[tokio::test]
async fn idle_connections_are_closed_and_operators_are_answered_meanwhile() {
    let broker = TestBroker::with(|config| config.admin.timeout = TIMEOUT).await;
    let mut silent = Vec::new();
    for _ in 0..190 {
        silent.push(connect(&broker).await);
    }
    let begin = Instant::now();
    for path in ["/healthz", "/readyz"] {
        let (status, _) = broker.admin(path).await;
        assert_eq!(status, "HTTP/1.1 200 OK");
    }
    assert!(begin.elapsed() < PATIENCE / 2);
    assert!(broker.metric("stompd_admin_connections").await <= 64.0);
    assert!(broker.metric("stompd_admin_refused_total").await >= 126.0);
    for stream in &mut silent {
        end(stream).await;
    }
    // The connection that sends the request.
    broker.wait_for("stompd_admin_connections", 1.0).await;
}

#[tokio::test]
async fn the_connection_that_was_idle_longest_makes_room() {
    let broker = TestBroker::with(|config| config.admin.connections = 2).await;
    let request = http::request("GET", "/healthz", &[]);
    let (mut first, mut second) = (connect(&broker).await, connect(&broker).await);
    for stream in [&mut second, &mut first] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        // Connections are ordered by whole milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(broker.admin("/healthz").await.0, "HTTP/1.1 200 OK");
    end(&mut second).await;
    // The other one was used later and is still open.
    first.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    assert!(first.read_exact(&mut answer).await.is_ok());
}

#[tokio::test]
async fn an_unfinished_request_times_out() {
    let broker = TestBroker::with(|config| config.admin.timeout = TIMEOUT).await;
    let whole = http::request("GET", "/healthz", &[]);
    for unfinished in ["", "GET /healthz HTTP/1.1\r\nHost: x\r\n", &whole] {
        let mut stream = connect(&broker).await;
        stream.write_all(unfinished.as_bytes()).await.unwrap();
        let (time, _) = end(&mut stream).await;
        assert!(time >= TIMEOUT / 2, "{time:?} for {unfinished:?}");
    }
}

#[tokio::test]
async fn sending_a_request_byte_by_byte_does_not_extend_the_timeout() {
    let broker = TestBroker::with(|config| config.admin.timeout = TIMEOUT).await;
    let mut stream = connect(&broker).await;
    let trickle = async {
        for byte in std::iter::repeat_n(b'x', 10_000) {
            stream.write_all(&[byte]).await?;
            tokio::time::sleep(TIMEOUT / 10).await;
        }
        Ok::<_, std::io::Error>(())
    };
    assert!(timeout(PATIENCE, trickle).await.unwrap().is_err());
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_abandoned() {
    let broker = TestBroker::with(|config| config.admin.timeout = TIMEOUT).await;
    let stream = connect(&broker).await;
    let request = http::request("GET", "/demo/vendor/stompjs-7.5.0.umd.min.js", &[]);
    // Sends requests until the broker stops reading, since it cannot write.
    let asking = async {
        loop {
            stream.writable().await?;
            match stream.try_write(request.as_bytes()) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    };
    let asked: Result<Result<(), _>, _> = timeout(PATIENCE, asking).await;
    assert!(asked.unwrap().is_err());
    drop(stream);
    broker.wait_for("stompd_admin_connections", 1.0).await;
}

#[tokio::test]
async fn many_readers_of_metrics_do_not_delay_health_checks() {
    let broker = TestBroker::start().await;
    let mut client = broker.connected_tcp().await;
    for number in 0..2000 {
        let name = format!("/queue/{number}");
        client.send(&format!("SEND\ndestination:{name}\n\nx")).await;
    }
    client.sync().await;
    let request = http::request("GET", "/metrics", &["Connection: close"]);
    let mut readers = Vec::new();
    for _ in 0..60 {
        let mut reader = connect(&broker).await;
        reader.write_all(request.as_bytes()).await.unwrap();
        readers.push(reader);
    }
    assert_eq!(broker.admin("/healthz").await.0, "HTTP/1.1 200 OK");
    for reader in &mut readers {
        let answer = http::answer(reader).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("\nstompd_queues 2000\n"));
    }
}
