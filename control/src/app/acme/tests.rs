//! Orders against an authority that tests command: killed at each step, refused, left alone.

mod fake;
mod faults;
mod limits;
mod orders;
mod preflight;
mod renewals;
