//! The terminals that are open, so that a page which comes back finds its own.
//!
//! A page may come back on another worker than its session runs on: what they pass each other goes by channels. One map
//! for all workers behind a lock; opening a terminal is rare.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use config::id::SessionId;
use tokio::sync::{mpsc, oneshot};

use super::end::End;
use super::protocol::{Said, Size};
use crate::console::redeemed::Browser;

/// A page, as its session sees it.
pub(super) struct Attachment {
    /// The size of its window.
    pub(super) size: Size,
    /// What it says.
    pub(super) said: mpsc::Receiver<Said>,
    /// Messages for it, sent as they are.
    pub(super) told: mpsc::Sender<Bytes>,
    /// Why it closes. A way of its own: a page that takes no messages is told all the same.
    pub(super) end: oneshot::Sender<End>,
}

/// The open terminals of one gateway process.
#[derive(Default)]
pub struct Terminals {
    open: Mutex<HashMap<SessionId, Open>>,
}

struct Open {
    browser: Browser,
    door: mpsc::Sender<Attachment>,
}

impl Terminals {
    /// Where a page of this browser attaches to the terminal that `ticket` opened, if that is still open.
    pub(super) fn door(&self, ticket: SessionId, browser: Browser) -> Option<mpsc::Sender<Attachment>> {
        let open = self.lock();
        open.get(&ticket).filter(|open| open.browser == browser).map(|open| open.door.clone())
    }

    /// Whether a page of this browser could attach.
    pub(crate) fn is_open(&self, ticket: SessionId, browser: Browser) -> bool {
        self.door(ticket, browser).is_some_and(|door| !door.is_closed())
    }

    /// Notes a terminal; the sessions themselves are bounded by the guard.
    pub(super) fn opened(&self, ticket: SessionId, browser: Browser) -> mpsc::Receiver<Attachment> {
        let (door, knocks) = mpsc::channel(1);
        self.lock().insert(ticket, Open { browser, door });
        knocks
    }

    /// Forgets a terminal that ended.
    pub(super) fn closed(&self, ticket: SessionId) {
        self.lock().remove(&ticket);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_browser_finds_its_terminal_and_only_while_it_is_open() {
        let terminals = Terminals::default();
        let ticket = SessionId::from_bytes([1; 16]);
        let here = Browser { source: std::net::Ipv4Addr::LOCALHOST.into(), agent: 1 };
        let other = Browser { agent: 2, ..here };
        assert!(!terminals.is_open(ticket, here));
        let knocks = terminals.opened(ticket, here);
        assert!(terminals.is_open(ticket, here));
        assert!(!terminals.is_open(ticket, other));
        drop(knocks);
        assert!(!terminals.is_open(ticket, here), "its session is on its way out");
        terminals.closed(ticket);
        assert!(terminals.lock().is_empty());
    }
}
