use config::limits;
use proptest::prelude::*;

use super::*;

fn request(bytes: &[u8]) -> Result<(Head, Progress), Broken> {
    let mut head = Head::default();
    head.parse_request(bytes).map(|progress| (head, progress))
}

fn fields(head: &Head, bytes: &[u8]) -> Vec<(String, String)> {
    let text = |piece: Piece| String::from_utf8_lossy(piece.of(bytes)).into_owned();
    head.fields().iter().map(|field| (text(field.name), text(field.value))).collect()
}

#[test]
fn a_request_head_is_ranges_into_what_came() {
    let bytes = b"GET /a?b HTTP/1.1\r\nHost: app.example\r\nEmpty:\r\nPadded: \t x y \t\r\n\r\nbody";
    let (head, progress) = request(bytes).unwrap();

    assert_eq!(progress, Progress::Complete(bytes.len() - 4));
    assert_eq!((head.method.of(bytes), head.target.of(bytes)), (&b"GET"[..], &b"/a?b"[..]));
    assert_eq!(head.version, Version::Http11);
    let expected = [("Host", "app.example"), ("Empty", ""), ("Padded", "x y")];
    assert_eq!(fields(&head, bytes), expected.map(|(name, value)| (name.into(), value.into())));
    assert_eq!(head.fields()[1].line.of(bytes), b"Empty:\r\n");
}

#[test]
fn each_broken_line_has_its_kind() {
    let long_target = format!("GET /{} HTTP/1.1\r\n", "a".repeat(limits::TARGET_BYTES_MAX));
    let many_fields = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(limits::FIELDS_MAX + 1));
    let large_field = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(limits::HEAD_BYTES_MAX));
    for (bytes, kind) in [
        ("GET / HTTP/1.1\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\nA: b\n\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\n A: b\r\n\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\n: b\r\n\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1\r\nA\r\n\r\n", Kind::BadRequest),
        ("GET  / HTTP/1.1\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1 \r\n", Kind::BadRequest),
        ("GET /\r\n", Kind::BadRequest),
        ("GET\t/ HTTP/1.1\r\n", Kind::BadRequest),
        ("G(T / HTTP/1.1\r\n", Kind::BadRequest),
        (" / HTTP/1.1\r\n", Kind::BadRequest),
        ("GET /\u{e4} HTTP/1.1\r\n", Kind::BadRequest),
        ("GET / http/1.1\r\n", Kind::BadRequest),
        ("GET / HTTP/1.1x\r\n", Kind::BadRequest),
        ("GET / HTTP/11\r\n", Kind::BadRequest),
        ("GET / HTTP/2.0\r\n", Kind::VersionNotSupported),
        ("GET / HTTP/1.2\r\n", Kind::VersionNotSupported),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Kind::VersionNotSupported),
        ("\r\n\r\nGET / HTTP/1.1\r\n", Kind::BadRequest),
        (&long_target, Kind::TargetTooLong),
        (&many_fields, Kind::HeadTooLarge),
        (&large_field, Kind::HeadTooLarge),
    ] {
        let broken = request(bytes.as_bytes()).unwrap_err();
        assert_eq!(broken.kind, kind, "{:?}", bytes.get(..60).unwrap_or(bytes));
    }
}

#[test]
fn one_empty_line_before_a_request_is_left_over_from_the_last() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(request(bytes).unwrap().1, Progress::Complete(bytes.len()));
}

#[test]
fn a_response_head_is_read_as_strictly() {
    let mut head = Head::default();
    let bytes = b"HTTP/1.0 404 Not Found here\r\nA: b\r\n\r\n";
    assert_eq!(head.parse_response(bytes), Ok(Progress::Complete(bytes.len())));
    assert_eq!((head.status, head.version), (404, Version::Http10));
    assert_eq!(head.reason.of(bytes), b"Not Found here");

    for bytes in ["HTTP/1.1 200\r\n\r\n", "HTTP/1.1 204 \r\n\r\n"] {
        let mut head = Head::default();
        assert!(head.parse_response(bytes.as_bytes()).is_ok(), "{bytes:?}");
    }
    for bytes in [
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1 099 x\r\n",
        "ICY 200 OK\r\n",
        "\r\n",
    ] {
        assert!(Head::default().parse_response(bytes.as_bytes()).is_err(), "{bytes:?}");
    }
}

/// What a body decoder passed on, what it left, and how it ended.
#[derive(Debug, PartialEq)]
struct Decoded {
    passed: Vec<u8>,
    left: Vec<u8>,
    end: Result<bool, &'static str>,
}

fn decode<'a>(mut body: Body, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded {
    let (mut input, mut passed) = (Vec::new(), Vec::new());
    let mut end = Ok(body.is_done());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match body.next(&input) {
                Ok(Span::Pass(count)) => passed.extend(input.drain(..count)),
                Ok(Span::Drop(count)) => drop(input.drain(..count)),
                Ok(Span::More) => break,
                Ok(Span::Done) => {
                    end = Ok(true);
                    break;
                }
                Err(broken) => {
                    end = end.and(Err(broken.rule));
                    break;
                }
            }
        }
    }
    Decoded { passed, left: if end.is_ok() { input } else { Vec::new() }, end }
}

fn chunks(bytes: &str) -> Decoded {
    decode(Body::chunked(Dialect::Chunks), [bytes.as_bytes()])
}

#[test]
fn chunks_pass_without_extensions_and_with_the_trailers_that_may() {
    let decoded =
        chunks("5;a=\"b\"\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX: y\r\nCookie: z\r\nZ:\r\n\r\nGET ");
    assert_eq!(decoded.passed, b"5\r\nhello\r\n00A\r\n0123456789\r\n0\r\nX: y\r\nZ:\r\n\r\n");
    assert_eq!((decoded.left, decoded.end), (b"GET ".to_vec(), Ok(true)));
}

#[test]
fn a_trailer_field_passes_whole_or_not_at_all() {
    let mut body = Body::chunked(Dialect::Chunks);
    assert_eq!(body.next(b"0\r\nGrpc-Status: 0\r"), Ok(Span::Pass(3)));
    assert_eq!(body.next(b"Grpc-Status: 0\r"), Ok(Span::More));
    assert_eq!(body.next(b"Grpc-Status: 0\r\n\r\n"), Ok(Span::Pass(18)));
    assert!(body.is_done());
}

#[test]
fn for_an_old_client_the_data_passes_alone() {
    let decoded = decode(Body::chunked(Dialect::Data), [&b"5\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n"[..]]);
    assert_eq!((decoded.passed, decoded.end), (b"hello!".to_vec(), Ok(true)));
}

#[test]
fn chunks_that_two_readers_could_see_differently_are_refused() {
    let long_extension = format!("1;{}\r\na\r\n", "x".repeat(limits::CHUNK_LINE_BYTES_MAX));
    let many_trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(limits::FIELDS_MAX + 1));
    let long_trailer = format!("0\r\nA: {}\r\n\r\n", "x".repeat(limits::TRAILER_BYTES_MAX));
    for bytes in [
        "+1\r\na\r\n",
        "-1\r\na\r\n",
        "0x1\r\na\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\n",
        "1\r\na\n",
        "1\r\nab\r\n",
        "\r\n",
        "g\r\n",
        "1;a\nb\r\n",
        "1;\0\r\na\r\n",
        "0000000000000001\r\na\r\n",
        "fffffffffffffffff\r\n",
        "0\r\n\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\rz\r\n\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        &many_trailers,
        &long_extension,
        &long_trailer,
    ] {
        assert!(chunks(bytes).end.is_err(), "{:?}", bytes.get(..20).unwrap_or(bytes));
    }
}

#[test]
fn a_body_of_known_length_ends_there() {
    let decoded = decode(Body::of_length(3), [&b"abcdef"[..]]);
    assert_eq!((decoded.passed, decoded.left, decoded.end), (b"abc".to_vec(), b"def".to_vec(), Ok(true)));
    assert!(Body::of_length(0).is_done());
}

/// Bytes that are often nearly a request.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a?b HTTP/1.1\r\n", "Host: a\r\n", "A: b\r\n", "\r\n", "Content-Length: 3\r\n",
            "5\r\nhello\r\n", "0\r\n", "1;x=y\r\na\r\n", "T: u\r\n", "Cookie: v\r\n", "1\r\n", "a\r\n",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["\n", "\r", " ", "\0", ":", ";", "\t", "x", "0", "+"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..14).prop_map(|words| words.concat().into_bytes())
}

/// `bytes` in pieces that end at `cuts`.
fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

proptest! {
    #[test]
    fn a_head_is_the_same_however_the_stream_is_cut(
        bytes in nearly_http(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = request(&bytes).map(|(head, progress)| (fields(&head, &bytes), progress));
        let mut head = Head::default();
        let mut verdict = Ok(Progress::Partial);
        let mut len = 0;
        for piece in pieces(&bytes, &cuts) {
            len += piece.len();
            if verdict == Ok(Progress::Partial) {
                verdict = head.parse_request(&bytes[..len]);
            }
        }
        prop_assert_eq!(whole, verdict.map(|progress| (fields(&head, &bytes), progress)));
    }

    #[test]
    fn a_body_is_the_same_however_the_stream_is_cut(
        bytes in nearly_http(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        dialect in prop::sample::select(vec![Dialect::Chunks, Dialect::Data]),
    ) {
        let whole = decode(Body::chunked(dialect), [bytes.as_slice()]);
        let cut = decode(Body::chunked(dialect), pieces(&bytes, &cuts));
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn what_we_take_httparse_takes_too_and_sees_the_same(bytes in nearly_http()) {
        let Ok((head, Progress::Complete(len))) = request(&bytes) else { return Ok(()) };
        let mut theirs = [httparse::EMPTY_HEADER; limits::FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut theirs);
        prop_assert_eq!(parsed.parse(&bytes), Ok(httparse::Status::Complete(len)));
        let seen: Vec<_> = parsed.headers.iter()
            .map(|field| (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned()))
            .collect();
        prop_assert_eq!(seen, fields(&head, &bytes));
    }
}

#[test]
fn of_several_fields_with_one_name_any_may_fit() {
    use config::table::Fields as _;

    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\nx-a: two\r\n\r\n";
    let mut head = Head::default();
    head.parse_request(bytes).unwrap();
    let view = head::View { head: &head, bytes };
    assert_eq!(view.field("x-a"), Some(&b"one"[..]));
    assert!(view.any("x-a", &mut |value| value == b"two"));
    assert!(!view.any("x-a", &mut |value| value == b"three"));
    assert!(!view.any("x-b", &mut |_| true));
}

#[test]
fn bytes_are_judged_alike_eight_at_a_time_and_one_by_one() {
    use super::{all_graphic, all_text, token};
    for byte in 0..=255_u8 {
        let is_text = !((byte < 0x20 && byte != b'\t') || byte == 0x7f);
        for len in 1..=25 {
            for at in 0..len {
                for around in [b'a', 0x21, 0x80, b'\t'] {
                    let mut bytes = vec![around; len];
                    bytes[at] = byte;
                    assert_eq!(all_text(&bytes), is_text, "{bytes:?}");
                    let is_graphic = bytes.iter().all(u8::is_ascii_graphic);
                    assert_eq!(all_graphic(&bytes), is_graphic, "{bytes:?}");
                }
                let mut bytes = vec![b'n'; len];
                bytes[at] = byte;
                let (end, has_underscore) = token(&bytes);
                let expected = bytes.iter().position(|byte| !is_token(*byte)).unwrap_or(len);
                assert_eq!((end, has_underscore), (expected, byte == b'_'), "{bytes:?}");
            }
        }
    }
}
