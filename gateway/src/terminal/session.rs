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
use super::protocol::{self, Said, Size};
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
    /// The size that a nudge takes back, and when.
    pub(super) nudged: Option<(Instant, Size)>,
}

/// A replay, with the modes before it, has room in a fresh channel.
const _: () = assert!(
    limits::TERMINAL_SCROLLBACK_BYTES / limits::TERMINAL_REPLAY_BYTES + 2 <= limits::TERMINAL_TOLD_QUEUED_MAX
);

/// What happened next.
enum Event {
    Page(Attachment),
    Said(Option<Said>),
    Printed(Printed),
    /// The time of a nudge is over.
    Nudged(Size),
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
            match self.event(page.as_mut(), (alone_since, moved)).await {
                Event::Page(new) => {
                    if let Some(old) = page.take() {
                        close(old, End::Elsewhere);
                    }
                    self.welcome(&new, &scrollback);
                    page = Some(new);
                }
                Event::Said(Some(said)) => {
                    moved = Instant::now();
                    if self.said(said).is_err() {
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
                Event::Nudged(size) => self.resize(size),
                Event::End(end) => break end,
            }
        };
        if let Some(page) = page {
            close(page, end.clone());
        }
        self.shell.leave();
        end
    }

    /// Hands on what a page said.
    ///
    /// Errors: the shell is gone.
    fn said(&mut self, said: Said) -> Result<(), ()> {
        match said {
            Said::Input(bytes) => {
                self.session.carried(bytes.len() as u64, 0);
                // There is room: `event` waited for it.
                if let Err(TrySendError::Closed(_)) = self.shell.input.try_send(bytes) {
                    return Err(());
                }
            }
            Said::Resize(size) => self.resize(size),
            Said::Pause | Said::Resume => {}
        }
        Ok(())
    }

    fn resize(&mut self, size: Size) {
        self.nudged = None;
        self.shell.size.send_replace(size);
    }

    /// What a page that comes is told first: all that is remembered. A program that fills its screen
    /// draws it again for another size, so there is one for a moment where the page is as large as the last.
    fn welcome(&mut self, page: &Attachment, scrollback: &Scrollback) {
        let replay = scrollback.replay();
        if replay.is_empty() {
            return self.resize(page.size);
        }
        for piece in replay.chunks(limits::TERMINAL_REPLAY_BYTES) {
            // A fresh channel has room.
            let _ = page.told.try_send(protocol::replay(piece));
        }
        let is_same = *self.shell.size.borrow() == page.size;
        self.resize(if is_same { page.size.nudged() } else { page.size });
        let back = Instant::now() + Duration::from_millis(limits::TERMINAL_NUDGE_MS);
        self.nudged = is_same.then_some((back, page.size));
    }

    async fn event(
        &mut self,
        page: Option<&mut Attachment>,
        (alone_since, moved): (Instant, Instant),
    ) -> Event {
        let Self { shell, knocks, session, idle, nudged } = self;
        let is_alone = page.is_none();
        let input = shell.input.clone();
        let (told, said) = page.map(|page| (page.told.clone(), &mut page.said)).unzip();
        let alone_until = alone_since + Duration::from_millis(limits::TERMINAL_REATTACH_MS);
        tokio::select! {
            biased;
            reason = session.ended() => Event::End(End::Ordered(reason)),
            Some(new) = knocks.recv() => Event::Page(new),
            size = nudge_over(*nudged) => Event::Nudged(size),
            said = next_said(said, &input) => Event::Said(said),
            printed = next_printed(shell, told.as_ref()) => Event::Printed(printed),
            () = sleep_until(alone_until), if is_alone => Event::End(End::PageLeft),
            () = sleep_until(moved + *idle) => {
                Event::End(End::Ordered(crate::session::EndReason::Idle))
            }
        }
    }
}

/// The size that comes back when the time of a nudge is over.
async fn nudge_over(nudged: Option<(Instant, Size)>) -> Size {
    let Some((at, size)) = nudged else { return std::future::pending().await };
    sleep_until(at).await;
    size
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

fn close(page: Attachment, end: End) {
    // A page that is gone needs no reason.
    let _ = page.end.send(end);
}
