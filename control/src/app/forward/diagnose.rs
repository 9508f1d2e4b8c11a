//! What is wrong with a forward: from its row to the machine it leads to, each step judged by itself.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use config::limits::DIAGNOSE_DIAL_MS;
use config::snapshot::Transport;
use config::target as rules;
use serde::Serialize;
use tokio::net::TcpStream;
use utoipa::ToSchema;

use super::super::{App, Caller, Error};
use super::state::GatewayState;
use super::{found, ports, sentence, state, view};
use crate::auth::rbac::{Action, Resource};
use crate::options::matchers::network_text;
use crate::store;
use crate::store::forward::ForwardRow;

/// What a look at a forward found.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Diagnosis {
    /// Which.
    pub id: String,
    /// `tcp 10022 to 10.0.0.5:22`.
    pub forward: String,
    /// Whether nothing failed.
    pub ok: bool,
    /// Each step, in the order in which a connection meets them.
    pub checks: Vec<Check>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// `forward`, `ports`, `gateway NAME`, `sources`, `machine`, `target` or `kernel`.
    pub check: String,
    /// `ok`, `warning`, `failed` or `unknown`.
    pub state: &'static str,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Check {
    fn new(check: impl Into<String>, state: &'static str, message: impl Into<String>) -> Self {
        Self { check: check.into(), state, message: message.into(), advice: None }
    }

    fn ok(check: &str, message: impl Into<String>) -> Self {
        Self::new(check, "ok", message)
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Looks into a forward. Control connects to its target, so it takes the right to lead traffic there.
pub async fn diagnose(app: &App, caller: &Caller, id: &str) -> Result<Diagnosis, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let (row, gateways, conflict) = {
        let mut conn = app.db.read().await?;
        let row = found(&mut conn, caller, id).await?;
        caller.allow(Action::Use, Resource::Forward(&row.namespace))?;
        let gateways = state::of(app, &mut conn, caller, (row.id, state::Wanted::of(row.enabled))).await?;
        let conflict = ports::conflict(&mut conn, caller, &row, &ports::own(app)).await?;
        (row, gateways, conflict)
    };
    let mut checks = vec![enabled(&row), free(conflict)];
    checks.extend(listening(&gateways));
    checks.push(sources(&row));
    checks.push(machine(app, &row).await?);
    checks.push(target(app, &row).await);
    checks.extend(proxied(&row));
    checks
        .push(Check::ok("kernel", "no rule and no ip_forward are needed: the gateway carries it by itself"));
    let ok = checks.iter().all(|check| check.state != "failed");
    Ok(Diagnosis { id: row.id.to_string(), forward: sentence(&row), ok, checks })
}

fn enabled(row: &ForwardRow) -> Check {
    if row.enabled {
        return Check::ok("forward", "it is enabled");
    }
    Check::new("forward", "failed", "it is disabled, so no gateway listens for it")
        .advise(format!("gatehouse forward enable {}", row.id))
}

fn free(conflict: Option<String>) -> Check {
    match conflict {
        None => Check::ok("ports", "no other forward and no listener of ours has them"),
        Some(message) => Check::new("ports", "failed", message).advise("give it another host_port"),
    }
}

/// Each gateway's part; that there is none is a failure as well.
fn listening(gateways: &[GatewayState]) -> Vec<Check> {
    let one = |gateway: &GatewayState| {
        let check = format!("gateway {}", gateway.gateway);
        let generation = gateway.generation.map_or("none".to_owned(), |generation| generation.to_string());
        let why = gateway.why.clone().unwrap_or_default();
        match gateway.state {
            "listening" => Check::new(check, "ok", format!("it listens, in generation {generation}")),
            "off" => Check::new(check, "ok", "it does not listen, as the forward is disabled"),
            "closing" => Check::new(check, "failed", why).advise(
                "look again in a moment; a worker that stays busy is a fault of ours, see the gateway's log",
            ),
            "away" => {
                Check::new(check, "warning", why).advise("see `gatehouse status` and the gateway's log")
            }
            "waiting" => Check::new(check, "failed", format!("{why}; it serves generation {generation}"))
                .advise("look again in a moment; a gateway that stays behind is named by `gatehouse status`"),
            "refused" => Check::new(check, "failed", why).advise("`gatehouse gateway show` has the reason"),
            _ => {
                let advice = if why.contains("another program") {
                    "find the program with `ss -ltnup` on the gateway's machine and stop it, or give another host_port"
                } else {
                    "mend what it says on the gateway's machine, or give another host_port or bind"
                };
                Check::new(check, "failed", format!("it does not listen: {why}")).advise(advice)
            }
        }
    };
    let mut checks: Vec<_> = gateways.iter().map(one).collect();
    if gateways.iter().all(|gateway| gateway.state == "away") {
        let message = "no gateway is connected, so nobody can say whether anything listens";
        let start = "start one: `gatehouse up`, or `gatehouse gateway run` on another machine";
        checks.push(Check::new("gateways", "failed", message).advise(start));
    }
    checks
}

fn sources(row: &ForwardRow) -> Check {
    if let Some(warning) = view::of(row).warnings.into_iter().next() {
        let advice = format!("gatehouse forward update {} --source NETWORK", row.id);
        return Check::new("sources", "warning", warning).advise(advice);
    }
    if row.sources.is_empty() {
        return Check::ok("sources", "everybody may connect");
    }
    let nets: Vec<_> = row.sources.iter().map(network_text).collect();
    Check::ok("sources", format!("only {} may connect; others are closed at once", nets.join(", ")))
}

async fn machine(app: &App, row: &ForwardRow) -> Result<Check, Error> {
    let Some(vm) = row.leads.vm() else {
        return Ok(Check::ok("machine", format!("{} is an address that root wrote, no VM", row.leads.ip())));
    };
    let there = store::vm::by_id(&mut app.db.read().await?, vm.id).await?;
    Ok(match there {
        Some(vm) => Check::ok(
            "machine",
            format!("it is VM {} of namespace {}, at {}", vm.name, vm.namespace, vm.address),
        ),
        None => Check::new("machine", "failed", format!("VM {} is gone", vm.name))
            .advise(format!("gatehouse forward rm {}", row.id)),
    })
}

/// Whether the machine answers on the first port, as seen from here.
async fn target(app: &App, row: &ForwardRow) -> Check {
    let address = SocketAddr::new(row.leads.ip(), row.target_port);
    if let Err(why) = rules::check(address, row.leads.loopback_ok(), &app.own_listeners()) {
        return Check::new("target", "failed", format!("{address}: {why}")).advise("name another target");
    }
    if row.transport == Transport::Udp {
        let message = format!("{address}/udp cannot be judged: silence and success look alike");
        return Check::new("target", "unknown", message).advise("try it with a client of its protocol");
    }
    let within = Duration::from_millis(DIAGNOSE_DIAL_MS);
    let dialled = tokio::time::timeout(within, TcpStream::connect(address)).await;
    let here = "from control's machine; a gateway elsewhere may see it differently";
    match dialled {
        Ok(Ok(_)) => Check::ok("target", format!("{address} accepts connections, {here}")),
        Ok(Err(cause)) => {
            let unreachable = [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable];
            let advice = if cause.kind() == io::ErrorKind::ConnectionRefused {
                "start the service on the machine, or mend vm_port"
            } else if unreachable.contains(&cause.kind()) {
                "is the machine on, its address right, and a route to its network there?"
            } else {
                "look at the machine and the network in between"
            };
            Check::new("target", "failed", format!("{address} does not accept connections ({cause}), {here}"))
                .advise(advice)
        }
        Err(_) => {
            let message = format!("{address} did not answer within {} seconds, {here}", within.as_secs());
            let advice = "is the machine on, its address right, and does a firewall on the way drop packets?";
            Check::new("target", "failed", message).advise(advice)
        }
    }
}

fn proxied(row: &ForwardRow) -> Option<Check> {
    let version = store::text::proxy_protocol_text(row.proxy_protocol?);
    let message = format!("each connection begins with a PROXY protocol {version} header");
    let advice = "the service must expect that header, or it closes each connection; \
                  proxy_protocol off takes it away";
    Some(Check::new("proxy_protocol", "warning", message).advise(advice))
}
