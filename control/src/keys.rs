//! The root of every secret: `DIR/secret.key`, or the setting SECRET_KEY.
//!
//! One key is derived for each purpose (HKDF-SHA256), so what was sealed as one thing never opens as another. The root
//! itself is not kept in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use config::secret::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};

use crate::app::{KeyError, Keys};

/// Bytes of randomness in a root that we make, and of each derived key.
const KEY_BYTES: usize = 32;
/// Longest root that is read, in bytes.
const ROOT_BYTES_MAX: u64 = 4096;
/// First byte of everything sealed: the form of the rest.
const SEALED_FORM: u8 = 1;

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file cannot be read or made.
    #[error("the secret key {path} cannot be used: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Others can read it.
    #[error("the secret key {path} can be read by others (mode {mode:o}); chmod 600 it", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is not enough in it.
    #[error("the secret key {path} is cut short; put it back from a backup, since what it sealed opens with no other", path = path.display())]
    Short {
        /// The file.
        path: PathBuf,
    },
    /// The library refused.
    #[error("keys cannot be derived from the secret key")]
    Derive,
}

/// Keys derived from the root.
pub struct RootKeys {
    root: Prk,
    sign: EncodingKey,
    verify: DecodingKey,
}

impl std::fmt::Debug for RootKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKeys(***)")
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl RootKeys {
    /// The keys of the root in `given` (SECRET_KEY), or else of the file in `data`, which is made when absent.
    pub fn open(data: &Path, given: Option<&Secret<String>>) -> Result<Self, RootError> {
        let root = match given {
            Some(given) => Secret::new(given.expose().as_bytes().to_vec()),
            None => root_file(&data.join("secret.key"))?,
        };
        Self::derive(root.expose()).ok_or(RootError::Derive)
    }

    fn derive(root: &[u8]) -> Option<Self> {
        let root = Salt::new(HKDF_SHA256, b"gatehouse root v1").extract(root);
        let seed = expand(&root, "sign", "tokens").ok()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).ok()?;
        let sign = EncodingKey::from_ed_der(pair.to_pkcs8v1().ok()?.as_ref());
        let verify = DecodingKey::from_ed_der(pair.public_key().as_ref());
        Some(Self { root, sign, verify })
    }

    fn cipher(&self, purpose: &str) -> Result<RandomizedNonceKey, KeyError> {
        let key = expand(&self.root, "seal", purpose)?;
        RandomizedNonceKey::new(&AES_256_GCM, key.expose()).map_err(|_| library("AES-256-GCM"))
    }
}

fn expand(root: &Prk, use_: &str, purpose: &str) -> Result<Secret<Vec<u8>>, KeyError> {
    let mut key = vec![0; KEY_BYTES];
    // No use contains a NUL, so the two parts cannot run into each other.
    root.expand(&[use_.as_bytes(), b"\0", purpose.as_bytes()], Length)
        .and_then(|okm| okm.fill(&mut key))
        .map_err(|_| library("HKDF"))?;
    Ok(Secret::new(key))
}

fn library(what: &str) -> KeyError {
    KeyError::Library(what.to_owned())
}

impl Keys for RootKeys {
    fn seal(&self, purpose: &str, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut closed = bytes.to_vec();
        let nonce = self
            .cipher(purpose)?
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut closed)
            .map_err(|_| library("AES-256-GCM"))?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + closed.len());
        sealed.push(SEALED_FORM);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut closed);
        Ok(sealed)
    }

    fn unseal(&self, purpose: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, KeyError> {
        let (form, rest) = sealed.split_first().ok_or(KeyError::NotOurs)?;
        let (nonce, closed) = rest.split_at_checked(NONCE_LEN).ok_or(KeyError::NotOurs)?;
        if *form != SEALED_FORM {
            return Err(KeyError::NotOurs);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::NotOurs)?;
        let mut opened = closed.to_vec();
        let plain = self
            .cipher(purpose)?
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut opened)
            .map_err(|_| KeyError::NotOurs)?
            .len();
        opened.truncate(plain);
        Ok(Secret::new(opened))
    }

    fn sign_token(&self, claims: &serde_json::Value) -> Result<String, KeyError> {
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), claims, &self.sign)
            .map_err(|e| KeyError::Library(e.to_string()))
    }

    fn verify_token(&self, token: &str) -> Result<serde_json::Value, KeyError> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Time and audience belong to the caller, who has the clock and the store.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        jsonwebtoken::decode(token, &self.verify, &validation)
            .map(|data| data.claims)
            .map_err(|_| KeyError::NotOurs)
    }
}

/// Reads the root, or makes one: 32 random bytes as hexadecimal text, mode 0600.
fn root_file(path: &Path) -> Result<Secret<Vec<u8>>, RootError> {
    let failed = |cause| RootError::File { path: path.to_path_buf(), cause };
    match File::open(path) {
        Ok(file) => {
            let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(RootError::Exposed { path: path.to_path_buf(), mode });
            }
            let mut text = Vec::new();
            file.take(ROOT_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
            let root = Secret::new(text.trim_ascii().to_vec());
            if root.expose().len() < 2 * KEY_BYTES {
                return Err(RootError::Short { path: path.to_path_buf() });
            }
            Ok(root)
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => make_root(path).map_err(failed),
        Err(cause) => Err(failed(cause)),
    }
}

fn make_root(path: &Path) -> io::Result<Secret<Vec<u8>>> {
    let mut random = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("the system has no randomness"))?;
    let text = Secret::new(data_encoding::HEXLOWER.encode(&random).into_bytes());
    // Written aside and linked into place: a crash half-way leaves no short key behind, and a key is never replaced.
    let aside = path.with_extension("key.new");
    drop(std::fs::remove_file(&aside));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(text.expose())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::hard_link(&aside, path)?;
    std::fs::remove_file(&aside)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(root: &str) -> RootKeys {
        RootKeys::open(Path::new("/nonexistent"), Some(&Secret::new(root.to_owned()))).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_under_the_same_purpose_and_root_alone() {
        let (keys, others) =
            (keys("one root of at least thirty-two bytes"), keys("another root of thirty-two bytes"));
        let sealed = keys.seal("authority", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|w| w == b"secret"));
        assert_eq!(keys.unseal("authority", &sealed).unwrap().expose(), b"secret");
        assert_eq!(keys.unseal("host-key", &sealed), Err(KeyError::NotOurs));
        assert_eq!(others.unseal("authority", &sealed), Err(KeyError::NotOurs));
        for place in [0, 1, 13, sealed.len() - 1] {
            let mut altered = sealed.clone();
            altered[place] ^= 1;
            assert_eq!(keys.unseal("authority", &altered), Err(KeyError::NotOurs), "byte {place}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(keys.unseal("authority", &sealed[..cut]), Err(KeyError::NotOurs));
        }
    }

    #[test]
    fn a_token_is_ours_or_refused() {
        let (keys, others) =
            (keys("one root of at least thirty-two bytes"), keys("another root of thirty-two bytes"));
        let claims = json!({"sub": "usr1", "exp": 1});
        let token = keys.sign_token(&claims).unwrap();
        assert_eq!(keys.verify_token(&token).unwrap(), claims);
        let other = others.sign_token(&claims).unwrap();
        assert_eq!(keys.verify_token(&other), Err(KeyError::NotOurs));
        // alg "none" with no signature.
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ1c3IxIn0.";
        assert_eq!(keys.verify_token(none), Err(KeyError::NotOurs));
        assert_eq!(keys.verify_token(""), Err(KeyError::NotOurs));
    }

    #[test]
    fn a_root_is_made_once_for_our_eyes_only_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let sealed = RootKeys::open(dir.path(), None).unwrap().seal("x", b"kept").unwrap();
        let mode = std::fs::metadata(dir.path().join("secret.key")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert_eq!(RootKeys::open(dir.path(), None).unwrap().unseal("x", &sealed).unwrap().expose(), b"kept");
    }

    #[test]
    fn a_root_that_others_can_read_or_that_is_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret.key");
        std::fs::write(&file, "short").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(RootKeys::open(dir.path(), None), Err(RootError::Exposed { mode: 0o644, .. })));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(RootKeys::open(dir.path(), None), Err(RootError::Short { .. })));
    }
}
