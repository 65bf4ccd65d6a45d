//! How long a frame takes to decode and to encode.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};
use stomp_codec::{Command, Decoder, Frame, FrameWriter, Item, Limits, Version};

fn codec(criterion: &mut Criterion) {
    let shapes = [
        ("small", small()),
        ("20_headers", many_headers()),
        ("64_KiB_body", small().with_body(vec![b'x'; 64 << 10])),
    ];
    for (name, frame) in &shapes {
        let wire = frame.encode(Version::V1_2);
        bench(criterion, "decode", name, wire.len(), |bencher| {
            decode(bencher, &wire, 1);
        });
        bench(criterion, "encode", name, wire.len(), |bencher| {
            encode(bencher, frame);
        });
    }
    let batch = Bytes::from(small().encode(Version::V1_2).repeat(100));
    bench(
        criterion,
        "decode",
        "batch_of_100_small",
        batch.len(),
        |bencher| {
            decode(bencher, &batch, 100);
        },
    );
    bench(
        criterion,
        "decode",
        "small_in_two_chunks",
        batch.len() / 100,
        decode_split,
    );
    bench(
        criterion,
        "encode",
        "small_by_writer",
        batch.len() / 100,
        write,
    );
}

fn bench(
    criterion: &mut Criterion,
    group: &str,
    name: &str,
    bytes: usize,
    run: impl FnMut(&mut Bencher<'_>),
) {
    let mut group = criterion.benchmark_group(group);
    group
        .throughput(Throughput::Bytes(bytes as u64))
        .bench_function(name, run);
}

fn decode(bencher: &mut Bencher<'_>, wire: &Bytes, frames: usize) {
    let mut decoder = decoder();
    bencher.iter(|| {
        decoder.push(wire.clone());
        assert_eq!(frames_in(&mut decoder), frames);
    });
}

fn decode_split(bencher: &mut Bencher<'_>) {
    let wire = small().encode(Version::V1_2);
    let mut decoder = decoder();
    bencher.iter(|| {
        decoder.push(wire.slice(..60));
        assert_eq!(frames_in(&mut decoder), 0);
        decoder.push(wire.slice(60..));
        assert_eq!(frames_in(&mut decoder), 1);
    });
}

fn encode(bencher: &mut Bencher<'_>, frame: &Frame) {
    bencher.iter(|| frame.encode(Version::V1_2));
}

fn write(bencher: &mut Bencher<'_>) {
    let mut out = Vec::with_capacity(1024);
    bencher.iter(|| {
        out.clear();
        FrameWriter::new(&mut out, Version::V1_2, Command::Message)
            .header("destination", "/topic/prices.eu")
            .header("content-type", "application/json")
            .header("subscription", "sub-0")
            .header("message-id", "1b2f-0-4711")
            .body(&[b'x'; 128]);
        black_box(&out);
    });
}

fn decoder() -> Decoder {
    let mut decoder = Decoder::new(Limits::default());
    decoder.set_version(Version::V1_2);
    decoder
}

fn frames_in(decoder: &mut Decoder) -> usize {
    let items = std::iter::from_fn(|| decoder.decode().unwrap_or_default());
    items
        .filter(|item| matches!(black_box(item), Item::Frame(_)))
        .count()
}

/// 4 headers (with `content-length`) and 128 bytes.
fn small() -> Frame {
    Frame::new(Command::Send)
        .with_header("destination", "/topic/prices.eu")
        .with_header("content-type", "application/json")
        .with_header("receipt", "message-4711")
        .with_body(vec![b'x'; 128])
}

fn many_headers() -> Frame {
    (0..16).fold(small(), |frame, index| {
        frame.with_header(&format!("x-header-{index}"), "a value of middling length")
    })
}

criterion_group!(benches, codec);
criterion_main!(benches);
