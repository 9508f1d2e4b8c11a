//! Numbers, addresses and ids as text without the general formatter, for what is written with every request: there it would
//! be a tenth of all our own work.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use uuid::Uuid;

/// An address as it is displayed.
pub(crate) fn ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(four) => {
            for (at, octet) in four.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                number(octet.into(), out);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(six) => drop(write!(out, "{six}")),
    }
}

/// An address with its port as it is displayed.
pub(crate) fn address(address: SocketAddr, out: &mut Vec<u8>) {
    match address {
        SocketAddr::V4(four) => {
            ip(IpAddr::V4(*four.ip()), out);
            out.push(b':');
            number(four.port().into(), out);
        }
        SocketAddr::V6(six) => drop(write!(out, "{six}")),
    }
}

/// An id as it is displayed.
pub(crate) fn id(bytes: [u8; 16], out: &mut Vec<u8>) {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    out.extend_from_slice(Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut text).as_bytes());
}

/// Sixteen bytes in lower-case hex.
pub(crate) fn hex(bytes: [u8; 16], out: &mut Vec<u8>) {
    let mut text = [0; uuid::fmt::Simple::LENGTH];
    out.extend_from_slice(Uuid::from_bytes(bytes).simple().encode_lower(&mut text).as_bytes());
}

/// A whole number.
pub(crate) fn number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Microseconds as seconds with six digits behind the point.
pub(crate) fn seconds(micros: u64, out: &mut Vec<u8>) {
    number(micros / 1_000_000, out);
    out.push(b'.');
    digits(micros % 1_000_000, 100_000, out);
}

/// A number of three digits: milliseconds, a status.
pub(crate) fn three_digits(number: u16, out: &mut Vec<u8>) {
    digits((number % 1_000).into(), 100, out);
}

/// As many digits as `unit` has.
fn digits(number: u64, mut unit: u64, out: &mut Vec<u8>) {
    while unit > 0 {
        // One digit: it fits.
        out.push(b'0' + (number / unit % 10) as u8);
        unit /= 10;
    }
}

/// Whether a text stands in JSON as it is: printable ASCII without quotes and backslashes. Looks at all of it, which is
/// faster than stopping at the first that is not.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |is_plain, byte| {
        is_plain & matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    proptest::proptest! {
        #[test]
        fn everything_reads_as_the_formatter_writes_it(bytes: [u8; 16], port: u16, micros: u64, is_v4: bool) {
            let six = std::net::Ipv6Addr::from(bytes);
            let four = std::net::Ipv4Addr::from([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let ip_of = if is_v4 { IpAddr::V4(four) } else { IpAddr::V6(six) };
            proptest::prop_assert_eq!(text(|out| ip(ip_of, out)), ip_of.to_string());
            let both = SocketAddr::new(ip_of, port);
            proptest::prop_assert_eq!(text(|out| address(both, out)), both.to_string());
            proptest::prop_assert_eq!(text(|out| id(bytes, out)), Uuid::from_bytes(bytes).to_string());
            proptest::prop_assert_eq!(text(|out| hex(bytes, out)), format!("{:032x}", u128::from_be_bytes(bytes)));
            let wanted = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            proptest::prop_assert_eq!(text(|out| seconds(micros, out)), wanted);
            let short = port % 1_000;
            proptest::prop_assert_eq!(text(|out| three_digits(short, out)), format!("{short:03}"));
        }

        #[test]
        fn what_is_plain_needs_no_escape(bytes in proptest::collection::vec(0_u8.., 0..60)) {
            let is_so = bytes.iter().all(|byte| byte.is_ascii() && !byte.is_ascii_control() && !b"\"\\".contains(byte));
            proptest::prop_assert_eq!(is_plain(&bytes), is_so);
        }
    }
}
