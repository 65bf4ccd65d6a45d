//! A scripted STOMP peer over TCP or WebSocket, so that a test reads as a dialogue.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use stomp_codec::{Decoder, Item, Limits, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::script;
use crate::websocket::{self, Reader};

/// How long a test waits for an expected event before it fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One end of a connection, controlled by a test.
#[derive(Debug)]
pub struct Peer {
    /// The socket, for tests that send raw bytes.
    pub stream: TcpStream,
    websocket: Option<Reader>,
    decoder: Decoder,
    /// Whether messages over WebSocket are sent as binary.
    pub binary: bool,
}

/// What a peer receives.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// A frame, as [`script::show`] writes it; over WebSocket whether its message was text.
    Frame(String, Option<bool>),
    /// An EOL.
    HeartBeat,
    /// A Ping of WebSocket.
    Ping,
    /// A Pong of WebSocket with its payload.
    Pong(Bytes),
    /// A Close of WebSocket: code and reason.
    Close(u16, String),
    /// The end of the stream.
    End,
}

impl Peer {
    /// Connects over TCP.
    pub async fn tcp(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap(), None)
    }

    /// Connects over WebSocket and performs the handshake.
    pub async fn websocket(address: SocketAddr, subprotocol: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = websocket::handshake(&mut stream, "/ws", subprotocol).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self::opened(stream)
    }

    /// A peer on an open WebSocket.
    pub fn opened(stream: TcpStream) -> Self {
        Self::new(stream, Some(Reader::default()))
    }

    fn new(stream: TcpStream, websocket: Option<Reader>) -> Self {
        stream.set_nodelay(true).unwrap();
        let limits = Limits {
            body: 1 << 30,
            ..Limits::default()
        };
        Self {
            stream,
            websocket,
            decoder: Decoder::new(limits),
            binary: false,
        }
    }

    /// Sends CONNECT in this version without heart-beats and waits for CONNECTED.
    pub async fn connect(&mut self, version: &str) -> String {
        self.connect_with(&format!("accept-version:{version}"))
            .await
    }

    /// Sends CONNECT with these header lines and waits for CONNECTED.
    pub async fn connect_with(&mut self, headers: &str) -> String {
        self.send(&format!("CONNECT\n{headers}")).await;
        let connected = self.frame().await;
        assert!(connected.starts_with("CONNECTED\n"), "{connected}");
        let version = Version::ALL
            .into_iter()
            .find(|version| connected.contains(&format!("\nversion:{version}\n")));
        self.decoder.set_version(version.unwrap());
        connected
    }

    /// Sends a frame, over WebSocket as one message.
    pub async fn send(&mut self, frame: &str) {
        self.send_bytes(&script::wire(frame)).await;
    }

    /// Sends bytes of STOMP, over WebSocket as one message.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        if self.websocket.is_none() {
            return self.raw(bytes).await;
        }
        let opcode = if self.binary {
            websocket::BINARY
        } else {
            websocket::TEXT
        };
        self.raw(&websocket::masked(websocket::FIN | opcode, bytes))
            .await;
    }

    /// Sends raw bytes.
    pub async fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Returns what arrives next.
    pub async fn seen(&mut self) -> Seen {
        timeout(PATIENCE, self.next())
            .await
            .unwrap_or_else(|_| panic!("nothing arrived for {PATIENCE:?}"))
    }

    /// Returns the next frame; skips Pings and heart-beats before it.
    pub async fn frame(&mut self) -> String {
        loop {
            match self.seen().await {
                Seen::Frame(frame, _) => return frame,
                Seen::Ping | Seen::HeartBeat => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// Expects the next frame to be this one, in which each `*` matches anything.
    pub async fn expect(&mut self, expected: &str) {
        let actual = self.frame().await;
        script::check(&actual, expected);
    }

    /// Expects an ERROR whose `message` starts with this, then the close with this code (over TCP
    /// the end of the stream). Returns the ERROR.
    pub async fn expect_refusal(&mut self, message: &str, code: u16) -> String {
        let error = self.frame().await;
        script::check(&error, &format!("ERROR\nmessage:{message}*"));
        self.expect_close(code).await;
        error
    }

    /// Expects the close with this code, answers it, and expects the end of the stream.
    pub async fn expect_close(&mut self, code: u16) {
        if self.websocket.is_some() {
            match self.seen().await {
                Seen::Close(actual, reason) => {
                    assert_eq!(actual, code, "{reason}");
                    assert!(!reason.is_empty(), "a close by the broker has a reason");
                }
                other => panic!("expected a Close, got {other:?}"),
            }
        }
        assert_eq!(self.seen().await, Seen::End);
    }

    /// Subscribes and waits for the RECEIPT.
    pub async fn subscribe(&mut self, id: &str, destination: &str) {
        self.send(&format!(
            "SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:sub-{id}"
        ))
        .await;
        self.expect(&format!("RECEIPT\nreceipt-id:sub-{id}")).await;
    }

    /// Subscribes with additional header lines and waits for the RECEIPT.
    pub async fn subscribe_with(&mut self, id: &str, destination: &str, headers: &str) {
        self.send(&format!(
            "SUBSCRIBE\nid:{id}\ndestination:{destination}\nreceipt:sub-{id}\n{headers}"
        ))
        .await;
        self.expect(&format!("RECEIPT\nreceipt-id:sub-{id}")).await;
    }

    /// Unsubscribes and waits for the RECEIPT.
    pub async fn unsubscribe(&mut self, id: &str) {
        self.send(&format!("UNSUBSCRIBE\nid:{id}\nreceipt:unsub-{id}"))
            .await;
        self.expect(&format!("RECEIPT\nreceipt-id:unsub-{id}"))
            .await;
    }

    /// Sends messages with these bodies and waits until they are handed over.
    pub async fn publish(&mut self, destination: &str, bodies: &[&str]) {
        for body in bodies {
            self.send(&format!("SEND\ndestination:{destination}\n\n{body}"))
                .await;
        }
        self.sync().await;
    }

    /// Expects MESSAGEs with these bodies; `redelivered:true` shows as ` again` after the body.
    pub async fn expect_messages(&mut self, bodies: &[&str]) -> Vec<String> {
        let mut frames = Vec::new();
        let mut seen = Vec::new();
        while seen.len() < bodies.len() {
            let frame = self.frame().await;
            assert!(
                frame.starts_with("MESSAGE\n"),
                "expected {:?}, got:\n{frame}",
                &bodies[seen.len()..]
            );
            let again = script::header(&frame, "redelivered").map_or("", |_| " again");
            seen.push(format!("{}{again}", script::body(&frame)));
            frames.push(frame);
        }
        assert_eq!(seen, bodies);
        frames
    }

    /// Sends an ACK or NACK of STOMP 1.2 for this MESSAGE, with additional header lines.
    pub async fn settle(&mut self, command: &str, message: &str, headers: &str) {
        let id = script::header(message, "ack").unwrap();
        self.send(&format!("{command}\nid:{id}\n{headers}")).await;
    }

    /// Expects that nothing arrives, including deliveries caused by earlier ACKs: those are handed
    /// over after the RECEIPTs of the same read.
    pub async fn expect_nothing(&mut self) {
        self.sync().await;
        self.sync().await;
    }

    /// Waits until all earlier frames have been processed.
    pub async fn sync(&mut self) {
        self.send("UNSUBSCRIBE\nid:no-such-subscription\nreceipt:sync")
            .await;
        self.expect("RECEIPT\nreceipt-id:sync").await;
    }

    async fn next(&mut self) -> Seen {
        loop {
            match &mut self.websocket {
                None => {
                    if let Some(seen) = take(&mut self.decoder, None) {
                        return seen;
                    }
                }
                Some(reader) => match reader.take() {
                    None => {}
                    Some((websocket::PING, _)) => return Seen::Ping,
                    Some((websocket::PONG, payload)) => return Seen::Pong(payload),
                    Some((websocket::CLOSE, payload)) => return close(&payload),
                    Some((opcode, payload)) => {
                        self.decoder.push(payload);
                        let seen = take(&mut self.decoder, Some(opcode == websocket::TEXT));
                        assert_eq!(self.decoder.buffered(), 0, "one frame in one message");
                        return seen.unwrap();
                    }
                },
            }
            let mut bytes = BytesMut::with_capacity(64 * 1024);
            match self.stream.read_buf(&mut bytes).await {
                Ok(0) => return Seen::End,
                Ok(_) => match &mut self.websocket {
                    None => self.decoder.push(bytes.freeze()),
                    Some(reader) => reader.push(&bytes),
                },
                Err(error) => panic!("the connection was cut: {error}"),
            }
        }
    }
}

fn take(decoder: &mut Decoder, text: Option<bool>) -> Option<Seen> {
    match decoder.decode().unwrap()? {
        Item::HeartBeat => Some(Seen::HeartBeat),
        Item::Frame(frame) => Some(Seen::Frame(script::show(&frame), text)),
    }
}

fn close(payload: &[u8]) -> Seen {
    let code = payload
        .first_chunk()
        .map_or(1005, |code| u16::from_be_bytes(*code));
    Seen::Close(
        code,
        String::from_utf8(payload.get(2..).unwrap_or_default().to_vec()).unwrap(),
    )
}
