//! Consoles of machines: a ticket opens one, once.
//!
//! [`ticket`] decides whether a ticket opens anything under a generation, [`redeemed`] that it does so once, and
//! [`entrance`] makes a session of it. A console
//! whose endpoint speaks WebSocket itself is then a tunnel like any other (`http::upgrade`); one that speaks bytes is
//! joined to the browser by [`bridge`], with [`rfb`] between where a VNC server wants a password or a browser may only
//! look. [`handshake`] is the WebSocket's opening where it ends here, [`pages`] what a browser shows around it.
//! `http::console` joins all this to the engine.

pub(crate) mod asked;
pub(crate) mod bridge;
pub(crate) mod entrance;
pub(crate) mod handshake;
pub(crate) mod pages;
pub(crate) mod redeemed;
pub(crate) mod rfb;
pub(crate) mod ticket;

pub use redeemed::Redeemed;
pub use ticket::Refusal;
