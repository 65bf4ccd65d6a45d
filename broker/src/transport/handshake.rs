//! The HTTP side of WebSocket: from a new connection to an open WebSocket, or to an answer that
//! states why not (RFC 6455, section 4).

use std::convert::Infallible;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The settings of a handshake.
#[derive(Clone, Debug)]
pub struct HandshakeSettings {
    /// The paths at which a WebSocket is opened.
    pub paths: Vec<String>,
    /// The supported subprotocols, best first.
    pub subprotocols: Vec<&'static str>,
    /// The page that `GET /` returns.
    pub page: String,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Opened {
    /// The socket.
    pub stream: TcpStream,
    /// What the client has already sent after its request.
    pub rest: Bytes,
    /// The negotiated subprotocol.
    pub subprotocol: Option<&'static str>,
}

/// Why no WebSocket was opened; the client has received an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 400: the key is not 16 bytes in base64.
    BadKey,
    /// 400: a request with a body.
    Body,
    /// 503: the limit of connections is reached.
    Full,
    /// 400: no `Host`, several, or one that names no host.
    Host,
    /// The client disconnected, or did not send HTTP.
    Http,
    /// 405: not GET.
    Method,
    /// 404.
    Path,
    /// 400: only subprotocols that we do not support.
    Subprotocol,
    /// 408: no complete request in time.
    Timeout,
    /// 426: a request that does not ask for a WebSocket.
    NoUpgrade,
    /// 426: a version of WebSocket other than 13.
    Version,
}

type Answer = Response<Full<Bytes>>;

/// Reads the request of a new connection and answers it. `Ok(None)` if all went well and it was for
/// a page. With `full` a valid request is answered with 503.
///
/// # Errors
/// Why the connection does not become a WebSocket and ends.
pub async fn open(
    stream: TcpStream,
    settings: Arc<HandshakeSettings>,
    full: bool,
    deadline: Instant,
) -> Result<Option<Opened>, Refused> {
    // hyper keeps the service, so the service stores its decision here.
    let decision: Arc<Mutex<Option<Result<Decision, Refused>>>> = Arc::default();
    let noted = Arc::clone(&decision);
    let service = service_fn(move |request: Request<Incoming>| {
        let decided = decide(&request, &settings, full);
        let answer = answer(&decided, request.headers(), &settings);
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(decided);
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let mut connection = http1::Builder::new()
        .max_buf_size(MAX_REQUEST)
        .serve_connection(TokioIo::new(stream), service);
    let served = timeout_at(
        deadline,
        std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)),
    )
    .await;
    let parts = connection.into_parts();
    let decided = decision
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let mut stream = parts.io.into_inner();
    match (served, decided) {
        (Err(_), None) => {
            let _ = stream.write_all(TIMEOUT).await;
            finish(stream).await;
            Err(Refused::Timeout)
        }
        (Ok(Ok(())), Some(Ok(Decision::Open(subprotocol)))) => Ok(Some(Opened {
            stream,
            rest: parts.read_buf,
            subprotocol,
        })),
        (Ok(_), Some(Ok(Decision::Page))) => {
            finish(stream).await;
            Ok(None)
        }
        (_, Some(Err(refused))) => {
            finish(stream).await;
            Err(refused)
        }
        // A port check: the peer connected and sent nothing.
        (Ok(Ok(())), None) => Ok(None),
        // hyper has answered: 400, or 431 for a head that is too large.
        (_, _) => {
            finish(stream).await;
            Err(Refused::Http)
        }
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug)]
enum Decision {
    Open(Option<&'static str>),
    Page,
}

fn decide(
    request: &Request<Incoming>,
    settings: &HandshakeSettings,
    full: bool,
) -> Result<Decision, Refused> {
    let (path, headers) = (request.uri().path(), request.headers());
    if !has_host(headers, request.version()) {
        return Err(Refused::Host);
    }
    if !settings.paths.iter().any(|known| known == path) {
        let page = path == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
        return if page {
            Ok(Decision::Page)
        } else {
            Err(Refused::Path)
        };
    }
    if request.method() != Method::GET {
        return Err(Refused::Method);
    }
    if !request.body().is_end_stream() {
        return Err(Refused::Body);
    }
    if request.version() < Version::HTTP_11
        || !lists(headers, &UPGRADE, "websocket")
        || !lists(headers, &CONNECTION, "upgrade")
    {
        return Err(Refused::NoUpgrade);
    }
    if headers
        .get(SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        return Err(Refused::Version);
    }
    if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(is_key) {
        return Err(Refused::BadKey);
    }
    let subprotocol = subprotocol(headers, &settings.subprotocols)?;
    if full {
        Err(Refused::Full)
    } else {
        Ok(Decision::Open(subprotocol))
    }
}

/// Whether a request names its host: at most once, and since HTTP/1.1 exactly once (RFC 9112,
/// section 3.2). If a proxy and a server accept different ones, an attacker can exploit the
/// difference.
fn has_host(headers: &HeaderMap, version: Version) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version < Version::HTTP_11,
        (Some(host), None) => host.to_str().is_ok_and(is_host),
        (Some(_), Some(_)) => false,
    }
}

/// Whether it is a name or an address, optionally with a port (RFC 3986, sections 3.2.2 and 3.2.3).
fn is_host(text: &str) -> bool {
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let (is_host, port) = if let Some((address, port)) = bracketed {
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (is_name(name), port)
    };
    let port = port
        .strip_prefix(':')
        .or_else(|| port.is_empty().then_some(""));
    is_host && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte);
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    !text.is_empty()
        && text.bytes().all(is_allowed)
        && escapes.all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit))
}

/// Returns the best supported subprotocol that the client offers, whatever the order or the number
/// of its header lines; none if it offers none.
fn subprotocol(
    headers: &HeaderMap,
    ours: &[&'static str],
) -> Result<Option<&'static str>, Refused> {
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let best = ours
        .iter()
        .find(|name| tokens(headers, &SEC_WEBSOCKET_PROTOCOL).any(|token| token == **name));
    best.copied().map(Some).ok_or(Refused::Subprotocol)
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Whether a key is base64 of 16 bytes: 22 characters, the last of which has 4 bits that must be
/// zero, and two `=`.
fn is_key(key: &HeaderValue) -> bool {
    let Some(digits) = key.as_bytes().strip_suffix(b"==") else {
        return false;
    };
    let [first @ .., last] = digits else {
        return false;
    };
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    first.len() == 21 && first.iter().all(is_digit) && b"AQgw".contains(last)
}

fn answer(
    decided: &Result<Decision, Refused>,
    headers: &HeaderMap,
    settings: &HandshakeSettings,
) -> Answer {
    match decided {
        Ok(Decision::Open(subprotocol)) => upgrade(headers, *subprotocol),
        Ok(Decision::Page) => text(
            StatusCode::OK,
            "text/html; charset=utf-8",
            settings.page.clone(),
        ),
        Err(refused) => refused.answer(settings),
    }
}

fn upgrade(request: &HeaderMap, subprotocol: Option<&'static str>) -> Answer {
    let key = request
        .get(SEC_WEBSOCKET_KEY)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(subprotocol) = subprotocol {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(subprotocol),
        );
    }
    answer
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // Each connection carries one request, so it closes, unless the answer opens a WebSocket.
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

impl Refused {
    /// All variants.
    pub const ALL: [Self; 11] = [
        Self::BadKey,
        Self::Body,
        Self::Full,
        Self::Host,
        Self::Http,
        Self::Method,
        Self::Path,
        Self::Subprotocol,
        Self::Timeout,
        Self::NoUpgrade,
        Self::Version,
    ];

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadKey => "handshake_key",
            Self::Body => "handshake_body",
            Self::Full => "connections",
            Self::Host => "handshake_host",
            Self::Http => "handshake_http",
            Self::Method => "handshake_method",
            Self::Path => "handshake_path",
            Self::Subprotocol => "handshake_subprotocol",
            Self::Timeout => "handshake_timeout",
            Self::NoUpgrade => "handshake_no_upgrade",
            Self::Version => "handshake_version",
        }
    }

    fn answer(self, settings: &HandshakeSettings) -> Answer {
        let (status, why) = match self {
            Self::BadKey => (
                StatusCode::BAD_REQUEST,
                "Sec-WebSocket-Key must be 16 bytes in base64.".to_owned(),
            ),
            Self::Body => (
                StatusCode::BAD_REQUEST,
                "A request has no body here.".to_owned(),
            ),
            Self::Full => (
                StatusCode::SERVICE_UNAVAILABLE,
                "There are as many connections as [limits] connections allows. Try again later."
                    .to_owned(),
            ),
            Self::Host => (
                StatusCode::BAD_REQUEST,
                "A request needs one Host header with a host, and no second one.".to_owned(),
            ),
            Self::Http => (
                StatusCode::BAD_REQUEST,
                "This is no HTTP request.".to_owned(),
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "A WebSocket is opened with GET.".to_owned(),
            ),
            Self::Path => (
                StatusCode::NOT_FOUND,
                format!(
                    "There is nothing here. WebSockets are opened at {}.",
                    settings.paths.join(", ")
                ),
            ),
            Self::Subprotocol => (
                StatusCode::BAD_REQUEST,
                format!(
                    "None of the offered subprotocols is supported. Supported: {}.",
                    settings.subprotocols.join(", ")
                ),
            ),
            Self::Timeout => (
                StatusCode::REQUEST_TIMEOUT,
                "No complete request in time.".to_owned(),
            ),
            Self::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "Here speaks STOMP over WebSocket: ask for an upgrade to websocket.".to_owned(),
            ),
            Self::Version => (
                StatusCode::UPGRADE_REQUIRED,
                "Only version 13 of WebSocket is supported (RFC 6455).".to_owned(),
            ),
        };
        let mut answer = text(status, "text/plain; charset=utf-8", why + "\n");
        let headers = answer.headers_mut();
        match self {
            Self::Full => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Self::Method => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            Self::NoUpgrade | Self::Version => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        answer
    }
}

/// Ends a connection whose answer is written: closing it with unread bytes would make the kernel
/// send a reset, and the client would lose the answer.
async fn finish(stream: TcpStream) {
    super::read::drain(&stream, Instant::now() + super::read::DRAIN_TIME).await;
}

/// Maximum size of a request head.
const MAX_REQUEST: usize = 16 * 1024;

const TIMEOUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &[&str] = &["v12.stomp", "v11.stomp", "v10.stomp"];

    fn offered(lines: &[&'static str]) -> Result<Option<&'static str>, Refused> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(line));
        }
        subprotocol(&headers, OURS)
    }

    #[test]
    fn the_best_subprotocol_wins_whatever_the_order() {
        assert_eq!(
            offered(&["v10.stomp,v11.stomp, v12.stomp"]),
            Ok(Some("v12.stomp"))
        );
        assert_eq!(offered(&["v10.stomp", "v11.stomp"]), Ok(Some("v11.stomp")));
        assert_eq!(offered(&["mqtt ,v10.stomp"]), Ok(Some("v10.stomp")));
        assert_eq!(offered(&[]), Ok(None));
        assert_eq!(offered(&["mqtt"]), Err(Refused::Subprotocol));
        assert_eq!(offered(&["V12.STOMP"]), Err(Refused::Subprotocol));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in [
            "localhost",
            "localhost:15674",
            "stomp.example.org:443",
            "a_b-c.d",
            "127.0.0.1:1",
            "[::1]",
            "[2001:db8::1]:15674",
            "caf%C3%A9.example",
            "example.org:",
        ] {
            assert!(is_host(good), "{good:?}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a:b",
            "a:80:80",
            "a/b",
            "user@a",
            "a%2",
            "a%zz",
            "[::1",
            "::1",
            "[::1]80",
            "[a]",
            "[]",
            "a?b",
            "a#b",
            "caf\u{e9}",
        ] {
            assert!(!is_host(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        let key = |text| is_key(&HeaderValue::from_static(text));
        assert!(key("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(key("AAAAAAAAAAAAAAAAAAAAAA=="));
        for bad in [
            "",
            "==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25j!Q==",
            "dGhlIHNhbXBsZSBub25jZWE=",
        ] {
            assert!(!key(bad), "{bad:?}");
        }
    }
}
