//! The address at which a ticket opens its console: a route to the consoles where there is one, since that is the one
//! people know and TLS guards, otherwise the gateway's own listener.

use std::net::{IpAddr, SocketAddr};

use config::id::GatewayId;
use config::name::HostName;
use config::snapshot::{ConsoleKind, TlsMode};

use super::super::explain::tls;
use super::super::{App, Caller, Error};
use crate::store::route::RouteRow;
use crate::store::{self, Conn};

/// Where consoles are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    is_secured: bool,
    /// Host, with a port where it is not the scheme's own.
    authority: String,
    /// What stands before `/console/`.
    prefix: String,
}

impl Place {
    /// The address that this ticket opens, for a browser or for a WebSocket.
    pub fn url(&self, is_websocket: bool, ticket: &str) -> String {
        let scheme = match (is_websocket, self.is_secured) {
            (false, true) => "https",
            (false, false) => "http",
            (true, true) => "wss",
            (true, false) => "ws",
        };
        format!("{scheme}://{}{}/console/{ticket}", self.authority, self.prefix)
    }
}

/// Reads a host as people write it: a name or an address.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(bracketed(ip));
    }
    HostName::parse(text).map(|name| name.to_string()).map_err(|why| why.to_string())
}

fn bracketed(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// Where consoles of this kind are asked for at this gateway. `host` is what the caller knows the gateway by; without it
/// and without a route to the consoles, it is the address of the gateway's listener, else the host by which the caller
/// reached control, which is the gateway's for all that is known here.
pub(super) async fn of(
    app: &App,
    conn: &mut Conn,
    (kind, gateway): (ConsoleKind, GatewayId),
    (caller, host): (&Caller, Option<&str>),
) -> Result<Place, Error> {
    let listeners = app.gateways.said(gateway).map(|said| said.listeners).unwrap_or_default();
    let at = |kind: &str| listeners.iter().find(|listening| listening.kind == kind).map(|at| at.address);
    let (service, usual) = if kind == ConsoleKind::Vnc { ("novnc", 6_080) } else { ("ttyd", 7_681) };
    let routes = store::route::to_consoles(conn, service).await?;
    if let Some(place) = by_route(&routes, host, (at("https"), at("http"))) {
        return Ok(place);
    }
    let address = at(service);
    let known = address.filter(|at| !at.ip().is_unspecified()).map(|at| bracketed(at.ip()));
    let reached = || self::host(caller.reached.as_deref()?).ok();
    let found = host.map(str::to_owned).or(known).or_else(reached);
    let host = found.unwrap_or_else(|| "localhost".to_owned());
    let port = address.map_or(usual, |address| address.port());
    // Both are spoken on that port, and the gateway refuses a ticket in the clear of a name that it can prove.
    let is_secured = tls::has_identity(&app.desired.current().snapshot, &host);
    Ok(Place { is_secured, authority: format!("{host}:{port}"), prefix: String::new() })
}

/// The first route with a name of its own, TLS before plain; with `host`, the one of that name.
fn by_route(
    routes: &[RouteRow],
    host: Option<&str>,
    (https, http): (Option<SocketAddr>, Option<SocketAddr>),
) -> Option<Place> {
    let is_meant = |route: &&RouteRow| {
        let name = route.host.to_string();
        let is_named = host.map_or(!name.contains('*'), |host| host.eq_ignore_ascii_case(&name));
        route.enabled && is_named && route.matchers.is_none()
    };
    let is_plain = |route: &RouteRow| route.tls == TlsMode::Off;
    let route = routes.iter().filter(is_meant).min_by_key(|route| is_plain(route))?;
    let (own, usual) = if is_plain(route) { (http, 80) } else { (https, 443) };
    let (name, port) = (route.host.to_string(), own.map_or(usual, |address| address.port()));
    let authority = if port == usual { name } else { format!("{name}:{port}") };
    let prefix = route.path.as_str().trim_end_matches('/').to_owned();
    Some(Place { is_secured: !is_plain(route), authority, prefix })
}
