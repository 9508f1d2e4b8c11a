//! The metrics page in the Prometheus text form: base units, bounded label sets, no host or path labels.

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
    traffic(&mut page, shared);
    trouble(&mut page, shared);
    state(&mut page, shared);
    process(&mut page);
    page.0
}

#[derive(Default)]
struct Page(String);

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
    let name = "gatehouse_http_requests_total";
    page.family(name, "counter", "Requests answered, by class of the status.");
    for (class, word) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
        let sum = metrics.sum(|shard| shard.responses.get(class).map_or(0, |n| n.load(Relaxed)));
        page.labelled(name, "code", word, sum);
    }
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
    let in_flight: i64 = metrics.shards().iter().map(|shard| shard.in_flight.load(Relaxed)).sum();
    page.gauge("gatehouse_http_requests_in_flight", "HTTP requests under way now.", in_flight.max(0));
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
    let name = "gatehouse_access_records_dropped_total";
    page.counter(name, "Access records that their writer had no room for.", shared.access.dropped());
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
    page.gauge(name, "Parts of the generation in force that are paused.", gauges.degraded().len());
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

/// The process as /proc shows it; what cannot be read is left out.
fn process(page: &mut Page) {
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open file descriptors.", entries.count());
    }
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(max) = files.current {
        page.gauge("process_max_fds", "Most file descriptors that may be open.", max);
    }
    let Some(stat) = Stat::read() else { return };
    page.gauge("process_resident_memory_bytes", "Memory in use.", stat.resident_bytes);
    page.gauge("process_virtual_memory_bytes", "Address space in use.", stat.virtual_bytes);
    page.gauge("process_threads", "Threads.", stat.threads);
    let name = "process_cpu_seconds_total";
    page.family(name, "counter", "Processor time used, user and system.");
    let _ =
        writeln!(page.0, "{name} {}", stat.cpu_ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
}

struct Stat {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses and may hold anything; the third follows the last one.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * rustix::param::page_size() as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        let dir = tempfile::tempdir().unwrap();
        let worker = crate::worker::testing::worker(dir.path());
        worker.counters.response(204);
        worker.counters.response(502);
        worker.counters.full(Full::Source);
        let _open = worker.counters.connection(Kind::Ssh);
        render(&worker.shared)
    }

    #[test]
    fn what_was_counted_is_on_the_page() {
        let page = page();
        for line in [
            "gatehouse_http_requests_total{code=\"2xx\"} 1",
            "gatehouse_http_requests_total{code=\"5xx\"} 1",
            "gatehouse_admission_refused_total{bound=\"source\"} 1",
            "gatehouse_open_connections{kind=\"ssh\"} 1",
            "gatehouse_open_connections{kind=\"http\"} 0",
            "gatehouse_worker_open_connections{worker=\"0\"} 1",
            "gatehouse_config_revision 0",
            "gatehouse_control_connected 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn every_sample_has_a_family_and_every_family_appears_once() {
        let page = page();
        let families: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(families.iter().filter(|family| **family == name).count(), 1, "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
        assert!(
            families.contains(&"process_open_fds") && families.contains(&"process_resident_memory_bytes")
        );
    }
}
