//! What a request says about a certificate, and the work with keys that it asks for, which is done before any change.

use certs::request::{self, KeyChoice, RequestError, Subject};
use certs::self_signed::{Authority, SubjectName};
use certs::upload::{self, UploadError, Uploaded};
use config::name::HostPattern;
use config::secret::Secret;

use super::super::Error;
use super::super::input::{Input, Said};
use crate::options::{Flaws, Node};

/// Members that may be set.
pub const KNOWN: &[&str] = &[
    "source",
    "name",
    "namespace",
    "note",
    "names",
    "certificate",
    "certificate_chain",
    "private_key",
    "pkcs12",
    "password",
    "csr",
    "key_type",
    "account",
    "challenge",
];

/// Members that are shown only.
pub const SHOWN: &[&str] = &[
    "id",
    "status",
    "used_by",
    "issuer",
    "serial",
    "not_before",
    "not_after",
    "days",
    "warning",
    "warnings",
    "last_error",
    "next_try",
    "certificate_signing_request",
    "owner",
    "revision",
    "created_at",
    "updated_at",
];

/// Members of the subject of a request.
pub const SUBJECT: &[&str] =
    &["common_name", "organization", "organizational_unit", "locality", "state", "country"];

/// Members of a chain that is loaded.
pub const LOADED: &[&str] = &["certificate", "certificate_chain"];

/// The members that hold a certificate or a key.
const BROUGHT: &[&str] = &["certificate", "certificate_chain", "private_key", "pkcs12", "password"];

/// Names that one certificate may be ordered for: what Let's Encrypt takes.
const NAMES_MAX: usize = 100;

/// What somebody brought: files in any form. No `Debug`: a key may be among them.
#[derive(Default)]
pub struct Brought {
    files: Vec<Secret<Vec<u8>>>,
    password: Option<Secret<String>>,
}

impl Brought {
    /// Whether anything was brought.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Judges it as chain and key. `now` is in microseconds. Runs where it may take its time: a PKCS#12 archive asks for
    /// thousands of rounds of hashing.
    pub async fn uploaded(self, now: i64) -> Result<Uploaded, Error> {
        self.judged(move |files, password| upload::read(files, password, now / 1_000_000)).await
    }

    /// Judges it as the chain of a key that waits for it.
    pub async fn loaded(self, waiting: Secret<Vec<u8>>, now: i64) -> Result<Uploaded, Error> {
        self.judged(move |files, _| request::load(files, &waiting, now / 1_000_000)).await
    }

    /// Judges it as an authority that is to sign here. `now` is in microseconds.
    pub async fn authority(self, now: i64) -> Result<Authority, Error> {
        let now = u64::try_from(now / 1_000_000).unwrap_or_default();
        self.judged(move |files, _| Authority::import(files, now)).await
    }

    async fn judged<T: Send + 'static>(
        self,
        judge: impl FnOnce(&[&[u8]], Option<&str>) -> Result<T, UploadError> + Send + 'static,
    ) -> Result<T, Error> {
        let work = move || {
            let files: Vec<_> = self.files.iter().map(|file| file.expose().as_slice()).collect();
            judge(&files, self.password.as_ref().map(|password| password.expose().as_str()))
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(judged) => judged.map_err(|error| refused(&error)),
            Err(_) => Err(Error::Internal("judging an upload failed".into())),
        }
    }
}

/// An error of an upload under the member it is about.
pub fn refused(error: &UploadError) -> Error {
    let code = error.code();
    let field = match code {
        "no_key" | "several_keys" | "encrypted_key" | "bad_key" | "key_mismatch" => "private_key",
        "chain_reversed" | "chain_out_of_order" | "chain_too_long" | "chain_broken" | "path_length" => {
            "certificate_chain"
        }
        "bad_password" => "password",
        "bad_archive" => "pkcs12",
        _ => "certificate",
    };
    Error::Invalid(vec![super::super::Violation::new(field, code, error.to_string())])
}

/// Takes what was brought out of a body.
pub fn brought(input: &mut Input) -> Brought {
    let mut brought = Brought::default();
    for name in BROUGHT {
        let Said::This(text) = input.text(name) else { continue };
        if *name == "password" {
            brought.password = Some(Secret::new(text));
        } else if text.contains("-----BEGIN ") {
            brought.files.push(Secret::new(text.into_bytes()));
        } else {
            let plain: String = text.split_ascii_whitespace().collect();
            match data_encoding::BASE64.decode(plain.as_bytes()) {
                Ok(bytes) if !bytes.is_empty() => brought.files.push(Secret::new(bytes)),
                Ok(_) | Err(_) => {
                    let message = format!("{name} is PEM (BEGIN …), or the bytes of the file as base64");
                    input.invalid(*name, "invalid", message);
                }
            }
        }
    }
    if brought.password.is_some() && brought.files.is_empty() {
        input.invalid("password", "invalid", "password goes with pkcs12");
    }
    brought
}

/// The names that are asked for. `wildcards` says whether one needs DNS-01, which `challenge` is not.
pub fn names(input: &mut Input) -> Vec<SubjectName> {
    let items = input.items("names").some().unwrap_or_default();
    let mut names = Vec::with_capacity(items.len().min(NAMES_MAX));
    if items.len() > NAMES_MAX {
        input.invalid("names", "range", format!("at most {NAMES_MAX} names"));
        return names;
    }
    for (place, item) in items.iter().enumerate() {
        let field = format!("names[{place}]");
        let Some(text) = item.as_str() else {
            input.invalid(field.clone(), "type", format!("{field} is a text"));
            continue;
        };
        let name = match text.parse() {
            Ok(address) => SubjectName::Address(address),
            Err(_) => match HostPattern::parse(text) {
                Ok(HostPattern::CatchAll) => {
                    input.invalid(field, "invalid", "* is no name that a certificate can be for");
                    continue;
                }
                Ok(host) => SubjectName::Host(host),
                Err(why) => {
                    input.invalid(field.clone(), "invalid", format!("{field}: {why}"));
                    continue;
                }
            },
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The host names among those asked for.
pub fn hosts(names: &[SubjectName]) -> Vec<HostPattern> {
    let host = |name: &SubjectName| match name {
        SubjectName::Host(host) => Some(host.clone()),
        SubjectName::Address(_) => None,
    };
    names.iter().filter_map(host).collect()
}

/// The challenge, if one was said; a wildcard takes no other than DNS-01.
pub fn challenge(input: &mut Input, names: &[HostPattern]) -> Said<String> {
    let said = match input.text("challenge") {
        Said::This(text) if !["http-01", "tls-alpn-01", "dns-01"].contains(&text.as_str()) => {
            let message = format!("{text:?} is no challenge; write http-01, tls-alpn-01 or dns-01");
            input.invalid("challenge", "invalid", message);
            return Said::Nothing;
        }
        said @ (Said::This(_) | Said::Null | Said::Nothing) => said,
    };
    let is_dns = matches!(&said, Said::This(text) if text == "dns-01");
    let wildcard = names.iter().find(|name| matches!(name, HostPattern::Wildcard(_)));
    if let (Some(wildcard), false) = (wildcard, is_dns) {
        let message = format!("{wildcard} needs DNS-01: say challenge dns-01");
        input.invalid("challenge", "needs_dns_01", message);
    }
    said
}

/// Kinds of keys that are made, by the words of people.
const KEY_TYPES: &[(&str, KeyChoice)] = &[
    ("ecdsa", KeyChoice::EcdsaP256),
    ("ecdsa-p256", KeyChoice::EcdsaP256),
    ("ecdsa-p384", KeyChoice::EcdsaP384),
    ("rsa", KeyChoice::Rsa2048),
    ("rsa-2048", KeyChoice::Rsa2048),
    ("rsa-3072", KeyChoice::Rsa3072),
    ("rsa-4096", KeyChoice::Rsa4096),
];

/// The kind of key to make, and its word.
pub fn key_type(input: &mut Input) -> (KeyChoice, Option<String>) {
    let Said::This(text) = input.text("key_type") else { return (KeyChoice::default(), None) };
    match KEY_TYPES.iter().find(|(word, _)| *word == text) {
        Some((_, kind)) => {
            let word = KEY_TYPES.iter().rfind(|(word, other)| other == kind && word.contains('-'));
            (*kind, word.map(|(word, _)| (*word).to_owned()))
        }
        None => {
            let words: Vec<_> = KEY_TYPES.iter().map(|(word, _)| *word).collect();
            input.invalid("key_type", "invalid", format!("{text:?} is none of {}", words.join(", ")));
            (KeyChoice::default(), None)
        }
    }
}

/// The subject of a request; `Null` and absent are no request.
pub fn subject(input: &mut Input) -> Option<Subject> {
    let Said::This(said) = input.object("csr") else { return None };
    let mut flaws = Flaws::default();
    let mut subject = None;
    if let Some(mut node) = Node::open(said, "csr", &mut flaws) {
        subject = Some(fields(&mut node));
        node.finish();
    }
    input.absorb(flaws);
    subject
}

fn fields(node: &mut Node<'_>) -> Subject {
    Subject {
        common_name: node.text("common_name"),
        organization: node.text("organization"),
        organizational_unit: node.text("organizational_unit"),
        locality: node.text("locality"),
        state: node.text("state"),
        country: node.text("country"),
    }
}

/// Makes a key and the request for it; RSA takes its time.
pub async fn request(wanted: request::Wanted, kind: KeyChoice) -> Result<request::Made, Error> {
    match tokio::task::spawn_blocking(move || request::create(&wanted, kind)).await {
        Ok(made) => made.map_err(|error| request_refused(&error)),
        Err(_) => Err(Error::Internal("making a request failed".into())),
    }
}

fn request_refused(error: &RequestError) -> Error {
    let (field, code) = match error {
        RequestError::NoNames => ("names".to_owned(), "required"),
        RequestError::TooManyNames { .. } | RequestError::Name { .. } => ("names".to_owned(), "invalid"),
        RequestError::Field { field, .. } => (format!("csr.{field}"), "invalid"),
        RequestError::Key { .. }
        | RequestError::Make { .. }
        | RequestError::Unreadable { .. }
        | RequestError::WeakKey { .. } => ("key_type".to_owned(), "invalid"),
    };
    Error::Invalid(vec![super::super::Violation::new(field, code, error.to_string())])
}
