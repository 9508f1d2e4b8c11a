//! What a request says about a route, checked as far as the request alone can be.

use config::name::{HostPattern, PathPrefix};
use config::snapshot::{FlowPolicy, TlsMode};

use super::super::input::{Input, Said};
use super::options::{self, Options};
use super::target::{self, Asked};
use crate::options::Flaws;
use crate::store::text;

/// Members that may be set.
pub const KNOWN: &[&str] = &[
    "host",
    "path",
    "target",
    "targets",
    "tls",
    "certificate",
    "tls_policy",
    "redirect_https",
    "hsts_seconds",
    "websocket",
    "on_change",
    "on_delete",
    "enabled",
    "note",
    "namespace",
    "owner",
    "protocol",
    "match",
    "filters",
    "timeouts",
    "upstream",
    "redirect",
    "respond",
];

/// Members of INVENTORY 2.1 that gateways do not honour yet.
const PLANNED: &[&str] = &["listener", "listeners"];

/// Members that are shown only.
const SHOWN: &[&str] = &["id", "revision", "created_at", "updated_at", "endpoints"];

/// What was said, in types that cannot be wrong.
#[derive(Debug)]
pub struct Draft {
    /// Which hosts.
    pub host: Said<HostPattern>,
    /// Which paths.
    pub path: Said<PathPrefix>,
    /// Where to.
    pub targets: Option<Vec<Option<Asked>>>,
    /// The public side.
    pub tls: Said<TlsMode>,
    /// The certificate, by id or name.
    pub certificate: Said<String>,
    /// Plain HTTP goes to https.
    pub redirect_https: Said<bool>,
    /// Strict-Transport-Security.
    pub hsts_seconds: Said<Option<u32>>,
    /// Upgrades.
    pub websocket: Said<bool>,
    /// Open flows at a change.
    pub on_change: Said<FlowPolicy>,
    /// Open flows at the deletion.
    pub on_delete: Said<FlowPolicy>,
    /// Whether it is published.
    pub enabled: Said<bool>,
    /// Free text.
    pub note: Said<String>,
    /// Whose it is said to be.
    pub owner: Said<String>,
    /// Everything else.
    pub options: Options,
}

/// Reads a draft; what is wrong is noted in `input`.
pub fn read(input: &mut Input) -> Draft {
    input.unsupported(PLANNED);
    input.moved(MOVED);
    input.read_only(SHOWN);
    protocol(input);
    Draft {
        host: input.parsed("host", "invalid", HostPattern::parse),
        path: input.parsed("path", "invalid", PathPrefix::parse),
        targets: targets(input),
        tls: tls(input),
        certificate: input.text("certificate"),
        redirect_https: input.truth("redirect_https"),
        hsts_seconds: match input.number("hsts_seconds", 0, u64::from(u32::MAX)) {
            Said::This(seconds) => Said::This(u32::try_from(seconds).ok()),
            Said::Null => Said::Null,
            Said::Nothing => Said::Nothing,
        },
        websocket: input.truth("websocket"),
        on_change: policy(input, "on_change"),
        on_delete: policy(input, "on_delete"),
        enabled: input.truth("enabled"),
        note: input.note("note"),
        owner: input.text("owner"),
        options: options::read(input),
    }
}

/// The text of the duration inside cannot be parsed: 400, as everywhere.
fn policy(input: &mut Input, name: &'static str) -> Said<FlowPolicy> {
    match input.text(name) {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::This(written) => match text::policy(&written) {
            Ok(policy) => Said::This(policy),
            Err(why) => {
                input.unparsable(name, why);
                Said::Nothing
            }
        },
    }
}

/// Members of INVENTORY 2.1 that have another name here.
const MOVED: &[(&str, &str)] = &[
    ("tls_min", "tls_policy.min_version"),
    ("client_ca", "tls_policy.client_ca_pem"),
    ("client_crl", "tls_policy.client_crl_pem"),
    ("upstream_tls", "upstream.tls"),
    ("strip_prefix", "filters.path.strip"),
    ("add_prefix", "filters.path.add"),
    ("headers", "filters.request_headers, filters.response_headers or match.headers"),
    ("body_limit", "filters.body_max"),
    ("lb", "upstream.balance"),
    ("stickiness", "upstream.sticky"),
    ("health_check", "upstream.check"),
    ("retry", "upstream.retry"),
    ("auth", "filters.basic_auth"),
    ("source_acl", "filters.allow and filters.deny"),
    ("rate_limit", "filters.rate"),
    ("maintenance", "filters.maintenance"),
    ("weight", "targets[].weight"),
];

fn protocol(input: &mut Input) {
    match input.text("protocol") {
        Said::This(protocol) if !protocol.eq_ignore_ascii_case("http") => {
            let message =
                format!("protocol {protocol:?} is not supported yet; what targets speak is their scheme");
            input.invalid("protocol", "unsupported", message);
        }
        Said::This(_) | Said::Null | Said::Nothing => {}
    }
}

fn tls(input: &mut Input) -> Said<TlsMode> {
    match input.text("tls") {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::This(mode) => match text::tls(&mode) {
            Ok(mode) => Said::This(mode),
            Err(why) => {
                input.invalid("tls", "invalid", why);
                Said::Nothing
            }
        },
    }
}

/// `None` stands where one could not be read.
fn targets(input: &mut Input) -> Option<Vec<Option<Asked>>> {
    let one = input.items("target").some();
    let many = input.items("targets").some();
    let (field, items) = match (one, many) {
        (None, None) => return None,
        (Some(one), None) => ("target", one),
        (None, Some(many)) => ("targets", many),
        (Some(one), Some(many)) if many == one => ("targets", many),
        (Some(_), Some(_)) => {
            input.invalid("target", "invalid", "give either target or targets");
            return None;
        }
    };
    let most = if field == "target" { 1 } else { config::limits::ENDPOINTS_MAX };
    if items.is_empty() || items.len() > most {
        let message = if most == 1 {
            "one target; several are targets".to_owned()
        } else {
            format!("a route has 1 to {most} targets")
        };
        input.invalid(field, "range", message);
        return None;
    }
    let mut flaws = Flaws::default();
    let read = |(number, item)| {
        let place = if field == "target" { "target".to_owned() } else { format!("targets[{number}]") };
        target::asked(item, &place, &mut flaws)
    };
    let asked = items.into_iter().enumerate().map(read).collect();
    input.absorb(flaws);
    Some(asked)
}
