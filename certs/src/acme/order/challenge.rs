//! What the authority wants to see at a name, and the answer to it.

use config::name::HostName;
use config::secret::Secret;
use instant_acme::{AuthorizationHandle, KeyAuthorization};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::super::account::Account;
use super::super::error::{AcmeError, Kind};
use super::{Method, bare_host};

/// One name to prove.
#[derive(Debug, Clone)]
pub struct ChallengeTask {
    /// URL of the authorization, stable for the life of the order; a good key for what is published.
    pub authorization: String,
    /// The name to prove, without `*.`.
    pub host: HostName,
    /// Whether the name in the order is the wildcard below [`ChallengeTask::host`].
    pub wildcard: bool,
    /// What has to be seen there.
    pub answer: Answer,
}

/// What has to be seen at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// On port 80, at `/.well-known/acme-challenge/TOKEN`.
    Http01 {
        /// Last segment of the path; base64url.
        token: String,
        /// The body, exactly.
        key_authorization: String,
    },
    /// In the DNS.
    Dns01 {
        /// Name of the TXT record, without trailing dot. Apex and wildcard of one name share it: both values stand.
        record: String,
        /// Its text.
        value: String,
    },
    /// On port 443, in a handshake that offers ALPN `acme-tls/1` alone.
    TlsAlpn01 {
        /// The certificate (DER) with the critical acmeIdentifier; rustls takes it by `CertifiedKey::new` only.
        certificate: Vec<u8>,
        /// Its key as PKCS#8 DER.
        key: Secret<Vec<u8>>,
    },
}

pub(super) fn task<'a>(
    account: &Account,
    authorization: &'a mut AuthorizationHandle<'a>,
    method: Method,
) -> Result<ChallengeTask, AcmeError> {
    let host = bare_host(account, authorization.identifier().identifier)?;
    let url = authorization.url().to_owned();
    let wildcard = authorization.wildcard;
    let name = authorization.identifier().to_string();
    let Some(challenge) = authorization.challenge(method.challenge_type()) else {
        return Err(not_offered(account, &name, method));
    };
    // The token becomes a path and a file's name somewhere: RFC 8555 § 8.1 allows base64url alone.
    let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if challenge.token.is_empty() || challenge.token.len() > 256 || !challenge.token.chars().all(is_token) {
        return Err(account.refuse(Kind::NotAcme, "it sent a challenge without a usable token"));
    }
    let authorized = challenge.key_authorization();
    let answer = match method {
        Method::Http01 => Answer::Http01 {
            token: challenge.token.clone(),
            key_authorization: authorized.as_str().to_owned(),
        },
        Method::Dns01 => {
            Answer::Dns01 { record: format!("_acme-challenge.{host}"), value: authorized.dns_value() }
        }
        Method::TlsAlpn01 => tls_alpn(&host, &authorized).map_err(|error| {
            account.refuse(Kind::Credentials, &format!("the challenge certificate cannot be made: {error}"))
        })?,
    };
    Ok(ChallengeTask { authorization: url, host, wildcard, answer })
}

pub(super) fn not_offered(account: &Account, name: &str, method: Method) -> AcmeError {
    account.refuse(Kind::NotOffered, &format!("it does not offer {} for {name}", method.as_str()))
}

/// The self-signed certificate of RFC 8737 § 3: the name alone, and the digest in a critical extension.
fn tls_alpn(host: &HostName, authorized: &KeyAuthorization) -> Result<Answer, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![host.as_str().to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    // Nobody looks at its dates; wide ones need no clock.
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(authorized.digest().as_ref())];
    let certificate = params.self_signed(&key)?;
    Ok(Answer::TlsAlpn01 { certificate: certificate.der().to_vec(), key: Secret::new(key.serialize_der()) })
}
