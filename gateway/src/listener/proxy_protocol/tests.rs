use proptest::prelude::*;

use super::*;

fn complete(len: usize, source: Option<&str>) -> Result<Progress, Broken> {
    Ok(Progress::Complete { len, source: source.map(|source| source.parse().unwrap()) })
}

/// A header of version 2 with what follows the signature.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&[command, family]);
    bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

const FOUR: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x11, 0x22, 1, 0xbb];

#[test]
fn a_line_says_who_asks() {
    for (line, source) in [
        ("PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n", Some("192.0.2.1:4711")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n", Some("[2001:db8::1]:4711")),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 0 443\r\n", Some("192.0.2.1:0")),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN whatever it says\r\n", None),
    ] {
        assert_eq!(parse(line.as_bytes()), complete(line.len(), source), "{line:?}");
        assert_eq!(parse(format!("{line}GET / HTTP/1.1").as_bytes()), complete(line.len(), source));
    }
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(longest.len(), 104);
    assert!(matches!(parse(longest.as_bytes()), Ok(Progress::Complete { .. })));
}

#[test]
fn a_line_out_of_grammar_is_refused() {
    for line in [
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\rX",
        "PROXY TCP4  192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 04711 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 +4711 443\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.01 10.0.0.1 4711 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY UDP4 192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY TCP4\t192.0.2.1 10.0.0.1 4711 443\r\n",
        "PROXY UNKNOWN \u{e9}\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(Broken::Line), "{line:?}");
    }
    for other in ["GET / HTTP/1.1\r\n", "proxy TCP4", "\u{16}\u{3}\u{1}", "SSH-2.0-OpenSSH", "\r\n\r\nX"] {
        assert_eq!(parse(other.as_bytes()), Err(Broken::Absent), "{other:?}");
    }
    let endless = [b"PROXY UNKNOWN ".as_slice(), &[b'a'; 200]].concat();
    assert_eq!(parse(&endless), Err(Broken::TooLong));
}

#[test]
fn a_binary_header_says_who_asks() {
    let six = [&[0x20; 16][..], &[0x30; 16], &[0x11, 0x22, 1, 0xbb]].concat();
    for (bytes, source) in [
        (v2(0x21, 0x11, &FOUR), Some("192.0.2.1:4386")),
        (v2(0x21, 0x11, &[&FOUR[..], &[4, 0, 1, 9], &[5, 0, 0]].concat()), Some("192.0.2.1:4386")),
        (v2(0x21, 0x21, &six), Some("[2020:2020:2020:2020:2020:2020:2020:2020]:4386")),
        (v2(0x21, 0x31, &[0; 216]), None),
        (v2(0x21, 0x00, b"anything"), None),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, &FOUR), None),
    ] {
        assert_eq!(parse(&bytes), complete(bytes.len(), source), "{bytes:?}");
    }
}

#[test]
fn a_binary_header_out_of_grammar_is_refused_as_early_as_it_shows() {
    for (bytes, broken) in [
        (v2(0x11, 0x11, &FOUR), Broken::Unsupported),
        (v2(0x22, 0x11, &FOUR), Broken::Unsupported),
        (v2(0x21, 0x12, &FOUR), Broken::Unsupported),
        (v2(0x21, 0x11, &FOUR[..11]), Broken::Length),
        (v2(0x21, 0x21, &FOUR), Broken::Length),
        (v2(0x21, 0x11, &[&FOUR[..], &[4]].concat()), Broken::Length),
        (v2(0x21, 0x11, &[&FOUR[..], &[4, 0, 2, 9]].concat()), Broken::Length),
        (v2(0x20, 0x00, &[0; limits::PROXY_HEADER_BYTES_MAX]), Broken::TooLong),
    ] {
        assert_eq!(parse(&bytes), Err(broken), "{bytes:?}");
    }
    assert_eq!(parse(&[&SIGNATURE[..], &[0x31]].concat()), Err(Broken::Unsupported));
    assert_eq!(parse(&[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat()), Err(Broken::TooLong));
}

fn header() -> impl Strategy<Value = Vec<u8>> {
    let line = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| {
        format!("PROXY TCP4 {} 10.0.0.1 {port} 443\r\n", Ipv4Addr::from(ip)).into_bytes()
    });
    let six = (any::<[u8; 16]>(), any::<u16>())
        .prop_map(|(ip, port)| format!("PROXY TCP6 {} ::1 {port} 443\r\n", Ipv6Addr::from(ip)).into_bytes());
    let extras = prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6);
    let binary = (any::<bool>(), any::<[u8; 36]>(), extras).prop_map(|(is_v4, addresses, extras)| {
        let (family, len) = if is_v4 { (0x11, 12) } else { (0x21, 36) };
        let mut body = addresses[..len].to_vec();
        for (kind, value) in extras {
            body.push(kind);
            body.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            body.extend_from_slice(&value);
        }
        v2(0x21, family, &body)
    });
    prop_oneof![line, six, binary]
}

/// What another implementation reads.
fn oracle(bytes: &[u8]) -> Option<SocketAddr> {
    use ppp::{HeaderResult, v1, v2};
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => match header.unwrap().addresses {
            v1::Addresses::Tcp4(a) => Some((a.source_address, a.source_port).into()),
            v1::Addresses::Tcp6(a) => Some((a.source_address, a.source_port).into()),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(header) => match header.unwrap().addresses {
            v2::Addresses::IPv4(a) => Some((a.source_address, a.source_port).into()),
            v2::Addresses::IPv6(a) => Some((a.source_address, a.source_port).into()),
            v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
        },
    }
}

proptest! {
    #[test]
    fn however_a_header_is_cut_it_is_read_the_same(header in header(), rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let whole = parse(&header).unwrap();
        let Progress::Complete { len, source } = whole else { panic!("{whole:?}") };
        prop_assert_eq!(len, header.len());
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        prop_assert_eq!(source, oracle(&header).map(canonical));
        for cut in 0..header.len() {
            prop_assert_eq!(parse(&header[..cut]), Ok(Progress::Partial));
        }
        prop_assert_eq!(parse(&[header, rest].concat()), Ok(whole));
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0..3) {
        let bytes = match start {
            0 => bytes,
            1 => [&WORD[..], &bytes].concat(),
            _ => [&SIGNATURE[..], &bytes].concat(),
        };
        if let Ok(Progress::Complete { len, .. }) = parse(&bytes) {
            prop_assert!(len <= bytes.len());
            prop_assert_eq!(parse(&bytes[..len]), parse(&bytes));
        }
    }
}
