//! WebSocket after the handshake (RFC 6455, sections 5 to 7): the messages of a client are read, and
//! the broker's frames written.
//!
//! This folder is below the wall, as the engine is. It opens no socket and never waits, and knows
//! nothing of the broker: its files import each other by `super` only, so that the fuzz target
//! compiles them without the rest.
//!
//! | file | idea |
//! |---|---|
//! | `reader.rs` | the messages of one client |
//! | [`frame`] | a frame's header, read and written |
//! | `close.rs` | the Close frame, and the reply to one |
//! | `utf8.rs` | whether a text that arrives in parts is UTF-8 |
//! | `fault.rs` | what a client may do wrong |
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod close;
mod fault;
pub mod frame;
mod reader;
mod utf8;

pub use self::close::{PROTOCOL_ERROR, close};
pub use self::fault::WebSocketFault;
pub use self::reader::{Incoming, WebSocket};
