//! Who asks, from where, in which request: what every rule and every audit row is given.

use std::net::IpAddr;

use config::grant::Role;
use config::name::Namespace;

use crate::auth::rbac::{self, Action, Denied, Resource};
use crate::auth::{Actor, Origin};

/// One request's asker.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// From where.
    pub origin: Origin,
    /// The host by which control was reached over the network, as the request names it.
    pub reached: Option<String>,
    /// The machine it asks from, where that is known: neither control's own, from which tunnels come, nor a proxy.
    pub machine: Option<IpAddr>,
    /// In which request.
    pub request_id: String,
}

impl Caller {
    /// Control itself, on its own account: the start, `gatehouse up`.
    pub fn ourselves(what: &str) -> Self {
        Self {
            actor: Actor::Local,
            origin: Origin::Socket,
            reached: None,
            machine: None,
            request_id: what.to_owned(),
        }
    }

    /// Whether it may, by the one table.
    pub fn allow(&self, action: Action, resource: Resource<'_>) -> Result<(), Denied> {
        rbac::allow(&self.actor, action, resource)
    }

    /// Whether it may see what lies in this namespace at all; what it may not see does not exist for it.
    pub fn sees(&self, namespace: &Namespace) -> bool {
        self.allow(Action::Read, Resource::Vm(namespace)).is_ok()
    }

    /// The namespaces whose objects a list shows; `None` is all of them.
    ///
    /// Errors: nobody is signed in.
    pub fn visible(&self, least: Role) -> Result<Option<Vec<String>>, Denied> {
        self.allow(Action::Read, Resource::Whoami)?;
        let Actor::Token { grants, .. } = &self.actor else { return Ok(None) };
        let mut names = Vec::new();
        for grant in grants.iter().filter(|grant| grant.role >= least) {
            match &grant.namespace {
                None => return Ok(None),
                Some(namespace) => names.push(namespace.to_string()),
            }
        }
        Ok(Some(names))
    }

    /// Where something is made when the request names no namespace: the only one the caller administers, else `default`.
    pub fn home(&self) -> &str {
        self.home_as(Role::Admin)
    }

    /// The same for what takes a lesser role: the only namespace where the caller has it, else `default`.
    pub fn home_as(&self, least: Role) -> &str {
        let Actor::Token { grants, .. } = &self.actor else { return DEFAULT_NAMESPACE };
        let mut held = grants.iter().filter(|grant| grant.role >= least).map(|grant| &grant.namespace);
        match (held.next(), held.next()) {
            (Some(Some(only)), None) => only.as_str(),
            _ => DEFAULT_NAMESPACE,
        }
    }
}

/// The namespace of those who use none.
pub const DEFAULT_NAMESPACE: &str = "default";
