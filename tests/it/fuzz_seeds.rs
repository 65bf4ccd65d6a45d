//! The fuzz target of the WebSocket reader over its committed seeds, without a fuzzer.

use std::fs;
use std::path::Path;

use stompd::websocket;

#[path = "../../broker/fuzz/src/target.rs"]
#[expect(unreachable_pub, reason = "a crate of its own for the fuzzer")]
mod target;

#[test]
fn websocket() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../broker/fuzz/seeds/websocket");
    let seeds: Vec<_> = fs::read_dir(folder).unwrap().collect();
    assert!(seeds.len() > 10);
    for seed in seeds {
        target::websocket(&fs::read(seed.unwrap().path()).unwrap());
    }
}
