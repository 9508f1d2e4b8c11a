//! Zero-downtime upgrade: a process of ours gives way to a new one on the very same sockets.
//!
//! The one that serves (the *elder*, [`elder`]) starts the new program (the *heir*, [`heir`]) with one end of a socket
//! pair as its standard input, and speaks with it over [`link`] in the words of [`manifest`]:
//!
//! | elder | heir |
//! |---|---|
//! | starts it | `Hello`: I can take over |
//! | holds generations back; `Offer`: every listening socket, the directory's lock | puts the checkpoint in force, opens what the elder did not have; `Ready` |
//! | holds datagrams back; `Go`: sessions of datagrams, redeemed tickets | accepts; `Serving` |
//! | stops accepting, drains | dials control; `Following` |
//! | introduces itself to control as one that drains | |
//!
//! Until `Serving` the elder accepts as ever: whatever happens to the heir, nothing has happened. After it both ends are
//! what they are for good. The sockets are the same objects of the kernel all the time, so nothing that the kernel has
//! queued is lost. The elder lives until the last of its connections ended, or has become too old; the link stays open as
//! long as it lives, and is passed on to each further heir: by it a stop reaches everybody who still drains.
//!
//! [`order`] is how it is asked for: a unix socket in the gateway's own directory, for whoever may use that directory.

pub(crate) mod elder;
pub mod heir;
mod link;
pub(crate) mod manifest;
pub mod order;
pub mod state;

pub use elder::{INHERIT, Program};
pub use heir::{Inheritance, Voice};
pub use order::{Order, UpgradeError, Upgraded};
pub use state::State;
pub(crate) use state::{Draining, Lendable, Lent, Whose};
