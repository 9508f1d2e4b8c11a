//! Path prefixes: one spelling each.

use std::fmt;

use crate::limits;
use crate::name::{NameError, shown};

/// A path prefix that matches on segment boundaries: `/a` covers `/a` and `/a/b`, not `/ab`.
///
/// Begins with `/`; ends with `/` only when it is `/` itself. Kept without its trailing slash, so `/` is empty and
/// takes no heap: most routes have no other path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// Parses and drops one trailing slash; the digits of percent-escapes become upper-case (RFC 3986 § 6.2.2.1).
    ///
    /// Errors: anything that a request could spell in a second way, or that no path may contain (RFC 3986 § 3.3).
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let refuse = |why| NameError::Path { name: shown(text), why };
        if text.len() > limits::PATH_PREFIX_BYTES_MAX {
            return Err(NameError::TooLong { name: shown(text), max: limits::PATH_PREFIX_BYTES_MAX });
        }
        let Some(rest) = text.strip_prefix('/') else { return Err(refuse("does not begin with /")) };
        if rest.is_empty() {
            return Ok(Self::root());
        }
        let mut folded = String::with_capacity(text.len());
        for segment in rest.strip_suffix('/').unwrap_or(rest).split('/') {
            folded.push('/');
            fold_segment(segment, &mut folded).map_err(refuse)?;
        }
        Ok(Self(folded.into_boxed_str()))
    }

    /// The prefix of every path.
    pub fn root() -> Self {
        Self("".into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "/" } else { &self.0 }
    }

    /// The text without its trailing slash: empty for the root.
    pub(crate) fn trimmed(&self) -> &str {
        &self.0
    }

    /// Whether `path` lies under this prefix.
    pub fn covers(&self, path: &str) -> bool {
        self.0.is_empty()
            || path.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn fold_segment(segment: &str, into: &mut String) -> Result<(), &'static str> {
    match segment {
        "" => return Err("contains //"),
        "." | ".." => return Err("contains a dot segment"),
        _ => {}
    }
    let mut characters = segment.chars();
    while let Some(character) = characters.next() {
        into.push(character);
        match character {
            '%' => {
                let digits = [characters.next(), characters.next()];
                into.extend(check_escape(digits)?.map(|digit| digit.to_ascii_uppercase()));
            }
            '?' | '#' => return Err("contains a query or fragment; write the path alone"),
            '!' | '$' | '&' | '\'' | '(' | ')' | '*' | '+' | ',' | ';' | '=' | ':' | '@' => {}
            other if is_unreserved(other) => {}
            other if !other.is_ascii() => {
                return Err("contains a character that is not ASCII; write it percent-encoded");
            }
            _ => return Err("contains a character that no path may (RFC 3986 § 3.3)"),
        }
    }
    Ok(())
}

/// RFC 3986 § 2.3.
const fn is_unreserved(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~')
}

fn check_escape(digits: [Option<char>; 2]) -> Result<[char; 2], &'static str> {
    let value = |digit: Option<char>| digit.and_then(|digit| Some((digit, digit.to_digit(16)?)));
    let [Some((high, sixteens)), Some((low, ones))] = digits.map(value) else {
        return Err("contains a % that two hexadecimal digits do not follow");
    };
    match char::from_u32(sixteens * 16 + ones) {
        Some('/' | '\\') => Err("contains an encoded slash"),
        Some('.') => Err("contains an encoded dot"),
        Some(c) if c.is_ascii_control() => Err("contains an encoded control character"),
        Some(c) if is_unreserved(c) => Err("encodes a character that needs it not; write it plainly"),
        _ => Ok([high, low]),
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
