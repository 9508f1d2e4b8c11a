//! The header of the PROXY protocol, versions 1 and 2, read strictly. Pure: bytes in, who asks out.
//!
//! Format: "The PROXY protocol, versions 1 & 2" (HAProxy, 2020/03/05), sections 2.1 and 2.2. What the text leaves open
//! is refused: a bare LF, two spaces, a leading zero, an address that does not fit its family, a length that does not
//! fit its contents.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::limits;

/// What begins a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const FIXED: usize = 16;
/// What begins a header of version 1.
const WORD: &[u8; 6] = b"PROXY ";

/// How far a header has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All bytes so far belong to the header, and more are to come.
    Partial,
    /// The header is the first `len` bytes.
    Complete {
        /// Its length.
        len: usize,
        /// Who asks. `None` where the proxy speaks for itself (`LOCAL`, such as a health check) or does not know
        /// (`UNKNOWN`, `UNSPEC`, a unix socket): then it is who connected.
        source: Option<SocketAddr>,
    },
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Broken {
    #[error("the connection does not begin with a PROXY protocol header")]
    Absent,
    #[error("the PROXY protocol header is longer than it may be")]
    TooLong,
    #[error("the line of the PROXY protocol is malformed")]
    Line,
    #[error("the PROXY protocol's version, command, family or transport is not supported")]
    Unsupported,
    #[error("the length in the PROXY protocol header does not fit its contents")]
    Length,
}

/// Reads a header at the beginning of `bytes`. Allocates nothing.
///
/// Errors: bytes that can become no header, whatever follows.
pub fn parse(bytes: &[u8]) -> Result<Progress, Broken> {
    if begins(bytes, SIGNATURE) {
        parse_v2(bytes)
    } else if begins(bytes, WORD) {
        parse_v1(bytes)
    } else {
        Err(Broken::Absent)
    }
}

/// Whether `bytes` begin with `word`, as far as they have come.
fn begins(bytes: &[u8], word: &[u8]) -> bool {
    bytes.iter().zip(word).all(|(byte, wanted)| byte == wanted)
}

fn parse_v1(bytes: &[u8]) -> Result<Progress, Broken> {
    let bounded = bytes.get(..limits::PROXY_LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = bounded.iter().position(|byte| !matches!(byte, b' '..=b'~')) else {
        let is_full = bounded.len() == limits::PROXY_LINE_BYTES_MAX;
        return if is_full { Err(Broken::TooLong) } else { Ok(Progress::Partial) };
    };
    let (line, rest) = bounded.split_at(end);
    if !begins(rest, b"\r\n") {
        return Err(Broken::Line);
    }
    if rest.len() < 2 {
        let is_full = bounded.len() == limits::PROXY_LINE_BYTES_MAX;
        return if is_full { Err(Broken::TooLong) } else { Ok(Progress::Partial) };
    }
    let text = std::str::from_utf8(line).map_err(|_| Broken::Line)?;
    Ok(Progress::Complete { len: end + 2, source: source_of_line(text)? })
}

fn source_of_line(line: &str) -> Result<Option<SocketAddr>, Broken> {
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(Broken::Line)?;
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return Ok(None);
    }
    let mut word = || words.next().ok_or(Broken::Line);
    let (from, to) = (ip(family, word()?)?, ip(family, word()?)?);
    let (from_port, to_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(Broken::Line);
    }
    let _checked_only = (to, to_port);
    Ok(Some(SocketAddr::new(from.to_canonical(), from_port)))
}

fn ip(family: &str, word: &str) -> Result<IpAddr, Broken> {
    match family {
        "TCP4" => word.parse::<Ipv4Addr>().map(IpAddr::V4).map_err(|_| Broken::Line),
        "TCP6" => word.parse::<Ipv6Addr>().map(IpAddr::V6).map_err(|_| Broken::Line),
        _ => Err(Broken::Line),
    }
}

fn port(word: &str) -> Result<u16, Broken> {
    let is_plain = word == "0" || word.bytes().next().is_some_and(|first| matches!(first, b'1'..=b'9'));
    word.parse().ok().filter(|_| is_plain).ok_or(Broken::Line)
}

fn parse_v2(bytes: &[u8]) -> Result<Progress, Broken> {
    // What is wrong already is told at once: who is no proxy must not hold a connection until the deadline.
    let at = |index: usize| bytes.get(index).copied();
    let is_local = match at(12) {
        Some(0x20) => true,
        Some(0x21) | None => false,
        Some(_) => return Err(Broken::Unsupported),
    };
    let addresses = match at(13) {
        _ if is_local => 0,
        // Unspecified; a stream over IPv4, IPv6 or a unix socket.
        Some(0x00) | None => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(0x31) => 216,
        Some(_) => return Err(Broken::Unsupported),
    };
    let (Some(high), Some(low)) = (at(14), at(15)) else { return Ok(Progress::Partial) };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > limits::PROXY_HEADER_BYTES_MAX {
        return Err(Broken::TooLong);
    }
    if len < FIXED + addresses {
        return Err(Broken::Length);
    }
    let Some(body) = bytes.get(FIXED..len) else { return Ok(Progress::Partial) };
    if addresses > 0 {
        check_extras(body.get(addresses..).unwrap_or_default())?;
    }
    Ok(Progress::Complete { len, source: source_of_body(addresses, body) })
}

fn source_of_body(addresses: usize, body: &[u8]) -> Option<SocketAddr> {
    let (ip, port): (IpAddr, &[u8]) = match addresses {
        12 => (<[u8; 4]>::try_from(body.get(..4)?).ok()?.into(), body.get(8..10)?),
        36 => (<[u8; 16]>::try_from(body.get(..16)?).ok()?.into(), body.get(32..34)?),
        _ => return None,
    };
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(ip.to_canonical(), port))
}

/// Walks the extras (type, length, value) without looking into them: they have to fill the header exactly.
fn check_extras(mut extras: &[u8]) -> Result<(), Broken> {
    while let [_, rest @ ..] = extras {
        let (Some(high), Some(low)) = (rest.first(), rest.get(1)) else { return Err(Broken::Length) };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        extras = rest.get(2 + len..).ok_or(Broken::Length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
