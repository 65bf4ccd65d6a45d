//! The reader: from the bytes of a client to the payloads of its messages.
//!
//! Payloads are unmasked in place and moved together: message boundaries have no meaning in STOMP,
//! so the input of one read becomes one piece of STOMP. Only the length of a message is kept, and
//! whether it ends within a character; so an idle connection has no buffer, and a large message
//! none besides the decoder's. A STOMP frame therefore counts as soon as it has arrived, even if
//! its message is invalid later on.
//!
//! Pongs and the reply to a Close are not written here: on the socket they could land inside a
//! partly written frame. The caller takes them and sends them through the outbox.
//!
//! As in other servers, two checks are not as strict as they could be: a length may take more bytes
//! than it needs, and one of 2^63 or more is just too big.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};

use super::close;
use super::fault::WebSocketFault;
use super::frame::{Begin, Header, Kind, is_ping, unmask, write_control};
use super::utf8::Utf8;

/// The WebSocket of one client, after the handshake.
#[derive(Debug)]
pub struct WebSocket {
    limit: usize,
    /// Input that is not parsed yet.
    input: BytesMut,
    /// An incomplete header or control frame.
    begun: Vec<u8>,
    /// The frame whose payload is being read.
    payload: Option<Payload>,
    /// The message that is being read.
    message: Option<Message>,
    /// Whether the client's first message was binary; `None` before it.
    binary: Option<bool>,
    /// Whether messages have contained only EOLs so far. Clients whose timers do not wait send them
    /// before their CONNECT, and they do not count towards the limit.
    blank: bool,
    /// Whether a Pong arrived that is not reported yet.
    pong: bool,
    /// How reading ended; nothing is read after that.
    end: Option<End>,
    output: Vec<u8>,
}

/// What a client sent, without the framing; the result of [`WebSocket::take_input`].
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Payloads of messages.
    Data(Bytes),
    /// A Pong.
    Pong,
    /// The client starts the closing handshake; this is the reply.
    Close(Bytes),
}

/// The unread part of a frame's payload.
#[derive(Debug)]
struct Payload {
    left: u64,
    mask: [u8; 4],
    /// Whether it ends the message.
    last: bool,
}

/// A message that is being read.
#[derive(Debug)]
struct Message {
    /// The bytes of all frames up to the current one, except those of a blank beginning.
    bytes: u64,
    /// The UTF-8 check of a text message.
    text: Option<Utf8>,
}

/// How reading ends.
#[derive(Debug)]
enum End {
    /// By a Close; this is the reply.
    Close(Bytes),
    Fault(WebSocketFault),
}

impl WebSocket {
    /// Creates a WebSocket whose messages may have at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            input: BytesMut::new(),
            begun: Vec::new(),
            payload: None,
            message: None,
            binary: None,
            blank: true,
            pong: false,
            end: None,
            output: Vec::new(),
        }
    }

    /// Takes bytes that were read from the socket. Earlier input must have been taken.
    pub fn feed(&mut self, bytes: BytesMut) {
        debug_assert!(self.input.is_empty(), "earlier input must be read");
        self.input = bytes;
    }

    /// Returns the next input; `None` until more is fed.
    ///
    /// # Errors
    /// If the client violates the protocol. Nothing can be read after that.
    pub fn take_input(&mut self) -> Result<Option<Incoming>, WebSocketFault> {
        let data = self.read();
        if !data.is_empty() {
            return Ok(Some(Incoming::Data(data)));
        }
        if mem::take(&mut self.pong) {
            return Ok(Some(Incoming::Pong));
        }
        match &self.end {
            None => Ok(None),
            Some(End::Close(answer)) => Ok(Some(Incoming::Close(answer.clone()))),
            Some(End::Fault(fault)) => Err(*fault),
        }
    }

    /// Returns the Pongs to send.
    pub fn take_output(&mut self) -> Bytes {
        mem::take(&mut self.output).into()
    }

    /// Whether the client's first message was binary.
    pub fn is_binary(&self) -> bool {
        self.binary == Some(true)
    }

    /// Number of bytes that are kept until more is fed: at most an incomplete header or control
    /// frame.
    pub fn buffered(&self) -> usize {
        self.input.len() + self.begun.len()
    }

    /// Sets the maximum size of a message from now on.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Reads the input and returns the payloads of its messages, concatenated.
    fn read(&mut self) -> Bytes {
        let mut bytes = mem::take(&mut self.input);
        let (mut at, mut data) = (0, 0..0);
        while at < bytes.len() && self.end.is_none() {
            if let Some(payload) = &mut self.payload {
                let length = payload.fitting(bytes.len() - at);
                if data.is_empty() {
                    data = at..at;
                }
                payload.mask = unmask(&mut bytes, at..at + length, data.end, payload.mask);
                payload.left -= length as u64;
                at += length;
                if self.take_part(&bytes[data.end..data.end + length]) {
                    data.end += length;
                }
                continue;
            }
            // The Pong comes after the answers to what precedes the Ping.
            if !data.is_empty() && is_ping(bytes[at]) {
                self.input = bytes.split_off(at);
                break;
            }
            match self.begin(&bytes[at..]) {
                Ok(length) => at += length,
                // Earlier input may raise the limit that applies here.
                Err(_) if !data.is_empty() => {
                    self.input = bytes.split_off(at);
                    break;
                }
                Err(fault) => self.end = Some(End::Fault(fault)),
            }
        }
        bytes.truncate(data.end);
        bytes.advance(data.start);
        bytes.freeze()
    }

    /// Reads the header of a frame, and the whole of a control frame. Returns the number of bytes
    /// used; an incomplete header is kept.
    fn begin(&mut self, bytes: &[u8]) -> Result<usize, WebSocketFault> {
        if self.begun.is_empty() {
            return match Header::read(bytes)? {
                Begin::Header(header) => self.start(header, bytes),
                Begin::Short(_) => {
                    self.begun = bytes.to_vec();
                    Ok(bytes.len())
                }
            };
        }
        let mut begun = mem::take(&mut self.begun);
        let mut taken = 0;
        loop {
            match Header::read(&begun)? {
                Begin::Header(header) => {
                    self.start(header, &begun)?;
                    return Ok(taken);
                }
                Begin::Short(_) if taken == bytes.len() => {
                    self.begun = begun;
                    return Ok(taken);
                }
                Begin::Short(needed) => {
                    let more = &bytes[taken..];
                    let more = &more[..more.len().min(needed - begun.len())];
                    begun.extend_from_slice(more);
                    taken += more.len();
                }
            }
        }
    }

    /// Starts a frame of a message, or handles a control frame. Returns the number of bytes used.
    fn start(&mut self, header: Header, bytes: &[u8]) -> Result<usize, WebSocketFault> {
        if !header.kind.is_control() {
            self.start_payload(header)?;
            return Ok(header.length);
        }
        let mut payload = bytes[header.length..header.whole].to_vec();
        let all = 0..payload.len();
        unmask(&mut payload, all, 0, header.mask);
        match header.kind {
            Kind::Ping => write_control(&mut self.output, Kind::Pong, &payload),
            Kind::Pong => self.pong = true,
            _ => self.end = Some(End::Close(close::reply(&payload)?)),
        }
        Ok(header.whole)
    }

    fn start_payload(&mut self, header: Header) -> Result<(), WebSocketFault> {
        let begun = self.message.as_ref().map_or(0, |message| message.bytes);
        let bytes = begun.saturating_add(header.payload);
        match (header.kind, self.message.is_some()) {
            (Kind::Continuation, false) => {
                return Err(WebSocketFault::Protocol(
                    "a continuation of a message that was not begun",
                ));
            }
            (Kind::Text | Kind::Binary, true) => {
                return Err(WebSocketFault::Protocol(
                    "a new message before the end of the one that was begun",
                ));
            }
            _ => {}
        }
        if bytes > self.limit as u64 {
            return Err(WebSocketFault::TooBig { limit: self.limit });
        }
        let message = self.message.get_or_insert_with(|| Message {
            bytes,
            text: (header.kind == Kind::Text).then(Utf8::default),
        });
        message.bytes = bytes;
        let binary = message.text.is_none();
        self.binary.get_or_insert(binary);
        self.payload = Some(Payload {
            left: header.payload,
            mask: header.mask,
            last: header.last,
        });
        // An empty payload ends without further input.
        if header.payload == 0 {
            self.take_part(&[]);
        }
        Ok(())
    }

    /// Takes the next part of a payload. Returns `false` if it is invalid.
    fn take_part(&mut self, part: &[u8]) -> bool {
        let last = self.end_payload();
        self.pass_blank(part);
        let text = self
            .message
            .as_mut()
            .and_then(|message| message.text.as_mut());
        let good = text.is_none_or(|text| text.accepts(part) && (!last || text.is_complete()));
        if last {
            self.message = None;
        }
        if !good {
            self.end = Some(End::Fault(WebSocketFault::InvalidUtf8));
        }
        good
    }

    /// Excludes EOLs before the first STOMP frame from the size of their message.
    fn pass_blank(&mut self, part: &[u8]) {
        if !self.blank {
            return;
        }
        let is_frame = |byte: &u8| !b"\n\r\0".contains(byte);
        let eols = part.iter().position(is_frame);
        self.blank = eols.is_none();
        if let Some(message) = &mut self.message {
            message.bytes -= eols.unwrap_or(part.len()) as u64;
        }
    }

    /// Ends the payload if all of it is read. Returns whether the message ends with it.
    fn end_payload(&mut self) -> bool {
        let payload = self.payload.take_if(|payload| payload.left == 0);
        payload.is_some_and(|payload| payload.last)
    }
}

impl Payload {
    /// Number of its bytes within the next `bytes`.
    fn fitting(&self, bytes: usize) -> usize {
        usize::try_from(self.left).map_or(bytes, |left| left.min(bytes))
    }
}
