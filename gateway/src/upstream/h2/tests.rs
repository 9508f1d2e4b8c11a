use super::*;

#[test]
fn a_request_head_becomes_one_of_http_2() {
    let text = "POST /a?b HTTP/1.1\r\nHost: app.example:8080\r\nTE: trailers\r\nConnection: te\r\n\
                Transfer-Encoding: chunked\r\nX: y\r\n\r\n";
    let (request, framing) = message::request(&Bytes::from_static(text.as_bytes()), true).unwrap();
    assert_eq!(request.uri(), "https://app.example:8080/a?b");
    let names: Vec<_> = request.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["te", "x"]);
    assert!(matches!(framing, crate::http::h2::outgoing::Framing::Chunked(_)));
}

#[test]
fn a_response_says_where_it_ends() {
    let head = |status: u16, length: Option<&'static str>, is_head, has_ended| {
        let mut headers = http::HeaderMap::new();
        if let Some(length) = length {
            headers.insert("content-length", http::HeaderValue::from_static(length));
        }
        let (mut out, status) = (Vec::new(), http::StatusCode::from_u16(status).unwrap());
        message::response(&mut out, status, &headers, message::Ending { is_head, has_ended });
        String::from_utf8(out).unwrap()
    };
    assert_eq!(head(200, None, false, false), "HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(head(200, None, false, true), "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n");
    assert_eq!(head(200, Some("5"), false, false), "HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\n");
    for (status, is_head) in [(204, false), (304, false), (103, false), (200, true)] {
        assert_eq!(head(status, None, is_head, true), format!("HTTP/1.1 {status} \r\n\r\n"));
    }
}
