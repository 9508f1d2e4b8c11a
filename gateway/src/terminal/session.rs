//! A terminal between its shell and the page that looks at it, which may leave and come back.
//!
//! While no page is there the shell prints into the scroll-back and stops for nobody; when one is there and does not
//! read, the shell waits for it.

use std::time::Duration;

use bytes::Bytes;
use config::limits;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::end::End;
use super::pages::Pages;
use super::protocol::{self, Said, Size};
use super::registry::Attachment;
use super::scrollback::Scrollback;
use super::shell::{Printed, Shell};
use crate::session::{EndReason, SessionHandle};

/// A terminal whose shell is open.
pub(super) struct Terminal<'a> {
    shell: &'a mut Shell,
    pages: &'a mut Pages,
    session: &'a SessionHandle,
    /// What its window is called.
    title: String,
    scrollback: Scrollback,
    /// Whether a page was ever told of what was printed.
    is_seen: bool,
    /// The size that a nudge takes back, and when.
    nudged: Option<(Instant, Size)>,
    /// When anything moved last: input, output, or another size. What a page says to be heard, and the pings below it,
    /// move nothing.
    moved: Instant,
    /// Longest silence.
    idle: Duration,
}

/// A title and a replay, with the modes before it, have room in a fresh channel.
const _: () = assert!(
    limits::TERMINAL_SCROLLBACK_BYTES / limits::TERMINAL_REPLAY_BYTES + 3 <= limits::TERMINAL_TOLD_QUEUED_MAX
);

/// What happened next.
enum Event {
    Page(Attachment),
    Said(Option<Said>),
    /// The page's connection is gone.
    Leaves,
    Printed(Printed),
    /// The time of a nudge is over.
    Nudged(Size),
    End(End),
}

impl<'a> Terminal<'a> {
    /// A shell that was just opened.
    pub(super) fn new(
        shell: &'a mut Shell,
        pages: &'a mut Pages,
        (session, idle): (&'a SessionHandle, Duration),
        title: String,
    ) -> Self {
        let scrollback = Scrollback::new(limits::TERMINAL_SCROLLBACK_BYTES);
        let moved = Instant::now();
        Self { shell, pages, session, title, scrollback, is_seen: false, nudged: None, moved, idle }
    }

    /// Serves it until the shell ends, nothing moves any more, or nobody came back.
    pub(super) async fn serve(mut self) -> End {
        if let Some(page) = self.pages.there.take() {
            self.welcome(page);
        }
        loop {
            match self.event().await {
                Event::Page(page) => self.welcome(page),
                Event::Said(Some(said)) => {
                    if self.said(said).is_err() {
                        return End::Lost;
                    }
                }
                Event::Said(None) => self.pages.left(),
                Event::Leaves => self.pages.leaves(),
                Event::Printed(Printed::Bytes(bytes)) => self.printed(&bytes),
                Event::Printed(Printed::Exited(status)) => return End::Exited(status),
                Event::Printed(Printed::Lost) => return End::Lost,
                Event::Nudged(size) => {
                    self.resize(size);
                }
                Event::End(end) => return end,
            }
        }
    }

    fn printed(&mut self, bytes: &[u8]) {
        self.moved = Instant::now();
        self.session.carried(0, bytes.len() as u64);
        self.scrollback.push(bytes);
        if let Some(page) = &self.pages.there {
            // There is room: `event` waited for it.
            let _ = page.told.try_send(protocol::output(bytes));
        }
    }

    /// Hands on what a page said.
    ///
    /// Errors: the shell is gone.
    fn said(&mut self, said: Said) -> Result<(), ()> {
        match said {
            Said::Input(bytes) if bytes.is_empty() => {}
            Said::Input(bytes) => {
                self.moved = Instant::now();
                self.session.carried(bytes.len() as u64, 0);
                // There is room: `event` waited for it.
                if let Err(TrySendError::Closed(_)) = self.shell.input.try_send(bytes) {
                    return Err(());
                }
            }
            Said::Resize(size) => {
                if self.resize(size) {
                    self.moved = Instant::now();
                }
            }
            Said::Pause | Said::Resume => {}
        }
        Ok(())
    }

    /// Whether it is another size than before.
    fn resize(&mut self, size: Size) -> bool {
        self.nudged = None;
        self.shell.size.send_if_modified(|held| std::mem::replace(held, size) != size)
    }

    /// What a page that comes is told first: a title, by which it knows that there is a shell, and all that is
    /// remembered. A program that fills its screen draws it again for another size, so there is one for a moment where
    /// the page is as large as the last. The first page is told of what was printed as of something new.
    fn welcome(&mut self, page: Attachment) {
        // A fresh channel has room.
        let _ = page.told.try_send(protocol::title(&self.title));
        let is_again = std::mem::replace(&mut self.is_seen, true);
        for piece in self.scrollback.replay().chunks(limits::TERMINAL_REPLAY_BYTES) {
            let message = if is_again { protocol::replay(piece) } else { protocol::output(piece) };
            let _ = page.told.try_send(message);
        }
        let size = page.size;
        let is_nudge = is_again && *self.shell.size.borrow() == size;
        self.resize(if is_nudge { size.nudged() } else { size });
        let back = Instant::now() + Duration::from_millis(limits::TERMINAL_NUDGE_MS);
        self.nudged = is_nudge.then_some((back, size));
        self.pages.enters(page);
    }

    async fn event(&mut self) -> Event {
        let Self { shell, pages, nudged, moved, idle, .. } = self;
        let input = shell.input.clone();
        let (alone_until, is_alone, is_leaving) = (pages.alone_until(), pages.is_alone(), pages.is_leaving);
        let (knocks, there) = pages.parts();
        let (told, (said, end)) = match there {
            Some(page) => (Some(page.told.clone()), (Some(&mut page.said), Some(&mut page.end))),
            None => (None, (None, None)),
        };
        tokio::select! {
            biased;
            Some(page) = knocks.recv() => Event::Page(page),
            size = nudge_over(*nudged) => Event::Nudged(size),
            () = gone(end), if !is_leaving => Event::Leaves,
            said = next_said(said, &input) => Event::Said(said),
            printed = next_printed(shell, told.as_ref()) => Event::Printed(printed),
            () = sleep_until(alone_until), if is_alone => Event::End(End::PageLeft),
            () = sleep_until(*moved + *idle) => Event::End(End::Ordered(EndReason::Idle)),
        }
    }
}

/// The size that comes back when the time of a nudge is over.
async fn nudge_over(nudged: Option<(Instant, Size)>) -> Size {
    let Some((at, size)) = nudged else { return std::future::pending().await };
    sleep_until(at).await;
    size
}

/// Resolves when the page's connection is gone: a shell that takes no input keeps what the page said from being read to
/// its end.
async fn gone(end: Option<&mut oneshot::Sender<End>>) {
    match end {
        Some(end) => end.closed().await,
        None => std::future::pending().await,
    }
}

/// What the page says next, once the shell has room for it.
async fn next_said(said: Option<&mut mpsc::Receiver<Said>>, input: &mpsc::Sender<Bytes>) -> Option<Said> {
    let Some(said) = said else { return std::future::pending().await };
    // Without a permit nothing is taken out of the page's queue. A closed input shows when it is used.
    drop(input.reserve().await);
    said.recv().await
}

/// What the shell prints next, once the page has room for it.
async fn next_printed(shell: &mut Shell, told: Option<&mpsc::Sender<Bytes>>) -> Printed {
    if let Some(told) = told {
        // A page that is gone shows on its other way.
        drop(told.reserve().await);
    }
    shell.next().await
}

#[cfg(test)]
mod tests;
