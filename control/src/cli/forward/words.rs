//! From the words of `forward add` to a body.

use serde_json::{Value, json};

use super::super::args::forward::ForwardFields;
use super::super::failure::Failure;
use super::super::put;
use crate::app::forward::view::{PRESETS, Preset};

/// The body of a new forward.
///
/// Errors: words that say nothing, or say a thing twice.
pub(super) fn body(words: &[String], preset: Option<&str>, fields: &ForwardFields) -> Result<Value, Failure> {
    let preset = preset.map(find).transpose()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (protocol, port, target) = match (words.as_slice(), preset) {
        ([], _) => (None, None, None),
        ([target], Some(_)) => (None, None, Some(*target)),
        ([port, target], Some(_)) if !is_protocol(port) => (None, Some(*port), Some(*target)),
        ([protocol, target], _) => (Some(*protocol), None, Some(*target)),
        ([protocol, port, target], _) => (Some(*protocol), Some(*port), Some(*target)),
        _ => {
            let how = "write PROTOCOL PORT TARGET, as in: forward add tcp 10022 10.0.0.5:22";
            return Err(Failure::usage(how));
        }
    };
    let mut body = json!({});
    put(&mut body, "protocol", protocol.or(preset.map(|_| "tcp")));
    put(&mut body, "host_port", port);
    if let Some(preset) = preset {
        put(&mut body, "vm_port", Some(preset.port));
        put(&mut body, "note", Some(preset.name));
    }
    if let Some(target) = target {
        let (host, port) = split(target)?;
        put(&mut body, if host.parse::<std::net::IpAddr>().is_ok() { "vm_ip" } else { "vm" }, Some(host));
        put(&mut body, "vm_port", port);
    }
    for (name, word, flag) in [
        ("--protocol", protocol.is_some(), fields.protocol.is_some()),
        ("--host-port", port.is_some(), fields.host_port.is_some()),
        ("--vm or --vm-ip", target.is_some(), fields.vm.is_some() || fields.vm_ip.is_some()),
    ] {
        if word && flag {
            return Err(Failure::usage(format!("{name} is given as a word as well")));
        }
    }
    put_fields(&mut body, fields);
    Ok(body)
}

fn is_protocol(word: &str) -> bool {
    word.eq_ignore_ascii_case("tcp") || word.eq_ignore_ascii_case("udp")
}

fn find(name: &str) -> Result<Preset, Failure> {
    let found = PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        Failure::usage(format!("there is no preset {name:?}; there are {}", names.join(", ")))
    })
}

/// Host and port of `web01:22`, `10.0.0.5:22`, `[2001:db8::1]:22`; the port may be missing.
fn split(target: &str) -> Result<(&str, Option<&str>), Failure> {
    let wrong =
        || Failure::usage(format!("{target:?} is no target; write NAME:PORT, ADDRESS:PORT or [IPv6]:PORT"));
    let (host, port) = match target.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) };
            (host, port)
        }
        None => match target.split_once(':') {
            None => (target, None),
            Some((_, port)) if port.contains(':') => return Err(wrong()),
            Some((host, port)) => (host, Some(port)),
        },
    };
    if host.is_empty() || port == Some("") { Err(wrong()) } else { Ok((host, port)) }
}

/// Adds what flags say.
pub(super) fn put_fields(body: &mut Value, fields: &ForwardFields) {
    let or_null = |text: &Option<String>, null: &str| {
        text.as_ref().map(|text| if text == null { Value::Null } else { text.as_str().into() })
    };
    let bound = |number: Option<u32>| number.map(|n| if n == 0 { Value::Null } else { n.into() });
    put(body, "protocol", fields.protocol.clone());
    put(body, "host_port", fields.host_port.clone());
    put(body, "vm", fields.vm.clone());
    put(body, "vm_ip", fields.vm_ip.clone());
    put(body, "vm_port", fields.vm_port.clone());
    put(body, "bind", or_null(&fields.bind, "any"));
    if !fields.source.is_empty() {
        let named: Vec<_> = fields.source.iter().filter(|source| *source != "any").cloned().collect();
        put(body, "sources", Some(named));
    }
    put(body, "proxy_protocol", fields.proxy_protocol.clone());
    put(body, "max_conns", bound(fields.max_conns));
    put(body, "rate", bound(fields.rate));
    put(body, "idle_timeout", or_null(&fields.idle_timeout, "default"));
    put(body, "on_change", fields.on_change.clone());
    put(body, "on_delete", fields.on_delete.clone());
    put(body, "enabled", fields.enabled.map(super::super::args::Switch::is_on));
    put(body, "note", fields.note.clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(line: &str, preset: Option<&str>) -> Value {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        body(&words, preset, &ForwardFields::default()).unwrap()
    }

    #[test]
    fn words_are_read_as_people_write_them() {
        let ssh = json!({"protocol": "tcp", "host_port": "10022", "vm_ip": "10.0.0.5", "vm_port": "22"});
        assert_eq!(made("tcp 10022 10.0.0.5:22", None), ssh);
        let named = json!({"protocol": "udp", "vm": "dns.ns1", "vm_port": "53"});
        assert_eq!(made("udp dns.ns1:53", None), named);
        let six = json!({"protocol": "tcp", "host_port": "auto", "vm_ip": "2001:db8::1", "vm_port": "22"});
        assert_eq!(made("tcp auto [2001:db8::1]:22", None), six);
    }

    #[test]
    fn a_preset_knows_protocol_and_port() {
        let ssh = json!({"protocol": "tcp", "vm": "web01", "vm_port": 22, "note": "ssh"});
        assert_eq!(made("web01", Some("ssh")), ssh);
        let mysql = json!({"protocol": "tcp", "host_port": "13306", "vm_ip": "10.0.0.5", "vm_port": 3306, "note": "mysql"});
        assert_eq!(made("13306 10.0.0.5", Some("MySQL")), mysql);
        let other = json!({"protocol": "tcp", "vm": "web01", "vm_port": "2222", "note": "ssh"});
        assert_eq!(made("web01:2222", Some("ssh")), other);
    }

    #[test]
    fn what_says_nothing_or_says_it_twice_is_a_usage_error() {
        let fails = |line: &str, preset: Option<&str>, fields: &ForwardFields| {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(body(&words, preset, fields).unwrap_err().exit_code(), 2, "{line}");
        };
        let none = ForwardFields::default();
        fails("tcp", None, &none);
        fails("tcp 10022 2001:db8::1:22", None, &none);
        fails("tcp 10022 :22", None, &none);
        fails("tcp 10022 web01:", None, &none);
        fails("tcp 10022 [::1]22", None, &none);
        fails("web01", Some("gopher"), &none);
        fails("tcp 10022 web01:22", None, &ForwardFields { host_port: Some("1".into()), ..none.clone() });
    }
}
