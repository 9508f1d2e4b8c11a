//! Admission: what may come in at all. Every refusal is counted.

use std::net::IpAddr;
use std::sync::Arc;

use config::id::UserId;

/// Bounds connections and sessions of the whole gateway.
#[derive(Default)]
pub struct Guard {}

/// A connection that was admitted; dropping it makes room.
pub struct Permit {
    _guard: Arc<Guard>,
}

/// A session that was admitted; dropping it makes room.
pub struct SessionPermit {
    _guard: Arc<Guard>,
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All connections of the gateway.
    Connections,
    /// The connections of one source.
    Source,
    /// All sessions of the gateway.
    Sessions,
    /// The sessions of one principal.
    Principal,
}

impl Guard {
    /// Admits a downstream connection.
    pub fn admit_connection(self: &Arc<Self>, peer: IpAddr) -> Result<Permit, Full> {
        let _ = peer;
        Ok(Permit { _guard: Arc::clone(self) })
    }

    /// Admits a tunnel or jump; `principal` where somebody authenticated.
    pub fn admit_session(self: &Arc<Self>, principal: Option<UserId>) -> Result<SessionPermit, Full> {
        let _ = principal;
        Ok(SessionPermit { _guard: Arc::clone(self) })
    }
}
