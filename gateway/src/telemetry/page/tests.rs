use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use config::id::RouteId;

use super::*;

fn page() -> String {
    let dir = tempfile::tempdir().unwrap();
    let worker = crate::worker::testing::worker(dir.path());
    worker.counters.full(Full::Source);
    worker.counters.retry();
    worker.counters.rejected_by_rate();
    worker.counters.auth_failure_http();
    let route = Some(RouteId::from_bytes([1; 16]));
    for ms in [0, 1, 2, 70, 45_000] {
        worker.routes.count(route, b"GET", 204, Duration::from_millis(ms));
    }
    worker.routes.count(None, b"\"{}\n", 400, Duration::ZERO);
    let _open = worker.counters.connection(Kind::Ssh);
    let _under_way = worker.counters.request_under_way();
    render(&worker.shared)
}

#[test]
fn what_was_counted_is_on_the_page() {
    let page = page();
    let route = RouteId::from_bytes([1; 16]);
    for line in [
        format!("gatehouse_http_requests_total{{route=\"{route}\",method=\"GET\",code=\"204\"}} 5"),
        "gatehouse_http_requests_total{route=\"none\",method=\"other\",code=\"400\"} 1".into(),
        format!("gatehouse_http_request_duration_seconds_bucket{{route=\"{route}\",le=\"0.001\"}} 2"),
        format!("gatehouse_http_request_duration_seconds_bucket{{route=\"{route}\",le=\"0.1\"}} 4"),
        format!("gatehouse_http_request_duration_seconds_sum{{route=\"{route}\"}} 45.073"),
        "gatehouse_http_requests_in_flight 1".into(),
        "gatehouse_admission_refused_total{bound=\"source\"} 1".into(),
        "gatehouse_auth_failures_total{kind=\"http\"} 1".into(),
        "gatehouse_ratelimit_rejected_total 1".into(),
        "gatehouse_upstream_retries_total 1".into(),
        "gatehouse_access_log_dropped_total 0".into(),
        "gatehouse_open_connections{kind=\"ssh\"} 1".into(),
        "gatehouse_open_connections{kind=\"http\"} 0".into(),
        "gatehouse_worker_open_connections{worker=\"0\"} 1".into(),
        "gatehouse_ssh_sessions{mode=\"jump\"} 0".into(),
        "gatehouse_config_revision 0".into(),
        "gatehouse_control_connected 0".into(),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn the_page_is_valid_exposition_text() {
    let page = Exposition::parse(&page());
    for name in [
        "gatehouse_http_request_duration_seconds",
        "gatehouse_tls_cert_not_after_timestamp_seconds",
        "gatehouse_config_last_apply_success",
        "gatehouse_config_last_apply_timestamp_seconds",
        "gatehouse_config_apply_duration_seconds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
    ] {
        assert!(page.types.contains_key(name), "{name}");
    }
    assert!(page.samples.iter().any(|sample| sample.name.ends_with("_bucket")));
}

#[test]
fn a_label_keeps_what_would_end_it_inside() {
    assert_eq!(Escaped("a\\b\"c\nd").to_string(), "a\\\\b\\\"c\\nd");
    let text =
        format!("# HELP x_total X.\n# TYPE x_total counter\nx_total{{a=\"{}\"}} 1\n", Escaped("\\\"\n{},"));
    let parsed = Exposition::parse(&text);
    assert_eq!(parsed.samples[0].labels["a"], "\\\"\n{},");
}

/// What `promtool check metrics` looks at, and no more: panics at what is not valid.
struct Exposition {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Exposition {
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'));
        let mut page = Self { types: BTreeMap::new(), samples: Vec::new() };
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        let mut seen = BTreeSet::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()) && !text.is_empty(), "HELP twice: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(helped.contains(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(page.types.insert(name.into(), kind.into()).is_none(), "TYPE twice: {line}");
                family = name.to_owned();
            } else {
                assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "twice: {line}");
                let sample = sample(line);
                let kind = &page.types[&family];
                let suffixes: &[&str] =
                    if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                let belongs = suffixes.iter().any(|suffix| sample.name == format!("{family}{suffix}"));
                assert!(belongs, "{line} stands in {family}");
                page.samples.push(sample);
            }
        }
        page.check_histograms();
        page
    }

    fn check_histograms(&self) {
        for family in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
            for sample in self.samples.iter().filter(|sample| sample.name == format!("{family}_bucket")) {
                let mut labels = sample.labels.clone();
                let le = labels.remove("le").expect("a bucket has its bound").parse().unwrap();
                series.entry(format!("{labels:?}")).or_default().push((le, sample.value));
            }
            for (labels, buckets) in series {
                assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{labels}");
                let (last, count) = *buckets.last().unwrap();
                assert!(last.is_infinite(), "{labels}");
                let total = self.samples.iter().find(|sample| {
                    sample.name == format!("{family}_count") && format!("{:?}", sample.labels) == labels
                });
                assert_eq!(total.unwrap().value.to_bits(), count.to_bits(), "{labels}");
            }
        }
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, after) = rest.trim_start_matches(',').split_once("=\"").unwrap();
            let mut value = String::new();
            let mut chars = after.char_indices();
            let end = loop {
                match chars.next().expect("a value ends") {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        one @ ('"' | '\\') => one,
                        other => panic!("no escape: {other} in {line}"),
                    }),
                    (_, one) => value.push(one),
                }
            };
            assert!(labels.insert(key.to_owned(), value).is_none(), "{line}");
            rest = &after[end + 1..];
        }
        rest = &rest[1..];
    }
    let value = rest.trim_start();
    Sample { name: name.into(), labels, value: value.parse().unwrap_or_else(|_| panic!("no number: {line}")) }
}
