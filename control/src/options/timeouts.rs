//! `timeouts`: how long a route waits.

use config::limits::{TIMEOUT_MS_MAX, TUNNEL_IDLE_MS_MAX};
use config::snapshot::Timeouts;
use serde_json::{Map, Value};

use super::node::Node;
use super::units::time_text;

/// Members.
pub const KNOWN: &[&str] = &["connect", "request_body", "response_head", "idle_body", "whole", "tunnel"];

/// Reads the group.
pub fn read(node: &mut Node<'_>) -> Timeouts {
    let mut time = |name, most: u32| node.time(name, 1, u64::from(most));
    Timeouts {
        connect_ms: time("connect", TIMEOUT_MS_MAX),
        request_body_ms: time("request_body", TIMEOUT_MS_MAX),
        response_head_ms: time("response_head", TIMEOUT_MS_MAX),
        idle_body_ms: time("idle_body", TIMEOUT_MS_MAX),
        whole_ms: time("whole", TIMEOUT_MS_MAX),
        tunnel_ms: time("tunnel", TUNNEL_IDLE_MS_MAX),
    }
}

/// Shows the group; what keeps its default is left out.
pub fn show(timeouts: &Timeouts) -> Value {
    let Timeouts { connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms } =
        *timeouts;
    let all = [connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms];
    let said = KNOWN
        .iter()
        .zip(all)
        .filter_map(|(name, ms)| Some(((*name).to_owned(), Value::String(time_text(u64::from(ms?))))));
    Value::Object(said.collect::<Map<_, _>>())
}
