//! Why communication with a broker failed, in words for the user of the command.

use std::io;
use std::time::Duration;

use stomp_codec::{Command, DecodeError};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::{ProtocolError, SubProtocolError};

use super::Address;

/// Why communication with a broker failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid address.
    #[error("{0}")]
    Address(&'static str),
    /// The broker closed the WebSocket.
    #[error("the broker closed the connection: {}", closed(*code, reason))]
    Closed {
        /// The close code, if it named one.
        code: Option<u16>,
        /// The reason it gave, which may be empty.
        reason: String,
    },
    /// The connection could not be opened.
    #[error("cannot connect to {address}: {}", explain(source))]
    Connect {
        /// Host and port.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// The stream ended without an explanation.
    #[error("the broker ended the connection without a word; its log may say why")]
    Ended,
    /// Certificates that cannot be used.
    #[error("{0}")]
    Certificates(String),
    /// The server answered a request for a WebSocket with something else.
    #[error("{address}: no WebSocket but {status}{}", http_advice(*status, text))]
    Http {
        /// Where.
        address: String,
        /// The status.
        status: u16,
        /// Its body, if that is short text.
        text: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(#[source] io::Error),
    /// No RECEIPT came.
    #[error("the broker gave no RECEIPT for {what} within {patience:?}")]
    NoReceipt {
        /// The frame.
        what: &'static str,
        /// The time limit.
        patience: Duration,
    },
    /// The broker sends invalid STOMP.
    #[error(
        "the broker sends what is not STOMP: {source}{}",
        not_stomp_advice(source)
    )]
    NotStomp {
        /// What is wrong with it.
        #[from]
        source: DecodeError,
    },
    /// The broker sent an ERROR frame.
    #[error("the broker refused: {}", refusal(message, body))]
    Refused {
        /// Its `message`.
        message: String,
        /// Its body.
        body: String,
    },
    /// The broker was silent for too long.
    #[error(
        "the broker has been silent for 2.5 times {interval:?}, the interval of its heart-beats"
    )]
    Silent {
        /// The interval agreed on.
        interval: Duration,
    },
    /// CONNECTED did not arrive in time.
    #[error(
        "{address} gives no CONNECTED within {patience:?} \
         (is it a STOMP broker, and does no firewall stand before it?)"
    )]
    Slow {
        /// Where.
        address: String,
        /// The time limit.
        patience: Duration,
    },
    /// TLS failed.
    #[error("{address}: TLS failed: {source}{}", tls_advice(source))]
    Tls {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The server does not speak WebSocket at all, or not for STOMP.
    #[error("{address}: {}", upgrade_advice(source))]
    Upgrade {
        /// Where.
        address: String,
        /// Why.
        source: Box<tungstenite::Error>,
    },
    /// The answer to CONNECT is another command.
    #[error("the broker answered CONNECT with {0}")]
    Unexpected(Command),
    /// A version that was not offered.
    #[error("the broker chose the version {0:?}, which was not offered")]
    Version(String),
    /// The WebSocket violated its protocol.
    #[error(
        "the broker breaks the rules of WebSocket: {source}{}",
        websocket_advice(source)
    )]
    WebSocket {
        /// How.
        source: Box<tungstenite::Error>,
    },
}

impl Error {
    /// Whether it shows that a broker answers, even if it refuses.
    pub const fn is_an_answer(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Closed { .. } => true,
            Self::Http { status, .. } => *status == 503,
            _ => false,
        }
    }

    pub(super) fn upgrade(address: &Address, error: tungstenite::Error) -> Self {
        let address = address.to_string();
        match error {
            tungstenite::Error::Http(answer) => Self::Http {
                address,
                status: answer.status().as_u16(),
                text: short_text(&answer),
            },
            error => Self::Upgrade {
                address,
                source: Box::new(error),
            },
        }
    }
}

/// Returns the first line of a body of plain text, as far as it arrived with the head.
fn short_text(answer: &tungstenite::http::Response<Option<Vec<u8>>>) -> String {
    let kind = answer.headers().get("content-type");
    let is_plain = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let body = answer.body().as_deref().filter(|_| is_plain);
    let text = String::from_utf8_lossy(body.unwrap_or_default());
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

/// Joins message and body; many bodies begin with the message.
fn refusal(message: &str, body: &str) -> String {
    match (message, body) {
        (message, "") => message.to_owned(),
        (message, body) if body.starts_with(message) => body.to_owned(),
        (message, body) => format!("{message}\n{body}"),
    }
}

fn closed(code: Option<u16>, reason: &str) -> String {
    match (code, reason) {
        (None, _) => "without a code".to_owned(),
        (Some(code), "") => format!("{code}"),
        (Some(code), reason) => format!("{code} {reason}"),
    }
}

/// Returns the error without its number, with advice for the usual ones.
fn explain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let advice = match error.kind() {
        io::ErrorKind::ConnectionRefused => " (is the broker running, and is this its port?)",
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            " (no way leads to this host)"
        }
        _ if text.contains("lookup") => " (is the name right?)",
        _ => "",
    };
    format!("{text}{advice}")
}

fn http_advice(status: u16, text: &str) -> String {
    if !text.is_empty() {
        return format!(": {text}");
    }
    let advice = match status {
        404 => {
            " (not found: is this the path? stompd and RabbitMQ have /ws, Spring what its \
                application says)"
        }
        401 | 403 => " (not allowed: does a proxy, or the broker, want something else first?)",
        301 | 302 | 307 | 308 => " (moved: use the address behind it)",
        400 | 426 => " (is this the port and the path of a WebSocket?)",
        502 | 504 => " (a proxy does not reach the broker)",
        _ => "",
    };
    advice.to_owned()
}

fn tls_advice(error: &io::Error) -> &'static str {
    let text = error.to_string();
    if text.contains("InvalidContentType") || text.contains("corrupt message") {
        " (does the server speak TLS at this port? ws:// and tcp:// are without)"
    } else if text.contains("UnknownIssuer") {
        " (a certificate of your own authority? name it by --ca FILE)"
    } else {
        ""
    }
}

fn upgrade_advice(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
            SubProtocolError::NoSubProtocol,
        )) => "the server opens a WebSocket, but without a subprotocol of STOMP (is this the path \
               of a STOMP broker? --no-subprotocol goes on without one)"
            .to_owned(),
        tungstenite::Error::Protocol(
            ProtocolError::HandshakeIncomplete | ProtocolError::HttparseError(_),
        )
        | tungstenite::Error::Io(_) => format!(
            "the server does not answer as HTTP does: {error} (does it speak STOMP over TCP at \
             this port? then the address begins with tcp://)"
        ),
        error => format!("no WebSocket: {error}"),
    }
}

fn websocket_advice(error: &tungstenite::Error) -> &'static str {
    if matches!(error, tungstenite::Error::Utf8(_)) {
        " (a message with a binary body, sent as text: RabbitMQ needs web_stomp.ws_frame = binary \
         for those; over TCP all bodies pass)"
    } else {
        ""
    }
}

fn not_stomp_advice(error: &DecodeError) -> &'static str {
    if error.to_string().contains("HTTP/1.") {
        " (this port speaks HTTP: then the address begins with ws:// and has a path)"
    } else {
        ""
    }
}
