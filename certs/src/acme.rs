//! Certificates from an authority that speaks ACME (RFC 8555), in steps that can be taken again.
//!
//! Control owns the state: it keeps the URL of an order, its [`Method`], and the key and request made beforehand, and
//! calls the steps one by one. Each step asks the authority where the order stands before it acts, so each may be
//! repeated after a crash: [`order::start`] → [`order::tasks`] → answers are published → [`order::ready`] →
//! [`order::poll`] until `Ready` → [`order::finalize`] → [`order::poll`] until `Issued` → [`order::download`].
//! The one gap is between the authority's answer to `start` and control's commit of the URL it returned: [`order::find`]
//! closes it where the authority lists an account's orders.
//!
//! Does not decide when to renew, does not publish answers and keeps nothing. Every step has a deadline. Start at
//! [`order`].

/// Repeats a call of the library while the authority refuses our nonces: a refused nonce is a request not done.
macro_rules! again {
    ($call:expr) => {{
        let mut left = config::limits::ACME_NONCE_TRIES;
        loop {
            match $call.await {
                Err(instant_acme::Error::Api(problem))
                    if left > 0
                        && $crate::acme::problem::kind(problem.r#type.as_deref())
                            == $crate::acme::Kind::BadNonce =>
                {
                    left -= 1;
                }
                done => break done,
            }
        }
    }};
}

mod account;
mod client;
mod directory;
mod error;
pub mod order;
pub mod preflight;
mod problem;
pub mod renewal_info;

pub use account::{Account, ExternalBinding, NewAccount};
pub use directory::{Directory, Offer};
pub use error::{AcmeError, Kind, NameFault};
pub use order::Method;
