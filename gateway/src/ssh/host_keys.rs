//! The host keys of a generation, parsed.

use config::id::KeyId;
use config::snapshot::{Kind, Snapshot, SshHostKey, Value};
use russh::keys::ssh_key::Certificate;
use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{PrivateKey, PublicKey};

/// The gate's host keys, in the order of their ids.
#[derive(Default)]
pub(crate) struct HostKeys {
    /// What the gate proves itself with.
    pub(super) used: Vec<PrivateKey>,
    /// What it will prove itself with: announced, so that clients know it by then.
    pub(super) next: Vec<PrivateKey>,
    /// What the gate's own authority says of the keys that are used.
    pub(super) certificates: Vec<Certificate>,
}

impl HostKeys {
    /// Those of a snapshot, and what is wrong with the others. A certificate that is of no use costs its key nothing.
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
            if row.is_next {
                keys.next.push(key);
                continue;
            }
            match row.certificate.map(|line| certificate(&line, key.public_key(), row.id)).transpose() {
                Ok(certificate) => keys.certificates.extend(certificate),
                Err(fault) => faults.push(fault),
            }
            keys.used.push(key);
        }
        (keys, faults)
    }
}

fn certificate(line: &str, key: &PublicKey, id: KeyId) -> Result<Certificate, String> {
    let certificate = Certificate::from_openssh(line)
        .map_err(|cause| format!("the certificate of ssh host key {id} cannot be read: {cause}"))?;
    if certificate.cert_type() != CertType::Host {
        return Err(format!("the certificate of ssh host key {id} is not a host's"));
    }
    if certificate.public_key() != key.key_data() {
        return Err(format!("the certificate of ssh host key {id} is of another key"));
    }
    Ok(certificate)
}

#[cfg(test)]
mod tests {
    use config::secret::Secret;
    use config::snapshot::{Generation, Lineage, Object};
    use russh::keys::Algorithm;
    use russh::keys::ssh_key::LineEnding;
    use russh::keys::ssh_key::certificate::Builder;

    use super::*;

    fn key() -> PrivateKey {
        PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap()
    }

    fn certified(key: &PrivateKey, kind: CertType) -> String {
        let mut builder =
            Builder::new(vec![0; 16], key.public_key().key_data().clone(), 0, u64::MAX).unwrap();
        builder.cert_type(kind).unwrap().valid_principal("gate.example").unwrap();
        builder.sign(&self::key()).unwrap().to_openssh().unwrap()
    }

    fn of(rows: &[(u8, &PrivateKey, bool, Option<&str>)]) -> (HostKeys, Vec<String>) {
        let objects = rows.iter().map(|(id, key, is_next, certificate)| {
            Object::encode(&Value::SshHostKey(SshHostKey {
                id: KeyId::from_bytes([*id; 16]),
                private_pem: Secret::new(key.to_openssh(LineEnding::LF).unwrap().to_string()),
                is_next: *is_next,
                certificate: certificate.map(Into::into),
            }))
            .unwrap()
        });
        HostKeys::of(&Snapshot::of(Lineage::default(), Generation(1), objects))
    }

    #[test]
    fn what_is_next_is_kept_apart() {
        let (used, next) = (key(), key());
        let (keys, faults) = of(&[(2, &used, false, None), (1, &next, true, None)]);
        assert!(faults.is_empty());
        assert_eq!((keys.used, keys.next), (vec![used], vec![next]));
    }

    #[test]
    fn a_certificate_that_is_of_no_use_degrades_alone() {
        let (mine, other) = (key(), key());
        let good = certified(&mine, CertType::Host);
        for (line, fault) in [
            (good.as_str(), None),
            ("no certificate", Some("cannot be read")),
            (&certified(&mine, CertType::User), Some("is not a host's")),
            (&certified(&other, CertType::Host), Some("is of another key")),
        ] {
            let (keys, faults) = of(&[(1, &mine, false, Some(line))]);
            assert_eq!(keys.used.len(), 1, "{line}");
            assert_eq!(keys.certificates.len(), usize::from(fault.is_none()), "{line}");
            assert_eq!(faults.len(), usize::from(fault.is_some()));
            assert!(
                fault.is_none_or(|fault| faults[0].ends_with(fault) || faults[0].contains(fault)),
                "{faults:?}"
            );
        }
    }
}
