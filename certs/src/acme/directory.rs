//! Where an authority is found, how it is trusted, and what it offers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::limits;
use http::Request;
use http_body_util::Empty;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::client::Client;
use super::error::{AcmeError, Kind, clean};
use super::problem;

const STEP: &str = "reading the directory";

/// An authority: the URL of its directory, and whom to trust when speaking to it. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    url: Arc<str>,
    host: Arc<str>,
    pub(super) client: Client,
}

impl Directory {
    /// Names an authority and opens the roots of this machine; `extra_root_pem` holds roots trusted besides, for this
    /// authority alone. Connects to nothing; reads the machine's root certificates, some milliseconds.
    ///
    /// Errors: the URL is not `https`, a given root cannot be read, or there is nobody to trust at all.
    pub fn open(url: &str, extra_root_pem: Option<&str>) -> Result<Self, AcmeError> {
        let wrong = |why: &str| AcmeError::new(Kind::NotAcme, &clean(url), why).during(STEP);
        let uri: http::Uri = url.parse().map_err(|_| wrong("the directory is no URL"))?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let host = host.ok_or_else(|| wrong("the directory is not an https URL"))?;

        let untrusted = |why: &str| AcmeError::new(Kind::Untrusted, host, why).during(STEP);
        let mut roots = RootCertStore::empty();
        for root in rustls_native_certs::load_native_certs().certs {
            // One odd root of the system must not cost all others.
            let _ = roots.add(root);
        }
        for root in CertificateDer::pem_slice_iter(extra_root_pem.unwrap_or_default().as_bytes()) {
            let root = root.map_err(|_| untrusted("the extra root is not PEM"))?;
            roots.add(root).map_err(|_| untrusted("the extra root is no certificate of an authority"))?;
        }
        if roots.is_empty() {
            return Err(untrusted("this machine has no root certificates, and none was given"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| untrusted("TLS is not available"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { url: url.into(), host: host.into(), client: Client::new(Arc::new(tls)) })
    }

    /// Gives each request another deadline than [`limits::ACME_REQUEST_DEADLINE_MS`].
    #[must_use]
    pub fn with_request_deadline(mut self, deadline: Duration) -> Self {
        self.client.deadline = deadline;
        self
    }

    /// The URL as given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host of the URL: what errors and people call the authority.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Asks the authority what it offers: one request.
    pub async fn offer(&self) -> Result<Offer, AcmeError> {
        let request = Request::get(self.url())
            .header(http::header::USER_AGENT, concat!("gatehouse/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|_| {
                AcmeError::new(Kind::NotAcme, self.host(), "the directory is no URL").during(STEP)
            })?;
        let answer = self.client.exchange(request).await.map_err(|fault| {
            problem::of_library(self.host(), instant_acme::Error::Other(Box::new(fault))).during(STEP)
        })?;
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            let kind = if status >= 500 { Kind::ServerInternal } else { Kind::NotAcme };
            return Err(AcmeError::new(kind, self.host(), &format!("it answered {status}")).during(STEP));
        }
        let raw: Raw = serde_json::from_slice(answer.body()).map_err(|_| {
            AcmeError::new(Kind::NotAcme, self.host(), "the answer is no ACME directory").during(STEP)
        })?;
        Ok(raw.into_offer())
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What an authority says of itself (RFC 8555 § 7.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Where the terms are that an account has to agree to.
    pub terms: Option<String>,
    /// Where people read about the authority.
    pub website: Option<String>,
    /// Names that CAA records may carry for it (RFC 8659 § 4.2); lower-case.
    pub caa_identities: Vec<String>,
    /// Whether an account needs a key from an account made elsewhere.
    pub external_account_required: bool,
    /// Profiles by name, with their descriptions.
    pub profiles: BTreeMap<String, String>,
    /// Whether it says when to renew (RFC 9773).
    pub renewal_info: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(rename = "newOrder")]
    _new_order: String,
    renewal_info: Option<String>,
    #[serde(default)]
    meta: RawMeta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta {
    terms_of_service: Option<String>,
    website: Option<String>,
    caa_identities: Vec<String>,
    external_account_required: bool,
    profiles: BTreeMap<String, String>,
}

impl Raw {
    fn into_offer(self) -> Offer {
        let bounded = self.meta.caa_identities.iter().take(limits::ACME_CONTACTS_MAX);
        Offer {
            terms: self.meta.terms_of_service.as_deref().map(clean),
            website: self.meta.website.as_deref().map(clean),
            caa_identities: bounded.map(|name| clean(name).to_ascii_lowercase()).collect(),
            external_account_required: self.meta.external_account_required,
            profiles: self.meta.profiles.iter().map(|(name, about)| (clean(name), clean(about))).collect(),
            renewal_info: self.renewal_info.is_some(),
        }
    }
}
