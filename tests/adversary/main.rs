//! Hostile clients against a release broker, and what two innocent clients notice meanwhile.
//!
//! `tests/run adversary` runs all cases. The broker is a process of its own: the binary that
//! `STOMPD_BIN` names, so an older release can be measured as well. The harness has blocking sockets
//! and threads only.
//!
//! # A row
//!
//! Each case starts a broker and two *probers*, one over TCP and one over WebSocket. A prober sends
//! a message with a receipt to a topic of its own every 10 ms and waits for the MESSAGE and the
//! RECEIPT. A case prints:
//!
//! - `probe worst`, `probe p99`: the probers' round trips in ms, TCP/WebSocket, from the adversary's
//!   first byte until 0.4 s after its last connection is closed.
//!   The p99 counts what would have been sent while one took long. Behind it, how many there were.
//! - `CPU`: the broker's processor time in that time in s, probers included; after the `+` that of
//!   the second that follows, in which the probers rest. If it is not at rest by then, or memory not
//!   back, the next second counts, and the third at last.
//! - `RSS`: the broker's resident memory in MiB before, at the peak, and when that is over.
//! - `noise`: what the machine did meanwhile, see below.
//! - `outcome`: what became of the adversary. A broker may accept it or refuse it; the bounds hold
//!   for both.
//!
//! # Noise
//!
//! The goal is that the worst round trip is at most 20 ms on a quiet machine. A busy one keeps each
//! thread waiting for a processor, which says nothing of the broker. So a row has controls:
//!
//! - `late`: a thread of the harness sleeps for 1 ms again and again; this is how late it woke up at
//!   worst. A prober wakes up as this thread does. `machine` is the part of it in which the thread was
//!   not even ready to run, such as a virtual machine that stood still.
//! - `others`: the processor time of all processes but the broker and the harness, by `/proc/stat`,
//!   as a part of one processor. Up to 10 % the machine counts as quiet.
//! - `net`, beside the worst round trip: the kernel counts how long a thread was ready to run without
//!   a processor (`schedstat`). A round trip less the longest such wait among the broker's threads,
//!   and the prober's own, is what the broker has to answer for: how long it computed, held a lock, or
//!   served others first.
//!
//! What is asserted; `strict` is what `tests/run long-adversary` is, for a machine that is known:
//!
//! | | round trip | net |
//! |---|---|---|
//! | strict, quiet | 20 ms + 3 × late | 20 ms + 3 × machine |
//! | strict, busy | 1 s + 3 × late | 40 ms + 3 × machine |
//! | else | 1 s + 3 × late | 250 ms + 3 × machine |
//!
//! Where many clients have work at the same moment, 0.2 ms for each is added.
//!
//! On a busy machine a broker computes up to twice as long for the same, since others use the caches
//! and the other half of a core. Where the kernel does not count waits, `net` is not asserted.
//!
//! A broker that stalls its clients does not hide behind `late`: the kernel prefers a thread that
//! wakes up to one that computes. The adversaries' threads run at a lower priority (`nice`) than the
//! broker and the probers, and prepare their bytes in advance, so that on two processors the harness
//! does not starve what it measures.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]
#![expect(clippy::print_stdout, reason = "the table is what is asked for")]

mod broker;
mod bursts;
mod case;
mod client;
mod dead;
mod doors;
mod fanout;
mod frames;
mod idle;
mod memory;
mod patterns;
mod prober;
mod readers;
mod relatives;
mod tables;
mod waiting;
