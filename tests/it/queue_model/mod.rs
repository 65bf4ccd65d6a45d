//! Queues against models that are too plain to be wrong: the queue of the engine against lists
//! ([`queue`]), and hub, queues and outboxes together against the account of every message
//! ([`hub`]).
//!
//! Each runs 2,048 sequences, 128 of those that are long, or as many as `PROPTEST_CASES` says.
//! `tests/run long-model` runs 100,000 of each.

mod account;
mod client;
mod hub;
mod queue;

use proptest::prelude::ProptestConfig;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2048,
        // The sequences that failed are kept as tests of their own instead.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
