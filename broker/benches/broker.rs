//! Measures the time of each workload.

mod workloads;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn broker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broker");
    for workload in workloads::ALL {
        group.throughput(Throughput::Elements(workload.units));
        group.bench_function(workload.name, |bencher| {
            bencher.iter_batched_ref(workload.prepare, |run| run(), BatchSize::PerIteration);
        });
    }
}

criterion_group!(benches, broker);
criterion_main!(benches);
