//! The public side of a route: its mode, what goes with it, and the rules of what a pass-through cannot do.

use config::snapshot::check::Invalid;
use config::snapshot::{TlsMode, UpstreamPolicy};

use super::super::input::{Input, Said};
use super::super::{App, Error};
use crate::options::upstream::scheme::Scheme;
use crate::publish::build;
use crate::store::route::RouteRow;

/// Writes the mode and what goes with it into a row.
pub fn apply(
    row: &mut RouteRow,
    (mode, redirect_https, hsts_seconds): (Said<TlsMode>, Said<bool>, Said<Option<u32>>),
    input: &mut Input,
) {
    let before = row.tls;
    row.tls = mode.merged(row.tls, TlsMode::Off);
    let by_default = row.tls != TlsMode::Off;
    // A new mode brings its own default; a mode that stays keeps what was set.
    let kept = if row.tls == before { row.redirect_https } else { by_default };
    row.redirect_https = redirect_https.merged(kept, by_default);
    row.hsts_seconds = hsts_seconds.merged(row.hsts_seconds, None);
    if row.tls == TlsMode::Off && row.redirect_https {
        let message = "redirect_https needs tls: with tls off nothing answers https";
        input.invalid("redirect_https", "invalid", message);
    }
    if row.tls == TlsMode::Off && row.hsts_seconds.is_some() {
        let message = "hsts_seconds needs tls: browsers ignore it on plain http";
        input.invalid("hsts_seconds", "invalid", message);
    }
}

/// The members of a body behind what the model's rules of TLS call a field.
const PLACES: &[(&str, &str)] = &[("upstream.policy", "upstream"), ("action", "target")];

/// Checks the rules between TLS and everything else, which are the model's. Called when the rest is written.
///
/// `scheme` is that of the targets that were said: `https://` says of a pass-through what the upstream speaks, which it
/// does with the client, so nothing of ours verifies it.
pub fn rules(app: &App, row: &mut RouteRow, scheme: Option<Scheme>, input: &mut Input) -> Result<(), Error> {
    if row.tls == TlsMode::Passthrough && scheme == Some(Scheme::Https) {
        plain(row);
    }
    if !input.is_sound() || row.tls != TlsMode::Passthrough && row.tls_policy.is_none() {
        return Ok(());
    }
    let mut published = row.clone();
    // The rules hold for what may be enabled later as well; the address of the admin API plays no part in them.
    published.enabled = true;
    let Some(route) = build::route(&published, Some(([127, 0, 0, 1], 0).into()), app.keys.as_ref())? else {
        return Ok(());
    };
    for Invalid { field, message } in route.check().err().into_iter().flatten() {
        let known = PLACES.iter().find(|(model, _)| *model == field);
        let field = known.map_or(field.as_str(), |(_, said)| *said);
        // What else the model finds has been named in the words of its own group.
        input.invalid(field, "invalid", format!("{field}: {message}"));
    }
    Ok(())
}

fn plain(row: &mut RouteRow) {
    if let Some(policy) = &mut row.policy {
        policy.tls = None;
        if **policy == UpstreamPolicy::default() {
            row.policy = None;
        }
    }
}
