//! Whole connections over real sockets: raw bytes in, raw bytes out, and what the origin saw.

mod balancing;
mod bodies;
mod checks;
mod console_elsewhere;
mod console_ends;
mod console_log;
mod console_pages;
mod consoles;
mod deadlines;
mod ends;
mod faults;
mod filters;
mod forwarding;
mod gate;
mod http2;
mod idle;
mod idle_tunnels;
mod origins;
mod secured;
mod spliced;
mod stage;
mod sticking;
mod streams;
mod telemetry;
mod trailers;
mod upgrades;
