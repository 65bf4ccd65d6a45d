//! Queues compared with simple models: the queue of the engine with lists ([`queue`]), and hub,
//! queues and outboxes together with an account of every message ([`hub`]).
//!
//! Each runs 2,048 sequences (128 of the long ones), or as many as `PROPTEST_CASES` says.
//! `tests/run long-model` runs 100,000 of each.

mod account;
mod client;
mod hub;
mod queue;

use proptest::prelude::ProptestConfig;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2048,
        // Sequences that failed are kept as separate tests instead.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
