//! The gateway's end of the stream.
//!
//! Order of calls: `handle_connected`, then any of `handle_message`, `handle_installed`, `handle_refused`, each followed
//! by `poll` until it returns `None`; `handle_disconnected` at the end. The driver compiles, swaps and writes the
//! checkpoint between an `Install` and the `handle_installed` or `handle_refused` that answers it.

use std::sync::Arc;

use crate::delta::Delta;
use crate::snapshot::{Generation, Snapshot};
use crate::sync::message::{Hello, Message};

/// What the driver is to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Put this on the stream.
    Send(Message),
    /// Put this generation in force; it is whole and its digest is right.
    Install {
        /// The generation.
        snapshot: Arc<Snapshot>,
        /// The change from the one in force, when it came as one.
        delta: Option<Delta>,
    },
    /// End the stream; the peer breaks the protocol.
    Close(String),
}

/// Follows what control publishes.
#[derive(Debug)]
pub struct Follower {}

impl Follower {
    /// A follower that serves `have`, which came from the checkpoint.
    pub fn new(have: Option<Arc<Snapshot>>) -> Self {
        let _ = have;
        unimplemented!()
    }

    /// The stream is up and authenticated; `hello` is sent with what is in force filled in.
    pub fn handle_connected(&mut self, hello: Hello) {
        let _ = hello;
    }

    /// The stream is gone.
    pub fn handle_disconnected(&mut self) {}

    /// A message came.
    pub fn handle_message(&mut self, message: Message) {
        let _ = message;
    }

    /// The generation of the last `Install` is serving and durable.
    pub fn handle_installed(&mut self, degraded: Vec<String>) {
        let _ = degraded;
    }

    /// The generation of the last `Install` was refused; the one before stays in force.
    pub fn handle_refused(&mut self, reason: String) {
        let _ = reason;
    }

    /// What to do next; `None` until something is handled.
    pub fn poll(&mut self) -> Option<Action> {
        None
    }

    /// The generation in force.
    pub fn in_force(&self) -> Option<Generation> {
        None
    }
}
