//! Clients that only make work are ended; slow ones are bounded and cut.

use std::sync::atomic::Ordering::Relaxed;

use config::limits;

use super::super::stage::{OK, Stage, on_a_worker, within};
use super::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, Raw, SETTINGS, Verdict,
    WINDOW_UPDATE, block, frame, get,
};
use super::{Client, whole};

const CALM: u32 = 11;

/// Sends `bytes` again and again until the connection ends; tells its error.
async fn flood(client: &mut Raw, bytes: &[u8], rounds: u32) -> Option<u32> {
    for _ in 0..rounds {
        if !client.send(bytes).await {
            break;
        }
    }
    client.goaway().await
}

fn floods(stage: &Stage) -> u64 {
    stage.worker.counters.h2_floods.load(Relaxed)
}

#[test]
fn frames_that_only_make_work_end_the_connection() {
    let table = [
        ("settings", frame(SETTINGS, 0, 0, &[]), limits::H2_SETTINGS_MAX),
        ("ping", frame(PING, 0, 0, &[0; 8]), limits::H2_PINGS_MAX),
        ("priority", frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 1]), limits::H2_IDLE_FRAMES_MAX),
        ("unknown", frame(200, 0, 0, &[]), limits::H2_IDLE_FRAMES_MAX),
        ("small windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]), limits::H2_SMALL_WINDOWS_MAX),
    ];
    on_a_worker(async |stage| {
        for (what, bytes, most) in &table {
            let before = floods(&stage);
            let mut client = Raw::of(&stage).await;
            client.send(&bytes.repeat(*most as usize + 1)).await;
            assert_eq!(client.goaway().await, Some(CALM), "{what}");
            assert_eq!(floods(&stage), before + 1, "{what}");
        }
    });
}

#[test]
fn a_rapid_reset_is_ended() {
    on_a_worker(async |stage| {
        let mut client = Raw::of(&stage).await;
        let mut bytes = Vec::new();
        for at in 0..limits::H2_RESETS_MAX + 50 {
            bytes.extend(get(at * 2 + 1, "app.example", "/"));
            bytes.extend(frame(RST_STREAM, 0, at * 2 + 1, &[0, 0, 0, 8]));
        }
        client.send(&bytes).await;
        assert!(matches!(client.goaway().await, Some(CALM) | None));
        assert_eq!(floods(&stage), 1);
    });
}

#[test]
fn streams_that_we_are_made_to_reset_are_counted_too() {
    // CVE-2025-8671: the client never sends a reset, but makes us send one for each stream.
    on_a_worker(async |stage| {
        let mut client = Raw::of(&stage).await;
        for at in 0..limits::H2_FORCED_RESETS_MAX + 50 {
            let stream = at * 2 + 1;
            let mut bytes = get(stream, "app.example", "/");
            bytes.extend(frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 0]));
            if !client.send(&bytes).await {
                break;
            }
        }
        assert!(matches!(client.goaway().await, Some(CALM | 1) | None));
        assert_eq!(stage.worker.counters.in_flight.load(Relaxed), 0);
    });
}

#[test]
fn a_header_block_without_end_is_ended() {
    on_a_worker(async |stage| {
        for piece in [&b""[..], &block(&[("x", b"y")]), &[0x82; 16_384]] {
            let mut client = Raw::of(&stage).await;
            let first = block(&[(":method", b"GET")]);
            client.send(&frame(HEADERS, END_STREAM, 1, &first)).await;
            let error = flood(&mut client, &frame(CONTINUATION, 0, 1, piece), 600).await;
            assert!(matches!(error, Some(CALM | 1 | 9) | None), "{error:?}");
            assert!(stage.origin_is_untouched().await);
        }
    });
}

#[test]
fn empty_data_is_ended() {
    on_a_worker(async |stage| {
        let mut client = Raw::of(&stage).await;
        let fields: &[(&str, &[u8])] =
            &[(":method", b"POST"), (":scheme", b"http"), (":authority", b"app.example"), (":path", b"/")];
        client.send(&frame(HEADERS, END_HEADERS, 1, &block(fields))).await;
        let error = flood(&mut client, &frame(DATA, 0, 1, &[]), limits::H2_EMPTY_FRAMES_MAX + 1).await;
        assert!(matches!(error, Some(CALM) | None), "{error:?}");
        assert_eq!(floods(&stage), 1);
    });
}

#[test]
fn a_small_head_that_unpacks_to_a_large_one_is_refused() {
    on_a_worker(async |stage| {
        let mut client = Raw::of(&stage).await;
        // One field of 4 000 bytes goes to the table, and is then named by one byte each (RFC 7541 § 6.1, § 6.2.1).
        let mut bomb = block(&[
            (":method", b"GET"),
            (":scheme", b"http"),
            (":authority", b"app.example"),
            (":path", b"/"),
        ]);
        let entry = block(&[("x", &vec![b'y'; 4_000])]);
        bomb.push(0x40);
        bomb.extend_from_slice(&entry[1..]);
        bomb.extend(std::iter::repeat_n(0xbe, 10_000));
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb)).await;
        let verdict = client.verdict(1).await;
        assert!(matches!(verdict, Verdict::Status(599) | Verdict::Goaway(CALM)), "{verdict:?}");
        assert!(stage.origin_is_untouched().await);
    });
}

#[test]
fn a_client_that_opens_no_window_is_cut_by_the_deadline_and_holds_little() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.send_ms = 100);
        let mut client = Raw::of(&stage).await;
        // SETTINGS_INITIAL_WINDOW_SIZE of 0.
        client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
        client.send(&get(1, "app.example", "/")).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
        let sending = tokio::task::spawn_local(async move {
            use tokio::io::AsyncWriteExt as _;
            origin.io.write_all(&vec![b'x'; 1_000_000]).await
        });
        assert_eq!(client.verdict(1).await, Verdict::Status(200));
        let reset = client.until(RST_STREAM).await.unwrap();
        assert_eq!((reset.stream, reset.word(0)), (1, 2));
        // Most of it was never read from the origin, whose connection is closed.
        let _ = within(sending).await;
        assert_eq!(stage.worker.counters.in_flight.load(Relaxed), 0);
    });
}

#[test]
fn a_request_body_that_stops_coming_is_answered_in_time() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.request_body_ms = 50);
        let client = Client::of(&stage).await;
        let mut send = within(client.send.clone().ready()).await.unwrap();
        let request = http::Request::post("http://app.example/").body(()).unwrap();
        let (response, _body) = send.send_request(request, false).unwrap();
        assert_eq!(super::told(response).await, Ok(408));
    });
}

#[test]
fn an_idle_connection_is_closed_and_one_with_a_request_is_not() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| {
            deadlines.keep_alive_ms = 50;
            deadlines.linger_ms = 50;
        });
        let mut busy = Client::of(&stage).await;
        let response = busy.get("http://app.example/").await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let mut idle = Raw::of(&stage).await;
        assert_eq!(idle.goaway().await, Some(0));
        origin.send(OK).await;
        assert_eq!(whole(response).await.1, "ok");
    });
}

#[test]
fn a_drain_lets_requests_end_and_takes_no_more() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.linger_ms = 50);
        let mut client = Raw::of(&stage).await;
        client.send(&get(1, "app.example", "/")).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        stage.worker.shared.drain.begin();
        let goaway = client.until(super::raw::GOAWAY).await.unwrap();
        assert_eq!(goaway.word(4), 0);
        origin.send(OK).await;
        assert_eq!(client.verdict(1).await, Verdict::Status(200));
        client.goaway().await;
    });
}

#[test]
fn a_preface_that_never_comes_ends_the_connection() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.request_head_ms = 50);
        let door = super::super::stage::Door { kind: crate::listener::Kind::Https, sni: None, is_tls: true };
        let mut peer = stage.connect_as(door, "127.0.0.1", crate::http::Protocol::Http2).await;
        assert!(peer.is_closed().await);
    });
}

#[test]
fn a_header_block_that_never_ends_is_cut() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.request_head_ms = 50);
        let mut client = Raw::of(&stage).await;
        client.send(&frame(HEADERS, END_STREAM, 1, &block(&[(":method", b"GET")]))).await;
        client.goaway().await;
    });
}

#[test]
fn more_streams_than_allowed_are_refused_and_nothing_else() {
    on_a_worker(async |stage| {
        let mut client = Raw::of(&stage).await;
        for at in 0..=limits::H2_STREAMS_MAX {
            let fields: &[(&str, &[u8])] = &[
                (":method", b"POST"),
                (":scheme", b"http"),
                (":authority", b"app.example"),
                (":path", b"/"),
            ];
            client.send(&frame(HEADERS, END_HEADERS, at * 2 + 1, &block(fields))).await;
        }
        let last = limits::H2_STREAMS_MAX * 2 + 1;
        assert_eq!(client.verdict(last).await, Verdict::Reset(7));
    });
}
