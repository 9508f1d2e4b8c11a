//! Questions and answers in bytes. A question that this program does not know reads as [`Question::Unknown`].

use std::fmt;
use std::net::SocketAddr;

use super::audit::{self, WireAuditEvent, short};
use super::object::{address, address_bytes, id_bytes, port};
use crate::id::{ConsoleId, EndpointId, ForwardId, RouteId, SessionId, UserId, VmId};
use crate::limits;
use crate::secret::Secret;
use crate::snapshot::{Ports, Transport};
use crate::sync::asking::{Answer, Ask, Question, Redemption, SessionSeen, Told};

/// The repeated parts stand at the top, where they are counted before any of them is read.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct WireAsk {
    #[prost(fixed64, tag = "1")]
    number: u64,
    #[prost(message, optional, tag = "2")]
    sessions: Option<WireSessionsAsked>,
    #[prost(bytes = "vec", optional, tag = "3")]
    end: Option<Vec<u8>>,
    #[prost(message, optional, tag = "4")]
    redeem: Option<WireRedeem>,
    // 5 was what became of consoles, before all of the audit came this way.
    #[prost(message, optional, tag = "6")]
    certify: Option<WireCertify>,
    #[prost(message, optional, tag = "7")]
    host_key: Option<WireHostKey>,
    #[prost(message, repeated, tag = "8")]
    audit: Vec<WireAuditEvent>,
    #[prost(message, optional, tag = "9")]
    ports: Option<WirePortsAsked>,
}

impl fmt::Debug for WireAsk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireAsk").field("number", &self.number).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSessionsAsked {
    #[prost(bytes = "vec", optional, tag = "1")]
    after: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    only: Option<Vec<u8>>,
    #[prost(uint32, tag = "3")]
    limit: u32,
}

/// Holds a ticket.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct WireRedeem {
    #[prost(string, tag = "1")]
    ticket: String,
    #[prost(bytes = "vec", tag = "2")]
    source: Vec<u8>,
    #[prost(fixed64, tag = "3")]
    agent: u64,
}

impl fmt::Debug for WireRedeem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireRedeem(***)")
    }
}

/// Holds a ticket.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct WireCertify {
    #[prost(string, tag = "1")]
    ticket: String,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

impl fmt::Debug for WireCertify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireCertify(***)")
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireHostKey {
    #[prost(bytes = "vec", tag = "1")]
    vm: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WirePortsAsked {
    #[prost(bool, tag = "1")]
    udp: bool,
    #[prost(bytes = "vec", optional, tag = "2")]
    listen: Option<Vec<u8>>,
    #[prost(uint32, tag = "3")]
    first: u32,
    #[prost(uint32, tag = "4")]
    last: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireCertified {
    #[prost(string, tag = "1")]
    certificate: String,
    #[prost(string, tag = "2")]
    login: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireTold {
    #[prost(fixed64, tag = "1")]
    number: u64,
    #[prost(message, optional, tag = "2")]
    sessions: Option<WireSessionsTold>,
    #[prost(bool, optional, tag = "3")]
    ended: Option<bool>,
    #[prost(uint32, optional, tag = "4")]
    redeemed: Option<u32>,
    #[prost(message, repeated, tag = "5")]
    items: Vec<WireSession>,
    #[prost(message, optional, tag = "6")]
    certified: Option<WireCertified>,
    #[prost(bool, optional, tag = "7")]
    host_key: Option<bool>,
    #[prost(string, optional, tag = "8")]
    refused: Option<String>,
    #[prost(bool, tag = "9")]
    noted: bool,
    /// 0 is none.
    #[prost(uint32, optional, tag = "10")]
    taken: Option<u32>,
}

/// The items stand beside it, see [`WireAsk`].
#[derive(Clone, PartialEq, prost::Message)]
struct WireSessionsTold {
    #[prost(bool, tag = "1")]
    more: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSession {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(bytes = "vec", tag = "3")]
    peer: Vec<u8>,
    #[prost(uint32, tag = "4")]
    peer_port: u32,
    #[prost(bytes = "vec", optional, tag = "5")]
    principal: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "6")]
    route: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "7")]
    forward: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "8")]
    endpoint: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "9")]
    vm: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "10")]
    console: Option<Vec<u8>>,
    #[prost(uint64, tag = "11")]
    started_ms: u64,
    #[prost(uint64, tag = "12")]
    bytes_up: u64,
    #[prost(uint64, tag = "13")]
    bytes_down: u64,
    #[prost(string, optional, tag = "14")]
    target: Option<String>,
}

pub(super) fn encode_ask(ask: &Ask) -> WireAsk {
    let mut wire = WireAsk { number: ask.number, ..WireAsk::default() };
    match &ask.question {
        Question::Sessions { after, only, limit } => {
            wire.sessions = Some(WireSessionsAsked {
                after: after.map(|id| id.to_bytes().to_vec()),
                only: only.map(|id| id.to_bytes().to_vec()),
                limit: *limit,
            });
        }
        Question::End(id) => wire.end = Some(id.to_bytes().to_vec()),
        Question::Redeem { ticket, source, agent } => {
            let (ticket, source) = (ticket.expose().clone(), address_bytes(*source));
            wire.redeem = Some(WireRedeem { ticket, source, agent: *agent });
        }
        Question::Audit(events) => wire.audit = events.iter().map(audit::encode).collect(),
        Question::Certify { ticket, key } => {
            wire.certify = Some(WireCertify { ticket: ticket.expose().clone(), key: key.clone() });
        }
        Question::HostKeySeen { vm, key } => {
            wire.host_key = Some(WireHostKey { vm: vm.to_bytes().to_vec(), key: key.clone() });
        }
        Question::Ports { transport, listen, ports } => {
            wire.ports = Some(WirePortsAsked {
                udp: *transport == Transport::Udp,
                listen: listen.map(address_bytes),
                first: ports.first.into(),
                last: ports.last.into(),
            });
        }
        Question::Unknown => {}
    }
    wire
}

fn decode_ports(asked: &WirePortsAsked) -> Result<Question, String> {
    let ports = Ports { first: port(asked.first)?, last: port(asked.last)? };
    if ports.first == 0 || ports.is_empty() || ports.len() > limits::FORWARD_PORTS_MAX {
        return Err("ports that are no row".to_owned());
    }
    let transport = if asked.udp { Transport::Udp } else { Transport::Tcp };
    let listen = asked.listen.as_deref().map(address).transpose()?;
    Ok(Question::Ports { transport, listen, ports })
}

pub(super) fn decode_ask(wire: WireAsk) -> Result<Ask, String> {
    let WireAsk { number, sessions, end, redeem, certify, host_key, audit, ports } = wire;
    let question = if let Some(redeem) = redeem {
        // First, so that the ticket is in custody whatever else is wrong.
        let ticket = Secret::new(redeem.ticket);
        Question::Redeem { ticket, source: address(&redeem.source)?, agent: redeem.agent }
    } else if let Some(WireCertify { ticket, key }) = certify {
        Question::Certify { ticket: Secret::new(ticket), key }
    } else if let Some(WireHostKey { vm, key }) = host_key {
        Question::HostKeySeen { vm: VmId::from_bytes(id_bytes(&vm)?), key }
    } else if let Some(asked) = sessions {
        let (after, only) = (id(asked.after, SessionId::from_bytes)?, id(asked.only, SessionId::from_bytes)?);
        Question::Sessions { after, only, limit: asked.limit }
    } else if let Some(end) = end {
        Question::End(SessionId::from_bytes(id_bytes(&end)?))
    } else if let Some(ports) = ports {
        decode_ports(&ports)?
    } else if !audit.is_empty() {
        Question::Audit(audit.into_iter().map(audit::decode).collect::<Result<_, _>>()?)
    } else {
        Question::Unknown
    };
    Ok(Ask { number, question })
}

pub(super) fn encode_told(told: &Told) -> WireTold {
    let mut wire = WireTold { number: told.number, ..WireTold::default() };
    match &told.answer {
        Answer::Sessions { items, more } => {
            wire.sessions = Some(WireSessionsTold { more: *more });
            wire.items = items.iter().map(encode_session).collect();
        }
        Answer::Ended(was_there) => wire.ended = Some(*was_there),
        Answer::Redeemed(what) => wire.redeemed = Some(number_of(*what)),
        Answer::Certified { certificate, login } => {
            let (certificate, login) = (certificate.clone(), login.clone());
            wire.certified = Some(WireCertified { certificate, login });
        }
        Answer::Taken(port) => wire.taken = Some(port.unwrap_or_default().into()),
        Answer::HostKey(is_accepted) => wire.host_key = Some(*is_accepted),
        Answer::Noted => wire.noted = true,
        Answer::Refused(why) => wire.refused = Some(why.clone()),
        Answer::Unknown => {}
    }
    wire
}

pub(super) fn decode_told(wire: WireTold) -> Result<Told, String> {
    if let Some(why) = wire.refused {
        return Ok(Told { number: wire.number, answer: Answer::Refused(why) });
    }
    if let Some(WireCertified { certificate, login }) = wire.certified {
        return Ok(Told { number: wire.number, answer: Answer::Certified { certificate, login } });
    }
    if wire.noted {
        return Ok(Told { number: wire.number, answer: Answer::Noted });
    }
    if let Some(is_accepted) = wire.host_key {
        return Ok(Told { number: wire.number, answer: Answer::HostKey(is_accepted) });
    }
    if let Some(taken) = wire.taken {
        let taken = Some(port(taken)?).filter(|port| *port != 0);
        return Ok(Told { number: wire.number, answer: Answer::Taken(taken) });
    }
    let answer = match (wire.sessions, wire.ended, wire.redeemed) {
        (Some(told), _, _) => {
            let items = wire.items.into_iter().map(decode_session).collect::<Result<_, _>>()?;
            Answer::Sessions { items, more: told.more }
        }
        (None, Some(was_there), _) => Answer::Ended(was_there),
        (None, None, Some(number)) => {
            let found = Redemption::ALL.into_iter().find(|known| number_of(*known) == number);
            // A reason that is newer than we are opens nothing all the same.
            Answer::Redeemed(found.unwrap_or(Redemption::Unanswered))
        }
        (None, None, None) => Answer::Unknown,
    };
    Ok(Told { number: wire.number, answer })
}

const fn number_of(what: Redemption) -> u32 {
    match what {
        Redemption::Yours => 0,
        Redemption::Used => 1,
        Redemption::Expired => 2,
        Redemption::BeforeStart => 3,
        Redemption::Forged => 4,
        Redemption::Unanswered => 5,
    }
}

fn encode_session(seen: &SessionSeen) -> WireSession {
    WireSession {
        id: seen.id.to_bytes().to_vec(),
        kind: seen.kind.clone(),
        peer: address_bytes(seen.peer.ip()),
        peer_port: seen.peer.port().into(),
        principal: seen.principal.map(|id| id.to_bytes().to_vec()),
        route: seen.route.map(|id| id.to_bytes().to_vec()),
        forward: seen.forward.map(|id| id.to_bytes().to_vec()),
        endpoint: seen.endpoint.map(|id| id.to_bytes().to_vec()),
        vm: seen.vm.map(|id| id.to_bytes().to_vec()),
        console: seen.console.map(|id| id.to_bytes().to_vec()),
        started_ms: seen.started_ms,
        bytes_up: seen.bytes_up,
        bytes_down: seen.bytes_down,
        target: seen.target.clone(),
    }
}

fn decode_session(wire: WireSession) -> Result<SessionSeen, String> {
    Ok(SessionSeen {
        id: SessionId::from_bytes(id_bytes(&wire.id)?),
        kind: short(wire.kind)?,
        peer: SocketAddr::new(address(&wire.peer)?, port(wire.peer_port)?),
        principal: id(wire.principal, UserId::from_bytes)?,
        route: id(wire.route, RouteId::from_bytes)?,
        forward: id(wire.forward, ForwardId::from_bytes)?,
        endpoint: id(wire.endpoint, EndpointId::from_bytes)?,
        vm: id(wire.vm, VmId::from_bytes)?,
        console: id(wire.console, ConsoleId::from_bytes)?,
        started_ms: wire.started_ms,
        bytes_up: wire.bytes_up,
        bytes_down: wire.bytes_down,
        target: wire.target.map(short).transpose()?,
    })
}

fn id<T>(bytes: Option<Vec<u8>>, read: impl Fn([u8; 16]) -> T) -> Result<Option<T>, String> {
    bytes.map(|bytes| id_bytes(&bytes).map(&read)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AuditId;
    use crate::sync::audit::{AuditEvent, On, What, Who};
    use crate::sync::message::Message;

    fn seen(number: u8) -> SessionSeen {
        SessionSeen {
            id: SessionId::from_bytes([number; 16]),
            kind: "console".into(),
            peer: "[2001:db8::1]:4000".parse().unwrap(),
            principal: Some(UserId::from_bytes([2; 16])),
            route: None,
            forward: Some(ForwardId::from_bytes([3; 16])),
            endpoint: Some(EndpointId::from_bytes([4; 16])),
            vm: None,
            console: Some(ConsoleId::from_bytes([5; 16])),
            started_ms: 6,
            bytes_up: 7,
            bytes_down: u64::MAX,
            target: (number == 1).then(|| "web-01:22".to_owned()),
        }
    }

    #[test]
    fn questions_and_answers_arrive_as_they_went() {
        let session = SessionId::from_bytes([9; 16]);
        for question in [
            Question::Sessions { after: Some(session), only: None, limit: 5 },
            Question::Sessions { after: None, only: Some(session), limit: 0 },
            Question::End(session),
            Question::Redeem {
                ticket: Secret::new("t".into()),
                source: "::1".parse().unwrap(),
                agent: u64::MAX,
            },
            Question::Audit(vec![AuditEvent {
                id: AuditId::from_bytes([1; 16]),
                at_ms: 3,
                what: What::Open,
                on: On::Console(ConsoleId::from_bytes([2; 16])),
                who: Who::Root,
                proof: "ticket".into(),
                source: "192.0.2.1".parse().unwrap(),
                session: Some(session),
                why: String::new(),
                totals: None,
            }]),
            Question::Ports {
                transport: Transport::Udp,
                listen: Some("2001:db8::1".parse().unwrap()),
                ports: Ports { first: 1, last: 3 },
            },
            Question::Ports {
                transport: Transport::Tcp,
                listen: None,
                ports: Ports { first: 65_535, last: 65_535 },
            },
            Question::Unknown,
        ] {
            let message = Message::Ask(Ask { number: 7, question });
            assert_eq!(Message::decode(&message.encode()).unwrap(), message);
        }
        let mut answers = vec![
            Answer::Sessions { items: vec![seen(1), seen(2)], more: true },
            Answer::Sessions { items: Vec::new(), more: false },
            Answer::Ended(false),
            Answer::Ended(true),
            Answer::Noted,
            Answer::Taken(None),
            Answer::Taken(Some(65_535)),
            Answer::Unknown,
        ];
        answers.extend(Redemption::ALL.map(Answer::Redeemed));
        for answer in answers {
            let message = Message::Told(Told { number: 8, answer });
            assert_eq!(Message::decode(&message.encode()).unwrap(), message);
        }
    }

    #[test]
    fn a_question_with_a_ticket_does_not_print_it() {
        let ask = Ask {
            number: 1,
            question: Question::Redeem {
                ticket: Secret::new("hunter2".into()),
                source: "::1".parse().unwrap(),
                agent: 1,
            },
        };
        assert!(!format!("{ask:?} {:?}", encode_ask(&ask)).contains("hunter2"));
    }

    #[test]
    fn ports_that_are_no_row_are_refused() {
        let most = u16::try_from(limits::FORWARD_PORTS_MAX).unwrap();
        for (first, last) in [(0, 5), (6, 5), (1, most + 1)] {
            let question =
                Question::Ports { transport: Transport::Tcp, listen: None, ports: Ports { first, last } };
            let message = Message::Ask(Ask { number: 1, question });
            assert!(Message::decode(&message.encode()).is_err(), "{first}-{last}");
        }
    }

    #[test]
    fn a_text_beyond_its_bound_is_refused() {
        let long = "x".repeat(limits::AUDIT_TEXT_BYTES_MAX + 1);
        for long in [
            SessionSeen { kind: long.clone(), ..seen(1) },
            SessionSeen { target: Some(long.clone()), ..seen(1) },
        ] {
            let answer = Answer::Sessions { items: vec![long], more: false };
            let message = Message::Told(Told { number: 1, answer });
            assert!(Message::decode(&message.encode()).is_err());
        }
    }
}
