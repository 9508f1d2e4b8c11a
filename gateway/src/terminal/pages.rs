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
    /// Since when none has been there.
    alone_since: Instant,
}

impl Pages {
    /// None there yet.
    pub(super) fn new(knocks: mpsc::Receiver<Attachment>) -> Self {
        Self { knocks, there: None, alone_since: Instant::now() }
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
        if let Some(old) = self.there.replace(page) {
            close(old, End::Elsewhere);
        }
    }

    /// The page is gone.
    pub(super) fn left(&mut self) {
        self.there = None;
        self.alone_since = Instant::now();
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
