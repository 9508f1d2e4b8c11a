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
use super::protocol::{PageSecret, Said, Size};

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

/// The terminals of one gateway process that pages may come back to.
#[derive(Default)]
pub struct Terminals {
    open: Mutex<HashMap<SessionId, Open>>,
}

struct Open {
    /// Of the page that opened it; `None` lets nobody come back.
    secret: Option<PageSecret>,
    door: mpsc::Sender<Attachment>,
}

/// What a page finds that shows a ticket.
pub(super) enum Entered {
    /// Its own terminal.
    Its(mpsc::Sender<Attachment>),
    /// The terminal of another page.
    Another,
    /// Nothing: it is the first, and its terminal is to be opened.
    First { door: mpsc::Sender<Attachment>, knocks: mpsc::Receiver<Attachment> },
    /// Nothing, and it came back to something.
    Gone,
}

impl Terminals {
    /// Looks for the terminal that `ticket` opened, and notes one to be opened where there is none and it is new: of
    /// several pages that show one ticket at once one is the first. The sessions themselves are bounded by the guard.
    pub(super) fn enter(&self, ticket: SessionId, (secret, is_new): (Option<PageSecret>, bool)) -> Entered {
        let mut open = self.lock();
        if let Some(there) = open.get(&ticket) {
            let is_its = there.secret.zip(secret).is_some_and(|(one, other)| one.is(&other));
            return if is_its { Entered::Its(there.door.clone()) } else { Entered::Another };
        }
        if !is_new {
            return Entered::Gone;
        }
        let (door, knocks) = mpsc::channel(1);
        open.insert(ticket, Open { secret, door: door.clone() });
        Entered::First { door, knocks }
    }

    /// Whether a terminal of this ticket is there; whose it is shows once the page has spoken.
    pub(crate) fn is_open(&self, ticket: SessionId) -> bool {
        self.lock().contains_key(&ticket)
    }

    /// Forgets a terminal that ended, and one that was not opened.
    pub(super) fn closed(&self, ticket: SessionId) {
        self.lock().remove(&ticket);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::hello;
    use super::*;

    fn secret(byte: char) -> Option<PageSecret> {
        let text = byte.to_string().repeat(32);
        hello(format!(r#"{{"secret":"{text}"}}"#).as_bytes()).unwrap().secret
    }

    #[test]
    fn only_the_page_that_opened_a_terminal_finds_it_and_only_while_it_is_open() {
        let terminals = Terminals::default();
        let ticket = SessionId::from_bytes([1; 16]);
        assert!(!terminals.is_open(ticket));
        let Entered::First { knocks, .. } = terminals.enter(ticket, (secret('a'), true)) else {
            panic!("not the first")
        };
        assert!(terminals.is_open(ticket));
        assert!(matches!(terminals.enter(ticket, (secret('a'), true)), Entered::Its(_)));
        assert!(matches!(terminals.enter(ticket, (secret('b'), true)), Entered::Another));
        assert!(matches!(terminals.enter(ticket, (None, true)), Entered::Another));
        drop(knocks);
        terminals.closed(ticket);
        assert!(!terminals.is_open(ticket));
        assert!(matches!(terminals.enter(ticket, (secret('a'), false)), Entered::Gone));
        assert!(matches!(terminals.enter(ticket, (None, true)), Entered::First { .. }));
        assert!(
            matches!(terminals.enter(ticket, (None, true)), Entered::Another),
            "who has no secret never comes back"
        );
    }
}
