//! The upstream of a route in a change: the scheme of its targets, its options, its secrets, and who may set them.

use config::secret::Secret;
use config::snapshot::{Protocol, UpstreamPolicy, UpstreamTls, Verify};
use serde_json::{Value, json};

use super::super::input::{Input, Said};
use super::super::{App, Caller, Error};
use super::options::{Group, boxed, group};
use crate::auth::rbac::{Action, Resource};
use crate::options::upstream::scheme::Scheme;
use crate::options::upstream::tls::{KEY_PURPOSE, fits};
use crate::options::upstream::{self, RIVALS};
use crate::store::route::RouteRow;

/// What was said: the group, and the scheme of new targets.
pub struct Wanted {
    /// `upstream`.
    pub said: Said<Value>,
    /// Of the targets, when they were said with one.
    pub scheme: Option<Scheme>,
    /// Whether targets were said.
    pub moves: bool,
}

/// Writes the upstream's options into a row; broken rules are noted in `input`.
///
/// Errors: a right is missing, or the keys of control fail.
pub fn apply(
    app: &App,
    caller: &Caller,
    (row, wanted): (&mut RouteRow, Wanted),
    input: &mut Input,
) -> Result<(), Error> {
    if row.answer.is_some() || row.service.is_some() {
        if matches!(wanted.said, Said::This(_)) {
            input.invalid("upstream", "invalid", "upstream is for routes that lead to endpoints");
        }
        (row.policy, row.client_key_sealed) = (None, None);
        return Ok(());
    }
    let is_said = !matches!(wanted.said, Said::Nothing);
    if !is_said && wanted.scheme.is_none_or(|scheme| scheme == Scheme::of(row.policy.as_deref())) {
        // The targets may still lead what is not verified elsewhere.
        return unverified(caller, row.policy.as_deref(), wanted.moves);
    }
    let old = row.policy.take();
    let scheme = wanted.scheme.unwrap_or_else(|| Scheme::of(old.as_deref()));
    let patch = match &wanted.said {
        Said::This(patch) => patch.clone(),
        Said::Null | Said::Nothing => json!({}),
    };
    let base = match wanted.said {
        Said::Null => None,
        Said::This(_) | Said::Nothing => old.as_deref().map(|old| stripped(old, &wanted, scheme)),
    };
    contradictions(&patch, wanted.scheme, scheme, input);
    let merged = Group { name: "upstream", old: base, rivals: RIVALS };
    // A key that was not said again is in its own place; `client_key` sees to it.
    let rules = |policy: &UpstreamPolicy| {
        let found = policy.check().err().unwrap_or_default();
        let found: Vec<_> = found.into_iter().filter(|flaw| flaw.field != "tls.client.key").collect();
        if found.is_empty() { Ok(()) } else { Err(found) }
    };
    let read = group(input, merged, Said::This(patch.clone()), (upstream::read, rules, upstream::PLACES));
    let Said::This(mut policy) = read else { return Ok(()) };
    if scheme.is_secure() && policy.tls.is_none() {
        policy.tls = Some(UpstreamTls { verify: Verify::System, server_name: None, client: None });
    }
    let chosen = patch.get("protocol").is_some_and(|protocol| !protocol.is_null());
    if scheme.is_http2() && !chosen {
        policy.protocol = Protocol::Http2;
    }
    client_key(app, (row, old.as_deref()), &mut policy, input)?;
    let touches = wanted.moves || patch.get("tls").is_some();
    unverified(caller, Some(&policy), touches)?;
    row.policy = boxed(Said::This(policy), None);
    Ok(())
}

/// What is shown now, without what the scheme of new targets says otherwise.
fn stripped(old: &UpstreamPolicy, wanted: &Wanted, scheme: Scheme) -> Value {
    let mut value = upstream::show(old);
    if let Some(members) = value.as_object_mut() {
        if wanted.scheme.is_some() {
            members.remove("protocol");
        }
        if !scheme.is_secure() {
            members.remove("tls");
        }
    }
    value
}

fn contradictions(patch: &Value, said: Option<Scheme>, scheme: Scheme, input: &mut Input) {
    if !scheme.is_secure() && patch.get("tls").is_some_and(|tls| !tls.is_null()) {
        let message = "upstream.tls: the targets are spoken to without TLS; write them as https:// or h2://";
        input.invalid("upstream.tls", "invalid", message);
    }
    let says_http1 = patch.get("protocol").and_then(Value::as_str) == Some("http1");
    if let Some(said) = said.filter(|said| said.is_http2() && says_http1) {
        let message = format!("upstream.protocol: a target with {}:// speaks HTTP/2", said.as_str());
        input.invalid("upstream.protocol", "invalid", message);
    }
}

/// An endpoint that need not prove itself is root's alone, and so is leading such a route elsewhere.
fn unverified(caller: &Caller, policy: Option<&UpstreamPolicy>, touches: bool) -> Result<(), Error> {
    let verify = policy.and_then(|policy| policy.tls.as_ref()).map(|tls| &tls.verify);
    if touches && verify == Some(&Verify::Nothing) {
        caller.allow(Action::Create, Resource::UnverifiedUpstream)?;
    }
    Ok(())
}

/// Seals a key that was said; keeps the old one for a certificate that it fits.
fn client_key(
    app: &App,
    (row, old): (&mut RouteRow, Option<&UpstreamPolicy>),
    policy: &mut UpstreamPolicy,
    input: &mut Input,
) -> Result<(), Error> {
    let Some(client) = policy.tls.as_mut().and_then(|tls| tls.client.as_mut()) else {
        row.client_key_sealed = None;
        return Ok(());
    };
    let failed = |why: &dyn std::fmt::Display| Error::Internal(format!("a client key of a route: {why}"));
    let old = old.and_then(|old| old.tls.as_ref()?.client.as_ref());
    let is_new = !client.key.expose().is_empty();
    let key = match (&row.client_key_sealed, is_new) {
        (_, true) => std::mem::replace(&mut client.key, Secret::new(Vec::new())),
        (Some(_), false) if old.is_some_and(|old| old.chain == client.chain) => return Ok(()),
        (Some(sealed), false) => app.keys.unseal(KEY_PURPOSE, sealed).map_err(|why| failed(&why))?,
        (None, false) => {
            let message =
                "upstream.tls.client_key_pem: it is missing; a certificate proves nothing without its key";
            input.invalid("upstream.tls.client_key_pem", "required", message);
            return Ok(());
        }
    };
    if let Err(why) = fits(&client.chain, &key) {
        let message = format!("upstream.tls.client_key_pem: {why}");
        input.invalid("upstream.tls.client_key_pem", "invalid", message);
        return Ok(());
    }
    if is_new {
        row.client_key_sealed = Some(app.keys.seal(KEY_PURPOSE, key.expose()).map_err(|why| failed(&why))?);
    }
    Ok(())
}
