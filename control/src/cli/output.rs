//! Everything the command line prints goes through here: results to standard output, the rest to standard error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::args::{Form, Global};

/// One column of a table: its heading and the field of the object it shows.
pub type Column = (&'static str, &'static str);

/// Prints results in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    form: Form,
    quiet: bool,
    bold: bool,
}

impl Printer {
    /// A printer for these flags.
    pub fn new(global: &Global) -> Self {
        let plain = global.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            form: global.output.unwrap_or(Form::Table),
            quiet: global.quiet,
            bold: !plain && std::io::stdout().is_terminal(),
        }
    }

    /// The form that was asked for.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Whether nothing is wanted but what was asked for.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints a list of objects.
    pub fn list(&self, items: &[Value], columns: &[Column]) {
        match self.form {
            Form::Table => {
                let text = table(items, columns);
                match text.split_once('\n') {
                    Some((head, rest)) if self.bold => out(&format!("\u{1b}[1m{head}\u{1b}[0m\n{rest}")),
                    _ => out(&text),
                }
            }
            Form::Json | Form::Yaml => self.structured(&Value::Array(items.to_vec())),
        }
    }

    /// Prints one object.
    pub fn object(&self, object: &Value) {
        match self.form {
            Form::Table => out(&fields(object)),
            Form::Json | Form::Yaml => self.structured(object),
        }
    }

    /// Says that something was done; silent with --quiet, and where a program reads the output.
    pub fn done(&self, object: &Value, sentence: &str) {
        match self.form {
            Form::Table if self.quiet => {}
            Form::Table => out(&format!("{sentence}\n")),
            Form::Json | Form::Yaml if object.is_null() => {}
            Form::Json | Form::Yaml => self.structured(object),
        }
    }

    /// Prints one field of each object as it is, a line each; whole objects where a program reads the output.
    pub fn lines(&self, items: &[Value], field: &str) {
        match self.form {
            Form::Table => items.iter().for_each(|item| self.line(item, field)),
            Form::Json | Form::Yaml => self.structured(&Value::Array(items.to_vec())),
        }
    }

    /// [`Printer::lines`] of one object.
    pub fn line(&self, item: &Value, field: &str) {
        match self.form {
            Form::Table => self.text(item.get(field).and_then(Value::as_str).unwrap_or_default()),
            Form::Json | Form::Yaml => self.structured(item),
        }
    }

    /// Prints text as it is, followed by a line's end.
    pub fn text(&self, text: &str) {
        out(&format!("{}\n", text.trim_end_matches('\n')));
    }

    fn structured(&self, value: &Value) {
        let text = match self.form {
            Form::Yaml => serde_saphyr::to_string(value).unwrap_or_default(),
            Form::Json | Form::Table => format!("{value:#}\n"),
        };
        out(&text);
    }
}

/// Writes to standard output. A reader that went away (`gatehouse … | head`) is no mistake of ours.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if let Some(error) = loss(written)
        && !LOST.swap(true, Ordering::Relaxed)
    {
        err(&format!("gatehouse: the output could not be written: {error}\n"));
    }
}

/// Why output did not arrive that somebody wanted.
fn loss(written: std::io::Result<()>) -> Option<std::io::Error> {
    written.err().filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

/// Whether output was lost, on a full disk for one: a token that nobody has must not look like success.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether everything was written that anyone still reads.
pub fn is_whole() -> bool {
    !LOST.load(Ordering::Relaxed)
}

/// Writes to standard error.
pub fn err(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

/// Objects as aligned columns under a heading; no space at a line's end.
pub fn table(items: &[Value], columns: &[Column]) -> String {
    let mut rows = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    rows.extend(items.iter().map(|item| {
        columns.iter().map(|(_, field)| item.pointer(&pointer(field)).map_or_else(dash, cell)).collect()
    }));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One object as `field: value` lines.
fn fields(object: &Value) -> String {
    let Some(members) = object.as_object() else { return format!("{}\n", cell(object)) };
    let width = members.keys().map(|name| name.chars().count()).max().unwrap_or_default() + 1;
    members.iter().map(|(name, value)| format!("{:<width$} {}\n", format!("{name}:"), cell(value))).collect()
}

fn pointer(field: &str) -> String {
    format!("/{}", field.replace('.', "/"))
}

fn dash() -> String {
    "-".to_owned()
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => dash(),
        Value::String(text) if text.is_empty() => dash(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) if items.is_empty() => dash(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| format!("{name}={}", cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
    };
    // A name from elsewhere must not steer the terminal.
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_is_aligned_and_ends_without_spaces() {
        let items = [
            json!({"host": "a.example.com", "enabled": true, "target": ["http://10.0.0.5:80"]}),
            json!({"host": "*", "enabled": false, "target": []}),
        ];
        let text = table(&items, &[("HOST", "host"), ("ON", "enabled"), ("TARGET", "target")]);
        assert_eq!(
            text,
            "HOST           ON   TARGET\n\
             a.example.com  yes  http://10.0.0.5:80\n\
             *              no   -\n"
        );
    }

    #[test]
    fn an_empty_list_still_shows_its_heading() {
        assert_eq!(table(&[], &[("NAME", "name"), ("ID", "id")]), "NAME  ID\n");
    }

    #[test]
    fn a_reader_that_went_away_loses_nothing_and_a_full_disk_does() {
        assert!(loss(Ok(())).is_none());
        assert!(loss(Err(ErrorKind::BrokenPipe.into())).is_none());
        assert!(loss(Err(ErrorKind::StorageFull.into())).is_some());
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(cell(&json!("a\u{1b}[31mb\n")), "a\u{fffd}[31mb\u{fffd}");
    }

    #[test]
    fn an_object_is_shown_by_field() {
        assert_eq!(fields(&json!({"a": 1, "long": null})), "a:    1\nlong: -\n");
    }
}
