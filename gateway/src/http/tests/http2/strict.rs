//! What an HTTP/2 request may not be, above all nothing that is two things after it became HTTP/1.1.

use config::snapshot::Value;

use super::super::faults::identity;
use super::super::stage::{OK, on_a_worker, within};
use super::raw::{Raw, Verdict, get, headers};
use super::{Client, told, whole};

const PSEUDO: [(&str, &[u8]); 4] =
    [(":method", b"GET"), (":scheme", b"http"), (":authority", b"app.example"), (":path", b"/")];

/// The usual request with one pseudo-field changed.
fn with<'a>(name: &str, value: &'a [u8]) -> Fields<'a> {
    PSEUDO.iter().map(|(known, usual)| (*known, if *known == name { value } else { usual })).collect()
}

/// The usual request with more fields.
fn and<'a>(more: &[(&'a str, &'a [u8])]) -> Fields<'a> {
    PSEUDO.iter().copied().chain(more.iter().copied()).collect()
}

type Fields<'a> = Vec<(&'a str, &'a [u8])>;

fn odd_fields(large: &[u8]) -> Vec<(&'static str, Fields<'_>)> {
    vec![
        ("CR LF in a value", and(&[("x", b"a\r\nHost: b")])),
        ("LF in a value", and(&[("x", b"a\nb")])),
        ("CR in a value", and(&[("x", b"a\rb")])),
        ("NUL in a value", and(&[("x", b"a\0b")])),
        ("blank before a value", and(&[("x", b" a")])),
        ("blank after a value", and(&[("x", b"a\t")])),
        ("blank in a name", and(&[("a b", b"c")])),
        ("colon in a name", and(&[("a:b", b"c")])),
        ("CR LF in a name", and(&[("a\r\nb", b"c")])),
        ("empty name", and(&[("", b"c")])),
        ("upper case in a name", and(&[("X-Y", b"c")])),
        ("transfer-encoding", and(&[("transfer-encoding", b"chunked")])),
        ("connection", and(&[("connection", b"close")])),
        ("keep-alive", and(&[("keep-alive", b"x")])),
        ("proxy-connection", and(&[("proxy-connection", b"x")])),
        ("upgrade", and(&[("upgrade", b"websocket")])),
        ("te other than trailers", and(&[("te", b"gzip")])),
        ("content-length without a body", and(&[("content-length", b"5")])),
        ("two lengths", and(&[("content-length", b"0"), ("content-length", b"1")])),
        ("one length twice", and(&[("content-length", b"0"), ("content-length", b"0")])),
        ("a signed length", and(&[("content-length", b"+0")])),
        ("a list of lengths", and(&[("content-length", b"0, 0")])),
        ("another Host", and(&[("host", b"other.example")])),
        ("a large head", and(&[("x", large)])),
        ("two Hosts", and(&[("host", b"app.example"), ("host", b"app.example")])),
    ]
}

fn odd_pseudo_fields(long: &[u8]) -> Vec<(&'static str, Fields<'_>)> {
    vec![
        ("a blank in the method", with(":method", b"GET /x HTTP/1.1\r\nX: ")),
        ("a method with a blank", with(":method", b"GE T")),
        ("an empty method", with(":method", b"")),
        ("a path with a blank", with(":path", b"/a b")),
        ("a path with CR LF", with(":path", b"/ HTTP/1.1\r\nHost: b\r\n\r\n")),
        ("a path with NUL", with(":path", b"/\0")),
        ("a path beyond ASCII", with(":path", b"/\xc3\xa4")),
        ("an empty path", with(":path", b"")),
        ("a path without slash", with(":path", b"a")),
        ("an absolute path", with(":path", b"http://app.example/")),
        ("an asterisk for GET", with(":path", b"*")),
        ("an encoded NUL", with(":path", b"/%00")),
        ("a long path", with(":path", long)),
        ("userinfo", with(":authority", b"user@app.example")),
        ("an authority with a path", with(":authority", b"app.example/x")),
        ("an authority with a blank", with(":authority", b"app.example b")),
        ("an authority with CR LF", with(":authority", b"app.example\r\nX: y")),
        ("an empty authority", with(":authority", b"")),
        ("an authority with a bad port", with(":authority", b"app.example:x")),
        ("https where there is no TLS", with(":scheme", b"https")),
        ("another scheme", with(":scheme", b"ftp")),
        ("an odd scheme", with(":scheme", b"http://x/?")),
        ("a pseudo-field twice", and(&[(":path", b"/b")])),
        ("a pseudo-field after a field", [&[("x", &b"y"[..])][..], &PSEUDO].concat()),
        ("an unknown pseudo-field", and(&[(":x", b"y")])),
        ("a status", and(&[(":status", b"200")])),
        ("no method", PSEUDO[1..].to_vec()),
        ("no scheme", [&PSEUDO[..1], &PSEUDO[2..]].concat()),
        ("no authority", [&PSEUDO[..2], &PSEUDO[3..]].concat()),
        ("no path", PSEUDO[..3].to_vec()),
        ("neither path nor authority", PSEUDO[..2].to_vec()),
        ("CONNECT", vec![(":method", b"CONNECT"), (":authority", b"app.example:443")]),
        ("CONNECT with a path", with(":method", b"CONNECT")),
        ("extended CONNECT", and(&[(":protocol", b"websocket")])),
    ]
}

#[test]
fn nothing_that_is_ambiguous_reaches_the_origin() {
    let (long, large) = (vec![b'a'; 9_000], vec![b'b'; 70_000]);
    let table = [odd_fields(&large), odd_pseudo_fields(&long)].concat();
    on_a_worker(async |stage| {
        for (what, fields) in &table {
            let mut client = Raw::of(&stage).await;
            let block = super::raw::block(fields);
            let mut pieces = block.chunks(16_384);
            let first = pieces.next().unwrap();
            let end = |is_last: bool| if is_last { super::raw::END_HEADERS } else { 0 };
            let mut bytes =
                super::raw::frame(1, super::raw::END_STREAM | end(block.len() <= 16_384), 1, first);
            let count = pieces.len();
            for (at, piece) in pieces.enumerate() {
                bytes.extend(super::raw::frame(9, end(at + 1 == count), 1, piece));
            }
            client.send(&bytes).await;
            let verdict = client.verdict(1).await;
            let is_refused = match verdict {
                Verdict::Status(status) => (400..=599).contains(&status),
                Verdict::Reset(error) | Verdict::Goaway(error) => error != 0,
                Verdict::Closed => false,
            };
            assert!(is_refused, "{what}: {verdict:?}");
            assert!(stage.origin_is_untouched().await, "{what}: {verdict:?}");
        }
    });
}

#[test]
fn what_is_wrong_with_one_request_leaves_the_others_alone() {
    on_a_worker(async |stage| {
        let mut client = Raw::of(&stage).await;
        for (at, fields) in [
            and(&[("connection", b"close")]),
            and(&[("x", b" a")]),
            with(":scheme", b"https"),
            and(&[("host", b"b")]),
        ]
        .iter()
        .enumerate()
        {
            let stream = u32::try_from(at).unwrap() * 2 + 1;
            client.send(&headers(stream, fields)).await;
            assert!(!matches!(client.verdict(stream).await, Verdict::Goaway(_) | Verdict::Closed));
        }
        client.send(&get(101, "app.example", "/")).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.verdict(101).await, Verdict::Status(200));
    });
}

#[test]
fn a_fragment_is_no_part_of_what_the_origin_sees() {
    on_a_worker(async |stage| {
        let mut client = Raw::of(&stage).await;
        client.send(&headers(1, &with(":path", b"/a#b"))).await;
        let mut origin = stage.accept().await;
        assert!(origin.message().await.0.starts_with("GET /a HTTP/1.1\r\n"));
    });
}

#[test]
fn a_body_that_is_not_as_long_as_said_cuts_the_origins_request() {
    on_a_worker(async |stage| {
        for (length, body) in [(&b"9"[..], "hello"), (b"3", "hello")] {
            let mut client = Raw::of(&stage).await;
            let mut fields = and(&[("content-length", length)]);
            fields[0].1 = b"POST";
            client.send(&super::raw::frame(1, super::raw::END_HEADERS, 1, &super::raw::block(&fields))).await;
            client
                .send(&super::raw::frame(super::raw::DATA, super::raw::END_STREAM, 1, body.as_bytes()))
                .await;
            assert!(matches!(client.verdict(1).await, Verdict::Reset(1)), "{length:?}");
            if let Ok(accepted) =
                tokio::time::timeout(std::time::Duration::from_millis(50), stage.origin.accept()).await
            {
                let mut seen = Vec::new();
                let mut io = accepted.unwrap().0;
                let _ = within(tokio::io::AsyncReadExt::read_to_end(&mut io, &mut seen)).await;
                assert!(!seen.ends_with(b"hello\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&seen));
            }
        }
    });
}

#[test]
fn a_body_behind_a_length_of_nothing_lets_no_empty_request_through() {
    on_a_worker(async |stage| {
        for (length, body) in [(&b"0"[..], "GET /smuggled HTTP/1.1\r\n\r\n"), (b"000", "x")] {
            let mut client = Raw::of(&stage).await;
            let mut fields = and(&[("content-length", length)]);
            fields[0].1 = b"POST";
            client.send(&super::raw::frame(1, super::raw::END_HEADERS, 1, &super::raw::block(&fields))).await;
            // What the head says is heard before there is data.
            client.send(&super::raw::frame(super::raw::PING, 0, 0, &[0; 8])).await;
            client.until(super::raw::PING).await.unwrap();
            client.send(&super::raw::frame(super::raw::DATA, 1, 1, body.as_bytes())).await;
            assert!(matches!(client.verdict(1).await, Verdict::Reset(1)), "{length:?}");
            assert!(stage.origin_is_untouched().await, "{length:?}");
        }
        let mut client = Raw::of(&stage).await;
        let mut fields = and(&[("content-length", b"0")]);
        fields[0].1 = b"POST";
        client.send(&super::raw::frame(1, super::raw::END_HEADERS, 1, &super::raw::block(&fields))).await;
        client.send(&super::raw::frame(super::raw::DATA, super::raw::END_STREAM, 1, b"")).await;
        let mut origin = stage.accept().await;
        assert!(origin.message().await.0.to_ascii_lowercase().contains("content-length: 0\r\n"));
        origin.send(OK).await;
        assert_eq!(client.verdict(1).await, Verdict::Status(200));
    });
}

#[test]
fn data_beyond_a_length_never_leaves_a_whole_request_at_the_origin() {
    on_a_worker(async |stage| {
        for beyond in [&b"x"[..], b""] {
            let mut client = Raw::of(&stage).await;
            let mut fields = and(&[("content-length", b"5")]);
            fields[0].1 = b"POST";
            client.send(&super::raw::frame(1, super::raw::END_HEADERS, 1, &super::raw::block(&fields))).await;
            client.send(&super::raw::frame(super::raw::DATA, 0, 1, b"hello")).await;
            let mut origin = stage.accept().await;
            assert!(origin.until("\r\n\r\n").await.to_ascii_lowercase().contains("content-length: 5\r\n"));
            // All but the last byte flows while the stream is open.
            assert_eq!(origin.exactly(4).await, "hell");
            client.send(&super::raw::frame(super::raw::DATA, super::raw::END_STREAM, 1, beyond)).await;
            if beyond.is_empty() {
                assert_eq!(origin.exactly(1).await, "o");
                origin.send(OK).await;
                assert_eq!(client.verdict(1).await, Verdict::Status(200));
            } else {
                assert!(matches!(client.verdict(1).await, Verdict::Reset(1)));
                assert_eq!(origin.rest_and_end().await.0, "", "nothing makes the request whole");
            }
        }
    });
}

#[test]
fn trailers_that_are_announced_behind_a_length_reach_the_origin_and_others_are_dropped() {
    on_a_worker(async |stage| {
        for (announced, end) in [(true, "5\r\nhello\r\n0\r\nsum: 7\r\n\r\n"), (false, "hello")] {
            let client = Client::of(&stage).await;
            let mut request = http::Request::post("http://app.example/").header("content-length", "5");
            if announced {
                request = request.header("trailer", "sum");
            }
            let mut send = within(client.send.clone().ready()).await.unwrap();
            let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
            body.send_data(bytes::Bytes::from_static(b"hello"), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("sum", "7".parse().unwrap());
            body.send_trailers(trailers).unwrap();
            let mut origin = stage.accept().await;
            let head = origin.until("\r\n\r\n").await;
            assert_eq!(head.contains("ontent-length: 5\r\n"), !announced, "{head}");
            assert_eq!(origin.exactly(end.len()).await, end);
            origin.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
            assert_eq!(told(response).await, Ok(200));
        }
    });
}

#[test]
fn the_server_name_binds_each_stream() {
    on_a_worker(async |stage| {
        let routes = [stage.route("app.example", "/"), stage.route("other.example", "/")];
        let identities = [identity(1, "app.example"), identity(2, "other.example")];
        stage.values(routes.map(Value::Route).into_iter().chain(identities));
        let mut client = Client::secured(&stage, Some("app.example")).await;
        let wrong = client.get("https://other.example/").await;
        assert_eq!(told(wrong).await, Ok(421));
        let plain = client.get("http://app.example/").await;
        assert_eq!(told(plain).await, Ok(421));
        let right = client.get("https://app.example/").await;
        let mut origin = stage.accept().await;
        assert!(origin.message().await.0.contains("X-Forwarded-Proto: https\r\n"));
        origin.send(OK).await;
        assert_eq!(whole(right).await.1, "ok");
    });
}

#[test]
fn a_trusted_proxy_may_say_https_on_a_plain_connection() {
    on_a_worker(async |stage| {
        let door = super::super::stage::HTTP;
        let mut client = Client::on(stage.connect_by(door, "127.0.0.9").await.io).await;
        let response = client.get("https://app.example/").await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(whole(response).await.1, "ok");
    });
}
