//! The command-line client, against the broker and against scripted servers.

use std::time::Duration;

use stomp_codec::{Command, Frame, Headers, Version};
use stompd::client::{Address, Client, Error, Options};
use support::broker::TestBroker;
use support::peer::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

async fn connect(url: &str, change: impl FnOnce(&mut Options)) -> Result<Client, Error> {
    let mut options = Options {
        heart_beat: Duration::ZERO,
        ..Options::default()
    };
    change(&mut options);
    Client::connect(&address(url), &options).await
}

async fn next(client: &mut Client) -> Result<Frame, Error> {
    timeout(PATIENCE, client.next()).await.unwrap()
}

/// Starts a server for a single client.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Reads up to the next NUL.
async fn frame(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        match timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap() {
            0 => return String::from_utf8(bytes).unwrap(),
            byte => bytes.push(byte),
        }
    }
}

/// Returns a client over TCP and the server's end, after CONNECT and this answer.
async fn pair(
    answer: &str,
    options: impl FnOnce(&mut Options),
) -> (Result<Client, Error>, TcpStream) {
    let (listener, address) = listen().await;
    let url = format!("tcp://{address}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        frame(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream
    };
    tokio::join!(connect(&url, options), serve)
}

/// A WebSocket server that opens one with these additional header lines, then sends bytes.
async fn websocket(lines: &'static str, then: &'static [u8]) -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut names = head.lines().filter_map(|line| line.split_once(": "));
        let key = names.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
        let (_, key) = key.unwrap();
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{lines}\r\n"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(then).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    format!("ws://{address}/ws")
}

#[tokio::test]
async fn each_version_works_over_each_transport() {
    let broker = TestBroker::start().await;
    let tcp = format!("tcp://{}", broker.broker.tcp().unwrap());
    let websocket = format!("ws://{}/ws", broker.websocket());
    for url in [tcp, websocket] {
        for version in Version::ALL {
            let client = connect(&url, |options| options.version = Some(version));
            let mut client = client.await.unwrap();
            assert_eq!(client.version(), version);
            client.subscribe("0", "/topic/a", "client", &Headers::new());
            let sent = Frame::new(Command::Send)
                .with_header("destination", "/topic/a")
                .with_header("note", "C:\\a:b")
                .with_body(&b"a\0\xff"[..]);
            client.write(&sent);
            let message = next(&mut client).await.unwrap();
            assert_eq!(message.header("note"), Some("C:\\a:b"), "{version}");
            assert_eq!(message.body, sent.body);
            client.ack(&message);
            client.disconnect(PATIENCE).await.unwrap();
        }
        let newest = connect(&url, |_| ()).await.unwrap();
        assert_eq!(newest.version(), Version::V1_2);
    }
    broker
        .wait_for("stompd_messages_acknowledged_total", 6.0)
        .await;
    assert!(broker.metric("stompd_acks_ignored_total").await < 1.0);
}

#[tokio::test]
async fn connect_has_the_requested_headers() {
    let (listener, address) = listen().await;
    let url = format!("tcp://{address}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let connect = frame(&mut stream).await;
        stream
            .write_all(b"CONNECTED\nversion:1.1\n\n\0")
            .await
            .unwrap();
        connect
    };
    let client = connect(&url, |options| {
        options.login = Some("me".to_owned());
        options.passcode = Some("a:b\\c".to_owned());
        options.host = "there".to_owned();
        options.heart_beat = Duration::from_secs(4);
    });
    let (client, said) = tokio::join!(client, serve);
    assert_eq!(client.unwrap().version(), Version::V1_1);
    assert_eq!(
        said,
        "CONNECT\naccept-version:1.0,1.1,1.2\nhost:there\nheart-beat:4000,4000\n\
         login:me\npasscode:a:b\\c\n\n"
    );
}

#[tokio::test]
async fn answers_to_connect_are_checked() {
    let (client, _) = pair("CONNECTED\n\n\0", |_| ()).await;
    assert_eq!(client.unwrap().version(), Version::V1_0);
    let (client, _) = pair("CONNECTED\nversion:9\n\n\0", |_| ()).await;
    assert!(matches!(client, Err(Error::Version(_))), "{client:?}");
    let (client, _) = pair("MESSAGE\n\n\0", |_| ()).await;
    assert!(matches!(client, Err(Error::Unexpected(_))), "{client:?}");
    let (client, _) = pair("ERROR\nmessage:no\n\nwhy\0", |_| ()).await;
    assert_eq!(
        client.unwrap_err().to_string(),
        "the broker refused: no\nwhy"
    );
    let (client, _) = pair("220 mail.example ESMTP\r\n", |_| ()).await;
    assert!(matches!(client, Err(Error::NotStomp { .. })), "{client:?}");
    let brief = |options: &mut Options| options.patience = Duration::from_millis(50);
    let (client, _) = pair("", brief).await;
    assert!(matches!(client, Err(Error::Slow { .. })), "{client:?}");
}

#[tokio::test]
async fn frames_after_connected_are_read_by_its_version() {
    let answer = "CONNECTED\nversion:1.2\n\n\0MESSAGE\nnote:a\\cb\n\n\0";
    let (client, _server) = pair(answer, |_| ()).await;
    let message = next(&mut client.unwrap()).await.unwrap();
    assert_eq!(message.header("note"), Some("a:b"));
}

#[tokio::test]
async fn heart_beats_are_sent_while_waiting_and_while_busy() {
    let answer = "CONNECTED\nversion:1.2\nheart-beat:0,50\n\n\0";
    let offer = |options: &mut Options| options.heart_beat = Duration::from_millis(50);
    let (client, mut server) = pair(answer, offer).await;
    let mut client = client.unwrap();
    tokio::select! {
        frame = client.next() => panic!("nothing was sent: {frame:?}"),
        byte = server.read_u8() => assert_eq!(byte.unwrap(), b'\n'),
    }
    let beat = timeout(PATIENCE, server.read_u8());
    let byte = client.meanwhile(beat).await.unwrap();
    assert_eq!(byte.unwrap(), b'\n');
}

#[tokio::test]
async fn a_silent_broker_times_out_and_one_with_heart_beats_does_not() {
    let answer = "CONNECTED\nversion:1.2\nheart-beat:50,0\n\n\0";
    let want = |options: &mut Options| options.heart_beat = Duration::from_millis(50);
    let (client, mut server) = pair(answer, want).await;
    let mut client = client.unwrap();
    let beats = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            server.write_all(b"\n").await.unwrap();
        }
        server.write_all(b"MESSAGE\n\n\0").await.unwrap();
        server
    };
    let (message, _server) = tokio::join!(next(&mut client), beats);
    assert_eq!(message.unwrap().command, Command::Message);
    let end = next(&mut client).await;
    assert!(matches!(end, Err(Error::Silent { .. })), "{end:?}");
}

#[tokio::test]
async fn the_error_is_reported_instead_of_the_broken_connection() {
    let (client, mut server) = pair("CONNECTED\nversion:1.2\n\n\0", |_| ()).await;
    let mut client = client.unwrap();
    server
        .write_all(b"ERROR\nmessage:too much\n\n\0")
        .await
        .unwrap();
    server.shutdown().await.unwrap();
    let drain = async {
        let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
    };
    let write = async {
        let send = Frame::new(Command::Send).with_body(vec![0; 1 << 20]);
        loop {
            client.write(&send);
            if let Err(error) = client.flush().await {
                // The end of the stream would make the other half wait forever.
                drop(client);
                return error;
            }
        }
    };
    let (error, ()) = timeout(PATIENCE, async { tokio::join!(write, drain) })
        .await
        .unwrap();
    assert_eq!(error.to_string(), "the broker refused: too much");
}

#[tokio::test]
async fn a_broker_that_writes_before_it_reads_causes_no_deadlock() {
    const SIZE: usize = 16 << 20;
    let (client, mut server) = pair("CONNECTED\nversion:1.2\n\n\0", |_| ()).await;
    let mut client = client.unwrap();
    let serve = async {
        let head = format!("MESSAGE\ncontent-length:{SIZE}\n\n");
        server.write_all(head.as_bytes()).await.unwrap();
        server.write_all(&vec![b'x'; SIZE]).await.unwrap();
        server.write_all(b"\0").await.unwrap();
        let mut all = vec![0; SIZE];
        server.read_exact(&mut all).await.unwrap();
    };
    let talk = async {
        client.write(&Frame::new(Command::Send).with_body(vec![b'y'; SIZE]));
        client.flush().await.unwrap();
        assert_eq!(next(&mut client).await.unwrap().body.len(), SIZE);
    };
    timeout(PATIENCE, async { tokio::join!(serve, talk) })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_close_is_reported_with_code_and_reason() {
    // CONNECTED in a text message, then a Close 4007 with a reason.
    let then = b"\x81\x18CONNECTED\nversion:1.2\n\n\0\x88\x0a\x0f\xa7too slow";
    let url = websocket("Sec-WebSocket-Protocol: v12.stomp\r\n", then).await;
    let mut client = connect(&url, |_| ()).await.unwrap();
    let end = next(&mut client).await.unwrap_err();
    assert_eq!(
        end.to_string(),
        "the broker closed the connection: 4007 too slow"
    );
}

#[tokio::test]
async fn no_memory_is_reserved_for_an_announced_length() {
    // A message of 2^63 - 1 bytes, of which none is sent.
    let then = b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff";
    let url = websocket("Sec-WebSocket-Protocol: v12.stomp\r\n", then).await;
    let client = connect(&url, |_| ()).await;
    assert!(matches!(client, Err(Error::WebSocket { .. })), "{client:?}");
}

#[tokio::test]
async fn a_server_without_a_subprotocol_needs_a_client_that_offers_none() {
    let then = b"\x81\x18CONNECTED\nversion:1.2\n\n\0";
    let url = websocket("", then).await;
    let error = connect(&url, |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("--no-subprotocol"), "{error}");
    let url = websocket("", then).await;
    let client = connect(&url, |options| options.subprotocols = false).await;
    assert_eq!(client.unwrap().version(), Version::V1_2);
}
