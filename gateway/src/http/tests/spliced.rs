//! Long bodies between plain sockets: by a pipe in the kernel, and, where there is none, by a buffer. Both ways have to
//! come to the same.

use tokio::io::AsyncWriteExt as _;

use super::stage::{GET, OK, Stage, on_a_worker, status, within};

/// Runs a scenario by pipes, then by buffers; both have to say the same.
fn both_ways<T: PartialEq + std::fmt::Debug>(scenario: impl AsyncFn(&Stage) -> T) {
    let mut said = Vec::new();
    for is_spliced in [true, false] {
        on_a_worker(async |stage| {
            if !is_spliced {
                stage.worker.pipes.turn_off();
            }
            said.push(scenario(&stage).await);
            while stage.worker.pipes.counts().0 > 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(stage.worker.pipes.counts().2 > 0, is_spliced, "whether pipes were used");
        });
    }
    assert_eq!(said[0], said[1]);
}

/// Text of this length that repeats nowhere near the size of a buffer.
fn text(len: usize, seed: u32) -> String {
    let mut state = seed;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from((state >> 24) % 26).unwrap())
    };
    (0..len).map(letter).collect()
}

fn get_answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn post(len: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: {len}\r\n\r\n")
}

/// Writes everything while `read` reads.
async fn meanwhile<T>(to: &mut tokio::net::TcpStream, bytes: &str, read: impl Future<Output = T>) -> T {
    let sent = async { within(to.write_all(bytes.as_bytes())).await.unwrap() };
    tokio::join!(sent, within(read)).1
}

#[test]
fn long_bodies_pass_intact_in_both_directions_and_the_connections_go_on() {
    both_ways(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        client.message().await;
        for (at, size) in [(1, 64 * 1024), (2, 300_001), (3, 3 * 1024 * 1024 + 7)] {
            let (up, down) = (text(size, at), text(size + 1, at + 100));
            let sent = post(size) + &up;
            let (_, body) = meanwhile(&mut client.io, &sent, origin.message()).await;
            assert!(body == up, "{size} bytes up");
            let (_, body) = meanwhile(&mut origin.io, &get_answer(&down), client.message()).await;
            assert!(body == down, "{size} bytes down");
        }
        client.send(GET).await;
        origin.message().await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "and nothing was left over");
    });
}

#[test]
fn a_reader_that_stops_for_a_while_gets_everything() {
    both_ways(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        // Less would fit into sockets and pipe.
        socket2::SockRef::from(&client.io).set_recv_buffer_size(64 * 1024).unwrap();
        socket2::SockRef::from(&origin.io).set_send_buffer_size(64 * 1024).unwrap();
        let body = text(24 * 1024 * 1024, 5);
        let answer = get_answer(&body);
        let mut rest = answer.as_bytes();
        // Until nothing more is taken: the client reads nothing.
        while !rest.is_empty()
            && let Ok(written) =
                tokio::time::timeout(std::time::Duration::from_millis(50), origin.io.write(rest)).await
        {
            rest = &rest[written.unwrap()..];
        }
        assert!(!rest.is_empty(), "the gateway does not take it all for a client that reads nothing");
        let rest = String::from_utf8(rest.to_vec()).unwrap();
        let (_, read) = meanwhile(&mut origin.io, &rest, client.message()).await;
        assert!(read == body);
    });
}

#[test]
fn an_origin_that_leaves_in_the_middle_cuts_the_answer_after_what_it_sent() {
    both_ways(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let whole = get_answer(&text(1024 * 1024, 9));
        origin.send(&whole.as_bytes()[..400_000]).await;
        drop(origin);
        let (read, end) = client.rest_and_end().await;
        (read == whole[..400_000], end.map_err(|cause| cause.kind()))
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_upload_cuts_it_after_what_it_sent() {
    both_ways(async |stage| {
        let mut client = stage.connect().await;
        let body = text(1024 * 1024, 9);
        client.send(post(body.len())).await;
        client.send(&body.as_bytes()[..400_000]).await;
        let mut origin = stage.accept().await;
        drop(client);
        origin.until("\r\n\r\n").await;
        let (read, end) = origin.rest_and_end().await;
        (read == body[..400_000], end.map_err(|cause| cause.kind()))
    });
}

#[test]
fn a_client_that_stops_reading_and_leaves_lets_go_of_origin_and_pipe() {
    both_ways(async |stage| {
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nbegin").await;
        client.until("begin").await;
        let block = text(256 * 1024, 3);
        origin.send(&block).await;
        client.until(&block[block.len() - 64..]).await;
        drop(client);
        while within(origin.io.write_all(block.as_bytes())).await.is_ok() {}
    });
}

#[test]
fn an_origin_that_answers_before_the_upload_is_over_is_heard() {
    both_ways(async |stage| {
        let mut client = stage.connect().await;
        let body = text(8 * 1024 * 1024, 4);
        client.send(post(body.len())).await;
        client.send(&body.as_bytes()[..200_000]).await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;
        origin.exactly(200_000).await;
        origin.send("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        let (head, _) = client.message().await;
        (status(&head), head.contains("Connection: close"))
    });
}

#[test]
fn a_body_that_stops_coming_is_late_as_ever() {
    both_ways(async |stage| {
        stage.deadlines(|deadlines| deadlines.idle_body_ms = 30);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        let whole = get_answer(&text(1024 * 1024, 9));
        origin.send(&whole.as_bytes()[..500_000]).await;
        let (read, end) = client.rest_and_end().await;
        (read.len(), end.map_err(|cause| cause.kind()))
    });
}

#[test]
fn what_was_spliced_is_counted() {
    use std::sync::atomic::Ordering::Relaxed;
    both_ways(async |stage| {
        let mut client = stage.connect().await;
        let body = text(500_000, 4);
        let mut origin = {
            client.send(post(body.len())).await;
            stage.accept().await
        };
        meanwhile(&mut client.io, &body, origin.message()).await;
        meanwhile(&mut origin.io, &get_answer(&body), client.message()).await;
        client.send(GET).await;
        origin.message().await;
        let counters = &stage.worker.counters;
        (counters.bytes_up.load(Relaxed), counters.bytes_down.load(Relaxed))
    });
}
