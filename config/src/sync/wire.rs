//! The wire form: prost messages with hand-numbered tags. Private, so that nothing else depends on it.

mod asking;
pub(super) mod audit;
mod balancing;
mod console;
mod filters;
mod forward;
mod matchers;
pub(crate) mod message;
pub(crate) mod object;
mod route;
mod ssh;
mod tls;
