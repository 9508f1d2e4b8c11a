//! `filters`: what a route does to requests and answers on their way.

use std::collections::BTreeMap;

use config::limits::{BASIC_USERS_MAX, FILTERS_MAX, TIMEOUT_MS_MAX};
use config::name::PathPrefix;
use config::secret::Secret;
use config::snapshot::{
    BasicAuth, BasicUser, Edit, ErrorPage, FieldEdit, Filters, Maintenance, PathRewrite, RateKey, RateLimit,
};
use serde_json::{Map, Value, json};

use super::Places;
use super::action::{content, show_content};
use super::matchers::{is_token, network, network_text};
use super::node::{Flaws, Node};
use super::units::{size_text, time_text};

/// Members.
pub const KNOWN: &[&str] = &[
    "maintenance",
    "allow",
    "deny",
    "rate",
    "basic_auth",
    "in_flight_max",
    "body_max",
    "path",
    "request_headers",
    "response_headers",
    "error_pages",
    "gzip",
    "upgrades",
];
/// Members of `maintenance`.
pub const MAINTENANCE: &[&str] = &["content_type", "body", "body_base64", "retry_after"];
/// Members of `rate`.
pub const RATE: &[&str] = &["requests", "per", "burst", "key"];
/// Members of `basic_auth`.
pub const BASIC_AUTH: &[&str] = &["realm", "users"];
/// Members of one of its users.
pub const BASIC_USER: &[&str] = &["name", "password"];
/// Members of `path`.
pub const PATH: &[&str] = &["strip", "add"];
/// Members of a change to a field of a request.
pub const REQUEST_HEADER: &[&str] = &["set", "add", "remove", "value"];
/// Members of a change to a field of a response.
pub const RESPONSE_HEADER: &[&str] = &["set", "add", "remove", "value", "always"];
/// Members of an error page.
pub const ERROR_PAGE: &[&str] = &["statuses", "content_type", "body", "body_base64", "replace_origin"];

/// Where the model's rules speak of other names.
pub const PLACES: Places = &[
    ("page", ""),
    ("content", ""),
    ("media_type", "content_type"),
    ("request_fields", "request_headers"),
    ("response_fields", "response_headers"),
    ("name", ""),
    ("edit", ""),
    ("password_hash", "password"),
];

/// Longest password in bytes: more costs the same, and nobody types it.
const PASSWORD_BYTES_MAX: usize = 256;
/// Of a maintenance that does not say it.
const RETRY_AFTER_SECONDS: u32 = 300;

/// Where the hashes of passwords come from.
#[derive(Debug, Clone, Copy)]
pub enum Hashes<'a> {
    /// From the row that is being read.
    Row,
    /// From what was asked: made anew for the users at these places, or kept from the old ones.
    Asked {
        /// By place in `basic_auth.users`.
        new: &'a BTreeMap<usize, Secret<String>>,
        /// Before the change.
        old: Option<&'a BasicAuth>,
    },
}

/// Reads the group.
pub fn read(node: &mut Node<'_>, hashes: Hashes<'_>) -> Filters {
    Filters {
        maintenance: maintenance(node),
        allow: node.texts("allow", FILTERS_MAX, network).into(),
        deny: node.texts("deny", FILTERS_MAX, network).into(),
        rate: node.object("rate", rate).flatten(),
        basic_auth: node.object("basic_auth", |node| basic_auth(node, hashes)),
        in_flight_max: node.number("in_flight_max", 1, i64::from(u32::MAX)),
        body_bytes_max: node.size("body_max", 0, i64::MAX.unsigned_abs()),
        path: node.object("path", path),
        request_fields: node.objects("request_headers", FILTERS_MAX, |node| edit(node, false)).into(),
        response_fields: node.objects("response_headers", FILTERS_MAX, |node| edit(node, true)).into(),
        error_pages: node.objects("error_pages", FILTERS_MAX, error_page).into(),
        gzip: node.truth("gzip").unwrap_or_default(),
        upgrades: node.texts("upgrades", FILTERS_MAX, |text| Ok::<_, String>(text.into())).into(),
    }
}

/// An object, or `true` for one that says nothing.
fn maintenance(node: &mut Node<'_>) -> Option<Maintenance> {
    let read = |node: &mut Node<'_>| Maintenance {
        page: content(node),
        retry_after_seconds: node.seconds("retry_after", 0).unwrap_or(RETRY_AFTER_SECONDS),
    };
    match node.switch("maintenance") {
        Some(is_on) => is_on.then_some(Maintenance { page: None, retry_after_seconds: RETRY_AFTER_SECONDS }),
        None => node.object("maintenance", read),
    }
}

fn rate(node: &mut Node<'_>) -> Option<RateLimit> {
    let requests = node.number("requests", 1, i64::from(u32::MAX));
    if requests.is_none() {
        node.missing("requests", "it says how many pass in the time");
    }
    let per_ms = node.time("per", 1, u64::from(TIMEOUT_MS_MAX)).unwrap_or(1_000);
    let burst = node.number("burst", 1, i64::from(u32::MAX));
    let key = match node.text("key").as_deref() {
        None | Some("client") => RateKey::Client,
        Some("route") => RateKey::Route,
        Some(_) => {
            node.invalid("key", "invalid", "write client or route");
            RateKey::Client
        }
    };
    Some(RateLimit { requests: requests?, per_ms, burst: burst.or(requests)?, key })
}

fn basic_auth(node: &mut Node<'_>, hashes: Hashes<'_>) -> BasicAuth {
    let realm = node.text("realm").unwrap_or_else(|| "restricted".into()).into();
    let mut users: Vec<BasicUser> = Vec::new();
    let mut place = 0;
    node.objects("users", BASIC_USERS_MAX, |node| {
        let name = node.text("name");
        if name.is_none() {
            node.missing("name", "it says who");
        }
        let hash = hash(node, place, name.as_deref(), hashes);
        place = place.saturating_add(1);
        if users.iter().any(|user| Some(&*user.name) == name.as_deref()) {
            node.invalid("name", "repeated", "the user is given twice");
        }
        users.push(BasicUser { name: name?.into(), password_hash: hash? });
        Some(())
    });
    if users.is_empty() {
        node.missing("users", "name at least one, with a password");
    }
    BasicAuth { realm, users: users.into() }
}

fn hash(node: &mut Node<'_>, place: usize, name: Option<&str>, hashes: Hashes<'_>) -> Option<Secret<String>> {
    let Hashes::Asked { new, old } = hashes else { return node.text("password_hash").map(Secret::new) };
    if node.has("password") {
        let clear = Secret::new(node.text("password")?);
        let clear = clear.expose();
        if clear.is_empty() || clear.len() > PASSWORD_BYTES_MAX || clear.chars().any(char::is_control) {
            let rule = format!("1 to {PASSWORD_BYTES_MAX} bytes without control characters");
            node.invalid("password", "invalid", rule);
        }
        // Without a hash something else is wrong already, and nothing was hashed.
        return Some(new.get(&place).cloned().unwrap_or_else(|| Secret::new(String::new())));
    }
    drop(node.take("password"));
    let kept = old.into_iter().flat_map(|old| &old.users).find(|user| Some(&*user.name) == name);
    let kept = kept.map(|user| user.password_hash.clone());
    if kept.is_none() && name.is_some() {
        node.missing("password", "a new user needs one");
    }
    kept
}

/// The passwords that a body says, by place in `basic_auth.users`.
pub fn passwords(filters: &Value) -> Vec<(usize, Secret<String>)> {
    let users = filters.get("basic_auth").and_then(|auth| auth.get("users"));
    let users = match users {
        Some(Value::Array(users)) => users.as_slice(),
        Some(one @ Value::Object(_)) => std::slice::from_ref(one),
        _ => &[],
    };
    let said = |(place, user): (usize, &Value)| {
        Some((place, Secret::new(user.get("password")?.as_str()?.to_owned())))
    };
    users.iter().enumerate().take(BASIC_USERS_MAX).filter_map(said).collect()
}

fn path(node: &mut Node<'_>) -> PathRewrite {
    let mut prefix = |name| node.parsed(name, PathPrefix::parse).unwrap_or_else(PathPrefix::root);
    PathRewrite { strip: prefix("strip"), add: prefix("add") }
}

fn edit(node: &mut Node<'_>, is_response: bool) -> Option<FieldEdit> {
    let said = ["set", "add", "remove"].iter().filter(|name| node.has(name)).count();
    if said != 1 {
        node.invalid_here("invalid", "say one of set, add and remove, with the name of a field");
    }
    let name = |text: &str| match is_token(text) {
        true => Ok(Box::<str>::from(text)),
        false => Err("it is no name of a header field"),
    };
    let (set, add) = (node.parsed("set", name), node.parsed("add", name));
    let remove = node.parsed("remove", name);
    let value = node.parsed("value", |text| match text.chars().any(char::is_control) {
        true => Err("it has a control character"),
        false => Ok(Box::<str>::from(text)),
    });
    let always = is_response && node.truth("always").unwrap_or_default();
    if remove.is_some() && value.is_some() {
        node.invalid("value", "invalid", "what is removed has no value");
    }
    if (set.is_some() || add.is_some()) && value.is_none() {
        node.missing("value", "write one");
    }
    let (name, edit) = match (set, add, remove) {
        (Some(name), _, _) => (name, Edit::Set(value?)),
        (_, Some(name), _) => (name, Edit::Add(value?)),
        (_, _, name) => (name?, Edit::Remove),
    };
    Some(FieldEdit { name, edit, always })
}

fn error_page(node: &mut Node<'_>) -> Option<ErrorPage> {
    let statuses = node.list("statuses", 200, status);
    let mut statuses: Vec<u16> = statuses.into_iter().flatten().collect();
    statuses.sort_unstable();
    statuses.dedup();
    if statuses.is_empty() {
        node.missing("statuses", "write for example [502, 503] or \"500-599\"");
    }
    let content = content(node);
    if content.is_none() {
        node.missing("body", "it is what is shown");
    }
    let replaces_origin = node.truth("replace_origin").unwrap_or_default();
    Some(ErrorPage { statuses: statuses.into(), content: content?, replaces_origin })
}

/// One status, or a range of them.
fn status(item: Value, place: &str, flaws: &mut Flaws) -> Option<Vec<u16>> {
    let (first, last) = super::range(&item).or_flaw(place, flaws)?;
    if first < 400 || last > 599 {
        flaws.invalid(place, "range", format!("{place}: a page stands for statuses from 400 to 599"));
        return None;
    }
    Some((first..=last).collect())
}

/// Shows the group, without what is secret; what keeps its default is left out.
pub fn show(filters: &Filters) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            members.insert(name.to_owned(), value);
        }
    };
    put("maintenance", filters.maintenance.as_ref().map(show_maintenance));
    let nets = |nets: &[ipnet::IpNet]| listed(nets, |net| json!(network_text(net)));
    put("allow", nets(&filters.allow));
    put("deny", nets(&filters.deny));
    put("rate", filters.rate.as_ref().map(show_rate));
    put(
        "basic_auth",
        filters.basic_auth.as_ref().map(|auth| {
            let users: Vec<_> = auth.users.iter().map(|user| json!({"name": user.name})).collect();
            json!({"realm": auth.realm, "users": users})
        }),
    );
    put("in_flight_max", filters.in_flight_max.map(Into::into));
    put("body_max", filters.body_bytes_max.map(|bytes| json!(size_text(bytes))));
    put(
        "path",
        filters.path.as_ref().map(|path| json!({"strip": path.strip.as_str(), "add": path.add.as_str()})),
    );
    put("request_headers", listed(&filters.request_fields, |edit| show_edit(edit, false)));
    put("response_headers", listed(&filters.response_fields, |edit| show_edit(edit, true)));
    put("error_pages", listed(&filters.error_pages, show_page));
    put("gzip", filters.gzip.then_some(Value::Bool(true)));
    put("upgrades", listed(&filters.upgrades, |name| Value::from(&**name)));
    Value::Object(members)
}

fn listed<T>(items: &[T], show: impl Fn(&T) -> Value) -> Option<Value> {
    (!items.is_empty()).then(|| Value::Array(items.iter().map(show).collect()))
}

fn show_maintenance(maintenance: &Maintenance) -> Value {
    let mut members = Map::new();
    let ms = u64::from(maintenance.retry_after_seconds).saturating_mul(1_000);
    members.insert("retry_after".into(), json!(time_text(ms)));
    if let Some(page) = &maintenance.page {
        show_content(&mut members, page);
    }
    Value::Object(members)
}

fn show_rate(rate: &RateLimit) -> Value {
    let key = match rate.key {
        RateKey::Client => "client",
        RateKey::Route => "route",
    };
    json!({"requests": rate.requests, "per": time_text(u64::from(rate.per_ms)), "burst": rate.burst, "key": key})
}

fn show_edit(edit: &FieldEdit, is_response: bool) -> Value {
    let mut members = Map::new();
    let (verb, value) = match &edit.edit {
        Edit::Add(value) => ("add", Some(value)),
        Edit::Remove => ("remove", None),
        Edit::Set(value) => ("set", Some(value)),
    };
    members.insert(verb.into(), json!(edit.name));
    if let Some(value) = value {
        members.insert("value".into(), json!(value));
    }
    if is_response {
        members.insert("always".into(), json!(edit.always));
    }
    Value::Object(members)
}

fn show_page(page: &ErrorPage) -> Value {
    let mut members = Map::new();
    members.insert("statuses".into(), json!(page.statuses));
    show_content(&mut members, &page.content);
    members.insert("replace_origin".into(), json!(page.replaces_origin));
    Value::Object(members)
}

/// The text of a row: what is shown, and the hashes.
pub fn stored_text(filters: &Filters) -> String {
    let mut value = show(filters);
    let users = value.pointer_mut("/basic_auth/users").and_then(Value::as_array_mut);
    let known = filters.basic_auth.iter().flat_map(|auth| &auth.users);
    for (user, known) in users.into_iter().flatten().zip(known) {
        if let Some(user) = user.as_object_mut() {
            user.insert("password_hash".into(), json!(known.password_hash.expose()));
        }
    }
    value.to_string()
}
