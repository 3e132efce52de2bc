//! `cargo bench --bench compute`: what each piece of the compute path takes, per transaction, and the floor under it.
//!
//! `cargo bench --bench compute -- whole` measures a part of them.

use std::time::Duration;

use centinela_bench::compute::{NAMES, kernel};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn compute(criterion: &mut Criterion) {
    for name in NAMES {
        let mut group = criterion.benchmark_group("compute");
        let Some(mut kernel) = kernel(name) else { continue };
        group.throughput(Throughput::Elements(kernel.transactions));
        group.bench_function(name, |bencher| bencher.iter(|| kernel.run()));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = compute
}
criterion_main!(benches);
