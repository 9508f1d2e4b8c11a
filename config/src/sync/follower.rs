//! The gateway's end of the stream.
//!
//! Order of calls: `handle_connected`, then any of `handle_message`, `handle_installed`, `handle_undurable`,
//! `handle_durable`, `handle_refused`, each followed by `poll` until it returns `None`; `handle_disconnected` at the end. The driver compiles, swaps and writes the
//! checkpoint between an `Install` and the `handle_installed`, `handle_undurable` or `handle_refused` that answers it. An install outlives
//! the stream that brought it: `handle_installed` may come while nothing is connected.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::delta::{self, Delta};
use crate::limits;
use crate::snapshot::{Digest, Generation, Lineage, Snapshot};
use crate::sync::message::{Ack, FORMATS, Have, Hello, Message, Nack};

/// What the driver is to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Put this on the stream.
    Send(Message),
    /// Put this generation in force; it is whole and its digest is right. The next one comes after the answer.
    Install {
        /// The generation.
        snapshot: Arc<Snapshot>,
        /// The change from the one in force, when it came as one.
        delta: Option<Delta>,
    },
    /// End the stream: the peer breaks the protocol or refused us, or a new greeting is due.
    Close(String),
}

/// A generation as it came.
#[derive(Debug)]
enum Incoming {
    Whole(Snapshot),
    Change(Delta),
}

impl Incoming {
    const fn mark(&self) -> (Lineage, Generation) {
        match self {
            Self::Whole(snapshot) => (snapshot.lineage(), snapshot.generation()),
            Self::Change(delta) => (delta.lineage, delta.to),
        }
    }

    const fn digest(&self) -> Digest {
        match self {
            Self::Whole(snapshot) => snapshot.digest(),
            Self::Change(delta) => delta.digest,
        }
    }
}

/// Follows what control publishes.
#[derive(Debug)]
pub struct Follower {
    in_force: Option<Arc<Snapshot>>,
    degraded: Vec<String>,
    /// Why what is in force is not on disk; it is not acknowledged until it is.
    undurable: Option<String>,
    /// This stream's `Hello` said that it is not durable.
    greeted_undurable: bool,
    installing: Option<Arc<Snapshot>>,
    /// The newest that came during an install; at most one, because only the newest counts.
    queued: Option<Incoming>,
    connected: bool,
    /// Not sent yet: what is in force is about to change, and what `Hello` says must stay true.
    hello: Option<Hello>,
    actions: VecDeque<Action>,
}

impl Follower {
    /// A follower that serves `have`, which came from the checkpoint.
    pub fn new(have: Option<Arc<Snapshot>>) -> Self {
        Self {
            in_force: have,
            degraded: Vec::new(),
            undurable: None,
            greeted_undurable: false,
            installing: None,
            queued: None,
            connected: false,
            hello: None,
            actions: VecDeque::new(),
        }
    }

    /// Says what is paused in the generation that came from the checkpoint; the next `Hello` carries it.
    pub fn set_degraded(&mut self, degraded: Vec<String>) {
        self.degraded = degraded;
    }

    /// The stream is up and authenticated; `hello` is sent with what is in force filled in.
    ///
    /// During an install it waits for the end of it, so that each acknowledgement on a stream answers something that
    /// came on the same stream.
    pub fn handle_connected(&mut self, hello: Hello) {
        self.handle_disconnected();
        self.connected = true;
        self.hello = Some(hello);
        self.introduce();
    }

    /// The stream is gone.
    pub fn handle_disconnected(&mut self) {
        self.connected = false;
        self.hello = None;
        self.queued = None;
        // An install goes on; what was to be said on the old stream is not.
        self.actions.retain(|action| matches!(action, Action::Install { .. }));
    }

    /// A message came.
    pub fn handle_message(&mut self, message: Message) {
        if !self.connected {
            return;
        }
        match message {
            Message::Snapshot(snapshot) => self.take(Incoming::Whole(snapshot)),
            Message::Delta(delta) => self.take(Incoming::Change(delta)),
            Message::Damaged(nack) => self.send(Message::Nack(nack)),
            Message::Ping(number) => self.send(Message::Pong(number)),
            Message::Refused(why) => self.close(format!("control refused this gateway: {why}")),
            // The last are not about what the gateway serves: the driver's.
            Message::Pong(_)
            | Message::Unknown
            | Message::Renewed(_)
            | Message::Withdrawn
            | Message::Ask(_)
            | Message::Told(_) => {}
            Message::Enrol(_)
            | Message::Enrolled(_)
            | Message::Hello(_)
            | Message::Ack(_)
            | Message::Nack(_)
            | Message::Report(_)
            | Message::Renew(_) => {
                self.close("control sent a message that is not control's to send here".to_owned());
            }
        }
    }

    /// The generation of the last `Install` is serving and durable.
    pub fn handle_installed(&mut self, degraded: Vec<String>) {
        let Some(installed) = self.installing.take() else { return };
        let generation = installed.generation();
        self.in_force = Some(installed);
        self.degraded = degraded;
        self.undurable = None;
        self.greeted_undurable = false;
        if self.hello.is_none() {
            self.acknowledge(generation);
        }
        self.go_on();
    }

    /// The generation of the last `Install` is serving, and the disk does not take it.
    ///
    /// Control hears why instead of an acknowledgement, and newer generations are followed all the same: a full disk
    /// must not hold up a change.
    pub fn handle_undurable(&mut self, degraded: Vec<String>, why: &str) {
        let Some(installed) = self.installing.take() else { return };
        let generation = installed.generation();
        let reason = format!("generation {generation} is in force and would not outlive a restart: {why}");
        self.in_force = Some(installed);
        self.degraded = degraded;
        if self.hello.is_none() {
            self.refuse(generation, reason.clone(), false);
        }
        self.undurable = Some(reason);
        self.greeted_undurable = false;
        self.go_on();
    }

    /// What is paused in the generation in force, which can change without anything being sent: a list expires. Control
    /// hears of it by another acknowledgement.
    pub fn handle_degraded(&mut self, degraded: Vec<String>) {
        let Some(in_force) = self.in_force.as_ref().filter(|_| self.installing.is_none()) else { return };
        if self.degraded == degraded {
            return;
        }
        let generation = in_force.generation();
        self.degraded = degraded;
        if self.connected && self.hello.is_none() && self.undurable.is_none() {
            self.acknowledge(generation);
        }
    }

    /// The generation in force, which was not durable, is now.
    pub fn handle_durable(&mut self) {
        if self.undurable.take().is_none() || !self.connected || self.hello.is_some() {
            return;
        }
        if self.greeted_undurable {
            // It came on an older stream, perhaps of another lineage, and an acknowledgement names none.
            self.close("what is in force is durable now; greeting control again".to_owned());
        } else if let Some(generation) = self.in_force() {
            self.acknowledge(generation);
        }
    }

    /// The generation of the last `Install` was refused; the one before stays in force.
    pub fn handle_refused(&mut self, reason: String) {
        let Some(refused) = self.installing.take() else { return };
        if self.hello.is_none() {
            self.refuse(refused.generation(), reason, false);
        }
        self.go_on();
    }

    /// What to do next; `None` until something is handled.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The generation in force.
    pub fn in_force(&self) -> Option<Generation> {
        self.in_force.as_ref().map(|snapshot| snapshot.generation())
    }

    fn go_on(&mut self) {
        self.introduce();
        if let Some(incoming) = self.queued.take() {
            self.consider(incoming);
        }
    }

    fn introduce(&mut self) {
        if self.installing.is_some() {
            return;
        }
        let Some(mut hello) = self.hello.take() else { return };
        if hello.formats.is_empty() {
            hello.formats = FORMATS.to_vec();
        }
        hello.have = self.in_force.as_ref().map(|snapshot| Have::of(snapshot));
        hello.undurable = self.undurable.is_some();
        self.greeted_undurable = hello.undurable;
        hello.degraded.clone_from(&self.degraded);
        self.send(Message::Hello(hello));
    }

    fn take(&mut self, incoming: Incoming) {
        if self.installing.is_none() {
            return self.consider(incoming);
        }
        let (lineage, generation) = incoming.mark();
        let is_older = self.queued.as_ref().is_some_and(|queued| {
            let mark = queued.mark();
            mark.0 == lineage && mark.1 > generation
        });
        if !is_older {
            self.queued = Some(incoming);
        }
    }

    /// Decides on a generation while none is being installed.
    fn consider(&mut self, incoming: Incoming) {
        let (lineage, generation) = incoming.mark();
        if let Some(mine) = self.in_force.as_ref().filter(|mine| mine.lineage() == lineage) {
            if generation < mine.generation() {
                return;
            }
            if generation == mine.generation() {
                let is_equal = mine.digest() == incoming.digest();
                return match &self.undurable {
                    None if is_equal => self.acknowledge(generation),
                    Some(why) if is_equal => self.refuse(generation, why.clone(), false),
                    None | Some(_) => {
                        let why = "this generation is in force with other objects; a number is used once";
                        self.refuse(generation, why.to_owned(), false);
                    }
                };
            }
        }
        match incoming {
            Incoming::Whole(snapshot) => self.install(snapshot, None),
            Incoming::Change(delta) => self.change(delta),
        }
    }

    fn change(&mut self, delta: Delta) {
        let Some(mine) = &self.in_force else {
            return self.refuse(delta.to, "a change came, and nothing is in force".to_owned(), true);
        };
        match delta::apply(mine, &delta) {
            Ok(snapshot) => self.install(snapshot, Some(delta)),
            // The whole helps in both cases: base and damage in what this gateway has are gone with it.
            Err(error) => self.refuse(delta.to, error.to_string(), true),
        }
    }

    fn install(&mut self, snapshot: Snapshot, delta: Option<Delta>) {
        if snapshot.len() > limits::OBJECTS_MAX {
            let (len, max) = (snapshot.len(), limits::OBJECTS_MAX);
            return self.refuse(
                snapshot.generation(),
                format!("{len} objects; at most {max} are served"),
                false,
            );
        }
        let snapshot = Arc::new(snapshot);
        self.installing = Some(Arc::clone(&snapshot));
        self.actions.push_back(Action::Install { snapshot, delta });
    }

    fn acknowledge(&mut self, generation: Generation) {
        let degraded = self.degraded.clone();
        self.send(Message::Ack(Ack { generation, degraded }));
    }

    fn refuse(&mut self, generation: Generation, reason: String, want_snapshot: bool) {
        self.send(Message::Nack(Nack { generation, reason, want_snapshot }));
    }

    fn send(&mut self, message: Message) {
        if self.connected {
            self.actions.push_back(Action::Send(message));
        }
    }

    fn close(&mut self, why: String) {
        self.handle_disconnected();
        self.actions.push_back(Action::Close(why));
    }
}

#[cfg(test)]
mod tests;
