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
    /// Lead traffic to it: a console, a jump, a route.
    Use,
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
            Self::Use => "use",
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
    /// A port forward of a namespace.
    Forward(&'a Namespace),
    /// A console of a machine of a namespace.
    Console(&'a Namespace),
    /// An open session on something of a namespace; those of none are root's.
    Session(Option<&'a Namespace>),
    /// A certificate of a namespace.
    Certificate(&'a Namespace),
    /// A target given as an address or a name instead of a VM.
    LiteralTarget,
    /// One of our own services as a route's target.
    ServiceTarget,
    /// The catch-all, or a wildcard below a public suffix.
    BroadHost,
    /// An upstream whose endpoints need not prove themselves.
    UnverifiedUpstream,
    /// A VM of a namespace.
    Vm(&'a Namespace),
    /// Where a static VM is: as good as a literal target.
    VmAddress,
    /// A user account.
    User(UserId),
    /// All user accounts.
    Users,
    /// Authorities of people's SSH certificates: as good as every user's keys.
    SshCas,
    /// The gate's SSH host keys; their public halves are shown to whoever connects.
    SshHostKeys,
    /// The keys of a user.
    UserKeys(UserId),
    /// The tokens of a user.
    Tokens(UserId),
    /// Gateways and their join tokens.
    Gateways,
    /// Accounts with ACME authorities.
    AcmeAccounts,
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
    /// Without a namespace.
    RoleEverywhere(Role),
    SelfOrRoot(UserId),
    Root,
    Setup,
}

/// The table. What is not in it is root's.
const fn need<'a>(action: Action, resource: &Resource<'a>) -> Need<'a> {
    match (resource, action) {
        (Resource::Authority, Action::Read) => Need::Nothing,
        (
            Resource::Route(namespace)
            | Resource::Forward(namespace)
            | Resource::Console(namespace)
            | Resource::Session(Some(namespace))
            | Resource::Certificate(namespace)
            | Resource::Vm(namespace),
            Action::Read,
        ) => Need::Role(Role::Guest, namespace),
        (Resource::Vm(namespace) | Resource::Console(namespace), Action::Use)
        | (Resource::Forward(namespace) | Resource::Session(Some(namespace)), _) => {
            Need::Role(Role::Operator, namespace)
        }
        (
            Resource::Route(namespace)
            | Resource::Certificate(namespace)
            | Resource::Console(namespace)
            | Resource::Vm(namespace),
            _,
        ) => Need::Role(Role::Admin, namespace),
        (Resource::User(user), Action::Read) | (Resource::UserKeys(user) | Resource::Tokens(user), _) => {
            Need::SelfOrRoot(*user)
        }
        (Resource::Audits(Some(namespace)), Action::Read) => Need::Role(Role::Admin, namespace),
        (Resource::Whoami | Resource::Explain | Resource::SshHostKeys, Action::Read) => Need::SignedIn,
        // Figures of the whole tell tenants about each other.
        (Resource::Status | Resource::Metrics, Action::Read) => Need::RoleEverywhere(Role::Guest),
        (Resource::Setup, Action::Create) => Need::Setup,
        (
            Resource::LiteralTarget
            | Resource::ServiceTarget
            | Resource::BroadHost
            | Resource::UnverifiedUpstream
            | Resource::VmAddress
            | Resource::User(_)
            | Resource::Users
            | Resource::SshCas
            | Resource::SshHostKeys
            | Resource::Gateways
            | Resource::AcmeAccounts
            | Resource::Audits(_)
            | Resource::Session(None)
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
        Need::RoleEverywhere(role) => {
            grants.iter().any(|grant| grant.namespace.is_none() && grant.role >= *role)
        }
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
        Need::RoleEverywhere(role) => role.as_str().into(),
        Need::SelfOrRoot(_) | Need::Root => "root".into(),
        Need::Setup => "setup, which the one-time token of the first start gives".into(),
    }
}

#[cfg(test)]
mod tests {
    use config::id::TokenId;
    use config::name::UserName;

    use super::*;

    fn holder(grants: &str) -> Actor {
        Actor::Token {
            user: UserId::from_bytes([1; 16]),
            name: UserName::parse("usr1").unwrap(),
            grants: grants.parse().unwrap(),
            token: TokenId::from_bytes([2; 16]),
        }
    }

    #[test]
    fn the_table_of_rights() {
        let (ns1, ns2) = (Namespace::parse("ns1").unwrap(), Namespace::parse("ns2").unwrap());
        let (own, other) = (UserId::from_bytes([1; 16]), UserId::from_bytes([9; 16]));
        use Action::{Create, Delete, Read, Update, Use};
        use Resource::{
            Audits, Authority, BroadHost, Forward, Gateways, LiteralTarget, Metrics, Route, ServiceTarget,
            Setup, Status, Tokens, UnverifiedUpstream, User, UserKeys, Users, Vm, VmAddress, Whoami,
        };
        for (grants, action, resource, missing) in [
            ("guest:ns1", Read, Route(&ns1), ""),
            ("guest:ns1", Read, Route(&ns2), "guest:ns2"),
            ("guest:ns1", Create, Route(&ns1), "admin:ns1"),
            ("operator:ns1", Update, Route(&ns1), "admin:ns1"),
            ("admin:ns1", Delete, Route(&ns1), ""),
            ("admin:ns1", Create, Route(&ns2), "admin:ns2"),
            ("admin", Create, Route(&ns2), ""),
            ("guest:ns1", Read, Forward(&ns1), ""),
            ("guest:ns1", Create, Forward(&ns1), "operator:ns1"),
            ("operator:ns1", Delete, Forward(&ns1), ""),
            ("operator:ns1", Update, Forward(&ns2), "operator:ns2"),
            ("guest:ns1", Use, Vm(&ns1), "operator:ns1"),
            ("operator:ns1", Use, Vm(&ns1), ""),
            ("admin", Create, VmAddress, "root"),
            ("admin", Create, LiteralTarget, "root"),
            ("admin", Create, ServiceTarget, "root"),
            ("admin", Create, BroadHost, "root"),
            ("admin", Create, UnverifiedUpstream, "root"),
            ("root", Create, BroadHost, ""),
            ("admin", Create, Users, "root"),
            ("guest:ns1", Read, User(own), ""),
            ("admin", Read, User(other), "root"),
            ("guest:ns1", Update, User(own), "root"),
            ("guest:ns1", Create, UserKeys(own), ""),
            ("admin", Create, UserKeys(other), "root"),
            ("guest:ns1", Create, Tokens(own), ""),
            ("admin", Read, Gateways, "root"),
            ("admin:ns1", Read, Audits(Some(&ns1)), ""),
            ("operator:ns1", Read, Audits(Some(&ns1)), "admin:ns1"),
            ("admin", Read, Audits(None), "root"),
            ("guest:ns1", Read, Status, "guest"),
            ("guest", Read, Status, ""),
            ("guest:ns1", Read, Metrics, "guest"),
            ("", Read, Whoami, ""),
            ("", Read, Authority, ""),
            ("admin", Update, Authority, "root"),
            ("root", Create, Setup, "setup, which the one-time token of the first start gives"),
        ] {
            let verdict = allow(&holder(grants), action, resource);
            let found = verdict.map_or_else(|denied| denied.missing, |()| String::new());
            assert_eq!(found, missing, "{grants} {action:?} {resource:?}");
        }
    }

    #[test]
    fn the_setup_token_does_the_setup_and_nothing_else() {
        assert!(allow(&Actor::Setup, Action::Create, Resource::Setup).is_ok());
        assert!(allow(&Actor::Setup, Action::Read, Resource::Whoami).unwrap_err().anonymous);
        assert!(allow(&Actor::Anonymous, Action::Create, Resource::Setup).unwrap_err().anonymous);
        assert!(allow(&Actor::Local, Action::Delete, Resource::Gateways).is_ok());
    }
}
