//! Whether a response gains by compression, and whether the client takes it (RFC 9110 § 12.5.3).

use config::limits;

use super::super::codec::head::View;
use super::super::codec::{Head, Known, Version, list};
use super::{Exchange, Terms};

/// What is done about one response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gain {
    /// It passes as it is.
    Nothing,
    /// It would be compressed for another client: caches have to know.
    Varies,
    /// It is compressed.
    Gzip,
}

/// Types besides `text/*` that are text beneath, without `application/`.
const TEXTS: &[&[u8]] = &[
    b"javascript",
    b"json",
    b"xml",
    b"wasm",
    b"x-javascript",
    b"ecmascript",
    b"x-ndjson",
    b"yaml",
    b"graphql",
    b"sql",
    b"rtf",
    b"manifest+json",
    b"vnd.ms-fontobject",
    b"x-font-ttf",
];

/// Fields that say something about the bytes as they are, or that they are a part.
const BOUND_TO_BYTES: &[&str] =
    &["content-encoding", "content-range", "content-digest", "content-md5", "digest", "trailer"];

impl<IO> Exchange<'_, IO> {
    /// Decides about the response whose head has come.
    pub(super) fn gain(&self) -> Gain {
        if !is_asked_for(&self.terms) {
            return Gain::Nothing;
        }
        let response = View { head: &self.scratch.response, bytes: self.from_upstream.head() };
        if !gains(response) {
            return Gain::Nothing;
        }
        let request = View { head: &self.scratch.request, bytes: self.link.intake.head() };
        let is_taken =
            self.terms.version == Version::Http11 && takes_gzip(request) && !is_private(request, response);
        if is_taken { Gain::Gzip } else { Gain::Varies }
    }
}

fn is_asked_for(terms: &Terms<'_>) -> bool {
    terms.route.filters.as_ref().is_some_and(|filters| filters.gzip)
}

/// Whether the body is for one person by what the heads say. Its length after compression would tell an onlooker, who
/// has the person's browser ask for words of their choice, what else stands in it (CVE-2013-3587, BREACH). A session that
/// is known by a cookie alone does not show here: `control/src/options/OPTIONS.md` says so.
fn is_private(request: View<'_>, response: View<'_>) -> bool {
    named(request, "authorization").next().is_some() || named(response, "set-cookie").next().is_some()
}

fn gains(response: View<'_>) -> bool {
    matches!(response.head.status, 200 | 203 | 403 | 404)
        && !BOUND_TO_BYTES.iter().any(|name| named(response, name).next().is_some())
        && named(response, "content-length").all(is_long_enough)
        && named(response, "content-type").next().is_some_and(is_text)
        && !named(response, "cache-control")
            .flat_map(list)
            .any(|rule| rule.eq_ignore_ascii_case(b"no-transform"))
}

/// Values of the fields of one name.
fn named<'a>(view: View<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    view.head
        .fields()
        .iter()
        .filter(move |field| field.name.of(view.bytes).eq_ignore_ascii_case(name.as_bytes()))
        .map(move |field| field.value.of(view.bytes))
}

fn is_long_enough(length: &[u8]) -> bool {
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse::<u64>().ok());
    length.is_none_or(|length| length >= limits::GZIP_BYTES_MIN)
}

fn is_text(media: &[u8]) -> bool {
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let after = |start: &[u8]| {
        let (found, rest) = media.split_at_checked(start.len())?;
        found.eq_ignore_ascii_case(start).then_some(rest)
    };
    // Events are for now: an encoder would hold them back.
    if let Some(text) = after(b"text/") {
        return !text.eq_ignore_ascii_case(b"event-stream");
    }
    if let Some(application) = after(b"application/") {
        let is_one = |text: &&[u8]| application.eq_ignore_ascii_case(text);
        let ends = |end: &[u8]| {
            let start = application.len().checked_sub(end.len());
            let tail = start.and_then(|start| application.get(start..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
        };
        return TEXTS.iter().any(is_one) || ends(b"+json") || ends(b"+xml");
    }
    let is_image = |sort: &[u8]| after(b"image/").is_some_and(|image| image.eq_ignore_ascii_case(sort));
    let is_font = |sort: &[u8]| after(b"font/").is_some_and(|font| font.eq_ignore_ascii_case(sort));
    is_image(b"svg+xml") || is_image(b"bmp") || is_font(b"ttf") || is_font(b"otf")
}

/// Whether `Accept-Encoding` names gzip, with a weight above nothing and not below what it gives to no coding.
fn takes_gzip(request: View<'_>) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for element in named(request, "accept-encoding").flat_map(list) {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let weight = parts.find_map(weight).unwrap_or(1_000);
        if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") {
            gzip = gzip.max(Some(weight));
        } else if coding == b"*" {
            any = Some(weight);
        } else if coding.eq_ignore_ascii_case(b"identity") {
            identity = Some(weight);
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// `q=0.5` in thousandths; what cannot be read weighs nothing.
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, fraction) = match value {
        [whole] | [whole, b'.'] => (*whole, &b""[..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return Some(0),
    };
    let mut thousandths = 0;
    for at in 0..3 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Some(0);
        }
        thousandths = thousandths * 10 + u16::from(digit - b'0');
    }
    match whole {
        b'1' => Some(1_000),
        b'0' => Some(thousandths),
        _ => Some(0),
    }
}

/// Takes away what does not hold for the compressed bytes, and writes what does. `out` ends with an empty line.
pub(super) fn rewrite(out: &mut Vec<u8>, response: View<'_>, gain: Gain) {
    if gain == Gain::Nothing {
        return;
    }
    out.truncate(out.len().saturating_sub(2));
    if gain == Gain::Gzip {
        out.extend_from_slice(b"Content-Encoding: gzip\r\n");
        // Two byte sequences of one thing: equal, not the same (RFC 9110 § 8.8.3).
        if let Some(tag) = named(response, "etag").next() {
            let weak: &[u8] = if tag.starts_with(b"W/") { b"" } else { b"W/" };
            for part in [b"ETag: ", weak, tag, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
    }
    let varies = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding");
    if !named(response, "vary").flat_map(list).any(varies) {
        out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Marks the fields that [`rewrite`] takes away or writes anew.
pub(super) fn unmark(head: &mut Head, bytes: &[u8]) {
    for field in head.fields_mut() {
        let name = field.name.of(bytes);
        let is_bound = field.known == Known::ContentLength
            || name.eq_ignore_ascii_case(b"accept-ranges")
            || name.eq_ignore_ascii_case(b"etag");
        field.keep &= !is_bound;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &str) -> (Head, Vec<u8>) {
        let bytes = format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes();
        let mut head = Head::default();
        head.parse_request(&bytes).unwrap();
        (head, bytes)
    }

    #[test]
    fn gzip_is_taken_where_it_weighs_something_and_no_less_than_nothing() {
        for (accepts, is_taken) in [
            ("gzip", true),
            ("GZIP;Q=0.001", true),
            ("deflate, x-gzip", true),
            ("br;q=1.0, *;q=0.5", true),
            ("gzip;q=0.5, identity;q=0.5", true),
            ("", false),
            ("br, deflate", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("*;q=0", false),
            ("gzip;q=0.1, identity", false),
            ("gzip;q=x", false),
            ("gzip;q=2", false),
        ] {
            let (head, bytes) = request(&format!("Accept-Encoding: {accepts}\r\n"));
            assert_eq!(takes_gzip(View { head: &head, bytes: &bytes }), is_taken, "{accepts}");
        }
        let (head, bytes) = request("Accept-Encoding: br\r\nAccept-Encoding: gzip\r\n");
        assert!(takes_gzip(View { head: &head, bytes: &bytes }), "on a line of its own");
    }

    #[test]
    fn text_gains_and_what_is_packed_already_does_not() {
        for media in
            ["text/html; charset=utf-8", "Application/JSON", "application/problem+json", "image/svg+xml"]
        {
            assert!(is_text(media.as_bytes()), "{media}");
        }
        for media in
            ["image/png", "text/event-stream", "application/zip", "application/grpc", "video/mp4", ""]
        {
            assert!(!is_text(media.as_bytes()), "{media}");
        }
    }

    #[test]
    fn a_response_that_is_bound_to_its_bytes_stays_as_it_is() {
        let with = |fields: &str| {
            let bytes = format!("HTTP/1.1 200 OK\r\nContent-Type: text/css\r\n{fields}\r\n").into_bytes();
            let mut head = Head::default();
            head.parse_response(&bytes).unwrap();
            gains(View { head: &head, bytes: &bytes })
        };
        assert!(with("") && with("Content-Length: 1024\r\nCache-Control: public\r\n"));
        for fields in [
            "Content-Length: 1023\r\n",
            "Content-Encoding: br\r\n",
            "Content-Range: bytes 0-1/2\r\n",
            "Cache-Control: public, No-Transform\r\n",
            "Content-Digest: sha-256=:x:\r\n",
            "Trailer: Sum\r\n",
        ] {
            assert!(!with(fields), "{fields}");
        }
    }
}
