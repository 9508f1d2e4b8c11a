//! Console tickets in addresses: whoever reads one in a log could open the console.
//!
//! In the place of a ticket stands the session that it opens, which is how audit rows and other logs name it, or
//! `<ticket>` where it is none that can be read.

use config::id::SessionId;
use config::ticket::TICKET_LEN;
use data_encoding::BASE64URL_NOPAD;

/// What stands in the place of what may be a ticket.
const HIDDEN: &[u8] = b"<ticket>";
/// Where consoles are asked for.
const BEFORE: &[u8] = b"console";
/// Nothing that follows [`BEFORE`] and is as long is shown: a piece of a ticket helps whoever has the rest.
const SUSPECT_LEN: usize = 40;
/// Where the session's id stands in a ticket: behind version and key.
const SESSION: std::ops::Range<usize> = 17..33;

/// Appends a path without tickets. Most paths hold nothing long enough, and pass as they are.
pub(super) fn path(path: &[u8], out: &mut Vec<u8>) {
    let mut before: &[u8] = b"";
    for (at, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if at > 0 {
            out.push(b'/');
        }
        if is_one(segment) || (segment.len() >= SUSPECT_LEN && before == BEFORE) {
            hidden(segment, out);
        } else {
            out.extend_from_slice(segment);
        }
        before = segment;
    }
}

/// Whether the text has the form of a ticket, however it is encoded.
pub(super) fn is_one(text: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match text.len() {
        TICKET_LEN => text.iter().all(is_plain),
        len if len > TICKET_LEN && text.contains(&b'%') => {
            let decoded: Vec<u8> = super::redact::decode(text).collect();
            decoded.len() == TICKET_LEN && decoded.iter().all(is_plain)
        }
        _ => false,
    }
}

/// Appends what stands in the place of a ticket.
pub(super) fn hidden(text: &[u8], out: &mut Vec<u8>) {
    let session = || -> Option<SessionId> {
        let bytes = (text.len() == TICKET_LEN).then(|| BASE64URL_NOPAD.decode(text).ok())??;
        let id = <[u8; 16]>::try_from(bytes.get(SESSION)?).ok()?;
        Some(SessionId::from_bytes(id))
    };
    match session() {
        Some(session) => out.extend_from_slice(session.to_string().as_bytes()),
        None => out.extend_from_slice(HIDDEN),
    }
}

#[cfg(test)]
mod tests {
    use config::id::{ConsoleId, GatewayId, KeyId, VmId};
    use config::snapshot::ConsoleKind;
    use config::ticket::{self, Claims};

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        path(text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn ticket() -> (String, String) {
        let claims = Claims {
            session: SessionId::from_bytes([0x6b; 16]),
            user: None,
            vm: VmId::from_bytes([1; 16]),
            console: ConsoleId::from_bytes([2; 16]),
            kind: ConsoleKind::Vnc,
            read_only: false,
            source: None,
            gateway: GatewayId::from_bytes([3; 16]),
            issued_ms: 1,
            expires_ms: 2,
        };
        let text = ticket::seal(&claims, KeyId::from_bytes([9; 16]), |_| [0xa5; 64]);
        (text, claims.session.to_string())
    }

    #[test]
    fn a_ticket_is_named_by_its_session_wherever_it_stands() {
        let (ticket, session) = ticket();
        assert_eq!(written(&format!("/console/{ticket}")), format!("/console/{session}"));
        assert_eq!(written(&format!("/below/console/{ticket}/")), format!("/below/console/{session}/"));
        assert_eq!(written(&format!("/elsewhere/{ticket}")), format!("/elsewhere/{session}"));
        let first = format!("%{:02X}", ticket.as_bytes()[0]);
        assert_eq!(written(&format!("/x/{first}{}", &ticket[1..])), "/x/<ticket>");
        for cut in [40, TICKET_LEN - 1] {
            assert_eq!(written(&format!("/console/{}", &ticket[..cut])), "/console/<ticket>");
        }
        assert_eq!(written(&format!("/console/{ticket}x")), "/console/<ticket>");
    }

    #[test]
    fn other_paths_pass_as_they_came() {
        let long = "a".repeat(300);
        for text in ["", "/", "*", "/console/", "/console/dashboard", "/a//b/%zz", &format!("/files/{long}")]
        {
            assert_eq!(written(text), text);
        }
    }
}
