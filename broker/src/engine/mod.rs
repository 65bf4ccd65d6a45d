//! The rules of the broker as values and functions: frames and time in, actions out.
//!
//! This folder is below the wall. It never opens a socket, reads a clock, draws a random number,
//! takes a lock, logs or spawns a task; time and identities are arguments. So a test of a rule only
//! needs its input and its expected output.
//!
//! | file | idea |
//! |---|---|
//! | [`session`] | one client's conversation: frames in, actions out |
//! | [`subscription`] | the subscriptions that a session holds |
//! | [`queue`] | messages that wait, and the consumers that share them |
//! | [`ack`] | the ids by which clients acknowledge |
//! | [`transaction`] | what is held until COMMIT |
//! | [`heart_beat`] | negotiation and deadlines of heart-beats, mapped onto Ping and Pong |
//! | [`destination`] | what a destination and a pattern are |
//! | [`patterns`] | the trie that finds the patterns a destination matches |
//! | [`message`] | what a SEND becomes, and which of its headers are passed on |
//! | [`memory`] | what keeping something costs beyond its text |
//! | [`refusal`] | every reason to refuse or cut a client: text, metric label, close code |
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod ack;
pub mod destination;
pub mod heart_beat;
pub mod memory;
pub mod message;
pub mod patterns;
pub mod queue;
pub mod refusal;
pub mod session;
pub mod size;
pub mod subscription;
pub mod transaction;

use std::fmt;

/// Identifies one session. 64 random bits, drawn by the shell, so that it never repeats, even
/// across restarts; written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}
