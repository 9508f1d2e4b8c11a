//! Options of routes: between the JSON that people write, rows keep and views show, and the types that gateways know.
//!
//! Each group has a reader, which notes every mistake under its dotted path and fills defaults in, and a shower, which
//! writes what was read in its one canonical form. A row holds that form as text, so what is shown can be sent again and
//! what a merge starts from is what was shown. Pure: no store, no rights. `options/OPTIONS.md` describes each member.

pub mod action;
pub mod filters;
pub mod matchers;
pub mod merge;
pub mod node;
pub mod timeouts;
pub mod tls_policy;
pub mod units;
pub mod upstream;

pub use merge::merge;
pub use node::{Flaws, Node};

use serde_json::Value;

/// Reads the text of a row through a group's reader.
///
/// Errors: the text is no JSON of this group; the first flaw says where.
pub fn stored<T>(text: &str, read: impl FnOnce(&mut Node<'_>) -> T) -> Result<T, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut flaws = Flaws::default();
    let mut found = None;
    if let Some(mut node) = Node::open(value, "", &mut flaws) {
        found = Some(read(&mut node));
        node.finish();
    }
    match (found, flaws.first()) {
        (Some(found), None) => Ok(found),
        (_, Some(flaw)) => Err(format!("{}: {}", flaw.field, flaw.message)),
        (None, None) => Err("it is no object".into()),
    }
}

/// Names of the model's parts, and of the same members in a body; an empty one is no step of its own.
pub type Places = &'static [(&'static str, &'static str)];

/// The dotted path in a body of what the model's rules call `field`.
pub fn placed(group: &str, field: &str, places: Places) -> String {
    let mut path = group.to_owned();
    for step in field.split('.').filter(|step| !step.is_empty()) {
        let (name, index) = step.split_at(step.find('[').unwrap_or(step.len()));
        let known = places.iter().find(|(model, _)| *model == name).map(|(_, said)| *said);
        let plain = name.strip_suffix("_ms").or_else(|| name.strip_suffix("_seconds")).unwrap_or(name);
        let name = known.unwrap_or(plain);
        if !name.is_empty() {
            path.push('.');
            path.push_str(name);
        }
        path.push_str(index);
    }
    path
}

/// First and last of a range, or nothing where a value is none.
struct Range(Option<(u16, u16)>);

impl Range {
    fn or_flaw(self, place: &str, flaws: &mut Flaws) -> Option<(u16, u16)> {
        if self.0.is_none() {
            flaws.invalid(place, "invalid", format!("{place}: write a status, or a range as in 200-399"));
        }
        self.0
    }
}

/// A status as a number or text, or a range of them.
fn range(item: &Value) -> Range {
    let number = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|status| digits && (100..=599).contains(status))
    };
    let text = match item {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let both = number(first).zip(number(last)).filter(|(first, last)| first <= last);
    Range(both)
}
