use super::*;
use crate::http::codec::Progress;

fn asked(request: &str) -> Result<(Asked, Head, String), Kind> {
    let mut head = Head::default();
    match head.parse_request(request.as_bytes()) {
        Ok(Progress::Complete(_)) => {}
        Ok(Progress::Partial) => panic!("not a whole head: {request:?}"),
        Err(broken) => return Err(broken.kind),
    }
    let mut names = Names::default();
    match check(&mut head, request.as_bytes(), &mut names) {
        Ok(asked) => Ok((asked, head, names.host)),
        Err(fault) => Err(fault.kind),
    }
}

fn with(line: &str, fields: &str) -> String {
    format!("{line}\r\n{fields}\r\n")
}

#[test]
fn what_is_ambiguous_is_refused() {
    for fields in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a, b\r\n",
        "Host:\r\n",
        "Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: 1, 1\r\n",
        "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nContent-Length: -1\r\n",
        "Host: a\r\nContent-Length: 0x1\r\n",
        "Host: a\r\nContent-Length: 1 1\r\n",
        "Host: a\r\nContent-Length:\r\n",
        "Host: a\r\nContent-Length: 99999999999999999999\r\n",
        "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, identity\r\n",
        "Host: a\r\nTransfer-Encoding: xchunked\r\n",
        "Host: a\r\nTransfer-Encoding:\r\n",
        "Host: a\r\nTransfer-Encoding: chunked;q=1\r\n",
        "Host: a\r\nConnection: host\r\n",
        "Host: a\r\nContent-Length: 1\r\nConnection: content-length\r\n",
        "Host: a\r\nConnection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n",
        "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n",
    ] {
        let request = with("POST / HTTP/1.1", fields);
        assert_eq!(asked(&request).map(|_| ()), Err(Kind::BadRequest), "{fields:?}");
    }
    let old = with("POST / HTTP/1.0", "Host: a\r\nTransfer-Encoding: chunked\r\n");
    assert_eq!(asked(&old).map(|_| ()), Err(Kind::BadRequest));
}

#[test]
fn each_form_of_target_has_its_rules() {
    for (line, kind) in [
        ("GET http://b/ HTTP/1.1", Kind::BadRequest),
        ("GET http://a:80/ HTTP/1.1", Kind::BadRequest),
        ("GET http://u@a/ HTTP/1.1", Kind::BadRequest),
        ("GET ftp://a/ HTTP/1.1", Kind::BadRequest),
        ("GET a/ HTTP/1.1", Kind::BadRequest),
        ("GET * HTTP/1.1", Kind::BadRequest),
        ("GET /a#b HTTP/1.1", Kind::BadRequest),
        ("GET /a?b#c HTTP/1.1", Kind::BadRequest),
        ("CONNECT a:443 HTTP/1.1", Kind::NotImplemented),
    ] {
        assert_eq!(asked(&with(line, "Host: a\r\n")).map(|_| ()), Err(kind), "{line}");
    }
    for (line, path, query) in [
        ("GET /x/y?z HTTP/1.1", "/x/y", "z"),
        ("GET /x? HTTP/1.1", "/x", ""),
        ("GET HTTP://A/x?y HTTP/1.1", "/x", "y"),
        ("GET http://a HTTP/1.1", "", ""),
        ("GET http://a?y HTTP/1.1", "", "y"),
        ("OPTIONS * HTTP/1.1", "", ""),
    ] {
        let request = with(line, "Host: a\r\n");
        let (asked, ..) = asked(&request).unwrap();
        assert_eq!(asked.path.of(request.as_bytes()), path.as_bytes(), "{line}");
        assert_eq!(asked.query.of(request.as_bytes()), query.as_bytes(), "{line}");
    }
}

#[test]
fn the_connection_goes_on_as_its_version_and_options_say() {
    for (line, fields, goes_on) in [
        ("GET / HTTP/1.1", "", true),
        ("GET / HTTP/1.1", "Connection: close\r\n", false),
        ("GET / HTTP/1.1", "Connection: x, Close\r\n", false),
        ("GET / HTTP/1.0", "", false),
        ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n", true),
    ] {
        let request = with(line, &format!("Host: a\r\n{fields}"));
        assert_eq!(asked(&request).unwrap().0.keep_alive, goes_on, "{line} {fields}");
    }
}

#[test]
fn fields_for_one_hop_and_those_named_do_not_pass() {
    let request = with(
        "GET / HTTP/1.1",
        "Host: a\r\nConnection: X-Secret, keep-alive\r\nx-secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
         Proxy: x\r\nProxy-Connection: close\r\nContent_Length: 5\r\nX_Real_IP: 1\r\nAccept: */*\r\nCookie: c\r\n",
    );
    let (_, head, _) = asked(&request).unwrap();
    let kept: Vec<_> = head
        .fields()
        .iter()
        .filter(|field| field.keep)
        .map(|field| String::from_utf8_lossy(field.name.of(request.as_bytes())).into_owned())
        .collect();
    assert_eq!(kept, ["Host", "Accept", "Cookie"]);
}

#[test]
fn an_upgrade_needs_both_fields_and_some_are_declined() {
    for (fields, upgrade) in [
        ("Connection: Upgrade\r\nUpgrade: WebSocket\r\n", Some(Upgrade::WebSocket)),
        ("Connection: upgrade\r\nUpgrade: tcp\r\n", Some(Upgrade::Other)),
        ("Upgrade: websocket\r\n", None),
        ("Connection: upgrade\r\n", None),
        ("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n", None),
        ("Connection: upgrade\r\nUpgrade: TLS/1.2\r\n", None),
    ] {
        let request = with("GET / HTTP/1.1", &format!("Host: a\r\n{fields}"));
        assert_eq!(asked(&request).unwrap().0.upgrade, upgrade, "{fields}");
    }
}

#[test]
fn an_expectation_is_passed_ignored_or_refused() {
    let request = |line: &str, value: &str| with(line, &format!("Host: a\r\nExpect: {value}\r\n"));
    assert!(asked(&request("POST / HTTP/1.1", "100-Continue")).unwrap().0.expects_continue);
    let (old, head, _) = asked(&request("POST / HTTP/1.0", "100-continue")).unwrap();
    assert!(!old.expects_continue && !head.fields()[1].keep);
    assert_eq!(asked(&request("POST / HTTP/1.1", "tea")).map(|_| ()), Err(Kind::NotImplemented));
}
