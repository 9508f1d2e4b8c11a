//! Grants: what a principal may do where, in the grammar of INVENTORY E-08.
//!
//! A grant is `role` or `role:namespace`; several are separated by spaces: `"admin:ns1 guest:ns2"`. A role covers the
//! ones below it: admin ⊃ operator ⊃ guest. `root` is everything and takes no namespace (INVENTORY 2.1, Role).

use std::fmt;
use std::str::FromStr;

use crate::name::Namespace;

/// A role that a grant names, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Guest,
    /// Reads, opens consoles and jumps, drives power.
    Operator,
    /// Everything inside its namespaces.
    Admin,
    /// Everything.
    Root,
}

impl Role {
    /// The word of the grammar.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "guest",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Root => "root",
        }
    }
}

/// A role in one namespace, or in all of them where `namespace` is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// What may be done.
    pub role: Role,
    /// Where; `None` is everywhere.
    pub namespace: Option<Namespace>,
}

/// Why a grant was refused; each names the word at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum GrantError {
    #[error("grant {grant:?}: no such role; roles are root, admin, operator, guest")]
    UnknownRole { grant: String },
    #[error(
        "grant {grant:?}: root takes no namespace, it is everything; write \"root\", or admin:NAMESPACE for less"
    )]
    RootWithNamespace { grant: String },
    #[error(
        "grant {grant:?}: the namespace is empty; write {role} for all namespaces or {role}:NAMESPACE for one"
    )]
    EmptyNamespace { grant: String, role: &'static str },
    #[error("grant {grant:?}: {cause}")]
    Namespace { grant: String, cause: crate::name::NameError },
    #[error("grant {grant:?} is given twice")]
    Repeated { grant: String },
    #[error("at most {max} grants")]
    TooMany { max: usize },
}

/// The grants of one principal: no order, no repetition. Empty means nothing is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

/// Most grants of one principal.
const GRANTS_MAX: usize = 256;

impl Grants {
    /// The grants, in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// Whether `root` is among them.
    pub fn is_root(&self) -> bool {
        self.0.iter().any(|grant| grant.role == Role::Root)
    }

    /// Whether they allow what `role` allows in `namespace`.
    pub fn allows(&self, role: Role, namespace: &Namespace) -> bool {
        self.0.iter().any(|grant| {
            grant.role == Role::Root
                || (grant.role >= role && grant.namespace.as_ref().is_none_or(|own| own == namespace))
        })
    }

    /// Whether every right in `other` is also held here: nobody grants more than they hold.
    pub fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|asked| {
            self.0.iter().any(|held| {
                held.role == Role::Root
                    || (held.role >= asked.role
                        && match (&held.namespace, &asked.namespace) {
                            (None, _) => true,
                            (Some(held), Some(asked)) => held == asked,
                            (Some(_), None) => false,
                        })
            })
        })
    }
}

impl FromStr for Grants {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let mut grants: Vec<Grant> = Vec::new();
        for word in text.split_ascii_whitespace() {
            let grant = parse_grant(word)?;
            if grants.contains(&grant) {
                return Err(GrantError::Repeated { grant: clip(word) });
            }
            if grants.len() == GRANTS_MAX {
                return Err(GrantError::TooMany { max: GRANTS_MAX });
            }
            grants.push(grant);
        }
        Ok(Self(grants))
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, grant) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(grant.role.as_str())?;
            if let Some(namespace) = &grant.namespace {
                write!(f, ":{namespace}")?;
            }
        }
        Ok(())
    }
}

fn parse_grant(word: &str) -> Result<Grant, GrantError> {
    let (role_text, namespace) = match word.split_once(':') {
        Some((role, namespace)) => (role, Some(namespace)),
        None => (word, None),
    };
    let role = match role_text {
        "root" => Role::Root,
        "admin" => Role::Admin,
        "operator" => Role::Operator,
        "guest" => Role::Guest,
        _ => return Err(GrantError::UnknownRole { grant: clip(word) }),
    };
    let Some(namespace) = namespace else { return Ok(Grant { role, namespace: None }) };
    if role == Role::Root {
        // Refused, not narrowed: in om3 `root:ns1` passes every check that looks at the role alone (INVENTORY 2.1).
        return Err(GrantError::RootWithNamespace { grant: clip(word) });
    }
    if namespace.is_empty() {
        return Err(GrantError::EmptyNamespace { grant: clip(word), role: role.as_str() });
    }
    let namespace =
        Namespace::parse(namespace).map_err(|cause| GrantError::Namespace { grant: clip(word), cause })?;
    Ok(Grant { role, namespace: Some(namespace) })
}

fn clip(word: &str) -> String {
    word.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(text: &str) -> Grants {
        text.parse().unwrap()
    }

    #[test]
    fn the_text_of_the_reference_round_trips() {
        assert_eq!(grants("admin:ns1 guest:ns2").to_string(), "admin:ns1 guest:ns2");
    }

    #[test]
    fn a_role_covers_the_weaker_ones_in_its_namespace_only() {
        let held = grants("operator:ns1");
        assert!(held.allows(Role::Guest, &Namespace::parse("ns1").unwrap()));
        assert!(!held.allows(Role::Admin, &Namespace::parse("ns1").unwrap()));
        assert!(!held.allows(Role::Guest, &Namespace::parse("ns2").unwrap()));
    }

    #[test]
    fn root_with_a_namespace_and_other_bad_grants_are_named() {
        for (text, part) in [
            ("root:ns1", "takes no namespace"),
            ("chief:ns1", "no such role"),
            ("admin:", "namespace is empty"),
            ("admin:ns1 admin:ns1", "given twice"),
            ("admin:NS 1", "grant"),
        ] {
            let error = text.parse::<Grants>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn nobody_covers_more_than_they_hold() {
        assert!(grants("root").covers(&grants("admin guest:ns1")));
        assert!(grants("admin").covers(&grants("operator:ns1")));
        assert!(!grants("admin:ns1").covers(&grants("admin")));
        assert!(!grants("admin").covers(&grants("root")));
    }
}
