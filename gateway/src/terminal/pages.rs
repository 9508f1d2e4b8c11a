//! The pages of one terminal: the one that looks at it, and those that come.

use std::time::Duration;

use config::limits;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::end::End;
use super::registry::Attachment;

/// Where pages come, and the newest of them.
pub(super) struct Pages {
    knocks: mpsc::Receiver<Attachment>,
    pub(super) there: Option<Attachment>,
    /// Whether the connection of the one that is there is gone. What it said before that is still taken.
    pub(super) is_leaving: bool,
    /// Since when none has been there.
    alone_since: Instant,
}

impl Pages {
    /// None there yet.
    pub(super) fn new(knocks: mpsc::Receiver<Attachment>) -> Self {
        Self { knocks, there: None, is_leaving: false, alone_since: Instant::now() }
    }

    /// Waits for a page. May be dropped and asked again.
    pub(super) async fn next(&mut self) -> Attachment {
        match self.knocks.recv().await {
            Some(page) => page,
            // Not reached before the terminal was forgotten, and then nobody comes.
            None => std::future::pending().await,
        }
    }

    /// Where pages come, and the one that is there.
    pub(super) fn parts(&mut self) -> (&mut mpsc::Receiver<Attachment>, Option<&mut Attachment>) {
        (&mut self.knocks, self.there.as_mut())
    }

    /// Lets a page in; the one that was there is told.
    pub(super) fn enters(&mut self, page: Attachment) {
        self.is_leaving = false;
        if let Some(old) = self.there.replace(page) {
            close(old, End::Elsewhere);
        }
    }

    /// The page's connection is gone.
    pub(super) fn leaves(&mut self) {
        self.is_leaving = true;
        self.alone_since = Instant::now();
    }

    /// The page is gone, and all that it said was taken.
    pub(super) fn left(&mut self) {
        self.there = None;
        if !std::mem::take(&mut self.is_leaving) {
            self.alone_since = Instant::now();
        }
    }

    /// Whether no page is there that could be told anything.
    pub(super) fn is_alone(&self) -> bool {
        self.there.is_none() || self.is_leaving
    }

    /// Until when one that left may come back.
    pub(super) fn alone_until(&self) -> Instant {
        self.alone_since + Duration::from_millis(limits::TERMINAL_REATTACH_MS)
    }

    /// Does something while pages come and go.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                page = self.next() => self.enters(page),
                done = &mut work => return done,
            }
        }
    }

    /// Whether a page is there to be told of the end: one whose connection broke is not.
    pub(super) fn is_attended(&self) -> bool {
        self.there.as_ref().is_some_and(|page| !page.end.is_closed())
    }

    /// Tells the page of the end, or the one that comes back in time.
    pub(super) async fn end(mut self, end: End) {
        let page = match self.there.take().filter(|page| !page.end.is_closed()) {
            Some(page) => Some(page),
            None => timeout_at(self.alone_until(), self.next()).await.ok(),
        };
        if let Some(page) = page {
            close(page, end);
        }
    }
}

fn close(page: Attachment, end: End) {
    // A page that is gone needs no reason.
    let _ = page.end.send(end);
}
