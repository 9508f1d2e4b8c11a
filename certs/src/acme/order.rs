//! An order, step by step.
//!
//! Every function but [`start`] takes the URL that `start` returned and asks the authority first; each may be repeated.

mod challenge;
mod find;
mod progress;

use std::time::Duration;

use config::limits;
use config::name::{HostName, HostPattern};
use instant_acme::{
    AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Identifier, NewOrder,
    OrderStatus, RevocationReason, RevocationRequest,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::account::Account;
use super::client::{Fault, HINT};
use super::error::{AcmeError, Kind};

pub use challenge::{Answer, ChallengeTask};
pub use find::find;
pub use progress::Progress;

/// How the right to a name is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A file on port 80 (RFC 8555 § 8.3).
    Http01,
    /// A TXT record (RFC 8555 § 8.4); the one way for a wildcard.
    Dns01,
    /// A handshake on port 443 (RFC 8737).
    TlsAlpn01,
}

impl Method {
    /// The name in RFC 8555 and in our settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    fn challenge_type(self) -> ChallengeType {
        match self {
            Self::Http01 => ChallengeType::Http01,
            Self::Dns01 => ChallengeType::Dns01,
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }
}

/// What is ordered.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The names, at least one; the catch-all is none.
    pub names: &'a [HostPattern],
    /// How they are proved.
    pub method: Method,
    /// One of [`super::Offer::profiles`].
    pub profile: Option<&'a str>,
    /// The leaf (DER) that the new certificate takes the place of; told to authorities that know RFC 9773.
    pub replaces: Option<&'a [u8]>,
}

/// A certificate as the authority handed it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The authority's text.
    pub pem: String,
    /// The same in DER, leaf first; one at least, at most [`limits::ACME_CHAIN_MAX`].
    pub der: Vec<Vec<u8>>,
}

/// Opens an order and returns its URL, which the caller stores before anything else: it is all that the later steps
/// need. Authorities that reuse pending orders return the same one again for the same names.
///
/// Errors: [`Kind::NeedsDns01`] and [`Kind::BadNames`] before anything is sent; what the authority refuses.
pub async fn start(account: &Account, wanted: &Wanted<'_>) -> Result<String, AcmeError> {
    const STEP: &str = "starting the order";
    check_names(account, wanted).map_err(|error| error.during(STEP))?;
    account.step(STEP, start_unbounded(account, wanted)).await
}

async fn start_unbounded(account: &Account, wanted: &Wanted<'_>) -> Result<String, AcmeError> {
    if let Some(profile) = wanted.profile {
        let offered: Vec<&str> = account.inner.profiles().map(|profile| profile.name).collect();
        if !offered.contains(&profile) {
            let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
            let why = format!("it has no profile {profile:?}; it offers {offered}");
            return Err(account.refuse(Kind::NotOffered, &why));
        }
    }
    let names: Vec<Identifier> = wanted.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let new =
        || wanted.profile.map_or_else(|| NewOrder::new(&names), |name| NewOrder::new(&names).profile(name));
    // A leaf without an authority key identifier has no name in RFC 9773; the order is good without.
    let leaf = wanted.replaces.map(CertificateDer::from);
    let replaced = leaf.as_ref().and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
    if let Some(replaced) = replaced {
        let new = new().replaces(replaced.into_owned());
        match again!(account.inner.new_order(&new)) {
            Ok(order) => return Ok(order.url().to_owned()),
            // Nothing was sent.
            Err(instant_acme::Error::Unsupported(_)) => {}
            Err(error) => {
                let error = account.fail(error);
                // Somebody replaced it before us; that must not stop this order.
                if error.kind != Kind::AlreadyReplaced {
                    return Err(error);
                }
            }
        }
    }
    let new = new();
    let order = again!(account.inner.new_order(&new)).map_err(|error| account.fail(error))?;
    Ok(order.url().to_owned())
}

fn check_names(account: &Account, wanted: &Wanted<'_>) -> Result<(), AcmeError> {
    let count = wanted.names.len();
    if count == 0 || count > limits::ACME_NAMES_MAX {
        let why = format!("an order takes 1 to {} names, not {count}", limits::ACME_NAMES_MAX);
        return Err(account.refuse(Kind::BadNames, &why));
    }
    for name in wanted.names {
        match name {
            HostPattern::Exact(_) => {}
            HostPattern::CatchAll => return Err(account.refuse(Kind::BadNames, "the catch-all is no name")),
            HostPattern::Wildcard(_) if wanted.method == Method::Dns01 => {}
            HostPattern::Wildcard(_) => {
                let why = format!("{name} needs DNS-01, {} cannot prove it", wanted.method.as_str());
                return Err(account.refuse(Kind::NeedsDns01, &why));
            }
        }
    }
    Ok(())
}

/// What has to be answered, and with what: one task for each name not proved yet, by name; none when all are. The same
/// tokens every time; a TLS-ALPN-01 certificate is made anew, and any of them is good.
///
/// Errors: the order has failed ([`AcmeError::names`] says where) or is gone; the authority does not offer the method
/// for a name.
pub async fn tasks(
    account: &Account,
    order_url: &str,
    method: Method,
) -> Result<Vec<ChallengeTask>, AcmeError> {
    let work = async {
        let mut order =
            again!(account.inner.order(order_url.to_owned())).map_err(|error| gone(account, error))?;
        if order.state().status == OrderStatus::Invalid {
            return Err(progress::failure(account, &mut order).await);
        }
        progress::fetch_authorizations(account, &mut order).await?;
        let mut tasks = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| account.fail(error))?;
            if authorization.status == AuthorizationStatus::Pending {
                tasks.push(challenge::task(account, &mut authorization, method)?);
            }
        }
        // Authorities list them as they please, differently each time.
        tasks.sort_by(|a, b| (&a.host, a.wildcard).cmp(&(&b.host, b.wildcard)));
        Ok(tasks)
    };
    account.step("reading the order", work).await
}

/// Tells the authority to look. **Every** answer of the order must stand before: it looks at once, and one wrong look
/// ends the order. What it was told before is not told again.
pub async fn ready(account: &Account, order_url: &str, method: Method) -> Result<(), AcmeError> {
    let work = async {
        let mut order =
            again!(account.inner.order(order_url.to_owned())).map_err(|error| gone(account, error))?;
        if order.state().status != OrderStatus::Pending {
            return Ok(());
        }
        progress::fetch_authorizations(account, &mut order).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|error| account.fail(error))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = authorization.identifier().to_string();
            let Some(mut challenge) = authorization.challenge(method.challenge_type()) else {
                return Err(challenge::not_offered(account, &name, method));
            };
            if challenge.status == ChallengeStatus::Pending {
                match again!(challenge.set_ready()).map_err(|error| account.fail(error)) {
                    Ok(()) => {}
                    Err(error) if error.kind == Kind::BadNonce || error.is_passing() => return Err(error),
                    // A quick verdict on one name is the order's to report, with the other names'.
                    Err(_) => {}
                }
            }
        }
        Ok(())
    };
    account.step("having the names validated", work).await
}

/// Where the order stands: one request, and one a name if it has failed.
pub async fn poll(account: &Account, order_url: &str) -> Result<Progress, AcmeError> {
    let work = HINT.scope(std::cell::Cell::new(None), async {
        let mut order =
            again!(account.inner.order(order_url.to_owned())).map_err(|error| gone(account, error))?;
        let after = HINT.with(std::cell::Cell::get).unwrap_or(Duration::from_secs(2));
        Ok(match order.state().status {
            OrderStatus::Pending => Progress::Pending { after },
            OrderStatus::Ready => Progress::Ready,
            OrderStatus::Processing => Progress::Processing { after },
            OrderStatus::Valid => Progress::Issued,
            OrderStatus::Invalid => Progress::Failed(Box::new(progress::failure(account, &mut order).await)),
        })
    });
    account.step("asking after the order", work).await
}

/// Hands in the request for the certificate, made beforehand by the caller with the names of the order and kept with
/// its key. Does nothing when it was handed in before.
///
/// Errors: [`Kind::OrderNotReady`] while names are not proved; [`Kind::BadCsr`].
pub async fn finalize(account: &Account, order_url: &str, csr_der: &[u8]) -> Result<(), AcmeError> {
    let work = async {
        let mut order =
            again!(account.inner.order(order_url.to_owned())).map_err(|error| gone(account, error))?;
        match order.state().status {
            OrderStatus::Processing | OrderStatus::Valid => Ok(()),
            OrderStatus::Invalid => Err(progress::failure(account, &mut order).await),
            OrderStatus::Pending => {
                Err(account.refuse(Kind::OrderNotReady, "not every name is validated yet"))
            }
            OrderStatus::Ready => again!(order.finalize_csr(csr_der)).map_err(|error| account.fail(error)),
        }
    };
    account.step("handing in the request", work).await
}

/// Fetches the certificate of an order that is `Issued`; may be repeated.
pub async fn download(account: &Account, order_url: &str) -> Result<Chain, AcmeError> {
    let work = async {
        let mut order =
            again!(account.inner.order(order_url.to_owned())).map_err(|error| gone(account, error))?;
        match order.state().status {
            OrderStatus::Valid => {}
            OrderStatus::Invalid => return Err(progress::failure(account, &mut order).await),
            OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Processing => {
                return Err(account.refuse(Kind::OrderNotReady, "the certificate is not made yet"));
            }
        }
        let pem = again!(order.certificate()).map_err(|error| account.fail(error))?;
        let pem =
            pem.ok_or_else(|| account.refuse(Kind::OrderNotReady, "the certificate is not made yet"))?;
        parse_chain(account, pem)
    };
    account.step("fetching the certificate", work).await
}

fn parse_chain(account: &Account, pem: String) -> Result<Chain, AcmeError> {
    let der = CertificateDer::pem_slice_iter(pem.as_bytes())
        .take(limits::ACME_CHAIN_MAX + 1)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| account.refuse(Kind::NotAcme, "the certificate it handed out is not PEM"))?;
    if der.is_empty() || der.len() > limits::ACME_CHAIN_MAX {
        let why = format!("it handed out a chain that is empty or longer than {}", limits::ACME_CHAIN_MAX);
        return Err(account.refuse(Kind::NotAcme, &why));
    }
    Ok(Chain { pem, der })
}

/// Why a certificate is revoked (RFC 5280 § 5.3.1); those that a subscriber may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not said.
    Unspecified,
    /// Somebody else has the key.
    KeyCompromise,
    /// The names changed hands.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The names are no longer served.
    CessationOfOperation,
}

impl Reason {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
    ];

    /// Its word in our settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
        }
    }

    /// Reads [`Reason::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// Revokes a leaf (DER) that this account ordered. One that is revoked already counts as done.
pub async fn revoke(account: &Account, leaf_der: &[u8], reason: Reason) -> Result<(), AcmeError> {
    let certificate = CertificateDer::from(leaf_der);
    let request = RevocationRequest {
        certificate: &certificate,
        reason: match reason {
            Reason::Unspecified => None,
            Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Reason::Superseded => Some(RevocationReason::Superseded),
            Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        },
    };
    let work = async {
        match again!(account.inner.revoke(&request)).map_err(|error| account.fail(error)) {
            Err(error) if error.kind == Kind::AlreadyRevoked => Ok(()),
            done => done,
        }
    };
    account.step("revoking the certificate", work).await
}

/// An order that is not found is gone, whatever type the authority gives the problem.
fn gone(account: &Account, error: instant_acme::Error) -> AcmeError {
    let not_found = matches!(&error, instant_acme::Error::Other(cause)
        if matches!(cause.downcast_ref(), Some(Fault::Refused { status: 404 | 410, .. } | Fault::Status { status: 404 | 410, .. })));
    let mut error = account.fail(error);
    if not_found {
        error.kind = Kind::OrderGone;
    }
    error
}

/// The name that an authorization is about, without its `*.`.
fn bare_host(account: &Account, identifier: &Identifier) -> Result<HostName, AcmeError> {
    let odd = || account.refuse(Kind::NotAcme, "it asks for a name that was not ordered");
    let Identifier::Dns(name) = identifier else { return Err(odd()) };
    HostName::parse(name.strip_prefix("*.").unwrap_or(name)).map_err(|_| odd())
}
