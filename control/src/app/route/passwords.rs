//! Hashing the passwords of basic authentication: costly on purpose, so a few at a time and never under the writers' lock.

use std::collections::BTreeMap;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use config::secret::Secret;
use tokio::sync::Semaphore;

use super::super::Error;

/// Hashes under way at once: each takes 19 MiB and a core for some 20 ms.
static UNDER_WAY: Semaphore = Semaphore::const_new(2);

/// Argon2id in PHC form, by place.
pub async fn hash(clear: Vec<(usize, Secret<String>)>) -> Result<BTreeMap<usize, Secret<String>>, Error> {
    let failed =
        |why: &dyn std::fmt::Display| Error::Internal(format!("a password could not be hashed: {why}"));
    let mut hashes = BTreeMap::new();
    for (place, password) in clear {
        let _turn = UNDER_WAY.acquire().await.map_err(|why| failed(&why))?;
        let work = move || {
            let hash = Argon2::default().hash_password(password.expose().as_bytes());
            hash.map(|hash| Secret::new(hash.to_string())).map_err(|why| why.to_string())
        };
        let hash = tokio::task::spawn_blocking(work).await.map_err(|why| failed(&why))?;
        hashes.insert(place, hash.map_err(|why| failed(&why))?);
    }
    Ok(hashes)
}
