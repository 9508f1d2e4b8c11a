//! How long a look-up takes, and whether it stays flat as the table grows.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench stops at the first surprise")]

#[path = "table/world.rs"]
mod world;

use std::hint::black_box;

use config::table::{Facts, RouteTable};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use world::{SIZES, host, snapshot};

/// Hosts that are asked for in turn: more than a cache line's worth, fewer than would measure main memory alone.
const ASKED: u32 = 1_024;

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup");
    for size in SIZES {
        let table = RouteTable::compile(&snapshot(size)).unwrap();
        for (name, hosts) in [
            ("hit", (0..ASKED).map(|n| host(n.wrapping_mul(7_919) % size)).collect::<Vec<_>>()),
            ("miss", (0..ASKED).map(|n| format!("none-{n}.example.org")).collect()),
        ] {
            let mut turn = hosts.iter().cycle();
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| {
                    let host = turn.next().map_or("", String::as_str);
                    let facts = Facts {
                        host,
                        path: "/index.html",
                        query: "",
                        method: "GET",
                        fields: &(),
                        client: [192, 0, 2, 1].into(),
                    };
                    black_box(table.route(black_box(&facts)).is_some())
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
