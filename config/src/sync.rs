//! How generations travel: messages, and the two ends of the stream as pure state machines.
//!
//! The gateway's end is [`follower::Follower`], control's is [`publisher::Publisher`]; both take messages and say what
//! to send or do next. Neither knows a socket or a clock. Start at [`message`].

pub mod asking;
pub mod audit;
pub mod follower;
pub mod join;
pub mod message;
pub mod publisher;
pub(crate) mod wire;
