//! What a route does to requests and answers, its times, and its fixed answers.

use std::fmt;

use prost::Message;

use super::matchers::{decode_networks, encode_networks};
use super::object::in_field;
use crate::name::PathPrefix;
use crate::secret::Secret;
use crate::snapshot::{
    BasicAuth, BasicUser, Content, Edit, ErrorPage, FieldEdit, Filters, Maintenance, PathRewrite, RateKey,
    RateLimit, Timeouts,
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireFilters {
    #[prost(message, optional, tag = "1")]
    maintenance: Option<WireMaintenance>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    allow: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    deny: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "4")]
    rate: Option<WireRate>,
    #[prost(message, optional, tag = "5")]
    basic_auth: Option<WireBasicAuth>,
    #[prost(uint32, optional, tag = "6")]
    in_flight_max: Option<u32>,
    #[prost(uint64, optional, tag = "7")]
    body_bytes_max: Option<u64>,
    #[prost(message, optional, tag = "8")]
    path: Option<WireRewrite>,
    #[prost(message, repeated, tag = "9")]
    request_fields: Vec<WireEdit>,
    #[prost(message, repeated, tag = "10")]
    response_fields: Vec<WireEdit>,
    #[prost(message, repeated, tag = "11")]
    error_pages: Vec<WirePage>,
    #[prost(bool, tag = "12")]
    gzip: bool,
    /// Needs `NEEDS_UPGRADES` of the route: a reader without would let every protocol through.
    #[prost(string, repeated, tag = "13")]
    upgrades: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct WireMaintenance {
    #[prost(message, optional, tag = "1")]
    page: Option<WireContent>,
    #[prost(uint32, tag = "2")]
    retry_after_seconds: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireContent {
    #[prost(string, tag = "1")]
    media_type: String,
    #[prost(bytes = "vec", tag = "2")]
    body: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WireRate {
    #[prost(uint32, tag = "1")]
    requests: u32,
    #[prost(uint32, tag = "2")]
    per_ms: u32,
    #[prost(uint32, tag = "3")]
    burst: u32,
    /// 0 client, 1 route.
    #[prost(uint32, tag = "4")]
    key: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireBasicAuth {
    #[prost(string, tag = "1")]
    realm: String,
    #[prost(message, repeated, tag = "2")]
    users: Vec<WireUser>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct WireUser {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    password_hash: String,
}

impl fmt::Debug for WireUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireUser").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
struct WireRewrite {
    /// Empty is `/`.
    #[prost(string, tag = "1")]
    strip: String,
    /// Empty is `/`.
    #[prost(string, tag = "2")]
    add: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireEdit {
    #[prost(string, tag = "1")]
    name: String,
    /// 0 set, 1 add, 2 remove.
    #[prost(uint32, tag = "2")]
    edit: u32,
    /// Of the first two.
    #[prost(string, tag = "3")]
    value: String,
    #[prost(bool, tag = "4")]
    always: bool,
}

#[derive(Clone, PartialEq, Message)]
struct WirePage {
    #[prost(uint32, repeated, tag = "1")]
    statuses: Vec<u32>,
    #[prost(message, optional, tag = "2")]
    content: Option<WireContent>,
    #[prost(bool, tag = "3")]
    replaces_origin: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct WireTimeouts {
    #[prost(uint32, optional, tag = "1")]
    connect_ms: Option<u32>,
    #[prost(uint32, optional, tag = "2")]
    request_body_ms: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    response_head_ms: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    idle_body_ms: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    whole_ms: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    tunnel_ms: Option<u32>,
}

pub(super) fn encode_filters(filters: &Filters) -> WireFilters {
    WireFilters {
        maintenance: filters.maintenance.as_ref().map(|maintenance| WireMaintenance {
            page: maintenance.page.as_ref().map(encode_content),
            retry_after_seconds: maintenance.retry_after_seconds,
        }),
        allow: encode_networks(&filters.allow),
        deny: encode_networks(&filters.deny),
        rate: filters.rate.map(|rate| WireRate {
            requests: rate.requests,
            per_ms: rate.per_ms,
            burst: rate.burst,
            key: match rate.key {
                RateKey::Client => 0,
                RateKey::Route => 1,
            },
        }),
        basic_auth: filters.basic_auth.as_ref().map(encode_basic_auth),
        in_flight_max: filters.in_flight_max,
        body_bytes_max: filters.body_bytes_max,
        path: filters
            .path
            .as_ref()
            .map(|path| WireRewrite { strip: encode_prefix(&path.strip), add: encode_prefix(&path.add) }),
        request_fields: filters.request_fields.iter().map(encode_edit).collect(),
        response_fields: filters.response_fields.iter().map(encode_edit).collect(),
        error_pages: filters.error_pages.iter().map(encode_page).collect(),
        gzip: filters.gzip,
        upgrades: filters.upgrades.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn decode_filters(wire: WireFilters) -> Result<Filters, String> {
    // First, so that password hashes are in custody whatever else is wrong.
    let basic_auth = wire.basic_auth.map(decode_basic_auth);
    let edits = |edits: Vec<WireEdit>| edits.into_iter().map(decode_edit).collect::<Result<_, _>>();
    Ok(Filters {
        maintenance: wire.maintenance.map(|maintenance| Maintenance {
            page: maintenance.page.map(decode_content),
            retry_after_seconds: maintenance.retry_after_seconds,
        }),
        allow: decode_networks(&wire.allow)?,
        deny: decode_networks(&wire.deny)?,
        rate: wire.rate.map(decode_rate).transpose()?,
        basic_auth,
        in_flight_max: wire.in_flight_max,
        body_bytes_max: wire.body_bytes_max,
        path: wire.path.map(decode_rewrite).transpose()?,
        request_fields: edits(wire.request_fields)?,
        response_fields: edits(wire.response_fields)?,
        error_pages: wire.error_pages.into_iter().map(decode_page).collect::<Result<_, _>>()?,
        gzip: wire.gzip,
        upgrades: wire.upgrades.into_iter().map(String::into_boxed_str).collect(),
    })
}

pub(super) fn encode_content(content: &Content) -> WireContent {
    WireContent { media_type: content.media_type.to_string(), body: content.body.to_vec() }
}

pub(super) fn decode_content(wire: WireContent) -> Content {
    Content { media_type: wire.media_type.into_boxed_str(), body: wire.body.into_boxed_slice() }
}

fn decode_rate(wire: WireRate) -> Result<RateLimit, String> {
    Ok(RateLimit {
        requests: wire.requests,
        per_ms: wire.per_ms,
        burst: wire.burst,
        key: match wire.key {
            0 => RateKey::Client,
            1 => RateKey::Route,
            other => return Err(format!("rate key {other} is not known to this version")),
        },
    })
}

fn encode_basic_auth(auth: &BasicAuth) -> WireBasicAuth {
    let encode = |user: &BasicUser| WireUser {
        name: user.name.to_string(),
        password_hash: user.password_hash.expose().clone(),
    };
    WireBasicAuth { realm: auth.realm.to_string(), users: auth.users.iter().map(encode).collect() }
}

fn decode_basic_auth(wire: WireBasicAuth) -> BasicAuth {
    let decode = |user: WireUser| BasicUser {
        name: user.name.into_boxed_str(),
        password_hash: Secret::new(user.password_hash),
    };
    BasicAuth { realm: wire.realm.into_boxed_str(), users: wire.users.into_iter().map(decode).collect() }
}

fn decode_rewrite(wire: WireRewrite) -> Result<PathRewrite, String> {
    let strip = decode_prefix(&wire.strip).map_err(in_field("strip"))?;
    Ok(PathRewrite { strip, add: decode_prefix(&wire.add).map_err(in_field("add"))? })
}

/// The text of a prefix; the root is the default and has none.
pub(super) fn encode_prefix(prefix: &PathPrefix) -> String {
    if prefix.as_str() == "/" { String::new() } else { prefix.to_string() }
}

/// Reads what [`encode_prefix`] wrote.
pub(super) fn decode_prefix(text: &str) -> Result<PathPrefix, crate::name::NameError> {
    if text.is_empty() { Ok(PathPrefix::root()) } else { PathPrefix::parse(text) }
}

fn encode_edit(edit: &FieldEdit) -> WireEdit {
    let (number, value) = match &edit.edit {
        Edit::Set(value) => (0, &**value),
        Edit::Add(value) => (1, &**value),
        Edit::Remove => (2, ""),
    };
    WireEdit { name: edit.name.to_string(), edit: number, value: value.to_owned(), always: edit.always }
}

fn decode_edit(wire: WireEdit) -> Result<FieldEdit, String> {
    let value = wire.value.into_boxed_str();
    let edit = match wire.edit {
        0 => Edit::Set(value),
        1 => Edit::Add(value),
        2 if value.is_empty() => Edit::Remove,
        2 => return Err("the removal of a field has a value".to_owned()),
        other => return Err(format!("edit {other} of a field is not known to this version")),
    };
    Ok(FieldEdit { name: wire.name.into_boxed_str(), edit, always: wire.always })
}

fn encode_page(page: &ErrorPage) -> WirePage {
    WirePage {
        statuses: page.statuses.iter().map(|status| u32::from(*status)).collect(),
        content: Some(encode_content(&page.content)),
        replaces_origin: page.replaces_origin,
    }
}

fn decode_page(wire: WirePage) -> Result<ErrorPage, String> {
    Ok(ErrorPage {
        statuses: wire.statuses.into_iter().map(status).collect::<Result<_, _>>()?,
        content: decode_content(wire.content.ok_or("an error page has no content")?),
        replaces_origin: wire.replaces_origin,
    })
}

/// A status from its number; its range is checked elsewhere.
pub(super) fn status(number: u32) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| format!("{number} is no status"))
}

pub(super) const fn encode_timeouts(timeouts: &Timeouts) -> WireTimeouts {
    let Timeouts { connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms } =
        *timeouts;
    WireTimeouts { connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms }
}

pub(super) const fn decode_timeouts(wire: WireTimeouts) -> Timeouts {
    let WireTimeouts { connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms } =
        wire;
    Timeouts { connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms }
}
