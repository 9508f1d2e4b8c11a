//! Messages and their bytes.
//!
//! An envelope with one of several bodies. A body that this program does not know leaves the envelope empty, which is
//! how an unknown kind is told from a damaged one.

use std::fmt;
use std::net::SocketAddr;

use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost::{Message as _, Oneof};

use super::asking::{WireAsk, WireTold, decode_ask, decode_told, encode_ask, encode_told};
use super::object::{address, address_bytes, id_bytes, port};
use crate::delta::Delta;
use crate::limits;
use crate::name::GatewayName;
use crate::secret::Secret;
use crate::snapshot::{Digest, Generation, Kind, Lineage, Object, ObjectKey, Snapshot};
use crate::sync::message::{
    Ack, Enrol, Enrolled, Have, Hello, Listening, MalformedMessage, Message, Nack, Renew, Renewed, Report,
};

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16")]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Body {
    #[prost(message, tag = "1")]
    Enrol(WireEnrol),
    #[prost(message, tag = "2")]
    Enrolled(WireEnrolled),
    #[prost(message, tag = "3")]
    Hello(WireHello),
    #[prost(message, tag = "4")]
    Snapshot(WireSnapshot),
    #[prost(message, tag = "5")]
    Delta(WireDelta),
    #[prost(message, tag = "6")]
    Ack(WireAck),
    #[prost(message, tag = "7")]
    Nack(WireNack),
    #[prost(message, tag = "8")]
    Report(WireReport),
    #[prost(string, tag = "9")]
    Refused(String),
    #[prost(uint64, tag = "10")]
    Ping(u64),
    #[prost(uint64, tag = "11")]
    Pong(u64),
    #[prost(message, tag = "12")]
    Renew(WireRenew),
    #[prost(message, tag = "13")]
    Renewed(WireRenewed),
    #[prost(message, tag = "14")]
    Withdrawn(WireWithdrawn),
    #[prost(message, tag = "15")]
    Ask(WireAsk),
    #[prost(message, tag = "16")]
    Told(WireTold),
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct WireEnrol {
    #[prost(string, tag = "1")]
    token: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "vec", tag = "3")]
    csr: Vec<u8>,
}

impl fmt::Debug for WireEnrol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireEnrol").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireEnrolled {
    #[prost(bytes = "vec", tag = "1")]
    gateway: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    chain: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "3")]
    authority: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireHello {
    #[prost(fixed64, tag = "1")]
    boot: u64,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(uint32, repeated, tag = "3")]
    formats: Vec<u32>,
    #[prost(message, optional, tag = "4")]
    have: Option<WireHave>,
    #[prost(message, repeated, tag = "5")]
    listeners: Vec<WireListening>,
    #[prost(bool, tag = "6")]
    draining: bool,
    #[prost(string, repeated, tag = "7")]
    degraded: Vec<String>,
    #[prost(bool, tag = "8")]
    undurable: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireHave {
    #[prost(bytes = "vec", tag = "1")]
    lineage: Vec<u8>,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireListening {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(bytes = "vec", tag = "2")]
    address: Vec<u8>,
    #[prost(uint32, tag = "3")]
    port: u32,
}

/// The bytes may hold a private key.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
struct WireObject {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    bytes: Vec<u8>,
}

impl fmt::Debug for WireObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireObject").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireKey {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireSnapshot {
    #[prost(bytes = "vec", tag = "1")]
    lineage: Vec<u8>,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    objects: Vec<WireObject>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireDelta {
    #[prost(bytes = "vec", tag = "1")]
    lineage: Vec<u8>,
    #[prost(uint64, tag = "2")]
    base: u64,
    #[prost(uint64, tag = "3")]
    to: u64,
    #[prost(bytes = "vec", tag = "4")]
    digest: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    upserts: Vec<WireObject>,
    #[prost(message, repeated, tag = "6")]
    removals: Vec<WireKey>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireAck {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(string, repeated, tag = "2")]
    degraded: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireNack {
    #[prost(uint64, tag = "1")]
    generation: u64,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(bool, tag = "3")]
    want_snapshot: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRenew {
    #[prost(bytes = "vec", tag = "1")]
    csr: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireRenewed {
    #[prost(bytes = "vec", repeated, tag = "1")]
    chain: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WireWithdrawn {}

#[derive(Clone, PartialEq, prost::Message)]
struct WireReport {
    #[prost(uint64, tag = "1")]
    connections: u64,
    #[prost(uint64, tag = "2")]
    sessions: u64,
    #[prost(uint64, tag = "3")]
    requests: u64,
}

pub(crate) fn encode(message: &Message) -> Vec<u8> {
    let body = match message {
        Message::Enrol(enrol) => Some(Body::Enrol(WireEnrol {
            token: enrol.token.expose().clone(),
            name: enrol.name.to_string(),
            csr: enrol.csr.clone(),
        })),
        Message::Enrolled(enrolled) => Some(Body::Enrolled(WireEnrolled {
            gateway: enrolled.gateway.to_vec(),
            chain: enrolled.chain.clone(),
            authority: enrolled.authority.clone(),
        })),
        Message::Hello(hello) => Some(Body::Hello(encode_hello(hello))),
        Message::Snapshot(snapshot) => Some(Body::Snapshot(encode_snapshot(snapshot))),
        Message::Delta(delta) => Some(Body::Delta(encode_delta(delta))),
        Message::Ack(ack) => {
            Some(Body::Ack(WireAck { generation: ack.generation.0, degraded: ack.degraded.clone() }))
        }
        Message::Nack(nack) | Message::Damaged(nack) => Some(Body::Nack(WireNack {
            generation: nack.generation.0,
            reason: nack.reason.clone(),
            want_snapshot: nack.want_snapshot,
        })),
        Message::Report(report) => Some(Body::Report(WireReport {
            connections: report.connections,
            sessions: report.sessions,
            requests: report.requests,
        })),
        Message::Renew(renew) => Some(Body::Renew(WireRenew { csr: renew.csr.clone() })),
        Message::Renewed(renewed) => Some(Body::Renewed(WireRenewed { chain: renewed.chain.clone() })),
        Message::Withdrawn => Some(Body::Withdrawn(WireWithdrawn {})),
        Message::Refused(why) => Some(Body::Refused(why.clone())),
        Message::Ping(number) => Some(Body::Ping(*number)),
        Message::Pong(number) => Some(Body::Pong(*number)),
        Message::Ask(ask) => Some(Body::Ask(encode_ask(ask))),
        Message::Told(told) => Some(Body::Told(encode_told(told))),
        Message::Unknown => None,
    };
    Envelope { body }.encode_to_vec()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Message, MalformedMessage> {
    read(bytes).map_err(|why| MalformedMessage { why })
}

fn read(bytes: &[u8]) -> Result<Message, String> {
    check_counts(bytes)?;
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    let Some(body) = envelope.body else { return Ok(Message::Unknown) };
    Ok(match body {
        Body::Enrol(wire) => {
            // First, so that the token is in custody whatever else is wrong.
            let token = Secret::new(wire.token);
            let name = GatewayName::parse(&wire.name).map_err(|error| format!("name: {error}"))?;
            Message::Enrol(Enrol { token, name, csr: wire.csr })
        }
        Body::Enrolled(wire) => Message::Enrolled(Enrolled {
            gateway: id_bytes(&wire.gateway)?,
            chain: wire.chain,
            authority: wire.authority,
        }),
        Body::Hello(wire) => Message::Hello(decode_hello(wire)?),
        Body::Snapshot(wire) => decode_snapshot(wire)?,
        Body::Delta(wire) => Message::Delta(decode_delta(wire)?),
        Body::Ack(wire) => {
            Message::Ack(Ack { generation: Generation(wire.generation), degraded: wire.degraded })
        }
        Body::Nack(wire) => Message::Nack(Nack {
            generation: Generation(wire.generation),
            reason: wire.reason,
            want_snapshot: wire.want_snapshot,
        }),
        Body::Report(wire) => Message::Report(Report {
            connections: wire.connections,
            sessions: wire.sessions,
            requests: wire.requests,
        }),
        Body::Renew(wire) => Message::Renew(Renew { csr: wire.csr }),
        Body::Renewed(wire) => Message::Renewed(Renewed { chain: wire.chain }),
        Body::Withdrawn(_) => Message::Withdrawn,
        Body::Ask(wire) => Message::Ask(decode_ask(wire)?),
        Body::Told(wire) => Message::Told(decode_told(wire)?),
        Body::Refused(why) => Message::Refused(why),
        Body::Ping(number) => Message::Ping(number),
        Body::Pong(number) => Message::Pong(number),
    })
}

/// Refuses a message of more parts than its kind may have, before any of them is allocated: an empty part is two bytes
/// on the wire and dozens in memory.
fn check_counts(mut bytes: &[u8]) -> Result<(), String> {
    let mut parts = 0_usize;
    while bytes.has_remaining() {
        let (tag, wire_type) = decode_key(&mut bytes).map_err(|error| error.to_string())?;
        if wire_type != WireType::LengthDelimited || tag == 9 {
            skip_field(wire_type, tag, &mut bytes, DecodeContext::default())
                .map_err(|error| error.to_string())?;
            continue;
        }
        let len = decode_varint(&mut bytes).map_err(|error| error.to_string())?;
        let (mut body, rest) = usize::try_from(len)
            .ok()
            .and_then(|len| bytes.split_at_checked(len))
            .ok_or_else(|| "it ends too early".to_owned())?;
        bytes = rest;
        let parts_max =
            if matches!(tag, 4 | 5) { limits::OBJECTS_MAX + 16 } else { limits::MESSAGE_PARTS_MAX };
        while tag <= 16 && body.has_remaining() {
            parts += 1;
            if parts > parts_max {
                return Err(format!("it has more than {parts_max} parts"));
            }
            let (tag, wire_type) = decode_key(&mut body).map_err(|error| error.to_string())?;
            skip_field(wire_type, tag, &mut body, DecodeContext::default())
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn encode_hello(hello: &Hello) -> WireHello {
    WireHello {
        boot: hello.boot,
        version: hello.version.clone(),
        formats: hello.formats.clone(),
        have: hello.have.map(|have| WireHave {
            lineage: have.lineage.0.to_vec(),
            generation: have.generation.0,
            digest: digest_bytes(have.digest),
        }),
        listeners: hello.listeners.iter().map(encode_listening).collect(),
        draining: hello.draining,
        degraded: hello.degraded.clone(),
        undurable: hello.undurable,
    }
}

fn encode_listening(listening: &Listening) -> WireListening {
    WireListening {
        kind: listening.kind.clone(),
        address: address_bytes(listening.address.ip()),
        port: listening.address.port().into(),
    }
}

fn decode_hello(wire: WireHello) -> Result<Hello, String> {
    let have = match wire.have {
        None => None,
        Some(have) => Some(Have {
            lineage: Lineage(id_bytes(&have.lineage)?),
            generation: Generation(have.generation),
            digest: digest(&have.digest)?,
        }),
    };
    let listeners = wire.listeners.into_iter().map(|listening| {
        let address = SocketAddr::new(address(&listening.address)?, port(listening.port)?);
        Ok::<_, String>(Listening { kind: listening.kind, address })
    });
    Ok(Hello {
        boot: wire.boot,
        version: wire.version,
        formats: wire.formats,
        have,
        listeners: listeners.collect::<Result<_, _>>()?,
        draining: wire.draining,
        degraded: wire.degraded,
        undurable: wire.undurable,
    })
}

fn encode_snapshot(snapshot: &Snapshot) -> WireSnapshot {
    WireSnapshot {
        lineage: snapshot.lineage().0.to_vec(),
        generation: snapshot.generation().0,
        digest: digest_bytes(snapshot.digest()),
        objects: snapshot.objects().map(encode_object).collect(),
    }
}

fn decode_snapshot(wire: WireSnapshot) -> Result<Message, String> {
    let objects = wire.objects.into_iter().map(decode_object).collect::<Result<Vec<_>, _>>()?;
    let promised = digest(&wire.digest)?;
    let generation = Generation(wire.generation);
    let snapshot = Snapshot::of(Lineage(id_bytes(&wire.lineage)?), generation, objects);
    if snapshot.digest() != promised {
        let got = snapshot.digest();
        let reason = format!("generation {generation} has digest {got:?}, and should have {promised:?}");
        return Ok(Message::Damaged(Nack { generation, reason, want_snapshot: false }));
    }
    Ok(Message::Snapshot(snapshot))
}

fn encode_delta(delta: &Delta) -> WireDelta {
    WireDelta {
        lineage: delta.lineage.0.to_vec(),
        base: delta.base.0,
        to: delta.to.0,
        digest: digest_bytes(delta.digest),
        upserts: delta.upserts.iter().map(encode_object).collect(),
        removals: delta
            .removals
            .iter()
            .map(|key| WireKey { kind: key.kind.0.into(), id: key.id.to_vec() })
            .collect(),
    }
}

fn decode_delta(wire: WireDelta) -> Result<Delta, String> {
    Ok(Delta {
        lineage: Lineage(id_bytes(&wire.lineage)?),
        base: Generation(wire.base),
        to: Generation(wire.to),
        digest: digest(&wire.digest)?,
        upserts: wire.upserts.into_iter().map(decode_object).collect::<Result<_, _>>()?,
        removals: wire.removals.iter().map(|wire| key(wire.kind, &wire.id)).collect::<Result<_, _>>()?,
    })
}

fn encode_object(object: &Object) -> WireObject {
    let key = object.key();
    WireObject { kind: key.kind.0.into(), id: key.id.to_vec(), bytes: object.bytes().to_vec() }
}

fn decode_object(wire: WireObject) -> Result<Object, String> {
    let key = key(wire.kind, &wire.id)?;
    if wire.bytes.len() > limits::OBJECT_BYTES_MAX {
        let (len, max) = (wire.bytes.len(), limits::OBJECT_BYTES_MAX);
        return Err(format!("object {key:?} has {len} bytes, at most {max} are taken"));
    }
    Ok(Object::new(key, wire.bytes))
}

fn key(kind: u32, id: &[u8]) -> Result<ObjectKey, String> {
    let kind = u8::try_from(kind).map_err(|_| format!("{kind} is no kind of object"))?;
    Ok(ObjectKey { kind: Kind(kind), id: id_bytes(id)? })
}

fn digest_bytes(digest: Digest) -> Vec<u8> {
    digest.0.iter().flat_map(|lane| lane.to_be_bytes()).collect()
}

fn digest(bytes: &[u8]) -> Result<Digest, String> {
    let mut digest = Digest::default();
    let (lanes, rest) = bytes.as_chunks::<8>();
    if lanes.len() != digest.0.len() || !rest.is_empty() {
        return Err(format!("a digest has 32 bytes, this one {}", bytes.len()));
    }
    for (lane, bytes) in digest.0.iter_mut().zip(lanes) {
        *lane = u64::from_be_bytes(*bytes);
    }
    Ok(digest)
}
