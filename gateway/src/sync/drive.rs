//! Drives the follower: stream after stream on one side, install after install on the other.
//!
//! The two sides meet in channels of one place, since the follower has at most one install outstanding. So an install
//! goes on while the stream breaks and is dialled again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use config::delta::Delta;
use config::limits;
use config::snapshot::Snapshot;
use config::sync::follower::{Action, Follower};
use config::sync::message::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::enrol::{self, Newcomer};
use super::renewal::Renewal;
use super::retry::Backoff;
use super::stream::{Framed, connect, decode};
use super::{Ends, Installer, Link, SyncError};
use crate::checkpoint::Checkpoint;

/// What following starts from.
pub(super) struct Origin {
    pub(super) renewal: Renewal,
    /// For a gateway that was withdrawn and has a new token.
    pub(super) newcomer: Newcomer,
    pub(super) checkpoint: Checkpoint,
    pub(super) have: Option<Arc<Snapshot>>,
    pub(super) degraded: Vec<String>,
}

struct Job {
    snapshot: Arc<Snapshot>,
    delta: Option<Delta>,
}

/// How an install ended, and what became of its checkpoint later.
#[derive(Debug)]
enum Outcome {
    Installed(Vec<String>),
    Undurable(Vec<String>, String),
    Durable,
    Refused(String),
}

/// Follows for ever.
pub(super) async fn run<I: Installer + Sync>(origin: Origin, installer: &I) {
    let Origin { renewal, newcomer, checkpoint, have, degraded } = origin;
    let (jobs, asked) = mpsc::channel(1);
    let (answers, outcomes) = mpsc::channel(1);
    let mut follower = Follower::new(have);
    follower.set_degraded(degraded);
    let timers = Timers::default();
    let mut driver =
        Driver { follower, installer, jobs, outcomes, timers, heard_any: false, greeted: false, renewal };
    tokio::select! {
        () = install(installer, checkpoint, asked, answers) => {}
        () = driver.follow(&newcomer) => {}
    }
}

/// Installs what the follower asks for, and makes it durable before it says so.
async fn install<I: Installer>(
    installer: &I,
    checkpoint: Checkpoint,
    mut jobs: mpsc::Receiver<Job>,
    outcomes: mpsc::Sender<Outcome>,
) {
    let checkpoint = Arc::new(Mutex::new(checkpoint));
    // What serves and is not on disk: tried again until it is, or something newer is.
    let mut unsaved: Option<Arc<Snapshot>> = None;
    let mut backoff = Backoff::new();
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            () = tokio::time::sleep(backoff.peek()), if unsaved.is_some() => {
                let _ = backoff.next();
                let Some(snapshot) = unsaved.clone() else { continue };
                let _turn = installer.turn().await;
                if installer.is_handed() {
                    unsaved = None;
                } else if save(&checkpoint, snapshot, None).await.is_ok() {
                    unsaved = None;
                    let _ = outcomes.send(Outcome::Durable).await;
                }
                continue;
            }
        };
        let Some(Job { snapshot, delta }) = job else { return };
        let _turn = installer.turn().await;
        let outcome = match installer.install(Arc::clone(&snapshot), delta.clone()).await {
            Ok(degraded) if installer.is_handed() => Outcome::Installed(degraded),
            Ok(degraded) => match save(&checkpoint, Arc::clone(&snapshot), delta).await {
                Ok(()) => {
                    unsaved = None;
                    Outcome::Installed(degraded)
                }
                Err(error) => {
                    backoff.reset();
                    unsaved = Some(snapshot);
                    Outcome::Undurable(degraded, format!("the checkpoint cannot be written: {error}"))
                }
            },
            Err(why) => {
                tracing::warn!(generation = %snapshot.generation(), %why, "generation refused");
                Outcome::Refused(why)
            }
        };
        if outcomes.send(outcome).await.is_err() {
            return;
        }
    }
}

/// Writes the checkpoint off the runtime's thread.
async fn save(
    checkpoint: &Arc<Mutex<Checkpoint>>,
    snapshot: Arc<Snapshot>,
    delta: Option<Delta>,
) -> std::io::Result<()> {
    let checkpoint = Arc::clone(checkpoint);
    let generation = snapshot.generation();
    let saved = tokio::task::spawn_blocking(move || {
        // A save that panicked left its files as they were: they are written aside.
        checkpoint.lock().unwrap_or_else(PoisonError::into_inner).save(&snapshot, delta.as_ref())
    });
    let saved = saved.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    saved.inspect_err(|error| {
        tracing::error!(%generation, %error, "the checkpoint cannot be written; a restart would go back");
    })
}

/// How long silence may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timers {
    pub(super) ping: Duration,
    pub(super) dead: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            ping: Duration::from_millis(limits::SYNC_PING_MS),
            dead: Duration::from_millis(limits::SYNC_DEAD_MS),
        }
    }
}

struct Driver<'a, I> {
    follower: Follower,
    installer: &'a I,
    jobs: mpsc::Sender<Job>,
    outcomes: mpsc::Receiver<Outcome>,
    timers: Timers,
    /// Whether control answered on the stream at hand.
    heard_any: bool,
    /// Whether `Hello` was sent on it: during an install it waits, and nothing but pings may go before it.
    greeted: bool,
    renewal: Renewal,
}

/// What this gateway asks and tells of its own accord, for ever: who waits for an answer comes first.
async fn wanted(installer: &impl Installer) -> Message {
    let asked = async {
        match installer.asking() {
            Some(asking) => asking.next().await,
            None => std::future::pending().await,
        }
    };
    let noted = async {
        match installer.audit() {
            Some(audit) => audit.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        message = asked => message,
        message = noted => message,
    }
}

enum Event {
    Frame(Result<Bytes, SyncError>),
    Installed(Option<Outcome>),
    Wanted(Message),
    Tick,
}

impl<I: Installer> Driver<'_, I> {
    async fn follow(&mut self, newcomer: &Newcomer) {
        let mut backoff = Backoff::new();
        loop {
            let told = self.renewal.addresses();
            let addresses = if newcomer.control.is_empty() { &told } else { &newcomer.control };
            if addresses.is_empty() {
                backoff.failed(&SyncError::NoAddress, self.installer);
            }
            for address in addresses {
                let error = match connect(address, self.renewal.config()).await {
                    Ok(io) => {
                        if let Ok(ends) = Ends::of(io.get_ref().0) {
                            self.installer.met(ends);
                        }
                        self.converse(Framed::new(io, limits::MESSAGE_BYTES_MAX)).await
                    }
                    Err(error) => error,
                };
                let heard_any = std::mem::take(&mut self.heard_any);
                let may_join = matches!(error, SyncError::Withdrawn) && newcomer.join_token.is_some();
                let error = if may_join {
                    match enrol::enrol(newcomer).await {
                        Ok(identity) => {
                            identity.gateway().into_iter().for_each(|gateway| self.installer.named(gateway));
                            self.renewal.replace(identity);
                            backoff.reset();
                            break;
                        }
                        Err(error) => error,
                    }
                } else {
                    error
                };
                if heard_any {
                    // This one works: a short pause, and then from the first address again.
                    backoff.reset();
                    backoff.failed(&error, self.installer);
                    break;
                }
                backoff.failed(&error, self.installer);
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// One stream from greeting to end; returns why it ended.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut framed: Framed<S>) -> SyncError {
        self.follower.handle_connected(self.installer.hello());
        let mut ticks = interval_at(Instant::now() + self.timers.ping, self.timers.ping);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_draining = self.installer.hello().draining;
        let mut stepped_back = std::pin::pin!(self.installer.stepped_back());
        let end = loop {
            if let Err(error) = self.act(&mut framed).await {
                break error;
            }
            let event = tokio::select! {
                frame = framed.receive() => Event::Frame(frame),
                outcome = self.outcomes.recv() => Event::Installed(outcome),
                // Nothing but pings may go before the greeting.
                message = wanted(self.installer), if self.greeted => Event::Wanted(message),
                _ = ticks.tick() => Event::Tick,
                // Introduced anew, as one that drains.
                () = &mut stepped_back, if !is_draining => break SyncError::SteppedBack,
            };
            if let Err(error) = self.handle(event, &mut framed).await {
                break error;
            }
        };
        self.follower.handle_disconnected();
        self.renewal.disconnected();
        if let Some(audit) = self.installer.audit() {
            audit.disconnected();
        }
        self.greeted = false;
        end
    }

    async fn handle<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        event: Event,
        framed: &mut Framed<S>,
    ) -> Result<(), SyncError> {
        match event {
            Event::Frame(frame) => {
                let message = decode(frame?).await?;
                if message == Message::Withdrawn {
                    return Err(SyncError::Withdrawn);
                }
                // A refusal is not yet an answer that makes this stream a good one.
                if !self.heard_any && !matches!(message, Message::Refused(_)) {
                    self.heard_any = true;
                    tracing::info!("connected to control");
                    self.installer.link(Link::Up);
                }
                self.renew(framed).await?;
                if let Message::Renewed(renewed) = message {
                    self.renewal.take(renewed).await;
                    return Ok(());
                }
                return self.heard(message, framed).await;
            }
            Event::Wanted(message) => framed.send(&message).await?,
            Event::Installed(Some(outcome)) => match outcome {
                Outcome::Installed(degraded) => self.follower.handle_installed(degraded),
                Outcome::Undurable(degraded, why) => self.follower.handle_undurable(degraded, &why),
                Outcome::Durable => self.follower.handle_durable(),
                Outcome::Refused(reason) => self.follower.handle_refused(reason),
            },
            Event::Installed(None) => return Err(SyncError::Closed("the gateway is ending".to_owned())),
            Event::Tick => {
                let silence = framed.heard().elapsed();
                if silence >= self.timers.dead {
                    return Err(SyncError::Silent { seconds: silence.as_secs() });
                }
                if let Some(degraded) = self.installer.degraded() {
                    self.follower.handle_degraded(degraded);
                }
                if self.greeted {
                    framed.send(&Message::Report(self.installer.report())).await?;
                }
                framed.send(&Message::Ping(0)).await?;
                self.renew(framed).await?;
            }
        }
        Ok(())
    }

    /// A message that is about what the gateway serves, or a question and its answer.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is the follower's")]
    async fn heard<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        message: Message,
        framed: &mut Framed<S>,
    ) -> Result<(), SyncError> {
        match message {
            Message::Ask(ask) => {
                if let Some(told) = self.installer.asked(&ask).filter(|_| self.greeted) {
                    framed.send(&Message::Told(told)).await?;
                }
            }
            Message::Told(told) if self.installer.audit().is_some_and(|audit| audit.told(&told)) => {}
            Message::Told(told) => {
                if let Some(asking) = self.installer.asking() {
                    asking.told(told);
                }
            }
            message => self.follower.handle_message(message),
        }
        Ok(())
    }

    /// Asks for a new certificate when it is time. A process on its way out leaves that to its successor.
    async fn renew<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        framed: &mut Framed<S>,
    ) -> Result<(), SyncError> {
        if !self.heard_any || !self.greeted || !self.renewal.is_due() || self.installer.hello().draining {
            return Ok(());
        }
        match self.renewal.ask() {
            Some(renew) => framed.send(&renew).await,
            None => Ok(()),
        }
    }

    /// Does what the follower wants done.
    async fn act<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        framed: &mut Framed<S>,
    ) -> Result<(), SyncError> {
        while let Some(action) = self.follower.poll() {
            match action {
                Action::Send(message) => {
                    framed.send(&message).await?;
                    if matches!(message, Message::Hello(_)) {
                        self.greeted = true;
                        // A gateway that has everything hears nothing; the answer shows that control took it.
                        framed.send(&Message::Ping(1)).await?;
                    }
                }
                Action::Install { snapshot, delta } => {
                    // Never waits: one place, and one install outstanding.
                    let _ = self.jobs.send(Job { snapshot, delta }).await;
                }
                Action::Close(why) => return Err(SyncError::Closed(why)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
