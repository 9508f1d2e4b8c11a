//! Origins that misbehave: what is cut is shown as cut, what is odd is a 502, and no answer reaches another client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tests::frames::{Fate, Frames, get};
use tests::raw::{self, Answer, Close};
use tests::rogue::{Act, Rogue, Then};
use tests::stack::Stack;
use tests::wait::wait_for;

const HOST: &str = "app.example";

/// A gateway in front of a rogue. `/ready` is answered in order.
async fn behind(script: impl Fn(&str) -> Act + Send + Sync + 'static) -> (Stack, Rogue) {
    let rogue = Rogue::start(move |head| match target(head) {
        "/ready" => Act::stay("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready"),
        _ => script(head),
    })
    .await;
    let stack = Stack::start().await;
    stack.api.post("/api/v1/routes", json!({ "host": HOST, "target": rogue.url() })).await;
    wait_for("the route serves", || async {
        (tests::client::get_if_open(stack.http(0), HOST, "/ready").await?.status == 200).then_some(())
    })
    .await;
    (stack, rogue)
}

fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

async fn ask(stack: &Stack, target: &str, version: &str) -> (Vec<Answer>, Close) {
    let bytes = format!("GET {target} HTTP/{version}\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let (came, close) = raw::converse(stack.http(0), bytes.as_bytes()).await;
    (raw::answers(&came, close), close)
}

async fn still_serves(stack: &Stack, what: &str) {
    let (answers, _) = ask(stack, "/ready", "1.1").await;
    assert!(answers.len() == 1 && answers[0].text() == "ready", "after {what}: {answers:?}");
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world";
const CHUNKS: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n";
const OPEN: &str = "HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello world";

/// Which responses the origin of the next test gives: `/KIND/CUT/HOW`.
fn cut(head: &str) -> Act {
    let mut words = target(head).split('/').skip(1);
    let whole = match words.next() {
        Some("length") => LENGTH,
        Some("chunks") => CHUNKS,
        _ => OPEN,
    };
    let at: usize = words.next().and_then(|at| at.parse().ok()).unwrap_or(0);
    let bytes = whole.as_bytes().get(..at).unwrap_or(whole.as_bytes());
    if words.next() == Some("reset") { Act::reset(bytes) } else { Act::close(bytes) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_cut_at_any_byte_is_never_shown_as_whole() {
    let (stack, _rogue) = behind(cut).await;
    for (kind, whole) in [("length", LENGTH), ("chunks", CHUNKS), ("open", OPEN)] {
        let head_len = whole.find("\r\n\r\n").unwrap() + 4;
        for at in 0..=whole.len() {
            // Nobody can tell where a body ends that only its connection's end ends.
            let is_whole = at == whole.len() || (kind == "open" && at >= head_len);
            for version in ["1.1", "1.0"] {
                let what = format!("/{kind}/{at}/close");
                let (answers, close) = ask(&stack, &what, version).await;
                judge(&format!("{what} for HTTP/{version}"), &answers, close, is_whole, at < head_len);
            }
            let what = format!("/{kind}/{at}/close");
            let mut client = Frames::open(stack.http(0)).await;
            client.send(&get(1, HOST, &what)).await;
            match (client.fate(1).await, is_whole) {
                (Fate::Answer(200, body), true) => assert!(b"hello world".starts_with(&body[..]), "{what}"),
                (Fate::Answer(599, body), false) => {
                    assert!(at < head_len && body.starts_with(b"502 "), "{what}")
                }
                (Fate::Reset(code, _), false) => assert!(code != 0, "{what}"),
                other => panic!("{what} over HTTP/2: {other:?}"),
            }
        }
        still_serves(&stack, kind).await;
    }
}

fn judge(what: &str, answers: &[Answer], close: Close, is_whole: bool, is_early: bool) {
    let shown = format!("{what}: {answers:?} {close:?}");
    assert!(answers.len() <= 1, "{shown}");
    match answers.first() {
        Some(answer) if is_early => assert!(answer.status == 502 && answer.is_whole, "{shown}"),
        Some(answer) => {
            assert_eq!(answer.status, 200, "{shown}");
            assert_eq!(answer.is_whole, is_whole, "{shown}");
            assert!("hello world".starts_with(&answer.text()), "{shown}");
        }
        None => assert!(!is_whole && close == Close::Reset, "{shown}"),
    }
}

/// A body that only the connection's end ends is whole if that end is in order. A reset is not, and the client has to
/// be told in the same way.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_origin_is_no_end_of_a_body() {
    let (stack, _rogue) = behind(cut).await;
    for (kind, version) in
        [("open", "1.1"), ("open", "1.0"), ("chunks", "1.0"), ("chunks", "1.1"), ("length", "1.1")]
    {
        for at in [OPEN.len() - 5, OPEN.len()] {
            let at = if kind == "open" { at } else { LENGTH.len().max(CHUNKS.len() / 2) - 3 };
            let what = format!("/{kind}/{at}/reset");
            let (answers, close) = ask(&stack, &what, version).await;
            assert!(
                answers.iter().all(|answer| !answer.is_whole),
                "{what} for HTTP/{version}: {answers:?} {close:?}"
            );
        }
    }
    let mut client = Frames::open(stack.http(0)).await;
    client.send(&get(1, HOST, &format!("/open/{}/reset", OPEN.len() - 2))).await;
    let fate = client.fate(1).await;
    assert!(matches!(fate, Fate::Reset(..)), "{fate:?}");
}

/// Heads that are none.
const BAD: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nX y: a\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 000 Nothing\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 099 Little\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 600 Much\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 999 Much\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    " HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "<html>an answer of HTTP/0.9</html>",
    "\0\0\0\u{4}\u{4}\0\0\0\0\0",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nbytes",
    "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_out_of_grammar_is_a_502_and_nothing_of_it_is_told() {
    let table: Vec<Vec<u8>> = BAD
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .chain([
            (0..=255).collect(),
            [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 70_000], b"\r\n\r\n".to_vec()].concat(),
            [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(200), b"\r\n".to_vec()].concat(),
            b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000),
            b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100_000),
            vec![b'H'; 200_000],
        ])
        .collect();
    let table = Arc::new(table);
    let script = Arc::clone(&table);
    let (stack, _rogue) = behind(move |head| {
        let number: usize = target(head)[1..].parse().unwrap();
        Act::close(script[number].clone())
    })
    .await;
    for (number, bytes) in table.iter().enumerate() {
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        let (answers, _) = ask(&stack, &format!("/{number}"), "1.1").await;
        let is_cut =
            answers.iter().all(|answer| answer.status == 200 && !answer.is_whole) && what.contains("xyz");
        assert!(answers.len() == 1 && (answers[0].status == 502 || is_cut), "{what:?}: {answers:?}");
        let mut client = Frames::open(stack.http(0)).await;
        client.send(&get(1, HOST, &format!("/{number}"))).await;
        let fate = client.fate(1).await;
        assert!(fate.is_refusal(), "{what:?} over HTTP/2: {fate:?}");
        still_serves(&stack, &what).await;
    }
}

/// What an origin sends behind its answer, or before it was asked, is nobody's answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_answer_is_not_the_next_clients() {
    const EXTRA: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: session=mallory\r\n\r\npoison";
    let (stack, _rogue) = behind(|head| match target(head) {
        "/twice" => Act::stay(format!("{LENGTH}{EXTRA}")),
        "/chunked-twice" => Act::stay(format!("{CHUNKS}{EXTRA}")),
        "/long" => Act::stay(format!("{LENGTH}{}", EXTRA.repeat(2_000))),
        "/204" => Act::stay(format!("HTTP/1.1 204 No Content\r\n\r\n{EXTRA}")),
        "/304" => Act::stay(format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 70\r\n\r\n{EXTRA}")),
        "/head" => Act::stay(format!("HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n{EXTRA}")),
        "/100-after" => Act::stay(format!("{LENGTH}HTTP/1.1 100 Continue\r\n\r\n{EXTRA}")),
        _ => Act::stay(LENGTH),
    })
    .await;
    for path in ["/twice", "/chunked-twice", "/long", "/204", "/304", "/head", "/100-after"] {
        for _ in 0..10 {
            let method = if path == "/head" { "HEAD" } else { "GET" };
            let bytes = format!(
                "{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET /ready HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            );
            let (came, _) = raw::converse(stack.http(0), bytes.as_bytes()).await;
            let text = String::from_utf8_lossy(&came);
            assert!(!text.contains("poison") && !text.contains("mallory"), "{path}: {text}");
            assert!(text.ends_with("ready"), "{path}: {text}");
            still_serves(&stack, path).await;
        }
    }
}

/// An answer before the request has ended belongs to that request, and the rest of the request to no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_premature_answer_takes_its_request_along() {
    let (stack, _rogue) = behind(|head| match target(head) {
        "/early" => Act::stay(LENGTH),
        "/early-close" => Act::close(LENGTH),
        // The rest of a body, if it were sent on the same connection, would be read as a request by this origin.
        "/smuggled" => Act::stay("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
        _ => Act::stay("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nelse"),
    })
    .await;
    for path in ["/early", "/early-close"] {
        for _ in 0..10 {
            let body = "GET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n";
            let bytes = format!(
                "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let (came, close) = raw::converse(stack.http(0), bytes.as_bytes()).await;
            let answers = raw::answers(&came, close);
            assert!(answers.len() == 1 && answers[0].text() == "hello world", "{path}: {answers:?}");
            still_serves(&stack, path).await;
        }
    }
}

/// Many clients at once, each asking for a marker of its own, of an origin that misbehaves at random.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_answer_of_one_client_reaches_another() {
    let seed =
        std::env::var("ATTACK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    let random = std::sync::Mutex::new(StdRng::seed_from_u64(seed));
    let (stack, _rogue) = behind(move |head| misbehave(&mut random.lock().unwrap(), head)).await;
    let http = stack.http(0);
    let whole = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..48)
        .map(|client| {
            let whole = Arc::clone(&whole);
            tokio::spawn(async move {
                for round in 0..40 {
                    let marker = format!("/m-{client}-{round}-end");
                    if client % 3 == 0 {
                        let mut frames = Frames::open(http).await;
                        frames.send(&get(1, HOST, &marker)).await;
                        if let Fate::Answer(200, body) = frames.fate(1).await {
                            assert_eq!(String::from_utf8_lossy(&body), marker, "seed {seed}");
                            whole.fetch_add(1, Relaxed);
                        }
                        continue;
                    }
                    let next = format!("{marker}-next");
                    let bytes = format!(
                        "GET {marker} HTTP/1.1\r\nHost: {HOST}\r\n\r\nGET {next} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
                    );
                    let (came, close) = raw::converse(http, bytes.as_bytes()).await;
                    for (answer, wanted) in raw::answers(&came, close).iter().zip([marker, next]) {
                        if answer.status != 200 {
                            continue;
                        }
                        let text = answer.text();
                        assert!(wanted.starts_with(&text), "{text} for {wanted}, seed {seed}");
                        assert!(!answer.is_whole || text == wanted, "{text} as a whole {wanted}, seed {seed}");
                        whole.fetch_add(usize::from(answer.is_whole), Relaxed);
                    }
                }
            })
        })
        .collect();
    for client in clients {
        tests::wait::within("a client", client).await.unwrap();
    }
    assert!(whole.load(Relaxed) > 500, "too few whole answers to say anything: {whole:?}");
    still_serves(&stack, "the storm").await;
}

fn misbehave(random: &mut StdRng, head: &str) -> Act {
    let marker = target(head).to_owned();
    let good = if random.random_bool(0.5) {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{marker}", marker.len())
    } else {
        let (a, b) = marker.split_at(4);
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n",
            a.len(),
            b.len()
        )
    };
    let cut = random.random_range(0..good.len());
    match random.random_range(0..20) {
        0 => Act::close(&good.as_bytes()[..cut]),
        1 => Act::reset(&good.as_bytes()[..cut]),
        2 => Act::stay(format!("{good}{good}")),
        3 => Act::stay(format!("{good}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")),
        4 => Act::stay("garbage\r\n\r\n"),
        5 => Act::stay(format!("HTTP/1.1 101 Switching Protocols\r\n\r\n{good}")),
        6 => Act::stay(format!("HTTP/1.1 100 Continue\r\n\r\n{good}")),
        7 => Act { bytes: good.into_bytes(), then: Then::Close },
        _ => Act::stay(good),
    }
}
