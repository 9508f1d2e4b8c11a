//! The path: as it came, and as a lenient origin may read it.
//!
//! Routes are matched on the path as it came. Where percent-encoding, dot segments or empty segments let an origin see
//! another path, that one is made too; the request passes only if both lead to the same route.

use super::bad;
use crate::fault::Fault;

/// Checks the path. Returns whether it can be read in another way, which is then in `other`.
pub fn check(path: &[u8], other: &mut String) -> Result<bool, Fault> {
    other.clear();
    let mut is_odd = false;
    let mut before = 0;
    for byte in path.iter().copied() {
        match byte {
            b'"' | b'<' | b'>' | b'#' | b'\\' => return Err(bad("the path has a byte that no path may")),
            b'%' => is_odd = true,
            b'/' | b'.' if before == b'/' => is_odd = true,
            _ => {}
        }
        before = byte;
    }
    if !is_odd {
        return Ok(false);
    }
    decode(path, other)?;
    flatten(other);
    Ok(other.as_bytes() != path)
}

/// Checks the query: a fragment is never sent.
pub fn check_query(query: &[u8]) -> Result<(), Fault> {
    if memchr::memchr(b'#', query).is_some() { Err(bad("the target has a fragment")) } else { Ok(()) }
}

fn decode(path: &[u8], out: &mut String) -> Result<(), Fault> {
    let mut rest = path;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            out.push(char::from(*first));
            continue;
        }
        let [high, low, after @ ..] = after else { return Err(bad("a percent-encoding is cut short")) };
        rest = after;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (Some(high_value), Some(low_value)) = (digit(*high), digit(*low)) else {
            return Err(bad("a percent-encoding is not hexadecimal"));
        };
        let decoded = u8::try_from(high_value << 4 | low_value).unwrap_or_default();
        match decoded {
            0 => return Err(bad("the path has an encoded NUL")),
            b'/' | b'\\' => out.push('/'),
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(decoded)),
            _ if decoded.is_ascii_alphanumeric() => out.push(char::from(decoded)),
            _ => {
                out.push('%');
                out.push(char::from(*high));
                out.push(char::from(*low));
            }
        }
    }
    Ok(())
}

/// Removes empty and dot segments in place (RFC 3986 § 5.2.4). All bytes are ASCII.
fn flatten(path: &mut String) {
    let mut bytes = std::mem::take(path).into_bytes();
    let mut kept = 0;
    let mut at = 0;
    while at < bytes.len() {
        // `at` is on a slash: a segment reaches to the next one.
        let end =
            memchr::memchr(b'/', bytes.get(at + 1..).unwrap_or_default()).map_or(bytes.len(), |n| at + 1 + n);
        let is_last = end == bytes.len();
        match without_parameters(bytes.get(at + 1..end).unwrap_or_default()) {
            b"" | b"." if !is_last => {}
            b".." => {
                kept = bytes.get(..kept).and_then(|kept| memchr::memrchr(b'/', kept)).unwrap_or(0);
                if is_last {
                    kept = keep(&mut bytes, at..at + 1, kept);
                }
            }
            b"." => kept = keep(&mut bytes, at..at + 1, kept),
            _ => kept = keep(&mut bytes, at..end, kept),
        }
        at = end;
    }
    bytes.truncate(kept);
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    *path = String::from_utf8(bytes).unwrap_or_default();
}

/// A dot segment without what follows a semicolon: servers of Java take `..;x` for `..`. Others pass as they are.
fn without_parameters(segment: &[u8]) -> &[u8] {
    let dots = segment.iter().take_while(|byte| **byte == b'.').count();
    match segment.split_at_checked(dots) {
        Some((dots @ (b"." | b".."), [b';', ..] | [b'%', b'3', b'b' | b'B', ..])) => dots,
        _ => segment,
    }
}

fn keep(bytes: &mut [u8], segment: std::ops::Range<usize>, kept: usize) -> usize {
    let len = segment.len();
    bytes.copy_within(segment, kept);
    kept + len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_can_be_read_in_two_ways_gives_both() {
        for (path, other) in [
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("//a", "/a"),
            ("/a//b/", "/a/b/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/../../a", "/a"),
            ("/a/%2e%2E/b", "/b"),
            ("/a%2fb", "/a/b"),
            ("/a%5c..%5cb", "/b"),
            ("/%61dmin", "/admin"),
            ("/a/.", "/a/"),
            ("/a/..;/b", "/b"),
            ("/a/..;x=y/b", "/b"),
            ("/a/.;/b", "/a/b"),
            ("/a/%2e%2e%3b/b", "/b"),
            ("/a/..;", "/"),
            ("//", "/"),
        ] {
            let mut out = String::new();
            assert!(check(path.as_bytes(), &mut out).unwrap(), "{path}");
            assert_eq!(out, other, "{path}");
        }
    }

    #[test]
    fn an_ordinary_path_has_one_reading() {
        for path in [
            "/",
            "/a/b.c/",
            "/a.b",
            "/a%20b",
            "/.well-known/x",
            "/a/...",
            "/a/...;x",
            "/a;x/b",
            "/%C3%A4",
            "",
        ] {
            assert!(!check(path.as_bytes(), &mut String::new()).unwrap(), "{path}");
        }
    }

    #[test]
    fn an_encoded_nul_and_half_an_encoding_are_refused() {
        for path in ["/a%00", "/a%0", "/a%", "/a%zz", "/a\\b", "/a#b"] {
            assert!(check(path.as_bytes(), &mut String::new()).is_err(), "{path}");
        }
    }
}
