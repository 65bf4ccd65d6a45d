//! Black-box tests of stompd: frames in, expected frames out, over real sockets.
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod acks;
mod admin;
mod audience;
mod autobahn;
mod client;
mod clients;
mod demo;
mod fairness;
mod fuzz_seeds;
mod handshake;
mod hub;
mod isolation;
mod limits;
mod metrics;
mod outbox;
mod patterns;
mod queue_model;
mod queue_torture;
mod queues;
mod replies;
mod session;
mod session_refusals;
mod slow_consumers;
mod stop;
mod tidy;
mod topics;
mod transactions;
mod websocket;
mod websocket_model;
