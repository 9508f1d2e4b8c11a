//! Events of the audit in bytes, on the stream and in the file they wait in.

use prost::Message as _;

use super::object::{address, address_bytes, id_bytes};
use crate::id::{AuditId, ConsoleId, SessionId, UserId, VmId};
use crate::limits;
use crate::sync::audit::{AuditEvent, Carried, On, What, Who};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireAuditEvent {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    at_ms: u64,
    #[prost(uint32, tag = "3")]
    what: u32,
    #[prost(message, optional, tag = "4")]
    console: Option<WireConsole>,
    #[prost(message, optional, tag = "5")]
    jump: Option<WireJump>,
    #[prost(message, optional, tag = "6")]
    ssh: Option<WireSsh>,
    #[prost(bool, tag = "7")]
    root: bool,
    #[prost(bytes = "vec", optional, tag = "8")]
    user: Option<Vec<u8>>,
    #[prost(string, tag = "9")]
    proof: String,
    #[prost(bytes = "vec", tag = "10")]
    source: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "11")]
    session: Option<Vec<u8>>,
    #[prost(string, tag = "12")]
    why: String,
    #[prost(message, optional, tag = "13")]
    totals: Option<WireCarried>,
    #[prost(bool, tag = "14")]
    audit: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireConsole {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireJump {
    #[prost(bytes = "vec", optional, tag = "1")]
    vm: Option<Vec<u8>>,
    #[prost(string, tag = "2")]
    target: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSsh {
    #[prost(string, tag = "1")]
    login: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireCarried {
    #[prost(uint64, tag = "1")]
    up: u64,
    #[prost(uint64, tag = "2")]
    down: u64,
    #[prost(uint64, tag = "3")]
    ms: u64,
}

pub(super) fn encode(event: &AuditEvent) -> WireAuditEvent {
    let mut wire = WireAuditEvent {
        id: event.id.to_bytes().to_vec(),
        at_ms: event.at_ms,
        what: match event.what {
            What::Open => 1,
            What::Refuse => 2,
            What::End => 3,
            What::Lose => 4,
            What::Other => 0,
        },
        proof: event.proof.clone(),
        source: address_bytes(event.source),
        session: event.session.map(|id| id.to_bytes().to_vec()),
        why: event.why.clone(),
        totals: event.totals.map(|Carried { up, down, ms }| WireCarried { up, down, ms }),
        ..WireAuditEvent::default()
    };
    match event.who {
        Who::Nobody => {}
        Who::Root => wire.root = true,
        Who::User(id) => wire.user = Some(id.to_bytes().to_vec()),
    }
    match &event.on {
        On::Console(id) => wire.console = Some(WireConsole { id: id.to_bytes().to_vec() }),
        On::Jump { vm, target } => {
            let vm = vm.map(|id| id.to_bytes().to_vec());
            wire.jump = Some(WireJump { vm, target: target.clone() });
        }
        On::Ssh { login } => wire.ssh = Some(WireSsh { login: login.clone() }),
        On::Audit => wire.audit = true,
        On::Other => {}
    }
    wire
}

pub(super) fn decode(wire: WireAuditEvent) -> Result<AuditEvent, String> {
    let on = if let Some(WireConsole { id }) = wire.console {
        On::Console(ConsoleId::from_bytes(id_bytes(&id)?))
    } else if let Some(WireJump { vm, target }) = wire.jump {
        let vm = vm.map(|id| id_bytes(&id)).transpose()?.map(VmId::from_bytes);
        On::Jump { vm, target: short(target)? }
    } else if let Some(WireSsh { login }) = wire.ssh {
        On::Ssh { login: short(login)? }
    } else if wire.audit {
        On::Audit
    } else {
        On::Other
    };
    let who = match (wire.root, wire.user) {
        (true, _) => Who::Root,
        (false, Some(id)) => Who::User(UserId::from_bytes(id_bytes(&id)?)),
        (false, None) => Who::Nobody,
    };
    Ok(AuditEvent {
        id: AuditId::from_bytes(id_bytes(&wire.id)?),
        at_ms: wire.at_ms,
        what: match wire.what {
            1 => What::Open,
            2 => What::Refuse,
            3 => What::End,
            4 => What::Lose,
            _ => What::Other,
        },
        on,
        who,
        proof: short(wire.proof)?,
        source: address(&wire.source)?,
        session: wire.session.map(|id| id_bytes(&id)).transpose()?.map(SessionId::from_bytes),
        why: short(wire.why)?,
        totals: wire.totals.map(|WireCarried { up, down, ms }| Carried { up, down, ms }),
    })
}

/// A text of the stream that is bounded.
pub(super) fn short(text: String) -> Result<String, String> {
    let max = limits::AUDIT_TEXT_BYTES_MAX;
    if text.len() > max {
        Err(format!("a text has {} bytes, at most {max} are taken", text.len()))
    } else {
        Ok(text)
    }
}

pub(in crate::sync) fn to_bytes(event: &AuditEvent) -> Vec<u8> {
    encode(event).encode_to_vec()
}

pub(in crate::sync) fn from_bytes(bytes: &[u8]) -> Result<AuditEvent, String> {
    decode(WireAuditEvent::decode(bytes).map_err(|error| error.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AuditEvent {
        AuditEvent {
            id: AuditId::from_bytes([1; 16]),
            at_ms: 3,
            what: What::End,
            on: On::Jump { vm: Some(VmId::from_bytes([2; 16])), target: "web01:22".into() },
            who: Who::User(UserId::from_bytes([4; 16])),
            proof: "SHA256:abc".into(),
            source: "2001:db8::1".parse().unwrap(),
            session: Some(SessionId::from_bytes([5; 16])),
            why: "finished".into(),
            totals: Some(Carried { up: 6, down: u64::MAX, ms: 7 }),
        }
    }

    #[test]
    fn an_event_comes_back_from_a_file_as_it_went() {
        let all = [
            event(),
            AuditEvent { who: Who::Root, on: On::Console(ConsoleId::from_bytes([8; 16])), ..event() },
            AuditEvent { who: Who::Nobody, on: On::Ssh { login: "root".into() }, ..event() },
            AuditEvent { what: What::Open, totals: None, session: None, on: On::Other, ..event() },
            AuditEvent { what: What::Lose, on: On::Audit, ..event() },
            AuditEvent { what: What::Refuse, on: On::Jump { vm: None, target: String::new() }, ..event() },
        ];
        for event in all {
            assert_eq!(AuditEvent::from_bytes(&event.to_bytes()).unwrap(), event);
        }
    }

    #[test]
    fn a_text_beyond_its_bound_is_refused() {
        let long = AuditEvent { why: "x".repeat(limits::AUDIT_TEXT_BYTES_MAX + 1), ..event() };
        assert!(AuditEvent::from_bytes(&long.to_bytes()).is_err());
        assert!(AuditEvent::from_bytes(b"\xff\xff\xff").is_err());
    }
}
