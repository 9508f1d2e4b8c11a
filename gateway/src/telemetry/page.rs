//! The metrics page in the Prometheus text form: base units, bounded label sets, no host or path labels.

mod forwards;
mod process;
mod requests;
mod world;

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Counters;
use crate::guard::Full;
use crate::listener::Kind;
use crate::worker::Shared;

/// Renders every metric of the process.
pub fn render(shared: &Shared) -> String {
    let mut page = Page::default();
    requests::render(&mut page, shared);
    traffic(&mut page, shared);
    trouble(&mut page, shared);
    state(&mut page, shared);
    world::render(&mut page, shared);
    forwards::render(&mut page, shared);
    process::render(&mut page);
    page.0
}

#[derive(Default)]
struct Page(String);

/// The value of a label as it is written between its quotes.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for one in self.0.to_string().chars() {
            match one {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                _ => f.write_char(one)?,
            }
        }
        Ok(())
    }
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn labelled(&mut self, name: &str, label: &str, value: impl Display, number: impl Display) {
        let _ = writeln!(self.0, "{name}{{{label}=\"{value}\"}} {number}");
    }

    fn counter(&mut self, name: &str, help: &str, number: u64) {
        self.family(name, "counter", help);
        let _ = writeln!(self.0, "{name} {number}");
    }

    fn gauge(&mut self, name: &str, help: &str, number: impl Display) {
        self.family(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {number}");
    }
}

fn traffic(page: &mut Page, shared: &Shared) {
    let metrics = &shared.metrics;
    let name = "gatehouse_connections_total";
    page.family(name, "counter", "Connections accepted, by kind of listener.");
    for kind in Kind::ALL {
        let sum = metrics.sum(|shard| shard.accepted.get(kind as usize).map_or(0, |n| n.load(Relaxed)));
        page.labelled(name, "kind", kind, sum);
    }
    let name = "gatehouse_open_connections";
    page.family(name, "gauge", "Connections open now, by kind of listener.");
    for kind in Kind::ALL {
        page.labelled(name, "kind", kind, metrics.open(kind));
    }
    let name = "gatehouse_worker_open_connections";
    page.family(
        name,
        "gauge",
        "Connections open now, by worker: the kernel spreads them by hash, not by load.",
    );
    for (index, shard) in metrics.shards().iter().enumerate().take(metrics.shards().len().saturating_sub(1)) {
        let open: i64 = shard.open.iter().map(|n| n.load(Relaxed)).sum();
        page.labelled(name, "worker", index, open.max(0));
    }
    page.gauge("gatehouse_open_sessions", "Tunnels and jumps open now.", shared.sessions.len());
    let name = "gatehouse_bytes_total";
    page.family(name, "counter", "Bytes of bodies and tunnels; up is towards the VM.");
    page.labelled(name, "dir", "up", metrics.sum(|shard| shard.bytes_up.load(Relaxed)));
    page.labelled(name, "dir", "down", metrics.sum(|shard| shard.bytes_down.load(Relaxed)));
}

fn trouble(page: &mut Page, shared: &Shared) {
    let metrics = &shared.metrics;
    let sum =
        |read: fn(&Counters) -> &std::sync::atomic::AtomicU64| metrics.sum(|shard| read(shard).load(Relaxed));
    let name = "gatehouse_http_requests_refused_total";
    page.counter(name, "Requests refused at the strict door.", sum(|shard| &shard.refused_requests));
    let name = "gatehouse_faults_total";
    page.family(name, "counter", "Requests that failed, by whose fault it was.");
    for (side, word) in ["downstream", "upstream", "internal"].into_iter().enumerate() {
        let sum = metrics.sum(|shard| shard.faults.get(side).map_or(0, |n| n.load(Relaxed)));
        page.labelled(name, "side", word, sum);
    }
    let name = "gatehouse_admission_refused_total";
    page.family(name, "counter", "Connections and sessions refused for want of room, by the bound reached.");
    for full in Full::ALL {
        let sum = metrics.sum(|shard| shard.full.get(full as usize).map_or(0, |n| n.load(Relaxed)));
        page.labelled(name, "bound", full.name(), sum);
    }
    let name = "gatehouse_tls_handshakes_total";
    page.family(name, "counter", "TLS handshakes, by result.");
    page.labelled(name, "result", "done", sum(|shard| &shard.handshakes));
    page.labelled(name, "result", "failed", sum(|shard| &shard.handshakes_failed));
    let name = "gatehouse_auth_failures_total";
    page.family(name, "counter", "Authentication attempts that were refused, by what was spoken.");
    page.labelled(name, "kind", "ssh", sum(|shard| &shard.auth_failures));
    page.labelled(name, "kind", "http", sum(|shard| &shard.auth_failures_http));
    let name = "gatehouse_ratelimit_rejected_total";
    page.counter(
        name,
        "Requests refused by a rate or in-flight limit.",
        sum(|shard| &shard.ratelimit_rejected),
    );
    let name = "gatehouse_address_denied_total";
    page.counter(name, "Requests refused by an address list.", sum(|shard| &shard.address_denied));
    let name = "gatehouse_tls_passthrough_total";
    let help = "Connections passed through to an upstream's own TLS.";
    page.counter(name, help, sum(|shard| &shard.passed_through));
    let name = "gatehouse_upstream_retries_total";
    page.counter(name, "Requests tried again after a first try failed.", sum(|shard| &shard.retries));
    let name = "gatehouse_http2_floods_total";
    page.counter(
        name,
        "HTTP/2 connections ended because their client only made work.",
        sum(|shard| &shard.h2_floods),
    );
    let name = "gatehouse_proxy_protocol_refused_total";
    page.counter(
        name,
        "Connections closed for want of the PROXY protocol header that they had to begin with.",
        sum(|shard| &shard.proxy_refused),
    );
    let name = "gatehouse_accept_errors_total";
    page.counter(name, "Accepts that failed.", sum(|shard| &shard.accept_errors));
    let name = "gatehouse_connection_panics_total";
    page.counter(name, "Connections ended by a bug in the gateway.", sum(|shard| &shard.panics));
    let name = "gatehouse_access_log_dropped_total";
    page.counter(
        name,
        "Lines of the access log that were lost because the disk did not keep up.",
        shared.access.dropped(),
    );
    let name = "gatehouse_log_lines_dropped_total";
    page.counter(name, "Log lines that their writer had no room for.", super::log::dropped());
}

fn state(page: &mut Page, shared: &Shared) {
    let gauges = &shared.gauges;
    let live = shared.current.pin();
    let generation = live.as_ref().map_or(0, |live| live.snapshot.generation().0);
    page.gauge("gatehouse_config_revision", "Generation in force; 0 before the first.", generation);
    let routes = live.as_ref().map_or(0, |live| live.table.routes_len());
    page.gauge("gatehouse_config_routes", "Routes of the generation in force.", routes);
    let name = "gatehouse_config_last_apply_success";
    let help = "Whether the last generation that came was put in force.";
    page.gauge(name, help, u8::from(gauges.last_apply_succeeded()));
    let name = "gatehouse_config_last_apply_timestamp_seconds";
    page.gauge(
        name,
        "When a generation last came into force.",
        Duration::from_millis(gauges.applied_at_ms()).as_secs_f64(),
    );
    let name = "gatehouse_config_apply_duration_seconds";
    page.gauge(name, "How long that took.", gauges.apply_duration().as_secs_f64());
    let name = "gatehouse_config_degraded";
    page.gauge(name, "Parts of the generation in force that are paused.", shared.degraded().len());
    let name = "gatehouse_control_connected";
    page.gauge(name, "Whether the stream to control is up.", u8::from(gauges.control_connected()));
    let name = "gatehouse_snapshot_age_seconds";
    let help = "Time since control last vouched for what is served; 0 while connected.";
    if let Some(age) = gauges.snapshot_age() {
        page.gauge(name, help, age.as_secs_f64());
    }
    page.gauge(
        "gatehouse_draining",
        "Whether the process is on its way out.",
        u8::from(shared.drain.is_draining()),
    );
    let paused = shared.listeners.load().iter().filter(|listed| listed.paused.is_some()).count();
    page.gauge("gatehouse_listeners_paused", "Listeners that cannot bind at the moment.", paused);
}

#[cfg(test)]
mod tests;
