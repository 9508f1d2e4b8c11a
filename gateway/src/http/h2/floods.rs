//! What a client may make us do for nothing: counted for each connection, and too much of it ends the connection.
//!
//! The `h2` crate bounds memory. These counters bound work: each frame here costs the client a few bytes and us a wake,
//! a queue or an answer (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671).

use std::cell::Cell;
use std::time::Duration;

use ::h2::Reason;
use config::limits;
use tokio::time::Instant;

use super::frames::{FLAG_END_HEADERS, FLAG_END_OR_ACK, Frame, kind};

/// A sort of frames that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Streams that the client reset.
    Resets,
    /// Streams that we had to reset because of what the client did.
    Forced,
    /// SETTINGS.
    Settings,
    /// PING.
    Pings,
    /// PRIORITY, and frames of kinds that mean nothing to us.
    Idle,
    /// DATA and header blocks without a byte.
    Empty,
    /// CONTINUATION, and a header block that is longer than any head may be.
    Continuations,
    /// Windows that grow by a few bytes.
    SmallWindows,
}

const SORTS: usize = 8;

impl Sort {
    /// How many in [`limits::H2_FLOOD_WINDOW_MS`].
    const fn most(self) -> u32 {
        match self {
            Self::Resets => limits::H2_RESETS_MAX,
            Self::Forced => limits::H2_FORCED_RESETS_MAX,
            Self::Settings => limits::H2_SETTINGS_MAX,
            Self::Pings => limits::H2_PINGS_MAX,
            Self::Idle => limits::H2_IDLE_FRAMES_MAX,
            Self::Empty => limits::H2_EMPTY_FRAMES_MAX,
            Self::Continuations => limits::H2_CONTINUATIONS_MAX,
            Self::SmallWindows => limits::H2_SMALL_WINDOWS_MAX,
        }
    }
}

/// Counts of one sort. The clock is read only when the bound is reached.
#[derive(Debug)]
struct Count {
    number: Cell<u32>,
    since: Cell<Instant>,
}

/// What one connection's client has cost so far.
#[derive(Debug)]
pub(crate) struct Floods {
    counts: [Count; SORTS],
    /// Bytes of the header block that is not complete yet.
    block_bytes: Cell<usize>,
    /// When it began, if it is not complete.
    block_since: Cell<Option<Instant>>,
    found: Cell<Option<Sort>>,
}

impl Floods {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            counts: std::array::from_fn(|_| Count { number: Cell::new(0), since: Cell::new(now) }),
            block_bytes: Cell::new(0),
            block_since: Cell::new(None),
            found: Cell::new(None),
        }
    }

    /// The bound that was broken.
    pub(super) fn found(&self) -> Option<Sort> {
        self.found.get()
    }

    /// Since when a header block has been incomplete.
    pub(super) fn block_since(&self) -> Option<Instant> {
        self.block_since.get()
    }

    /// Looks at a frame of the client's.
    pub(super) fn received(&self, frame: Frame) {
        let is_end = frame.flags & FLAG_END_OR_ACK != 0;
        match frame.kind {
            kind::RST_STREAM => self.count(Sort::Resets),
            kind::SETTINGS if !is_end => self.count(Sort::Settings),
            kind::PING if !is_end => self.count(Sort::Pings),
            kind::DATA if frame.len == 0 && !is_end => self.count(Sort::Empty),
            kind::WINDOW_UPDATE if frame.word < limits::H2_SMALL_WINDOW_BYTES => {
                self.count(Sort::SmallWindows);
            }
            kind::HEADERS | kind::CONTINUATION => self.block(frame),
            kind::DATA | kind::SETTINGS | kind::PING | kind::WINDOW_UPDATE | kind::GOAWAY => {}
            _ => self.count(Sort::Idle),
        }
    }

    /// Looks at a frame of ours.
    pub(super) fn sent(&self, frame: Frame) {
        if frame.kind != kind::RST_STREAM {
            return;
        }
        // What we reset by our own will says nothing about the client.
        let own = [Reason::NO_ERROR, Reason::INTERNAL_ERROR, Reason::CANCEL];
        if !own.iter().any(|reason| u32::from(*reason) == frame.word) {
            self.count(Sort::Forced);
        }
    }

    fn block(&self, frame: Frame) {
        if frame.len == 0 {
            self.count(Sort::Empty);
        }
        if frame.kind == kind::CONTINUATION {
            self.count(Sort::Continuations);
        }
        let bytes = self.block_bytes.get() + frame.len;
        if bytes > limits::H2_HEADER_BLOCK_BYTES_MAX {
            self.found.set(Some(Sort::Continuations));
        }
        if frame.flags & FLAG_END_HEADERS != 0 {
            self.block_bytes.set(0);
            self.block_since.set(None);
        } else {
            self.block_bytes.set(bytes);
            if self.block_since.get().is_none() {
                self.block_since.set(Some(Instant::now()));
            }
        }
    }

    fn count(&self, sort: Sort) {
        let Some(count) = self.counts.get(sort as usize) else { return };
        count.number.set(count.number.get() + 1);
        if count.number.get() <= sort.most() {
            return;
        }
        let now = Instant::now();
        if now.duration_since(count.since.get()) < Duration::from_millis(limits::H2_FLOOD_WINDOW_MS) {
            self.found.set(Some(sort));
        }
        count.number.set(1);
        count.since.set(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESET: Frame = Frame { kind: kind::RST_STREAM, flags: 0, len: 4, word: 8 };

    #[test]
    fn as_many_as_allowed_are_no_flood_and_one_more_is() {
        let floods = Floods::new(Instant::now());
        for _ in 0..limits::H2_RESETS_MAX {
            floods.received(RESET);
        }
        assert_eq!(floods.found(), None);
        floods.received(RESET);
        assert_eq!(floods.found(), Some(Sort::Resets));
    }

    #[test]
    fn what_comes_slowly_is_no_flood() {
        let long_ago = Instant::now() - Duration::from_millis(limits::H2_FLOOD_WINDOW_MS);
        let floods = Floods::new(long_ago);
        for _ in 0..=limits::H2_RESETS_MAX {
            floods.received(RESET);
        }
        assert_eq!(floods.found(), None, "the first of them came a window ago");
    }

    #[test]
    fn our_own_resets_are_not_the_clients() {
        let floods = Floods::new(Instant::now());
        for _ in 0..10 * limits::H2_FORCED_RESETS_MAX {
            floods.sent(Frame { word: u32::from(Reason::NO_ERROR), ..RESET });
        }
        assert_eq!(floods.found(), None);
        for _ in 0..=limits::H2_FORCED_RESETS_MAX {
            floods.sent(Frame { word: u32::from(Reason::FLOW_CONTROL_ERROR), ..RESET });
        }
        assert_eq!(floods.found(), Some(Sort::Forced));
    }

    #[test]
    fn answers_to_our_own_pings_and_the_ends_of_streams_are_free() {
        let floods = Floods::new(Instant::now());
        for kind in [kind::PING, kind::SETTINGS, kind::DATA] {
            for _ in 0..10_000 {
                floods.received(Frame { kind, flags: FLAG_END_OR_ACK, len: 0, word: 0 });
            }
        }
        assert_eq!(floods.found(), None);
    }
}
