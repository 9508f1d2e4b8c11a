//! One JSON object inside a body, read member by member so that every mistake is found at once, under its dotted path.
//!
//! A reader asks for each member it knows and gets `None` for what is absent, null or wrong; wrong things are noted, so
//! a value filled in for one is never used. [`Node::finish`] refuses what nobody asked for.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::units;
use crate::app::Violation;
use crate::app::input::unknown;

/// Longest time in whole seconds that an option means.
const YEAR_SECONDS: u64 = 400 * 24 * 60 * 60;

/// What is wrong with a body.
#[derive(Debug, Default)]
pub struct Flaws {
    violations: Vec<Violation>,
    is_unparsable: bool,
}

impl Flaws {
    /// Notes a broken rule.
    pub fn invalid(&mut self, field: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.violations.push(Violation::new(field, code, message));
    }

    /// Notes a text that cannot be parsed: the answer is 400 then.
    pub fn unparsable(&mut self, field: impl Into<String>, message: impl Display) {
        self.is_unparsable = true;
        self.violations.push(Violation::new(field, "unparsable", message.to_string()));
    }

    /// The first one.
    pub fn first(&self) -> Option<&Violation> {
        self.violations.first()
    }

    /// All of them, and whether one is a text that cannot be parsed.
    pub fn into_parts(self) -> (Vec<Violation>, bool) {
        (self.violations, self.is_unparsable)
    }
}

/// An object that is being read.
#[derive(Debug)]
pub struct Node<'a> {
    path: String,
    members: Map<String, Value>,
    asked: Vec<&'static str>,
    flaws: &'a mut Flaws,
}

impl<'a> Node<'a> {
    /// Begins with the object at `path`; `None` when it is no object.
    pub fn open(value: Value, path: &str, flaws: &'a mut Flaws) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self { path: path.to_owned(), members, asked: Vec::new(), flaws }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                flaws.invalid(path, "type", format!("{path} is an object"));
                None
            }
        }
    }

    /// The dotted path of a member.
    pub fn place(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The dotted path of this object.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Notes a broken rule of a member.
    pub fn invalid(&mut self, name: &str, code: &'static str, message: impl Display) {
        let place = self.place(name);
        let message = format!("{place}: {message}");
        self.flaws.invalid(place, code, message);
    }

    /// Notes a broken rule of the object itself.
    pub fn invalid_here(&mut self, code: &'static str, message: impl Display) {
        let message = format!("{}: {message}", self.path);
        self.flaws.invalid(self.path.clone(), code, message);
    }

    /// Whether a member is there and not null.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// A member as it came.
    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(name)?;
        let found = read(&value);
        if found.is_none() {
            self.invalid(name, "type", format_args!("this is {wanted}"));
        }
        found
    }

    /// A text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.typed(name, "a text without NUL", plain)
    }

    /// true or false.
    pub fn truth(&mut self, name: &'static str) -> Option<bool> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A whole number of a range.
    pub fn number<T: TryFrom<i64>>(&mut self, name: &'static str, least: i64, most: i64) -> Option<T> {
        let wanted = format!("a whole number from {least} to {most}");
        self.typed(name, &wanted, |value| {
            let number = value.as_i64().filter(|number| (least..=most).contains(number))?;
            T::try_from(number).ok()
        })
    }

    /// A text read by `parse`.
    pub fn parsed<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        parse(&text).map_err(|why| self.invalid(name, "invalid", why)).ok()
    }

    /// A time in milliseconds, of a range.
    pub fn time(&mut self, name: &'static str, least: u64, most: u64) -> Option<u32> {
        let ms = self.unit(name, units::time)?;
        if !(least..=most).contains(&ms) {
            let (least, most) = (units::time_text(least), units::time_text(most));
            self.invalid(name, "range", format_args!("from {least} to {most}"));
            return None;
        }
        u32::try_from(ms).ok()
    }

    /// A time in whole seconds, up to the longest life of a cookie.
    pub fn seconds(&mut self, name: &'static str, least: u64) -> Option<u32> {
        let ms = self.unit(name, units::time)?;
        let seconds = ms / 1_000;
        if ms % 1_000 != 0 || seconds < least || seconds > YEAR_SECONDS {
            self.invalid(name, "range", format_args!("whole seconds, from {least}s to 400d"));
            return None;
        }
        u32::try_from(seconds).ok()
    }

    /// true or false in the place of an object; `None`, and not taken, when it is something else.
    pub fn switch(&mut self, name: &'static str) -> Option<bool> {
        let is_on = self.members.get(name)?.as_bool()?;
        drop(self.take(name));
        Some(is_on)
    }

    /// A size in bytes, of a range.
    pub fn size(&mut self, name: &'static str, least: u64, most: u64) -> Option<u64> {
        let bytes = self.unit(name, units::size)?;
        if !(least..=most).contains(&bytes) {
            let (least, most) = (units::size_text(least), units::size_text(most));
            self.invalid(name, "range", format_args!("from {least} to {most}"));
            return None;
        }
        Some(bytes)
    }

    fn unit(&mut self, name: &'static str, parse: fn(&str) -> Result<u64, String>) -> Option<u64> {
        let text = self.text(name)?;
        let place = self.place(name);
        parse(&text).map_err(|why| self.flaws.unparsable(place.clone(), format!("{place}: {why}"))).ok()
    }

    /// Notes that a member is missing, unless something is wrong with it already.
    pub fn missing(&mut self, name: &str, how: &str) {
        let place = self.place(name);
        if !self.flaws.violations.iter().any(|violation| violation.field.starts_with(&place)) {
            self.invalid(name, "required", format_args!("it is missing; {how}"));
        }
    }

    /// An object, read by `read`.
    pub fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Node<'_>) -> T) -> Option<T> {
        let value = self.take(name)?;
        let place = self.place(name);
        let mut node = Node::open(value, &place, self.flaws)?;
        let found = read(&mut node);
        node.finish();
        Some(found)
    }

    /// A list; its items are read by `read` with their path. One alone counts as a list of one.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        mut read: impl FnMut(Value, &str, &mut Flaws) -> Option<T>,
    ) -> Vec<T> {
        let items = match self.take(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(one) => vec![one],
        };
        if items.len() > most {
            self.invalid(name, "range", format_args!("at most {most}"));
            return Vec::new();
        }
        let place = self.place(name);
        let read = |(number, item)| read(item, &format!("{place}[{number}]"), self.flaws);
        items.into_iter().enumerate().filter_map(read).collect()
    }

    /// A list of objects.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        most: usize,
        mut read: impl FnMut(&mut Node<'_>) -> Option<T>,
    ) -> Vec<T> {
        self.list(name, most, |item, place, flaws| {
            let mut node = Node::open(item, place, flaws)?;
            let found = read(&mut node);
            node.finish();
            found
        })
    }

    /// A list of texts, each read by `parse`.
    pub fn texts<T, E: Display>(
        &mut self,
        name: &'static str,
        most: usize,
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Vec<T> {
        self.list(name, most, |item, place, flaws| {
            let Some(text) = plain(&item) else {
                flaws.invalid(place, "type", format!("{place} is a text without NUL"));
                return None;
            };
            parse(&text).map_err(|why| flaws.invalid(place, "invalid", format!("{place}: {why}"))).ok()
        })
    }

    /// Ends the reading: refuses what nobody asked for.
    pub fn finish(self) {
        for name in self.members.keys() {
            let place = self.place(&name.chars().take(80).collect::<String>());
            self.flaws.violations.push(unknown(place, name, &self.asked));
        }
    }
}

/// PostgreSQL keeps no NUL, and no text of ours needs one.
fn plain(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.contains('\0')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_is_found_at_once_under_its_dotted_path() {
        let mut flaws = Flaws::default();
        let value = json!({
            "a": {"b": {"time": "soon", "size": "1GiB", "number": 11, "text": "a\u{0}", "tme": 1}, "c": [1, "x", "y"]},
        });
        let mut node = Node::open(value, "top", &mut flaws).unwrap();
        node.object("a", |a| {
            a.object("b", |b| {
                assert_eq!(b.time("time", 0, 10), None);
                assert_eq!(b.size("size", 0, 10), None);
                assert_eq!(b.number::<u8>("number", 0, 10), None);
                assert_eq!(b.text("text"), None);
                b.missing("text", "write one");
                b.missing("other", "write one");
            });
            a.texts("c", 3, |text| if text == "x" { Ok(()) } else { Err("no x") });
        });
        node.finish();
        let (violations, is_unparsable) = flaws.into_parts();
        assert!(is_unparsable);
        let found: Vec<_> = violations.iter().map(|v| (v.field.as_str(), v.code)).collect();
        let wanted = [
            ("top.a.b.time", "unparsable"),
            ("top.a.b.size", "range"),
            ("top.a.b.number", "type"),
            ("top.a.b.text", "type"),
            ("top.a.b.other", "required"),
            ("top.a.b.tme", "unknown"),
            ("top.a.c[0]", "type"),
            ("top.a.c[2]", "invalid"),
        ];
        assert_eq!(found, wanted);
    }
}
