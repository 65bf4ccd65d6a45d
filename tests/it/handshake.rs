//! The HTTP side of WebSocket: which requests open one, and how the others are answered.

use std::time::Duration;

use support::broker::TestBroker;
use support::http::{answer, ask, request, upgrade};
use support::peer::{PATIENCE, Peer, Seen};
use support::websocket::{FIN, PING, TEXT, masked};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_request_of_rfc_6455_opens_a_websocket() {
    let broker = TestBroker::start().await;
    let opened = ask(broker.websocket(), &upgrade("/ws", &[])).await;
    assert_eq!(opened.status, 101, "{}", opened.head);
    assert_eq!(opened.all("Upgrade"), ["websocket"]);
    assert_eq!(
        opened.all("Sec-WebSocket-Accept"),
        ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    );
    assert!(opened.all("Sec-WebSocket-Extensions").is_empty());
}

#[tokio::test]
async fn the_highest_subprotocol_is_chosen_in_any_order_of_offers() {
    let broker = TestBroker::start().await;
    for (offers, chosen) in [
        (
            &["Sec-WebSocket-Protocol: v10.stomp, v11.stomp, v12.stomp"][..],
            "v12.stomp",
        ),
        (
            &["Sec-WebSocket-Protocol: v12.stomp,v11.stomp,v10.stomp"],
            "v12.stomp",
        ),
        (
            &["sec-websocket-protocol: v10.stomp ,  v11.stomp"],
            "v11.stomp",
        ),
        (&["Sec-WebSocket-Protocol: mqtt, v10.stomp"], "v10.stomp"),
        (
            &[
                "Sec-WebSocket-Protocol: v10.stomp",
                "Sec-WebSocket-Protocol: mqtt",
                "Sec-WebSocket-Protocol: v11.stomp",
            ],
            "v11.stomp",
        ),
    ] {
        let opened = ask(broker.websocket(), &upgrade("/ws", offers)).await;
        assert_eq!(opened.status, 101, "{offers:?}");
        assert_eq!(opened.all("Sec-WebSocket-Protocol"), [chosen], "{offers:?}");
    }
}

#[tokio::test]
async fn without_an_offered_subprotocol_none_is_answered_and_stomp_negotiates() {
    let broker = TestBroker::start().await;
    let opened = ask(broker.websocket(), &upgrade("/ws", &[])).await;
    assert!(opened.all("Sec-WebSocket-Protocol").is_empty());
    let mut peer = Peer::websocket(broker.websocket(), None).await;
    let connected = peer.connect("1.1").await;
    assert!(connected.contains("\nversion:1.1\n"), "{connected}");
}

#[tokio::test]
async fn unknown_subprotocols_are_refused_with_a_list_of_ours() {
    let broker = TestBroker::start().await;
    for offer in ["mqtt, wamp", "V12.STOMP", ""] {
        let offer = format!("Sec-WebSocket-Protocol: {offer}");
        let refused = ask(broker.websocket(), &upgrade("/ws", &[&offer])).await;
        assert_eq!(refused.status, 400, "{offer}");
        let body = &refused.body;
        assert!(body.contains("v12.stomp, v11.stomp, v10.stomp"), "{body}");
        assert!(refused.all("Sec-WebSocket-Protocol").is_empty());
    }
    broker.await_refusals("handshake_subprotocol", 3).await;
}

#[tokio::test]
async fn a_wrong_path_is_answered_404_with_the_right_ones() {
    let broker = TestBroker::start().await;
    for path in ["/wrong", "/ws/", "/WS", "/ws2", "/", "*"] {
        let refused = ask(broker.websocket(), &upgrade(path, &[])).await;
        if path == "/" {
            assert_eq!(refused.status, 200, "{path}");
            continue;
        }
        assert_eq!(refused.status, 404, "{path}");
        assert!(refused.body.contains("/ws, /stomp"), "{}", refused.body);
    }
    broker.await_refusals("handshake_path", 5).await;
}

#[tokio::test]
async fn the_configured_paths_open_a_websocket_with_or_without_a_query() {
    let broker = TestBroker::start().await;
    for path in ["/ws", "/stomp", "/ws?x=1", "/stomp?token=a/b", "/ws?"] {
        let opened = ask(broker.websocket(), &upgrade(path, &[])).await;
        assert_eq!(opened.status, 101, "{path}");
    }
    let broker = TestBroker::with(|config| config.listen.paths = vec!["/chat/v1".into()]).await;
    for (path, status) in [("/chat/v1", 101), ("/ws", 404), ("/chat", 404)] {
        let answer = ask(broker.websocket(), &upgrade(path, &[])).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_request_without_an_upgrade_is_refused() {
    let broker = TestBroker::start().await;
    let lines = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    for lines in [
        &[][..],
        &lines[1..],
        &[lines[0], lines[2], lines[3]],
        &[lines[0], "Upgrade: h2c", lines[2], lines[3]],
        &["Connection: keep-alive", lines[1], lines[2], lines[3]],
    ] {
        let refused = ask(broker.websocket(), &request("GET", "/ws", lines)).await;
        assert_eq!(refused.status, 426, "{lines:?}");
        assert_eq!(refused.all("Upgrade"), ["websocket"], "{lines:?}");
    }
    broker.await_refusals("handshake_no_upgrade", 5).await;
}

#[tokio::test]
async fn another_websocket_version_is_answered_with_ours() {
    let broker = TestBroker::start().await;
    for version in [Some("8"), Some("14"), Some(""), None] {
        let version = version.map(|version| format!("Sec-WebSocket-Version: {version}"));
        let mut lines = vec![
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        lines.extend(version.as_deref());
        let refused = ask(broker.websocket(), &request("GET", "/ws", &lines)).await;
        assert_eq!(refused.status, 426, "{version:?}");
        assert_eq!(refused.all("Sec-WebSocket-Version"), ["13"], "{version:?}");
    }
    broker.await_refusals("handshake_version", 4).await;
}

#[tokio::test]
async fn a_key_that_is_not_sixteen_bytes_in_base64_is_refused() {
    let broker = TestBroker::start().await;
    for key in [
        None,
        Some(""),
        Some("dGhlIHNhbXBsZSBub25jZQ"),
        Some("dGhlIHNhbXBsZSBub25j!Q=="),
        Some("dGhlIHNhbXBsZSBub25jZR=="),
        Some("dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="),
    ] {
        let key = key.map(|key| format!("Sec-WebSocket-Key: {key}"));
        let mut lines = vec![
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
        ];
        lines.extend(key.as_deref());
        let refused = ask(broker.websocket(), &request("GET", "/ws", &lines)).await;
        assert_eq!(refused.status, 400, "{key:?}");
        let body = &refused.body;
        assert!(body.contains("Sec-WebSocket-Key"), "{body}");
    }
    broker.await_refusals("handshake_key", 6).await;
}

#[tokio::test]
async fn another_method_than_get_is_not_allowed() {
    let broker = TestBroker::start().await;
    let post = "POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello";
    for request in [
        post,
        &request("PUT", "/ws", &["Content-Length: 0"]),
        &upgrade("/stomp", &[]).replace("GET", "DELETE"),
    ] {
        let refused = ask(broker.websocket(), request).await;
        assert_eq!(refused.status, 405, "{request}");
        assert_eq!(refused.all("Allow"), ["GET"], "{request}");
    }
    broker.await_refusals("handshake_method", 3).await;
}

#[tokio::test]
async fn a_browser_gets_a_page_with_an_example() {
    let broker = TestBroker::start().await;
    let page = ask(broker.websocket(), &request("GET", "/", &[])).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.all("Content-Type"), ["text/html; charset=utf-8"]);
    let body = &page.body;
    assert!(body.contains("<code>/ws</code>"), "{body}");
    let head = ask(broker.websocket(), &request("HEAD", "/", &[])).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[tokio::test]
async fn header_names_and_tokens_are_case_insensitive() {
    let broker = TestBroker::start().await;
    for lines in [
        [
            "Connection: keep-alive, Upgrade",
            "Upgrade: WebSocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
        [
            "CONNECTION: upgrade",
            "upgrade: WEBSOCKET",
            "sec-websocket-version: 13",
            "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ==",
        ],
        [
            "connection:UPGRADE,keep-alive",
            "UpGrade:h2c, websocket",
            "Sec-Websocket-Version:   13  ",
            "Sec-Websocket-Key:dGhlIHNhbXBsZSBub25jZQ==",
        ],
    ] {
        let opened = ask(broker.websocket(), &request("GET", "/ws", &lines)).await;
        assert_eq!(opened.status, 101, "{lines:?}");
    }
}

#[tokio::test]
async fn frames_may_follow_the_request_in_the_same_segment() {
    let broker = TestBroker::start().await;
    let connect = masked(FIN | TEXT, b"CONNECT\naccept-version:1.2\n\n\0");
    // Complete frames, and frames that are split anywhere.
    for behind in [connect.len() + 6, connect.len(), 40, 7, 1] {
        let frames = [&connect[..], &masked(FIN | PING, b"")].concat();
        let request = [upgrade("/ws", &[]).as_bytes(), &frames[..behind]].concat();
        let mut peer = Peer::opened(TcpStream::connect(broker.websocket()).await.unwrap());
        peer.raw(&request).await;
        assert_eq!(answer(&mut peer.stream).await.status, 101);
        peer.raw(&frames[behind..]).await;
        peer.expect("CONNECTED\nversion:1.2\n*").await;
        assert_eq!(peer.seen().await, Seen::Pong("".into()));
    }
}

#[tokio::test]
async fn a_request_may_arrive_byte_by_byte() {
    let broker = TestBroker::start().await;
    let mut peer = Peer::opened(TcpStream::connect(broker.websocket()).await.unwrap());
    for byte in upgrade("/ws", &["Sec-WebSocket-Protocol: v12.stomp"]).bytes() {
        peer.raw(&[byte]).await;
    }
    assert_eq!(answer(&mut peer.stream).await.status, 101);
    peer.connect("1.2").await;
}

#[tokio::test]
async fn a_client_above_the_connection_limit_is_refused_until_one_leaves() {
    let broker = TestBroker::with(|config| config.limits.connections = 1).await;
    for turn in 1..=2 {
        // The previous client may still be closing.
        let first = timeout(PATIENCE, find_room(&broker)).await.unwrap();
        let refusals = broker.refusals("connections").await;
        let refused = ask(broker.websocket(), &upgrade("/ws", &[])).await;
        assert_eq!(refused.status, 503, "turn {turn}");
        assert_eq!(refused.all("Retry-After"), ["5"]);
        let mut tcp = broker.tcp().await;
        tcp.expect_refusal("more than 1 connections", 1013).await;
        broker.await_refusals("connections", refusals + 2).await;
        // Pages and invalid requests are answered as usual.
        let page = ask(broker.websocket(), &request("GET", "/", &[])).await;
        assert_eq!(page.status, 200);
        let wrong = ask(broker.websocket(), &upgrade("/wrong", &[])).await;
        assert_eq!(wrong.status, 404);
        drop(first);
    }
}

async fn find_room(broker: &TestBroker) -> Peer {
    loop {
        let mut peer = broker.tcp().await;
        peer.send("CONNECT\naccept-version:1.2").await;
        let frame = peer.frame().await;
        if frame.starts_with("CONNECTED\n") {
            return peer;
        }
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_in_time_is_answered_408() {
    let broker = TestBroker::with(quick).await;
    let request = upgrade("/ws", &[]);
    for part in ["", "GET ", &request[..request.len() - 2]] {
        let refused = ask(broker.websocket(), part).await;
        assert_eq!(refused.status, 408, "{part:?}");
        assert_eq!(refused.all("Connection"), ["close"]);
    }
    broker.await_refusals("handshake_timeout", 3).await;
}

#[tokio::test]
async fn a_request_has_exactly_one_host() {
    let broker = TestBroker::start().await;
    let good = upgrade("/ws", &[]);
    let host = "Host: localhost\r\n";
    for bad in [
        "",
        "Host:\r\n",
        "Host: local host\r\n",
        "Host: localhost/ws\r\n",
        "Host: me@localhost\r\n",
        "Host: localhost:ws\r\n",
        "Host: caf\u{e9}\r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nhost: example.org\r\n",
    ] {
        for request in [
            good.clone(),
            request("GET", "/", &[]),
            request("GET", "/no", &[]),
        ] {
            let refused = ask(broker.websocket(), &request.replace(host, bad)).await;
            assert_eq!(refused.status, 400, "{bad:?}");
            assert!(refused.body.contains("Host"), "{}", refused.body);
        }
    }
    broker.await_refusals("handshake_host", 27).await;
    for fine in ["Host: [::1]:15674\r\n", "host: example.org:443\r\n"] {
        let opened = ask(broker.websocket(), &good.replace(host, fine)).await;
        assert_eq!(opened.status, 101, "{fine:?}");
    }
    // HTTP/1.0 had no Host header. A load balancer may send such a health check.
    let old = ask(broker.websocket(), "GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 200);
    let old = ask(
        broker.websocket(),
        "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    )
    .await;
    assert_eq!(old.status, 400);
}

#[tokio::test]
async fn invalid_http_is_answered_400() {
    let broker = TestBroker::with(quick).await;
    for garbage in [
        "CONNECT\naccept-version:1.2\n\n\0",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "GET /ws HTTP/7.9\r\n\r\n",
        "GET /ws HTTP/1.1\r\nno colon\r\n\r\n",
    ] {
        let refused = ask(broker.websocket(), garbage).await;
        assert_eq!(refused.status, 400, "{garbage:?}");
    }
    broker.await_refusals("handshake_http", 5).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_the_handshake_leaves_nothing_behind() {
    let broker = TestBroker::with(|config| config.limits.connections = 1).await;
    for part in ["", "GET /ws HTT"] {
        let mut peer = Peer::opened(TcpStream::connect(broker.websocket()).await.unwrap());
        peer.raw(part.as_bytes()).await;
        drop(peer);
        drop(timeout(PATIENCE, find_room(&broker)).await.unwrap());
    }
}

fn quick(config: &mut stompd::config::Config) {
    config.limits.connect_timeout = Duration::from_millis(200);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let broker = TestBroker::with(quick).await;
    let long = format!("X-Long: {}", "x".repeat(64 * 1024));
    let many = vec!["X-Many: x"; 200];
    for lines in [&[long.as_str()][..], &many] {
        let refused = ask(broker.websocket(), &upgrade("/ws", lines)).await;
        assert_eq!(refused.status, 431, "{}", refused.head);
    }
    // Cookies of an ordinary size are accepted.
    let cookie = format!("Cookie: {}", "x".repeat(8 * 1024));
    let opened = ask(broker.websocket(), &upgrade("/ws", &[&cookie])).await;
    assert_eq!(opened.status, 101);
}

#[tokio::test]
async fn the_101_response_has_upgrade_as_the_only_connection_option() {
    // The tungstenite client compares the whole value of `Connection`.
    let broker = TestBroker::start().await;
    let opened = ask(broker.websocket(), &upgrade("/ws", &[])).await;
    assert_eq!(opened.all("Connection"), ["Upgrade"]);
    let page = ask(broker.websocket(), &request("GET", "/", &[])).await;
    assert_eq!(page.all("Connection"), ["close"]);
}
