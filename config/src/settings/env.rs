//! Variables: the environment, and files of `NAME=value` lines.

use std::path::Path;

use super::error::{Origin, Report};
use super::key::{CLIENT_VARIABLES, LATER, RENAMED_VARIABLES, SPECS, Spec, nearest};
use super::raw::{Given, Raw};
use super::units;

/// One variable. Not `Debug`: the value may be a secret.
pub(super) struct Variable {
    pub(super) origin: Origin,
    pub(super) name: String,
    pub(super) value: String,
}

/// How much of a source is ours: an environment is shared with the whole machine, a file was written for us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    Environment,
    File,
}

/// Takes the settings out of variables.
pub(super) fn read(variables: &[Variable], strictness: Strictness, raw: &mut Raw, report: &mut Report) {
    for spec in SPECS {
        if let Some(given) = setting(spec, variables, report) {
            raw.given.insert(spec.key, given);
        }
    }
    for variable in variables {
        if !is_known(&variable.name) {
            unknown(variable, strictness, report);
        }
    }
}

/// The weightiest variable of one setting: our own name, then the reference's in their order.
fn setting(spec: &Spec, variables: &[Variable], report: &mut Report) -> Option<Given> {
    let mut found: Option<Given> = None;
    for name in spec.variables() {
        let plain = variables.iter().rev().find(|variable| variable.name == name);
        let in_file = format!("{name}_FILE");
        let in_file = variables.iter().rev().find(|variable| spec.secret && variable.name == in_file);
        if let (Some(_), Some(file)) = (plain, in_file) {
            report.error(&file.origin, &file.name, format!("stands beside {name}; set one of them"));
        }
        let Some(variable) = plain.or(in_file) else { continue };
        let given = Given {
            in_file: plain.is_none(),
            port_only: name == "HOST_SERVER_PORT",
            ..Given::text(variable.origin.clone(), &variable.name, &variable.value)
        };
        match &found {
            None => found = Some(given),
            Some(first) if first.items != given.items => {
                let problem = format!("has no effect beside {}", first.key);
                report.warn(&given.origin, &given.key, problem);
            }
            Some(_) => {}
        }
    }
    found
}

fn is_known(name: &str) -> bool {
    SPECS.iter().any(|spec| {
        spec.variables().iter().any(|variable| {
            variable == name || (spec.secret && name.strip_suffix("_FILE") == Some(variable.as_str()))
        })
    })
}

fn unknown(variable: &Variable, strictness: Strictness, report: &mut Report) {
    let Variable { origin, name, value } = variable;
    if let Some((_, shape)) = LATER.iter().find(|(later, _)| later == name) {
        return match units::shape(*shape, value) {
            Ok(()) => report.warn(origin, name, "is accepted and not in force yet"),
            Err(problem) => report.error(origin, name, problem),
        };
    }
    if let Some((_, new)) = RENAMED_VARIABLES.iter().find(|(old, _)| old == name) {
        let problem = format!("was removed; it was renamed to {new}");
        // In an environment the name may be somebody else's.
        return match strictness {
            Strictness::File => report.error(origin, name, problem),
            Strictness::Environment => report.warn(origin, name, problem),
        };
    }
    if CLIENT_VARIABLES.contains(&name.as_str()) {
        return;
    }
    if let Some(rest) = name.strip_prefix("GATEHOUSE_") {
        let ours: Vec<_> = SPECS.iter().map(Spec::variable).collect();
        let near = nearest(name, ours.iter().map(String::as_str));
        let meant = near.map_or_else(
            || "is no setting; names are GATEHOUSE_SECTION__KEY".to_owned(),
            |near| format!("is no setting; did you mean {near}?"),
        );
        // Without the two underscores it may be another's: Kubernetes sets GATEHOUSE_PORT for a service of that name.
        return match strictness {
            _ if rest.contains("__") => report.error(origin, name, meant),
            Strictness::Environment if near.is_none() => {}
            Strictness::Environment | Strictness::File => report.warn(origin, name, meant),
        };
    }
    if strictness == Strictness::File {
        let known = SPECS.iter().flat_map(|spec| spec.aliases.iter().copied());
        let problem = match nearest(name, known.chain(LATER.iter().map(|(later, _)| *later))) {
            Some(near) => format!("is no setting and has no effect; did you mean {near}?"),
            None => "is no setting and has no effect".to_owned(),
        };
        report.warn(origin, name, problem);
    }
}

/// Reads a file of variables: `NAME=value` lines, `#` comments, `export` before a name, quotes around a value.
///
/// `'…'` is taken as it stands; in `"…"` a backslash escapes `"`, `\`, `$`, `n`, `r` and `t`; a bare value ends at ` #`.
/// Nothing is expanded: `$NAME` stays what it is. Of a name that stands twice the last counts.
pub(super) fn parse_file(path: &Path, text: &str, report: &mut Report) -> Vec<Variable> {
    let mut variables: Vec<Variable> = Vec::new();
    for (line, number) in text.trim_start_matches('\u{feff}').lines().zip(1..) {
        let origin = Origin::EnvFile { path: path.to_path_buf(), line: number };
        match parse_line(line.trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if variables.iter().any(|variable| variable.name == name) {
                    report.warn(&origin, &name, "stands here again; this line counts");
                    variables.retain(|variable| variable.name != name);
                }
                variables.push(Variable { origin, name, value });
            }
            Err((name, problem)) => report.error(&origin, &name, problem),
        }
    }
    variables
}

type Line = Result<Option<(String, String)>, (String, &'static str)>;

fn parse_line(line: &str) -> Line {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let line = exported.map_or(line, str::trim_start);
    // The line is not repeated: it may be the second line of a secret.
    let Some((name, value)) = line.split_once('=') else {
        return Err((String::new(), "not a NAME=value line"));
    };
    let name = name.trim_end();
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(letters) || name.starts_with(|first: char| first.is_ascii_digit())
    {
        return Err((String::new(), "a name has letters, digits and _ and does not begin with a digit"));
    }
    match parse_value(value.trim()) {
        Ok(value) => Ok(Some((name.to_owned(), value))),
        Err(problem) => Err((name.to_owned(), problem)),
    }
}

fn parse_value(text: &str) -> Result<String, &'static str> {
    const OPEN: &str = "the quote is not closed on this line";
    let (value, rest) = if let Some(text) = text.strip_prefix('\'') {
        let (value, rest) = text.split_once('\'').ok_or(OPEN)?;
        (value.to_owned(), rest)
    } else if let Some(text) = text.strip_prefix('"') {
        double_quoted(text).ok_or(OPEN)?
    } else {
        let end = text.match_indices('#').map(|(place, _)| place).find(|place| {
            *place == 0 || text.get(..*place).is_some_and(|before| before.ends_with([' ', '\t']))
        });
        let value = end.and_then(|end| text.get(..end)).unwrap_or(text);
        (value.trim_end().to_owned(), "")
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value)
    } else {
        Err("something follows the closing quote")
    }
}

fn double_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(place + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        let variables = parse_file(Path::new(".env"), text, &mut Report::default());
        variables.into_iter().map(|variable| (variable.name, variable.value)).collect()
    }

    #[test]
    fn each_way_of_writing_a_value_is_read() {
        for (line, value) in [
            ("A=1", "1"),
            ("  export A = 1  ", "1"),
            ("A=", ""),
            ("A=10 MB", "10 MB"),
            ("A=10 MB # ten", "10 MB"),
            ("A=a#b", "a#b"),
            ("A=# only a comment", ""),
            ("A='a # $b \\n' # c", "a # $b \\n"),
            (r#"A="a # \"b\" \$c \n" # d"#, "a # \"b\" $c \n"),
            ("A=${SECRET_KEY}", "${SECRET_KEY}"),
            ("A=postgres://u:p%40w@h/d?x=y", "postgres://u:p%40w@h/d?x=y"),
            ("\u{feff}A=1\r", "1"),
        ] {
            assert_eq!(parsed(line), [("A".to_owned(), value.to_owned())], "{line}");
        }
        assert_eq!(parsed("# A=1\n\n   # B=2\nexported=3"), [("exported".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn each_bad_line_is_reported_by_its_number_and_hides_no_other() {
        let mut report = Report::default();
        let text = "one\nA='open\nB=\"open\n2C=1\nD='x' y\nE=1\n=2";
        let variables = parse_file(Path::new(".env"), text, &mut report);
        assert_eq!(variables.len(), 1);
        let errors = report.finish().unwrap_err();
        let lines: Vec<_> = errors.all().iter().map(|error| error.origin.to_string()).collect();
        assert_eq!(lines, [".env:1", ".env:2", ".env:3", ".env:4", ".env:5", ".env:7"]);
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_counts() {
        assert_eq!(parsed("A=1\nA=2"), [("A".to_owned(), "2".to_owned())]);
    }
}
