//! A request or response head as ranges into the bytes it came in.

use config::limits;
use config::table::Fields;

use super::{Broken, Known, all_graphic, all_text, all_token, token};
use crate::fault::Kind;

/// Longest method in bytes; the longest registered one has 17 (IANA, UPDATEREDIRECTREF).
const METHOD_BYTES_MAX: usize = 32;
/// Longest request line: method, two blanks, target, version, line end.
const REQUEST_LINE_BYTES_MAX: usize = METHOD_BYTES_MAX + limits::TARGET_BYTES_MAX + 12;

/// A range of bytes, counted from the first byte of the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Piece {
    start: u32,
    end: u32,
}

impl Piece {
    // A head is at most 64 KiB, so positions fit.
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The bytes it stands for; `head` is what the head was parsed from.
    pub fn of(self, head: &[u8]) -> &[u8] {
        head.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Where it begins.
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// Where it ends.
    pub const fn end(self) -> usize {
        self.end as usize
    }
}

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Which it is.
    pub known: Known,
    /// Whether it passes on; the door and [`super::super::headers`] decide.
    pub keep: bool,
    /// Its name as it came.
    pub name: Piece,
    /// Its value without surrounding blanks.
    pub value: Piece,
    /// The whole line with its end.
    pub line: Piece,
}

/// The protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

/// How far a head is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    Partial,
    /// The head is complete and this many bytes long.
    Complete(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    First,
    Fields,
    Done,
}

/// A request or response head. Reused: [`Head::reset`] keeps its room.
#[derive(Debug, Default)]
pub struct Head {
    phase: Phase,
    line_start: usize,
    scanned: usize,
    len: usize,
    fields: Vec<Field>,
    /// The method of a request.
    pub method: Piece,
    /// The target of a request as it came.
    pub target: Piece,
    /// The reason phrase of a response; may be empty.
    pub reason: Piece,
    /// The status of a response.
    pub status: u16,
    /// The version.
    pub version: Version,
}

/// Which first line is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Request,
    Response,
}

impl Head {
    /// Forgets the head and keeps the room.
    pub fn reset(&mut self) {
        let fields = std::mem::take(&mut self.fields);
        *self = Self { fields, ..Self::default() };
        self.fields.clear();
    }

    /// Reads on. `bytes` begins with the first byte of the head on every call and only grows.
    pub fn parse_request(&mut self, bytes: &[u8]) -> Result<Progress, Broken> {
        self.parse(bytes, Sort::Request)
    }

    /// Like [`Head::parse_request`] for a response.
    pub fn parse_response(&mut self, bytes: &[u8]) -> Result<Progress, Broken> {
        self.parse(bytes, Sort::Response)
    }

    /// The fields in the order they came.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The fields, to decide which are kept.
    pub fn fields_mut(&mut self) -> &mut [Field] {
        &mut self.fields
    }

    /// The fields of one kind.
    pub fn all(&self, known: Known) -> impl DoubleEndedIterator<Item = &Field> + Clone {
        self.fields.iter().filter(move |field| field.known == known)
    }

    /// Length of a complete head in bytes, its final empty line included.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing of a head has been read.
    pub const fn is_empty(&self) -> bool {
        self.scanned == 0
    }

    fn parse(&mut self, bytes: &[u8], sort: Sort) -> Result<Progress, Broken> {
        while self.phase != Phase::Done {
            let rest = bytes.get(self.scanned..).unwrap_or_default();
            let Some(newline) = memchr::memchr(b'\n', rest).map(|at| self.scanned + at) else {
                self.scanned = bytes.len();
                self.bounded(bytes.len(), sort)?;
                return Ok(Progress::Partial);
            };
            self.bounded(newline, sort)?;
            self.line(bytes, newline, sort)?;
            self.scanned = newline + 1;
            self.line_start = newline + 1;
        }
        Ok(Progress::Complete(self.len))
    }

    // The same verdict however the bytes are cut: it depends on where the line ends, or that it cannot end in time.
    fn bounded(&self, line_end: usize, sort: Sort) -> Result<(), Broken> {
        if self.phase == Phase::First
            && sort == Sort::Request
            && line_end - self.line_start >= REQUEST_LINE_BYTES_MAX
        {
            return Err(Broken { kind: Kind::TargetTooLong, rule: "the request line is too long" });
        }
        if line_end >= limits::HEAD_BYTES_MAX {
            return Err(Broken { kind: Kind::HeadTooLarge, rule: "the header section is too large" });
        }
        Ok(())
    }

    fn line(&mut self, bytes: &[u8], newline: usize, sort: Sort) -> Result<(), Broken> {
        let line = bytes.get(self.line_start..newline).unwrap_or_default();
        let Some((b'\r', line)) = line.split_last() else {
            return Err(Broken::bad("a line ends with a bare line feed"));
        };
        match self.phase {
            // RFC 9112 § 2.2: one empty line before a request is left over from an old client's body.
            Phase::First if line.is_empty() && sort == Sort::Request && self.line_start == 0 => {}
            Phase::First => {
                match sort {
                    Sort::Request => self.request_line(line)?,
                    Sort::Response => self.status_line(line)?,
                }
                self.phase = Phase::Fields;
            }
            Phase::Fields if line.is_empty() => {
                self.len = newline + 1;
                self.phase = Phase::Done;
            }
            Phase::Fields => self.field_line(line)?,
            Phase::Done => {}
        }
        Ok(())
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Broken> {
        let words = split_blank(line).and_then(|(method, rest)| {
            let (target, version) = split_blank(rest)?;
            (!version.contains(&b' ')).then_some((method, target, version))
        });
        let (method, target, version) =
            words.ok_or(Broken::bad("the request line is not method, target and version"))?;
        if !all_token(method) {
            return Err(Broken::bad("the method is not a token"));
        }
        if method.len() > METHOD_BYTES_MAX {
            return Err(Broken { kind: Kind::NotImplemented, rule: "the method is too long" });
        }
        if target.is_empty() || !all_graphic(target) {
            return Err(Broken::bad("the target has a byte that no target may"));
        }
        if target.len() > limits::TARGET_BYTES_MAX {
            return Err(Broken { kind: Kind::TargetTooLong, rule: "the target is too long" });
        }
        self.version = parse_version(version)?;
        let at = self.line_start;
        self.method = Piece::new(at, at + method.len());
        self.target = Piece::new(at + method.len() + 1, at + method.len() + 1 + target.len());
        Ok(())
    }

    fn status_line(&mut self, line: &[u8]) -> Result<(), Broken> {
        let (version, rest) = line.split_at_checked(8).ok_or(Broken::bad("the status line is too short"))?;
        self.version = parse_version(version)?;
        let [b' ', hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', reason @ ..] = rest else {
            return Err(Broken::bad("the status is not three digits"));
        };
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] if all_text(reason) => reason,
            _ => return Err(Broken::bad("the reason phrase is out of grammar")),
        };
        self.status = u16::from(hundreds - b'0') * 100 + u16::from(tens - b'0') * 10 + u16::from(ones - b'0');
        let end = self.line_start + line.len();
        self.reason = Piece::new(end - reason.len(), end);
        Ok(())
    }

    fn field_line(&mut self, line: &[u8]) -> Result<(), Broken> {
        if self.fields.len() == limits::FIELDS_MAX {
            return Err(Broken { kind: Kind::HeadTooLarge, rule: "there are too many fields" });
        }
        let Parts { name, value, has_underscore } = parts(line)?;
        let colon = name.len();
        let at = self.line_start;
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let lead = value.iter().take_while(|byte| is_blank(byte)).count();
        let tail = value.iter().skip(lead).rev().take_while(|byte| is_blank(byte)).count();
        self.fields.push(Field {
            known: if has_underscore { Known::of_underscored(name) } else { Known::of_dashed(name) },
            keep: true,
            name: Piece::new(at, at + colon),
            value: Piece::new(at + colon + 1 + lead, at + line.len() - tail),
            line: Piece::new(at, at + line.len() + 2),
        });
        Ok(())
    }
}

/// The two sides of the first blank.
fn split_blank(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, from) = line.split_at_checked(memchr::memchr(b' ', line)?)?;
    Some((before, from.get(1..)?))
}

/// Name and value of a field line without its end, the value with the blanks around it (RFC 9112 § 5).
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    parts(line).map(|parts| (parts.name, parts.value))
}

struct Parts<'a> {
    name: &'a [u8],
    value: &'a [u8],
    has_underscore: bool,
}

/// One pass over the name finds its end, its faults and what [`Known`] has to know.
fn parts(line: &[u8]) -> Result<Parts<'_>, Broken> {
    let (len, has_underscore) = token(line);
    let Some((name, [b':', value @ ..])) = line.split_at_checked(len) else {
        return Err(match line.first() {
            Some(b' ' | b'\t') => Broken::bad("a field is folded over several lines"),
            _ if !line.contains(&b':') => Broken::bad("a field has no colon"),
            _ => Broken::bad("a field name is not a token"),
        });
    };
    if name.is_empty() {
        return Err(Broken::bad("a field name is not a token"));
    }
    if !all_text(value) {
        return Err(Broken::bad("a field value has a control character"));
    }
    Ok(Parts { name, value, has_underscore })
}

fn parse_version(bytes: &[u8]) -> Result<Version, Broken> {
    match bytes {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Broken { kind: Kind::VersionNotSupported, rule: "the version is neither 1.0 nor 1.1" })
        }
        _ => Err(Broken::bad("the version is out of grammar")),
    }
}

/// A head together with its bytes: what route matchers look at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The head.
    pub head: &'a Head,
    /// What it was parsed from.
    pub bytes: &'a [u8],
}

impl Fields for View<'_> {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.head
            .fields
            .iter()
            .find(|field| field.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(|field| field.value.of(self.bytes))
    }

    fn any(&self, name: &str, fits: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.head.fields.iter().any(|field| {
            field.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes())
                && fits(field.value.of(self.bytes))
        })
    }
}
