//! Where a body ends, and which of its bytes pass on.

use config::limits;

use super::head::split_field;
use super::{Broken, trailer};
use crate::fault::Kind;

/// What to do with the next bytes of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// These many pass on.
    Pass(usize),
    /// These many are dropped.
    Drop(usize),
    /// More bytes are needed. What is there stays: a trailer field is judged whole.
    More,
    /// The body is over; what follows is not part of it.
    Done,
}

/// In which form a chunked body passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// As chunks with the trailer fields that may pass, without extensions.
    Chunks,
    /// As its data alone: for a peer that knows no chunks.
    Data,
}

/// Decoder of one body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Body {
    /// There is none.
    #[default]
    Empty,
    /// This many bytes are still to come.
    Length(u64),
    /// Chunks (RFC 9112 § 7.1).
    Chunked(Chunked),
    /// Until the connection ends; responses only.
    UntilClose,
}

impl Body {
    /// A chunked body.
    pub const fn chunked(dialect: Dialect) -> Self {
        Self::Chunked(Chunked {
            dialect,
            at: At::Size { digits: 0 },
            size: 0,
            counted: 0,
            fields: 0,
            room: u64::MAX,
        })
    }

    /// A body of `length` bytes.
    pub const fn of_length(length: u64) -> Self {
        if length == 0 { Self::Empty } else { Self::Length(length) }
    }

    /// Refuses more than `bytes` of data. A chunk that goes beyond is refused at its size, before any of it passes.
    pub const fn bound(&mut self, bytes: u64) {
        if let Self::Chunked(chunked) = self {
            chunked.room = bytes;
        }
    }

    /// Whether it has no bytes at all, or none any more.
    pub const fn is_done(&self) -> bool {
        match self {
            Self::Empty | Self::Length(0) => true,
            Self::Chunked(chunked) => matches!(chunked.at, At::End),
            Self::Length(_) | Self::UntilClose => false,
        }
    }

    /// Whether at least `bytes` more are known or likely to come.
    pub const fn is_long(&self, bytes: usize) -> bool {
        match self {
            Self::Empty => false,
            Self::Length(left) => *left > bytes as u64,
            Self::Chunked(chunked) => chunked.size > bytes as u64,
            Self::UntilClose => true,
        }
    }

    /// The bytes still to come, where nothing but their number says where the body ends.
    pub const fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Empty | Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Notes that `count` bytes passed without being looked at; at most what [`Body::left`] says.
    pub const fn passed(&mut self, count: u64) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(count);
        }
    }

    /// Reads on: `input` is what follows what earlier spans named. Each byte is looked at once.
    pub fn next(&mut self, input: &[u8]) -> Result<Span, Broken> {
        match self {
            Self::Empty | Self::Length(0) => Ok(Span::Done),
            Self::Length(_) | Self::UntilClose if input.is_empty() => Ok(Span::More),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= count as u64;
                Ok(Span::Pass(count))
            }
            Self::UntilClose => Ok(Span::Pass(input.len())),
            Self::Chunked(chunked) => chunked.next(input),
        }
    }
}

/// Decoder of a chunked body: strict, so that no two readers can see different bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunked {
    dialect: Dialect,
    at: At,
    /// Of the chunk: its size while it is read, then the bytes still to come.
    size: u64,
    /// Bytes of the current size line, or of the trailer section.
    counted: usize,
    /// Fields of the trailer section.
    fields: usize,
    /// Bytes of data that chunks may still have.
    room: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size { digits: u8 },
    Extension,
    SizeEnd,
    Data,
    DataCr,
    DataLf,
    Trailer,
    FinalLf,
    End,
}

/// What one step is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Frame,
    Data,
    Dropped,
}

impl Chunked {
    /// In which form it passes on.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn next(&mut self, input: &[u8]) -> Result<Span, Broken> {
        let mut count = 0;
        let mut passing = None;
        while let Some(rest) = input.get(count..).filter(|rest| !rest.is_empty()) {
            if self.at == At::End {
                break;
            }
            let before = self.clone();
            let (part, step) = match self.step(rest) {
                Ok(Some(step)) => step,
                Ok(None) => break,
                // First what is right, then the verdict: the same however the stream is cut.
                Err(_) if count > 0 => {
                    *self = before;
                    break;
                }
                Err(broken) => return Err(broken),
            };
            let passes = match part {
                Part::Data => true,
                Part::Frame => self.dialect == Dialect::Chunks,
                Part::Dropped => false,
            };
            if *passing.get_or_insert(passes) != passes {
                *self = before;
                break;
            }
            count += step;
        }
        Ok(match passing {
            Some(true) => Span::Pass(count),
            Some(false) => Span::Drop(count),
            None if self.at == At::End => Span::Done,
            None => Span::More,
        })
    }

    /// One byte, a run of data, or a trailer field; `None` where the field is not whole. `rest` is not empty.
    fn step(&mut self, rest: &[u8]) -> Result<Option<(Part, usize)>, Broken> {
        let byte = rest.first().copied().unwrap_or_default();
        if self.at == At::Data {
            let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
            self.size -= count as u64;
            if self.size == 0 {
                self.at = At::DataCr;
            }
            return Ok(Some((Part::Data, count)));
        }
        let part = match self.at {
            At::Size { digits } => self.size_byte(byte, digits)?,
            At::Extension => self.extension_byte(byte)?,
            At::SizeEnd => {
                expect(byte, b'\n', "a chunk size is not followed by CR LF")?;
                self.room = self.room.checked_sub(self.size).ok_or(Broken {
                    kind: Kind::BodyTooLarge,
                    rule: "the body is larger than the route takes",
                })?;
                self.counted = 0;
                self.at = if self.size == 0 { At::Trailer } else { At::Data };
                Part::Frame
            }
            At::DataCr => {
                expect(byte, b'\r', "chunk data is not followed by CR LF")?;
                self.at = At::DataLf;
                Part::Frame
            }
            At::DataLf => {
                expect(byte, b'\n', "chunk data is not followed by CR LF")?;
                self.at = At::Size { digits: 0 };
                Part::Frame
            }
            At::Trailer if byte == b'\r' => {
                self.at = At::FinalLf;
                Part::Frame
            }
            At::Trailer => return self.trailer(rest),
            At::FinalLf => {
                expect(byte, b'\n', "the last chunk is not followed by an empty line")?;
                self.at = At::End;
                Part::Frame
            }
            At::Data | At::End => Part::Dropped,
        };
        Ok(Some((part, 1)))
    }

    fn size_byte(&mut self, byte: u8, digits: u8) -> Result<Part, Broken> {
        if let Some(digit) = (byte as char).to_digit(16) {
            // 15 digits are more than any body and cannot overflow; leading zeros count.
            if digits == 15 {
                return Err(Broken::bad("a chunk size has too many digits"));
            }
            self.size = (if digits == 0 { 0 } else { self.size << 4 }) | u64::from(digit);
            self.at = At::Size { digits: digits + 1 };
            return Ok(Part::Frame);
        }
        if digits == 0 {
            return Err(Broken::bad("a chunk size does not begin with a hexadecimal digit"));
        }
        match byte {
            b'\r' => {
                self.at = At::SizeEnd;
                Ok(Part::Frame)
            }
            b';' => {
                self.at = At::Extension;
                self.counted = 0;
                Ok(Part::Dropped)
            }
            _ => Err(Broken::bad("a chunk size is not hexadecimal")),
        }
    }

    fn extension_byte(&mut self, byte: u8) -> Result<Part, Broken> {
        self.counted += 1;
        match byte {
            b'\r' => {
                self.at = At::SizeEnd;
                Ok(Part::Frame)
            }
            _ if self.counted >= limits::CHUNK_LINE_BYTES_MAX => {
                Err(Broken::bad("a chunk extension is too long"))
            }
            b'\t' | 0x20..=0x7e => Ok(Part::Dropped),
            _ => Err(Broken::bad("a chunk extension is out of grammar")),
        }
    }

    /// One field of the trailer section, as strict as a field of a head.
    fn trailer(&mut self, rest: &[u8]) -> Result<Option<(Part, usize)>, Broken> {
        let newline = memchr::memchr(b'\n', rest);
        let len = newline.map_or(rest.len(), |at| at + 1);
        if self.counted + len > limits::TRAILER_BYTES_MAX {
            return Err(Broken::bad("the trailer section is too large"));
        }
        let Some(line) = newline.and_then(|at| rest.get(..at)) else { return Ok(None) };
        let Some((b'\r', line)) = line.split_last() else {
            return Err(Broken::bad("a trailer field ends with a bare line feed"));
        };
        let (name, _) = split_field(line)?;
        self.counted += len;
        self.fields += 1;
        if self.fields > limits::FIELDS_MAX {
            return Err(Broken::bad("there are too many trailer fields"));
        }
        let part = if trailer::passes(name) { Part::Frame } else { Part::Dropped };
        Ok(Some((part, len)))
    }
}

fn expect(byte: u8, wanted: u8, rule: &'static str) -> Result<(), Broken> {
    if byte == wanted { Ok(()) } else { Err(Broken::bad(rule)) }
}
