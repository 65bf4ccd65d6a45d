//! The address of a broker: `ws://host:port/path` and its like.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// The address of a broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The protocol.
    pub scheme: Scheme,
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query of a WebSocket; else empty.
    pub path: String,
}

/// The protocol of an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// STOMP over TCP.
    Tcp,
    /// STOMP over TLS.
    Tls,
    /// STOMP over WebSocket.
    WebSocket,
    /// STOMP over WebSocket over TLS.
    WebSocketTls,
}

impl Scheme {
    /// Every spelling of a scheme, and its default port.
    const ALL: [(&str, Self, u16); 6] = [
        ("ws", Self::WebSocket, 80),
        ("wss", Self::WebSocketTls, 443),
        ("tcp", Self::Tcp, 61613),
        ("stomp", Self::Tcp, 61613),
        ("tcp+tls", Self::Tls, 61614),
        ("stomps", Self::Tls, 61614),
    ];

    /// Whether bytes are encrypted.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocketTls)
    }

    /// Whether frames travel in WebSocket messages.
    pub const fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::WebSocketTls)
    }
}

impl Address {
    /// Returns host and port as written in a URL.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(Error::Address)
    }
}

fn parse(text: &str) -> Result<Address, &'static str> {
    let (scheme, rest) = text
        .split_once("://")
        .ok_or("begin it with ws://, wss://, tcp:// or tcp+tls://")?;
    let (_, scheme, usual_port) = Scheme::ALL
        .into_iter()
        .find(|(name, ..)| scheme.eq_ignore_ascii_case(name))
        .ok_or("the schemes are ws, wss, tcp (or stomp) and tcp+tls (or stomps)")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("user and password go to --login and --passcode");
    }
    let is_clean = |char: char| char.is_ascii_graphic() && char != '#';
    if !path.chars().all(is_clean) {
        return Err("a path has no spaces, no fragment and only ASCII; encode others as %20");
    }
    if !scheme.is_websocket() && !path.trim_start_matches('/').is_empty() {
        return Err("only ws:// and wss:// have a path");
    }
    let (host, port) = split_port(authority)?;
    let path = match (scheme.is_websocket(), path.starts_with('/')) {
        (false, _) => String::new(),
        (true, true) => path.to_owned(),
        (true, false) => format!("/{path}"),
    };
    Ok(Address {
        scheme,
        host: host.to_owned(),
        port: port.unwrap_or(usual_port),
        path,
    })
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the ] of an IPv6 is missing")?;
            (host, rest.strip_prefix(':'))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let is_port = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
    match port {
        None => Ok((host, None)),
        Some(port) => Some(port)
            .filter(is_port)
            .and_then(|port| port.parse().ok())
            .filter(|port| *port > 0)
            .map(|port| (host, Some(port)))
            .ok_or("the port is a number from 1 to 65535; an IPv6 stands in brackets"),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Scheme::ALL.iter().filter(|(_, it, _)| *it == self.scheme);
        let name = names.next().map_or("", |(name, ..)| name);
        write!(f, "{name}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let address: Result<Address, Error> = text.parse();
        address.map_or_else(|error| error.to_string(), |address| address.to_string())
    }

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("ws://127.0.0.1:15674/ws", "ws://127.0.0.1:15674/ws"),
            ("WS://broker/ws?a=b", "ws://broker:80/ws?a=b"),
            ("ws://broker?a=b", "ws://broker:80/?a=b"),
            ("wss://broker", "wss://broker:443/"),
            ("tcp://broker", "tcp://broker:61613"),
            ("stomp://broker:1/", "tcp://broker:1"),
            ("tcp+tls://[::1]:1", "tcp+tls://[::1]:1"),
            ("stomps://[::1]", "tcp+tls://[::1]:61614"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_advice() {
        for (text, advice) in [
            ("127.0.0.1:61613", "begin it with ws://"),
            ("http://a/", "the schemes are"),
            ("ws:///ws", "the host is missing"),
            ("ws://:80/ws", "the host is missing"),
            ("ws://a:0/ws", "the port is a number"),
            ("ws://a:+1/ws", "the port is a number"),
            ("ws://a:65536/ws", "the port is a number"),
            ("ws://::1/ws", "the host is missing"),
            ("ws://fe80::1/ws", "an IPv6 stands in brackets"),
            ("ws://[::1/ws", "the ] of an IPv6"),
            ("ws://a:b@c/ws", "--login and --passcode"),
            ("ws://a/w s", "no spaces"),
            ("ws://a/ws#b", "no fragment"),
            ("tcp://a/ws", "only ws:// and wss:// have a path"),
        ] {
            let shown = shown(text);
            assert!(shown.contains(advice), "{text}: {shown}");
        }
    }
}
