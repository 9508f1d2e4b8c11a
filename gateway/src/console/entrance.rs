//! From a ticket that was admitted to a session: it is redeemed, and the session is registered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::id::RouteId;
use config::secret::Secret;

use super::Refusal;
use super::asked;
use super::redeemed::{Browser, Granted};
use super::ticket::Opening;
use crate::clock::now_ms;
use crate::guard::SessionPermit;
use crate::live::Pinned;
use crate::session::{SessionHandle, SessionKind, Subject};
use crate::worker::Shared;

/// Somebody whose ticket was admitted, before it is redeemed.
pub(crate) struct Entrance {
    pub(crate) opening: Opening,
    pub(crate) browser: Browser,
    /// The ticket itself, for whoever else has to see it.
    pub(crate) text: Secret<String>,
    /// What it was admitted under.
    pub(crate) pinned: Pinned,
    pub(crate) peer: SocketAddr,
    /// The route it came by; `None` on a listener of consoles.
    pub(crate) route: Option<RouteId>,
    /// Room for its session.
    pub(crate) permit: SessionPermit,
}

/// A console that was opened: its session, and room for it.
pub(crate) struct Opened {
    pub(crate) opening: Opening,
    pub(crate) text: Secret<String>,
    pub(crate) session: SessionHandle,
    pub(crate) permit: SessionPermit,
}

impl Entrance {
    /// Redeems the ticket and registers the session: from here a change of the console ends it.
    pub(crate) async fn redeem(self, shared: &Arc<Shared>) -> Result<Opened, Refusal> {
        let granted = self.redeemed(shared).await.map_err(|refusal| {
            let refusal = refusal.of(self.opening.claims.kind);
            asked::note_refused(shared, &self.opening.claims, self.browser.source, refusal.sentence());
            refusal
        })?;
        asked::end_before(shared, &granted);
        let Self { opening, text, pinned, peer, route, permit, .. } = self;
        let claims = &opening.claims;
        let subject = Subject {
            kind: if claims.read_only { SessionKind::Look } else { SessionKind::Console },
            peer,
            principal: claims.user,
            route,
            forward: None,
            endpoint: Some(opening.console.endpoint.id),
            vm: Some(opening.console.vm),
            console: Some(opening.console.id),
        };
        let pinned = &pinned.snapshot;
        let session = shared.sessions.open_console(granted.session, subject, pinned, &shared.current);
        session.tell(asked::told(claims));
        if !shared.consoles.opened(claims, &granted, session.id()) {
            // The browser came again between redeeming and here, and could not end what was not open yet.
            shared.sessions.end(session.id());
        }
        tracing::info!(
            session = %session.id(), console = %opening.console.id, vm = %opening.console.vm,
            user = ?claims.user, %peer, read_only = opening.read_only, "console opened"
        );
        Ok(Opened { opening, text, session, permit })
    }

    /// Redeems the ticket here, or at the gateway that it names.
    async fn redeemed(&self, shared: &Arc<Shared>) -> Result<Granted, Refusal> {
        let Self { opening, browser, .. } = self;
        // Where it opened something the address does not matter any more; that is over.
        if opening.is_other_address {
            return Err(Refusal::OtherAddress);
        }
        if !opening.is_elsewhere {
            // Of a control whose clock is ahead. `ticket::admit` let it in by a few seconds at most.
            let early = opening.claims.issued_ms.saturating_sub(now_ms());
            tokio::time::sleep(Duration::from_millis(early)).await;
            return shared.consoles.redeem(&opening.claims, *browser, now_ms());
        }
        let ticket = Secret::new(self.text.expose().clone());
        asked::redeemed_elsewhere(shared, ticket, *browser).await?;
        Ok(shared.consoles.adopt(&opening.claims, *browser, now_ms()))
    }
}
