//! Trailer fields: passed between two sides that know chunks, as gRPC needs it.

use super::stage::{GET, OK, field, on_a_worker};

const POST: &str = "POST / HTTP/1.1\r\nHost: app.example\r\nTE: gzip, trailers\r\nTrailer: Sum\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

#[test]
fn trailers_pass_both_ways_without_those_that_may_not() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(POST).await;
        let mut origin = stage.accept().await;
        let head = origin.until("\r\n\r\n").await;
        assert_eq!((field(&head, "te"), field(&head, "trailer")), (Some("trailers"), Some("Sum")));
        assert_eq!(field(&head, "connection"), Some("te"), "TE is for the next hop");
        client.send("3\r\nabc\r\n0\r\nSum: 1\r\nHost: evil").await;
        origin.until("Sum: 1\r\n").await;
        client.send(".example\r\nContent-Length: 3\r\n\r\n").await;
        assert_eq!(origin.until("\r\n").await, "\r\n");

        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n").await;
        assert_eq!(field(&client.until("\r\n\r\n").await, "trailer"), Some("grpc-status"));
        origin.send("2\r\nok\r\n0\r\ngrpc-status: 0\r\nSet-Cookie: a=b\r\n\r\n").await;
        assert_eq!(client.until("\r\n\r\n").await, "2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n");
        client.send(GET).await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "and both connections go on");
    });
}

#[test]
fn a_trailer_field_out_of_grammar_cuts_the_message() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(format!("{POST}0\r\nX : y\r\n\r\n")).await;
        assert!(client.rest().await.starts_with("HTTP/1.1 400 "));
        assert!(stage.origin_is_untouched().await);

        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n").await;
        client.until("ok\r\n0\r\n").await;
        origin.send("X: y\nZ: 1\r\n\r\n").await;
        assert_eq!(client.rest().await, "", "no end is made up");
    });
}

#[test]
fn trailers_and_their_announcement_do_not_pass_where_there_are_no_chunks() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send("GET / HTTP/1.0\r\nHost: app.example\r\nTrailer: x\r\n\r\n").await;
        let mut origin = stage.accept().await;
        assert_eq!(field(&origin.message().await.0, "trailer"), None);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n";
        origin.send(format!("{head}2\r\nok\r\n0\r\nX: y\r\n\r\n")).await;
        let answer = client.rest().await;
        assert!(answer.ends_with("\r\n\r\nok") && field(&answer, "trailer").is_none(), "{answer}");
    });
}

#[test]
fn a_trailer_section_that_comes_in_small_pieces_behind_a_large_head_is_kept_together() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        // The head fills the first buffer but for little, so that the trailers have no room behind it.
        let padding = "p".repeat(15 * 1024);
        origin.send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: {padding}\r\n\r\n")).await;
        client.until("\r\n\r\n").await;
        let long = "t".repeat(7_000);
        origin.send("1\r\nx\r\n0\r\nLong: ").await;
        client.until("0\r\n").await;
        for piece in [&long[..1_000], &long[1_000..], "\r\n", "\r\n"] {
            origin.send(piece).await;
        }
        assert_eq!(client.until("\r\n\r\n").await, format!("Long: {long}\r\n\r\n"));
    });
}
