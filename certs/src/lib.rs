//! Who we can prove to be: identities, the index that finds one for a server name, and the internal authority.
//!
//! Depends on `config` for names. Keys are seen only inside `Secret`. Opens nothing, but for [`acme`] and [`dns`], which
//! speak to authorities and to name servers for control; no gateway calls them. Start at [`index`].

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

pub mod acme;
pub mod describe;
pub mod dns;
pub mod identity;
pub mod index;
pub mod renewal;
pub mod request;
pub mod self_signed;
pub mod upload;

pub use index::CertIndex;
