//! Rules of what SSH is told.

use super::{Checked, Faults};
use crate::limits;
use crate::snapshot::{Ports, SshAccess, SshGrant, SshHostKey, SshHostKeyPin, SshKey, SshUserCa};

impl Checked for SshKey {
    fn look(&self, faults: &mut Faults) {
        let max = limits::SSH_KEY_BYTES_MAX;
        let is_key = (1..=max).contains(&self.blob.len());
        faults.require(is_key, "", format_args!("a public key has 1 to {max} bytes"));
    }
}

impl Checked for SshHostKey {
    fn look(&self, faults: &mut Faults) {
        if let Some(certificate) = &self.certificate {
            let max = limits::SSH_CERTIFICATE_BYTES_MAX;
            faults.require(!certificate.is_empty(), "certificate", "is empty; leave it out for none");
            faults.plain_text("certificate", certificate, max);
        }
    }
}

impl Checked for SshUserCa {
    fn look(&self, faults: &mut Faults) {
        let max = limits::SSH_REVOKED_MAX;
        faults.require(!self.name.is_empty(), "name", "is empty");
        faults.plain_text("name", &self.name, limits::SSH_CA_NAME_BYTES_MAX);
        faults.part("key", Some(&self.key));
        faults.each("revoked_serials", &self.revoked_serials, max, |faults, serial| {
            faults.require(*serial != 0, "", "0 stands in every certificate without a number");
        });
        faults.each("revoked_key_ids", &self.revoked_key_ids, max, |faults, id| {
            faults.require(!id.is_empty(), "", "is empty");
            faults.plain_text("", id, limits::SSH_KEY_ID_BYTES_MAX);
        });
        faults.each("revoked_keys", &self.revoked_keys, max, |_, _| ());
    }
}

impl Checked for SshHostKeyPin {
    fn look(&self, faults: &mut Faults) {
        faults.each("keys", &self.keys, limits::SSH_PINNED_KEYS_MAX, |faults, pinned| {
            faults.part("key", Some(&pinned.key));
        });
    }
}

impl Checked for SshAccess {
    fn look(&self, faults: &mut Faults) {
        if let Some(sessions) = self.sessions_max {
            // A bound that is far from the type's own.
            let max = limits::SESSIONS_PER_PRINCIPAL_MAX;
            faults.within("sessions_max", usize::from(sessions), (1, max));
        }
        faults.each("grants", &self.grants, limits::SSH_GRANTS_MAX, |faults, grant| grant.look(faults));
    }
}

impl Checked for SshGrant {
    fn look(&self, faults: &mut Faults) {
        faults.require(!self.ports.is_empty(), "ports", "name at least one port");
        faults.each_once("ports", &self.ports, limits::SSH_GRANT_PORTS_MAX, |faults, ports: &Ports| {
            faults.require(ports.first != 0, "", "a port is 1 to 65535");
            faults.require(!ports.is_empty(), "", "the first port comes after the last");
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::id::{KeyId, VmId};
    use crate::snapshot::{Ports, SshAccess, SshGrant, SshKey, SshScope, SshUserCa};

    fn access(ports: &[(u16, u16)]) -> SshAccess {
        let ports = ports.iter().map(|(first, last)| Ports { first: *first, last: *last }).collect();
        let scope = SshScope::Vm(VmId::from_bytes([1; 16]));
        SshAccess { grants: Box::new([SshGrant { scope, ports, until_ms: None }]), ..SshAccess::default() }
    }

    #[test]
    fn a_grant_of_no_port_or_of_an_impossible_one_is_named() {
        for (ports, field) in [
            (&[][..], "grants[0].ports"),
            (&[(0, 5)], "grants[0].ports[0]"),
            (&[(22, 22), (9, 8)], "grants[0].ports[1]"),
            (&[(22, 22), (22, 22)], "grants[0].ports"),
        ] {
            assert_eq!(access(ports).check().unwrap_err()[0].field, field, "{ports:?}");
        }
        access(&[(22, 22), (8000, 8010)]).check().unwrap();
        let none = SshAccess { sessions_max: Some(0), ..SshAccess::default() };
        assert_eq!(none.check().unwrap_err()[0].field, "sessions_max");
    }

    #[test]
    fn a_certificate_without_a_number_is_not_revoked_by_number() {
        let ca = SshUserCa {
            id: KeyId::from_bytes([1; 16]),
            name: "people".into(),
            key: SshKey { blob: b"key"[..].into() },
            revoked_serials: Box::new([0]),
            revoked_key_ids: Box::default(),
            revoked_keys: Box::default(),
        };
        assert_eq!(ca.check().unwrap_err()[0].field, "revoked_serials[0]");
    }
}
