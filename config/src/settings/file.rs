//! The settings file: TOML, one table a section.

use std::path::Path;

use toml_edit::{Document, Item, Key as TomlKey, TableLike, Value};

use super::error::{Origin, Report};
use super::key::{RENAMED, SPECS, Spec, nearest};
use super::raw::{Given, Raw};

/// A file under reading: where lines are found and findings go.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    raw: &'a mut Raw,
    report: &'a mut Report,
}

/// Reads the file. Only the first mistake of grammar is found, since nothing after it can be trusted.
pub(super) fn read(path: &Path, text: &str, raw: &mut Raw, report: &mut Report) {
    let mut reader = Reader { path, text, raw, report };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let origin = reader.origin(error.span());
            let why = error.message().replace('\n', "; ");
            return reader.report.error(&origin, "", format!("not TOML: {why}"));
        }
    };
    let root = document.as_table();
    for (name, item) in root.iter() {
        reader.section(root.key(name), name, item);
    }
}

impl Reader<'_> {
    fn section(&mut self, key: Option<&TomlKey>, section: &str, item: &Item) {
        let origin = self.origin(span(key, item));
        if !SPECS.iter().any(|spec| spec.section == section) {
            return self.unknown_section(&origin, section, item);
        }
        let Some(table) = item.as_table_like() else {
            let problem = format!("is a section; write [{section}] on a line of its own and its keys below");
            return self.report.error(&origin, section, problem);
        };
        for (name, item) in table.iter() {
            self.entry(section, table, (name, item));
        }
    }

    fn entry(&mut self, section: &str, table: &dyn TableLike, (name, item): (&str, &Item)) {
        let origin = self.origin(span(table.key(name), item));
        let path = format!("{section}.{name}");
        let own = |spec: &&Spec| spec.section == section;
        if let Some(spec) = SPECS.iter().filter(own).find(|spec| spec.name == name) {
            self.value(spec, item, Given::text(origin, path, ""));
            return;
        }
        let secret = |spec: &&Spec| spec.secret && name.strip_suffix("_file") == Some(spec.name);
        if let Some(spec) = SPECS.iter().filter(own).find(secret) {
            if table.contains_key(spec.name) {
                let problem = format!("stands beside {}; write one of them", spec.path());
                return self.report.error(&origin, &path, problem);
            }
            self.value(spec, item, Given { in_file: true, ..Given::text(origin, path, "") });
            return;
        }
        let problem = unknown_key(section, name, &path);
        self.report.error(&origin, &path, problem);
    }

    fn value(&mut self, spec: &Spec, item: &Item, given: Given) {
        let wrong = |item: &Item| format!("wants text, a number or a list of them, not {}", item.type_name());
        let items = match item.as_value() {
            Some(Value::Array(array)) => array.iter().map(scalar).collect::<Option<Vec<_>>>(),
            Some(value) => scalar(value).map(|text| vec![text]),
            None => None,
        };
        let Some(items) = items else {
            return self.report.error(&given.origin, &given.key, wrong(item));
        };
        let list = item.is_array();
        self.raw.given.insert(spec.key, Given { items, list, ..given });
    }

    fn unknown_section(&mut self, origin: &Origin, name: &str, item: &Item) {
        let sections = || SPECS.iter().map(|spec| spec.section);
        let successor = SPECS.iter().find(|spec| {
            let named = |known: &&str| known.eq_ignore_ascii_case(name);
            spec.aliases.iter().any(named) || (!item.is_table() && spec.name == name)
        });
        let problem = match (successor, nearest(name, sections())) {
            (Some(spec), _) => format!("is written as {} in section [{}] here", spec.name, spec.section),
            (None, Some(near)) => format!("is no section; did you mean [{near}]?"),
            (None, None) => {
                "is no section; there are [server], [gateway], [control], [database] and [log]".to_owned()
            }
        };
        self.report.error(origin, name, problem);
    }

    fn origin(&self, span: Option<std::ops::Range<usize>>) -> Origin {
        let start = span.map_or(0, |span| span.start);
        let before = self.text.as_bytes().iter().take(start);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.to_path_buf(), line }
    }
}

fn unknown_key(section: &str, name: &str, path: &str) -> String {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == path) {
        return format!("was renamed to {new}");
    }
    let own = SPECS.iter().filter(|spec| spec.section == section).map(|spec| spec.name);
    if let Some(near) = nearest(name, own) {
        return format!("is no setting; did you mean {section}.{near}?");
    }
    let elsewhere = SPECS.iter().find(|spec| spec.name == name);
    match elsewhere {
        Some(spec) => format!("is no setting of [{section}]; did you mean {}?", spec.path()),
        None => format!("is no setting of [{section}]"),
    }
}

fn span(key: Option<&TomlKey>, item: &Item) -> Option<std::ops::Range<usize>> {
    key.and_then(TomlKey::span).or_else(|| item.span())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(flag) => Some(flag.value().to_string()),
        Value::Float(_) | Value::Datetime(_) | Value::Array(_) | Value::InlineTable(_) => None,
    }
}
