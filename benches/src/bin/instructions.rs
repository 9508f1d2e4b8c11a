//! Instructions of the steps of the request path, counted by callgrind: the same on a noisy machine as on a quiet one.
//!
//! Needs valgrind. Runs itself under it twice for each step, with different counts, so that the start cancels out. Fails where a step costs
//! more than the committed baseline.

use std::fs;
use std::hint::black_box;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use config::id::{EndpointId, RouteId};
use config::name::{HostPattern, Namespace, PathPrefix};
use config::snapshot::{
    Action, Endpoint, FlowPolicy, Generation, Lineage, Object, Route, Snapshot, TlsMode, Upstream, Value,
};
use config::table::{Facts, RouteTable};
use config::target::Target;
use gateway::http::measure::Steps;

const REQUEST: &[u8] = b"GET /api/v1/items?page=2 HTTP/1.1\r\nHost: h77.bench.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef\r\n\
Connection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 22 Nov 2026 19:00:00 GMT\r\nContent-Type: text/plain\r\n\
Content-Length: 1024\r\nConnection: keep-alive\r\nCache-Control: no-cache\r\n\r\n";
const HOSTS: u32 = 10_000;
/// What the steps cost when this was last looked at, a line each.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.baseline");
/// Growth of a step that another compiler or layout may bring.
const TOLERANCE_PERCENT: u64 = 3;
/// Set in the environment, it makes this run the baseline.
const UPDATE: &str = "GATEHOUSE_UPDATE_BASELINE";
/// Repetitions of the two runs.
const RUNS: (u64, u64) = (1_000, 3_000);

/// Counts instructions of the request path.
#[derive(Parser)]
struct Arguments {
    /// One step alone, as often as said: what runs under valgrind.
    #[arg(long, hide = true, requires = "times")]
    step: Option<Step>,
    #[arg(long, hide = true)]
    times: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The request head into ranges.
    ParseRequest,
    /// The strict door.
    Gate,
    /// The route among 10 000 hosts.
    LookUp,
    /// The head that goes upstream.
    RewriteRequest,
    /// The response head into ranges.
    ParseResponse,
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let (Some(step), Some(times)) = (arguments.step, arguments.times) {
        return repeat(step, times);
    }
    let baseline = fs::read_to_string(BASELINE).context("the baseline is missing")?;
    let before = |name: &str| {
        let line = baseline.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse::<u64>().ok())
    };
    let (mut now, mut is_dearer) = (String::new(), false);
    println!("instructions each, callgrind; baseline:");
    for step in Step::value_variants() {
        let (few, many) = (count(*step, RUNS.0)?, count(*step, RUNS.1)?);
        let (name, each) = (format!("{step:?}"), many.saturating_sub(few) / (RUNS.1 - RUNS.0));
        let before = before(&name);
        let grew = before.is_none_or(|before| each * 100 > before * (100 + TOLERANCE_PERCENT));
        is_dearer |= grew;
        let before = before.map_or("none".into(), |before| before.to_string());
        println!("  {name}: {each}; {before}{}", if grew { "  DEARER" } else { "" });
        now += &format!("{name} {each}\n");
    }
    if std::env::var_os(UPDATE).is_some() {
        return Ok(fs::write(BASELINE, now)?);
    }
    if is_dearer {
        bail!("a step costs over {TOLERANCE_PERCENT} % more than in {BASELINE}; {UPDATE}=1 takes it over");
    }
    Ok(())
}

fn count(step: Step, times: u64) -> Result<u64> {
    let name = step.to_possible_value().context("every step has a name")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--step", name.get_name(), "--times", &times.to_string()])
        .output()
        .context("valgrind is needed")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("valgrind said {text}");
    }
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    line.and_then(|(_, number)| number.trim().parse().ok()).with_context(|| format!("valgrind said {text}"))
}

fn repeat(step: Step, times: u64) -> Result<()> {
    let mut steps = Steps::default();
    match step {
        Step::ParseRequest => (0..times).for_each(|_| {
            black_box(steps.parse_request(black_box(REQUEST))).ok();
        }),
        Step::ParseResponse => (0..times).for_each(|_| {
            black_box(steps.parse_response(black_box(RESPONSE))).ok();
        }),
        // Each needs what comes before it; the difference to the step before is its own.
        Step::Gate => (0..times).for_each(|_| drop(black_box(steps.gate(black_box(REQUEST))))),
        Step::RewriteRequest => (0..times).for_each(|_| {
            black_box(steps.rewrite(black_box(REQUEST))).ok();
        }),
        Step::LookUp => {
            let table = table()?;
            let client = IpAddr::from([192, 0, 2, 1]);
            for _ in 0..times {
                let facts = Facts {
                    host: black_box("h77.bench.example"),
                    path: "/api/v1/items",
                    query: "page=2",
                    method: "GET",
                    fields: &(),
                    client,
                };
                black_box(table.route(&facts).is_some());
            }
        }
    }
    Ok(())
}

fn table() -> Result<RouteTable> {
    let routes = (0..HOSTS).filter_map(|number| Object::encode(&Value::Route(route(number)?)));
    let snapshot = Snapshot::of(Lineage::default(), Generation(1), routes);
    Ok(RouteTable::compile(&snapshot)?)
}

fn route(number: u32) -> Option<Route> {
    let mut id = [0; 16];
    id.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    let endpoint = Endpoint {
        id: EndpointId::from_bytes(id),
        target: Target::Address(([10, 9, 8, 7], 80).into()),
        loopback_ok: false,
        vm: None,
        weight: 1,
        draining: false,
    };
    Some(Route {
        id: RouteId::from_bytes(id),
        namespace: Namespace::parse("default").ok()?,
        host: HostPattern::parse(&format!("h{number}.bench.example")).ok()?,
        path: PathPrefix::root(),
        matchers: None,
        filters: None,
        timeouts: None,
        tls_policy: None,
        tls: TlsMode::Off,
        redirect_https: false,
        hsts_seconds: None,
        websocket: false,
        action: Action::Forward(Upstream { endpoints: [endpoint].into(), policy: None }),
        on_change: FlowPolicy::Keep,
        on_delete: FlowPolicy::Keep,
    })
}
