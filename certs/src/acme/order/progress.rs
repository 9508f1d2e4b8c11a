//! Where an order stands, and why it failed.

use std::time::Duration;

use config::limits;
use instant_acme::{AuthorizationStatus, Order};

use super::super::account::Account;
use super::super::error::{AcmeError, Kind, NameFault};
use super::super::problem;

/// Where an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Names are being validated, or wait for [`super::ready`]; ask again after the time given.
    Pending {
        /// The authority's hint, two seconds without one.
        after: Duration,
    },
    /// Every name is proved: [`super::finalize`] is next.
    Ready,
    /// The certificate is being made; ask again after the time given.
    Processing {
        /// The authority's hint, two seconds without one.
        after: Duration,
    },
    /// The certificate is there: [`super::download`] is next.
    Issued,
    /// The order cannot go on; the reason by name is in [`AcmeError::names`].
    Failed(Box<AcmeError>),
}

/// Fetches every authorization of the order that is not known yet.
pub(super) async fn fetch_authorizations(account: &Account, order: &mut Order) -> Result<(), AcmeError> {
    async fn fetch(order: &mut Order) -> Result<(), instant_acme::Error> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            authorization?;
        }
        Ok(())
    }
    // What was fetched before a refused nonce is kept, so a repetition goes on where it stopped.
    again!(fetch(order)).map_err(|error| account.fail(error))
}

/// Why a failed order failed: the authority's words for each name whose validation did.
pub(super) async fn failure(account: &Account, order: &mut Order) -> AcmeError {
    let mut failed = match order.state().error.as_ref() {
        Some(problem) => problem::of_problem(account.directory().host(), problem, None),
        None => account.refuse(Kind::OrderFailed, "the order failed"),
    };
    failed.kind = Kind::OrderFailed;
    if fetch_authorizations(account, order).await.is_err() {
        // The reasons are not to be had now; that it failed is known.
        return failed;
    }
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let what = match authorization.status {
            AuthorizationStatus::Pending | AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Invalid => "validation failed",
            AuthorizationStatus::Revoked => "the authorization was revoked",
            AuthorizationStatus::Expired => "the authorization expired before it was used",
            AuthorizationStatus::Deactivated => "the authorization was given up",
        };
        let name = authorization.identifier().to_string();
        if failed.names.iter().any(|fault| fault.name == name) || failed.names.len() >= limits::ACME_NAMES_MAX
        {
            continue;
        }
        let reason = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        failed.names.push(NameFault {
            name,
            kind: reason.map_or(Kind::Refused, |problem| problem::kind(problem.r#type.as_deref())),
            detail: reason.map_or_else(|| what.to_owned(), problem::detail),
        });
    }
    failed
}
