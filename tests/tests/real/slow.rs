//! Clients that ask for much and never read it: the origin is held up, the gateway stays small, others are served.

use serde_json::json;
use tests::api::Api;
use tests::binaries::Up;
use tests::canary::Canary;
use tests::client::{self, Connection};
use tests::firehose::Firehose;
use tests::frames::{Frames, frame, get, kind};
use tests::origin::Origin;
use tests::wait::wait_for;

const HOST: &str = "app.example.com";
const FLOOD: &str = "flood.example.com";
const READERS: usize = 32;

struct Town {
    up: Up,
    _origin: Origin,
    firehose: Firehose,
}

impl Town {
    async fn start() -> Self {
        let up = Up::start();
        let (origin, firehose) = (Origin::start("home").await, Firehose::start().await);
        let api = Api::of(up.data());
        let secured =
            json!({ "host": FLOOD, "target": firehose.url(), "tls": "self-signed", "redirect_https": false });
        api.post("/api/v1/routes", secured).await;
        api.route(HOST, &origin.url()).await;
        let http = up.address("http");
        wait_for("the route serves", || async {
            client::get_if_open(http, HOST, "/").await.filter(|answer| answer.status == 200)
        })
        .await;
        Self { up, _origin: origin, firehose }
    }

    /// So many answers are held up, at most so many bytes of each are with the gateway, and others are served.
    async fn holds(&self, before: u64, answers: usize, each_max: u64) {
        self.firehose.is_held_up(answers as u64).await;
        let canary = Canary::start(self.up.address("http"), HOST, "home");
        canary.sings_on().await;
        canary.end().await;
        let most = self.up.resident_bytes_most("gateway");
        let each = most.saturating_sub(before) / answers as u64;
        assert!(each <= each_max, "{each} bytes for each of {answers} answers that nobody reads");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_little_over_a_plain_connection() {
    let town = Town::start().await;
    let before = town.up.resident_bytes("gateway");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = Connection::open(town.up.address("http")).await;
        reader.send(format!("GET / HTTP/1.1\r\nHost: {FLOOD}\r\n\r\n").as_bytes()).await.unwrap();
        readers.push(reader);
    }
    town.holds(before, READERS, 1024 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_holds_little_over_tls() {
    let town = Town::start().await;
    let authority = town.up.cli(&["ca", "show"]);
    let before = town.up.resident_bytes("gateway");
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut reader = Connection::open_tls(town.up.address("https"), FLOOD, &authority).await.unwrap();
        reader.send(format!("GET / HTTP/1.1\r\nHost: {FLOOD}\r\n\r\n").as_bytes()).await.unwrap();
        readers.push(reader);
    }
    town.holds(before, READERS, 1024 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_opens_no_window_holds_little_however_many_streams_it_has() {
    const STREAMS: u32 = 100;
    for window in [[0; 4], [0x7f, 0xff, 0xff, 0xff]] {
        let town = Town::start().await;
        let before = town.up.resident_bytes("gateway");
        let mut readers = Vec::new();
        for _ in 0..4 {
            let settings = [&[0, 4][..], &window].concat();
            let mut reader = Frames::open_with(town.up.address("http"), &settings).await;
            // Windows wide open, and nobody who reads the socket.
            reader.send(&frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0])).await;
            for at in 0..STREAMS {
                reader.send(&get(at * 2 + 1, FLOOD, "/")).await;
            }
            readers.push(reader);
        }
        town.holds(before, 4 * STREAMS as usize, 512 * 1024).await;
    }
}
