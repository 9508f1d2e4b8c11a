//! A browser's WebSocket joined to a console that speaks bytes.
//!
//! Both directions are one task. Nothing is read from one side before the other took what came: a browser that does not
//! read stops the machine's console, and one that sends too much waits for it. What ends a console is told in the closing
//! frame, because a browser learns nothing else.

mod browser;
mod line;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use config::limits;
use config::snapshot::ConsoleKind;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use self::browser::{Inbox, Sink};
use self::line::Page;
pub(crate) use self::line::TTY;
use super::rfb::looking::Looking;
use super::rfb::{self, RfbError};
use super::ticket::Opening;
use crate::guard::SessionPermit;
use crate::session::{EndReason, SessionHandle};
use crate::upstream::{Call, Stream, Upstreams};
use crate::worker::Worker;

/// A console that was opened: its WebSocket was answered, and its session is registered.
pub(crate) struct Bridge {
    pub(crate) opening: Opening,
    pub(crate) session: SessionHandle,
    pub(crate) permit: SessionPermit,
    /// Longest silence.
    pub(crate) idle: Duration,
    /// Time for a VNC server's handshake and the browser's.
    pub(crate) handshake: Duration,
    /// Whether the browser speaks as a terminal page does.
    pub(crate) is_page: bool,
}

/// What the audit hears of a browser that left.
pub(crate) const LEFT: &str = "the browser left";
/// What is said of a console without a connection.
pub(crate) const UNREACHABLE: &str = "the console of the VM cannot be reached";

/// Why a console ends.
#[derive(Debug)]
enum End {
    /// The browser left, or said that it will.
    BrowserLeft,
    /// The browser broke off or broke a rule.
    Refused(CloseCode, &'static str),
    /// The console's server closed.
    ServerClosed,
    /// There is no connection to it.
    Unreachable,
    /// Its VNC server does not do.
    Rfb(RfbError),
    /// The session is to end.
    Ordered(EndReason),
}

/// Serves a console to its end. `early` is what came glued to the handshake.
pub(crate) async fn run<IO>(worker: Rc<Worker>, io: IO, early: Vec<u8>, bridge: Bridge)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let socket = WebSocketStream::from_partially_read(io, early, Role::Server, Some(settings())).await;
    let (mut sink, stream) = socket.split();
    let mut inbox = Inbox::new(stream);
    let end = tokio::select! {
        biased;
        reason = bridge.session.ended() => End::Ordered(reason),
        end = connected(&worker, &bridge, &mut sink, &mut inbox) => end,
    };
    let claims = &bridge.opening.claims;
    tracing::info!(
        session = %bridge.session.id(), console = %claims.console, vm = %claims.vm, user = ?claims.user, ?end,
        "console closed"
    );
    let Bridge { session, permit, .. } = bridge;
    session.ended_because(end.words());
    close(&mut sink, &mut inbox, &end).await;
    drop((session, permit));
}

fn settings() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits::CONSOLE_READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(limits::CONSOLE_WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(limits::CONSOLE_MESSAGE_BYTES_MAX))
        .max_frame_size(Some(limits::CONSOLE_MESSAGE_BYTES_MAX))
}

async fn connected<IO>(
    worker: &Rc<Worker>,
    bridge: &Bridge,
    sink: &mut Sink<IO>,
    inbox: &mut Inbox<IO>,
) -> End
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let opening = &bridge.opening;
    let call = Call {
        endpoint: &opening.console.endpoint,
        policy: None,
        ends: None,
        deadline: Duration::from_millis(limits::CONNECT_DEADLINE_MS),
        takes_idle: false,
    };
    let mut server = match Upstreams::connect(worker, &call).await {
        Ok(lease) => match lease.stream {
            Stream::Plain(server) => server,
            // Not reached: without a policy a connection is plain.
            Stream::Tls(_) | Stream::Http2(_) => return End::Unreachable,
        },
        Err(fault) => {
            let cause = fault.cause.as_ref().map(tracing::field::display);
            tracing::info!(console = %opening.console.id, %fault, cause, "console cannot be reached");
            return End::Unreachable;
        }
    };
    let secret = opening.console.secret.as_ref();
    let is_between = opening.console.kind == ConsoleKind::Vnc && (secret.is_some() || opening.read_only);
    if is_between {
        let password = secret.map(|secret| secret.expose().as_str());
        let greeting = greet(&mut server, sink, inbox, (password, opening.read_only));
        match timeout(bridge.handshake, greeting).await {
            Ok(Ok(())) => {}
            Ok(Err(end)) => return end,
            Err(_) => return End::Refused(CloseCode::Error, "the console of the VM was not opened in time"),
        }
    }
    if bridge.is_page {
        match timeout(bridge.handshake, begin(sink, inbox)).await {
            Ok(Ok(())) => {}
            Ok(Err(end)) => return end,
            Err(_) => {
                return End::Refused(CloseCode::Protocol, "the page of the terminal said nothing in time");
            }
        }
    }
    let looking = opening.read_only.then(Looking::default);
    exchange(bridge, &mut server, sink, (inbox, looking)).await
}

/// Hears what a terminal page says first, and lets it know that the line is open.
async fn begin<IO>(sink: &mut Sink<IO>, inbox: &mut Inbox<IO>) -> Result<(), End>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let first = inbox.next(|| {}).await.map_err(|error| refused(&error))?.ok_or(End::BrowserLeft)?;
    if !line::is_hello(&first) {
        return Err(End::Refused(CloseCode::Protocol, "the first message of a terminal is a JSON object"));
    }
    sink.send(Message::Binary(line::opened())).await.map_err(|_| End::BrowserLeft)
}

/// The handshake with the server, then the browser's: what the server refuses is known before the browser is told
/// anything.
async fn greet<IO>(
    server: &mut TcpStream,
    sink: &mut Sink<IO>,
    inbox: &mut Inbox<IO>,
    (password, read_only): (Option<&str>, bool),
) -> Result<(), End>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    rfb::enter(server, password).await.map_err(End::Rfb)?;
    let shared = rfb::welcome(&mut browser::Both { sink, inbox }).await.map_err(|error| match error {
        rfb::BrowserError::Io(error) => broken_off(&error),
        rfb::BrowserError::NotRfb => {
            End::Refused(CloseCode::Policy, "this console speaks RFB, the browser does not")
        }
    })?;
    // Who only looks sends nobody else away.
    let shared = if read_only { 1 } else { shared };
    server.write_all(&[shared]).await.map_err(|_| End::ServerClosed)
}

/// What both directions know of each other.
struct Watch {
    /// Pings since the browser was last heard.
    unanswered: Cell<u32>,
    /// Whether the browser is not being read, because the server takes nothing.
    is_stuffed: Cell<bool>,
    /// Whether bytes moved since the last ping.
    has_moved: Cell<bool>,
    /// Pings since bytes moved.
    quiet: Cell<u32>,
    /// Where the browser speaks as a terminal page does.
    page: Option<Page>,
}

async fn exchange<IO>(
    bridge: &Bridge,
    server: &mut TcpStream,
    sink: &mut Sink<IO>,
    (inbox, looking): (&mut Inbox<IO>, Option<Looking>),
) -> End
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let watch = Watch {
        unanswered: Cell::new(0),
        is_stuffed: Cell::new(false),
        has_moved: Cell::new(false),
        quiet: Cell::new(0),
        page: bridge.is_page.then(Page::default),
    };
    let (from, to) = server.split();
    tokio::select! {
        end = up(bridge, inbox, to, looking, &watch) => end,
        end = down(bridge, from, sink, &watch) => end,
    }
}

/// From the browser to the server.
async fn up<IO>(
    bridge: &Bridge,
    inbox: &mut Inbox<IO>,
    mut to: WriteHalf<'_>,
    mut looking: Option<Looking>,
    watch: &Watch,
) -> End
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut passed = Vec::new();
    loop {
        let bytes = match inbox.next(|| watch.unanswered.set(0)).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return End::BrowserLeft,
            Err(error) => return refused(&error),
        };
        let bytes = match watch.page.as_ref().map(|page| page.read(bytes.clone())) {
            None => bytes,
            Some(Ok(input)) if input.is_empty() => continue,
            Some(Ok(input)) => input,
            Some(Err(line::NotTerminal)) => {
                return End::Refused(CloseCode::Protocol, "a message of a terminal begins with 0, 1, 2 or 3");
            }
        };
        let bytes = match &mut looking {
            None => &*bytes,
            Some(looking) => {
                passed.clear();
                if looking.read(&bytes, &mut passed).is_err() {
                    return End::Refused(
                        CloseCode::Policy,
                        "this is not taken from a browser that may only look",
                    );
                }
                &*passed
            }
        };
        watch.has_moved.set(true);
        watch.is_stuffed.set(true);
        let written = to.write_all(bytes).await;
        watch.is_stuffed.set(false);
        if written.is_err() {
            return End::ServerClosed;
        }
        bridge.session.carried(bytes.len() as u64, 0);
    }
}

fn refused(error: &Error) -> End {
    match error {
        Error::Capacity(_) => End::Refused(CloseCode::Size, "a message is larger than a console takes"),
        // A connection that is gone is no broken rule.
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => End::BrowserLeft,
        Error::Utf8(_) | Error::Protocol(_) => {
            End::Refused(CloseCode::Protocol, "a console takes binary messages of WebSocket")
        }
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => End::BrowserLeft,
    }
}

/// The end of a browser's handshake: a rule of WebSocket that it broke, where the bridge's own half says so.
fn broken_off(error: &std::io::Error) -> End {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
    cause.map_or(End::BrowserLeft, refused)
}

/// From the server to the browser, with pings: what is silent is cut by proxies on the way.
async fn down<IO>(bridge: &Bridge, from: ReadHalf<'_>, sink: &mut Sink<IO>, watch: &Watch) -> End
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut ping = tokio::time::interval(Duration::from_millis(limits::CONSOLE_PING_MS));
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let mut buffer = BytesMut::new();
    loop {
        let message = tokio::select! {
            biased;
            ready = readable(&from, watch) => {
                if ready.is_err() {
                    return End::ServerClosed;
                }
                buffer.reserve(limits::RELAY_BUFFER_BYTES);
                if watch.page.is_some() {
                    line::begin(&mut buffer);
                }
                match from.try_read_buf(&mut buffer) {
                    Ok(0) => return End::ServerClosed,
                    Ok(_) => Message::Binary(buffer.split().freeze()),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        // An idle console holds no buffer.
                        buffer = BytesMut::new();
                        continue;
                    }
                    Err(_) => return End::ServerClosed,
                }
            }
            _ = ping.tick() => match watch.tick(bridge.idle) {
                Some(end) => return end,
                None => Message::Ping(bytes::Bytes::new()),
            },
        };
        let len = if message.is_binary() { message.len() } else { 0 };
        let patience = Duration::from_millis(limits::CONSOLE_PING_MS) * limits::CONSOLE_PINGS_UNANSWERED_MAX;
        match timeout(patience, sink.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::BrowserLeft,
            Err(_) => return End::Refused(CloseCode::Policy, "the browser took nothing for too long"),
        }
        if len > 0 {
            watch.has_moved.set(true);
            bridge.session.carried(0, len as u64);
        }
    }
}

/// Waits until the server has said something that the browser takes.
async fn readable(from: &ReadHalf<'_>, watch: &Watch) -> std::io::Result<()> {
    let Some(page) = &watch.page else { return from.readable().await };
    loop {
        page.takes_output().await;
        from.readable().await?;
        // It may have asked for a pause while the line was silent.
        if !page.is_paused() {
            return Ok(());
        }
    }
}

impl Watch {
    /// One ping's time passed: whether the browser is gone, or nothing moved for `idle`.
    fn tick(&self, idle: Duration) -> Option<End> {
        if !self.is_stuffed.get() {
            if self.unanswered.get() >= limits::CONSOLE_PINGS_UNANSWERED_MAX {
                return Some(End::BrowserLeft);
            }
            self.unanswered.set(self.unanswered.get() + 1);
        }
        self.quiet.set(if self.has_moved.replace(false) { 0 } else { self.quiet.get().saturating_add(1) });
        let quiet = Duration::from_millis(limits::CONSOLE_PING_MS) * self.quiet.get();
        (quiet >= idle).then_some(End::Ordered(EndReason::Idle))
    }
}

/// Says why, and waits a little for the browser's own end, so that what was said arrives.
async fn close<IO>(sink: &mut Sink<IO>, inbox: &mut Inbox<IO>, end: &End)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let all = async {
        if let Some(frame) = end.frame() {
            sink.send(Message::Close(Some(frame))).await?;
        } else {
            // The answer to the browser's own closing frame.
            sink.flush().await?;
        }
        inbox.drain().await;
        sink.close().await
    };
    // Who does not take it is gone all the same.
    let _ = timeout(Duration::from_millis(limits::CONSOLE_CLOSE_DEADLINE_MS), all).await;
}

impl End {
    /// The closing frame; `None` where the browser has said its own.
    fn frame(&self) -> Option<CloseFrame> {
        let code = match self {
            Self::BrowserLeft => return None,
            Self::Refused(code, _) => *code,
            Self::ServerClosed | Self::Ordered(EndReason::Idle) => CloseCode::Normal,
            Self::Unreachable | Self::Rfb(_) => CloseCode::Error,
            Self::Ordered(EndReason::Stopping) => CloseCode::Away,
            Self::Ordered(EndReason::Cut | EndReason::Finished | EndReason::Broken) => CloseCode::Policy,
        };
        let reason = self.words();
        // A closing frame has room for 123 bytes (RFC 6455 § 5.5).
        let cut = reason.floor_char_boundary(123);
        Some(CloseFrame { code, reason: reason.get(..cut).unwrap_or_default().into() })
    }

    /// Why, in words: for the person, and for the audit.
    fn words(&self) -> String {
        match self {
            Self::BrowserLeft => LEFT.to_owned(),
            Self::Refused(_, reason) => (*reason).to_owned(),
            Self::ServerClosed => "the console of the VM closed the connection".to_owned(),
            Self::Unreachable => UNREACHABLE.to_owned(),
            Self::Rfb(error) => error.to_string(),
            Self::Ordered(EndReason::Idle) => "nothing moved for too long".to_owned(),
            Self::Ordered(EndReason::Stopping) => "the gate stops".to_owned(),
            Self::Ordered(EndReason::Cut | EndReason::Finished | EndReason::Broken) => {
                "this console was ended by a change or by somebody".to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_at_the_end_fits_its_frame() {
        let long = End::Rfb(RfbError::Refused("ä".repeat(200)));
        let reason = long.frame().unwrap().reason;
        assert!(reason.len() <= 123 && reason.contains('ä'), "{reason}");
    }

    #[test]
    fn a_browser_that_answers_no_ping_is_gone_and_silence_has_its_end() {
        let watch = || Watch {
            unanswered: Cell::new(0),
            is_stuffed: Cell::new(false),
            has_moved: Cell::new(false),
            quiet: Cell::new(0),
            page: None,
        };
        let gone = watch();
        let day = Duration::from_secs(86_400);
        let ends = |watch: &Watch, idle| (0..10).position(|_| watch.tick(idle).is_some());
        assert_eq!(ends(&gone, day), Some(3));
        let stuffed = watch();
        stuffed.is_stuffed.set(true);
        assert_eq!(ends(&stuffed, day), None, "who is not read cannot be heard");
        let quiet = watch();
        assert_eq!(ends(&quiet, Duration::from_millis(2 * limits::CONSOLE_PING_MS)), Some(1));
    }
}
