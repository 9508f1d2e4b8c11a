//! PKCS#12 archives (RFC 7292).

mod cost;

use config::limits;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;

use super::key::{Form, Key, inside};
use super::{Keys, UploadError};

/// Whether DER bytes are such an archive: its outer sequence begins with version 3.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    inside(bytes).is_some_and(|inner| inner.starts_with(&[2, 1, 3]))
}

/// Certificates in the order of the archive, and its keys.
pub(super) fn read(archive: &[u8], password: &str) -> Result<(Vec<Vec<u8>>, Keys), UploadError> {
    if archive.len() > limits::ARCHIVE_BYTES_MAX {
        return Err(UploadError::ArchiveTooLarge { max: limits::ARCHIVE_BYTES_MAX });
    }
    cost::bounded(archive).map_err(|why| UploadError::Archive { why })?;
    let archive = Pkcs12Archive::from_pkcs12(archive, password).map_err(|error| refusal(&error))?;
    let keys = archive.keys.iter().map(|bag| Key::parse(bag.key.as_der(), Form::Pkcs8)).collect();
    Ok((archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect(), keys))
}

/// Errors of the crate in our words: theirs may quote what they read.
fn refusal(error: &Error) -> UploadError {
    match error {
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => UploadError::Password,
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => {
            UploadError::Archive { why: "its encryption is of a kind that is not known" }
        }
        Error::InvalidParameters => UploadError::Archive {
            why: "it asks for too many rounds or too much memory, or its encryption is damaged",
        },
        Error::UnsupportedCertificateType => {
            UploadError::Archive { why: "it has a certificate that is not X.509" }
        }
        Error::InvalidPrivateKey => UploadError::Archive { why: "its private key is damaged" },
        Error::IoError(_)
        | Error::DerError(_)
        | Error::InvalidVersion
        | Error::UnsupportedContentType
        | Error::X509Error(_)
        | Error::InvalidLength
        | Error::InvalidData => UploadError::Archive { why: "it is damaged or no archive" },
    }
}
