//! The access record: one line for each request, session and refused login, written off the hot path.

use std::net::SocketAddr;

use config::id::{EndpointId, RouteId};
use config::snapshot::Generation;

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Record {
    /// Number of the request, as sent in `X-Request-Id`.
    pub request: String,
    /// Who asked.
    pub peer: SocketAddr,
    /// The host it was for.
    pub host: String,
    /// The method, as it came.
    pub method: String,
    /// The path without its query: queries carry tokens.
    pub path: String,
    /// The status that was sent; 0 if none was.
    pub status: u16,
    /// The generation it was served by.
    pub generation: Option<Generation>,
    /// The route it matched.
    pub route: Option<RouteId>,
    /// The endpoint it went to.
    pub endpoint: Option<EndpointId>,
    /// Bytes of the bodies, towards the VM and towards the user.
    pub bytes: (u64, u64),
    /// From the first byte of the head to the last of the answer, in microseconds.
    pub micros: u64,
}

/// The way of records to their file.
#[derive(Debug, Default)]
pub struct Access {}

impl Access {
    /// Whether anybody reads records: build none otherwise.
    pub fn is_on(&self) -> bool {
        false
    }

    /// Hands a record over. Never waits: a full queue drops it and counts the loss.
    pub fn record(&self, record: Record) {
        let _ = record;
    }
}
