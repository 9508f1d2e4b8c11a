//! The jump index: which VM a person on SSH may reach by which word.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::id::VmId;
use crate::snapshot::Principal;
use crate::table::RouteTable;

/// Where a granted jump goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JumpTarget {
    /// The VM; `None` for a literal address, which root alone may use.
    pub vm: Option<VmId>,
    /// What to dial.
    pub address: SocketAddr,
    /// Whether loopback may be dialled.
    pub loopback_ok: bool,
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
    #[error("{target:?}: {cause}")]
    Forbidden { target: String, cause: crate::target::Forbidden },
}

impl RouteTable {
    /// The principal that a public key belongs to. `blob` is the key in SSH wire form.
    pub fn principal_by_key(&self, blob: &[u8]) -> Option<&Arc<Principal>> {
        let _ = blob;
        None
    }

    /// The principal as it is now, for channels opened later on an authenticated connection.
    pub fn principal(&self, id: crate::id::UserId) -> Option<&Arc<Principal>> {
        let _ = id;
        None
    }

    /// Where `principal` gets when it asks for `target:port`.
    ///
    /// `target` is a VM's name, `name.namespace`, its id, or an IP address. Operator and above reach the VMs of their
    /// namespaces; an address that is no VM's is root's alone. A jump to port 22 or to the VM's own SSH port goes to
    /// the latter; other ports are refused, except to root.
    pub fn jump(&self, principal: &Principal, target: &str, port: u16) -> Result<JumpTarget, JumpRefusal> {
        let _ = principal;
        Err(JumpRefusal::Port { target: target.into(), port })
    }
}
