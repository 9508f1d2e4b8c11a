//! One handshake: the hello, what the generation says about the name in it, and the rest; all under one deadline.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::settings::UnknownSni;
use rustls::ServerConfig;
use rustls::server::{Accepted as Hello, ClientHello};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::StartHandshake;

use super::ahead::Ahead;
use super::clients::ClientChain;
use super::hello;
use super::passthrough::Passing;
use super::rules::{Rule, Setup};
use super::{AcceptError, Accepted, SecuredMeta};
use crate::live::Pinned;
use crate::telemetry::TlsFacts;
use crate::worker::Worker;

/// Alerts that are sent before there is anybody else to send them (RFC 8446 § 6).
const ACCESS_DENIED: u8 = 49;
const UNRECOGNIZED_NAME: u8 = 112;

/// Does the server's side of a handshake on `tcp`.
///
/// Takes at most [`limits::HANDSHAKE_DEADLINE_MS`], from the first wait for bytes to the last. A connection that sends
/// no hello holds none of the worker's [`limits::HANDSHAKES_PER_WORKER_MAX`] places; one that finds them all taken
/// waits its turn within the deadline.
pub(crate) async fn accept(worker: &Rc<Worker>, tcp: TcpStream) -> Result<Accepted, AcceptError> {
    accept_within(worker, tcp, Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS)).await
}

pub(super) async fn accept_within(
    worker: &Rc<Worker>,
    mut tcp: TcpStream,
    time: Duration,
) -> Result<Accepted, AcceptError> {
    let deadline = Instant::now() + time;
    let read = timeout_at(deadline, read_hello(&mut tcp)).await.map_err(|_| AcceptError::Deadline)?;
    let pinned = worker.pin();
    let (hello, early) = match read {
        Ok(read) => read,
        Err(Unread::Io(cause)) => return Err(AcceptError::Handshake(cause)),
        Err(Unread::Foreign(foreign)) => return pass_foreign(tcp, *foreign, pinned),
    };
    let choice = match choose(worker, pinned.as_ref(), &hello.client_hello()) {
        Ok(choice) => choice,
        Err(error) => {
            alert(&tcp, UNRECOGNIZED_NAME);
            return Err(error);
        }
    };
    if let (Choice::Pass, Some(pinned)) = (&choice, pinned) {
        let sni = hello.client_hello().server_name().map(Box::from);
        return Ok(Accepted::Passing(Box::new(Passing { tcp, early, pinned, sni: sni.unwrap_or_default() })));
    }
    drop(early);
    let start = StartHandshake::from_parts(hello, Ahead::new(tcp, Rc::clone(worker)));
    finish(worker, start, choice, deadline).await
}

/// A hello that is not ours to understand if its name is passed through; otherwise the client is told why.
fn pass_foreign(tcp: TcpStream, foreign: Foreign, pinned: Option<Pinned>) -> Result<Accepted, AcceptError> {
    let Foreign { early, error, said } = foreign;
    if let (Some(pinned), Some(sni)) = (pinned, hello::server_name(&early))
        && let Some(Rule::Passthrough(_)) = pinned.tls.of(&pinned.table, sni.as_str())
    {
        return Ok(Accepted::Passing(Box::new(Passing { tcp, early, pinned, sni: sni.as_str().into() })));
    }
    // An alert that the socket does not take at once has nobody to read it.
    let _ = tcp.try_write(&said);
    Err(AcceptError::Handshake(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Why there is no hello that we understand.
enum Unread {
    Foreign(Box<Foreign>),
    Io(io::Error),
}

impl From<io::Error> for Unread {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

/// A hello that the library refuses.
struct Foreign {
    early: Vec<u8>,
    error: rustls::Error,
    /// The alert that says so.
    said: Vec<u8>,
}

/// What a hello leads to.
enum Choice {
    /// A handshake made with this; whether it asked for a certificate.
    Terminate { config: Arc<ServerConfig>, asks: bool },
    /// An authority that looks.
    Answer(Arc<ServerConfig>),
    /// The upstream's own TLS.
    Pass,
}

fn choose(worker: &Worker, pinned: Option<&Pinned>, hello: &ClientHello<'_>) -> Result<Choice, AcceptError> {
    let acceptor = &worker.shared.tls;
    let Some(live) = pinned else {
        return Ok(Choice::Terminate { config: acceptor.before_the_first()?, asks: false });
    };
    if let Some(config) = live.tls.challenges.tls(hello) {
        return Ok(Choice::Answer(Arc::clone(config)));
    }
    let sni = hello.server_name();
    let setup: &Setup = match sni.and_then(|sni| live.tls.of(&live.table, sni)) {
        Some(Rule::Passthrough(_)) => return Ok(Choice::Pass),
        Some(Rule::Terms(terms)) => &terms.setup,
        None => &live.tls.usual,
    };
    let is_known = || sni.is_some_and(|sni| live.certs.knows(sni));
    if worker.shared.settings.unknown_sni == UnknownSni::Refuse && !is_known() {
        return Err(AcceptError::UnknownName);
    }
    let config =
        setup.config(acceptor, hello).map_err(|error| AcceptError::Handshake(io::Error::other(error)))?;
    Ok(Choice::Terminate { config, asks: setup.asks() })
}

async fn finish(
    worker: &Worker,
    start: StartHandshake<Ahead>,
    choice: Choice,
    deadline: Instant,
) -> Result<Accepted, AcceptError> {
    let (config, asks, is_answer) = match choice {
        Choice::Terminate { config, asks } => (config, asks, false),
        Choice::Answer(config) => (config, false, true),
        // Not reached: there is a generation where something is passed through.
        Choice::Pass => return Err(AcceptError::UnknownName),
    };
    // The hello is cheap; the signature after it is what a flood of hellos would starve traffic with.
    let place = timeout_at(deadline, worker.handshakes.acquire()).await;
    let _place = place.map_err(|_| AcceptError::Busy)?.map_err(|_| AcceptError::Busy)?;

    let stream = timeout_at(deadline, start.into_stream(config)).await.map_err(|_| AcceptError::Deadline)?;
    let mut stream = stream.map_err(AcceptError::Handshake)?;
    stream.get_mut().0.has_shaken_hands();
    if is_answer {
        // It saw what it came for; an end that it does not wait for is an end all the same.
        let _ = timeout_at(deadline, stream.shutdown()).await;
        return Ok(Accepted::Answered);
    }
    let state = stream.get_ref().1;
    let sni = state.server_name().map(Arc::from);
    let agreed = TlsFacts::of(state);
    let is_ended = agreed.is_tls_1_3();
    let clients = asks.then(|| Rc::new(ClientChain::of(state.peer_certificates())));
    if !is_ended {
        // The other side waits for the end of it; that of TLS 1.3 is a ticket, which goes with the first response.
        let flushed = timeout_at(deadline, stream.flush()).await.map_err(|_| AcceptError::Deadline)?;
        flushed.map_err(AcceptError::Handshake)?;
    }
    Ok(Accepted::Http(stream, SecuredMeta { sni, agreed, clients }))
}

/// Reads until the hello is whole. Returns every byte that was read, too: they may be the upstream's to read.
async fn read_hello(tcp: &mut TcpStream) -> Result<(Hello, Vec<u8>), Unread> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut read = Vec::new();
    loop {
        // Nothing is held before the first byte is there.
        tcp.readable().await?;
        let before = read.len();
        if before >= limits::HELLO_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the hello is too large").into());
        }
        read.reserve(limits::HELLO_READ_BYTES);
        // No more at once than the library takes between two looks at it.
        let mut piece = bytes::BufMut::limit(&mut read, limits::HELLO_READ_BYTES);
        // Not `try_read_buf`: this one remembers that nothing more was there, and spares the next look.
        if tcp.read_buf(&mut piece).await? == 0 {
            return Err(Unread::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let mut fresh = read.get(before..).unwrap_or_default();
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
        }
        match acceptor.accept() {
            Ok(Some(hello)) => return Ok((hello, read)),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut said = Vec::new();
                alert.write_all(&mut said)?;
                return Err(Unread::Foreign(Box::new(Foreign { early: read, error, said })));
            }
        }
    }
}

/// Says why there is no handshake. A socket that does not take seven bytes at once has nobody to read them.
fn alert(tcp: &TcpStream, description: u8) {
    const FATAL: u8 = 2;
    let _ = tcp.try_write(&[21, 3, 3, 0, 2, FATAL, description]);
}

/// Says that the client may not come in.
pub(super) fn deny(tcp: &TcpStream) {
    alert(tcp, ACCESS_DENIED);
}
