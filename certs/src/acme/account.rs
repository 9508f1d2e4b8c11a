//! An account with an authority: made once, loaded from sealed credentials ever after.

use std::future::Future;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use config::limits;
use config::secret::Secret;
use instant_acme::{AccountCredentials, ExternalAccountKey};
use serde::Deserialize;

use super::directory::Directory;
use super::error::{AcmeError, Kind};
use super::problem;

const CREATE: &str = "making the account";
const LOAD: &str = "opening the account";

/// A key id and HMAC key that an authority shows to its customers (RFC 8555 § 7.3.4).
#[derive(Debug, Clone)]
pub struct ExternalBinding {
    key_id: String,
    hmac: Secret<Vec<u8>>,
}

impl ExternalBinding {
    /// Takes both as the authority shows them: the HMAC key is base64url, with or without padding.
    ///
    /// Errors: either is empty, or the key is not base64url.
    pub fn parse(key_id: &str, hmac_base64url: &Secret<String>) -> Result<Self, AcmeError> {
        let wrong = |why| AcmeError::new(Kind::Credentials, "the external account", why).during(CREATE);
        let hmac = BASE64_URL_SAFE_NO_PAD
            .decode(hmac_base64url.expose().trim().trim_end_matches('='))
            .map_err(|_| wrong("the HMAC key is not base64url"))?;
        if key_id.trim().is_empty() || hmac.is_empty() {
            return Err(wrong("key id and HMAC key are both needed"));
        }
        Ok(Self { key_id: key_id.trim().to_owned(), hmac: Secret::new(hmac) })
    }
}

/// What an account is made from.
#[derive(Debug, Clone, Default)]
pub struct NewAccount<'a> {
    /// Mail addresses, with or without `mailto:`; may be empty.
    pub contacts: &'a [String],
    /// Whether the person agreed to the authority's terms ([`super::Offer::terms`]).
    pub terms_agreed: bool,
    /// The binding to an account made elsewhere, for authorities that ask for one.
    pub external: Option<&'a ExternalBinding>,
}

/// An account with an authority. Cheap to clone; several may be open at once.
#[derive(Clone)]
pub struct Account {
    pub(super) inner: instant_acme::Account,
    directory: Directory,
}

impl Account {
    /// Makes an account with a new key. Returns it with its credentials, a JSON text that holds the private key and is
    /// for the caller to seal.
    ///
    /// An account whose credentials were lost before they were stored is harmless; but some authorities take an
    /// external binding once only, and then a new one is needed.
    ///
    /// Errors: a contact is no mail address; the authority has terms and they were not agreed to; it wants an external
    /// binding and has none; and what the authority refuses.
    pub async fn create(
        directory: &Directory,
        new: &NewAccount<'_>,
    ) -> Result<(Self, Secret<Vec<u8>>), AcmeError> {
        step(directory, CREATE, Self::create_unbounded(directory, new)).await
    }

    async fn create_unbounded(
        directory: &Directory,
        new: &NewAccount<'_>,
    ) -> Result<(Self, Secret<Vec<u8>>), AcmeError> {
        let fail = |kind, why: &str| AcmeError::new(kind, directory.host(), why);
        let contacts = contacts(directory, new.contacts)?;
        let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
        let offer = directory.offer().await?;
        if let Some(terms) = offer.terms.filter(|_| !new.terms_agreed) {
            return Err(fail(Kind::TermsNotAgreed, &format!("its terms at {terms} were not agreed to")));
        }
        if offer.external_account_required && new.external.is_none() {
            return Err(fail(Kind::ExternalAccountRequired, "it wants an external account binding"));
        }
        let payload = instant_acme::NewAccount {
            contact: &contacts,
            terms_of_service_agreed: new.terms_agreed,
            only_return_existing: false,
        };
        let external = new.external.map(|e| ExternalAccountKey::new(e.key_id.clone(), e.hmac.expose()));
        let call = || {
            let builder = instant_acme::Account::builder_with_http(Box::new(directory.client.clone()));
            builder.create(&payload, directory.url().to_owned(), external.as_ref())
        };
        let (inner, credentials) =
            again!(call()).map_err(|error| problem::of_library(directory.host(), error))?;
        let credentials = serde_json::to_vec(&credentials)
            .map_err(|_| fail(Kind::Credentials, "the credentials cannot be written"))?;
        Ok((Self { inner, directory: directory.clone() }, Secret::new(credentials)))
    }

    /// Opens an account from what [`Account::create`] returned. Asks the authority for its directory, no more: whether
    /// it still knows the account shows at the first order.
    ///
    /// Errors: the credentials cannot be read or are another authority's; the directory cannot be fetched.
    pub async fn load(directory: &Directory, credentials: &Secret<Vec<u8>>) -> Result<Self, AcmeError> {
        #[derive(Deserialize)]
        struct Where {
            directory: Option<String>,
        }
        let fail = |why: &str| AcmeError::new(Kind::Credentials, directory.host(), why).during(LOAD);
        let unreadable = |_| fail("the stored credentials cannot be read");
        let of: Where = serde_json::from_slice(credentials.expose()).map_err(unreadable)?;
        if of.directory.as_deref() != Some(directory.url()) {
            return Err(fail("the stored credentials are another authority's"));
        }
        let parsed: AccountCredentials = serde_json::from_slice(credentials.expose()).map_err(unreadable)?;
        let builder = instant_acme::Account::builder_with_http(Box::new(directory.client.clone()));
        step(directory, LOAD, async {
            let inner = builder.from_credentials(parsed).await;
            let inner = inner.map_err(|error| problem::of_library(directory.host(), error))?;
            Ok(Self { inner, directory: directory.clone() })
        })
        .await
    }

    /// Ends the account: no order of it can go on, and its credentials are worthless from now on.
    pub async fn deactivate(&self) -> Result<(), AcmeError> {
        step(&self.directory, "ending the account", async {
            again!(self.inner.clone().deactivate()).map_err(|error| self.fail(error))
        })
        .await
    }

    /// The account's URL, by which the authority knows it; no secret.
    pub fn url(&self) -> &str {
        self.inner.id()
    }

    /// The authority.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn fail(&self, error: instant_acme::Error) -> AcmeError {
        problem::of_library(self.directory.host(), error)
    }

    pub(super) fn refuse(&self, kind: Kind, why: &str) -> AcmeError {
        AcmeError::new(kind, self.directory.host(), why)
    }

    /// Runs one step under its deadline.
    pub(super) async fn step<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, AcmeError>>,
    ) -> Result<T, AcmeError> {
        step(&self.directory, name, work).await
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("url", &self.url()).finish_non_exhaustive()
    }
}

async fn step<T>(
    directory: &Directory,
    name: &'static str,
    work: impl Future<Output = Result<T, AcmeError>>,
) -> Result<T, AcmeError> {
    let deadline = Duration::from_millis(limits::ACME_STEP_DEADLINE_MS);
    match tokio::time::timeout(deadline, work).await {
        Ok(done) => done.map_err(|error| error.during(name)),
        Err(_) => Err(AcmeError::new(Kind::TimedOut, directory.host(), "no end in sight").during(name)),
    }
}

/// Makes contact URLs of mail addresses; catches what every authority refuses (RFC 8555 § 7.3).
fn contacts(directory: &Directory, given: &[String]) -> Result<Vec<String>, AcmeError> {
    let fail = |why: &str| AcmeError::new(Kind::InvalidContact, directory.host(), why);
    if given.len() > limits::ACME_CONTACTS_MAX {
        return Err(fail(&format!("{} contacts; {} are the most", given.len(), limits::ACME_CONTACTS_MAX)));
    }
    let url = |contact: &String| {
        let mail = contact.trim().strip_prefix("mailto:").unwrap_or_else(|| contact.trim());
        let (local, domain) = mail.rsplit_once('@').unwrap_or_default();
        let has_odd =
            |part: &str| part.chars().any(|c| c.is_whitespace() || c.is_control() || ",?&<>@".contains(c));
        let is_mail = !local.is_empty() && domain.contains('.') && !has_odd(local) && !has_odd(domain);
        if is_mail {
            Ok(format!("mailto:{mail}"))
        } else {
            Err(fail(&format!("{mail:?} is no mail address")))
        }
    };
    given.iter().map(url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        let root = crate::self_signed::Authority::create("test", 1_000_000_000).unwrap();
        Directory::open("https://ca.example/dir", Some(&root.certificate_pem())).unwrap()
    }

    #[test]
    fn a_contact_becomes_a_mailto_url_once() {
        let given = ["a@example.com".to_owned(), " mailto:b@example.com ".to_owned()];
        assert_eq!(contacts(&directory(), &given).unwrap(), ["mailto:a@example.com", "mailto:b@example.com"]);
    }

    #[test]
    fn a_contact_that_is_no_mail_address_is_refused() {
        for bad in
            ["", "a", "a@b", "@example.com", "a b@example.com", "a@example.com,b@example.com", "tel:+1"]
        {
            let error = contacts(&directory(), &[bad.to_owned()]).unwrap_err();
            assert_eq!(error.kind, Kind::InvalidContact, "{bad}");
        }
    }

    #[test]
    fn a_binding_takes_padded_and_bare_base64url_and_does_not_print_its_key() {
        let padded = ExternalBinding::parse("kid", &Secret::new("c2VjcmV0cw==".to_owned())).unwrap();
        let bare = ExternalBinding::parse("kid", &Secret::new("c2VjcmV0cw".to_owned())).unwrap();
        assert_eq!(padded.hmac, bare.hmac);
        assert!(!format!("{padded:?}").contains("115"), "the bytes of the key are hidden");
        assert!(ExternalBinding::parse("kid", &Secret::new("not base64!".to_owned())).is_err());
        assert!(ExternalBinding::parse(" ", &Secret::new("c2VjcmV0cw".to_owned())).is_err());
    }

    #[tokio::test]
    async fn credentials_of_another_authority_are_refused_before_anything_is_sent() {
        let other =
            Secret::new(br#"{"id":"x","key_pkcs8":"","directory":"https://other.example/dir"}"#.to_vec());
        let error = Account::load(&directory(), &other).await.unwrap_err();
        assert_eq!(error.kind, Kind::Credentials);
        assert!(error.to_string().contains("another authority"), "{error}");
    }
}
