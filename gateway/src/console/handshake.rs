//! The opening of a WebSocket that ends here (RFC 6455 § 4.2), HTTP/1.1's part.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::http::codec::head::View;

/// A handshake that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    accept: String,
    /// The sub-protocol to name: what we speak, if it was asked for.
    protocol: Option<&'static str>,
}

impl Offer {
    /// Reads a request that asks for a WebSocket; `speaks` are the sub-protocols that are served, the best first.
    ///
    /// Errors: the rule that it breaks.
    pub(crate) fn of(method: &[u8], head: &View<'_>, speaks: &[&'static str]) -> Result<Self, &'static str> {
        if method != b"GET" {
            return Err("a WebSocket is asked for by GET");
        }
        if !is_one(head, "sec-websocket-version", b"13") {
            return Err("the version of WebSocket is not 13");
        }
        let mut keys = values(head, "sec-websocket-key");
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err("there is no Sec-WebSocket-Key, or several");
        };
        // 16 bytes in base64.
        let is_key = data_encoding::BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16);
        if !is_key {
            return Err("the Sec-WebSocket-Key is not 16 bytes in base64");
        }
        let is_asked = |protocol: &str| {
            let mut asked = values(head, "sec-websocket-protocol").flat_map(crate::http::codec::list);
            asked.any(|one| one == protocol.as_bytes())
        };
        let protocol = speaks.iter().copied().find(|protocol| is_asked(protocol));
        Ok(Self { accept: derive_accept_key(key), protocol })
    }

    /// Whether this sub-protocol is spoken from here.
    pub(crate) fn agrees_on(&self, protocol: &str) -> bool {
        self.protocol == Some(protocol)
    }

    /// Writes the answer. A browser drops the connection for a sub-protocol that it did not ask for.
    pub(crate) fn answer(&self, out: &mut Vec<u8>, request_id: &str) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n",
        );
        let always = [("Sec-WebSocket-Accept", self.accept.as_str()), ("X-Request-Id", request_id)];
        let protocol = self.protocol.map(|protocol| ("Sec-WebSocket-Protocol", protocol));
        for (name, value) in always.into_iter().chain(protocol) {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn is_one(head: &View<'_>, name: &str, wanted: &[u8]) -> bool {
    let mut all = values(head, name);
    all.next() == Some(wanted) && all.next().is_none()
}

fn values<'a>(head: &View<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let bytes = head.bytes;
    head.head
        .fields()
        .iter()
        .filter(move |field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()))
        .map(move |field| field.value.of(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::codec::Head;

    fn offer(fields: &str) -> Result<Offer, &'static str> {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = Head::default();
        head.parse_request(bytes.as_bytes()).unwrap();
        Offer::of(b"GET", &View { head: &head, bytes: bytes.as_bytes() }, &["binary"])
    }

    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    #[test]
    fn the_example_of_the_rfc_is_answered_as_it_says_and_binary_only_if_asked() {
        let mut out = Vec::new();
        offer(&format!("{VERSION}{KEY}")).unwrap().answer(&mut out, "1");
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{text}");
        assert!(!text.contains("Protocol:"), "{text}");
        let mut out = Vec::new();
        let asked = format!("{VERSION}{KEY}Sec-WebSocket-Protocol: base64, binary\r\n");
        offer(&asked).unwrap().answer(&mut out, "1");
        assert!(String::from_utf8(out).unwrap().contains("Sec-WebSocket-Protocol: binary\r\n\r\n"));
    }

    #[test]
    fn a_handshake_that_is_wrong_in_any_way_is_refused() {
        for fields in [
            KEY.to_owned(),
            VERSION.to_owned(),
            format!("Sec-WebSocket-Version: 8\r\n{KEY}"),
            format!("{VERSION}{VERSION}{KEY}"),
            format!("{VERSION}{KEY}{KEY}"),
            format!("{VERSION}Sec-WebSocket-Key: short\r\n"),
            format!("{VERSION}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n"),
        ] {
            assert!(offer(&fields).is_err(), "{fields}");
        }
    }
}
