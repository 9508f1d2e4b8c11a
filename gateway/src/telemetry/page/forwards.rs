//! The port forwards: what came in by each, what was refused, and which are paused.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::id::ForwardId;
use config::limits;

use super::Page;
use crate::forward::{Flows, Refused};
use crate::worker::Shared;

pub(super) fn render(page: &mut Page, shared: &Shared) {
    let state = &shared.forwards;
    let count = shared.current.pin().map_or(0, |live| live.forwards.len());
    page.gauge("gatehouse_forwards", "Port forwards of the generation in force.", count);
    let paused = state.paused.load().len();
    page.gauge("gatehouse_forwards_paused", "Port forwards that cannot have a port of theirs.", paused);
    page.gauge("gatehouse_udp_sessions", "Clients whose datagrams are forwarded now.", state.udp_open());
    let all: Vec<_> = state.all().into_iter().take(limits::METRIC_FORWARDS_MAX).collect();
    let name = "gatehouse_l4_bytes_total";
    page.family(name, "counter", "Bytes of flows that ended, by port forward; up is towards the VM.");
    for (id, flows) in &all {
        for (dir, bytes) in ["up", "down"].into_iter().zip(&flows.bytes) {
            let _ = writeln!(page.0, "{name}{{forward=\"{id}\",dir=\"{dir}\"}} {}", bytes.load(Relaxed));
        }
    }
    flows(page, &all);
    refused(page, &all);
}

type All = [(ForwardId, Arc<Flows>)];

fn flows(page: &mut Page, all: &All) {
    let name = "gatehouse_forward_open_flows";
    page.family(name, "gauge", "Connections and UDP sessions open now, by port forward.");
    for (id, flows) in all {
        page.labelled(name, "forward", id, flows.open());
    }
    let name = "gatehouse_forward_flows_total";
    page.family(name, "counter", "Connections and UDP sessions that were let in, by port forward.");
    for (id, flows) in all {
        page.labelled(name, "forward", id, flows.begun.load(Relaxed));
    }
    let name = "gatehouse_forward_displaced_total";
    page.family(name, "counter", "UDP sessions that ended to make room for others, by port forward.");
    for (id, flows) in all {
        page.labelled(name, "forward", id, flows.displaced.load(Relaxed));
    }
}

/// Only the reasons there were: most forwards have none.
fn refused(page: &mut Page, all: &All) {
    let name = "gatehouse_forward_refused_total";
    page.family(name, "counter", "Flows that were not let in, and datagrams that were lost, by reason.");
    for (id, flows) in all {
        for why in Refused::ALL.into_iter().filter(|why| flows.refused(*why) > 0) {
            let (reason, count) = (why.name(), flows.refused(why));
            let _ = writeln!(page.0, "{name}{{forward=\"{id}\",reason=\"{reason}\"}} {count}");
        }
    }
}
