//! SSH: whose certificates are believed, which host keys are, and what a person may reach beyond the role.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::grant::Role;
use crate::id::{KeyId, VmId};
use crate::name::Namespace;
use crate::secret::Secret;
use crate::snapshot::{Ports, Principal, Vm};

/// A public key in SSH wire form (RFC 4253 § 6.6), without comment or options.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SshKey {
    /// The blob: algorithm name and key material.
    pub blob: Arc<[u8]>,
}

/// A host key of the gate's SSH listener, the same on every gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHostKey {
    /// Stable name.
    pub id: KeyId,
    /// The private key in OpenSSH PEM form.
    pub private_pem: Secret<String>,
    /// Whether it is the next one: announced (hostkeys-00@openssh.com) and proved, and not yet used in key exchanges.
    pub is_next: bool,
    /// The gate's certificate of this key in OpenSSH's one-line form, signed by the gate's own host authority; `None`
    /// where no name of the gate was certified.
    pub certificate: Option<Box<str>>,
}

/// An authority that signs people's certificates. Who shows one is the principal whose name stands among its
/// principals, with that principal's rights; options (source addresses) narrow them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshUserCa {
    /// Stable name.
    pub id: KeyId,
    /// What people call it, for logs.
    pub name: Box<str>,
    /// The key that signs.
    pub key: SshKey,
    /// Serial numbers that are no longer good; never 0, which stands in every certificate without a number.
    pub revoked_serials: Box<[u64]>,
    /// Key ids (the text that `ssh-keygen -I` gives) that are no longer good.
    pub revoked_key_ids: Box<[Box<str>]>,
    /// SHA-256 of the blobs of certified keys that are no longer good.
    pub revoked_keys: Box<[[u8; 32]]>,
}

impl SshUserCa {
    /// Whether a certificate of this authority was revoked. `key` is the SHA-256 of the certified key's blob.
    pub fn revokes(&self, serial: u64, key_id: &str, key: &[u8; 32]) -> bool {
        self.revoked_serials.contains(&serial)
            || self.revoked_key_ids.iter().any(|revoked| **revoked == *key_id)
            || self.revoked_keys.contains(key)
    }
}

/// The host keys that a VM's sshd has shown, for the browser terminal. One object for each VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHostKeyPin {
    /// The VM; also the object's id.
    pub vm: VmId,
    /// What it has shown. Connect only where one of them is accepted; a key that is not here is to be told to control
    /// before anything is typed.
    pub keys: Box<[PinnedKey]>,
}

/// A host key that a VM has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedKey {
    /// The key.
    pub key: SshKey,
    /// When it was first seen, in milliseconds since 1970.
    pub seen_ms: u64,
    /// Whether it is believed.
    pub state: PinState,
}

/// Whether a host key is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PinState {
    /// The first one seen, or somebody said that it is right.
    Accepted,
    /// Another was accepted before, and nobody has said that this one is right.
    Refused,
}

/// What the SSH gate has to know besides keys and people; there is one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SshGate {
    /// The admin listener, which root reaches as `control:1880` or `localhost:1880`. Loopback is that of control's machine,
    /// and the unspecified address is every one of it.
    pub control: Option<SocketAddr>,
    /// The public half of the authority that signs certificates for the browser terminal; VMs trust it by
    /// `TrustedUserCAKeys`. Its private half stays in control (DESIGN §6).
    pub user_authority: Option<SshKey>,
}

impl SshGate {
    /// The id of the one there is.
    pub const ID: KeyId = KeyId::from_bytes([0; 16]);
}

/// What a person's access by SSH is limited to, and what it has beyond the role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SshAccess {
    /// When it ends, in milliseconds since 1970; `None` is never. Sessions end with it.
    pub until_ms: Option<u64>,
    /// Jumps at once in one gateway; `None` is [`crate::limits::SESSIONS_PER_PRINCIPAL_MAX`].
    pub sessions_max: Option<u16>,
    /// Rights beyond the role's.
    pub grants: Box<[SshGrant]>,
}

/// A right to reach ports of machines by SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshGrant {
    /// Which machines.
    pub scope: SshScope,
    /// Which ports of them; 22 stands for the port of a machine's own sshd too.
    pub ports: Box<[Ports]>,
    /// When it ends, in milliseconds since 1970; `None` is never.
    pub until_ms: Option<u64>,
}

/// The machines that a grant is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshScope {
    /// One.
    Vm(VmId),
    /// Those of a tenant.
    Namespace(Namespace),
}

impl SshGrant {
    /// Whether it is about this machine.
    pub fn covers(&self, vm: &Vm) -> bool {
        match &self.scope {
            SshScope::Vm(id) => *id == vm.id,
            SshScope::Namespace(namespace) => *namespace == vm.namespace,
        }
    }

    /// Whether it has not ended.
    pub fn lasts(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }

    fn opens(&self, vm: &Vm, port: u16) -> bool {
        self.ports.iter().any(|ports| ports.contains(port) || (port == vm.ssh_port && ports.contains(22)))
    }
}

/// When a right ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    /// Milliseconds since 1970; `None` is never.
    pub ms: Option<u64>,
}

impl Until {
    fn later(self, other: Self) -> Self {
        Self { ms: self.ms.zip(other.ms).map(|(one, other)| one.max(other)) }
    }

    fn earlier(self, ms: Option<u64>) -> Self {
        Self { ms: [self.ms, ms].into_iter().flatten().min() }
    }
}

impl Principal {
    /// Whether the time that access by SSH was given for is not over.
    pub fn has_access(&self, now_ms: u64) -> bool {
        self.ssh.until_ms.is_none_or(|until| now_ms < until)
    }

    /// Whether it may reach any port of this machine by SSH now.
    pub fn reaches(&self, vm: &Vm, now_ms: u64) -> bool {
        self.grants.allows(Role::Operator, &vm.namespace)
            || self.ssh.grants.iter().any(|grant| grant.covers(vm) && grant.lasts(now_ms))
    }

    /// Until when it may reach this port of this machine by SSH; `None` where it may not.
    ///
    /// By the role: the port of the machine's sshd (22 stands for it), and every port to root. By its grants: what they
    /// name. Of several rights the one that lasts longest counts, and never beyond [`SshAccess::until_ms`].
    pub fn opens(&self, vm: &Vm, port: u16, now_ms: u64) -> Option<Until> {
        let is_ssh = port == 22 || port == vm.ssh_port;
        let by_role = self.grants.is_root() || (is_ssh && self.grants.allows(Role::Operator, &vm.namespace));
        let grants = self.ssh.grants.iter();
        let granted = grants.filter(|grant| grant.covers(vm) && grant.lasts(now_ms) && grant.opens(vm, port));
        by_role
            .then_some(Until { ms: None })
            .into_iter()
            .chain(granted.map(|grant| Until { ms: grant.until_ms }))
            .reduce(Until::later)
            .map(|until| until.earlier(self.ssh.until_ms))
            .filter(|_| self.has_access(now_ms))
    }
}
