//! What a person brings: a chain and its key as PEM, DER or PKCS#12, read once and judged by name.
//!
//! [`read`] tells the form by its bytes. What comes out can be served: the chain in DER, leaf first, each certificate
//! signed by the next; the key as PKCS#8 DER and the leaf's own. What is merely odd is a [`Warning`]. Time is a
//! parameter in Unix seconds. No message holds a byte of a key. Cost: a point multiplication or an RSA check; for PKCS#12
//! also its rounds of key derivation, up to seconds: run that one on a blocking thread.

mod authority;
mod chain;
mod error;
mod key;
mod pem;
mod pkcs12;

use config::limits;
use config::name::HostPattern;
use config::secret::Secret;

use crate::describe::Description;

pub(crate) use authority::authority;
pub use error::{UploadError, Warning};
pub(crate) use key::Key;

/// A chain and its key that can be served.
#[derive(Debug)]
pub struct Uploaded {
    /// DER, leaf first; a self-signed root at its end stays if it was brought.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 DER, whatever form it came in.
    pub key: Secret<Vec<u8>>,
    /// Subject, issuer, names, validity, serial, kind of key and fingerprint of the leaf.
    pub leaf: Description,
    /// What is odd about it and may be meant so.
    pub warnings: Vec<Warning>,
}

impl Uploaded {
    /// The wanted patterns that the leaf is not valid for, in their order.
    pub fn missing<'a>(&self, wanted: &'a [HostPattern]) -> Vec<&'a HostPattern> {
        wanted.iter().filter(|pattern| !self.leaf.subject_names.cover(pattern)).collect()
    }

    /// Checks that the leaf is valid for every pattern; the error names those it is not, and those it is.
    pub fn covers(&self, wanted: &[HostPattern]) -> Result<(), UploadError> {
        let missing: Vec<_> = self.missing(wanted).into_iter().map(ToString::to_string).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(UploadError::Names {
            missing: crate::identity::shown_list(&missing),
            have: self.leaf.subject_names.to_string(),
        })
    }
}

/// Reads files in whatever form they came: PEM text (each file any number of blocks), a PKCS#12 archive (alone, with its
/// password), or DER (certificates and one key, a file each).
///
/// `now` is in Unix seconds. Errors: see [`UploadError`].
pub fn read(files: &[&[u8]], password: Option<&str>, now: i64) -> Result<Uploaded, UploadError> {
    bounded(files)?;
    let is_pem = |file: &&[u8]| pem::is_pem(file);
    if files.iter().any(is_pem) {
        return pem(files, now);
    }
    let full: Vec<_> = files.iter().filter(|file| !file.is_empty()).collect();
    if let [archive] = full.as_slice()
        && pkcs12::is_archive(archive)
    {
        return pkcs12(archive, password.unwrap_or_default(), now);
    }
    der(files, now)
}

/// Reads PEM texts: the chain in its order, leaf first, and the key before, between, after or in another text.
pub fn pem(texts: &[&[u8]], now: i64) -> Result<Uploaded, UploadError> {
    let (certificates, keys) = pem_parts(texts)?;
    let key = key_of(&certificates, keys)?;
    chain::check(certificates, key, now)
}

/// Reads files of DER: certificates in the order of the chain, leaf first, and one key in any place.
pub fn der(files: &[&[u8]], now: i64) -> Result<Uploaded, UploadError> {
    let (certificates, keys) = der_parts(files)?;
    let key = key_of(&certificates, keys)?;
    chain::check(certificates, key, now)
}

/// Reads a PKCS#12 archive. The order of its certificates means nothing: they are put in that of the chain, and what does
/// not belong to it is left out with a warning.
pub fn pkcs12(archive: &[u8], password: &str, now: i64) -> Result<Uploaded, UploadError> {
    let (certificates, keys) = pkcs12::read(archive, password)?;
    let key = key_of(&certificates, keys)?;
    let (certificates, unused) = chain::sort(certificates, &key)?;
    let mut uploaded = chain::check(certificates, key, now)?;
    if unused > 0 {
        uploaded.warnings.push(Warning::LeftOut { certificates: unused });
    }
    Ok(uploaded)
}

/// Reads a chain for a key that waits for it (`cert load`): PEM or DER, without a key or with that same one.
pub fn chain_for(files: &[&[u8]], waiting: &Secret<Vec<u8>>, now: i64) -> Result<Uploaded, UploadError> {
    bounded(files)?;
    let waiting = Key::parse(waiting.expose(), key::Form::Pkcs8)?;
    let (certificates, brought) = if files.iter().any(|file| pem::is_pem(file)) {
        pem_parts(files)?
    } else {
        (files.iter().filter(|file| !file.is_empty()).map(|file| file.to_vec()).collect(), Vec::new())
    };
    for brought in brought {
        if brought?.public != waiting.public {
            return Err(UploadError::SeveralKeys);
        }
    }
    chain::check(certificates, waiting, now)
}

/// The DER of a signing request in PEM (one block) or DER.
pub(crate) fn request_der(bytes: &[u8]) -> Result<Vec<u8>, UploadError> {
    if pem::is_pem(bytes) { pem::request(bytes) } else { Ok(bytes.to_vec()) }
}

type Keys = Vec<Result<Key, UploadError>>;

fn pem_parts(texts: &[&[u8]]) -> Result<(Vec<Vec<u8>>, Keys), UploadError> {
    bounded(texts)?;
    let mut certificates = Vec::new();
    let mut keys = Vec::new();
    for block in pem::blocks(texts)? {
        match block {
            pem::Block::Certificate(der) => certificates.push(der),
            pem::Block::Key(form, der) => keys.push(Key::parse(der.expose(), form)),
        }
    }
    Ok((certificates, keys))
}

fn der_parts(files: &[&[u8]]) -> Result<(Vec<Vec<u8>>, Keys), UploadError> {
    bounded(files)?;
    let mut certificates = Vec::new();
    let mut keys = Vec::new();
    for file in files.iter().filter(|file| !file.is_empty()) {
        let form = key::form_of(file);
        if form == key::Form::Certificate {
            certificates.push(file.to_vec());
        } else {
            keys.push(Key::parse(file, form));
        }
    }
    Ok((certificates, keys))
}

/// Certificates and keys of files that are PEM or DER.
fn parts(files: &[&[u8]]) -> Result<(Vec<Vec<u8>>, Keys), UploadError> {
    if files.iter().any(|file| pem::is_pem(file)) { pem_parts(files) } else { der_parts(files) }
}

/// The one key. The same twice (in the chain's file and in its own) is one.
fn key_of(certificates: &[Vec<u8>], keys: Keys) -> Result<Key, UploadError> {
    chain::strong(certificates)?;
    let mut first: Option<Key> = None;
    for key in keys {
        let key = key?;
        if first.as_ref().is_some_and(|first| first.public != key.public) {
            return Err(UploadError::SeveralKeys);
        }
        first.get_or_insert(key);
    }
    first.ok_or(UploadError::NoKey)
}

fn bounded(files: &[&[u8]]) -> Result<(), UploadError> {
    let bytes: usize = files.iter().map(|file| file.len()).sum();
    if bytes > limits::UPLOAD_BYTES_MAX {
        return Err(UploadError::TooLarge { bytes, max: limits::UPLOAD_BYTES_MAX });
    }
    if files.iter().all(|file| file.iter().all(u8::is_ascii_whitespace)) {
        return Err(UploadError::Empty);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
