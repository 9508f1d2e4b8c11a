//! An authority made elsewhere that signs here from now on.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Authority, SubjectName};
use crate::upload::{self, UploadError};
use config::name::HostPattern;

impl Authority {
    /// Takes an authority over: files with its certificate, those above it if it is an intermediate, and its key, in PEM
    /// or DER.
    ///
    /// RSA of 2048 to 8192 bits, ECDSA P-256/384/521 or Ed25519. `now` is in Unix seconds. What it signs carries the
    /// intermediates; a root is left to those who trust it.
    ///
    /// Errors say by name what is wrong: no authority, may not sign, path length, key of another, expired, weak.
    pub fn import(files: &[&[u8]], now: u64) -> Result<Self, UploadError> {
        let brought = upload::authority(files, i64::try_from(now).unwrap_or(i64::MAX))?;
        let unfit = |why: &dyn ToString| UploadError::AuthorityUnfit { why: why.to_string() };
        let (first, above) = brought.chain.split_first().ok_or(UploadError::NoCertificate)?;
        let authority = Self::from_parts(first, &brought.key.pkcs8).map_err(|error| unfit(&error))?;
        let authority = authority.with_chain(above.to_vec());
        // A name may have parts that are lost when it is written again, and then nobody finds the authority of a leaf.
        let trial = authority.issue_server(&[SubjectName::Host(HostPattern::CatchAll)], now, 1);
        let trial = trial.map_err(|error| unfit(&error))?;
        let leaf = trial.chain.first().map(Vec::as_slice).unwrap_or_default();
        match (X509Certificate::from_der(leaf), X509Certificate::from_der(first)) {
            (Ok((_, leaf)), Ok((_, first))) if leaf.issuer().as_raw() == first.subject().as_raw() => {
                Ok(authority)
            }
            (_, Ok((_, first))) => {
                Err(UploadError::AuthorityName { subject: crate::describe::distinguished(first.subject()) })
            }
            (_, Err(error)) => Err(unfit(&error)),
        }
    }
}

#[cfg(test)]
mod tests;
