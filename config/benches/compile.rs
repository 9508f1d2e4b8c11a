//! How long a whole snapshot takes to compile (aim: 100 000 routes well under a second), and what a route weighs.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops at a surprise"
)]

#[path = "table/world.rs"]
mod world;

use config::table::RouteTable;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use world::{SIZES, snapshot};

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for size in SIZES {
        let whole = snapshot(size);
        group.bench_function(BenchmarkId::new("whole", size), |bencher| {
            bencher.iter_with_large_drop(|| RouteTable::compile(&whole).unwrap());
        });
    }
    group.finish();
    weigh();
}

fn weigh() {
    for size in SIZES {
        let mut kept = None;
        let built = allocation_counter::measure(|| kept = Some(snapshot(size)));
        let compiled = allocation_counter::measure(|| {
            let table = kept.as_ref().map(|whole| RouteTable::compile(whole).unwrap());
            std::mem::forget(table);
        });
        let per_route = |bytes: i64| bytes / i64::from(size);
        println!(
            "weight/{size}: {} bytes a route in the snapshot, {} in the table",
            per_route(built.bytes_current),
            per_route(compiled.bytes_current)
        );
    }
}

criterion_group!(benches, compile);
criterion_main!(benches);
