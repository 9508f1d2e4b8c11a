//! Terminals in the browser: a WebSocket that speaks ttyd's protocol, joined to a shell on a VM by SSH.
//!
//! Start at [`visitor`]. [`page`] is the browser's half, [`shell`] the VM's. Between them stands [`opening`], a task that
//! lives longer than a page ([`pages`]): it redeems the ticket, opens the shell and serves it ([`session`]). A browser that
//! lost its network finds its shell again, or its opening, with what was printed meanwhile ([`scrollback`]).
//! [`registry`] is where it finds it. [`protocol`] is what the page says and hears, the same that ttyd speaks, so that one
//! page serves both.

mod end;
mod modes;
mod opening;
mod page;
mod pages;
mod protocol;
pub(crate) mod registry;
mod scrollback;
mod session;
mod shell;
pub(crate) mod visitor;

pub use registry::Terminals;
