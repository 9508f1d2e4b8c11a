//! Control's end of the stream to one gateway.
//!
//! Order of calls: `handle_desired` whenever the desired state moves, `handle_message` for what the gateway says, each
//! followed by `poll` until it returns `None`. A burst of desired states is one send: only the newest counts.

use std::sync::Arc;

use crate::snapshot::{Generation, Snapshot};
use crate::sync::message::{Ack, Have, Hello, Message, Nack, Report};

/// What the driver is to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Put this on the stream.
    Send(Message),
    /// Note what the gateway said it is.
    Introduced(Hello),
    /// Note what the gateway serves.
    Acked(Ack),
    /// Note what the gateway refused; it is not sent again until the desired state moves.
    Refused(Nack),
    /// Note what happens at the gateway.
    Reported(Report),
    /// The gateway is ahead of the desired state in its own lineage (the database lost its latest changes): number the
    /// next generation above this one, then call `handle_desired`.
    SkipAbove(Generation),
    /// End the stream; the peer breaks the protocol.
    Close(String),
}

/// Publishes to one gateway.
#[derive(Debug)]
pub struct Publisher {}

impl Publisher {
    /// A publisher for a stream that was just authenticated.
    pub fn new(desired: Arc<Snapshot>) -> Self {
        let _ = desired;
        unimplemented!()
    }

    /// The desired state moved.
    pub fn handle_desired(&mut self, desired: Arc<Snapshot>) {
        let _ = desired;
    }

    /// A message came. `base` finds an older snapshot that control still keeps, to answer with a delta.
    pub fn handle_message(&mut self, message: Message, base: &dyn Fn(Have) -> Option<Arc<Snapshot>>) {
        let _ = (message, base);
    }

    /// What to do next; `None` until something is handled.
    pub fn poll(&mut self) -> Option<Action> {
        None
    }

    /// The generation the gateway serves, once it said so.
    pub fn acked(&self) -> Option<Generation> {
        None
    }
}
