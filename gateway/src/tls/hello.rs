//! The server name in a hello that we do not understand otherwise (RFC 8446 § 4.1.2, RFC 6066 § 3): what an upstream can
//! make of a client that is too old for us is not ours to judge.

use config::name::HostName;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// The name, in lower case; `None` where there is none, or no whole hello.
pub(super) fn server_name(records: &[u8]) -> Option<HostName> {
    let message = message(records)?;
    let mut rest = Cut(&message);
    if rest.byte()? != CLIENT_HELLO {
        return None;
    }
    let mut hello = rest.sized(3)?;
    // Version and random; session, cipher suites, compression.
    hello.take(2 + 32)?;
    hello.sized(1)?;
    hello.sized(2)?;
    hello.sized(1)?;
    let mut extensions = hello.sized(2)?;
    loop {
        let kind = extensions.number(2)?;
        let mut extension = extensions.sized(2)?;
        if kind == usize::from(SERVER_NAME) {
            let mut names = extension.sized(2)?;
            let is_host = names.byte()? == HOST_NAME;
            let name = std::str::from_utf8(names.sized(2)?.0).ok().filter(|_| is_host)?;
            return HostName::parse(name).ok();
        }
    }
}

/// The first message of the records of a handshake.
fn message(records: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Cut(records);
    let mut message = Vec::new();
    while !rest.0.is_empty() {
        if rest.byte()? != HANDSHAKE {
            break;
        }
        rest.take(2)?;
        let len = rest.number(2)?;
        message.extend_from_slice(rest.take(len)?);
        let mut head = Cut(&message);
        if head.take(1).is_some() && head.sized(3).is_some() {
            return Some(message);
        }
    }
    None
}

/// Bytes that are taken from the front.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A part that says its length first, in so many bytes.
    fn sized(&mut self, bytes: usize) -> Option<Self> {
        let len = self.number(bytes)?;
        self.take(len).map(Cut)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A hello of TLS 1.1 with a server name and nothing else, in records of at most `record` bytes.
    pub(in super::super) fn old_hello(name: &str, record: usize) -> Vec<u8> {
        let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
        let names = [&[HOST_NAME][..], &sized(name.as_bytes())].concat();
        // Something before it, too.
        let extensions = [&[0, 23, 0, 0, 0, 0][..], &sized(&sized(&names))].concat();
        let mut body = vec![3, 2];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
        body.extend(sized(&extensions));
        let message = [&[CLIENT_HELLO, 0][..], &sized(&body)].concat();
        message.chunks(record).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &sized(part)].concat()).collect()
    }

    #[test]
    fn the_name_is_found_in_one_record_or_many() {
        for record in [7, 50, 10_000] {
            let hello = old_hello("Pass.EXAMPLE", record);
            assert_eq!(server_name(&hello).unwrap().as_str(), "pass.example");
        }
    }

    #[test]
    fn a_hello_that_is_cut_or_damaged_has_no_other_name_and_harms_nobody() {
        let hello = old_hello("pass.example", 40);
        for at in 0..hello.len() {
            assert_eq!(server_name(&hello[..at]), None, "{at}");
            for bit in 0..8 {
                let mut damaged = hello.clone();
                damaged[at] ^= 1 << bit;
                let _ = server_name(&damaged);
            }
        }
        assert_eq!(server_name(&old_hello("no host\n", 100)), None);
        assert_eq!(server_name(b"GET / HTTP/1.1\r\n\r\n"), None);
    }
}
