//! The one table of who may do what.

use config::grant::{Grants, Role};
use config::id::UserId;
use config::name::Namespace;

use super::Actor;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See it.
    Read,
    /// Make one.
    Create,
    /// Change it.
    Update,
    /// Take it away.
    Delete,
}

impl Action {
    /// The word of audit rows and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What it is to be done to.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// A route of a namespace.
    Route(&'a Namespace),
    /// A target given as an address or a name instead of a VM.
    LiteralTarget,
    /// One of our own services as a route's target.
    ServiceTarget,
    /// The catch-all, or a wildcard below a public suffix.
    BroadHost,
    /// A VM of a namespace.
    Vm(&'a Namespace),
    /// Where a static VM is: as good as a literal target.
    VmAddress,
    /// A user account.
    User(UserId),
    /// All user accounts.
    Users,
    /// The keys of a user.
    UserKeys(UserId),
    /// The tokens of a user.
    Tokens(UserId),
    /// Gateways and their join tokens.
    Gateways,
    /// Audit rows of a namespace; those of none are root's.
    Audits(Option<&'a Namespace>),
    /// Generation, gateways' progress, counts of the whole.
    Status,
    /// Why a request goes where it goes.
    Explain,
    /// Prometheus figures.
    Metrics,
    /// The internal authority's certificate: public by nature.
    Authority,
    /// Who the caller is.
    Whoami,
    /// The first root user.
    Setup,
}

/// A refusal that names what is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this needs the grant {missing}")]
pub struct Denied {
    /// The grant, in the grammar of grants.
    pub missing: String,
    /// Nobody is signed in: 401 rather than 403.
    pub anonymous: bool,
}

enum Need<'a> {
    Nothing,
    SignedIn,
    Role(Role, &'a Namespace),
    RoleAnywhere(Role),
    SelfOrRoot(UserId),
    Root,
    Setup,
}

/// The table. What is not in it is root's.
const fn need<'a>(action: Action, resource: &Resource<'a>) -> Need<'a> {
    match (resource, action) {
        (Resource::Authority, Action::Read) => Need::Nothing,
        (Resource::Whoami, Action::Read) => Need::SignedIn,
        (Resource::Route(namespace) | Resource::Vm(namespace), Action::Read) => {
            Need::Role(Role::Guest, namespace)
        }
        (Resource::Route(namespace), _) | (Resource::Vm(namespace), Action::Update | Action::Delete) => {
            Need::Role(Role::Admin, namespace)
        }
        (Resource::Vm(namespace), Action::Create) => Need::Role(Role::Admin, namespace),
        (Resource::User(user), Action::Read) | (Resource::UserKeys(user) | Resource::Tokens(user), _) => {
            Need::SelfOrRoot(*user)
        }
        (Resource::Audits(Some(namespace)), Action::Read) => Need::Role(Role::Admin, namespace),
        (Resource::Status | Resource::Metrics | Resource::Explain, Action::Read) => {
            Need::RoleAnywhere(Role::Guest)
        }
        (Resource::Setup, Action::Create) => Need::Setup,
        (
            Resource::LiteralTarget
            | Resource::ServiceTarget
            | Resource::BroadHost
            | Resource::VmAddress
            | Resource::User(_)
            | Resource::Users
            | Resource::Gateways
            | Resource::Audits(_)
            | Resource::Status
            | Resource::Metrics
            | Resource::Explain
            | Resource::Authority
            | Resource::Whoami
            | Resource::Setup,
            _,
        ) => Need::Root,
    }
}

/// Whether `actor` may do `action` to `resource`.
///
/// Errors: [`Denied`], naming the grant that would do.
pub fn allow(actor: &Actor, action: Action, resource: Resource<'_>) -> Result<(), Denied> {
    let need = need(action, &resource);
    if let Need::Nothing = need {
        return Ok(());
    }
    let grants: &Grants = match actor {
        Actor::Local => return Ok(()),
        Actor::Setup if matches!(need, Need::Setup) => return Ok(()),
        Actor::Token { grants, .. } => grants,
        Actor::Setup | Actor::Anonymous => return Err(Denied { missing: missing(&need), anonymous: true }),
    };
    let held = match &need {
        Need::Nothing | Need::SignedIn => true,
        Need::Role(role, namespace) => grants.allows(*role, namespace),
        Need::RoleAnywhere(role) => grants.iter().any(|grant| grant.role >= *role),
        Need::SelfOrRoot(user) => {
            grants.is_root() || matches!(actor, Actor::Token { user: own, .. } if own == user)
        }
        Need::Root => grants.is_root(),
        Need::Setup => false,
    };
    if held { Ok(()) } else { Err(Denied { missing: missing(&need), anonymous: false }) }
}

fn missing(need: &Need<'_>) -> String {
    match need {
        Need::Nothing | Need::SignedIn => "of any signed-in user".into(),
        Need::Role(role, namespace) => format!("{}:{namespace}", role.as_str()),
        Need::RoleAnywhere(role) => role.as_str().into(),
        Need::SelfOrRoot(_) | Need::Root => "root".into(),
        Need::Setup => "setup, which the one-time token of the first start gives".into(),
    }
}
