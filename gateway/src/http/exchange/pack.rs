//! A response compressed on its way: data in, chunks of gzip out.
//!
//! The encoder's state is lent by the worker, in bounded number; a response that finds none passes as it is. What waits in
//! the encoder is pushed out when the origin pauses.

use std::cell::{Cell, RefCell};
use std::io;
use std::task::{Context, Poll};

use config::limits;
use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::codec::{Body, Span};
use super::down::{bad, cut_short};
use super::{Down, Exchange, downstream_gone, poll_write};
use crate::fault::{Fault, Kind};

/// Half the work of zlib's default for nearly its result.
const LEVEL: u32 = 4;
/// Window of the encoder as a power of two: the largest that deflate knows.
const WINDOW_BITS: u8 = 15;
/// The size line of a chunk: four digits, CR LF.
const SIZE_LINE: usize = 6;
/// What may follow the data of a chunk: CR LF and the last chunk.
const TAIL: usize = 7;

/// A worker's encoders.
#[derive(Default)]
pub(in super::super) struct Packers {
    #[expect(clippy::vec_box, reason = "lent by handing the box over, not by copying what is in it")]
    kept: RefCell<Vec<Box<Packer>>>,
    lent: Cell<usize>,
}

impl Packers {
    pub(super) fn take(&self) -> Option<Pack<'_>> {
        let (at_once_max, _) = limits::GZIP_AT_ONCE;
        if self.lent.get() >= at_once_max {
            return None;
        }
        self.lent.set(self.lent.get() + 1);
        let packer = self.kept.borrow_mut().pop().unwrap_or_else(Packer::new);
        Some(Pack { packers: self, packer: Some(packer) })
    }

    fn put(&self, mut packer: Box<Packer>) {
        self.lent.set(self.lent.get().saturating_sub(1));
        let mut kept = self.kept.borrow_mut();
        if kept.len() < limits::GZIP_AT_ONCE.1 {
            packer.reset();
            kept.push(packer);
        }
    }
}

/// One encoder while a response passes through it.
pub(super) struct Pack<'a> {
    packers: &'a Packers,
    packer: Option<Box<Packer>>,
}

impl Drop for Pack<'_> {
    fn drop(&mut self) {
        if let Some(packer) = self.packer.take() {
            self.packers.put(packer);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Flushing,
    Finishing,
    Over,
}

/// An encoder and the chunk it made last.
struct Packer {
    encoder: Compress,
    chunk: Vec<u8>,
    start: usize,
    end: usize,
    stage: Stage,
    /// Whether something may wait in the encoder.
    holds: bool,
}

impl Packer {
    fn new() -> Box<Self> {
        Box::new(Self {
            encoder: Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS),
            chunk: vec![0; limits::BUFFER_BYTES],
            start: 0,
            end: 0,
            stage: Stage::Running,
            holds: false,
        })
    }

    fn reset(&mut self) {
        self.encoder.reset();
        (self.start, self.end, self.stage, self.holds) = (0, 0, Stage::Running, false);
    }

    fn unsent(&self) -> &[u8] {
        self.chunk.get(self.start..self.end).unwrap_or_default()
    }

    /// Feeds `input`, as its stage says; returns how much of it was taken. What comes out is a chunk.
    fn feed(&mut self, input: &[u8]) -> io::Result<usize> {
        let flush = match self.stage {
            Stage::Running => FlushCompress::None,
            Stage::Flushing => FlushCompress::Sync,
            Stage::Finishing | Stage::Over => FlushCompress::Finish,
        };
        let data_end = self.chunk.len() - TAIL;
        let room = self.chunk.get_mut(SIZE_LINE..data_end).unwrap_or_default();
        let room_len = room.len();
        let (taken, made) = (self.encoder.total_in(), self.encoder.total_out());
        let status = self.encoder.compress(input, room, flush).map_err(io::Error::other)?;
        let taken = usize::try_from(self.encoder.total_in() - taken).unwrap_or(input.len());
        let made = usize::try_from(self.encoder.total_out() - made).unwrap_or(room_len);
        self.holds = self.stage == Stage::Running && (self.holds || taken > 0);
        match self.stage {
            Stage::Flushing if made < room_len => self.stage = Stage::Running,
            Stage::Finishing if status == flate2::Status::StreamEnd => self.stage = Stage::Over,
            Stage::Running | Stage::Flushing | Stage::Finishing | Stage::Over => {}
        }
        self.frame(made);
        Ok(taken)
    }

    /// Makes a chunk of the first `made` bytes behind the size line; the last chunk follows where all is over.
    fn frame(&mut self, made: usize) {
        (self.start, self.end) = (0, 0);
        if made > 0 {
            let digits = [made >> 12, made >> 8, made >> 4, made].map(|digit| HEX.get(digit & 15).copied());
            let zeros = digits.iter().take_while(|digit| **digit == Some(b'0')).count();
            let line = digits.into_iter().flatten().chain(*b"\r\n");
            for (to, from) in self.chunk.iter_mut().zip(line) {
                *to = from;
            }
            self.start = zeros;
            self.end = SIZE_LINE + made;
            self.push(b"\r\n");
        }
        if self.stage == Stage::Over {
            self.push(b"0\r\n\r\n");
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        for (to, from) in self.chunk.iter_mut().skip(self.end).zip(bytes) {
            *to = *from;
        }
        self.end += bytes.len();
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const _: () = assert!(limits::BUFFER_BYTES < 1 << 16, "a chunk's size has four digits");

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Exchange<'_, IO> {
    /// One step of a body that is compressed.
    pub(super) fn poll_down_packed(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let Some(mut pack) = self.pack.take() else { return Ok(Poll::Ready(())) };
        let Some(packer) = &mut pack.packer else { return Ok(Poll::Ready(())) };
        let step = self.packed(context, packer);
        if self.down == Down::Body {
            self.pack = Some(pack);
        }
        step
    }

    fn packed(&mut self, context: &mut Context<'_>, packer: &mut Packer) -> Result<Poll<()>, Fault> {
        if !packer.unsent().is_empty() {
            return self.send_packed(context, packer);
        }
        match packer.stage {
            Stage::Over => self.down = Down::Flush,
            Stage::Flushing | Stage::Finishing => drop(packer.feed(&[]).map_err(broken)?),
            Stage::Running if self.pass > 0 => {
                let data = self.from_upstream.unread().get(..self.pass).unwrap_or_default();
                let taken = packer.feed(data).map_err(broken)?;
                self.from_upstream.consume(taken);
                self.pass -= taken;
            }
            Stage::Running => match self.body.next(self.from_upstream.unread()).map_err(bad)? {
                Span::Pass(count) => self.pass = count,
                Span::Drop(count) => self.from_upstream.consume(count),
                Span::Done => packer.stage = Stage::Finishing,
                Span::More => return self.fill_packer(context, packer),
            },
        }
        Ok(Poll::Ready(()))
    }

    fn send_packed(&mut self, context: &mut Context<'_>, packer: &mut Packer) -> Result<Poll<()>, Fault> {
        match poll_write(context, &mut self.link.io, packer.unsent()) {
            Poll::Pending => {
                self.waits_for_reader = true;
                Ok(Poll::Pending)
            }
            Poll::Ready(Err(cause)) => Err(downstream_gone(cause)),
            Poll::Ready(Ok(count)) => {
                packer.start += count;
                self.tally.bytes_down += count as u64;
                Ok(Poll::Ready(()))
            }
        }
    }

    fn fill_packer(&mut self, context: &mut Context<'_>, packer: &mut Packer) -> Result<Poll<()>, Fault> {
        let is_long = self.body.is_long(limits::BUFFER_BYTES);
        match self.from_upstream.poll_body(context, self.upstream, &self.worker.buffers, is_long) {
            Poll::Pending if packer.holds => packer.stage = Stage::Flushing,
            Poll::Pending => {
                self.flush(context)?;
                return Ok(Poll::Pending);
            }
            Poll::Ready(Ok(0)) if self.body == Body::UntilClose => packer.stage = Stage::Finishing,
            Poll::Ready(Ok(0)) => return Err(cut_short(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(cause)) => return Err(cut_short(cause)),
        }
        Ok(Poll::Ready(()))
    }
}

fn broken(cause: io::Error) -> Fault {
    Fault { cause: Some(cause.into()), ..Fault::internal(Kind::Overloaded) }
}

#[cfg(test)]
mod tests {
    use super::super::super::codec::Dialect;
    use super::*;

    #[test]
    fn encoders_are_lent_in_bounded_number_and_come_back_empty() {
        let packers = Packers::default();
        let lent: Vec<_> = std::iter::from_fn(|| packers.take()).collect();
        assert_eq!(lent.len(), limits::GZIP_AT_ONCE.0);
        drop(lent);
        assert_eq!((packers.lent.get(), packers.kept.borrow().len()), (0, limits::GZIP_AT_ONCE.1));
    }

    proptest::proptest! {
        #[test]
        fn what_comes_out_is_what_went_in_however_it_was_cut(
            pieces in proptest::collection::vec((proptest::collection::vec(0_u8..4, 0..40_000), 0..3_u8), 0..5)
        ) {
            let mut packer = Packer::new();
            let mut chunks = Vec::new();
            let mut step = |packer: &mut Packer, input: &[u8]| {
                let taken = packer.feed(input).unwrap();
                chunks.extend_from_slice(packer.unsent());
                taken
            };
            for (piece, pause) in &pieces {
                let mut rest = piece.as_slice();
                while !rest.is_empty() {
                    rest = &rest[step(&mut packer, rest)..];
                }
                if *pause == 0 {
                    packer.stage = Stage::Flushing;
                    while packer.stage == Stage::Flushing {
                        step(&mut packer, &[]);
                    }
                }
            }
            packer.stage = Stage::Finishing;
            while packer.stage == Stage::Finishing {
                step(&mut packer, &[]);
            }

            let mut body = Body::chunked(Dialect::Data);
            let (mut rest, mut packed) = (chunks.as_slice(), Vec::new());
            loop {
                let count = match body.next(rest).unwrap() {
                    Span::Pass(count) => {
                        packed.extend_from_slice(&rest[..count]);
                        count
                    }
                    Span::Drop(count) => count,
                    Span::Done => break,
                    Span::More => panic!("no end"),
                };
                rest = &rest[count..];
            }
            let mut unpacked = Vec::new();
            io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.as_slice()), &mut unpacked).unwrap();
            proptest::prop_assert!(unpacked == pieces.iter().flat_map(|(piece, _)| piece.clone()).collect::<Vec<_>>());
            proptest::prop_assert!(rest.is_empty());
        }
    }
}
