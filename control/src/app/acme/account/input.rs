//! What is said about an account when it is made.

use std::net::SocketAddr;

use config::id::AcmeAccountId;
use config::limits;
use config::secret::Secret;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::super::super::input::{Input, Said};
use super::super::super::{Error, Keys};
use super::{DNS_PURPOSE, EAB_PURPOSE, dns};
use crate::options::Flaws;
use crate::store::Stamp;
use crate::store::acme_account::AccountRow;

/// Members that may be set.
pub const KNOWN: &[&str] = &[
    "name",
    "directory",
    "contacts",
    "agree_tos",
    "challenge",
    "eab_kid",
    "eab_hmac",
    "roots",
    "resolvers",
    "dns",
];

/// Directories that people name shortly.
const SHORT: [(&str, &str); 2] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
];
const CHALLENGES: [&str; 3] = ["http-01", "tls-alpn-01", "dns-01"];
const NAME_CHARS_MAX: usize = 63;

/// What was read; secrets are sealed already.
pub(super) struct Read {
    pub(super) name: String,
    directory: String,
    contacts: Vec<String>,
    roots: String,
    resolvers: Vec<SocketAddr>,
    challenge: String,
    eab_kid: Option<String>,
    eab_key_sealed: Option<Vec<u8>>,
    dns: Option<String>,
    dns_secret_sealed: Option<Vec<u8>>,
}

impl Read {
    pub(super) fn row(self, now: i64) -> AccountRow {
        AccountRow {
            id: AcmeAccountId::from_uuid(uuid::Uuid::now_v7()),
            name: self.name,
            directory: self.directory,
            contacts: self.contacts,
            roots: self.roots,
            resolvers: self.resolvers,
            challenge: self.challenge,
            eab_kid: self.eab_kid,
            eab_key_sealed: self.eab_key_sealed,
            dns: self.dns,
            dns_secret_sealed: self.dns_secret_sealed,
            credentials_sealed: None,
            url: None,
            agreed_at: now,
            last_error: None,
            stamp: Stamp::new(now),
        }
    }
}

/// Reads everything, and says everything that is wrong with it.
pub(super) fn read(mut input: Input, keys: &dyn Keys) -> Result<Read, Error> {
    let name = input.parsed("name", "invalid", name);
    let name = required(&mut input, "name", name);
    let directory = input.parsed("directory", "invalid", directory);
    let directory = required(&mut input, "directory", directory);
    let contacts = contacts(&mut input);
    if input.truth("agree_tos").some() != Some(true) && input.is_sound_at("agree_tos") {
        let message = "read the authority's terms of service and say agree_tos: true (--agree-tos)";
        input.invalid("agree_tos", "terms_not_agreed", message);
    }
    let eab = eab(&mut input);
    let roots = input.parsed("roots", "invalid", roots).or(String::new());
    let resolvers = resolvers(&mut input);
    let mut flaws = Flaws::default();
    let dns = input.object("dns").some().and_then(|value| dns::read(value, &mut flaws));
    input.absorb(flaws);
    let default = if dns.is_some() { CHALLENGES[2] } else { CHALLENGES[0] };
    let challenge = input.parsed("challenge", "unsupported", challenge).or(default.to_owned());
    if challenge == CHALLENGES[2] && dns.is_none() && input.is_sound_at("dns") {
        input.invalid("dns", "required", "dns-01 needs to know where TXT records are put; say dns");
    }
    let (Some(name), Some(directory)) = (name, directory) else { return Err(input.refuse(KNOWN)) };
    input.finish(KNOWN)?;
    let seal = |purpose, secret: Option<Secret<String>>| {
        let sealed = secret.map(|secret| keys.seal(purpose, secret.expose().as_bytes())).transpose();
        sealed.map_err(|error| Error::Internal(error.to_string()))
    };
    let (eab_kid, eab_key) = eab.unzip();
    let (dns, secret) = dns.unzip();
    let dns = dns.map(|dns| serde_json::to_string(&dns)).transpose();
    Ok(Read {
        name,
        directory,
        contacts,
        roots,
        resolvers,
        challenge,
        eab_kid,
        eab_key_sealed: seal(EAB_PURPOSE, eab_key)?,
        dns: dns.map_err(|error| Error::Internal(error.to_string()))?,
        dns_secret_sealed: seal(DNS_PURPOSE, secret.flatten())?,
    })
}

fn required<T>(input: &mut Input, field: &str, said: Said<T>) -> Option<T> {
    let found = said.some();
    if found.is_none() && input.is_sound_at(field) {
        input.invalid(field, "required", format!("{field} is missing"));
    }
    found
}

fn name(text: &str) -> Result<String, String> {
    let is_sound = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > NAME_CHARS_MAX || !text.chars().all(is_sound) {
        return Err(format!("{text:?} is not 1 to {NAME_CHARS_MAX} of a-z, 0-9 and -"));
    }
    Ok(text.to_owned())
}

fn directory(text: &str) -> Result<String, String> {
    if let Some((_, url)) = SHORT.iter().find(|(short, _)| *short == text) {
        return Ok((*url).to_owned());
    }
    let url: http::Uri = text.parse().map_err(|_| unusable(text))?;
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(host)) if !host.is_empty() && !text.contains('@') => Ok(text.to_owned()),
        _ => Err(unusable(text)),
    }
}

fn unusable(text: &str) -> String {
    format!(
        "{text:?} is no https:// URL of a directory; letsencrypt and letsencrypt-staging are known by name"
    )
}

fn challenge(text: &str) -> Result<String, String> {
    if CHALLENGES.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no challenge; challenges are {}", CHALLENGES.join(", ")))
}

/// Mail addresses. Authorities refuse others, and names of documentation (RFC 2606) they refuse as well.
fn contacts(input: &mut Input) -> Vec<String> {
    let contacts = input.texts("contacts").or(Vec::new());
    if contacts.len() > limits::ACME_ACCOUNT_CONTACTS_MAX {
        let message = format!("at most {} contacts", limits::ACME_ACCOUNT_CONTACTS_MAX);
        input.invalid("contacts", "too_many", message);
    }
    let mut found = Vec::new();
    for (place, text) in contacts.iter().take(limits::ACME_ACCOUNT_CONTACTS_MAX).enumerate() {
        let mail = text.trim().strip_prefix("mailto:").unwrap_or(text.trim());
        match mail_fault(mail) {
            None => found.push(mail.to_owned()),
            Some(why) => {
                input.invalid(format!("contacts[{place}]"), "bad_contact", format!("{mail:?}: {why}"))
            }
        }
    }
    found
}

/// Resolvers of a private view: an address, and the port where it is not 53.
fn resolvers(input: &mut Input) -> Vec<SocketAddr> {
    let texts = input.texts("resolvers").or(Vec::new());
    if texts.len() > limits::ACME_RESOLVERS_MAX {
        let message = format!("at most {} resolvers", limits::ACME_RESOLVERS_MAX);
        input.invalid("resolvers", "too_many", message);
    }
    let mut found = Vec::new();
    for (place, text) in texts.iter().take(limits::ACME_RESOLVERS_MAX).enumerate() {
        match dns::server(text) {
            Ok(address) => found.push(address),
            Err(why) => input.invalid(format!("resolvers[{place}]"), "invalid", why),
        }
    }
    found
}

fn mail_fault(mail: &str) -> Option<&'static str> {
    let Some((local, domain)) = mail.rsplit_once('@') else { return Some("it is no mail address") };
    let is_plain = |c: char| c.is_ascii_graphic() && !",?&<>@\"".contains(c);
    let domain = config::name::HostName::parse(domain).ok().map(|domain| domain.to_string());
    let is_sound = !local.is_empty() && local.len() <= 64 && local.chars().all(is_plain);
    match domain {
        Some(domain) if is_sound && domain.contains('.') => {
            let forbidden = ["example.com", "example.net", "example.org"];
            let is_forbidden = forbidden.iter().any(|name| domain == *name)
                || [".example", ".invalid", ".localhost"].iter().any(|end| domain.ends_with(end));
            is_forbidden.then_some("nobody reads mail at a name that is for documents; authorities refuse it")
        }
        _ => Some("it is no mail address"),
    }
}

/// Key id and key of an external account: both, or neither.
fn eab(input: &mut Input) -> Option<(String, Secret<String>)> {
    let kid = input.text("eab_kid").some().map(|kid| kid.trim().to_owned());
    let key =
        input.text("eab_hmac").some().map(|key| Secret::new(key.trim().trim_end_matches('=').to_owned()));
    let decodes = |key: &Secret<String>| {
        data_encoding::BASE64URL_NOPAD.decode(key.expose().as_bytes()).is_ok_and(|key| !key.is_empty())
    };
    match (kid, key) {
        (Some(kid), Some(key)) => {
            if kid.is_empty() {
                input.invalid("eab_kid", "invalid", "the key id of the external account is empty");
            }
            if !decodes(&key) {
                input.invalid("eab_hmac", "invalid", "the key of the external account is not base64url");
            }
            Some((kid, key))
        }
        (Some(_), None) => {
            input.invalid("eab_hmac", "required", "a key id of an external account comes with its HMAC key");
            None
        }
        (None, Some(_)) => {
            input.invalid("eab_kid", "required", "an HMAC key of an external account comes with its key id");
            None
        }
        (None, None) => None,
    }
}

fn roots(text: &str) -> Result<String, String> {
    if text.contains("PRIVATE KEY") {
        return Err("there is a private key in it; roots are certificates".to_owned());
    }
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let der = certificate.map_err(|_| "it is no PEM".to_owned())?;
        certs::identity::Said::parse(&der).map_err(|why| why.to_string())?;
        count += 1;
    }
    match count {
        0 => Err("there is no certificate in it".to_owned()),
        count if count > limits::CLIENT_AUTHORITIES_MAX => Err("too many certificates".to_owned()),
        _ => Ok(text.to_owned()),
    }
}
