//! The registry of open sessions: upgraded connections and jumps. They can be listed and ended, and each knows the
//! objects it stands on, so that a change ends exactly the flows it concerns (DESIGN D5).

use std::net::SocketAddr;
use std::sync::Arc;

use config::id::{EndpointId, RouteId, SessionId, UserId, VmId};
use config::snapshot::Snapshot;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::relay::{self, RelayLimits, Totals};

/// What a session is and stands on.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What kind of flow.
    pub kind: SessionKind,
    /// Who it comes from.
    pub peer: SocketAddr,
    /// Who authenticated, on SSH.
    pub principal: Option<UserId>,
    /// The route it came by.
    pub route: Option<RouteId>,
    /// The endpoint it goes to.
    pub endpoint: Option<EndpointId>,
    /// The VM it goes to.
    pub vm: Option<VmId>,
}

/// Kind of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// An upgraded HTTP connection.
    Upgrade,
    /// A `direct-tcpip` channel.
    Jump,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Both ends were done.
    Finished,
    /// Nothing moved for too long.
    Idle,
    /// One end broke.
    Broken,
    /// Its object went, or somebody ended it.
    Cut,
    /// The process stops.
    Stopping,
}

/// Open sessions of the gateway.
#[derive(Default)]
pub struct Sessions {}

/// An open session, held by the task that relays it; dropping it closes the entry.
pub struct SessionHandle {}

impl Sessions {
    /// Registers a session. The handle's [`SessionHandle::ended`] resolves when it is to end.
    pub fn open(self: &Arc<Self>, subject: Subject) -> SessionHandle {
        let _ = subject;
        SessionHandle {}
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends one session; `false` if there is none with this id.
    pub fn end(&self, id: SessionId) -> bool {
        let _ = id;
        false
    }

    /// Ends what the step from `old` to `new` concerns, each by its object's policy.
    pub fn reconcile(&self, old: &Snapshot, new: &Snapshot) {
        let _ = (old, new);
    }
}

impl SessionHandle {
    /// Relays the session's two ends until they are done or the session is to end; the bytes count as they pass.
    pub async fn relay<A, B>(&self, downstream: &mut A, upstream: &mut B, limits: RelayLimits) -> Totals
    where
        A: AsyncRead + AsyncWrite + Unpin,
        B: AsyncRead + AsyncWrite + Unpin,
    {
        relay::run(downstream, upstream, limits, self.ended()).await
    }

    /// Resolves when the session is to end, with the reason.
    pub async fn ended(&self) -> EndReason {
        std::future::pending().await
    }
}
