//! What must not be lost of what happens here: who opened what and was refused what, until control has written it.
//!
//! Whoever notes something never waits. A thread puts it on the disk ([`writer`]), the stream to control tells it from
//! there, and it is forgotten when control says that it stands in the audit; what is told twice is written once. So a
//! restart, a full day without control and an upgrade lose nothing; beyond the bounds the oldest goes, and that is told,
//! too. What one person does again and again, and what strangers do, is told a few times and then counted ([`restraint`]):
//! nobody may fill the audit, or keep others out of it.

mod file;
mod restraint;
mod waiting;
mod writer;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::id::{AuditId, SessionId};
use config::limits;
use config::sync::asking::Told;
use config::sync::audit::{AuditEvent, Carried, On, What, Who};
use config::sync::message::Message;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::clock::now_ms;
use waiting::{Next, Waiting};
use writer::Writer;

/// What waits to be told to control, whichever worker noted it.
#[derive(Default)]
pub struct Audit {
    shared: Arc<Shared>,
    /// Without one, everything is in memory alone.
    writer: Option<Writer>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// The writer waits here.
    work: Condvar,
    /// One waits at a time: the driver of the stream.
    wake: Notify,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) what: What,
    pub(crate) on: On,
    pub(crate) who: Who,
    /// How they proved it.
    pub(crate) proof: String,
    pub(crate) source: IpAddr,
    pub(crate) session: Option<SessionId>,
    /// Why it was refused, or why it ended.
    pub(crate) why: String,
    pub(crate) totals: Option<Carried>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Audit(..)")
    }
}

impl Audit {
    /// Keeps what waits below `directory`, and takes over what earlier processes left there.
    ///
    /// Errors: the directory or a thread cannot be had.
    pub(crate) fn open(directory: &Path) -> std::io::Result<Self> {
        Self::open_looking(directory, Duration::from_millis(limits::AUDIT_LEFT_BEHIND_MS))
    }

    /// The same with another pause between two looks for what processes left that end meanwhile.
    fn open_looking(directory: &Path, pause: Duration) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let writer = Writer::start(&directory.join("audit"), Arc::clone(&shared), pause)?;
        Ok(Self { shared, writer: Some(writer) })
    }

    /// Takes note of something. Never waits.
    pub(crate) fn note(&self, happened: Happened) {
        let event = event(happened);
        let now = std::time::Instant::now();
        let mut waiting = self.shared.lock();
        waiting.settle(now);
        if waiting.restraint.admits(&event, now) {
            waiting.write(event);
        }
        if self.writer.is_none() {
            waiting.keep_unwritten();
            drop(waiting);
            return self.shared.wake.notify_one();
        }
        let is_new = waiting.has_unwritten();
        drop(waiting);
        if is_new {
            self.shared.work.notify_one();
        }
    }

    /// The next message to control; dropping the call loses nothing.
    pub(crate) async fn next(&self) -> Message {
        loop {
            let (next, counted) = self.look();
            let again = match next {
                Next::Tell(ask) => return Message::Ask(ask),
                Next::Again(at) => Some(at),
                Next::Nothing => None,
            };
            tokio::select! {
                () = self.shared.wake.notified() => {}
                () = at_last(again) => {}
                () = at_last(counted) => {}
            }
        }
    }

    /// What is to be done for control, and when to look for what was only counted, if nobody else does.
    fn look(&self) -> (Next, Option<Instant>) {
        let now = Instant::now();
        let mut waiting = self.shared.lock();
        if self.writer.is_some() {
            return (waiting.next(now), None);
        }
        waiting.settle(now.into_std());
        waiting.keep_unwritten();
        (waiting.next(now), waiting.restraint.until().map(Instant::from_std))
    }

    /// Takes the answer to a question of this one; `false` if it is to another.
    pub(crate) fn told(&self, told: &Told) -> bool {
        if !waiting::is_ours(told.number) {
            return false;
        }
        if self.shared.lock().noted(told) {
            self.shared.wake.notify_one();
            self.shared.work.notify_one();
        }
        true
    }

    /// The stream ended: what was told on it is told again on the next one.
    pub(crate) fn disconnected(&self) {
        self.shared.lock().disconnected();
    }

    /// Waits until everything noted so far is on the disk, also what was only counted. Blocking.
    pub(crate) fn flush(&self) {
        self.shared.lock().sum_up();
        if let Some(writer) = &self.writer {
            writer.flush();
        }
    }

    /// How many events wait until control has written them.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.lock().len()
    }

    /// How many were lost, because too many waited.
    pub(crate) fn lost_in_all(&self) -> u64 {
        self.shared.lock().lost_in_all
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn at_last(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn event(happened: Happened) -> AuditEvent {
    let Happened { what, on, who, proof, source, session, why, totals } = happened;
    let on = match on {
        On::Jump { vm, target } => On::Jump { vm, target: short(target) },
        On::Ssh { login } => On::Ssh { login: short(login) },
        On::Console(_) | On::Audit | On::Other => on,
    };
    AuditEvent {
        id: AuditId::from_uuid(uuid::Uuid::now_v7()),
        at_ms: now_ms(),
        what,
        on,
        who,
        proof: short(proof),
        source: source.to_canonical(),
        session,
        why: short(why),
        totals,
    }
}

/// As much of a text as an event carries.
fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::AUDIT_TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests;
