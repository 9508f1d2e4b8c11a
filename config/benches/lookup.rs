//! How long a look-up takes, and whether it stays flat as the table grows.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench stops at the first surprise")]

#[path = "table/world.rs"]
mod world;

use std::hint::black_box;

use config::snapshot::Matchers;
use config::table::{Facts, RouteTable};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use world::{SIZES, host, object_with, of_objects, snapshot};

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

/// One host with many routes: what conditions and a priority cost there.
fn conditions(criterion: &mut Criterion) {
    const ROUTES: u32 = 1_000;
    let path = |n: u32| format!("/app/{n}");
    let methods = |method: &str| Matchers { methods: [method.into()].into(), ..Matchers::default() };
    let plain = || (0..ROUTES).map(|n| object_with(n, "app.example.com", &path(n), None));
    let by_method = || {
        let routes = (0..ROUTES).flat_map(|n| [(2 * n, n, "GET"), (2 * n + 1, n, "POST")]);
        routes.map(|(id, n, method)| object_with(id, "app.example.com", &path(n), Some(methods(method))))
    };
    let first = Matchers { priority: 1, ..methods("PATCH") };
    let first = || object_with(3 * ROUTES, "app.example.com", "/", Some(first.clone()));
    let asked: Vec<String> =
        (0..ASKED).map(|n| format!("/app/{}/x", n.wrapping_mul(7_919) % ROUTES)).collect();
    let mut group = criterion.benchmark_group("lookup in one host");
    for (name, whole) in [
        ("plain", of_objects(plain())),
        ("a priority beside plain", of_objects(plain().chain([first()]))),
        ("by method", of_objects(by_method())),
    ] {
        let table = RouteTable::compile(&whole).unwrap();
        let mut turn = asked.iter().cycle();
        group.bench_function(BenchmarkId::new(name, ROUTES), |bencher| {
            bencher.iter(|| {
                let path = turn.next().map_or("", String::as_str);
                let (host, method, client) = ("app.example.com", "GET", [192, 0, 2, 1].into());
                let facts = Facts { host, path, query: "", method, fields: &(), client };
                black_box(table.route(black_box(&facts)).is_some())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, lookup, conditions);
criterion_main!(benches);
