//! What is asked of the public side's TLS: of one route, of one name while an authority looks, and of all tickets.

use crate::id::{ChallengeId, KeyId};
use crate::name::HostName;
use crate::secret::Secret;

/// How the public side of a route is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Plain HTTP; over TLS too where an identity happens to serve the name.
    Off,
    /// A leaf of the internal authority.
    SelfSigned,
    /// A chain that somebody brought.
    Upload,
    /// A chain that an ACME authority signed.
    Acme,
    /// Not terminated here: the bytes of the handshake and all that follow go to the upstream as they are.
    Passthrough,
}

impl TlsMode {
    /// Whether the gateway itself answers the handshake.
    pub const fn is_terminated(self) -> bool {
        match self {
            Self::SelfSigned | Self::Upload | Self::Acme => true,
            Self::Off | Self::Passthrough => false,
        }
    }
}

/// The oldest version of TLS a name is served with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TlsVersion {
    /// RFC 5246, with forward secrecy and AEAD only.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// What a route asks of handshakes beyond the defaults.
///
/// A handshake knows the name and not the path. So the strictest version of a host's routes holds for the host; a
/// client certificate is asked for where any of them wants one, and wanted again by each at its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsPolicy {
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// Who may come in at all.
    pub clients: Option<ClientCertificates>,
}

/// Which client certificates open a route. Fails closed: without one that stands, nothing is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Certificates of the authorities in DER: a chain to any one of them will do.
    pub authorities: Box<[Vec<u8>]>,
    /// Their lists of revoked certificates in DER. Once there is one, a certificate of which none speaks is refused.
    pub revoked: Box<[Vec<u8>]>,
}

/// What a gateway answers an authority that looks whether a name is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Stable name.
    pub id: ChallengeId,
    /// The name that is looked at.
    pub host: HostName,
    /// The answer.
    pub answer: ChallengeAnswer,
}

/// The answer to a challenge, by its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChallengeAnswer {
    /// HTTP-01 (RFC 8555 § 8.3): what stands at `/.well-known/acme-challenge/TOKEN`.
    Http {
        /// Last segment of the path, in the alphabet of base64url.
        token: Box<str>,
        /// Body of the answer.
        key_authorization: Box<str>,
    },
    /// TLS-ALPN-01 (RFC 8737): what a handshake with ALPN `acme-tls/1` and this name is shown.
    TlsAlpn {
        /// The certificate in DER; it holds the digest.
        certificate: Vec<u8>,
        /// Its key as PKCS#8 DER.
        key: Secret<Vec<u8>>,
    },
}

/// A secret that session tickets are sealed with, the same on every gateway.
///
/// One key is never used for two policies of client authentication: each has its own, derived from this secret and
/// from the policy's authorities and lists (CRATES 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketKey {
    /// Stable name; a ticket carries a part of it.
    pub id: KeyId,
    /// Whether new tickets are sealed with it. One that is not only opens: it is on its way in or out.
    pub seals: bool,
    /// 32 random bytes.
    pub secret: Secret<Vec<u8>>,
}

/// The secret that sticky cookies are sealed with, the same on every gateway. It does not rotate: a new one balances
/// every client anew and opens nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieKey {
    /// Stable name.
    pub id: KeyId,
    /// 32 random bytes.
    pub secret: Secret<Vec<u8>>,
}
