//! How long one changed route takes from objects to table: it should not depend on how many others there are.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench stops at the first surprise")]

#[path = "table/world.rs"]
mod world;

use config::delta;
use config::snapshot::Generation;
use config::table::RouteTable;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use world::{SIZES, object, snapshot};

fn one_change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one changed route");
    for size in SIZES {
        let old = snapshot(size);
        let table = RouteTable::compile(&old).unwrap();
        let mut new = old.clone().numbered(Generation(2));
        new.put(object(size / 2, "/changed"));
        let change = delta::diff(&old, &new);
        group.bench_function(BenchmarkId::new("put", size), |bencher| {
            bencher.iter(|| {
                let mut new = old.clone().numbered(Generation(2));
                new.put(object(size / 2, "/changed"));
                new
            });
        });
        group.bench_function(BenchmarkId::new("diff", size), |bencher| {
            bencher.iter(|| delta::diff(&old, &new));
        });
        group.bench_function(BenchmarkId::new("apply", size), |bencher| {
            bencher.iter(|| delta::apply(&old, &change).unwrap());
        });
        group.bench_function(BenchmarkId::new("recompile", size), |bencher| {
            bencher.iter(|| table.recompile(&old, &new, &change).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, one_change);
criterion_main!(benches);
