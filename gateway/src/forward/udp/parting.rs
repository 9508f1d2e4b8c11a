//! What becomes of sessions whose forward is gone and whose policy lets them finish: each gets a socket of its own,
//! connected to its client, so that the port can be closed to everybody else at once.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use config::limits;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::super::bind;
use super::gate::{self, Gate};
use super::session::{Session, heard};
use super::{Hall, Key};
use crate::session::EndReason;
use crate::worker::Worker;

/// A socket of one session to its client.
pub(super) struct Parted {
    socket: UdpSocket,
    client: SocketAddr,
    worker: Rc<Worker>,
    port: u16,
}

impl Drop for Parted {
    fn drop(&mut self) {
        self.worker.shared.forwards.unpart(self.port);
    }
}

/// Gives every session of a hall that may go on a socket of its own; ends the others. The hall's own socket is still
/// open, so that no datagram comes in between.
pub(super) fn part(hall: &Rc<Hall>, gate: &Gate) {
    hall.closing.set(true);
    let sessions = hall.table.borrow().all();
    for session in sessions {
        if session.handle.ends_now() || session.upstream.get().is_none() {
            hall.end(&session, EndReason::Cut);
            continue;
        }
        match open(hall, session.key) {
            Ok(parted) => {
                let _ = session.parted.set(Box::new(parted));
                session.wake.notify_one();
            }
            Err(cause) => {
                tracing::debug!(spot = %hall.spot, %cause, "a session ends with its forward");
                hall.end(&session, EndReason::Cut);
            }
        }
    }
    // What lies in the old socket is still theirs.
    for _ in 0..limits::UDP_LAST_BATCHES_MAX {
        if !hall.take_by(|buffer| gate.recv(buffer)) {
            break;
        }
    }
}

fn open(hall: &Hall, key: Key) -> io::Result<Parted> {
    let local = key.local.unwrap_or(hall.spot.ip);
    if local.is_unspecified() {
        return Err(io::Error::other("which address the client uses is not known"));
    }
    let socket = bind::bind_for(hall.spot, local, key.client)?;
    let socket = UdpSocket::from_std(socket)?;
    hall.worker.shared.forwards.part(hall.spot.port);
    Ok(Parted { socket, client: key.client, worker: Rc::clone(&hall.worker), port: hall.spot.port })
}

/// Carries both ways until the session is over.
pub(super) async fn serve(
    hall: &Rc<Hall>,
    session: &Rc<Session>,
    upstream: &UdpSocket,
    parted: &Parted,
) -> EndReason {
    let idle = hall.idle.get();
    let mut ended = std::pin::pin!(session.handle.ended());
    let mut silent = std::pin::pin!(sleep_until(Instant::now() + idle));
    loop {
        let (from, up) = tokio::select! {
            biased;
            reason = &mut ended => return reason,
            () = session.wake.notified() => match session.over.get() {
                Some(reason) => return reason,
                None => continue,
            },
            () = &mut silent => return EndReason::Idle,
            heard = heard(session, &parted.socket) => (heard, true),
            heard = heard(session, upstream) => (heard, false),
        };
        let moved = from.and_then(|()| {
            if up { parted.move_up(hall, session) } else { parted.move_down(hall, session, upstream) }
        });
        match moved {
            Ok(()) => silent.as_mut().reset(Instant::now() + idle),
            Err(reason) => return reason,
        }
    }
}

impl Parted {
    fn move_up(&self, hall: &Hall, session: &Session) -> Result<(), EndReason> {
        let mut buffer = hall.worker.forwards.buffer.borrow_mut();
        buffer.resize(limits::UDP_BUFFER_BYTES, 0);
        for _ in 0..limits::UDP_BATCH_MAX {
            match self.socket.try_recv_from(&mut buffer) {
                // Between its bind and its connect anybody's could come in.
                Ok((_, from)) if from != self.client => {}
                Ok((count, _)) => {
                    session.pass_on(&hall.worker, buffer.get(..count).unwrap_or_default())?;
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
                Err(cause) => session.failed(&cause)?,
            }
        }
        Ok(())
    }

    fn move_down(&self, hall: &Hall, session: &Session, upstream: &UdpSocket) -> Result<(), EndReason> {
        let mut buffer = hall.worker.forwards.buffer.borrow_mut();
        buffer.resize(limits::UDP_BUFFER_BYTES, 0);
        for _ in 0..limits::UDP_BATCH_MAX {
            let count = match upstream.try_recv(&mut buffer) {
                Ok(count) => count,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => break,
                Err(cause) => return session.failed(&cause),
            };
            match gate::send(&self.socket, buffer.get(..count).unwrap_or_default()) {
                Ok(count) => session.handle.carried(0, count as u64),
                Err(cause) => session.failed(&cause)?,
            }
        }
        Ok(())
    }
}
