//! A small, fast message broker that speaks STOMP over WebSocket and TCP.
//!
//! ```text
//!            main → cli → server                 composition: the only one that names all parts
//!                            │
//!        ┌───────────────┬───┴────────┐
//!     transport ◄─── connection     admin        one task per client · metrics, health, demo page
//!        │               │
//!        │           outbox ◄─ queues ◄─ hub     shared state: all locks are here
//!        │               │      │
//!   ═════╪═══════════════╪══════╪═════════════   the wall: below it no sockets, clock, tasks, locks
//!        │               ▼      ▼
//!        │                engine                 the rules: frames and time in, actions out
//!        ▼                 │   │
//!     websocket ◄──────────┘   ▼                 bytes ⇄ frames, of WebSocket and of STOMP
//!                         stomp-codec
//! ```
//!
//! `ARCHITECTURE.md` has the full map, and what is deliberately absent.

pub mod admin;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
pub mod connection;
pub mod encoding;
pub mod engine;
pub mod error;
pub mod hub;
pub mod logging;
pub mod metrics;
pub mod outbox;
pub mod queues;
pub mod server;
pub mod transport;
pub mod turn;
pub mod websocket;
