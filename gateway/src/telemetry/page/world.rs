//! What the generation in force holds, certificates and endpoints, and the sessions that stand on it.

use std::fmt::Write as _;

use config::limits;

use super::{Escaped, Page};
use crate::session::SessionKind;
use crate::worker::Shared;

pub(super) fn render(page: &mut Page, shared: &Shared) {
    certificates(page, shared);
    endpoints(page, shared);
    sessions(page, shared);
    audit(page, shared);
}

/// One sample for each identity, named after the first name it serves; those that end first, if they are very many.
fn certificates(page: &mut Page, shared: &Shared) {
    let name = "gatehouse_tls_cert_not_after_timestamp_seconds";
    page.family(name, "gauge", "When a certificate ends, by its first name and its id.");
    let Some(live) = shared.current.pin() else { return };
    let mut ready: Vec<_> = live.certs.identities().collect();
    ready.sort_by_key(|one| (one.validity.not_after, one.id));
    for one in ready.into_iter().take(limits::METRIC_CERTIFICATES_MAX) {
        let first = one.names.first().map(ToString::to_string).unwrap_or_default();
        let (first, id, end) = (Escaped(first), one.id, one.validity.not_after);
        let _ = writeln!(page.0, "{name}{{name=\"{first}\",id=\"{id}\"}} {end}");
    }
}

/// One sample for each endpoint that was used or checked; those that are down first, if they are very many.
fn endpoints(page: &mut Page, shared: &Shared) {
    let name = "gatehouse_upstream_healthy";
    page.family(name, "gauge", "Whether an endpoint that was used or checked takes requests.");
    let mut all = std::collections::BTreeSet::new();
    shared.health.each(|route, endpoint, is_healthy| {
        all.insert((is_healthy, route, endpoint));
    });
    for (is_healthy, route, endpoint) in all.into_iter().take(limits::METRIC_ENDPOINTS_MAX) {
        let healthy = u8::from(is_healthy);
        let _ = writeln!(page.0, "{name}{{route=\"{route}\",endpoint=\"{endpoint}\"}} {healthy}");
    }
}

fn audit(page: &mut Page, shared: &Shared) {
    let help = "Events for the audit that control has not written yet.";
    page.gauge("gatehouse_audit_waiting", help, shared.audit.waiting());
    let help = "Events for the audit that were lost, because too many waited.";
    page.counter("gatehouse_audit_lost_total", help, shared.audit.lost_in_all());
}

fn sessions(page: &mut Page, shared: &Shared) {
    let list = shared.sessions.list();
    let count = |kind| list.iter().filter(|session| session.kind == kind).count();
    let name = "gatehouse_ssh_sessions";
    page.family(name, "gauge", "Open SSH channels, by what they are.");
    page.labelled(name, "mode", "jump", count(SessionKind::Jump));
    page.gauge("gatehouse_http_tunnels", "Upgraded HTTP connections open now.", count(SessionKind::Upgrade));
    let consoles = count(SessionKind::Console) + count(SessionKind::Look);
    page.gauge("gatehouse_consoles", "Consoles open now.", consoles);
    let help = "Connections open now whose TLS is the upstream's.";
    page.gauge("gatehouse_tls_passthrough", help, count(SessionKind::Passthrough));
}
