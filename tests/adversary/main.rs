//! Hostile clients against a release broker, and how two well-behaved clients are affected.
//!
//! `tests/run adversary` runs all cases. The broker is a separate process: the binary that
//! `STOMPD_BIN` names, so an older release can be measured as well. The harness uses blocking
//! sockets and threads only.
//!
//! # A row
//!
//! Each case starts a broker and two *probers*, one over TCP and one over WebSocket. A prober sends
//! a message with a receipt to its own topic every 10 ms and waits for the MESSAGE and the
//! RECEIPT. A case prints:
//!
//! - `probe worst`, `probe p99`: the probers' round trips in ms, TCP/WebSocket, from the first byte
//!   of the adversary until 0.4 s after its last connection is closed.
//!   The p99 includes what would have been sent during a long one. The count follows it.
//! - `CPU`: the broker's processor time in that time in s, probers included; after the `+` that of
//!   the second that follows, in which the probers pause. If the broker is not idle by then, or its
//!   memory not returned, the next second counts, and finally the third.
//! - `RSS`: the broker's resident memory in MiB before, at the peak, and afterwards.
//! - `noise`: what else the machine did, see below.
//! - `outcome`: how the broker handled the adversary. It may accept it or refuse it; the limits
//!   apply to both.
//!
//! # Noise
//!
//! The goal is that the worst round trip is at most 20 ms on a quiet machine. A busy one keeps each
//! thread waiting for a processor, which is no fault of the broker. So a row has controls:
//!
//! - `late`: a thread of the harness sleeps for 1 ms again and again; this is its latest wake-up. A
//!   prober wakes up like this thread. `machine` is the part of it in which the thread was not even
//!   ready to run, such as a suspended virtual machine.
//! - `others`: the processor time of all processes but the broker and the harness, by `/proc/stat`,
//!   as a part of one processor. Up to 10 % the machine counts as quiet.
//! - `net`, next to the worst round trip: the kernel counts how long a thread was ready but had no
//!   processor (`schedstat`). A round trip less the longest such wait among the broker's threads,
//!   and the prober's own, is what the broker is responsible for: it computed, held a lock, or
//!   served others first.
//!
//! The assertions; `strict` applies to `tests/run long-adversary`, for a known machine:
//!
//! | | round trip | net |
//! |---|---|---|
//! | strict, quiet | 20 ms + 3 × late | 20 ms + 3 × machine |
//! | strict, busy | 1 s + 3 × late | 40 ms + 3 × machine |
//! | else | 1 s + 3 × late | 250 ms + 3 × machine |
//!
//! Where many clients have work at the same moment, 0.2 ms for each is added.
//!
//! On a busy machine a broker computes up to twice as long, since other processes use the caches
//! and the other half of a core. Where the kernel does not count waits, `net` is not asserted.
//!
//! A broker that stalls its clients does not hide behind `late`: the kernel prefers a thread that
//! wakes up to one that computes. The adversaries' threads run at a lower priority (`nice`) than
//! the broker and the probers, and prepare their bytes in advance, so that on two processors the
//! harness does not starve what it measures.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]
#![expect(clippy::print_stdout, reason = "the table is the output")]

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
