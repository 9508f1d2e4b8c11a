//! The chunked form that the exchange writes, taken apart: HTTP/2 frames its bodies itself.
//!
//! What comes here was checked by the codec already. This reader is strict all the same, so that a mistake of ours ends
//! a stream and nothing else.

use std::io;

use config::limits;

use super::bad;

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// These many frame the data.
    Frame(usize),
    /// These many are data; [`Chunks::took`] says how many of them are done with.
    Data(usize),
    /// These many are the last of the message; [`Chunks::trailers`] is complete.
    End(usize),
    /// More bytes are needed.
    More,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    #[default]
    Size,
    Extension,
    Data,
    DataEnd,
    Trailers,
    Done,
}

/// Reader of one chunked body.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    at: At,
    left: u64,
    trailers: Vec<u8>,
}

/// The end of a last chunk and of a message without trailers.
pub(crate) const PLAIN_END: &[u8] = b"\r\n0\r\n\r\n";

impl Chunks {
    /// Looks at what follows the bytes of earlier parts.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> io::Result<Part> {
        if bytes.is_empty() {
            return Ok(Part::More);
        }
        match self.at {
            At::Data => Ok(Part::Data(usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len()))),
            At::Size | At::Extension | At::DataEnd => self.frame(bytes).map(Part::Frame),
            At::Trailers => self.trailer_bytes(bytes),
            At::Done => Err(bad("bytes follow the last chunk")),
        }
    }

    /// Whether `count` bytes are all that is left of the chunk.
    pub(crate) const fn is_rest(&self, count: usize) -> bool {
        self.left == count as u64
    }

    /// Says that data was used.
    pub(crate) const fn took(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64);
        if self.left == 0 {
            self.at = At::DataEnd;
        }
    }

    /// Says that [`PLAIN_END`] was seen and used.
    pub(crate) const fn took_end(&mut self) {
        self.at = At::Done;
    }

    /// The lines of the trailer section, each with its end.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.trailers.strip_suffix(b"\r\n").unwrap_or_default()
    }

    fn frame(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match (self.at, byte) {
                (At::Size, b'\r') | (At::Extension | At::DataEnd, b'\r') => {}
                (At::Size | At::Extension, b'\n') => {
                    self.at = if self.left == 0 { At::Trailers } else { At::Data };
                    return Ok(at + 1);
                }
                (At::DataEnd, b'\n') => {
                    self.at = At::Size;
                    self.left = 0;
                }
                (At::Size, b';') => self.at = At::Extension,
                (At::Extension, _) => {}
                (At::Size, byte) => {
                    let digit = (*byte as char).to_digit(16).ok_or_else(|| bad("a chunk size is odd"))?;
                    self.left = self.left.checked_mul(16).ok_or_else(|| bad("a chunk is too large"))?;
                    self.left += u64::from(digit);
                }
                (At::Data | At::DataEnd | At::Trailers | At::Done, _) => {
                    return Err(bad("a chunk does not end where it should"));
                }
            }
        }
        Ok(bytes.len())
    }

    fn trailer_bytes(&mut self, bytes: &[u8]) -> io::Result<Part> {
        for (at, byte) in bytes.iter().enumerate() {
            self.trailers.push(*byte);
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.at = At::Done;
                return Ok(Part::End(at + 1));
            }
        }
        if self.trailers.len() > limits::TRAILER_BYTES_MAX + 4 {
            return Err(bad("the trailer section is too large"));
        }
        Ok(Part::Frame(bytes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> io::Result<(Vec<u8>, Vec<u8>, bool)> {
        let (mut chunks, mut data, mut is_over) = (Chunks::default(), Vec::new(), false);
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match chunks.next(rest)? {
                    Part::Frame(count) => rest = &rest[count..],
                    Part::Data(count) => {
                        data.extend_from_slice(&rest[..count]);
                        chunks.took(count);
                        rest = &rest[count..];
                    }
                    Part::End(count) => {
                        is_over = true;
                        rest = &rest[count..];
                    }
                    Part::More => break,
                }
            }
        }
        Ok((data, chunks.trailers().to_vec(), is_over))
    }

    #[test]
    fn data_and_trailers_are_the_same_however_the_bytes_are_cut() {
        let whole =
            b"5\r\nhello\r\n1a;x=y\r\n, this is a longer chunk..\r\n0\r\nA: b\r\nGrpc-Status: 0\r\n\r\n";
        let expected = read(&[whole]).unwrap();
        assert_eq!(expected.0, b"hello, this is a longer chunk..");
        assert_eq!(expected.1, b"A: b\r\nGrpc-Status: 0\r\n");
        assert!(expected.2);
        for cut in 1..whole.len() {
            assert_eq!(read(&[&whole[..cut], &whole[cut..]]).unwrap(), expected, "{cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for odd in [&b"x\r\n"[..], b"5\r\nhello!", b"0\r\n\r\nmore", b"fffffffffffffffff0\r\n"] {
            assert!(read(&[odd]).is_err(), "{odd:?}");
        }
    }
}
