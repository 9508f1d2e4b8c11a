//! A ring of bytes between one thread that records and one that writes: no lock, no waiting, no allocation.
//!
//! Made of atomic words, so that no unsafe code is needed: on the machines we run on their stores are plain stores.

use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

/// One sender's ring. One thread sends and one receives at a time; with more of either, records come out broken, and
/// nothing worse.
#[derive(Debug)]
pub(super) struct Ring {
    words: Box<[AtomicU64]>,
    /// Words sent so far; the sender's.
    sent: Apart,
    /// Words taken so far; the receiver's.
    taken: Apart,
}

/// Alone on its cache line: each is written by one thread and read by the other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(AtomicUsize);

impl Ring {
    /// A ring with room for `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(8).next_power_of_two();
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            sent: Apart::default(),
            taken: Apart::default(),
        }
    }

    /// Puts a record in. `false`: there is no room.
    pub(super) fn send(&self, record: &[u8]) -> bool {
        let sent = self.sent.0.load(Relaxed);
        let used = sent.wrapping_sub(self.taken.0.load(Acquire));
        let (whole, rest) = record.as_chunks::<8>();
        let count = 1 + whole.len() + usize::from(!rest.is_empty());
        if self.words.len().saturating_sub(used) < count {
            return false;
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        let length = (record.len() as u64).to_le_bytes();
        let values = std::iter::once(&length).chain(whole).chain(std::iter::once(&last)).take(count);
        for (cell, value) in self.from(sent).zip(values) {
            cell.store(u64::from_le_bytes(*value), Relaxed);
        }
        // Sequentially consistent: what is sent before the receiver is seen asleep is seen by it before it sleeps.
        self.sent.0.store(sent.wrapping_add(count), SeqCst);
        true
    }

    /// Takes the oldest record out, into `record`. `false`: there is none.
    pub(super) fn take(&self, record: &mut Vec<u8>) -> bool {
        record.clear();
        let taken = self.taken.0.load(Relaxed);
        let waiting = self.sent.0.load(SeqCst).wrapping_sub(taken);
        if waiting == 0 {
            return false;
        }
        let mut cells = self.from(taken);
        let length = cells.next().map_or(0, |cell| cell.load(Relaxed));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let count = length.div_ceil(8);
        for cell in cells.take(count.min(waiting - 1)) {
            record.extend_from_slice(&cell.load(Relaxed).to_le_bytes());
        }
        record.truncate(length);
        self.taken.0.store(taken.wrapping_add(1 + count.min(waiting - 1)), Release);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.0.load(SeqCst) == self.taken.0.load(Relaxed)
    }

    /// Whether it is time to empty it, to whoever sends.
    pub(super) fn is_half_full(&self) -> bool {
        self.sent.0.load(Relaxed).wrapping_sub(self.taken.0.load(Relaxed)) > self.words.len() / 2
    }

    fn from(&self, position: usize) -> impl Iterator<Item = &AtomicU64> {
        let at = position & (self.words.len() - 1);
        let (before, after) = self.words.split_at_checked(at).unwrap_or_default();
        after.iter().chain(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_whole_and_in_order_across_the_end_of_the_ring() {
        let ring = Ring::new(128);
        let mut record = Vec::new();
        for round in 0..100_u8 {
            let bytes: Vec<u8> = (0..round % 50).map(|n| n ^ round).collect();
            assert!(ring.send(&bytes) && ring.send(b"second"));
            assert!(ring.take(&mut record) && record == bytes, "{round}");
            assert!(ring.take(&mut record) && record == b"second");
            assert!(!ring.take(&mut record) && ring.is_empty());
        }
    }

    #[test]
    fn a_full_ring_refuses_and_what_is_in_it_stays() {
        let ring = Ring::new(64);
        assert!(ring.send(&[1; 24]) && ring.send(&[2; 24]));
        assert!(!ring.send(b"more") && ring.is_half_full());
        let mut record = Vec::new();
        assert!(ring.take(&mut record) && record == [1; 24]);
        assert!(ring.send(b"more"));
        assert!(ring.take(&mut record) && record == [2; 24]);
        assert!(ring.take(&mut record) && record == b"more");
    }

    #[test]
    fn two_threads_pass_every_record_that_had_room() {
        let ring = Ring::new(4096);
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut sent = 0_u64;
                for number in 0..20_000_u64 {
                    let record = number.to_le_bytes().repeat(1 + (number % 7) as usize);
                    while !ring.send(&record) {
                        std::thread::yield_now();
                    }
                    sent += 1;
                }
                sent
            });
            let mut record = Vec::new();
            let mut number = 0_u64;
            while number < 20_000 {
                if ring.take(&mut record) {
                    assert_eq!(record, number.to_le_bytes().repeat(1 + (number % 7) as usize));
                    number += 1;
                } else {
                    std::thread::yield_now();
                }
            }
            assert_eq!(sender.join().unwrap(), number);
        });
    }
}
