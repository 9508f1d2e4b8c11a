//! What an archive asks for before its password can be tried, read without doing any of it.
//!
//! Looks at every value of the DER, also inside octet strings, since an archive nests its parts in them. What lies in an
//! encrypted part cannot be seen; there the library's own bound of a million rounds holds.

use config::limits::{
    ARCHIVE_DERIVATIONS_MAX, ARCHIVE_ROUNDS_MAX, ARCHIVE_SCRYPT_BYTES_MAX, ARCHIVE_SCRYPT_PARALLEL_MAX,
};

/// How deep values may lie in each other: an archive needs 18.
const DEPTH_MAX: usize = 32;

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const INTEGER: u8 = 0x02;
const CONSTRUCTED: u8 = 0x20;

/// PBKDF2, 1.2.840.113549.1.5.12 (RFC 8018 A.2).
const PBKDF2: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 12];
/// scrypt, 1.3.6.1.4.1.11591.4.11 (RFC 7914 § 7).
const SCRYPT: &[u8] = &[6, 9, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 4, 11];
/// The schemes of PKCS#12 itself, 1.2.840.113549.1.12.1.x (RFC 7292 C).
const PBES1: &[u8] = &[6, 10, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];

/// Why an archive is not opened.
pub(super) const ROUNDS: &str = "it asks for more than a million rounds of key derivation";
pub(super) const MEMORY: &str = "it asks for more than 64 MiB or 4 lanes of scrypt";
pub(super) const PARTS: &str = "it has more than 8 parts under keys of their own";
pub(super) const DEEP: &str = "it is nested too deeply";

/// Refuses an archive that would keep a processor or memory for long. The reason is one of the constants above.
pub(super) fn bounded(archive: &[u8]) -> Result<(), &'static str> {
    let mut cost = Cost { derivations: 0 };
    // MacData, the last part of the archive: digest, salt and rounds, without a name of its own (RFC 7292 § 4).
    if let Some(mac) = value(archive).and_then(|outer| Values(outer.body).last())
        && let [_, salt, rounds, ..] = Values(mac.body).collect::<Vec<_>>().as_slice()
        && (mac.tag, salt.tag, rounds.tag) == (SEQUENCE, OCTETS, INTEGER)
    {
        cost.rounds(rounds)?;
    }
    cost.walk(archive, 0)
}

struct Cost {
    derivations: usize,
}

impl Cost {
    fn walk(&mut self, bytes: &[u8], depth: usize) -> Result<(), &'static str> {
        if depth > DEPTH_MAX {
            return Err(DEEP);
        }
        for one in Values(bytes) {
            if one.tag == SEQUENCE {
                self.algorithm(one.body)?;
            }
            if one.tag & CONSTRUCTED != 0 || one.tag == OCTETS && one.body.first() == Some(&SEQUENCE) {
                self.walk(one.body, depth + 1)?;
            }
        }
        Ok(())
    }

    fn algorithm(&mut self, body: &[u8]) -> Result<(), &'static str> {
        let named = |oid| body.starts_with(oid);
        if !named(PBKDF2) && !named(SCRYPT) && !named(PBES1) {
            return Ok(());
        }
        let Some(parameters) = Values(body).nth(1) else { return Ok(()) };
        let numbers: Vec<_> = Values(parameters.body).filter(|one| one.tag == INTEGER).collect();
        if named(SCRYPT) {
            return self.scrypt(&numbers);
        }
        numbers.first().map_or(Ok(()), |rounds| self.rounds(rounds))
    }

    fn rounds(&mut self, rounds: &One<'_>) -> Result<(), &'static str> {
        if rounds.number() > ARCHIVE_ROUNDS_MAX {
            return Err(ROUNDS);
        }
        self.count()
    }

    fn scrypt(&mut self, numbers: &[One<'_>]) -> Result<(), &'static str> {
        // cost, block size, lanes; memory is 128 bytes times the first two (RFC 7914 § 2).
        let [cost, block, lanes, ..] = numbers else { return Ok(()) };
        let memory = 128_u64.saturating_mul(cost.number()).saturating_mul(block.number());
        if memory > ARCHIVE_SCRYPT_BYTES_MAX || lanes.number() > ARCHIVE_SCRYPT_PARALLEL_MAX {
            return Err(MEMORY);
        }
        self.count()
    }

    fn count(&mut self) -> Result<(), &'static str> {
        self.derivations += 1;
        if self.derivations > ARCHIVE_DERIVATIONS_MAX { Err(PARTS) } else { Ok(()) }
    }
}

/// One value of DER.
struct One<'a> {
    tag: u8,
    body: &'a [u8],
}

impl One<'_> {
    /// As a positive number; one that is negative or has more than eight bytes counts as the greatest.
    fn number(&self) -> u64 {
        let digits = match self.body {
            [0, digits @ ..] => digits,
            [first, ..] if *first >= 0x80 => return u64::MAX,
            digits => digits,
        };
        if digits.len() > 8 {
            return u64::MAX;
        }
        digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit))
    }
}

/// The values that stand one after another, up to the first that is damaged.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = One<'a>;

    fn next(&mut self) -> Option<One<'a>> {
        let (one, rest) = split(self.0)?;
        self.0 = rest;
        Some(one)
    }
}

fn value(bytes: &[u8]) -> Option<One<'_>> {
    split(bytes).map(|(one, _)| one)
}

fn split(bytes: &[u8]) -> Option<(One<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (body, rest) = rest.split_at_checked(length)?;
    Some((One { tag: *tag, body }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], body.as_slice()].concat()
    }

    fn number(number: u64) -> Vec<u8> {
        der(INTEGER, &[&[0], &number.to_be_bytes()])
    }

    fn pbkdf2(rounds: u64) -> Vec<u8> {
        der(SEQUENCE, &[PBKDF2, &der(SEQUENCE, &[&der(OCTETS, &[b"salt"]), &number(rounds)])])
    }

    fn scrypt(cost: u64, block: u64, lanes: u64) -> Vec<u8> {
        let salt = der(OCTETS, &[b"salt"]);
        let parameters = [salt, number(cost), number(block), number(lanes)].concat();
        der(SEQUENCE, &[SCRYPT, &der(SEQUENCE, &[&parameters])])
    }

    fn legacy(scheme: u8, rounds: u64) -> Vec<u8> {
        let parameters = der(SEQUENCE, &[&der(OCTETS, &[b"salt"]), &number(rounds)]);
        der(SEQUENCE, &[PBES1, &[scheme], &parameters])
    }

    /// In octets in octets, as an archive has it, without a MAC.
    fn archive(parts: &[&[u8]]) -> Vec<u8> {
        let safe = der(OCTETS, &[&der(SEQUENCE, &[&der(0xa0, &[&der(OCTETS, &[&der(SEQUENCE, parts)])])])]);
        der(SEQUENCE, &[&number(3), &der(SEQUENCE, &[&der(0xa0, &[&safe])])])
    }

    #[test]
    fn a_million_rounds_are_taken_and_one_more_is_not() {
        for make in [pbkdf2 as fn(u64) -> Vec<u8>, |rounds| legacy(3, rounds), |rounds| legacy(6, rounds)] {
            assert_eq!(bounded(&archive(&[&make(1_000_000)])), Ok(()));
            assert_eq!(bounded(&archive(&[&make(1_000_001)])), Err(ROUNDS));
            assert_eq!(bounded(&archive(&[&make(u64::MAX)])), Err(ROUNDS));
        }
        let negative = der(SEQUENCE, &[&der(OCTETS, &[b"salt"]), &[INTEGER, 1, 0x80]]);
        assert_eq!(bounded(&archive(&[&der(SEQUENCE, &[PBKDF2, &negative])])), Err(ROUNDS));
    }

    #[test]
    fn scrypt_may_have_64_mib_and_four_lanes() {
        assert_eq!(bounded(&archive(&[&scrypt(1 << 16, 8, 4)])), Ok(()));
        assert_eq!(bounded(&archive(&[&scrypt(1 << 17, 8, 1)])), Err(MEMORY));
        assert_eq!(bounded(&archive(&[&scrypt(1 << 14, 65_535, 1)])), Err(MEMORY));
        assert_eq!(bounded(&archive(&[&scrypt(u64::MAX, u64::MAX, 1)])), Err(MEMORY));
        assert_eq!(bounded(&archive(&[&scrypt(1 << 14, 8, 5)])), Err(MEMORY));
    }

    #[test]
    fn many_cheap_parts_are_dear_together() {
        let part = pbkdf2(2_000);
        assert_eq!(bounded(&archive(&[part.as_slice(); 8])), Ok(()));
        assert_eq!(bounded(&archive(&[part.as_slice(); 9])), Err(PARTS));
    }

    #[test]
    fn the_rounds_of_the_mac_count() {
        let mac = |rounds| {
            let digest = der(SEQUENCE, &[&der(SEQUENCE, &[]), &der(OCTETS, &[&[7; 32]])]);
            der(SEQUENCE, &[&digest, &der(OCTETS, &[b"salt"]), &number(rounds)])
        };
        let with = |rounds| der(SEQUENCE, &[&number(3), &der(SEQUENCE, &[]), &mac(rounds)]);
        assert_eq!(bounded(&with(1_000_000)), Ok(()));
        assert_eq!(bounded(&with(1_000_001)), Err(ROUNDS));
    }

    #[test]
    fn depth_and_damage_end_the_search() {
        let mut deep = Vec::new();
        for _ in 0..200 {
            deep = der(SEQUENCE, &[&deep]);
        }
        assert_eq!(bounded(&deep), Err(DEEP));
        let whole = archive(&[&pbkdf2(5)]);
        for length in 0..whole.len() {
            let _ = bounded(&whole[..length]);
        }
    }
}
