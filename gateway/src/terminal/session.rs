//! A terminal between its shell and the page that looks at it, which may leave and come back.
//!
//! While no page is there the shell prints into the scroll-back and stops for nobody; when one is there and does not
//! read, the shell waits for it.

use std::time::Duration;

use bytes::Bytes;
use config::limits;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, sleep_until};

use super::end::End;
use super::protocol::{self, Said};
use super::registry::Attachment;
use super::scrollback::Scrollback;
use super::shell::{Printed, Shell};
use crate::session::SessionHandle;

/// A terminal that is open.
pub(super) struct Terminal<'a> {
    pub(super) shell: Shell,
    /// Where pages attach.
    pub(super) knocks: mpsc::Receiver<Attachment>,
    pub(super) session: &'a SessionHandle,
    /// Longest silence.
    pub(super) idle: Duration,
}

/// What happened next.
enum Event {
    Page(Attachment),
    Said(Option<Said>),
    Printed(Printed),
    End(End),
}

impl Terminal<'_> {
    /// Serves it until the shell ends, it is told to, or nobody came back.
    pub(super) async fn serve(mut self) -> End {
        let mut page: Option<Attachment> = None;
        let mut scrollback = Scrollback::new(limits::TERMINAL_SCROLLBACK_BYTES);
        let mut alone_since = Instant::now();
        let mut moved = Instant::now();
        let end = loop {
            let event = self.event(page.as_mut(), (alone_since, moved)).await;
            match event {
                Event::Page(new) => {
                    if let Some(old) = page.take() {
                        close(old, End::Elsewhere);
                    }
                    self.welcome(&new, &scrollback);
                    page = Some(new);
                }
                Event::Said(Some(said)) => {
                    moved = Instant::now();
                    self.session.carried(size_of_said(&said), 0);
                    // There is room: `event` waited for it.
                    if let Err(TrySendError::Closed(_)) = self.shell.input.try_send(said) {
                        break End::Lost;
                    }
                }
                Event::Said(None) => {
                    page = None;
                    alone_since = Instant::now();
                }
                Event::Printed(Printed::Bytes(bytes)) => {
                    moved = Instant::now();
                    self.session.carried(0, bytes.len() as u64);
                    scrollback.push(&bytes);
                    if let Some(page) = &page {
                        // There is room: `event` waited for it.
                        let _ = page.told.try_send(protocol::output(&bytes));
                    }
                }
                Event::Printed(Printed::Exited(status)) => break End::Exited(status),
                Event::Printed(Printed::Lost) => break End::Lost,
                Event::End(end) => break end,
            }
        };
        if let Some(page) = page {
            close(page, end.clone());
        }
        self.shell.leave();
        end
    }

    /// What a page that comes is told first: all that is remembered, in one message, and a new size for the shell.
    fn welcome(&self, page: &Attachment, scrollback: &Scrollback) {
        let replay = scrollback.replay();
        if !replay.is_empty() {
            // A fresh channel has room.
            let _ = page.told.try_send(protocol::output(&replay));
        }
        // A shell that takes nothing just now keeps its old size until the page changes it.
        let _ = self.shell.input.try_send(Said::Resize(page.size));
    }

    async fn event(
        &mut self,
        page: Option<&mut Attachment>,
        (alone_since, moved): (Instant, Instant),
    ) -> Event {
        let Self { shell, knocks, session, idle } = self;
        let is_alone = page.is_none();
        let input = shell.input.clone();
        let (told, said) = page.map(|page| (page.told.clone(), &mut page.said)).unzip();
        let alone_until = alone_since + Duration::from_millis(limits::TERMINAL_REATTACH_MS);
        tokio::select! {
            biased;
            reason = session.ended() => Event::End(End::Ordered(reason)),
            Some(new) = knocks.recv() => Event::Page(new),
            said = next_said(said, &input) => Event::Said(said),
            printed = next_printed(shell, told.as_ref()) => Event::Printed(printed),
            () = sleep_until(alone_until), if is_alone => Event::End(End::PageLeft),
            () = sleep_until(moved + *idle) => {
                Event::End(End::Ordered(crate::session::EndReason::Idle))
            }
        }
    }
}

/// What the page says next, once the shell has room for it.
async fn next_said(said: Option<&mut mpsc::Receiver<Said>>, input: &mpsc::Sender<Said>) -> Option<Said> {
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

fn close(page: Attachment, end: End) {
    // A page that is gone needs no reason.
    let _ = page.end.send(end);
}

const fn size_of_said(said: &Said) -> u64 {
    match said {
        Said::Input(bytes) => Bytes::len(bytes) as u64,
        Said::Resize(_) | Said::Pause | Said::Resume => 0,
    }
}
