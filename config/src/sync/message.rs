//! What gateway and control say to each other.
//!
//! Framing on the stream: a 4-byte big-endian length, then one encoded message. Unknown fields and unknown message
//! kinds are skipped, so old and new processes talk.

use crate::delta::Delta;
use crate::id::GatewayId;
use crate::name::GatewayName;
use crate::secret::Secret;
use crate::snapshot::{Digest, Generation, Lineage, Snapshot};
use crate::sync::asking::{Ask, Told};

/// The wire formats this program reads. `Hello` names them; control speaks the newest both know.
pub const FORMATS: &[u32] = &[1];

/// The name in control's certificate on the gateways' stream. Gateways verify this one, whatever address they dialled.
pub const CONTROL_SERVER_NAME: &str = "control.gatehouse.internal";

const GATEWAY_URI_SCHEME: &str = "gatehouse-gateway:";

/// The URI name in a gateway's certificate, `gatehouse-gateway:<uuid>`; it stands as the common name too.
pub fn gateway_uri(gateway: GatewayId) -> String {
    format!("{GATEWAY_URI_SCHEME}{gateway}")
}

/// The gateway that a certificate with this URI or common name belongs to.
pub fn parse_gateway_uri(uri: &str) -> Option<GatewayId> {
    uri.strip_prefix(GATEWAY_URI_SCHEME)?.parse().ok()
}

/// One message, either direction.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Gateway, unauthenticated and only ever first: redeems a join token for a certificate.
    Enrol(Enrol),
    /// Control: the certificate. The gateway closes and dials again with it.
    Enrolled(Enrolled),
    /// Gateway, first on an authenticated stream.
    Hello(Hello),
    /// Control: the whole desired state.
    Snapshot(Snapshot),
    /// Control: a change to the generation the gateway has.
    Delta(Delta),
    /// Gateway: this generation is serving and durable.
    Ack(Ack),
    /// Gateway: this generation was refused; the one before stays in force.
    Nack(Nack),
    /// Gateway: what happens; may be lost.
    Report(Report),
    /// Gateway: asks for a new certificate of the identity that it showed on this stream.
    Renew(Renew),
    /// Control: the new certificate. The gateway shows it at its next dial; the old one counts until it ends.
    Renewed(Renewed),
    /// Control: this gateway is one of ours no more, and nothing but a new join token helps. A `Refused` follows and
    /// says so in words, for programs that do not know this kind.
    Withdrawn,
    /// Control: the stream ends, and why; the gateway shows it and tries again later.
    Refused(String),
    /// Either: are you there?
    Ping(u64),
    /// Either: the number of the ping, back.
    Pong(u64),
    /// Either: a question. Who does not know it says nothing.
    Ask(Ask),
    /// Either: the answer.
    Told(Told),
    /// Only ever decoded: a whole snapshot that does not have the digest it promises, and the refusal it deserves.
    Damaged(Nack),
    /// A kind this program does not know; ignored.
    Unknown,
}

/// Redeems a join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrol {
    /// The one-time token.
    pub token: Secret<String>,
    /// The name the gateway wants.
    pub name: GatewayName,
    /// Certificate signing request in DER; the key never leaves the gateway.
    pub csr: Vec<u8>,
}

/// A gateway's new identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// The 16 bytes of its `GatewayId`.
    pub gateway: [u8; 16],
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The internal authority in DER, for verifying control from now on.
    pub authority: Vec<u8>,
}

/// Asks for a new certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renew {
    /// Certificate signing request in DER, of a new key.
    pub csr: Vec<u8>,
}

/// A gateway's new certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

/// What a gateway has when it connects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// Random number of this start of the process.
    pub boot: u64,
    /// The program's version.
    pub version: String,
    /// The formats it reads, see [`FORMATS`].
    pub formats: Vec<u32>,
    /// What it serves, if anything.
    pub have: Option<Have>,
    /// The addresses it listens on, for people to see.
    pub listeners: Vec<Listening>,
    /// Whether the process is on its way out.
    pub draining: bool,
    /// What is paused in the generation it serves, as in [`Ack`].
    pub degraded: Vec<String>,
    /// What it serves is not on its disk: a restart would go back.
    pub undurable: bool,
}

/// The generation a gateway serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Have {
    /// Its lineage.
    pub lineage: Lineage,
    /// Its number.
    pub generation: Generation,
    /// Its digest.
    pub digest: Digest,
}

impl Have {
    /// What a gateway that serves `snapshot` has.
    pub const fn of(snapshot: &Snapshot) -> Self {
        Self { lineage: snapshot.lineage(), generation: snapshot.generation(), digest: snapshot.digest() }
    }
}

/// One listener of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// `http`, `https`, `ssh`, `novnc`, `ttyd` or `admin`, the gateway's own endpoint.
    pub kind: String,
    /// The bound address.
    pub address: std::net::SocketAddr,
}

/// A generation that is serving and durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Its number.
    pub generation: Generation,
    /// What is paused, each alone: a listener that cannot bind, an identity that cannot be read.
    pub degraded: Vec<String>,
}

/// A generation that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// Its number.
    pub generation: Generation,
    /// Why, for people.
    pub reason: String,
    /// Whether the whole snapshot would help (the delta's base is not what the gateway has).
    pub want_snapshot: bool,
}

/// What happens at a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Open downstream connections.
    pub connections: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Requests answered since the process started.
    pub requests: u64,
}

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message on the gateways' stream cannot be read: {why}")]
pub struct MalformedMessage {
    /// What is wrong.
    pub why: String,
}

impl Message {
    /// The message without its length prefix.
    pub fn encode(&self) -> Vec<u8> {
        super::wire::message::encode(self)
    }

    /// Reads one message without its length prefix.
    ///
    /// Errors: the bytes are no message of a known kind. An unknown kind is `Ok(Unknown)`.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        super::wire::message::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateways_certificate_names_the_gateway() {
        let id = GatewayId::from_bytes([7; 16]);
        assert_eq!(parse_gateway_uri(&gateway_uri(id)), Some(id));
        assert_eq!(parse_gateway_uri("gatehouse-gateway:me"), None);
    }
}
