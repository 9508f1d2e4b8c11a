//! What was read from one side and not yet passed on.

use std::io::Result;
use std::task::{Context, Poll};

use config::limits;
use tokio::io::AsyncRead;

use crate::buffers::{Buffer, Buffers};

/// Room behind a head below which a body gets a buffer of its own: a head that fills its buffer but for a byte must not
/// make the body a read and a write for each byte.
const ROOM_BYTES_MIN: usize = limits::BUFFER_BYTES / 4;

/// Reads in a row that fill their buffer before the next one gets a larger one.
const FULL_READS: u8 = 2;

/// The read side of a connection: a buffer that begins with the head, and a larger one while a large body flows, larger
/// still while its reads are full. Both are lent only while something is in them or somebody still needs the head.
#[derive(Default)]
pub(super) struct Intake {
    main: Option<Buffer>,
    bulk: Option<Buffer>,
    /// Where the head ends in `main`, once it is complete.
    head_len: usize,
    /// Reads of a body in a row that filled their buffer.
    full_reads: u8,
}

impl Intake {
    /// The head, or what has come of it, and whatever came with it.
    pub(super) fn head(&self) -> &[u8] {
        self.main.as_ref().map_or(&[], Buffer::whole)
    }

    /// What follows the part that was consumed.
    pub(super) fn unread(&self) -> &[u8] {
        match (&self.main, &self.bulk) {
            (Some(main), _) if !main.is_empty() => main.unread(),
            (_, Some(bulk)) => bulk.unread(),
            _ => &[],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unread().is_empty()
    }

    pub(super) fn consume(&mut self, count: usize) {
        match (&mut self.main, &mut self.bulk) {
            (Some(main), _) if !main.is_empty() => main.consume(count),
            (_, Some(bulk)) => bulk.consume(count),
            _ => {}
        }
    }

    /// Marks the head as complete: it stays in place until [`Intake::next_message`].
    pub(super) fn end_head(&mut self, len: usize) {
        self.head_len = len;
        self.consume(len);
    }

    /// Reads while a head is awaited; 0 is the end of the stream. Holds no buffer while nothing has come.
    pub(super) fn poll_head<R: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut R,
        store: &Buffers,
    ) -> Poll<Result<usize>> {
        let mut main = self.main.take().unwrap_or_else(|| store.take());
        if main.is_full() {
            // A quarter more than a head may have: what follows it must not be the reason for a read of nothing.
            main.grow(limits::HEAD_BYTES_MAX + limits::BUFFER_BYTES);
        }
        let filled = main.poll_fill(context, reader);
        if main.whole().is_empty() {
            store.put(main);
        } else {
            self.main = Some(main);
        }
        filled
    }

    /// Reads on in a body; 0 is the end of the stream. What is unread, if anything, is less than a trailer section and
    /// stays in front of what comes.
    pub(super) fn poll_body<R: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut R,
        store: &Buffers,
        is_long: bool,
    ) -> Poll<Result<usize>> {
        let has_bulk = self.bulk.as_ref().is_some_and(|bulk| !bulk.is_empty());
        let is_fast = self.full_reads >= FULL_READS;
        if let Some(main) = self.main.as_mut().filter(|_| !has_bulk) {
            main.compact_to(self.head_len);
            if !is_long && !is_fast && main.room() >= ROOM_BYTES_MIN {
                if let Some(bulk) = self.bulk.take() {
                    store.put(bulk);
                }
                let filled = main.poll_fill(context, reader);
                self.full_reads = if main.is_full() { self.full_reads + 1 } else { 0 };
                return filled;
            }
        }
        let mut bulk = self.roomy(store, is_fast);
        bulk.compact_to(0);
        if let Some(main) = &mut self.main {
            let moved = bulk.append(main.unread());
            main.consume(moved);
        }
        let filled = bulk.poll_fill(context, reader);
        if bulk.is_full() {
            self.full_reads = self.full_reads.saturating_add(1);
        } else if bulk.room() > bulk.size() / 4 * 3 {
            self.full_reads = 0;
        }
        if bulk.is_empty() {
            store.put(bulk);
        } else {
            self.bulk = Some(bulk);
        }
        filled
    }

    /// The buffer for a large body; the largest there is if `is_fast`.
    fn roomy(&mut self, store: &Buffers, is_fast: bool) -> Buffer {
        let at_hand = self.bulk.take();
        let is_enough = at_hand
            .as_ref()
            .is_some_and(|bulk| !bulk.is_empty() || !is_fast || bulk.size() > limits::BUFFER_BULK_BYTES);
        if is_enough && let Some(bulk) = at_hand {
            return bulk;
        }
        let larger = if is_fast { store.take_big() } else { None };
        match (larger, at_hand) {
            (Some(larger), at_hand) => {
                at_hand.into_iter().for_each(|bulk| store.put(bulk));
                larger
            }
            (None, Some(bulk)) => bulk,
            (None, None) => store.take_bulk(),
        }
    }

    /// Reads what comes early, as far as there is room beside the head; `None` when there is none.
    pub(super) fn poll_early<R: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut R,
    ) -> Option<Poll<Result<usize>>> {
        if self.bulk.as_ref().is_some_and(|bulk| !bulk.is_empty()) {
            return None;
        }
        let main = self.main.as_mut().filter(|main| !main.is_full())?;
        Some(main.poll_fill(context, reader))
    }

    /// Forgets the head. What is unread becomes the beginning of the next message.
    pub(super) fn next_message(&mut self, store: &Buffers) {
        self.head_len = 0;
        self.full_reads = 0;
        let (main, bulk) = (self.main.take(), self.bulk.take());
        for buffer in [bulk, main].into_iter().flatten() {
            if buffer.is_empty() || self.main.is_some() {
                store.put(buffer);
            } else {
                self.main = Some(buffer);
            }
        }
        if let Some(main) = &mut self.main {
            main.compact();
        }
    }

    /// Gives everything back, read or not.
    pub(super) fn release(&mut self, store: &Buffers) {
        for buffer in [self.main.take(), self.bulk.take()].into_iter().flatten() {
            store.put(buffer);
        }
        self.head_len = 0;
        self.full_reads = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_head_that_fills_its_buffer_but_for_a_byte_leaves_the_body_one_of_its_own() {
        let store = Buffers::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut intake = Intake::default();
        let head = vec![b'h'; limits::BUFFER_BYTES - 1];
        assert!(intake.poll_head(&mut context, &mut head.as_slice(), &store).is_ready());
        intake.end_head(head.len());

        let read = intake.poll_body(&mut context, &mut [b'b'; 100].as_slice(), &store, false);

        assert!(matches!(read, Poll::Ready(Ok(100))), "{read:?}");
        assert_eq!(intake.unread(), [b'b'; 100]);
    }

    #[test]
    fn a_body_whose_reads_are_full_gets_larger_buffers_and_gives_them_back() {
        let store = Buffers::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut intake = Intake::default();
        let body = vec![b'b'; 4 * 1024 * 1024];
        let mut reader = body.as_slice();
        let mut sizes = Vec::new();
        while let Poll::Ready(Ok(count @ 1..)) = intake.poll_body(&mut context, &mut reader, &store, true) {
            sizes.push(count);
            intake.consume(count);
        }

        assert_eq!(sizes.iter().sum::<usize>(), body.len());
        assert_eq!(sizes[..4], [128 * 1024, 128 * 1024, 512 * 1024, 512 * 1024]);
        assert!(intake.bulk.is_none());
    }
}
