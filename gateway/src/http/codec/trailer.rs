//! Which fields may stand in a trailer section (RFC 9110 § 6.5.1).
//!
//! A receiver may merge trailers into the head after it decided by the head. So nothing passes that frames, routes,
//! authenticates, caches or says what the content is.

use super::Known;

/// Longest name that is compared; the longest below has 19 bytes.
const NAME_BYTES_MAX: usize = 32;

/// Names that never pass, in lower case and with dashes; [`Known`] holds more.
const NEVER: &[&[u8]] = &[
    b"age",
    b"alt-svc",
    b"authorization",
    b"cache-control",
    b"cookie",
    b"date",
    b"early-data",
    b"expires",
    b"location",
    b"max-forwards",
    b"pragma",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"vary",
    b"warning",
    b"www-authenticate",
];

/// Beginnings of names that never pass.
const NEVER_BEGINNINGS: &[&[u8]] = &[b"access-control-", b"if-", b"sec-", b"x-forwarded-"];

/// Digests of the content are made while it is sent (RFC 9530 § 6.5), so these of `Content-` are at home here.
const DIGESTS: &[&[u8]] = &[b"content-digest", b"content-md5"];

/// Whether a trailer field of this name passes on.
pub fn passes(name: &[u8]) -> bool {
    if Known::of(name) != Known::Other {
        return false;
    }
    let mut folded = [0; NAME_BYTES_MAX];
    let len = name.len().min(NAME_BYTES_MAX);
    for (to, from) in folded.iter_mut().zip(name) {
        // CGI programs cannot tell `Set_Cookie` from `Set-Cookie`.
        *to = if *from == b'_' { b'-' } else { from.to_ascii_lowercase() };
    }
    let name = folded.get(..len).unwrap_or_default();
    let is_content = name.starts_with(b"content-") && !DIGESTS.contains(&name);
    !is_content && !NEVER.contains(&name) && !NEVER_BEGINNINGS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_about_a_message_does_not_come_after_it() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "Trailer",
            "TE",
            "Connection",
            "Authorization",
            "Cookie",
            "set_cookie",
            "Content-Type",
            "content_encoding",
            "If-Match",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Request-Id",
            "Sec-WebSocket-Accept",
            "Proxy-Authorization",
            "Expect",
        ] {
            assert!(!passes(name.as_bytes()), "{name}");
        }
        for name in ["grpc-status", "Grpc-Message", "my_key-bin", "Content-Digest", "ETag", "Server-Timing"] {
            assert!(passes(name.as_bytes()), "{name}");
        }
    }
}
