//! What an HTTP/2 request may carry that becomes another request as HTTP/1.1 ("HTTP/2: The Sequel is Always Worse").

use tests::frames::{END_STREAM, Fate, Field, Frames, frame, get, headers, kind};

use crate::world::{HOST, SMUGGLED, World};

const USUAL: [Field<'static>; 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"app.example"), (b":path", b"/attack")];

fn and<'a>(more: &[Field<'a>]) -> Vec<Field<'a>> {
    USUAL.iter().copied().chain(more.iter().copied()).collect()
}

fn with<'a>(name: &[u8], value: &'a [u8]) -> Vec<Field<'a>> {
    USUAL.iter().map(|(known, usual)| (*known, if *known == name { value } else { *usual })).collect()
}

/// Asks, with a request as its body, and somebody else on the same connection and on another.
async fn refused(world: &World, fields: &[Field<'_>]) {
    let attack = format!(
        "{:?}",
        String::from_utf8_lossy(
            &fields
                .iter()
                .fold(Vec::new(), |all, field| { [&all[..], field.0, b": ", field.1, b"|"].concat() })
        )
        .chars()
        .take(300)
        .collect::<String>()
    );
    let mut client = Frames::open(world.http()).await;
    let mut bytes = headers(0, 1, fields);
    bytes.extend(frame(kind::DATA, END_STREAM, 1, SMUGGLED.as_bytes()));
    client.send(&bytes).await;
    let fate = client.fate(1).await;
    assert!(fate.is_refusal(), "{attack}: {fate:?}");
    let reached = world.reached(&attack);
    assert!(reached.is_empty(), "{attack} reached the origin: {reached:#?}");
    if !matches!(fate, Fate::Goaway(_) | Fate::Closed) {
        client.send(&get(3, HOST, "/after")).await;
        let after = client.fate(3).await;
        assert!(matches!(&after, Fate::Answer(200, body) if body == b"/after"), "{attack}: {after:?}");
        world.reached(&attack);
    }
    world.canary(&attack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_field_becomes_a_line_of_http_1() {
    let world = World::start().await;
    for odd in [&b"\r\n"[..], b"\n", b"\r", b"\0", b"\r\n\r\n", b"\x01", b"\x7f", b"\x0b"] {
        let value = [b"a", odd, b"transfer-encoding: chunked"].concat();
        refused(&world, &and(&[(b"x", &value)])).await;
        refused(&world, &and(&[(b"x", &[b"a", odd].concat())])).await;
        refused(&world, &and(&[(b"x", &[odd, b"a"].concat())])).await;
        refused(&world, &and(&[(&[b"x", odd, b"y"].concat(), b"z")])).await;
        refused(&world, &and(&[(&[b"x: y", odd, b"transfer-encoding"].concat(), b"chunked")])).await;
        for pseudo in [&b":method"[..], b":path", b":authority", b":scheme"] {
            let usual = USUAL.iter().find(|(name, _)| *name == pseudo).unwrap().1;
            let value = [usual, b" HTTP/1.1", odd, b"Host: b", odd, b"X: "].concat();
            refused(&world, &with(pseudo, &value)).await;
            refused(&world, &with(pseudo, &[usual, odd].concat())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_frames_or_belongs_to_a_connection_is_refused() {
    let world = World::start().await;
    let length = SMUGGLED.len().to_string();
    let off = (SMUGGLED.len() - 1).to_string();
    let more = (SMUGGLED.len() + 1).to_string();
    for field in [
        (&b"transfer-encoding"[..], &b"chunked"[..]),
        (b"transfer-encoding", b"identity"),
        (b"transfer-encoding", b""),
        (b"connection", b"close"),
        (b"connection", b"x-forwarded-for"),
        (b"keep-alive", b"5"),
        (b"proxy-connection", b"keep-alive"),
        (b"upgrade", b"websocket"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"te", b"trailers, chunked"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"0"),
        (b"X-Y", b"z"),
        (b"content-length", off.as_bytes()),
        (b"content-length", more.as_bytes()),
        (b"content-length", b"+45"),
        (b"content-length", b"45, 45"),
        (b"content-length", b""),
        (b"content-length", b"-1"),
        (b"content-length", b"0x2d"),
        (b"content-length", b" 45"),
        (b"content-length", b"99999999999999999999"),
        (b"transfer-encoding ", b"chunked"),
        (b" transfer-encoding", b"chunked"),
        (b"transfer-encoding:", b"chunked"),
        (b":transfer-encoding", b"chunked"),
        (b"x y", b"z"),
        (b"", b"z"),
        (b"x:y", b"z"),
        (b"x", b" y"),
        (b"x", b"y "),
        (b"x", b"\ty"),
        (b"\xc3\xa4", b"y"),
        (b"host", b"evil.example"),
        (b"host", b""),
        (b"host", b"app.example:80"),
        (b":path", b"/smuggled"),
        (b":method", b"GET"),
        (b":authority", b"evil.example"),
        (b":scheme", b"http"),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
        (b":unknown", b"x"),
        (b"expect", b"200-ok"),
    ] {
        refused(&world, &and(&[field])).await;
    }
    for twice in
        [[length.as_bytes(), length.as_bytes()], [length.as_bytes(), b"0"], [b"0", length.as_bytes()]]
    {
        refused(&world, &and(&[(b"content-length", twice[0]), (b"content-length", twice[1])])).await;
    }
    refused(&world, &and(&[(b"host", b"app.example"), (b"host", b"app.example")])).await;
    refused(&world, &[&[(&b"x"[..], &b"y"[..])], &USUAL[..]].concat()).await;
}

/// Pseudo-fields that would end, or bend, a request line.
const ODD: &[(&[u8], &[&[u8]])] = &[
    (
        b":method",
        &[
            b"",
            b"GE T",
            b"GET /x HTTP/1.1",
            b"GET\t",
            b"(",
            b"CONNECT",
            b"G\xc3\x84T",
            b"a/b",
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ",
        ],
    ),
    (
        b":path",
        &[
            b"",
            b"attack",
            b"*",
            b"/a b",
            b"/ HTTP/1.1",
            b"http://evil.example/",
            b"http://app.example/",
            b"https://app.example/attack",
            b"?x",
            b"\\x",
            b"/\\x",
            b"/\xc3\xa4",
            b"/%00",
            b"/%0",
            b"//evil\0",
            b"@evil/",
            b"app.example/x",
            b":80/",
            b"/a\tb",
        ],
    ),
    (
        b":authority",
        &[
            b"",
            b"evil@app.example",
            b"app.example/x",
            b"app.example x",
            b"app.example:80:80",
            b"app.example:x",
            b"app.example#",
            b"app.example?",
            b"app.example,evil",
            b"[::1",
            b"app.example\\x",
            b"http://app.example",
            b"app%2eexample",
        ],
    ),
    (b":scheme", &[b"", b"https", b"ftp", b"http://x/?", b"http ", b"HTTP\t", b"javascript", b"http\xff"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_pseudo_field_is_exactly_one_word_of_a_request_line() {
    let world = World::start().await;
    for (name, values) in ODD {
        for value in *values {
            refused(&world, &with(name, value)).await;
        }
    }
    for missing in 0..USUAL.len() {
        let fields: Vec<Field<'_>> =
            USUAL.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, field)| *field).collect();
        refused(&world, &fields).await;
    }
}

/// What becomes of a body depends on nothing but the frames.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_arrives_as_one_body_whatever_it_looks_like() {
    let world = World::start().await;
    let length = SMUGGLED.len().to_string();
    for (fields, body) in [
        (and(&[]), SMUGGLED.as_bytes()),
        (and(&[(b"content-length", length.as_bytes())]), SMUGGLED.as_bytes()),
        (and(&[]), b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n"),
        (with(b":method", b"GET"), SMUGGLED.as_bytes()),
        (and(&[(b"x-transfer-encoding", b"chunked"), (b"transfer_encoding", b"chunked")]), b"0\r\n\r\n"),
        (
            and(&[
                (b"x-forwarded-for", b"6.6.6.6"),
                (b"x_forwarded_for", b"6.6.6.6"),
                (b"forwarded", b"for=6.6.6.6"),
            ]),
            b"x",
        ),
    ] {
        let mut client = Frames::open(world.http()).await;
        let mut bytes = headers(0, 1, &fields);
        for byte in body.chunks(7) {
            bytes.extend(frame(kind::DATA, 0, 1, byte));
        }
        bytes.extend(headers(END_STREAM, 1, &[(&b"x-sum"[..], &b"1"[..]), (b"content-length", b"3")]));
        client.send(&bytes).await;
        let fate = client.fate(1).await;
        let reached = world.reached("a body");
        assert_eq!(fate, Fate::Answer(200, b"/attack".to_vec()), "{reached:?}");
        assert!(reached.len() == 1 && reached[0].body == body, "{reached:?}");
        assert!(!reached[0].head.contains("6.6.6.6"), "{}", reached[0].head);
        world.canary("a body").await;
    }
    // Trailers that would end a line, or that only a request may have.
    for trailer in [(&b"x"[..], &b"a\r\nb: c"[..]), (b"x\r\n\r\nGET /smuggled", b"a"), (b"X", b"y")] {
        let mut client = Frames::open(world.http()).await;
        let mut bytes = headers(0, 1, &USUAL);
        bytes.extend(frame(kind::DATA, 0, 1, b"x"));
        bytes.extend(headers(END_STREAM, 1, &[trailer]));
        client.send(&bytes).await;
        let fate = client.fate(1).await;
        assert!(fate.is_refusal(), "{trailer:?}: {fate:?}");
        assert!(world.reached("odd trailers").is_empty());
        world.canary("odd trailers").await;
    }
}
