//! PEM (RFC 7468) as people have it: several blocks, explanatory text between them, CR LF, headers of old keys.

use config::limits;
use config::secret::Secret;
use data_encoding::BASE64;

use super::UploadError;
use super::key::Form;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// One block that belongs into an upload.
pub(super) enum Block {
    Certificate(Vec<u8>),
    Key(Form, Secret<Vec<u8>>),
}

/// Whether the bytes are meant as PEM.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    lines(bytes).any(|line| line.starts_with(DASHES))
}

/// The blocks of several texts in their order. Lines are counted through them as if they were one.
pub(super) fn blocks(texts: &[&[u8]]) -> Result<Vec<Block>, UploadError> {
    let mut blocks = Vec::new();
    let mut open: Option<Open<'_>> = None;
    let mut count = 0;
    for (number, line) in texts.iter().flat_map(|text| lines(text)).enumerate() {
        let line_number = number + 1;
        let bad = |why| UploadError::Pem { line: line_number, why };
        if let Some(label) = label(line, BEGIN) {
            if open.is_some() {
                return Err(bad("a block begins before the one above it ended"));
            }
            count += 1;
            if count > limits::PEM_BLOCKS_MAX {
                return Err(UploadError::TooManyBlocks { max: limits::PEM_BLOCKS_MAX });
            }
            open = Some(Open::new(line_number, label));
        } else if let Some(label) = label(line, END) {
            let block = open.take().ok_or_else(|| bad("a block ends that never began"))?;
            if block.label != label {
                return Err(bad("the block ends with another label than it began with"));
            }
            blocks.extend(block.finish()?);
        } else if let Some(open) = &mut open {
            open.add(line).map_err(bad)?;
        } else if line.starts_with(DASHES) {
            return Err(bad("this is neither the beginning nor the end of a PEM block"));
        }
    }
    match open {
        Some(open) => Err(UploadError::Pem { line: open.line, why: "the block that begins here has no end" }),
        None if count == 0 => {
            Err(UploadError::Pem { line: 1, why: "there is no PEM block; one begins with -----BEGIN" })
        }
        None => Ok(blocks),
    }
}

/// The one signing request of a text.
pub(super) fn request(text: &[u8]) -> Result<Vec<u8>, UploadError> {
    let mut inside: Option<Open<'_>> = None;
    for (number, line) in lines(text).enumerate() {
        if let Some(label) = label(line, BEGIN) {
            if !matches!(label, b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST") {
                let hint = "bring one CERTIFICATE REQUEST";
                return Err(UploadError::Block { line: number + 1, label: plain(label), hint });
            }
            inside = Some(Open::new(number + 1, label));
        } else if label(line, END).is_some() {
            return inside.map_or(Err(END_ALONE), |open| open.decode().map(|body| body.expose().clone()));
        } else if let Some(open) = &mut inside {
            open.add(line).map_err(|why| UploadError::Pem { line: number + 1, why })?;
        }
    }
    Err(UploadError::Pem { line: 1, why: "there is no whole CERTIFICATE REQUEST block" })
}

const END_ALONE: UploadError = UploadError::Pem { line: 1, why: "a block ends that never began" };

/// A block that has begun.
struct Open<'a> {
    line: usize,
    label: &'a [u8],
    encrypted: bool,
    lines: Vec<&'a [u8]>,
}

impl<'a> Open<'a> {
    fn new(line: usize, label: &'a [u8]) -> Self {
        Self { line, label, encrypted: false, lines: Vec::new() }
    }

    fn add(&mut self, line: &'a [u8]) -> Result<(), &'static str> {
        // Headers of RFC 1421 stand before the body of old encrypted keys.
        if line.contains(&b':') {
            self.encrypted |= line.starts_with(b"Proc-Type:");
            return if self.lines.is_empty() {
                Ok(())
            } else {
                Err("a header stands inside the block's data")
            };
        }
        if !line.is_empty() {
            self.lines.push(line);
        }
        Ok(())
    }

    fn finish(self) -> Result<Option<Block>, UploadError> {
        let form = match self.label {
            b"CERTIFICATE" | b"X509 CERTIFICATE" => Form::Certificate,
            b"ENCRYPTED PRIVATE KEY" => return Err(UploadError::EncryptedKey),
            b"PRIVATE KEY" => Form::Pkcs8,
            b"RSA PRIVATE KEY" => Form::Pkcs1,
            b"EC PRIVATE KEY" => Form::Sec1,
            // `openssl ecparam -genkey` writes the curve's name before the key, which says it again.
            b"EC PARAMETERS" => return Ok(None),
            other => return Err(unexpected(self.line, other)),
        };
        if self.encrypted {
            return Err(UploadError::EncryptedKey);
        }
        let decoded = self.decode()?;
        Ok(Some(match form {
            Form::Certificate => Block::Certificate(decoded.expose().clone()),
            Form::Pkcs8 | Form::Pkcs1 | Form::Sec1 | Form::Encrypted | Form::Unknown => {
                Block::Key(form, decoded)
            }
        }))
    }

    fn decode(&self) -> Result<Secret<Vec<u8>>, UploadError> {
        // One buffer of the right size: a growing one would leave copies of a key behind.
        let mut text = Vec::with_capacity(self.lines.iter().map(|line| line.len()).sum());
        self.lines.iter().for_each(|line| text.extend_from_slice(line));
        let text = Secret::new(text);
        BASE64.decode(text.expose()).map(Secret::new).map_err(|_| UploadError::Pem {
            line: self.line,
            why: "the block that begins here is not whole base64; copy it again, every character of it",
        })
    }
}

fn unexpected(line: usize, label: &[u8]) -> UploadError {
    let hint = match label {
        b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => {
            "it is a request; bring the certificate that the authority made of it"
        }
        b"PUBLIC KEY" | b"RSA PUBLIC KEY" => "it is a public key; bring the private one",
        b"OPENSSH PRIVATE KEY" => "it is a key of SSH; bring the one that the certificate was requested with",
        b"TRUSTED CERTIFICATE" => "convert it with openssl x509 -in FILE -out FILE",
        b"PKCS7" | b"CMS" => "convert it with openssl pkcs7 -print_certs",
        b"DSA PRIVATE KEY" => "DSA is not served by anybody; use ECDSA or RSA",
        _ => "bring CERTIFICATE and PRIVATE KEY blocks only",
    };
    UploadError::Block { line, label: plain(label), hint }
}

/// A label is shown only if it is one: a damaged file may have anything there, even a key.
fn plain(label: &[u8]) -> String {
    let plain =
        label.len() <= 32 && label.iter().all(|b| b.is_ascii_uppercase() || b" 0123456789".contains(b));
    if plain { String::from_utf8_lossy(label).into_owned() } else { "(unreadable)".to_owned() }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    // A byte order mark is not a part of the first line; Windows editors write one.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

fn label<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(prefix)?.strip_suffix(DASHES)
}
