//! The fuzz targets over their committed seeds, without a fuzzer.
#![expect(
    clippy::unwrap_used,
    reason = "a seed that cannot be read is a failed test"
)]

use std::{fs, path::Path};

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "a crate of its own for the fuzzer")]
#[allow(
    dead_code,
    clippy::allow_attributes,
    reason = "other tests use the rest"
)]
mod targets;

#[test]
fn decode() {
    each_seed("decode", targets::decode);
}

#[test]
fn roundtrip() {
    each_seed("roundtrip", targets::roundtrip);
}

fn each_seed(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let seeds: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|seed| seed.unwrap().path())
        .collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        run(&fs::read(seed).unwrap());
    }
}
