//! A client controlled by a case, well-behaved or not, on a blocking socket.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// How long a client waits for what must arrive.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The listeners of a broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) tcp: SocketAddr,
    pub(crate) websocket: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// The transport of STOMP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    Tcp,
    WebSocket,
}

/// How much the kernel buffers for a client that does not read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Window {
    /// A few MiB on the loopback interface.
    Usual,
    /// A few dozen KiB: small packets make the broker's kernel buffer little.
    Small,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) seen: Seen,
    way: Way,
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Protocol: v12.stomp\r\n\r\n";

impl Door {
    /// Returns a connected client over TCP, without heart-beats.
    pub(crate) fn tcp(self) -> Client {
        self.connect(Way::Tcp, "0,0", Window::Usual).unwrap()
    }

    /// Returns a client over TCP that can leave much unread.
    pub(crate) fn small(self) -> Client {
        self.connect(Way::Tcp, "0,0", Window::Small).unwrap()
    }

    /// Returns a connected client over WebSocket, without heart-beats.
    pub(crate) fn websocket(self) -> Client {
        self.connect(Way::WebSocket, "0,0", Window::Usual).unwrap()
    }

    /// Returns a connected client, or why it is not connected.
    pub(crate) fn connect(self, way: Way, beat: &str, window: Window) -> Result<Client, String> {
        let stream = self.dial(way, window).map_err(|error| error.to_string())?;
        let mut client = Client {
            stream,
            seen: Seen::default(),
            way,
        };
        if way == Way::WebSocket {
            client.seen.upgrade = Some(Vec::new());
            client.raw(UPGRADE.as_bytes())?;
            client.expect(|seen| seen.upgrade.is_none())?;
        }
        let connect = format!("CONNECT\naccept-version:1.2\nhost:h\nheart-beat:{beat}\n\n\0");
        client.write(connect.as_bytes())?;
        client.expect(|seen| seen.connected)?;
        Ok(client)
    }

    /// Returns a client that has sent its CONNECT or its upgrade without waiting for the answer.
    pub(crate) fn knock(self, way: Way) -> Client {
        let mut client = Client {
            stream: self.dial(way, Window::Usual).unwrap(),
            seen: Seen::default(),
            way,
        };
        let first = match way {
            Way::Tcp => "CONNECT\naccept-version:1.2\nhost:h\n\n\0",
            Way::WebSocket => UPGRADE,
        };
        if way == Way::WebSocket {
            client.seen.upgrade = Some(Vec::new());
        }
        // The answer says whether it was refused.
        let _ = client.raw(first.as_bytes());
        client
    }

    fn dial(self, way: Way, window: Window) -> io::Result<TcpStream> {
        let address = match way {
            Way::Tcp => self.tcp,
            Way::WebSocket => self.websocket,
        };
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if matches!(window, Window::Small) {
            socket.set_tcp_mss(1024)?;
            socket.set_recv_buffer_size(4096)?;
        }
        socket.connect_timeout(&address.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    }
}

impl Client {
    /// The same connection over TCP, for another thread.
    pub(crate) fn twin(&self) -> Self {
        Self {
            stream: self.stream.try_clone().unwrap(),
            seen: Seen::default(),
            way: self.way,
        }
    }

    /// Writes STOMP. An error contains the broker's answer.
    pub(crate) fn write(&mut self, stomp: &[u8]) -> Result<(), String> {
        match self.way {
            Way::Tcp => self.raw(stomp),
            Way::WebSocket => self.raw(&masked(stomp)),
        }
    }

    /// Writes raw bytes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.stream.write_all(bytes) {
            Ok(()) => Ok(()),
            Err(error) if again(&error) => Err("the broker reads no further".to_owned()),
            Err(error) => Err(self.ending(&error.to_string())),
        }
    }

    /// Writes STOMP and waits until all of it has been handled. An error contains the answer.
    pub(crate) fn sync(&mut self, stomp: &[u8]) -> Result<(), String> {
        let receipts = self.seen.receipts;
        let has = stomp.windows(9).filter(|at| at == b"\nreceipt:").count() as u64;
        self.write(stomp)?;
        self.write(super::frames::SYNC)?;
        self.expect(|seen| seen.receipts > receipts + has)
    }

    /// Reads until `until` is true. An error says how the connection ended.
    pub(crate) fn expect(&mut self, until: impl Fn(&Seen) -> bool) -> Result<(), String> {
        if self.wait(PATIENCE, until) {
            Ok(())
        } else {
            Err(self.ending("no answer"))
        }
    }

    /// Reads until `until` is true; returns false if it times out, or the connection has ended.
    pub(crate) fn wait(&mut self, time: Duration, until: impl Fn(&Seen) -> bool) -> bool {
        let deadline = Instant::now() + time;
        let mut buffer = vec![0; 64 * 1024];
        while !until(&self.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.seen.ended {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            self.read(&mut buffer);
        }
        true
    }

    /// Reads once; returns whether anything arrived.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read(buffer) {
            Ok(0) => self.seen.ended = true,
            Ok(count) => {
                self.seen.feed(&buffer[..count]);
                return true;
            }
            Err(error) if again(&error) => {}
            Err(_) => self.seen.ended = true,
        }
        false
    }

    /// Reads the remaining input and returns how the connection ended.
    fn ending(&mut self, otherwise: &str) -> String {
        self.wait(Duration::from_secs(3), |seen| seen.ended);
        self.seen.ending().unwrap_or_else(|| otherwise.to_owned())
    }
}

fn again(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// One binary message for each MiB. The key is zero, which is allowed and needs no masking.
pub(crate) fn masked(stomp: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stomp.len() + 64);
    for part in stomp.chunks(1024 * 1024) {
        bytes.extend_from_slice(&[0x82, 0xff]);
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(part);
    }
    bytes
}

/// What a client has read.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    pub(crate) messages: u64,
    pub(crate) receipts: u64,
    pub(crate) bytes: u64,
    /// The text of an ERROR.
    pub(crate) error: Option<String>,
    /// The code of a Close.
    pub(crate) close: Option<u16>,
    /// Whether the broker has closed the connection.
    pub(crate) ended: bool,
    /// The MESSAGEs, if they are recorded.
    pub(crate) kept: Option<Vec<Vec<u8>>>,
    /// The head of the answer to an upgrade, until it is complete and says 101.
    pub(crate) upgrade: Option<Vec<u8>>,
    over: Option<Message>,
    /// The first byte of the frame that is being read.
    first: Option<u8>,
    text: Vec<u8>,
}

/// State of the WebSocket frame that is being read.
#[derive(Debug, Default)]
struct Message {
    head: Vec<u8>,
    left: usize,
    control: Vec<u8>,
}

impl Seen {
    /// The broker's last answer: an ERROR, a close code, or a status line.
    pub(crate) fn ending(&self) -> Option<String> {
        let status = self.upgrade.as_ref().filter(|head| !head.is_empty());
        let status = status.map(|head| first_line(&String::from_utf8_lossy(head)));
        let error = self.error.as_deref().map(|text| {
            let message = text.lines().find_map(|line| line.strip_prefix("message:"));
            format!("ERROR {}", message.unwrap_or("without message"))
        });
        let close = self.close.map(|code| format!("close {code}"));
        let said: Vec<_> = [status, error, close].into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join(", "))
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let mut bytes = bytes;
        if let Some(head) = &mut self.upgrade {
            head.extend_from_slice(bytes);
            let Some(end) = head.windows(4).position(|at| at == b"\r\n\r\n") else {
                return;
            };
            if !head.starts_with(b"HTTP/1.1 101") {
                return;
            }
            bytes = &bytes[bytes.len() - (head.len() - end - 4)..];
            (self.upgrade, self.over) = (None, Some(Message::default()));
        }
        match self.over.take() {
            None => self.stomp(bytes),
            Some(mut message) => {
                self.frames(&mut message, bytes);
                self.over = Some(message);
            }
        }
    }

    fn frames(&mut self, message: &mut Message, mut bytes: &[u8]) {
        while let Some(&next) = bytes.first() {
            if message.left == 0 {
                message.head.push(next);
                bytes = &bytes[1..];
                let Some(left) = length(&message.head) else {
                    continue;
                };
                message.left = left;
                if left > 0 {
                    continue;
                }
            }
            let now = message.left.min(bytes.len());
            let (payload, rest) = bytes.split_at(now);
            (bytes, message.left) = (rest, message.left - now);
            if message.head[0] & 8 == 0 {
                self.stomp(payload);
            } else {
                message.control.extend_from_slice(payload);
            }
            if message.left == 0 {
                if message.head[0] & 15 == 8
                    && let Some(code) = message.control.first_chunk()
                {
                    self.close = Some(u16::from_be_bytes(*code));
                }
                message.head.clear();
                message.control.clear();
            }
        }
    }

    fn stomp(&mut self, mut bytes: &[u8]) {
        while let Some(&next) = bytes.first() {
            let first = match (self.first, next) {
                (None, b'\n' | b'\r') => {
                    bytes = &bytes[1..];
                    continue;
                }
                (first, next) => *self.first.insert(first.unwrap_or(next)),
            };
            let end = memchr::memchr(0, bytes);
            if first == b'E' || (first == b'M' && self.kept.is_some()) {
                self.text
                    .extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            }
            let Some(end) = end else {
                return;
            };
            bytes = &bytes[end + 1..];
            self.frame(first);
        }
    }

    fn frame(&mut self, first: u8) {
        let text = std::mem::take(&mut self.text);
        self.first = None;
        match first {
            b'C' => self.connected = true,
            b'R' => self.receipts += 1,
            b'M' => {
                self.messages += 1;
                if let Some(kept) = &mut self.kept {
                    kept.push(text);
                }
            }
            _ => self.error = Some(String::from_utf8_lossy(&text).into_owned()),
        }
    }
}

/// Returns the length of the payload, if the head is complete.
fn length(head: &[u8]) -> Option<usize> {
    match (*head.get(1)?, head.len()) {
        (126, 4) => Some(usize::from(u16::from_be_bytes([head[2], head[3]]))),
        (127, 10) => {
            Some(usize::try_from(u64::from_be_bytes(head[2..].try_into().unwrap())).unwrap())
        }
        (126 | 127, _) => None,
        (short, _) => Some(usize::from(short)),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// `accepted`, or the reason for the refusal.
pub(crate) fn told(result: &Result<(), String>) -> String {
    match result {
        Ok(()) => "accepted".to_owned(),
        Err(why) => format!("refused: {why}"),
    }
}

/// Returns the value of a header in a MESSAGE.
pub(crate) fn header(frame: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(frame);
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().to_owned()
}

/// Sends a request to the admin port: returns the answer and its time; none after 5 s.
pub(crate) fn ask(admin: SocketAddr, path: &str) -> Option<(String, Duration)> {
    let begin = Instant::now();
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&admin, limit).ok()?;
    stream.set_read_timeout(Some(limit)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then(|| (answer, begin.elapsed()))
}
