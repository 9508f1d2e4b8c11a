//! Control's end of the stream to one gateway.
//!
//! Order of calls: `handle_desired` whenever the desired state moves, `handle_message` for what the gateway says, each
//! followed by `poll` until it returns `None`. A burst of desired states is one send: only the newest counts, and the
//! next one goes out when the gateway has answered the one before.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::delta;
use crate::snapshot::{Generation, Snapshot};
use crate::sync::message::{Ack, FORMATS, Have, Hello, Message, Nack, Renew, Report};

/// What the driver is to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Put this on the stream.
    Send(Message),
    /// Note what the gateway said it is.
    Introduced(Hello),
    /// Note what the gateway serves; also follows a `Hello` that names a generation of this lineage.
    Acked(Ack),
    /// Note what the gateway refused; it is not sent again until the desired state moves.
    Refused(Nack),
    /// Note what happens at the gateway.
    Reported(Report),
    /// Sign the key of this request for the gateway whose stream this is, and answer with `Renewed`.
    Renew(Renew),
    /// The gateway is ahead of the desired state in its own lineage (the database lost its latest changes): number the
    /// next generation above this one, then call `handle_desired`.
    SkipAbove(Generation),
    /// End the stream; the peer breaks the protocol.
    Close(String),
}

/// Publishes to one gateway.
#[derive(Debug)]
pub struct Publisher {
    desired: Arc<Snapshot>,
    state: State,
    /// What the gateway serves.
    have: Option<Have>,
    /// Whether it is on the gateway's disk.
    durable: bool,
    /// The snapshot of `have`, where control still keeps it: what a change starts from.
    base: Option<Arc<Snapshot>>,
    in_flight: Option<Arc<Snapshot>>,
    /// The gateway asked for the whole; the next send is one.
    want_whole: bool,
    /// The generation that the gateway refused; it may acknowledge it later, when its disk takes it again.
    refused: Option<Arc<Snapshot>>,
    /// `SkipAbove` was said for the desired state as it is.
    skip_said: bool,
    actions: VecDeque<Action>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Open,
    Closed,
}

impl Publisher {
    /// A publisher for a stream that was just authenticated.
    pub fn new(desired: Arc<Snapshot>) -> Self {
        Self {
            desired,
            state: State::Greeting,
            have: None,
            durable: false,
            base: None,
            in_flight: None,
            want_whole: false,
            refused: None,
            skip_said: false,
            actions: VecDeque::new(),
        }
    }

    /// The desired state moved. An older one of the same lineage is ignored: a late reader must not undo a newer one.
    pub fn handle_desired(&mut self, desired: Arc<Snapshot>) {
        if desired.lineage() == self.desired.lineage() && desired.generation() < self.desired.generation() {
            return;
        }
        self.desired = desired;
        self.skip_said = false;
        self.publish();
    }

    /// A message came. `base` finds an older snapshot that control still keeps, to answer with a delta.
    pub fn handle_message(&mut self, message: Message, base: &dyn Fn(Have) -> Option<Arc<Snapshot>>) {
        match (self.state, message) {
            (State::Closed, _)
            | (_, Message::Unknown | Message::Pong(_))
            // Not about what is published: the driver's.
            | (State::Open, Message::Ask(_) | Message::Told(_)) => {}
            (State::Greeting, Message::Hello(hello)) => self.greet(hello, base),
            (State::Greeting | State::Open, Message::Ping(number)) => {
                self.actions.push_back(Action::Send(Message::Pong(number)));
            }
            (State::Greeting, _) => self.close("the gateway's first message is not Hello"),
            (State::Open, Message::Ack(ack)) => self.acknowledged(ack),
            (State::Open, Message::Nack(nack)) => self.nacked(nack),
            (State::Open, Message::Report(report)) => self.actions.push_back(Action::Reported(report)),
            (State::Open, Message::Renew(renew)) => self.actions.push_back(Action::Renew(renew)),
            (
                State::Open,
                Message::Hello(_)
                | Message::Enrol(_)
                | Message::Enrolled(_)
                | Message::Snapshot(_)
                | Message::Delta(_)
                | Message::Refused(_)
                | Message::Renewed(_)
                | Message::Withdrawn
                | Message::Damaged(_),
            ) => self.close("the gateway sent a message that is not a gateway's to send here"),
        }
    }

    /// What to do next; `None` until something is handled.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The generation of the desired state's lineage that the gateway serves and keeps, once it said so.
    pub fn acked(&self) -> Option<Generation> {
        self.serving().filter(|_| self.durable)
    }

    fn serving(&self) -> Option<Generation> {
        self.have.filter(|have| have.lineage == self.desired.lineage()).map(|have| have.generation)
    }

    fn greet(&mut self, hello: Hello, base: &dyn Fn(Have) -> Option<Arc<Snapshot>>) {
        self.actions.push_back(Action::Introduced(hello.clone()));
        if !hello.formats.iter().any(|format| FORMATS.contains(format)) {
            let (theirs, ours) = (&hello.formats, FORMATS);
            let why = format!(
                "the gateway reads formats {theirs:?} and this control writes {ours:?}; upgrade the older of the two"
            );
            self.actions.push_back(Action::Send(Message::Refused(why.clone())));
            return self.close(&why);
        }
        self.state = State::Open;
        self.have = hello.have;
        self.durable = !hello.undurable;
        // Checked, not trusted: a change from another base than the gateway's would only be refused.
        self.base = hello.have.and_then(|have| base(have).filter(|snapshot| Have::of(snapshot) == have));
        if let Some(generation) = self.acked() {
            self.actions.push_back(Action::Acked(Ack { generation, degraded: hello.degraded }));
        }
        self.publish();
    }

    fn acknowledged(&mut self, ack: Ack) {
        // A late or repeated acknowledgement tells nothing new; one of something never sent would be a lie.
        let generation = ack.generation;
        let is_meant = |sent: &mut Arc<Snapshot>| sent.generation() == generation;
        if let Some(sent) = self.in_flight.take_if(is_meant).or_else(|| self.refused.take_if(is_meant)) {
            self.have = Some(Have::of(&sent));
            self.base = Some(sent);
            self.want_whole = false;
            // A refusal of an older one is history; one of a newer one stands.
            self.refused.take_if(|refused| refused.generation() <= generation);
        } else if self.serving() != Some(generation) {
            return;
        }
        self.durable = true;
        self.actions.push_back(Action::Acked(ack));
        self.publish();
    }

    fn nacked(&mut self, nack: Nack) {
        let Some(sent) = self.in_flight.take_if(|sent| sent.generation() == nack.generation) else { return };
        // Asked for the whole after the whole: nothing more can help this generation.
        if nack.want_snapshot && !self.want_whole {
            self.want_whole = true;
        } else {
            self.refused = Some(sent);
            self.actions.push_back(Action::Refused(nack));
        }
        self.publish();
    }

    /// Sends the desired state if the gateway lacks it and nothing is under way.
    fn publish(&mut self) {
        let desired = Have::of(&self.desired);
        if self.state != State::Open
            || self.in_flight.is_some()
            || self.refused.as_ref().is_some_and(|refused| Have::of(refused) == desired)
            || self.have == Some(desired)
        {
            return;
        }
        if let Some(generation) = self.serving().filter(|serving| *serving >= desired.generation) {
            if !self.skip_said {
                self.skip_said = true;
                self.actions.push_back(Action::SkipAbove(generation));
            }
            return;
        }
        let message = self.change().unwrap_or_else(|| Message::Snapshot(Snapshot::clone(&self.desired)));
        self.in_flight = Some(Arc::clone(&self.desired));
        self.actions.push_back(Action::Send(message));
    }

    /// The way from what the gateway has to the desired state, where it is known and shorter than the whole.
    fn change(&self) -> Option<Message> {
        let base = self.base.as_ref().filter(|_| !self.want_whole)?;
        if base.lineage() != self.desired.lineage() {
            return None;
        }
        let delta = delta::diff(base, &self.desired);
        // A change may be larger in parts than the whole: then it carries mostly removals, which the whole need not say.
        (delta.upserts.len() + delta.removals.len() <= self.desired.len().max(1))
            .then_some(Message::Delta(delta))
    }

    fn close(&mut self, why: &str) {
        self.state = State::Closed;
        self.actions.push_back(Action::Close(why.to_owned()));
    }
}

#[cfg(test)]
mod tests;
