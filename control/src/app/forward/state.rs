//! What the gateways say of a forward.

use config::id::ForwardId;
use config::snapshot::{Generation, Kind, ObjectKey};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::gateway::Said;
use super::super::{App, Caller, Error};
use crate::store::{self, Conn, Slice};

/// One gateway's part in a forward.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GatewayState {
    /// Its name.
    pub gateway: String,
    /// `listening`; `off` when the forward is disabled there, `closed` when it was deleted; `paused`, `closing`, `refused`,
    /// `waiting` or `away`, and `why` says more.
    pub state: &'static str,
    /// What is wrong, if anything is.
    pub why: Option<String>,
    /// The generation it serves.
    pub generation: Option<u64>,
}

/// Gateways that are looked at.
const GATEWAYS: usize = 500;

/// Why a gateway refused a generation, for people who are not to read it.
const UNTOLD: &str = "it refused the latest change; whoever runs it is told why";

/// What a forward is to be at the gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Its ports are open.
    Open,
    /// It is disabled.
    Off,
    /// It was deleted.
    Gone,
}

impl Wanted {
    /// Of a forward that is there.
    pub const fn of(enabled: bool) -> Self {
        if enabled { Self::Open } else { Self::Off }
    }
}

/// The state of a forward at each gateway, in the order of their ids, as far as it is the caller's to know.
pub async fn of(
    app: &App,
    conn: &mut Conn,
    caller: &Caller,
    (id, wanted): (ForwardId, Wanted),
) -> Result<Vec<GatewayState>, Error> {
    let key = ObjectKey { kind: Kind::FORWARD, id: id.to_bytes() };
    let changed = store::meta::changed_at(conn, key).await?;
    let slice = Slice { after: None, limit: GATEWAYS, namespaces: None };
    let gateways = store::gateway::list(conn, &slice).await?;
    let state = |gateway: store::gateway::GatewayRow| {
        let mut said = app.gateways.said(gateway.id).unwrap_or_default();
        if !caller.actor.is_root() {
            // The reason is of all that the generation changed: it names what belongs to other tenants.
            said.refused = said.refused.map(|(at, _)| (at, UNTOLD.to_owned()));
        }
        let (state, why) = judge((id, wanted), &said, changed);
        let generation = said.acked.map(|generation| generation.0);
        GatewayState { gateway: gateway.name.to_string(), state, why, generation }
    };
    Ok(gateways.into_iter().map(state).collect())
}

fn judge(
    (id, wanted): (ForwardId, Wanted),
    said: &Said,
    changed: Option<Generation>,
) -> (&'static str, Option<String>) {
    if said.streams == 0 {
        let why = "it is not connected; what it has it serves on, and it takes the rest when it is back";
        return ("away", Some(why.into()));
    }
    let is_there = said.acked.is_some_and(|acked| changed.is_none_or(|changed| acked >= changed));
    if !is_there {
        let refused = said.refused.as_ref().filter(|(at, _)| changed.is_none_or(|changed| *at >= changed));
        return match refused {
            Some((at, why)) => ("refused", Some(format!("generation {at}: {why}"))),
            None => ("waiting", Some("it has not taken the latest change yet".into())),
        };
    }
    let begins = format!("forward {id}");
    let told = said.degraded.iter().find_map(|line| line.strip_prefix(&begins));
    let why = told.map(|why| why.trim_start_matches([':', ' ']).to_owned());
    let state = match (wanted, &why) {
        (Wanted::Open, None) => "listening",
        (Wanted::Open, Some(_)) => "paused",
        (Wanted::Off, None) => "off",
        (Wanted::Gone, None) => "closed",
        (Wanted::Off | Wanted::Gone, Some(_)) => "closing",
    };
    (state, why)
}
