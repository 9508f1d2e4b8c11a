//! The host keys of a generation, parsed.

use config::snapshot::{Kind, Snapshot, SshHostKey, Value};
use russh::keys::PrivateKey;

/// The gate's host keys, in the order of their ids.
#[derive(Default)]
pub(crate) struct HostKeys {
    /// What the gate proves itself with.
    pub(super) used: Vec<PrivateKey>,
    /// What it will prove itself with: announced, so that clients know it by then.
    pub(super) next: Vec<PrivateKey>,
}

impl HostKeys {
    /// Those of a snapshot, and what is wrong with the others.
    pub(crate) fn of(snapshot: &Snapshot) -> (Self, Vec<String>) {
        let mut rows: Vec<SshHostKey> = snapshot
            .objects()
            .filter(|object| object.key().kind == Kind::SSH_HOST_KEY)
            // What cannot be decoded was refused with the table.
            .filter_map(|object| match object.decode() {
                Ok(Value::SshHostKey(row)) => Some(row),
                Ok(_) | Err(_) => None,
            })
            .collect();
        rows.sort_by_key(|row| row.id);
        let (mut keys, mut faults) = (Self::default(), Vec::new());
        for row in rows {
            let key = match PrivateKey::from_openssh(row.private_pem.expose()) {
                Ok(key) => key,
                Err(cause) => {
                    faults.push(format!("ssh host key {} cannot be read: {cause}", row.id));
                    continue;
                }
            };
            let list = if row.is_next { &mut keys.next } else { &mut keys.used };
            list.push(key);
        }
        (keys, faults)
    }
}

#[cfg(test)]
mod tests {
    use config::id::KeyId;
    use config::secret::Secret;
    use config::snapshot::{Generation, Lineage, Object};
    use russh::keys::Algorithm;
    use russh::keys::ssh_key::LineEnding;

    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
    }

    fn of(rows: &[(u8, &PrivateKey, bool)]) -> (HostKeys, Vec<String>) {
        let objects = rows.iter().map(|(id, key, is_next)| {
            Object::encode(&Value::SshHostKey(SshHostKey {
                id: KeyId::from_bytes([*id; 16]),
                private_pem: Secret::new(key.to_openssh(LineEnding::LF).unwrap().to_string()),
                is_next: *is_next,
                certificate: None,
            }))
            .unwrap()
        });
        HostKeys::of(&Snapshot::of(Lineage::default(), Generation(1), objects))
    }

    #[test]
    fn what_is_next_is_kept_apart() {
        let (used, next) = (key(), key());
        let (keys, faults) = of(&[(2, &used, false), (1, &next, true)]);
        assert!(faults.is_empty());
        assert_eq!((keys.used, keys.next), (vec![used], vec![next]));
    }
}
