//! Forwards of an in-process gateway: real worker threads, real sockets on loopback.

mod bounds;
mod change;
mod doors;
mod memory;
mod plan;
mod stage;
mod tcp;
mod udp;
