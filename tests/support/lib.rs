//! Support for the tests: a broker on free ports, a scripted STOMP peer, and sessions on a
//! virtual clock.
//!
//! Frames are written as they go over the wire, without the final NUL: `"SEND\na:b\n\nbody"`.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot go on fails"
)]

pub mod broker;
pub mod http;
pub mod peer;
pub mod script;
pub mod websocket;
pub mod wire;
pub mod world;
