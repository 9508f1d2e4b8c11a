//! The members of a JSON object, read one by one so that every violation is found at once.
//!
//! Order of calls: the readers, one a member, then [`Input::finish`], which also refuses what nobody read. In a merge
//! (RFC 7396) an absent member keeps its value and `null` takes the default back.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::error::{Error, Violation};
use crate::options::{Flaws, Node};

/// A JSON object without repeated members.
#[derive(Debug, Clone, Default)]
pub struct Members(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
                    if members.contains_key(&name) {
                        return Err(twice(&name));
                    }
                    members.insert(name, value);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Reads a whole body through a reader of nested objects.
///
/// Errors: everything that is wrong with it.
pub(crate) fn whole<T>(body: Value, read: impl FnOnce(&mut Node<'_>) -> T) -> Result<T, Error> {
    let mut flaws = Flaws::default();
    let mut found = None;
    if let Some(mut node) = Node::open(body, "", &mut flaws) {
        found = Some(read(&mut node));
        node.finish();
    }
    let (violations, is_unparsable) = flaws.into_parts();
    match found {
        Some(found) if violations.is_empty() => Ok(found),
        _ if is_unparsable => Err(Error::Unparsable(violations)),
        _ => Err(Error::Invalid(violations)),
    }
}

/// Two readers of the same text would otherwise see two different requests.
fn twice<E: serde::de::Error>(name: &str) -> E {
    E::custom(format!("the member {name:?} is given twice"))
}

/// A value whose objects, at any depth, have no repeated members. The parser bounds the depth.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = serde_json::Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.contains_key(&name) {
                return Err(twice(&name));
            }
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

impl Members {
    /// The members as a JSON object.
    pub fn into_map(self) -> serde_json::Map<String, Value> {
        self.0.into_iter().collect()
    }

    /// Parses the body of a request.
    ///
    /// Errors: it is no JSON object, or a member is repeated; with line and column.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(body)
            .map_err(|error| Error::Unparsable(vec![Violation::new("", "json", error.to_string())]))
    }
}

/// What was said about one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said<T> {
    /// Nothing: keep it, or take the default.
    Nothing,
    /// `null`: take the default back.
    Null,
    /// This.
    This(T),
}

impl<T> Said<T> {
    /// The value after a merge into `old`.
    pub fn merged(self, old: T, default: T) -> T {
        match self {
            Self::Nothing => old,
            Self::Null => default,
            Self::This(value) => value,
        }
    }

    /// The value for a new object.
    pub fn or(self, default: T) -> T {
        match self {
            Self::Nothing | Self::Null => default,
            Self::This(value) => value,
        }
    }

    /// The value, if there is one.
    pub fn some(self) -> Option<T> {
        match self {
            Self::Nothing | Self::Null => None,
            Self::This(value) => Some(value),
        }
    }
}

/// A body that is being read.
#[derive(Debug)]
pub struct Input {
    members: BTreeMap<String, Value>,
    violations: Vec<Violation>,
    is_unparsable: bool,
}

impl Input {
    /// Begins.
    pub fn new(members: Members) -> Self {
        Self { members: members.0, violations: Vec::new(), is_unparsable: false }
    }

    /// Notes a broken rule.
    pub fn invalid(&mut self, field: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.violations.push(Violation::new(field, code, message));
    }

    /// Notes a text that cannot be parsed: the answer is 400 then.
    pub fn unparsable(&mut self, field: &str, message: impl Display) {
        self.is_unparsable = true;
        self.violations.push(Violation::new(field, "unparsable", message.to_string()));
    }

    /// Whether nothing is wrong with this field or an item of it.
    pub fn is_sound_at(&self, field: &str) -> bool {
        !self.violations.iter().any(|violation| violation.field.starts_with(field))
    }

    /// Whether nothing is wrong with this field itself, whatever is with others whose names begin alike.
    pub fn is_sound_in(&self, field: &str) -> bool {
        !self.violations.iter().any(|violation| violation.field == field)
    }

    /// Where rules that need more than the request note what is wrong.
    pub const fn violations(&mut self) -> &mut Vec<Violation> {
        &mut self.violations
    }

    /// A member that may be repeated in a merge but not changed.
    pub fn fixed(&mut self, name: &str, value: &str) {
        match self.text(name) {
            Said::This(said) if said != value => {
                self.invalid(name, "read_only", format!("{name} cannot be changed; delete and make anew"));
            }
            Said::This(_) | Said::Null | Said::Nothing => {}
        }
    }

    fn take<T>(&mut self, name: &str, wanted: &str, read: impl FnOnce(&Value) -> Option<T>) -> Said<T> {
        match self.members.remove(name) {
            None => Said::Nothing,
            Some(Value::Null) => Said::Null,
            Some(value) => match read(&value) {
                Some(value) => Said::This(value),
                None => {
                    self.invalid(name, "type", format!("{name} is {wanted}"));
                    Said::Nothing
                }
            },
        }
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Said<String> {
        // PostgreSQL keeps no NUL, and no text of ours needs one.
        self.take(name, "a text without NUL", |value| {
            value.as_str().filter(|text| !text.contains('\0')).map(str::to_owned)
        })
    }

    /// A text that must be there.
    pub fn required(&mut self, name: &str) -> Option<String> {
        let sound = self.violations.len();
        let text = self.text(name).some();
        if text.is_none() && self.violations.len() == sound {
            self.invalid(name, "required", format!("{name} is missing"));
        }
        text
    }

    /// Whatever it is; another reader takes it apart.
    pub fn value(&mut self, name: &str) -> Said<Value> {
        self.take(name, "a value", |value| Some(value.clone()))
    }

    /// An object that another reader takes apart.
    pub fn object(&mut self, name: &str) -> Said<Value> {
        self.take(name, "an object", |value| value.is_object().then(|| value.clone()))
    }

    /// A list, or one value as a list of one.
    pub fn items(&mut self, name: &str) -> Said<Vec<Value>> {
        self.take(name, "a list", |value| match value {
            Value::Array(items) => Some(items.clone()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                Some(vec![value.clone()])
            }
        })
    }

    /// Takes over what another reader found.
    pub fn absorb(&mut self, flaws: Flaws) {
        let (violations, is_unparsable) = flaws.into_parts();
        self.violations.extend(violations);
        self.is_unparsable |= is_unparsable;
    }

    /// Whether nothing is wrong so far.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty()
    }

    /// true or false.
    pub fn truth(&mut self, name: &str) -> Said<bool> {
        self.take(name, "true or false", Value::as_bool)
    }

    /// A whole number of a range.
    pub fn number(&mut self, name: &str, least: u64, most: u64) -> Said<u64> {
        let wanted = format!("a whole number from {least} to {most}");
        self.take(name, &wanted, |value| value.as_u64().filter(|number| (least..=most).contains(number)))
    }

    /// A list of texts, or one text as a list of one.
    pub fn texts(&mut self, name: &str) -> Said<Vec<String>> {
        self.take(name, "a list of texts", |value| match value {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        })
    }

    /// A text read by `parse`; what it says is wrong is a violation with this code.
    pub fn parsed<T, E: Display>(
        &mut self,
        name: &str,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Said<T> {
        match self.text(name) {
            Said::Nothing => Said::Nothing,
            Said::Null => Said::Null,
            Said::This(text) => match parse(&text) {
                Ok(value) => Said::This(value),
                Err(why) => {
                    self.invalid(name, code, format!("{name}: {why}"));
                    Said::Nothing
                }
            },
        }
    }

    /// A free text of at most so many characters, without those that steer a terminal that shows it.
    pub fn note(&mut self, name: &str) -> Said<String> {
        const MAX: usize = config::limits::NOTE_CHARS_MAX;
        let said = self.parsed(name, "too_long", |text| {
            if text.chars().count() > MAX {
                Err(format!("at most {MAX} characters"))
            } else {
                Ok(text.to_owned())
            }
        });
        let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if matches!(&said, Said::This(text) if text.contains(steers)) {
            self.invalid(name, "invalid", format!("{name} has a control character"));
            return Said::Nothing;
        }
        said
    }

    /// A member that is shown but never set.
    pub fn read_only(&mut self, names: &[&str]) {
        for name in names {
            if self.members.remove(*name).is_some() {
                self.invalid(*name, "read_only", format!("{name} cannot be set"));
            }
        }
    }

    /// Members that are planned: refused by name, never accepted and ignored.
    pub fn unsupported(&mut self, names: &[&str]) {
        for name in names {
            if self.members.remove(*name).is_some() {
                self.invalid(*name, "unsupported", format!("{name} is not supported yet; leave it out"));
            }
        }
    }

    /// Members that have another name here, given as pairs.
    pub fn moved(&mut self, names: &[(&str, &str)]) {
        for (name, now) in names {
            if self.members.remove(*name).is_some() {
                self.invalid(*name, "unknown", format!("{name} is no field here; say {now}"));
            }
        }
    }

    /// Ends the reading of something that is known to be wrong.
    pub fn refuse(self, known: &[&str]) -> Error {
        self.finish(known).err().unwrap_or_else(|| Error::Internal("a refusal without a violation".into()))
    }

    /// Ends the reading: refuses what nobody read.
    ///
    /// Errors: all violations; 400 if one of them is a text that cannot be parsed, 422 otherwise.
    pub fn finish(mut self, known: &[&str]) -> Result<(), Error> {
        for name in std::mem::take(&mut self.members).into_keys() {
            self.violations.push(unknown(name.chars().take(80).collect::<String>(), &name, known));
        }
        if self.violations.is_empty() {
            Ok(())
        } else if self.is_unparsable {
            Err(Error::Unparsable(self.violations))
        } else {
            Err(Error::Invalid(self.violations))
        }
    }
}

/// The refusal of a member at `place` that nobody knows.
pub(crate) fn unknown(place: String, name: &str, known: &[&str]) -> Violation {
    let shown: String = name.chars().take(80).collect();
    let hint = match known.iter().find(|known| is_near(known, name)) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {}", known.join(", ")),
    };
    Violation::new(place, "unknown", format!("{shown:?} is no field here; {hint}"))
}

/// Whether two names differ by at most one inserted, dropped or replaced character, or by two neighbours swapped.
fn is_near(one: &str, other: &str) -> bool {
    let (a, b) = (one.as_bytes(), other.as_bytes());
    let same_start = a.iter().zip(b).take_while(|(x, y)| x.eq_ignore_ascii_case(y)).count();
    let rest = a.len().min(b.len()) - same_start;
    let same_end =
        a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x.eq_ignore_ascii_case(y)).count();
    let middle = |text: &[u8]| text.get(same_start..text.len() - same_end).map(<[u8]>::to_ascii_lowercase);
    let (Some(a), Some(mut b)) = (middle(a), middle(b)) else { return false };
    if a.len().max(b.len()) <= 1 {
        return true;
    }
    b.reverse();
    a.len() == 2 && a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str) -> Input {
        Input::new(Members::parse(text.as_bytes()).unwrap())
    }

    fn fields(error: Error) -> Vec<(String, &'static str)> {
        let (Error::Invalid(list) | Error::Unparsable(list)) = error else { panic!("{error:?}") };
        list.into_iter().map(|violation| (violation.field, violation.code)).collect()
    }

    #[test]
    fn every_violation_is_found_at_once() {
        let mut input = input(r#"{"name": 7, "port": 0, "hots": "x", "later": 1, "id": "x"}"#);
        let _ = (input.text("name"), input.number("port", 1, 65_535), input.required("host"));
        input.unsupported(&["later"]);
        input.read_only(&["id"]);
        let found = fields(input.finish(&["host"]).unwrap_err());
        let wanted = [
            ("name", "type"),
            ("port", "type"),
            ("host", "required"),
            ("later", "unsupported"),
            ("id", "read_only"),
            ("hots", "unknown"),
        ];
        assert_eq!(found, wanted.map(|(field, code)| (field.to_owned(), code)));
    }

    #[test]
    fn a_member_given_twice_is_refused_and_syntax_errors_have_their_place() {
        let Error::Unparsable(list) = Members::parse(br#"{"a":1,"a":2}"#).unwrap_err() else { panic!() };
        assert!(list[0].message.contains("given twice"), "{list:?}");
        let Error::Unparsable(list) = Members::parse(b"{\n \"a\": }").unwrap_err() else { panic!() };
        assert!(list[0].message.contains("line 2"), "{list:?}");
    }

    #[test]
    fn one_wrong_letter_is_near() {
        assert!(is_near("host", "hots"));
        assert!(is_near("target", "taget") && is_near("target", "targer") && is_near("tls", "TLS"));
        assert!(!is_near("target", "note") && !is_near("a", "abc"));
    }
}
