//! Why a URL goes where it goes, as far as the caller may see.

pub(super) mod tls;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::id::RouteId;
use config::limits::FIELDS_MAX;
use config::name::HostName;
use config::snapshot::{Kind, ObjectKey, Route, Snapshot, Value};
use config::table::explain::Failed;
use config::table::{Facts, Fields};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Violation;
use super::{App, Caller, Error};
use crate::auth::rbac::{Action, Resource};
pub use tls::TlsView;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// `http://HOST/PATH?QUERY`, or without the scheme.
    pub url: String,
    /// The method; GET when absent.
    pub method: Option<String>,
    /// The client's address; loopback when absent.
    pub client: Option<String>,
    /// The fields of the request, each as `NAME: VALUE`.
    pub headers: Vec<String>,
}

/// Fields of a question.
struct Asked(Vec<(String, String)>);

impl Asked {
    fn read(headers: &[String]) -> Result<Self, Error> {
        let read = |text: &String| {
            let (name, value) = text.split_once(':')?;
            let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            is_name(name).then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let fields: Option<Vec<_>> = headers.iter().map(read).collect();
        fields.filter(|fields| fields.len() <= FIELDS_MAX).map(Self).ok_or_else(|| {
            unparsable("header", "a header is written NAME: VALUE, and there are at most a hundred")
        })
    }
}

impl Fields for Asked {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_bytes())
    }

    fn any(&self, name: &str, fits: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.0.iter().any(|(own, value)| own == name && fits(value.as_bytes()))
    }
}

/// The answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExplainView {
    /// The generation that answers.
    pub generation: u64,
    /// The host as it is matched.
    pub host: String,
    /// The path as it is matched.
    pub path: String,
    /// The route that answers; null when none does or the caller may not see it.
    pub route: Option<String>,
    /// Whether some route answers, be it one that the caller may not see.
    pub answered: bool,
    /// What a handshake for the host meets; null when no route answers or the caller may not see it.
    pub tls: Option<TlsView>,
    /// Routes in the order in which they were considered.
    pub candidates: Vec<CandidateView>,
}

/// One route that was considered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CandidateView {
    /// Its id.
    pub route: String,
    /// Its host pattern.
    pub host: String,
    /// Its path prefix.
    pub path: String,
    /// Higher goes first.
    pub priority: i16,
    /// `matched`, or the first condition that failed.
    pub verdict: String,
}

/// Explains a URL.
pub fn explain(app: &App, caller: &Caller, question: &Question) -> Result<ExplainView, Error> {
    caller.allow(Action::Read, Resource::Explain)?;
    let (host, path, query) = parts(&question.url)?;
    let client = match question.client.as_deref().map(str::parse::<IpAddr>) {
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Some(Ok(client)) => client,
        Some(Err(_)) => return Err(unparsable("client", "client is an IP address")),
    };
    let fields = Asked::read(&question.headers)?;
    let state = app.desired.current();
    let facts = Facts {
        host: &host,
        path,
        query,
        method: question.method.as_deref().unwrap_or("GET"),
        fields: &fields,
        client,
    };
    let explanation = state.table.explain(&facts);
    let visible = |id: RouteId| route(&state.snapshot, id).filter(|route| caller.sees(&route.namespace));
    let candidates = explanation.candidates.iter().filter_map(|candidate| {
        let route = visible(candidate.route)?;
        Some(CandidateView {
            route: candidate.route.to_string(),
            host: route.host.to_string(),
            path: route.path.to_string(),
            priority: candidate.priority,
            verdict: verdict(candidate.failed.as_ref()),
        })
    });
    let matched = explanation.matched.and_then(visible);
    Ok(ExplainView {
        tls: matched.map(|route| tls::of(&state.snapshot, &route, &host)),
        generation: state.snapshot.generation().0,
        path: path.to_owned(),
        route: explanation.matched.filter(|id| visible(*id).is_some()).map(|id| id.to_string()),
        answered: explanation.matched.is_some(),
        candidates: candidates.collect(),
        host,
    })
}

fn verdict(failed: Option<&Failed>) -> String {
    let why = match failed {
        None => "matched",
        Some(Failed::ShadowedHost) => "a more exact host answers this name",
        Some(Failed::Path) => "the path does not begin with its prefix",
        Some(Failed::NotExact) => "the path is longer, and it wants exactly its own",
        Some(Failed::Method) => "the method is none of its methods",
        Some(Failed::Header(name)) => return format!("the header {name} is not as it wants it"),
        Some(Failed::Query(name)) => return format!("the query parameter {name} is not as it wants it"),
        Some(Failed::Client) => "the client is in none of its networks",
        Some(Failed::LowerPriority) => "a route of higher priority matched",
        Some(Failed::ShorterPrefix) => "a longer prefix matched",
        Some(Failed::PrefixOnly) => "a route with exactly this path matched",
        Some(Failed::FewerConditions) => "a route with more conditions matched",
        Some(Failed::Younger) => "an older route that ranks the same matched",
    };
    why.to_owned()
}

fn route(snapshot: &Snapshot, id: RouteId) -> Option<Route> {
    match snapshot.get(ObjectKey { kind: Kind::ROUTE, id: id.to_bytes() })?.decode() {
        Ok(Value::Route(route)) => Some(route),
        _ => None,
    }
}

/// Host, path and query of a URL.
fn parts(url: &str) -> Result<(String, &str, &str), Error> {
    if url.is_empty() {
        return Err(unparsable("url", "url is missing"));
    }
    let rest = match url.split_once("://") {
        Some(("http" | "https" | "ws" | "wss", rest)) => rest,
        Some(_) => return Err(unparsable("url", "url has a scheme that no route answers")),
        None => url,
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = if path.is_empty() { "/" } else { path };
    Ok((host(authority)?, path, query))
}

/// The host of an authority, as it is matched.
fn host(authority: &str) -> Result<String, Error> {
    let wrong = |why: &str| Err(unparsable("url", why));
    if authority.contains('@') {
        return wrong("url has a user name, which no client sends; leave it out");
    }
    let (name, rest) = match authority.split_once(']') {
        Some((address, rest)) => (address, rest),
        None => {
            authority.split_at_checked(authority.find(':').unwrap_or(authority.len())).unwrap_or_default()
        }
    };
    let is_port = |port: &str| {
        port.is_empty() || port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    };
    if !(rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)) {
        return wrong("url has no port from 0 to 65535 behind its host");
    }
    // An address is no host name, and stands as it came.
    match name.strip_prefix('[') {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => Ok(format!("[{address}]")),
        Some(_) => wrong("url has no IPv6 address in its brackets"),
        None if name.parse::<Ipv4Addr>().is_ok() => Ok(name.to_owned()),
        None => match HostName::parse(name) {
            Ok(name) => Ok(name.as_str().to_owned()),
            Err(why) => wrong(&why.to_string()),
        },
    }
}

fn unparsable(field: &str, message: &str) -> Error {
    Error::Unparsable(vec![Violation::new(field, "unparsable", message)])
}
