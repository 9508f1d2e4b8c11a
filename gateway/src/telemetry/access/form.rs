//! Lines of access records: JSON, and the common and combined forms that older tools read.
//!
//! What a stranger sent cannot break out of its field: JSON escapes controls and what is no UTF-8, the other forms write
//! every byte that is not plain as `\xHH`, as nginx does.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use config::settings::{AccessFormat, AccessLog};

use super::record::{Record, TlsFacts, UpstreamWay};
use super::redact::Redactor;
use crate::plain;

/// Writes lines; one thread's.
#[derive(Debug)]
pub(super) struct Form {
    format: AccessFormat,
    redactor: Redactor,
    clock: Clock,
    text: Vec<u8>,
}

impl Form {
    pub(super) fn new(settings: &AccessLog) -> Self {
        let redactor = Redactor::new(&settings.redact);
        Self { format: settings.format, redactor, clock: Clock::default(), text: Vec::new() }
    }

    /// Appends the line of a record, with its line feed.
    pub(super) fn line(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        self.clock.set(record.at);
        match self.format {
            AccessFormat::Json => self.json(record, out),
            AccessFormat::Common => self.common(record, out),
            AccessFormat::Combined => {
                self.common(record, out);
                out.extend_from_slice(b" \"");
                let referer = self.redacted(record.referer, Redactor::url);
                quoted(referer.as_slice(), out);
                self.text = referer;
                out.extend_from_slice(b"\" \"");
                quoted(record.agent, out);
                out.push(b'"');
            }
        }
        out.push(b'\n');
    }

    fn json(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        // Below a thousand.
        let millis = record.at.subsec_millis() as u16;
        object.key("ts");
        object.out.push(b'"');
        object.out.extend_from_slice(self.clock.rfc3339.as_bytes());
        object.out.push(b'.');
        plain::three_digits(millis, object.out);
        object.out.extend_from_slice(b"Z\"");
        object.text("request_id", record.request);
        object.shown("trace_id", |out| plain::hex(record.trace, out));
        object.shown("client_ip", |out| plain::ip(record.client, out));
        object.shown("peer", |out| plain::address(record.peer, out));
        object.text("method", record.method);
        object.text("scheme", if record.is_secured { b"https" } else { b"http" });
        object.text("host", record.host);
        let path = self.redacted(record.path, Redactor::path);
        object.text("path", &path);
        self.text = path;
        if !record.query.is_empty() {
            let query = self.redacted(record.query, Redactor::query);
            object.text("query", &query);
            self.text = query;
        }
        object.text("protocol", record.protocol.name().as_bytes());
        object.number("status", record.status.into());
        object.number("bytes_up", record.bytes.0);
        object.number("bytes_down", record.bytes.1);
        object.seconds("duration", record.micros);
        if record.generation != 0 {
            object.number("generation", record.generation);
        }
        if let Some(route) = record.route {
            object.shown("route", |out| plain::id(route.to_bytes(), out));
        }
        if let Some(way) = &record.upstream {
            upstream(&mut object, way);
        }
        if let Some((facts, sni)) = record.tls {
            tls(&mut object, facts, sni);
        }
        object.some("user", record.user);
        if !record.fault.is_empty() {
            self.text.clear();
            snake_case(record.fault, &mut self.text);
            object.text("fault", &self.text);
        }
        object.some("user_agent", record.agent);
        if !record.referer.is_empty() {
            let referer = self.redacted(record.referer, Redactor::url);
            object.text("referer", &referer);
            self.text = referer;
        }
        object.end();
    }

    fn common(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let user = if record.user.is_empty() { b"-" } else { record.user };
        let _ = write!(out, "{} - ", record.client);
        word(user, out);
        let _ = write!(out, " [{}] \"", self.clock.common);
        if record.method.is_empty() {
            out.push(b'-');
        } else {
            quoted(record.method, out);
            out.push(b' ');
            let path = self.redacted(record.path, Redactor::path);
            quoted(&path, out);
            self.text = path;
            if !record.query.is_empty() {
                out.push(b'?');
                let query = self.redacted(record.query, Redactor::query);
                quoted(&query, out);
                self.text = query;
            }
            let _ = write!(out, " {}", record.protocol.name());
        }
        let _ = write!(out, "\" {:03} {}", record.status, record.bytes.1);
    }

    /// A text without its secrets, in the room of `self.text`, which is to be given back.
    fn redacted(&mut self, text: &[u8], redact: fn(&mut Redactor, &[u8], &mut Vec<u8>)) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.text);
        room.clear();
        redact(&mut self.redactor, text, &mut room);
        room
    }
}

fn upstream(object: &mut Object<'_>, way: &UpstreamWay) {
    if let Some(endpoint) = way.endpoint {
        object.shown("endpoint", |out| plain::id(endpoint.to_bytes(), out));
    }
    if let Some(address) = way.address {
        object.shown("upstream", |out| plain::address(address, out));
    }
    if let Some(connected) = way.connected {
        object.seconds("upstream_connect_time", connected);
    }
    if let Some(head) = way.head {
        object.seconds("upstream_header_time", head);
    }
    object.seconds("upstream_time", way.total);
    object.number("retries", way.retries.into());
}

fn tls(object: &mut Object<'_>, facts: TlsFacts, sni: &[u8]) {
    object.key("tls");
    let mut inner = Object::begin(object.out);
    inner.text("version", facts.version().as_bytes());
    inner.text("cipher", facts.cipher().as_bytes());
    inner.some("sni", sni);
    inner.some("alpn", facts.alpn().as_bytes());
    inner.key("resumed");
    inner.out.extend_from_slice(if facts.is_resumed() { b"true" } else { b"false" });
    inner.end();
}

/// A JSON object under way.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_first: bool,
}

// Writing to a Vec cannot fail, so the results below are dropped.
impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_first: true }
    }

    fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        plain::number(number, self.out);
    }

    fn seconds(&mut self, key: &str, micros: u64) {
        self.key(key);
        plain::seconds(micros, self.out);
    }

    /// What needs no escapes.
    fn shown(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }

    fn text(&mut self, key: &str, text: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        escaped(text, self.out);
        self.out.push(b'"');
    }

    fn some(&mut self, key: &str, text: &[u8]) {
        if !text.is_empty() {
            self.text(key, text);
        }
    }
}

/// The inside of a JSON string. C1 controls and the marks that turn writing around are escaped too: a line is read on
/// terminals.
fn escaped(text: &[u8], out: &mut Vec<u8>) {
    if plain::is_plain(text) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        let mut plain = 0;
        let valid = chunk.valid();
        for (at, one) in valid.char_indices() {
            let escape = match one {
                '"' | '\\' => None,
                '\u{0}'..='\u{1f}'
                | '\u{7f}'..='\u{9f}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' => Some(u32::from(one)),
                _ => continue,
            };
            out.extend_from_slice(valid.get(plain..at).unwrap_or_default().as_bytes());
            let _ = match escape {
                Some(code) => write!(out, "\\u{code:04x}"),
                None => write!(out, "\\{one}"),
            };
            plain = at + one.len_utf8();
        }
        out.extend_from_slice(valid.get(plain..).unwrap_or_default().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The inside of a quoted field; `-` if there is nothing.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
    }
    hexed(text, out, |byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
}

/// A field that ends at a blank.
fn word(text: &[u8], out: &mut Vec<u8>) {
    hexed(text, out, |byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'"' | b'\\' | b'['));
}

fn hexed(text: &[u8], out: &mut Vec<u8>, is_plain: impl Fn(u8) -> bool) {
    for byte in text {
        if is_plain(*byte) {
            out.push(*byte);
        } else {
            let _ = write!(out, "\\x{byte:02X}");
        }
    }
}

/// `BadRequest` as `bad_request`.
fn snake_case(name: &[u8], out: &mut Vec<u8>) {
    for (at, byte) in name.iter().enumerate() {
        if at > 0 && byte.is_ascii_uppercase() {
            out.push(b'_');
        }
        out.push(byte.to_ascii_lowercase());
    }
}

/// The second of the last line as text; most lines share it with the one before.
#[derive(Debug, Default)]
struct Clock {
    second: u64,
    rfc3339: String,
    common: String,
}

impl Clock {
    fn set(&mut self, at: Duration) {
        if self.second == at.as_secs() && !self.rfc3339.is_empty() {
            return;
        }
        self.second = at.as_secs();
        // `Sun, 06 Nov 1994 08:49:37 GMT`: all that is needed stands there.
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.second));
        let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
        let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let number = MONTHS.iter().position(|name| *name == month).map_or(0, |at| at + 1);
        self.rfc3339 = format!("{year}-{number:02}-{day}T{time}");
        self.common = format!("{day}/{month}/{year}:{time} +0000");
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::full;
    use super::*;
    use config::settings::AccessTarget;
    use std::path::Path;

    fn line(format: AccessFormat, record: &Record<'_>) -> String {
        let settings = AccessLog { to: AccessTarget::Off, format, redact: AccessLog::redacted_by_default() };
        let mut out = Vec::new();
        Form::new(&settings).line(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// What strangers try: to end the line, the field or the terminal's patience.
    fn hostile() -> Record<'static> {
        Record {
            method: b"GET",
            path: b"/a\r\n203.0.113.1 - - \"GET / HTTP/1.1\" 200",
            query: b"",
            agent: b"\"}\n{\"status\":200,\"x\":\"\x1b[2J\x00\\\xff\xc2\x9b\xe2\x80\xaey",
            referer: b"javascript:\"'\x7f<>",
            user: b"an na [\"",
            fault: b"BadRequest",
            status: 400,
            upstream: None,
            tls: None,
            ..full()
        }
    }

    #[test]
    fn lines_read_like_this() {
        let unparsed = Record { method: b"", path: b"", host: b"", agent: b"", referer: b"", ..hostile() };
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/access/lines.golden");
        let mut said = String::new();
        for format in [AccessFormat::Json, AccessFormat::Common, AccessFormat::Combined] {
            for record in [full(), hostile(), unparsed.clone()] {
                said.push_str(&line(format, &record));
            }
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&golden).unwrap_or_default());
    }

    #[test]
    fn a_json_line_is_one_object_that_says_what_was_sent() {
        let text = line(AccessFormat::Json, &hostile());
        assert_eq!(text.lines().count(), 1);
        assert!(text.trim_end().chars().all(|one| !one.is_control()), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], "/a\r\n203.0.113.1 - - \"GET / HTTP/1.1\" 200");
        assert_eq!(value["user_agent"], "\"}\n{\"status\":200,\"x\":\"\u{1b}[2J\0\\\u{fffd}\u{9b}\u{202e}y");
        assert_eq!((&value["status"], &value["fault"]), (&400.into(), &"bad_request".into()));
        let value: serde_json::Value = serde_json::from_str(&line(AccessFormat::Json, &full())).unwrap();
        assert_eq!(value["query"], "q=1&token=REDACTED");
        assert_eq!(value["tls"]["cipher"], "TLS13_AES_128_GCM_SHA256");
        assert_eq!(value["duration"].as_f64(), Some(1.234_567));
    }

    #[test]
    fn a_combined_line_has_the_fields_that_tools_expect() {
        for record in [full(), hostile()] {
            let text = line(AccessFormat::Combined, &record);
            assert!(text.trim_end().bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text}");
            let quotes: Vec<&str> = text.trim_end().split('"').collect();
            assert_eq!(quotes.len(), 7, "{text}");
            assert_eq!(quotes[0].split(' ').count(), 6, "{text}");
            assert_eq!(quotes[2].split_ascii_whitespace().count(), 2, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_one_line_of_json(bytes in proptest::collection::vec(0_u8.., 0..60)) {
            let record = Record { agent: &bytes, host: &bytes, path: &bytes, query: &bytes, referer: &bytes, user: &bytes, ..full() };
            let text = line(AccessFormat::Json, &record);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            proptest::prop_assert_eq!(value["host"].as_str(), Some(&*String::from_utf8_lossy(&bytes)));
            proptest::prop_assert_eq!(text.lines().count(), 1);
            let text = line(AccessFormat::Combined, &record);
            proptest::prop_assert_eq!(text.split('"').count(), 7);
        }
    }
}
