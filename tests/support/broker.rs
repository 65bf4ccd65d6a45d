//! A broker on free ports, in the runtime of the test.

use std::net::SocketAddr;
use std::time::Duration;

use stompd::config::Config;
use stompd::server::Broker;

use crate::peer::{PATIENCE, Peer};

/// A broker that stops with the test.
#[derive(Debug)]
pub struct TestBroker {
    /// The broker itself.
    pub broker: Broker,
}

impl TestBroker {
    /// Starts a broker with defaults, on free ports.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Starts a broker with modified settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        let anywhere = Some("127.0.0.1:0".to_owned());
        config.listen.websocket.clone_from(&anywhere);
        config.listen.tcp.clone_from(&anywhere);
        config.listen.admin = anywhere;
        change(&mut config);
        Self {
            broker: Broker::start(&config).await.unwrap(),
        }
    }

    /// Returns the address of STOMP over WebSocket.
    pub fn websocket(&self) -> SocketAddr {
        self.broker.websocket().unwrap()
    }

    /// Connects over TCP without sending anything.
    pub async fn tcp(&self) -> Peer {
        Peer::tcp(self.broker.tcp().unwrap()).await
    }

    /// Opens a WebSocket with the subprotocol `v12.stomp` without sending anything.
    pub async fn ws(&self) -> Peer {
        Peer::websocket(self.websocket(), Some("v12.stomp")).await
    }

    /// A peer over TCP that is connected with STOMP 1.2, without heart-beats.
    pub async fn connected_tcp(&self) -> Peer {
        let mut peer = self.tcp().await;
        peer.connect("1.2").await;
        peer
    }

    /// A peer over WebSocket that is connected with STOMP 1.2, without heart-beats.
    pub async fn connected_ws(&self) -> Peer {
        let mut peer = self.ws().await;
        peer.connect("1.2").await;
        peer
    }

    /// Returns the answer to a path of the admin port: the status line and the body.
    pub async fn admin(&self, path: &str) -> (String, String) {
        let mut stream = tokio::net::TcpStream::connect(self.broker.admin().unwrap())
            .await
            .unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = crate::websocket::exchange(&mut stream, request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// The value of a metric, with its labels as Prometheus writes them; 0 if there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.admin("/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// Expects a metric to have this value now.
    pub async fn expect_metric(&self, name: &str, value: u32) {
        let actual = self.metric(name).await;
        assert!(
            (actual - f64::from(value)).abs() < 0.01,
            "{name} is {actual} and not {value}"
        );
    }

    /// Number of refusals counted for this reason.
    pub async fn refusals(&self, reason: &str) -> u32 {
        let (_, text) = self.admin("/metrics").await;
        let name = format!("stompd_refusals_total{{reason=\"{reason}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Waits until this reason was counted this often: a refused handshake is counted when its
    /// client has disconnected.
    pub async fn await_refusals(&self, reason: &str, count: u32) {
        let name = format!("stompd_refusals_total{{reason=\"{reason}\"}}");
        self.wait_for(&name, count.into()).await;
    }

    /// Waits until a metric has this value.
    pub async fn wait_for(&self, name: &str, value: f64) {
        let reached = async {
            while (self.metric(name).await - value).abs() > 0.01 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, reached).await;
        assert!(
            in_time.is_ok(),
            "{name} is {} and not {value}",
            self.metric(name).await
        );
    }
}
