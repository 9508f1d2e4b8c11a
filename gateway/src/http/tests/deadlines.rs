//! Every wait ends, each by its own deadline.

use std::time::Duration;

use config::snapshot::Timeouts;
use tokio::io::AsyncWriteExt as _;

use super::stage::{GET, OK, Peer, Stage, on_a_worker, status, within};

/// Far away from what a test waits for.
const LONG_MS: u64 = 60_000;

fn timeouts(stage: &Stage, timeouts: Timeouts) {
    let mut route = stage.route("app.example", "/");
    route.timeouts = Some(Box::new(timeouts));
    stage.routes([route]);
}

/// Sends a byte now and then until the other end does not take it.
async fn drip(peer: &mut Peer) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while peer.io.write_all(b"x").await.is_ok() {
        ticks.tick().await;
    }
}

#[test]
fn a_request_body_that_drips_is_408() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.pace = (10_000, 100));
        let mut client = stage.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 100000\r\n\r\n").await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;

        within(drip(&mut client)).await;

        assert!(origin.is_closed().await);
    });
}

#[test]
fn a_call_of_grpc_may_send_a_message_now_and_then() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.pace = (10_000, 10));
        let mut client = stage.connect().await;
        client
            .send(
                "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Type: application/grpc+proto\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
            )
            .await;
        let mut origin = stage.accept().await;
        origin.until("\r\n\r\n").await;
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..8 {
            ticks.tick().await;
            client.send("1\r\nx\r\n").await;
            origin.until("1\r\nx\r\n").await;
        }
        client.send("0\r\n\r\n").await;
        origin.until("0\r\n\r\n").await;
        origin.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    });
}

#[test]
fn a_response_body_that_stops_is_cut() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.idle_body_ms = 20);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        assert!(client.rest().await.ends_with("\r\n\r\nhalf"));
        assert!(origin.is_closed().await);
    });
}

/// Fills what lies between the origin and a client that does not read.
async fn fill(origin: &mut Peer) {
    let block = vec![b'x'; 64 * 1024];
    while origin.io.write_all(&block).await.is_ok() {}
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.send_ms = 50);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;

        within(fill(&mut origin)).await;

        assert!(client.is_closed().await);
    });
}

#[test]
fn a_route_may_bound_the_whole_exchange() {
    on_a_worker(async |stage| {
        timeouts(&stage, Timeouts { whole_ms: Some(50), ..Timeouts::default() });
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        assert_eq!(status(&client.message().await.0), 504);
        assert!(origin.is_closed().await);

        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
        within(drip(&mut origin)).await;
        assert!(client.is_closed().await, "half an answer goes to its end with the connection");
    });
}

#[test]
fn a_route_has_times_of_its_own() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| {
            deadlines.response_head_ms = LONG_MS;
            deadlines.request_body_ms = LONG_MS;
        });
        let own = Timeouts { response_head_ms: Some(20), request_body_ms: Some(20), ..Timeouts::default() };
        timeouts(&stage, own);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let _origin = stage.accept().await;
        assert_eq!(status(&client.message().await.0), 504);
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 9\r\n\r\nhalf").await;
        assert_eq!(status(&client.rest().await), 408);
    });
}

#[test]
fn a_route_bounds_the_making_of_a_connection() {
    on_a_worker(async |stage| {
        // Whose queue is full answers no knock (Linux takes one more than it is told).
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let full = socket.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        let knock =
            || tokio::time::timeout(Duration::from_millis(50), tokio::net::TcpStream::connect(address));
        while let Ok(taken) = knock().await {
            waiting.push(taken.unwrap());
        }
        let mut route = stage.route_to("app.example", "/", &[address]);
        route.timeouts = Some(Box::new(Timeouts { connect_ms: Some(30), ..Timeouts::default() }));
        stage.routes([route]);
        let (head, body) = stage.connect().await.ask(GET).await;
        assert_eq!(status(&head), 504);
        assert!(body.contains("No connection to the service") && !body.contains("127.0.0.1"), "{body}");
    });
}

#[test]
fn a_route_bounds_the_silence_of_its_tunnels() {
    on_a_worker(async |stage| {
        let mut route = stage.route("app.example", "/");
        route.websocket = true;
        route.timeouts = Some(Box::new(Timeouts { tunnel_ms: Some(60), ..Timeouts::default() }));
        stage.routes([route]);
        let mut client = stage.connect().await;
        client
            .send("GET / HTTP/1.1\r\nHost: app.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        assert_eq!(status(&client.until("\r\n\r\n").await), 101);
        assert!(client.is_closed().await && origin.is_closed().await);
        assert_eq!(stage.worker.shared.sessions.len(), 0);
    });
}

#[test]
fn an_origin_that_takes_no_more_of_a_request_is_504() {
    on_a_worker(async |stage| {
        stage.deadlines(|deadlines| deadlines.response_head_ms = 50);
        let mut client = stage.connect().await;
        client.send("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1000000000\r\n\r\n").await;
        let _origin = stage.accept().await;
        let (mut reads, mut writes) = client.io.split();
        let block = [b'x'; 64 * 1024];
        let sent = async { while writes.write_all(&block).await.is_ok() {} };
        let mut answer = vec![0; 12];
        let read = tokio::io::AsyncReadExt::read_exact(&mut reads, &mut answer);
        tokio::select! {
            done = within(read) => { done.unwrap(); }
            () = sent => {}
        }
        assert_eq!(answer, b"HTTP/1.1 504");
    });
}
