//! Which parts of a query are not for a log.
//!
//! When in doubt more is hidden, not less: a line that hides too much is a nuisance, one that tells a token is a key.

/// What stands in the place of a secret.
const HIDDEN: &[u8] = b"REDACTED";
/// How often a value is decoded in search of parameters within it: a URL in a URL in a URL.
const DEPTH: usize = 3;

/// The names of parameters whose values are secret.
#[derive(Debug)]
pub(super) struct Redactor {
    /// Lower-case letters and digits; sorted.
    names: Vec<Vec<u8>>,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Redactor {
    pub(super) fn new(names: &[String]) -> Self {
        let mut names: Vec<_> =
            names.iter().map(|name| fold(name.as_bytes().iter().copied()).collect()).collect();
        names.sort();
        Self { names, name: Vec::new(), value: Vec::new() }
    }

    /// Appends `query` to `out` without its secrets.
    pub(super) fn query(&mut self, query: &[u8], out: &mut Vec<u8>) {
        for (at, pair) in query.split(|byte| *byte == b'&').enumerate() {
            if at > 0 {
                out.push(b'&');
            }
            self.pair(pair, out);
        }
    }

    /// Appends a path without the tickets of consoles.
    #[expect(clippy::unused_self, reason = "the form of its siblings")]
    pub(super) fn path(&mut self, path: &[u8], out: &mut Vec<u8>) {
        super::ticket::path(path, out);
    }

    /// Appends a URL without the secrets of its query, its fragment, and the login before its host.
    pub(super) fn url(&mut self, url: &[u8], out: &mut Vec<u8>) {
        let url = url.split(|byte| *byte == b'#').next().unwrap_or_default();
        let end = url.iter().position(|byte| *byte == b'?').unwrap_or(url.len());
        let (before, query) = url.split_at_checked(end).unwrap_or((url, &[]));
        let host = before.windows(3).position(|part| part == b"://").map_or(0, |at| at + 3);
        let authority = before.get(host..).unwrap_or_default();
        let authority_end = authority.iter().position(|byte| *byte == b'/').unwrap_or(authority.len());
        let login = authority.get(..authority_end).unwrap_or_default().iter().rposition(|byte| *byte == b'@');
        out.extend_from_slice(before.get(..host).unwrap_or_default());
        super::ticket::path(authority.get(login.map_or(0, |at| at + 1)..).unwrap_or_default(), out);
        if let Some((mark, query)) = query.split_first() {
            out.push(*mark);
            self.query(query, out);
        }
    }

    /// Some servers divide pairs at `;`, others take it for a part of the value: what follows a secret up to the next
    /// `&` may belong to it.
    fn pair(&mut self, pair: &[u8], out: &mut Vec<u8>) {
        let mut start = 0;
        for part in pair.split(|byte| *byte == b';') {
            let equals = part.iter().position(|byte| *byte == b'=');
            let name_len = equals.unwrap_or(part.len());
            let name = part.get(..name_len).unwrap_or_default();
            let value = part.get((name_len + 1).min(part.len())..).unwrap_or_default();
            if self.is_secret(name) {
                if equals.is_some() {
                    out.extend_from_slice(pair.get(..=start + name_len).unwrap_or_default());
                    out.extend_from_slice(HIDDEN);
                    return;
                }
                // `token%3Dvalue`: a name to the standard, a pair to whoever decodes first.
                if name.contains(&b'%') {
                    out.extend_from_slice(pair.get(..start).unwrap_or_default());
                    out.extend_from_slice(HIDDEN);
                    return;
                }
            } else if super::ticket::is_one(part) {
                out.extend_from_slice(pair.get(..start).unwrap_or_default());
                out.extend_from_slice(HIDDEN);
                return;
            } else if equals.is_some() && (super::ticket::is_one(value) || self.holds_secret(value)) {
                out.extend_from_slice(pair.get(..=start + name_len).unwrap_or_default());
                out.extend_from_slice(HIDDEN);
                return;
            }
            start += part.len() + 1;
        }
        out.extend_from_slice(pair);
    }

    /// Whether a name, or a part of one such as `user[password]`, is on the list.
    fn is_secret(&mut self, name: &[u8]) -> bool {
        let mut decoded = std::mem::take(&mut self.value);
        decoded.clear();
        decoded.extend(decode(name));
        let found = decoded
            .split(|byte| matches!(byte, b'[' | b']' | b'.' | b'=' | b':'))
            .any(|part| self.is_listed(part));
        self.value = decoded;
        found
    }

    fn is_listed(&mut self, name: &[u8]) -> bool {
        self.name.clear();
        self.name.extend(fold(name.iter().copied()));
        self.names.binary_search(&self.name).is_ok()
    }

    /// Whether a value is itself a URL or a query with a secret in it: `next=/callback%3Fcode%3D…`.
    fn holds_secret(&mut self, value: &[u8]) -> bool {
        if !value.iter().any(|byte| matches!(byte, b'%' | b'=')) {
            return false;
        }
        let mut text = value.to_vec();
        for _ in 0..DEPTH {
            for pair in text.split(|byte| matches!(byte, b'?' | b'&' | b';' | b'#')) {
                let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
                if self.is_secret(pair.get(..equals).unwrap_or_default()) {
                    return true;
                }
            }
            let decoded: Vec<u8> = decode(&text).collect();
            if decoded == text {
                break;
            }
            text = decoded;
        }
        false
    }
}

/// Letters and digits, in lower case.
fn fold(name: impl Iterator<Item = u8>) -> impl Iterator<Item = u8> {
    name.filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase())
}

/// Takes percent-encoding off, once.
pub(super) fn decode(text: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *text.get(at)?;
        if byte == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
        {
            at += 3;
            return u8::try_from(high << 4 | low).ok();
        }
        at += 1;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::settings::AccessLog;

    fn query(text: &str) -> String {
        let mut out = Vec::new();
        Redactor::new(&AccessLog::redacted_by_default()).query(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_are_hidden_however_they_are_spelt() {
        for (text, written) in [
            ("q=1&token=abc&x=2", "q=1&token=REDACTED&x=2"),
            ("token=a&token=b", "token=REDACTED&token=REDACTED"),
            ("Access-Token=a", "Access-Token=REDACTED"),
            ("access%5Ftoken=a", "access%5Ftoken=REDACTED"),
            ("%74oken=a", "%74oken=REDACTED"),
            ("to%6Ben=a", "to%6Ben=REDACTED"),
            ("TOKEN=a", "TOKEN=REDACTED"),
            ("user[password]=a", "user[password]=REDACTED"),
            ("user%5Bpassword%5D=a", "user%5Bpassword%5D=REDACTED"),
            ("token[]=a&token[]=b", "token[]=REDACTED&token[]=REDACTED"),
            ("+token=a", "+token=REDACTED"),
            ("token=a=b", "token=REDACTED"),
            ("token=", "token=REDACTED"),
            ("a=1;token=x", "a=1;token=REDACTED"),
            ("token=x;rest", "token=REDACTED"),
            ("token%3Dx", "REDACTED"),
            ("X-Amz-Signature=00", "X-Amz-Signature=REDACTED"),
            ("SAMLResponse=x", "SAMLResponse=REDACTED"),
            ("next=/cb?code=x", "next=REDACTED"),
            ("next=%2Fcb%3Fcode%3Dx", "next=REDACTED"),
            ("next=%252Fcb%253Fcode%253Dx%2526a", "next=REDACTED"),
        ] {
            assert_eq!(query(text), written, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_came() {
        for text in [
            "",
            "q=1",
            "token",
            "tokens=3",
            "keyboard=qwerty",
            "a=%zz&b=%",
            "&&=&",
            "next=/a?b=c",
            "a=100%25",
            "%=%",
        ] {
            assert_eq!(query(text), text);
        }
    }

    #[test]
    fn a_url_loses_login_fragment_and_secrets() {
        for (text, written) in [
            ("https://u:p@a.example/x?code=y&z=1#token=t", "https://a.example/x?code=REDACTED&z=1"),
            ("https://a.example/@me", "https://a.example/@me"),
            ("https://a.example", "https://a.example"),
            ("u:p@a.example/", "a.example/"),
            ("?token=x", "?token=REDACTED"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            Redactor::new(&AccessLog::redacted_by_default()).url(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), written, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_query_makes_it_panic_and_no_named_secret_gets_out(text in "[a-z%&;=?#\\[\\]0-9]{0,40}") {
            query(&text);
            let written = query(&format!("{text}&password=hunter2"));
            proptest::prop_assert!(!written.contains("hunter2"));
        }
    }
}
