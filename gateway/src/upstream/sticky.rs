//! The cookie that keeps a client at its endpoint: the endpoint's id, sealed, so that nobody learns or chooses one.
//!
//! The key is made from a secret that control made for this alone, which every gateway has. A cookie thus holds across
//! workers, gateways and restarts, and a lost secret only means that clients are balanced anew. While there is none, the
//! key is this process's own. The cookie passes on to the origin, which can read nothing in it.

use std::fmt::{self, Write as _};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::id::{EndpointId, RouteId};
use config::name::PathPrefix;

pub(super) mod learned;

const SALT: &[u8] = b"gatehouse sticky cookie 1";
const ID_BYTES: usize = 16;
const PLAIN_BYTES: usize = ID_BYTES + 8;
const TAG_BYTES: usize = 16;
const SEALED_BYTES: usize = NONCE_LEN + PLAIN_BYTES + TAG_BYTES;
/// Text of a sealed value, without padding.
const TEXT_BYTES: usize = SEALED_BYTES.div_ceil(3) * 4;

/// What the keys of all routes are made from.
pub(crate) struct Seal(Prk);

// No secret in a log.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(***)")
    }
}

impl Seal {
    /// Made from a secret that every gateway has.
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(Salt::new(HKDF_SHA256, SALT).extract(secret))
    }

    /// One that nobody else has.
    pub(super) fn random() -> Self {
        let (one, two): ([u8; 32], [u8; 32]) = rand::random();
        Self::of(&[one, two].concat())
    }

    /// The key of one route: a cookie of another is foreign. `None` never happens; it would leave the route without
    /// stickiness.
    pub(crate) fn key(&self, route: RouteId) -> Option<Key> {
        let info = [&b"route"[..], &route.to_bytes()];
        let mut bytes = [0; 32];
        self.0.expand(&info, HKDF_SHA256).ok()?.fill(&mut bytes).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok().map(Key)
    }
}

/// Seals and opens the cookies of one route.
pub(crate) struct Key(RandomizedNonceKey);

impl Key {
    /// The value that names `endpoint` until `expires`, in seconds since 1970; 0 is for ever.
    pub(crate) fn seal(&self, endpoint: EndpointId, expires: u64) -> Option<String> {
        let mut sealed = Vec::with_capacity(SEALED_BYTES);
        sealed.extend_from_slice(&endpoint.to_bytes());
        sealed.extend_from_slice(&expires.to_be_bytes());
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &sealed].concat()))
    }

    /// The endpoint that a value names; `None` for one that is forged, foreign or expired.
    pub(crate) fn open(&self, value: &[u8], now: u64) -> Option<EndpointId> {
        // What was never ours costs nothing.
        let mut sealed = [0; TEXT_BYTES];
        if value.len() > TEXT_BYTES {
            return None;
        }
        let len = URL_SAFE_NO_PAD.decode_slice(value, &mut sealed).ok().filter(|len| *len == SEALED_BYTES)?;
        let (nonce, body) = sealed.get_mut(..len)?.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.0.open_in_place(nonce, Aad::empty(), body).ok()?;
        let (id, expires) = plain.split_first_chunk::<ID_BYTES>()?;
        let expires = u64::from_be_bytes(*expires.first_chunk()?);
        (expires == 0 || now < expires).then(|| EndpointId::from_bytes(*id))
    }
}

/// What is said about a cookie besides its value.
pub(super) struct Attributes<'a> {
    pub(super) name: &'a str,
    pub(super) max_age_seconds: u32,
    pub(super) path: &'a PathPrefix,
    pub(super) is_secured: bool,
}

/// Writes the line that sets it (RFC 6265 § 4.1).
pub(super) fn write(out: &mut Vec<u8>, value: &str, attributes: &Attributes<'_>) {
    let Attributes { name, max_age_seconds, path, is_secured } = attributes;
    let mut line = format!("Set-Cookie: {name}={value}; Path={}; HttpOnly; SameSite=Lax", path.as_str());
    // Writing to a String cannot fail.
    if *max_age_seconds > 0 {
        let _ = write!(line, "; Max-Age={max_age_seconds}");
    }
    if *is_secured {
        line.push_str("; Secure");
    }
    line.push_str("\r\n");
    out.extend_from_slice(line.as_bytes());
}

/// The values of the cookies with this name in one `Cookie` field (RFC 6265 § 4.2.1).
pub(super) fn cookies<'a>(field: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    field.split(|byte| *byte == b';').filter_map(move |pair| {
        let (found, value) = pair.trim_ascii().split_at_checked(name.len())?;
        let value = value.strip_prefix(b"=").filter(|_| found == name.as_bytes())?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: EndpointId = EndpointId::from_bytes([1; 16]);
    const ROUTE: RouteId = RouteId::from_bytes([7; 16]);

    #[test]
    fn a_cookie_is_read_by_every_gateway_with_the_same_secret_and_by_no_other_route() {
        let value = Seal::of(b"host key").key(ROUTE).unwrap().seal(ONE, 100).unwrap();
        let again = Seal::of(b"host key").key(ROUTE).unwrap();
        assert_eq!(again.open(value.as_bytes(), 99), Some(ONE));
        assert_eq!(again.open(value.as_bytes(), 100), None, "expired");
        for foreign in [
            Seal::of(b"host key").key(RouteId::from_bytes([8; 16])),
            Seal::of(b"another").key(ROUTE),
            Seal::random().key(ROUTE),
        ] {
            assert_eq!(foreign.unwrap().open(value.as_bytes(), 1), None);
        }
    }

    #[test]
    fn a_cookie_of_a_session_has_no_end_and_a_damaged_one_means_nothing() {
        let key = Seal::of(b"host key").key(ROUTE).unwrap();
        let value = key.seal(ONE, 0).unwrap();
        assert_eq!(key.open(value.as_bytes(), u64::MAX), Some(ONE));
        for at in 0..value.len() {
            let mut damaged = value.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open(&damaged, 1), None, "byte {at}");
        }
        for other in [&b""[..], b"x", b"not base64!", &[b'A'; 4096]] {
            assert_eq!(key.open(other, 1), None);
        }
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let field = b"xsrv=1; srv=2;srv=\"3\" ; srvx=4; srv";
        let found: Vec<_> = cookies(field, "srv").collect();
        assert_eq!(found, [&b"2"[..], b"3"]);
    }

    #[test]
    fn the_line_says_where_and_how_long() {
        let path = PathPrefix::parse("/app").unwrap();
        let mut out = Vec::new();
        let mut attributes = Attributes { name: "srv", max_age_seconds: 60, path: &path, is_secured: true };
        write(&mut out, "v", &attributes);
        (attributes.max_age_seconds, attributes.is_secured) = (0, false);
        write(&mut out, "w", &attributes);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "Set-Cookie: srv=v; Path=/app; HttpOnly; SameSite=Lax; Max-Age=60; Secure\r\n\
             Set-Cookie: srv=w; Path=/app; HttpOnly; SameSite=Lax\r\n"
        );
    }
}
