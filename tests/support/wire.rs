//! An in-memory socket that takes as much as a test allows, and a parser of what it took.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use stomp_codec::{Decoder, Item, Limits};
use stompd::encoding::Framing;
use stompd::encoding::Kind;
use stompd::outbox::Wire;

use crate::peer::Seen;
use crate::script;
use crate::websocket::{self, Reader};

/// A socket without a kernel behind it.
#[derive(Debug)]
pub struct MemoryWire {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    written: Vec<u8>,
    budget: usize,
    at_once: usize,
    broken: bool,
}

impl MemoryWire {
    /// Returns a socket that takes everything.
    pub fn open() -> Arc<Self> {
        Self::taking(usize::MAX)
    }

    /// Returns a socket that takes this many bytes, until [`MemoryWire::allow`] changes that.
    pub fn taking(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                written: Vec::new(),
                budget: bytes,
                at_once: usize::MAX,
                broken: false,
            }),
        })
    }

    /// Takes this many more bytes from now on.
    pub fn allow(&self, bytes: usize) {
        self.lock().budget = bytes;
    }

    /// Limits each later write to this many bytes, at least one.
    pub fn allow_at_once(&self, bytes: usize) {
        self.lock().at_once = bytes.max(1);
    }

    /// Makes each later write fail.
    pub fn break_off(&self) {
        self.lock().broken = true;
    }

    /// Returns the bytes it took.
    pub fn written(&self) -> Vec<u8> {
        self.lock().written.clone()
    }

    /// Number of bytes it took.
    pub fn len(&self) -> usize {
        self.lock().written.len()
    }

    /// Whether it took nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire for MemoryWire {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if state.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.budget == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = bytes.len().min(state.budget).min(state.at_once);
        state.written.extend_from_slice(&bytes[..taken]);
        state.budget -= taken;
        Ok(taken)
    }
}

/// Returns what a peer of this kind sees in `bytes`, and the number of bytes of a last, unfinished
/// frame. Over WebSocket each message must be one whole frame.
pub fn read(kind: Kind, bytes: &[u8]) -> (Vec<Seen>, usize) {
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(kind.version);
    let mut seen = Vec::new();
    if kind.framing == Framing::Tcp {
        decoder.push(Bytes::copy_from_slice(bytes));
        while let Some(item) = decoder.decode().unwrap() {
            seen.push(show(item, None));
        }
        return (seen, decoder.buffered());
    }
    let (mut reader, mut whole) = (Reader::default(), 0);
    reader.push(bytes);
    while let Some((opcode, payload)) = reader.take() {
        whole += header(payload.len()) + payload.len();
        seen.push(match opcode {
            websocket::PING => Seen::Ping,
            websocket::PONG => Seen::Pong(payload),
            websocket::CLOSE => Seen::Close(0, String::new()),
            _ => {
                decoder.push(payload);
                let item = decoder.decode().unwrap().unwrap();
                assert_eq!(decoder.buffered(), 0, "one frame in one message");
                show(item, Some(opcode == websocket::TEXT))
            }
        });
    }
    (seen, bytes.len() - whole)
}

fn show(item: Item, text: Option<bool>) -> Seen {
    match item {
        Item::HeartBeat => Seen::HeartBeat,
        Item::Frame(frame) => Seen::Frame(script::show(&frame), text),
    }
}

fn header(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}
