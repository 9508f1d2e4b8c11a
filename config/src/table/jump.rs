//! The jump index: which VM a person on SSH may reach by which word.

pub(super) mod index;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::id::{UserId, VmId};
use crate::snapshot::{Principal, SshUserCa, Vm};
use crate::table::{Parts, RouteTable};
use crate::target::Forbidden;
use crate::{limits, name, target};

/// Where a granted jump goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpTarget {
    /// The VM; `None` for a literal address, which root alone may use.
    pub vm: Option<VmId>,
    /// What to dial.
    pub address: SocketAddr,
    /// Whether loopback may be dialled.
    pub loopback_ok: bool,
    /// When the right to be there ends, in milliseconds since 1970: the session is cut then. `None` is never.
    pub until_ms: Option<u64>,
}

/// Why a jump is refused. The message is shown to the person, so it names only what they may reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum JumpRefusal {
    #[error("no VM of yours is called {target:?}")]
    NotGranted { target: String },
    #[error("{target:?} is several VMs: say {}", candidates.join(" or "))]
    Ambiguous { target: String, candidates: Vec<String> },
    #[error("port {port} of {target:?} is not open to jumps")]
    Port { target: String, port: u16 },
    #[error("your access by SSH has ended")]
    Ended,
    #[error("{target:?}: {cause}")]
    Forbidden { target: String, cause: Forbidden },
}

impl RouteTable {
    /// The principal that a public key belongs to. `blob` is the key in SSH wire form.
    ///
    /// Of several that claim one key it is the oldest: public keys are public, and adding somebody's key to another
    /// account must not take their access away.
    pub fn principal_by_key(&self, blob: &[u8]) -> Option<&Arc<Principal>> {
        self.parts.people.by_key(&self.parts.hasher, blob)
    }

    /// The principal as it is now, for channels opened later on an authenticated connection.
    pub fn principal(&self, id: UserId) -> Option<&Arc<Principal>> {
        self.parts.people.by_id(&self.parts.hasher, id)
    }

    /// The principal of this name: whom a certificate means by it. Case counts.
    pub fn principal_by_name(&self, name: &str) -> Option<&Arc<Principal>> {
        self.parts.people.by_name(&self.parts.hasher, name)
    }

    /// The authority of people's certificates that this key is. `blob` is the key in SSH wire form.
    pub fn ssh_user_ca(&self, blob: &[u8]) -> Option<&Arc<SshUserCa>> {
        self.parts.authorities.by_key(blob)
    }

    /// The VM with this id.
    pub fn vm(&self, id: VmId) -> Option<&Arc<Vm>> {
        self.parts.machines.by_id(&self.parts.hasher, id)
    }

    /// Where `principal` gets when it asks for `target:port`.
    ///
    /// `target` is a VM's name, `name.namespace`, its id, or an IP address; case does not count, because ssh folds what
    /// people type. Operator and above reach the VMs of their namespaces, others those of their SSH grants; an address
    /// that is no VM's is root's alone. A jump to port 22 or to the VM's own SSH port goes to the latter; other ports
    /// are refused, except to root and where a grant names them. `now_ms` is the time in milliseconds since 1970.
    ///
    /// The target's address is checked by [`target::check`], without the listeners of the gateway, which this table
    /// does not know. Cost: a probe of each of 256 shards for each of the forms that `target` can be.
    pub fn jump(
        &self,
        principal: &Principal,
        target: &str,
        port: u16,
        now_ms: u64,
    ) -> Result<JumpTarget, JumpRefusal> {
        let shown = || name::shown(target);
        if !principal.has_access(now_ms) {
            return Err(JumpRefusal::Ended);
        }
        if target.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
            return Err(JumpRefusal::Forbidden { target: shown(), cause: Forbidden::Loopback });
        }
        let vms = self.reachable(principal, target, now_ms);
        let vm = match vms.as_slice() {
            [] => return literal(principal, target, port),
            [vm] => *vm,
            several => {
                return Err(JumpRefusal::Ambiguous { target: shown(), candidates: spelled_out(several) });
            }
        };
        let Some(until) = principal.opens(vm, port, now_ms) else {
            return Err(JumpRefusal::Port { target: shown(), port });
        };
        let port = if port == 22 { vm.ssh_port } else { port };
        let address = SocketAddr::new(vm.address, port);
        target::check(address, vm.loopback_ok, &[])
            .map_err(|cause| JumpRefusal::Forbidden { target: shown(), cause })?;
        Ok(JumpTarget { vm: Some(vm.id), address, loopback_ok: vm.loopback_ok, until_ms: until.ms })
    }

    /// The VMs that `target` means to `principal`, each once; a few more than an error names at most.
    fn reachable(&self, principal: &Principal, target: &str, now_ms: u64) -> Vec<&Arc<Vm>> {
        let Parts { machines, hasher, .. } = &*self.parts;
        let by_id = target.parse().ok().and_then(|id| machines.by_id(hasher, id));
        let by_address = target.parse().ok().map(|ip| machines.by_address(hasher, ip));
        let (name, namespace) = match target.split_once('.') {
            Some((name, namespace)) => (name, Some(namespace)),
            None => (target, None),
        };
        let by_name = machines.by_name(hasher, name).filter(|vm| {
            namespace.is_none_or(|namespace| vm.namespace.as_str().eq_ignore_ascii_case(namespace))
        });
        let mut found: Vec<&Arc<Vm>> = Vec::new();
        for vm in by_id.into_iter().chain(by_address.into_iter().flatten()).chain(by_name) {
            if principal.reaches(vm, now_ms) && !found.iter().any(|other| other.id == vm.id) {
                found.push(vm);
            }
            if found.len() > limits::JUMP_CANDIDATES_MAX {
                break;
            }
        }
        found
    }
}

/// A target that is no VM of the principal's.
fn literal(principal: &Principal, target: &str, port: u16) -> Result<JumpTarget, JumpRefusal> {
    let refused = || JumpRefusal::NotGranted { target: name::shown(target) };
    let ip: IpAddr = target.parse().map_err(|_| refused())?;
    let address = SocketAddr::new(ip.to_canonical(), port);
    target::check(address, false, &[])
        .map_err(|cause| JumpRefusal::Forbidden { target: name::shown(target), cause })?;
    if !principal.grants.is_root() {
        return Err(refused());
    }
    Ok(JumpTarget { vm: None, address, loopback_ok: false, until_ms: principal.ssh.until_ms })
}

/// A word for each VM that means it alone: `name.namespace`, or its id where case is all that tells two apart.
fn spelled_out(vms: &[&Arc<Vm>]) -> Vec<String> {
    let spell = |vm: &Vm| format!("{}.{}", vm.name, vm.namespace);
    let is_alone = |text: &str| vms.iter().filter(|vm| spell(vm).eq_ignore_ascii_case(text)).count() == 1;
    let mut words: Vec<String> = vms
        .iter()
        .take(limits::JUMP_CANDIDATES_MAX)
        .map(|vm| Some(spell(vm)).filter(|text| is_alone(text)).unwrap_or_else(|| vm.id.to_string()))
        .collect();
    words.sort_unstable();
    words
}
