//! How the path is changed on the way to the upstream: bytes are cut off and put before, and never decoded.

use config::name::PathPrefix;
use config::snapshot::PathRewrite;

use super::super::door;
use crate::fault::{Fault, Kind};

/// Refuses a path that would lead an origin out of what the route gives it, by how it is read.
///
/// `other` is the path as a lenient origin reads it, where that differs. Errors: a segment climbs, or the two readings
/// are no longer one after the change.
pub(in super::super) fn check(rewrite: &PathRewrite, path: &[u8], other: Option<&str>) -> Result<(), Fault> {
    check_climbing(path)?;
    let Some(other) = other else { return Ok(()) };
    let (mut changed, mut wanted, mut read) = (Vec::new(), Vec::new(), String::new());
    write(&mut changed, rewrite, path);
    write(&mut wanted, rewrite, other.as_bytes());
    let is_odd = door::path::check(&changed, &mut read)?;
    if wanted == if is_odd { read.as_bytes() } else { &changed } {
        Ok(())
    } else {
        Err(refused("the path leads elsewhere, by how it is read before it is changed"))
    }
}

/// Refuses a path with a segment that climbs, in any spelling: what is put before it would not hold it.
pub(in super::super) fn check_climbing(path: &[u8]) -> Result<(), Fault> {
    if climbs(path) { Err(refused("the path climbs, on a route that changes it")) } else { Ok(()) }
}

fn refused(rule: &'static str) -> Fault {
    Fault::downstream(Kind::BadRequest, rule)
}

/// Writes the changed path. Never empty, and never begins with two slashes, which some read as a host.
pub(in super::super) fn write(out: &mut Vec<u8>, rewrite: &PathRewrite, path: &[u8]) {
    let add = trimmed(&rewrite.add);
    out.extend_from_slice(add);
    let rest = below(&rewrite.strip, path).unwrap_or(path);
    out.extend_from_slice(if add.is_empty() { one_slash(rest) } else { rest });
    if add.is_empty() && rest.is_empty() {
        out.push(b'/');
    }
}

/// What follows `prefix` in `path`, if that ends on a segment boundary: nothing, or something that begins with a slash.
pub(in super::super) fn below<'a>(prefix: &PathPrefix, path: &'a [u8]) -> Option<&'a [u8]> {
    path.strip_prefix(trimmed(prefix)).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The rest without the slashes that it begins with, but for the last of them.
pub(in super::super) fn one_slash(rest: &[u8]) -> &[u8] {
    let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
    rest.get(slashes.saturating_sub(1)..).unwrap_or_default()
}

/// The prefix as it is put together with what follows: empty for the root.
fn trimmed(prefix: &PathPrefix) -> &[u8] {
    let text = prefix.as_str().as_bytes();
    if text == b"/" { b"" } else { text }
}

/// Whether a segment is `..`, also with parameters (`..;a`, which servlet containers take off), encoded, or between
/// encoded or backward slashes.
fn climbs(path: &[u8]) -> bool {
    let mut dots = Some(0);
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) => (decoded(*high, *low), after),
            _ => (*first, after),
        };
        match byte {
            b'/' | b'\\' | b';' if dots == Some(2) => return true,
            b'/' | b'\\' => dots = Some(0),
            b'.' => dots = dots.map(|dots: usize| dots + 1),
            _ => dots = None,
        }
        rest = after;
    }
    dots == Some(2)
}

fn decoded(high: u8, low: u8) -> u8 {
    match (high, low.to_ascii_lowercase()) {
        (b'2', b'e') => b'.',
        (b'2', b'f') => b'/',
        (b'5', b'c') => b'\\',
        (b'3', b'b') => b';',
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(strip: &str, add: &str) -> PathRewrite {
        PathRewrite { strip: PathPrefix::parse(strip).unwrap(), add: PathPrefix::parse(add).unwrap() }
    }

    fn changed(strip: &str, add: &str, path: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, &rewrite(strip, add), path.as_bytes());
        String::from_utf8(out).unwrap()
    }

    fn is_refused(strip: &str, add: &str, path: &str) -> bool {
        let mut other = String::new();
        let has_other = door::path::check(path.as_bytes(), &mut other).unwrap();
        check(&rewrite(strip, add), path.as_bytes(), has_other.then_some(other.as_str())).is_err()
    }

    #[test]
    fn prefixes_are_taken_away_and_put_before_on_segment_boundaries() {
        for (strip, add, path, expected) in [
            ("/api", "/", "/api/x", "/x"),
            ("/api", "/", "/api", "/"),
            ("/api", "/", "/api/", "/"),
            ("/api", "/", "/apix", "/apix"),
            ("/api", "/v1", "/api", "/v1"),
            ("/api", "/v1", "/api/", "/v1/"),
            ("/api", "/v1", "/api/a%2Fb;c=%C3%A4/", "/v1/a%2Fb;c=%C3%A4/"),
            ("/", "/v1", "/a", "/v1/a"),
            ("/", "/v1", "", "/v1"),
            ("/", "/", "", "/"),
            ("/api", "/", "/api//evil.example/x", "/evil.example/x"),
            ("/api", "/", "//evil.example", "/evil.example"),
            ("/api", "/", "/api////", "/"),
            ("/api", "/v1", "/api//x", "/v1//x"),
        ] {
            assert_eq!(changed(strip, add, path), expected, "{strip} {add} {path}");
        }
    }

    #[test]
    fn what_leads_out_by_how_it_is_read_is_refused() {
        for path in [
            "/api/../x",
            "/api/..",
            "/api/%2e%2E/x",
            "/api/.%2e/x",
            "/api%2f..%2fx",
            "/api%5c..",
            "/api/..;a/x",
            "/api/a/..;/x",
            "/api/..%3ba/x",
            "/api/a//../../x",
            "/%61pi/x",
            "/x/%2e/../api",
            "//api/x",
            "/./api/x",
            "/api%2fx",
        ] {
            assert!(is_refused("/api", "/v1", path), "{path}");
        }
    }

    #[test]
    fn what_leads_to_the_same_passes() {
        for path in
            ["/api/x", "/api//x", "/api/./x", "/api/%61", "/api/a%2Fb", "/api/...", "/api/a..", "/api/%20"]
        {
            assert!(!is_refused("/api", "/v1", path), "{path}");
            assert!(!is_refused("/api", "/", path), "{path}");
        }
    }
}
