//! Policies of TLS, challenges, and the keys of tickets and cookies.

use std::fmt;

use prost::Message;

use super::object::in_field;
use crate::id::{ChallengeId, KeyId};
use crate::name::HostName;
use crate::secret::Secret;
use crate::snapshot::{
    Challenge, ChallengeAnswer, ClientCertificates, CookieKey, TicketKey, TlsPolicy, TlsVersion,
};

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireTlsPolicy {
    /// 0 is TLS 1.2, 1 is TLS 1.3.
    #[prost(uint32, tag = "1")]
    min_version: u32,
    #[prost(message, optional, tag = "2")]
    clients: Option<WireClients>,
}

#[derive(Clone, PartialEq, Message)]
struct WireClients {
    #[prost(bytes = "vec", repeated, tag = "1")]
    authorities: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    revoked: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WireChallenge {
    #[prost(string, tag = "1")]
    host: String,
    /// Of HTTP-01; empty where it is TLS-ALPN-01.
    #[prost(string, tag = "2")]
    token: String,
    #[prost(string, tag = "3")]
    key_authorization: String,
    /// Of TLS-ALPN-01.
    #[prost(bytes = "vec", tag = "4")]
    certificate: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    key: Vec<u8>,
}

impl fmt::Debug for WireChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireChallenge").field("host", &self.host).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WireTicketKey {
    #[prost(bool, tag = "1")]
    seals: bool,
    #[prost(bytes = "vec", tag = "2")]
    secret: Vec<u8>,
}

impl fmt::Debug for WireTicketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireTicketKey").field("seals", &self.seals).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct WireCookieKey {
    #[prost(bytes = "vec", tag = "1")]
    secret: Vec<u8>,
}

impl fmt::Debug for WireCookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireCookieKey").finish_non_exhaustive()
    }
}

pub(super) fn encode_policy(policy: &TlsPolicy) -> WireTlsPolicy {
    WireTlsPolicy {
        min_version: match policy.min_version {
            TlsVersion::Tls12 => 0,
            TlsVersion::Tls13 => 1,
        },
        clients: policy.clients.as_ref().map(|clients| WireClients {
            authorities: clients.authorities.to_vec(),
            revoked: clients.revoked.to_vec(),
        }),
    }
}

pub(super) fn decode_policy(wire: WireTlsPolicy) -> Result<TlsPolicy, String> {
    let min_version = match wire.min_version {
        0 => TlsVersion::Tls12,
        1 => TlsVersion::Tls13,
        other => return Err(format!("tls version {other} is not known to this version")),
    };
    let clients = wire.clients.map(|WireClients { authorities, revoked }| ClientCertificates {
        authorities: authorities.into(),
        revoked: revoked.into(),
    });
    Ok(TlsPolicy { min_version, clients })
}

pub(super) fn encode_challenge(challenge: &Challenge) -> WireChallenge {
    let host = challenge.host.to_string();
    match &challenge.answer {
        ChallengeAnswer::Http { token, key_authorization } => WireChallenge {
            host,
            token: token.to_string(),
            key_authorization: key_authorization.to_string(),
            ..WireChallenge::default()
        },
        ChallengeAnswer::TlsAlpn { certificate, key } => WireChallenge {
            host,
            certificate: certificate.clone(),
            key: key.expose().clone(),
            ..WireChallenge::default()
        },
    }
}

pub(super) fn decode_challenge(id: ChallengeId, wire: WireChallenge) -> Result<Challenge, String> {
    let WireChallenge { host, token, key_authorization, certificate, key } = wire;
    // First, so that the key is in custody whatever else is wrong.
    let key = Secret::new(key);
    let host = HostName::parse(&host).map_err(in_field("host"))?;
    let answer = if certificate.is_empty() {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if token.is_empty() || !token.bytes().all(is_plain) {
            return Err("token: has to be letters, digits, - and _".to_owned());
        }
        ChallengeAnswer::Http { token: token.into(), key_authorization: key_authorization.into() }
    } else {
        ChallengeAnswer::TlsAlpn { certificate, key }
    };
    Ok(Challenge { id, host, answer })
}

pub(super) fn encode_ticket_key(key: &TicketKey) -> WireTicketKey {
    WireTicketKey { seals: key.seals, secret: key.secret.expose().clone() }
}

pub(super) fn decode_ticket_key(id: KeyId, wire: WireTicketKey) -> Result<TicketKey, String> {
    let secret = Secret::new(wire.secret);
    if secret.expose().len() != 32 {
        return Err(format!("a ticket key has 32 bytes, this one {}", secret.expose().len()));
    }
    Ok(TicketKey { id, seals: wire.seals, secret })
}

pub(super) fn encode_cookie_key(key: &CookieKey) -> WireCookieKey {
    WireCookieKey { secret: key.secret.expose().clone() }
}

pub(super) fn decode_cookie_key(id: KeyId, wire: WireCookieKey) -> Result<CookieKey, String> {
    let secret = Secret::new(wire.secret);
    if secret.expose().len() != 32 {
        return Err(format!("a cookie key has 32 bytes, this one {}", secret.expose().len()));
    }
    Ok(CookieKey { id, secret })
}
