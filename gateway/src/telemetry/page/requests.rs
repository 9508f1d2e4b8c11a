//! Requests by route, method and status, and how long they took.

use std::fmt::Write as _;
use std::time::Instant;

use config::snapshot::{Kind, ObjectKey};

use super::super::routes::{BUCKETS, Sum, Whose};
use super::Page;
use crate::worker::Shared;

// Writing to a String cannot fail, so the results below are dropped.
pub(super) fn render(page: &mut Page, shared: &Shared) {
    let live = shared.current.pin();
    let exists = |id: config::id::RouteId| {
        let key = ObjectKey { kind: Kind::ROUTE, id: id.to_bytes() };
        live.as_ref().is_some_and(|live| live.snapshot.get(key).is_some())
    };
    let sums = shared.metrics.routes().sums(exists, Instant::now());
    let name = "gatehouse_http_requests_total";
    page.family(
        name,
        "counter",
        "Requests that ended. Route none matched no route, other is beyond the bound; code none was not answered.",
    );
    for (route, sum) in &sums {
        for ((method, code), count) in &sum.requests {
            let _ =
                writeln!(page.0, "{name}{{route=\"{route}\",method=\"{method}\",code=\"{code}\"}} {count}");
        }
    }
    let name = "gatehouse_http_request_duration_seconds";
    page.family(name, "histogram", "Time from a request's complete head to the end of its answer.");
    for (route, sum) in &sums {
        histogram(page, name, *route, sum);
    }
    let name = "gatehouse_http_requests_in_flight";
    let in_flight = |shard: &std::sync::Arc<super::Counters>| shard.in_flight.load(super::Relaxed);
    let in_flight: i64 = shared.metrics.shards().iter().map(in_flight).sum();
    page.gauge(name, "HTTP requests under way now.", in_flight.max(0));
}

fn histogram(page: &mut Page, name: &str, route: Whose, sum: &Sum) {
    let mut count = 0;
    for ((_, le), in_bucket) in BUCKETS.iter().zip(&sum.buckets) {
        count += in_bucket;
        let _ = writeln!(page.0, "{name}_bucket{{route=\"{route}\",le=\"{le}\"}} {count}");
    }
    count += sum.over;
    let _ = writeln!(page.0, "{name}_bucket{{route=\"{route}\",le=\"+Inf\"}} {count}");
    let _ = writeln!(page.0, "{name}_sum{{route=\"{route}\"}} {}", sum.micros as f64 / 1e6);
    let _ = writeln!(page.0, "{name}_count{{route=\"{route}\"}} {count}");
}
