//! The `Host` field: `uri-host [ ":" port ]` (RFC 9110 § 7.2), of which registered names are host names.

use std::net::Ipv6Addr;

use config::limits;

use super::bad;
use crate::fault::Fault;

/// Checks the value and writes the host into `out`: lower-case, without port and trailing dot. A literal of IPv6 keeps
/// its brackets.
pub fn parse(value: &[u8], out: &mut String) -> Result<(), Fault> {
    out.clear();
    let text = std::str::from_utf8(value).map_err(|_| bad("the Host is not ASCII"))?;
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or(bad("the Host has an open bracket"))?;
        let (host, rest) = text.split_at(end + 1);
        let inner = host.get(1..end).unwrap_or_default();
        inner.parse::<Ipv6Addr>().map_err(|_| bad("the Host is not an IPv6 address"))?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':').ok_or(bad("the Host has text after its address"))?)),
        }
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
        let host = host.strip_suffix('.').unwrap_or(host);
        check_name(host)?;
        (host, port)
    };
    if let Some(port) = port {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || port.parse::<u16>().is_err() {
            return Err(bad("the Host has a malformed port"));
        }
    }
    out.push_str(host);
    out.make_ascii_lowercase();
    Ok(())
}

fn check_name(host: &str) -> Result<(), Fault> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| {
        !label.is_empty() && label.len() <= limits::LABEL_BYTES_MAX && label.bytes().all(is_plain)
    };
    if host.len() > limits::HOST_NAME_BYTES_MAX || !host.split('.').all(is_label) {
        return Err(bad("the Host is not a host name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<String> {
        let mut out = String::from("left over");
        parse(value.as_bytes(), &mut out).ok().map(|()| out)
    }

    #[test]
    fn a_host_is_folded_and_loses_port_and_dot() {
        for (value, host) in [
            ("App.Example.COM", "app.example.com"),
            ("app.example.com.:8080", "app.example.com"),
            ("a_b.example:1", "a_b.example"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:443", "[::1]"),
        ] {
            assert_eq!(parsed(value).as_deref(), Some(host), "{value}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(64);
        for value in [
            "",
            ".",
            ":80",
            "a..b",
            "a b",
            "a/b",
            "user@a",
            "a:b",
            "a:+1",
            "a:",
            "a:65536",
            "a,b",
            "a%2eb",
            "ä.example",
            "[::1",
            "[::1]x",
            "[x]",
            "[::1]:",
            "a:80:80",
            "a#",
            "a\\b",
            &long,
        ] {
            assert_eq!(parsed(value), None, "{value:?}");
        }
    }
}
