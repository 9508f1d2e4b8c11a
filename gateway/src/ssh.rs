//! The jump host: public key to principal, `direct-tcpip` to granted VMs, everything else refused by construction.
//!
//! [`sources`] slows who fails again and again, [`room`] bounds who has not authenticated yet, [`algorithms`] is what we
//! offer with our [`host_keys`], [`server`] is the door: what becomes of each thing a client can ask. [`auth`] makes a person of a key,
//! [`certificate`] of a certificate; [`rights`] says what they may reach, and [`jump`] makes a connection of a channel. The
//! inner SSH session is end to end: what passes here is ciphertext, and the gateway never sees a credential of a VM.
//!
//! One channel that stands still holds up no other of its connection: russh is patched so that a window is opened again
//! only for bytes that were taken (`vendor/README.md`).

mod algorithms;
mod auth;
mod certificate;
mod control;
mod cuttable;
mod host_keys;
mod jump;
mod rights;
mod room;
mod server;
mod sources;
mod tried;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::limits;
use russh::server::RunningSession;
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::guard::Permit;
use crate::telemetry::Counters;
use crate::worker::{Shared, Worker};
pub(crate) use algorithms::Offers;
use cuttable::Cuttable;
pub(crate) use host_keys::HostKeys;
pub use room::Room;
use room::{Seat, Stay};
use server::Door;
use sources::Newcomer;
pub use sources::Sources;
use tried::Tried;

/// What the tasks of one SSH connection have in common. Sendable, as russh wants it, though nothing leaves the thread.
struct Connection {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    peer: SocketAddr,
    /// Cancelled to end the connection, and when it has ended.
    closed: CancellationToken,
    /// Cancelled when the keys are exchanged and the client asks to authenticate.
    asks: CancellationToken,
    /// Cancelled when somebody authenticated.
    authenticated: CancellationToken,
    /// Cancelled when russh is done with it; `closed` follows at once.
    over: CancellationToken,
    /// The client disconnected as clients do, and did not just vanish.
    goodbye: AtomicBool,
    /// Room for channels.
    channels: Arc<Semaphore>,
    tried: Tried,
}

/// What the log says of a connection that was displaced.
const MADE_ROOM: &str = "closed: made room for another that has not authenticated yet either";

/// Serves one SSH connection to its end. Without a generation in force, or without a host key in it, it is closed.
pub async fn serve(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, permit: Permit) {
    let _permit = permit;
    let (newcomer, delay) = worker.shared.ssh_sources.enter(peer.ip());
    // Slowed before it takes any of the room that all share.
    if !delay.is_zero() {
        tokio::select! {
            () = sleep(delay) => {}
            () = newcomer.displaced().cancelled() => return debug!(%peer, "{MADE_ROOM}"),
            () = worker.shared.drain.stopping() => return newcomer.excused(),
        }
    }
    let Some(offers) = worker.pin().and_then(|live| live.ssh.clone()) else {
        debug!(%peer, "closed: no host key in force");
        return newcomer.excused();
    };
    let seat = worker.shared.ssh_room.enter(newcomer.source(), newcomer.displaced().clone());
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%peer, %error, "nodelay");
    }
    let connection = Arc::new(Connection {
        shared: Arc::clone(&worker.shared),
        counters: Arc::clone(&worker.counters),
        peer,
        closed: CancellationToken::new(),
        asks: CancellationToken::new(),
        authenticated: CancellationToken::new(),
        over: CancellationToken::new(),
        goodbye: AtomicBool::new(false),
        channels: Arc::new(Semaphore::new(limits::SSH_CHANNELS_MAX)),
        tried: Tried::default(),
    });
    // However this task ends, the jumps and the session's own task end with it.
    let _closed = connection.closed.clone().drop_guard();
    match greet(tcp, &connection, offers, Waiting { newcomer, seat }).await {
        // Nobody aborts the session's task: it did not come back because it panicked.
        Err(russh::Error::Join(_)) => worker.counters.panic(),
        // An ordinary disconnect ends in an error, too.
        Err(error) => debug!(%peer, %error, "connection ended"),
        Ok(()) => {
            connection.goodbye.store(true, Ordering::Release);
            debug!(%peer, "connection ended");
        }
    }
    if !connection.authenticated.is_cancelled() {
        connection.tried.tell(&worker.shared.audit, peer.ip());
    }
}

/// What a connection holds until somebody authenticated.
struct Waiting {
    newcomer: Newcomer,
    seat: Seat,
}

/// Greets a client, and attends to it to its end.
async fn greet(
    tcp: TcpStream,
    connection: &Arc<Connection>,
    offers: Arc<Offers>,
    waiting: Waiting,
) -> Result<(), russh::Error> {
    let since = Instant::now();
    let deadline = since + connection.shared.ssh_room.stay.kex;
    let cuttable = Cuttable::new(tcp, connection.closed.clone());
    let stream = BufReader::with_capacity(limits::SSH_READ_BUFFER_BYTES, cuttable);
    let first = offers.first();
    let door = Door::new(Arc::clone(connection), offers);
    let greeting = timeout_at(deadline, russh::server::run_stream(first, stream, door));
    let greeted = tokio::select! {
        greeted = greeting => greeted,
        () = waiting.newcomer.displaced().cancelled() => {
            debug!(peer = %connection.peer, "{MADE_ROOM}");
            return Ok(());
        }
        () = connection.shared.drain.stopping() => {
            waiting.newcomer.excused();
            return Ok(());
        }
    };
    match greeted {
        Err(_) => {
            debug!(peer = %connection.peer, "closed: no greeting in time");
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Ok(Ok(session)) => attend(session, connection, waiting, since).await,
    }
}

/// Waits for the end of a session, and makes it come where a deadline or the way out demands it.
async fn attend(
    mut session: RunningSession<Door>,
    connection: &Connection,
    waiting: Waiting,
    since: Instant,
) -> Result<(), russh::Error> {
    tokio::select! {
        // First, in case both are so.
        biased;
        () = connection.authenticated.cancelled() => {
            waiting.newcomer.logged_in();
            drop(waiting.seat);
        }
        end = &mut session => return end,
        what = overdue(connection, since) => {
            debug!(peer = %connection.peer, "closed: {what} in time");
            connection.closed.cancel();
        }
        () = waiting.newcomer.displaced().cancelled() => {
            debug!(peer = %connection.peer, "{MADE_ROOM}");
            connection.closed.cancel();
        }
        () = connection.shared.drain.stopping() => {
            waiting.newcomer.excused();
            connection.closed.cancel();
        }
    }
    tokio::select! {
        end = &mut session => return end,
        () = no_more_to_do(connection) => connection.closed.cancel(),
    }
    session.await
}

/// Resolves when a client that came at `since` has taken too long, with what it did not do.
async fn overdue(connection: &Connection, since: Instant) -> &'static str {
    let Stay { kex, auth } = connection.shared.ssh_room.stay;
    tokio::select! {
        () = connection.asks.cancelled() => {}
        () = sleep_until(since + kex) => return "no keys exchanged",
    }
    sleep_until(since + auth).await;
    "not authenticated"
}

/// Resolves when the process is on its way out and the connection has no channel left.
async fn no_more_to_do(connection: &Connection) {
    connection.shared.drain.parting().await;
    let all = u32::try_from(limits::SSH_CHANNELS_MAX).unwrap_or(u32::MAX);
    // Waiting for all of the room also keeps new channels out.
    let _ = connection.channels.acquire_many(all).await;
}

#[cfg(test)]
mod tests;
