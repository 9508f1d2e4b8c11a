//! The browser's half of a terminal: a WebSocket, and what it passes to a session and back.
//!
//! Both directions are one task and independent: who does not read still types. A page that asks for a pause gets no
//! more output; the session stops reading the shell, and SSH's window stops the VM.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use config::limits;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::end::End;
use super::protocol::{self, Hello, Said, Size};
use super::registry::Attachment;

type Sink<IO> = SplitSink<WebSocketStream<IO>, Message>;
type Stream<IO> = SplitStream<WebSocketStream<IO>>;

/// A page whose handshake was answered.
pub(super) struct Page<IO> {
    sink: Sink<IO>,
    stream: Stream<IO>,
    /// Time between two pings.
    ping: Duration,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Page<IO> {
    /// Takes over a connection; `early` is what came glued to the handshake.
    pub(super) async fn new(io: IO, early: Vec<u8>) -> Self {
        let socket = WebSocketStream::from_partially_read(io, early, Role::Server, Some(settings())).await;
        let (sink, stream) = socket.split();
        Self { sink, stream, ping: Duration::from_millis(limits::CONSOLE_PING_MS) }
    }

    /// Waits for the first message, which says how large the window is, and who comes back.
    pub(super) async fn hello(&mut self) -> Result<Hello, End> {
        let first =
            timeout(Duration::from_millis(limits::TERMINAL_HELLO_DEADLINE_MS), next(&mut self.stream));
        let message = first.await.map_err(|_| End::Silent)??;
        protocol::hello(&message).map_err(End::Wrong)
    }

    /// Attaches to a terminal and relays until either ends. What the page said before is in the socket still: it was not
    /// read.
    pub(super) async fn serve(mut self, door: mpsc::Sender<Attachment>, size: Size) {
        let (say, said) = mpsc::channel(limits::TERMINAL_SAID_QUEUED_MAX);
        let (tell, told) = mpsc::channel(limits::TERMINAL_TOLD_QUEUED_MAX);
        let (end, ending) = oneshot::channel();
        let end = match door.send(Attachment { size, said, told: tell, end }).await {
            Ok(()) => self.relay(say, (told, Ending { end: ending, came: None })).await,
            Err(_) => End::Gone,
        };
        self.close(&end).await;
    }

    async fn relay(&mut self, say: mpsc::Sender<Said>, told: (mpsc::Receiver<Bytes>, Ending)) -> End {
        let watch = Watch::default();
        tokio::select! {
            end = up(&mut self.stream, say, &watch) => end,
            end = down(&mut self.sink, told, &watch, self.ping) => end,
        }
    }

    /// Says why, and waits a little for the page's own end, so that what was said arrives.
    pub(super) async fn close(&mut self, end: &End) {
        let all = async {
            if let Some(long) = end.long() {
                self.sink.send(Message::Binary(protocol::reason(&long))).await?;
            }
            match end.frame() {
                Some(frame) => self.sink.send(Message::Close(Some(frame))).await?,
                None => self.sink.flush().await?,
            }
            while let Some(Ok(_)) = self.stream.next().await {}
            self.sink.close().await
        };
        // Who does not take it is gone all the same.
        let _ = timeout(Duration::from_millis(limits::CONSOLE_CLOSE_DEADLINE_MS), all).await;
    }
}

fn settings() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits::CONSOLE_READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(limits::CONSOLE_WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(limits::TERMINAL_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(limits::TERMINAL_MESSAGE_BYTES_MAX))
}

/// What both directions know of each other.
#[derive(Default)]
struct Watch {
    /// Pings since the page was last heard.
    unanswered: Cell<u32>,
    /// Whether the page is not being read, because the shell takes nothing.
    is_stuffed: Cell<bool>,
    /// Whether the page asked for a pause.
    is_paused: Cell<bool>,
    resumed: Notify,
}

/// The next message with anything in it, text or binary.
async fn next<IO: AsyncRead + AsyncWrite + Unpin>(stream: &mut Stream<IO>) -> Result<Bytes, End> {
    loop {
        if let Some(message) = heard(stream).await? {
            return Ok(message);
        }
    }
}

/// The next message; `None` is a sign of life without content.
async fn heard<IO: AsyncRead + AsyncWrite + Unpin>(stream: &mut Stream<IO>) -> Result<Option<Bytes>, End> {
    match stream.next().await {
        Some(Ok(Message::Binary(bytes))) => Ok(Some(bytes)),
        Some(Ok(Message::Text(text))) => Ok(Some(text.into())),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::PageLeft),
        Some(Err(Error::Capacity(_))) => Err(End::TooLarge),
        Some(Err(_)) => Err(End::PageLeft),
    }
}

/// From the page to the session.
async fn up<IO: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut Stream<IO>,
    say: mpsc::Sender<Said>,
    watch: &Watch,
) -> End {
    loop {
        let message = match heard(stream).await {
            Ok(message) => message,
            Err(end) => return end,
        };
        watch.unanswered.set(0);
        let Some(message) = message else { continue };
        match protocol::read(message) {
            Err(error) => return End::Wrong(error),
            Ok(Said::Pause) => watch.is_paused.set(true),
            Ok(Said::Resume) => {
                watch.is_paused.set(false);
                watch.resumed.notify_one();
            }
            Ok(said) => {
                watch.is_stuffed.set(true);
                let sent = say.send(said).await;
                watch.is_stuffed.set(false);
                if sent.is_err() {
                    // The session is over; it says why on the other way.
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// The end, once the session tells it.
struct Ending {
    end: oneshot::Receiver<End>,
    came: Option<End>,
}

impl Ending {
    /// Resolves when the end has come; may be dropped and asked again.
    async fn comes(&mut self) {
        if self.came.is_none() {
            self.came = Some((&mut self.end).await.unwrap_or(End::Gone));
        }
    }
}

/// From the session to the page, with pings: what is silent is cut by proxies on the way.
async fn down<IO: AsyncRead + AsyncWrite + Unpin>(
    sink: &mut Sink<IO>,
    (mut told, mut ending): (mpsc::Receiver<Bytes>, Ending),
    watch: &Watch,
    ping: Duration,
) -> End {
    let mut ping = tokio::time::interval(ping);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once.
    ping.tick().await;
    loop {
        let message = tokio::select! {
            biased;
            () = ending.comes() => break,
            told = next_told(&mut told, watch) => match told {
                Some(message) => Message::Binary(message),
                None => {
                    ending.comes().await;
                    break;
                }
            },
            _ = ping.tick() => {
                // Who is not read cannot be heard.
                if !watch.is_stuffed.get() {
                    watch.unanswered.set(watch.unanswered.get() + 1);
                    if watch.unanswered.get() > limits::CONSOLE_PINGS_UNANSWERED_MAX {
                        return End::PageLeft;
                    }
                }
                Message::Ping(Bytes::new())
            }
        };
        if !send(sink, message, &mut ending).await {
            return ending.came.unwrap_or(End::PageLeft);
        }
    }
    // What was printed before the end is part of it, paused or not.
    let rest = async {
        while let Ok(message) = told.try_recv() {
            if sink.send(Message::Binary(message)).await.is_err() {
                break;
            }
        }
    };
    let _ = timeout(Duration::from_millis(limits::CONSOLE_CLOSE_DEADLINE_MS), rest).await;
    ending.came.unwrap_or(End::Gone)
}

/// Whether the page took it. Once the end has come a page that takes nothing is not waited for any longer.
async fn send<IO: AsyncRead + AsyncWrite + Unpin>(
    sink: &mut Sink<IO>,
    message: Message,
    ending: &mut Ending,
) -> bool {
    let mut sending = pin!(sink.send(message));
    let (long, short) = (limits::TERMINAL_WRITE_DEADLINE_MS, limits::CONSOLE_CLOSE_DEADLINE_MS);
    let sent = tokio::select! {
        sent = timeout(Duration::from_millis(long), &mut sending) => sent,
        () = ending.comes() => timeout(Duration::from_millis(short), &mut sending).await,
    };
    matches!(sent, Ok(Ok(())))
}

/// What comes next, once the page can take it.
async fn next_told(told: &mut mpsc::Receiver<Bytes>, watch: &Watch) -> Option<Bytes> {
    while watch.is_paused.get() {
        watch.resumed.notified().await;
    }
    told.recv().await
}

#[cfg(test)]
mod tests;
