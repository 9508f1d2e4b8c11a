//! Sealed records: a length, a nonce, and the plain bytes under AES-256-GCM (NIST SP 800-38D).
//!
//! The place of a record (part, pair, index) is authenticated with it, so records cannot be moved between files or
//! within one.

use std::fmt;
use std::io;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::files;

/// What each file begins with; the number is the format's.
pub(super) const MAGIC: &[u8] = b"GHCKPT1\n";

const KEY_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;

/// Which file of a pair.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The whole snapshot.
    Base,
    /// The changes since.
    Log,
}

impl Part {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Log => "log",
        }
    }
}

/// Seals and opens records with the key of this gateway.
pub(super) struct Sealer(RandomizedNonceKey);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(***)")
    }
}

impl Sealer {
    /// Reads the key at `path`, or makes one.
    pub(super) fn open(path: &Path, notes: &mut Vec<String>) -> io::Result<Self> {
        match files::read(path) {
            Ok(key) if key.len() == KEY_BYTES => return Self::of(&key),
            Ok(key) => {
                notes.push(format!(
                    "{} has {} bytes instead of {KEY_BYTES} and is replaced; older checkpoints cannot be read",
                    path.display(),
                    key.len()
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut key = [0; KEY_BYTES];
        aws_lc_rs::rand::fill(&mut key)
            .map_err(|_| io::Error::other("the system gives no random numbers"))?;
        files::write_aside(path, &key)?;
        Self::of(&key)
    }

    fn of(key: &[u8]) -> io::Result<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, key)
            .map(Self)
            .map_err(|_| io::Error::other("the sealing key cannot be used"))
    }

    /// One record of a file, its length in front.
    pub(super) fn seal(&self, part: Part, pair: u64, index: u64, mut plain: Vec<u8>) -> io::Result<Vec<u8>> {
        let failed = || io::Error::other("a record cannot be sealed");
        let place = place(part, pair, index);
        let nonce = self.0.seal_in_place_append_tag(Aad::from(place), &mut plain).map_err(|_| failed())?;
        let len = u32::try_from(NONCE_LEN + plain.len()).map_err(|_| failed())?;
        let mut sealed = Vec::with_capacity(LENGTH_BYTES + NONCE_LEN + plain.len());
        sealed.extend_from_slice(&len.to_be_bytes());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut plain);
        Ok(sealed)
    }

    /// The plain bytes of a record without its length; `None` if it is damaged, moved, or sealed by another key.
    pub(super) fn open_record(&self, part: Part, pair: u64, index: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let len = self.0.open_in_place(nonce, Aad::from(place(part, pair, index)), &mut body).ok()?.len();
        body.truncate(len);
        Some(body)
    }
}

fn place(part: Part, pair: u64, index: u64) -> Vec<u8> {
    format!("gatehouse checkpoint 1 {} {pair} {index}", part.name()).into_bytes()
}

/// The sealed records of a file, in order; an error is the last item.
pub(super) fn records(bytes: &[u8]) -> Result<impl Iterator<Item = Result<&[u8], String>>, String> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as a checkpoint does")?;
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = rest
            .split_first_chunk::<LENGTH_BYTES>()
            .and_then(|(len, more)| more.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?));
        let Some((record, more)) = record else {
            rest = &[];
            return Some(Err("the last record is torn".to_owned()));
        };
        rest = more;
        Some(Ok(record))
    }))
}
