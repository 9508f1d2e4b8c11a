use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;

/// Far beyond any test: what is told may not wait for a ping.
const NEVER: Duration = Duration::from_secs(3_600);

/// A page in a browser, and what its session has of it.
struct Both {
    browser: WebSocketStream<DuplexStream>,
    said: mpsc::Receiver<Said>,
    told: mpsc::Sender<Bytes>,
    end: oneshot::Sender<End>,
}

/// Runs a test on one thread, where pages live.
fn here(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test());
}

/// Attaches a page.
async fn attached(ping: Duration) -> Both {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (door, mut knocks) = mpsc::channel(1);
    let mut page = Page::new(near, Vec::new()).await;
    page.ping = ping;
    tokio::task::spawn_local(page.serve(door, Size::default()));
    let browser = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    let Attachment { said, told, end, .. } = within(knocks.recv()).await.unwrap();
    Both { browser, said, told, end }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("within 20 s")
}

async fn says(browser: &mut WebSocketStream<DuplexStream>, message: &'static [u8]) {
    within(browser.send(Message::binary(message))).await.unwrap();
}

async fn hears(browser: &mut WebSocketStream<DuplexStream>) -> Message {
    within(browser.next()).await.unwrap().unwrap()
}

/// All that is still said to the browser, and why it closes.
async fn rest(browser: &mut WebSocketStream<DuplexStream>) -> (Vec<u8>, CloseFrame) {
    let mut bytes = Vec::new();
    loop {
        match hears(browser).await {
            Message::Binary(more) => bytes.extend_from_slice(&more),
            Message::Close(frame) => return (bytes, frame.unwrap()),
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

#[test]
fn a_paused_page_is_told_of_its_end_at_once_and_what_was_printed_before() {
    here(async || {
        let Both { mut browser, mut said, told, end } = attached(NEVER).await;
        says(&mut browser, b"2").await;
        // What is read after the pause: the gate reads in order.
        says(&mut browser, b"0.").await;
        assert_eq!(within(said.recv()).await, Some(Said::Input(Bytes::from_static(b"."))));
        while told.try_send(Bytes::from_static(b"0x")).is_ok() {}
        end.send(End::Exited(Some(3))).unwrap();

        let (bytes, frame) = rest(&mut browser).await;

        assert_eq!(bytes, b"0x".repeat(limits::TERMINAL_TOLD_QUEUED_MAX));
        assert_eq!(frame.reason.as_str(), "the shell ended with status 3");
    });
}

#[test]
fn pings_come_while_nothing_moves_and_whoever_answers_stays() {
    here(async || {
        let Both { mut browser, told, said: _said, end: _end } = attached(Duration::from_millis(20)).await;
        for _ in 0..4 * limits::CONSOLE_PINGS_UNANSWERED_MAX {
            // To look is to answer: the library does it by itself.
            assert_eq!(hears(&mut browser).await, Message::Ping(Bytes::new()));
        }
        told.try_send(Bytes::from_static(b"0still")).unwrap();
        let mut heard = hears(&mut browser).await;
        while matches!(heard, Message::Ping(_)) {
            heard = hears(&mut browser).await;
        }
        assert_eq!(heard, Message::binary(&b"0still"[..]));
    });
}

#[test]
fn a_page_that_gives_no_sign_of_life_is_given_up() {
    here(async || {
        // Nobody looks into the browser's half, which is open.
        let Both { browser: _browser, mut said, told: _told, end: _end } =
            attached(Duration::from_millis(20)).await;
        assert_eq!(within(said.recv()).await, None);
    });
}
