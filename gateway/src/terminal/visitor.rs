//! A browser that asked for a terminal: it gets a new one, or its own again.

use std::net::IpAddr;
use std::rc::Rc;

use config::ticket::Claims;
use tokio::io::{AsyncRead, AsyncWrite};

use super::end::End;
use super::opening;
pub(crate) use super::opening::New;
use super::page::Page;
use super::registry::Entered;
use crate::console::{Refusal, asked};
use crate::worker::Worker;

/// Somebody whose handshake was answered.
pub(crate) struct Visitor {
    /// What the ticket says.
    pub(crate) claims: Claims,
    /// Who shows it.
    pub(crate) source: IpAddr,
    /// What is to be opened; `None` comes back to what is open.
    pub(crate) new: Option<New>,
}

/// Serves a page to its end. `early` is what came glued to the handshake.
///
/// The ticket is redeemed when the page has spoken and not before: a page that was lost on the way has lost nothing.
pub(crate) async fn run<IO>(worker: Rc<Worker>, io: IO, early: Vec<u8>, visitor: Visitor)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut page = Page::new(io, early).await;
    let hello = match page.hello().await {
        Ok(hello) => hello,
        Err(end) => return page.close(&end).await,
    };
    let Visitor { claims, source, new } = visitor;
    let shared = &worker.shared;
    let door = match shared.terminals.enter(claims.session, (hello.secret, new.is_some())) {
        Entered::Its(door) => door,
        Entered::First { door, knocks } => {
            if let Some(new) = new {
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(opening::run(worker, new, knocks, hello.size));
            }
            door
        }
        Entered::Another => {
            asked::note_refused(shared, &claims, source, Refusal::TerminalUsed.sentence());
            return page.close(&End::Refused(Refusal::TerminalUsed)).await;
        }
        Entered::Gone => return page.close(&End::Gone).await,
    };
    page.serve(door, hello.size).await;
}
