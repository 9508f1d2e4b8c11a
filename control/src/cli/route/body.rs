//! From flags to the options of a body.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::args::Switch;
use super::super::args::options::{AnswerFlags, FilterFlags, MatchFlags, OptionFlags, UpstreamFlags};
use super::super::failure::Failure;
use super::passwords;

/// Writes the options into a body; `users` are the names that the route has already.
pub(super) fn put_options(body: &mut Value, flags: &OptionFlags, users: &[String]) -> Result<(), Failure> {
    let OptionFlags { matching, filters, upstream, answers, options } = flags;
    let groups = [
        ("match", conditions(matching)?),
        ("filters", filtered(filters, users)?),
        ("upstream", upstreams(upstream)?),
        ("timeouts", timeouts(&upstream.timeout)?),
    ];
    for (name, group) in groups {
        if !group.is_empty() {
            overlay(body, json!({ name: group }));
        }
    }
    overlay(body, answer(answers)?);
    if let Some(file) = options {
        let more: Value = serde_json::from_str(&read(file)?)
            .map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
        if !more.is_object() {
            return Err(Failure::failed(format!("{}: the options are a JSON object", file.display())));
        }
        overlay(body, more);
    }
    Ok(())
}

/// Lays `over` on `body`. Unlike a merge it keeps nulls: they are the API's to read.
fn overlay(body: &mut Value, over: Value) {
    match (body, over) {
        (Value::Object(members), Value::Object(over)) => {
            for (name, value) in over {
                overlay(members.entry(name).or_insert(Value::Null), value);
            }
        }
        (body, over) => *body = over,
    }
}

pub(in crate::cli) fn read(file: &Path) -> Result<String, Failure> {
    if file.as_os_str() == "-" {
        return super::super::read_input(std::io::stdin(), "standard input");
    }
    let name = file.display().to_string();
    let opened = std::fs::File::open(file).map_err(|e| Failure::failed(format!("{name}: {e}")))?;
    super::super::read_input(opened, &name)
}

type Members = Map<String, Value>;

fn put(members: &mut Members, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}

fn put_list(members: &mut Members, name: &str, items: Vec<Value>) {
    put(members, name, (!items.is_empty()).then_some(items));
}

fn texts(items: &[String]) -> Vec<Value> {
    items.iter().map(|text| json!(text)).collect()
}

fn conditions(flags: &MatchFlags) -> Result<Members, Failure> {
    let mut members = Members::new();
    put_list(&mut members, "methods", texts(&flags.match_method));
    put_list(&mut members, "headers", flags.match_header.iter().map(|text| condition(text)).collect());
    put_list(&mut members, "query", flags.match_query.iter().map(|text| condition(text)).collect());
    put_list(&mut members, "clients", texts(&flags.match_client));
    put(&mut members, "priority", flags.priority);
    put(&mut members, "path_exact", flags.path_exact.map(Switch::is_on));
    Ok(members)
}

/// `NAME=VALUE`, `NAME^=PREFIX`, `NAME` or `!NAME`.
fn condition(text: &str) -> Value {
    match (text.strip_prefix('!'), text.split_once('=')) {
        (Some(name), None) => json!({"name": name, "absent": true}),
        (_, Some((name, value))) => match name.strip_suffix('^') {
            Some(name) => json!({"name": name, "prefix": value}),
            None => json!({"name": name, "equals": value}),
        },
        (None, None) => json!({"name": text, "present": true}),
    }
}

fn filtered(flags: &FilterFlags, users: &[String]) -> Result<Members, Failure> {
    let mut members = Members::new();
    let mut path = Members::new();
    put(&mut path, "strip", flags.strip.clone());
    put(&mut path, "add", flags.add_prefix.clone());
    put(&mut members, "path", (!path.is_empty()).then_some(path));
    let mut edits = Vec::new();
    for (verb, fields) in [("set", &flags.set_header), ("add", &flags.add_header)] {
        for text in fields {
            let (name, value) = field(text)?;
            edits.push(json!({verb: name, "value": value}));
        }
    }
    edits.extend(flags.remove_header.iter().map(|name| json!({"remove": name})));
    put_list(&mut members, "request_headers", edits);
    let mut edits = Vec::new();
    for text in &flags.response_header {
        let (name, value) = field(text)?;
        edits.push(json!({"set": name, "value": value, "always": true}));
    }
    let removed = flags.remove_response_header.iter();
    edits.extend(removed.map(|name| json!({"remove": name, "always": true})));
    put_list(&mut members, "response_headers", edits);
    put_list(&mut members, "allow", texts(&flags.allow));
    put_list(&mut members, "deny", texts(&flags.deny));
    let said = match &flags.basic_auth_file {
        Some(file) => passwords::of_file(&read(file)?)?,
        None => passwords::of_users(&flags.basic_auth, users)?,
    };
    put(&mut members, "basic_auth", (!said.is_empty()).then(|| json!({ "users": said })));
    if let Some(rate) = &flags.rate {
        let (requests, per) = per(rate, "--rate", "10/s")?;
        let mut rate = Members::new();
        put(&mut rate, "requests", Some(requests));
        put(&mut rate, "per", Some(per));
        put(&mut rate, "burst", flags.burst.or(Some(requests)));
        put(&mut members, "rate", Some(rate));
    }
    put(&mut members, "body_max", flags.max_body.clone());
    put(&mut members, "in_flight_max", flags.max_in_flight);
    put(&mut members, "gzip", flags.gzip.map(Switch::is_on));
    put_list(&mut members, "upgrades", texts(&flags.upgrade));
    // Off takes it back, whatever its page was.
    let maintenance = flags.maintenance.map(|switch| if switch.is_on() { json!({}) } else { Value::Null });
    put(&mut members, "maintenance", maintenance);
    Ok(members)
}

/// `NAME: VALUE`.
pub(in crate::cli) fn field(text: &str) -> Result<(&str, &str), Failure> {
    let pair = text.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
    pair.ok_or_else(|| Failure::usage(format!("{text:?} is no header field; write 'NAME: VALUE'")))
}

/// `N/TIME`; the unit alone is one of it.
fn per(text: &str, flag: &str, example: &str) -> Result<(u32, String), Failure> {
    let wrong = || Failure::usage(format!("{flag} {text:?}: write a number and a time, as in {example}"));
    let (number, time) = text.split_once('/').ok_or_else(wrong)?;
    let number = number.parse().map_err(|_| wrong())?;
    let time =
        if time.starts_with(|c: char| c.is_ascii_digit()) { time.to_owned() } else { format!("1{time}") };
    Ok((number, time))
}

fn upstreams(flags: &UpstreamFlags) -> Result<Members, Failure> {
    let mut members = Members::new();
    put(&mut members, "balance", flags.balance.clone());
    put(&mut members, "sticky", flags.sticky.as_deref().map(sticky).transpose()?);
    let mut check = Members::new();
    match flags.check.as_deref() {
        Some("tcp") => put(&mut check, "tcp", Some(true)),
        Some(path) => put(&mut check, "http", Some(json!({ "path": path }))),
        None => {}
    }
    put(&mut check, "interval", flags.check_interval.clone());
    put(&mut check, "timeout", flags.check_timeout.clone());
    put(&mut members, "check", (!check.is_empty()).then_some(check));
    if let Some(eject) = &flags.eject {
        let (failures, time) = per(eject, "--eject", "5/30s")?;
        put(&mut members, "ejection", Some(json!({"failures": failures, "for": time})));
    }
    put(&mut members, "slow_start", flags.slow_start.clone());
    put(&mut members, "retry", flags.tries.map(|tries| json!({ "tries": tries })));
    let tls = tls(flags)?;
    put(&mut members, "tls", (!tls.is_empty()).then_some(tls));
    put(&mut members, "proxy_protocol", flags.proxy_protocol.clone());
    Ok(members)
}

fn tls(flags: &UpstreamFlags) -> Result<Members, Failure> {
    let mut members = Members::new();
    put(&mut members, "ca_pem", flags.upstream_ca.as_deref().map(read).transpose()?);
    put(&mut members, "fingerprint", flags.upstream_fingerprint.clone());
    put(&mut members, "verify", flags.upstream_insecure.then_some("off"));
    put(&mut members, "server_name", flags.server_name.clone());
    put(&mut members, "client_cert_pem", flags.upstream_cert.as_deref().map(read).transpose()?);
    put(&mut members, "client_key_pem", flags.upstream_key.as_deref().map(read).transpose()?);
    Ok(members)
}

/// `cookie[:NAME]` or `learned:HEADER:PATH:FIELD[:TIME]`.
fn sticky(text: &str) -> Result<Value, Failure> {
    let wrong = || {
        Failure::usage(format!("--sticky {text:?}: write cookie[:NAME] or learned:HEADER:PATH:FIELD[:TIME]"))
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        ["cookie"] => Ok(json!({"cookie": {}})),
        ["cookie", name] => Ok(json!({"cookie": {"name": name}})),
        ["learned", header, path, field, rest @ ..] if rest.len() <= 1 => {
            let field: u8 = field.parse().map_err(|_| wrong())?;
            let mut learned = json!({"header": header, "path": path, "field": field});
            if let Some(time) = rest.first() {
                overlay(&mut learned, json!({ "expire": time }));
            }
            Ok(json!({ "learned": learned }))
        }
        _ => Err(wrong()),
    }
}

fn timeouts(said: &[String]) -> Result<Members, Failure> {
    let mut members = Members::new();
    for text in said {
        let Some((name, time)) = text.split_once('=') else {
            return Err(Failure::usage(format!(
                "--timeout {text:?}: write a name and a time, as in whole=30s"
            )));
        };
        put(&mut members, name, Some(time));
    }
    Ok(members)
}

fn answer(flags: &AnswerFlags) -> Result<Value, Failure> {
    let mut members = Members::new();
    if let Some(to) = &flags.redirect {
        put(&mut members, "to", Some(to.as_str()));
        put(&mut members, "status", flags.status);
        put(&mut members, "keeps_rest", flags.keep_rest.map(Switch::is_on));
        return Ok(json!({ "redirect": members }));
    }
    if let Some(status) = flags.respond {
        put(&mut members, "status", Some(status));
        put(&mut members, "body", flags.body_file.as_deref().map(read).transpose()?.or(flags.body.clone()));
        put(&mut members, "content_type", flags.content_type.clone());
        return Ok(json!({ "respond": members }));
    }
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::super::args::{Cli, Command, RouteCommand};
    use super::*;

    fn body(line: &[&str]) -> Result<Value, Failure> {
        let words = ["gatehouse", "route", "add", "a.example.com", "http://10.0.0.5"].iter().chain(line);
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let Command::Route(RouteCommand::Add { fields, .. }) = cli.command else { panic!() };
        let mut body = json!({});
        put_options(&mut body, &fields.options, &[]).map(|()| body)
    }

    #[test]
    fn conditions_are_written_as_people_write_them() {
        let line = [
            "--match-method",
            "GET",
            "--match-header",
            "X-A=b=c",
            "--match-header",
            "!X-B",
            "--match-query",
            "v^=2",
            "--match-query",
            "k",
            "--match-client",
            "10.0.0.0/8",
            "--priority",
            "-5",
            "--path-exact",
        ];
        let wanted = json!({"match": {
            "methods": ["GET"], "clients": ["10.0.0.0/8"], "priority": -5, "path_exact": true,
            "headers": [{"name": "X-A", "equals": "b=c"}, {"name": "X-B", "absent": true}],
            "query": [{"name": "v", "prefix": "2"}, {"name": "k", "present": true}],
        }});
        assert_eq!(body(&line).unwrap(), wanted);
    }

    #[test]
    fn filters_and_targets_are_written_as_people_write_them() {
        let line = [
            "--strip",
            "/a",
            "--set-header",
            "X-A: b:c",
            "--remove-header",
            "Cookie",
            "--response-header",
            "X-F: DENY",
            "--rate",
            "10/s",
            "--max-body",
            "10MiB",
            "--gzip",
            "--upgrade",
            "tcp",
            "--maintenance=off",
            "--balance",
            "p2c",
            "--sticky",
            "learned:InfID:/infrastructures:3:60m",
            "--check",
            "/version",
            "--check-interval",
            "1s",
            "--eject",
            "5/30s",
            "--tries",
            "2",
            "--upstream-insecure",
            "--timeout",
            "whole=30s",
        ];
        let wanted = json!({
            "filters": {
                "path": {"strip": "/a"}, "rate": {"requests": 10, "per": "1s", "burst": 10}, "body_max": "10MiB",
                "gzip": true, "upgrades": ["tcp"], "maintenance": null,
                "request_headers": [{"set": "X-A", "value": "b:c"}, {"remove": "Cookie"}],
                "response_headers": [{"set": "X-F", "value": "DENY", "always": true}],
            },
            "upstream": {
                "balance": "p2c", "tls": {"verify": "off"}, "retry": {"tries": 2},
                "sticky": {"learned": {"header": "InfID", "path": "/infrastructures", "field": 3, "expire": "60m"}},
                "check": {"http": {"path": "/version"}, "interval": "1s"}, "ejection": {"failures": 5, "for": "30s"},
            },
            "timeouts": {"whole": "30s"},
        });
        assert_eq!(body(&line).unwrap(), wanted);
    }

    #[test]
    fn the_file_of_options_has_the_last_word() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"filters": {"gzip": null, "deny": ["10.0.0.9"]}}"#).unwrap();
        let options = file.path().to_str().unwrap();
        let found = body(&["--gzip", "--max-in-flight", "5", "--options", options]).unwrap();
        assert_eq!(found, json!({"filters": {"gzip": null, "in_flight_max": 5, "deny": ["10.0.0.9"]}}));
        std::fs::write(file.path(), "[]").unwrap();
        assert!(body(&["--options", options]).unwrap_err().to_string().contains("JSON object"));
    }

    #[test]
    fn what_is_written_wrongly_is_a_usage_error_that_says_how() {
        for (line, part) in [
            (["--rate", "ten"], "10/s"),
            (["--sticky", "cookie:a:b"], "learned:HEADER"),
            (["--timeout", "30s"], "whole=30s"),
            (["--set-header", "X-A"], "NAME: VALUE"),
        ] {
            let failure = body(&line).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().contains(part), "{failure}");
        }
    }
}
