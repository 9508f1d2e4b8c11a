//! The desired state: what should be true, and the pure machinery around it.
//!
//! Owns the nouns that both processes share ([`snapshot`]), how one state becomes the next ([`delta`]), the compiled
//! look-up structure ([`table`]), the protocol that carries generations ([`sync`]) and the checked process settings
//! ([`settings`]). Start reading at [`snapshot`].
//!
//! Invariants: this crate opens nothing. No file, socket, clock or thread; time and bytes are parameters. It depends
//! on no other member. Nothing here panics on input from a peer, the wire or the disk.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test stops at the first surprise"
    )
)]

pub mod delta;
pub mod grant;
pub mod id;
pub mod limits;
pub mod name;
pub mod secret;
pub mod settings;
pub mod snapshot;
pub mod sync;
pub mod table;
pub mod target;
pub mod ticket;
