//! The buffers that a worker lends.
//!
//! A buffer is taken when a socket turns out to be readable and given back when nothing is left in it, so an idle
//! connection holds none. Three sizes: [`limits::BUFFER_BYTES`] for heads and small bodies,
//! [`limits::BUFFER_BULK_BYTES`] while a large body flows, [`limits::BUFFER_BIG`] while it flows fast. The store belongs to one thread; dropping a [`Buffer`] frees it, [`Buffers::put`] keeps it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use config::limits;
use tokio::io::{AsyncRead, ReadBuf};

/// A worker's buffers, lent while a socket is ready and given back when it is idle.
#[derive(Default)]
pub struct Buffers {
    small: RefCell<Vec<Buffer>>,
    bulk: RefCell<Vec<Buffer>>,
    big: RefCell<Vec<Buffer>>,
    big_lent: Rc<Cell<usize>>,
}

/// Bulk buffers a worker keeps: eight large bodies at once, then the allocator works.
const BULK_KEPT_MAX: usize = 8;
/// Big buffers a worker keeps.
const BIG_KEPT_MAX: usize = 2;
/// Size of a big buffer, and how many are lent at once.
const BIG: (usize, usize) = limits::BUFFER_BIG;

impl Buffers {
    /// Lends an empty buffer of [`limits::BUFFER_BYTES`].
    pub fn take(&self) -> Buffer {
        self.small.borrow_mut().pop().unwrap_or_else(|| Buffer::sized(limits::BUFFER_BYTES))
    }

    /// Lends an empty buffer of [`limits::BUFFER_BULK_BYTES`].
    pub fn take_bulk(&self) -> Buffer {
        self.bulk.borrow_mut().pop().unwrap_or_else(|| Buffer::sized(limits::BUFFER_BULK_BYTES))
    }

    /// Lends an empty buffer of the size in [`limits::BUFFER_BIG`], unless too many are lent.
    pub fn take_big(&self) -> Option<Buffer> {
        let (size, lent_max) = BIG;
        let lent = Lent::one_of(&self.big_lent, lent_max)?;
        let mut buffer = self.big.borrow_mut().pop().unwrap_or_else(|| Buffer::sized(size));
        buffer.lent = Some(lent);
        Some(buffer)
    }

    /// How many small buffers are kept.
    #[cfg(test)]
    pub(crate) fn kept_len(&self) -> usize {
        self.small.borrow().len()
    }

    /// Takes a buffer back; what is in it is forgotten. Buffers of another size, or too many, are freed.
    pub fn put(&self, mut buffer: Buffer) {
        buffer.clear();
        buffer.lent = None;
        let (store, kept_max) = match buffer.bytes.len() {
            limits::BUFFER_BYTES => (&self.small, limits::BUFFERS_KEPT_MAX),
            limits::BUFFER_BULK_BYTES => (&self.bulk, BULK_KEPT_MAX),
            size if size == BIG.0 => (&self.big, BIG_KEPT_MAX),
            _ => return,
        };
        let mut store = store.borrow_mut();
        if store.len() < kept_max {
            store.push(buffer);
        }
    }
}

/// Bytes that were read and not yet consumed, in a block of fixed size. Bytes never move unless asked to, so ranges
/// into it hold while it is filled.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    lent: Option<Lent>,
}

/// One of a bounded number, until it is dropped.
struct Lent(Rc<Cell<usize>>);

impl Lent {
    fn one_of(count: &Rc<Cell<usize>>, max: usize) -> Option<Self> {
        if count.get() >= max {
            return None;
        }
        count.set(count.get() + 1);
        Some(Self(Rc::clone(count)))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Buffer {
    /// An empty buffer of `size` bytes.
    pub fn sized(size: usize) -> Self {
        Self { bytes: vec![0; size], start: 0, end: 0, lent: None }
    }

    /// What is in it.
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Every byte from the start of the block to the last one read, consumed or not.
    pub fn whole(&self) -> &[u8] {
        self.bytes.get(..self.end).unwrap_or_default()
    }

    /// Bytes consumed so far: where [`Buffer::unread`] begins in [`Buffer::whole`].
    pub const fn consumed(&self) -> usize {
        self.start
    }

    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether nothing more can be read into it.
    pub const fn is_full(&self) -> bool {
        self.end == self.bytes.len()
    }

    /// How many bytes can be read into it.
    pub const fn room(&self) -> usize {
        self.bytes.len() - self.end
    }

    /// Its size in bytes.
    pub const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Marks `count` bytes as done with.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Forgets everything.
    pub const fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves what is unread to the front.
    pub fn compact(&mut self) {
        self.compact_to(0);
    }

    /// Moves what is unread to `mark`, if it lies behind it, so that the room between is used again; what lies before
    /// `mark` stays.
    pub fn compact_to(&mut self, mark: usize) {
        if mark <= self.start {
            self.bytes.copy_within(self.start..self.end, mark);
            self.end -= self.start - mark;
            self.start = mark;
        }
    }

    /// Makes the block `size` bytes long, if it is shorter.
    pub fn grow(&mut self, size: usize) {
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
    }

    /// Appends as much of `bytes` as fits; returns how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let Some(free) = self.bytes.get_mut(self.end..) else { return 0 };
        let count = free.len().min(bytes.len());
        for (to, from) in free.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.end += count;
        count
    }

    /// Reads once into the free room; 0 is the end of the stream, or a full buffer.
    pub fn poll_fill<R: AsyncRead + Unpin>(
        &mut self,
        context: &mut Context<'_>,
        reader: &mut R,
    ) -> Poll<std::io::Result<usize>> {
        let Some(free) = self.bytes.get_mut(self.end..) else { return Poll::Ready(Ok(0)) };
        let mut room = ReadBuf::new(free);
        ready!(std::pin::Pin::new(reader).poll_read(context, &mut room))?;
        let count = room.filled().len();
        self.end += count;
        Poll::Ready(Ok(count))
    }
}

impl fmt::Debug for Buffer {
    // The bytes are somebody's traffic.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({}..{} of {})", self.start, self.end, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_lent_again_and_empty() {
        let store = Buffers::default();
        let mut buffer = store.take();
        buffer.append(b"secret");
        let address = buffer.bytes.as_ptr();
        store.put(buffer);

        let again = store.take();

        assert_eq!(again.bytes.as_ptr(), address);
        assert!(again.unread().is_empty());
    }

    #[test]
    fn a_worker_keeps_no_more_than_its_bound() {
        let store = Buffers::default();
        for _ in 0..limits::BUFFERS_KEPT_MAX + 10 {
            store.put(Buffer::sized(limits::BUFFER_BYTES));
        }
        assert_eq!(store.small.borrow().len(), limits::BUFFERS_KEPT_MAX);
    }

    #[test]
    fn big_buffers_are_lent_in_bounded_number_and_one_that_is_lost_counts_no_more() {
        let store = Buffers::default();
        let lent: Vec<Buffer> = std::iter::from_fn(|| store.take_big()).collect();
        assert_eq!(lent.len(), BIG.1);
        drop(lent);
        store.put(store.take_big().unwrap());
        assert_eq!((store.big.borrow().len(), store.big_lent.get()), (1, 0));
    }

    #[test]
    fn what_lies_before_the_mark_stays_where_it_is() {
        let mut buffer = Buffer::sized(8);
        buffer.append(b"headbody");
        buffer.consume(8);
        buffer.compact_to(4);
        assert_eq!(buffer.append(b"more"), 4);
        assert_eq!((buffer.whole(), buffer.unread()), (&b"headmore"[..], &b"more"[..]));
    }
}
