//! The program as its users call it: what it prints, where, and what it leaves with.

#![expect(
    clippy::unwrap_used,
    reason = "a test helper that fails is a failed test"
)]

mod bench;
mod config;
mod files;
mod healthcheck;
mod memory;
mod pages;
mod publish_subscribe;
mod support;
mod tls;
