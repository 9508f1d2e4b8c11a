//! Bodies that do not pass as they came: compressed, or a page of the route instead.

use std::io::Read as _;

use config::snapshot::{Content, ErrorPage, Filters};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stage::{GET, OK, Peer, Stage, field, on_a_worker, status, within};

const GET_GZIP: &str = "GET / HTTP/1.1\r\nHost: app.example\r\nAccept-Encoding: br;q=0, gzip\r\n\r\n";

fn filtered(stage: &Stage, filters: Filters) {
    let mut route = stage.route("app.example", "/");
    route.filters = Some(Box::new(filters));
    stage.routes([route]);
}

fn packing(stage: &Stage) {
    filtered(stage, Filters { gzip: true, ..Filters::default() });
}

/// Reads chunks up to the last one; returns their data.
async fn chunks(peer: &mut Peer) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(peer.byte().await);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        for _ in 0..size {
            data.push(peer.byte().await);
        }
        assert_eq!([peer.byte().await, peer.byte().await], *b"\r\n");
        if size == 0 {
            return data;
        }
    }
}

fn unpacked(data: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(data).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn text_is_compressed_for_a_client_that_takes_it() {
    on_a_worker(async |stage| {
        packing(&stage);
        let mut client = stage.connect().await;
        client.send(GET_GZIP).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let text = "all work and no play ".repeat(10_000);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: \"a\"\r\nAccept-Ranges: bytes\r\n\
             Vary: Cookie\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        let (_, mut writes) = origin.io.split();
        let sent = async { within(writes.write_all((head + &text).as_bytes())).await.unwrap() };
        let received = async {
            let head = client.until("\r\n\r\n").await;
            (head, chunks(&mut client).await)
        };
        let ((), (head, data)) = tokio::join!(sent, received);

        assert_eq!((field(&head, "content-encoding"), field(&head, "etag")), (Some("gzip"), Some("W/\"a\"")));
        assert_eq!((field(&head, "content-length"), field(&head, "accept-ranges")), (None, None));
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        assert!(head.contains("Vary: Cookie\r\n") && head.contains("Vary: Accept-Encoding\r\n"), "{head}");
        assert_eq!(unpacked(&data), text);
        assert!(data.len() < text.len() / 10);

        client.send(GET).await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "both connections go on");
    });
}

#[test]
fn what_waits_in_the_encoder_goes_out_when_the_origin_pauses() {
    on_a_worker(async |stage| {
        packing(&stage);
        let mut client = stage.connect().await;
        client.send(GET_GZIP).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        client.until("\r\n\r\n").await;
        origin.send("5\r\nfirst\r\n").await;
        let mut decoder = flate2::Decompress::new_gzip(15);
        let mut text = [0; 64];
        // Ten bytes of gzip's head may come alone.
        while decoder.total_out() < 5 {
            let size = client.until("\r\n").await;
            for _ in 0..usize::from_str_radix(size.trim(), 16).unwrap() {
                let (byte, at) = (client.byte().await, usize::try_from(decoder.total_out()).unwrap());
                decoder.decompress(&[byte], &mut text[at..], flate2::FlushDecompress::Sync).unwrap();
            }
            client.until("\r\n").await;
        }
        assert_eq!(&text[..5], b"first");
        origin.send("0\r\n\r\n").await;
        client.until_bytes(b"0\r\n\r\n").await;
    });
}

#[test]
fn a_client_that_does_not_take_gzip_and_head_get_heads_that_fit() {
    on_a_worker(async |stage| {
        packing(&stage);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let text = "x".repeat(2_000);
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 2000\r\n\r\n";
        origin.send(format!("{answer}{text}")).await;
        let (head, body) = client.message().await;
        assert_eq!((field(&head, "vary"), field(&head, "content-encoding")), (Some("Accept-Encoding"), None));
        assert_eq!(body, text);

        client.send(GET_GZIP.replace("GET", "HEAD")).await;
        origin.message().await;
        origin.send(answer).await;
        let head = client.until("\r\n\r\n").await;
        assert_eq!((field(&head, "content-encoding"), field(&head, "content-length")), (Some("gzip"), None));

        client.send(GET_GZIP).await;
        origin.message().await;
        origin.send(OK).await;
        let (head, body) = client.message().await;
        assert_eq!((field(&head, "vary"), body.as_str()), (None, "ok"), "too short to gain");
    });
}

#[test]
fn a_compressed_response_cut_short_has_no_end() {
    on_a_worker(async |stage| {
        packing(&stage);
        let mut client = stage.connect().await;
        client.send(GET_GZIP).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 2000\r\n\r\nhalf").await;
        client.until("\r\n\r\n").await;
        drop(origin);
        let mut rest = Vec::new();
        let _ = within(client.io.read_to_end(&mut rest)).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    });
}

#[test]
fn a_page_of_the_route_stands_for_the_origins_answer() {
    on_a_worker(async |stage| {
        let content = Content { media_type: "text/html".into(), body: b"<p>ours".to_vec().into() };
        let page = ErrorPage { statuses: [500, 404].into(), content, replaces_origin: true };
        filtered(&stage, Filters { error_pages: [page].into(), ..Filters::default() });
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin
            .send(
                "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nETag: \"a\"\r\nSet-Cookie: a=b\r\n\
                 Content-Length: 6\r\n\r\ntheirs",
            )
            .await;
        let (head, body) = client.message().await;
        assert_eq!((status(&head), body.as_str()), (404, "<p>ours"));
        assert_eq!((field(&head, "content-type"), field(&head, "etag")), (Some("text/html"), None));
        assert_eq!(field(&head, "set-cookie"), Some("a=b"), "what is not of the body passes");

        client.send(GET).await;
        origin.message().await;
        // Longer than anybody waits for: the origin's connection is given up, the client's is not.
        origin.send("HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\ntheirs").await;
        let (head, body) = client.message().await;
        assert_eq!((status(&head), body.as_str()), (500, "<p>ours"));
        assert!(origin.is_closed().await);

        client.send(GET.replace("GET", "HEAD")).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n").await;
        assert_eq!(field(&client.until("\r\n\r\n").await, "content-length"), Some("7"));

        client.send(GET).await;
        origin.message().await;
        origin.send("HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\ntheirs").await;
        assert_eq!(client.message().await.1, "theirs", "another status has no page");
    });
}
