//! `redirect` and `respond`: routes that answer by themselves.

use config::limits::PAGE_BYTES_MAX;
use config::snapshot::{Content, Redirect, Respond};
use serde_json::{Map, Value, json};

use super::Places;
use super::node::Node;

/// Members of `redirect`.
pub const REDIRECT: &[&str] = &["to", "status", "keeps_rest"];
/// Members of `respond`.
pub const RESPOND: &[&str] = &["status", "content_type", "body", "body_base64"];

/// Where the model's rules speak of other names.
pub const PLACES: Places = &[("content", ""), ("media_type", "content_type")];

/// What a route answers by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The client goes elsewhere.
    Redirect(Redirect),
    /// The client gets this.
    Respond(Respond),
}

/// Longest place to be sent to, in bytes.
const PLACE_BYTES_MAX: usize = 2048;
const REDIRECTS: &[u16] = &[301, 302, 303, 307, 308];
/// Of a page that says nothing about itself.
const TEXT: &str = "text/plain; charset=utf-8";

/// Reads `redirect`.
pub fn redirect(node: &mut Node<'_>) -> Redirect {
    let to = node.parsed("to", place);
    if to.is_none() {
        node.missing("to", "write a URL, or a path on the same host");
    }
    let status = node.number("status", 300, 399).unwrap_or(301);
    if !REDIRECTS.contains(&status) {
        node.invalid("status", "invalid", "write 301, 302, 303, 307 or 308");
    }
    let keeps_rest = node.truth("keeps_rest").unwrap_or_default();
    let to = to.unwrap_or_default();
    if keeps_rest && to.contains(['?', '#']) {
        node.invalid("keeps_rest", "invalid", "nothing can be put behind a query or fragment");
    }
    Redirect { status, to, keeps_rest }
}

fn place(text: &str) -> Result<Box<str>, String> {
    if text.len() > PLACE_BYTES_MAX {
        return Err(format!("at most {PLACE_BYTES_MAX} bytes"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
        return Err("it has a character that no URL has; percent-encode it".into());
    }
    let authority = ["http://", "https://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    match authority {
        Some(rest) if !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']) => Ok(text.into()),
        Some(_) => Err("it names no host".into()),
        // Two slashes would name another host (RFC 3986 § 4.2).
        None if text.starts_with('/') && !text.starts_with("//") => Ok(text.into()),
        None => Err("write an absolute http or https URL, or a path that begins with one /".into()),
    }
}

/// Reads `respond`.
pub fn respond(node: &mut Node<'_>) -> Respond {
    let status = node.number("status", 200, 599).unwrap_or(200);
    let content = content(node);
    if matches!(status, 204 | 205 | 304) && content.as_ref().is_some_and(|content| !content.body.is_empty()) {
        node.invalid("body", "invalid", format_args!("an answer {status} has no body"));
    }
    Respond {
        status,
        content: content.unwrap_or_else(|| Content { media_type: TEXT.into(), body: Box::default() }),
    }
}

/// Reads `content_type` with `body` or `body_base64`; `None` when none of them is said.
pub(super) fn content(node: &mut Node<'_>) -> Option<Content> {
    let media_type = node.parsed("content_type", media_type);
    let is_said = node.has("body") || node.has("body_base64") || media_type.is_some();
    if node.has("body") && node.has("body_base64") {
        node.invalid("body_base64", "invalid", "say either body or body_base64");
    }
    let text = node.text("body").map(String::into_bytes);
    let bytes = node.parsed("body_base64", |text| {
        data_encoding::BASE64.decode(text.as_bytes()).map_err(|error| format!("it is no base64: {error}"))
    });
    let name = if bytes.is_some() { "body_base64" } else { "body" };
    let body = text.or(bytes).unwrap_or_default();
    if body.len() > PAGE_BYTES_MAX {
        node.invalid(name, "too_long", format_args!("at most {PAGE_BYTES_MAX} bytes"));
    }
    is_said.then(|| Content { media_type: media_type.unwrap_or_else(|| TEXT.into()), body: body.into() })
}

fn media_type(text: &str) -> Result<Box<str>, String> {
    let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
    let kind = text.split(';').next().unwrap_or_default().trim();
    let is_kind = kind
        .split_once('/')
        .is_some_and(|(kind, sub)| super::matchers::is_token(kind) && super::matchers::is_token(sub));
    if is_kind && text.len() <= 255 && text.chars().all(is_plain) && text.trim() == text {
        Ok(text.into())
    } else {
        Err("it is no media type; write for example text/html; charset=utf-8".into())
    }
}

/// Puts a content among the members of its owner.
pub(super) fn show_content(members: &mut Map<String, Value>, content: &Content) {
    members.insert("content_type".into(), json!(content.media_type));
    match std::str::from_utf8(&content.body) {
        Ok(text) if !text.contains('\0') => members.insert("body".into(), json!(text)),
        _ => members.insert("body_base64".into(), json!(data_encoding::BASE64.encode(&content.body))),
    };
}

/// Shows `redirect`.
pub fn show_redirect(redirect: &Redirect) -> Value {
    json!({"to": redirect.to, "status": redirect.status, "keeps_rest": redirect.keeps_rest})
}

/// Shows `respond`.
pub fn show_respond(respond: &Respond) -> Value {
    let mut members = Map::new();
    members.insert("status".into(), json!(respond.status));
    show_content(&mut members, &respond.content);
    Value::Object(members)
}

/// The text of a row.
pub fn stored_text(answer: &Answer) -> String {
    match answer {
        Answer::Redirect(redirect) => json!({"redirect": show_redirect(redirect)}),
        Answer::Respond(respond) => json!({"respond": show_respond(respond)}),
    }
    .to_string()
}

/// Reads the text of a row.
pub fn stored(text: &str) -> Result<Answer, String> {
    let answer = super::stored(text, |node| {
        let one = node.object("redirect", redirect).map(Answer::Redirect);
        one.or_else(|| node.object("respond", respond).map(Answer::Respond))
    })?;
    answer.ok_or_else(|| "it is neither redirect nor respond".into())
}
