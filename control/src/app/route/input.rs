//! What a request says about a route, checked as far as the request alone can be.

use config::name::{HostPattern, PathPrefix};
use config::snapshot::{FlowPolicy, TlsMode};

use super::super::input::{Input, Said};
use super::target::{self, Written};
use crate::store::text;

/// Members that may be set.
pub const KNOWN: &[&str] = &[
    "host",
    "path",
    "target",
    "targets",
    "tls",
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
];

/// Members of INVENTORY 2.1 that gateways do not honour yet.
const PLANNED: &[&str] = &[
    "listener",
    "listeners",
    "upstream_tls",
    "strip_prefix",
    "add_prefix",
    "headers",
    "timeouts",
    "body_limit",
    "lb",
    "stickiness",
    "health_check",
    "retry",
    "auth",
    "source_acl",
    "rate_limit",
    "maintenance",
    "weight",
    "certificate",
    "match",
];

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
    pub targets: Option<Vec<Option<Written>>>,
    /// The public side.
    pub tls: Said<TlsMode>,
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
}

/// Reads a draft; what is wrong is noted in `input`.
pub fn read(input: &mut Input) -> Draft {
    input.unsupported(PLANNED);
    input.read_only(SHOWN);
    protocol(input);
    Draft {
        host: input.parsed("host", "invalid", HostPattern::parse),
        path: input.parsed("path", "invalid", PathPrefix::parse),
        targets: targets(input),
        tls: tls(input),
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

fn protocol(input: &mut Input) {
    match input.text("protocol") {
        Said::This(protocol) if !protocol.eq_ignore_ascii_case("http") => {
            input.invalid(
                "protocol",
                "unsupported",
                format!("protocol {protocol:?} is not supported yet; targets speak http"),
            );
        }
        Said::This(_) | Said::Null | Said::Nothing => {}
    }
}

fn tls(input: &mut Input) -> Said<TlsMode> {
    match input.text("tls") {
        Said::Nothing => Said::Nothing,
        Said::Null => Said::Null,
        Said::This(mode) => match (text::tls(&mode), mode.as_str()) {
            (Ok(mode), _) => Said::This(mode),
            (Err(_), "upload" | "acme" | "passthrough") => {
                let message = format!("tls {mode:?} is not supported yet; supported are off and self-signed");
                input.invalid("tls", "unsupported", message);
                Said::Nothing
            }
            (Err(why), _) => {
                input.invalid("tls", "invalid", why);
                Said::Nothing
            }
        },
    }
}

/// `None` stands where a text could not be parsed.
fn targets(input: &mut Input) -> Option<Vec<Option<Written>>> {
    let (one, many) = (input.text("target").some(), input.texts("targets").some());
    let (field, texts) = match (one, many) {
        (None, None) => return None,
        (Some(one), None) => ("target", vec![one]),
        (None, Some(many)) => ("targets", many),
        (Some(one), Some(many)) if many == [one.as_str()] => ("targets", many),
        (Some(_), Some(_)) => {
            input.invalid("target", "invalid", "give either target or targets");
            return None;
        }
    };
    if texts.is_empty() || texts.len() > config::limits::ENDPOINTS_MAX {
        let most = config::limits::ENDPOINTS_MAX;
        input.invalid(field, "range", format!("a route has 1 to {most} targets"));
        return None;
    }
    let mut written = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match target::parse(text) {
            Ok(target) => written.push(Some(target)),
            Err((code, message)) => {
                let name = if field == "target" { "target".to_owned() } else { format!("targets[{place}]") };
                input.invalid(name, code, message);
                written.push(None);
            }
        }
    }
    Some(written)
}
