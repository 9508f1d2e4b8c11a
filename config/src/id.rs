//! Typed ids: a VM's id cannot be passed where a route's is wanted.
//!
//! Every id is a UUIDv7, 16 bytes on the wire and lower-case text elsewhere. This crate never makes one (that needs a
//! clock); control does, a gateway those of its sessions and of what it tells the audit, and everyone else only carries
//! them.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an id (a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057)")]
pub struct IdError {
    text: String,
}

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that control made or a store returned.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Wraps the 16 bytes of the wire form.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes of the wire form.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError { text: text.chars().take(64).collect() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.hyphenated())
            }
        }
    )+};
}

typed_id! {
    /// A route: match and action inside a virtual host.
    RouteId,
    /// One address of an upstream; outlives generations, so pools and health are keyed by it.
    EndpointId,
    /// A virtual machine or container.
    VmId,
    /// A machine that runs VMs.
    HostId,
    /// An IP pool.
    PoolId,
    /// A person or service account.
    UserId,
    /// A gateway process with an identity of its own.
    GatewayId,
    /// A certificate chain with its key.
    IdentityId,
    /// An API token.
    TokenId,
    /// One console or jump from open to close.
    SessionId,
    /// A key of the product itself (SSH host key, ticket key).
    KeyId,
    /// A port of the gate that leads to a machine.
    ForwardId,
    /// A console of a machine.
    ConsoleId,
    /// An answer that a certificate authority looks for.
    ChallengeId,
    /// An account with a certificate authority.
    AcmeAccountId,
    /// An order of a certificate, from being asked for to being served.
    AcmeOrderId,
    /// One row of the audit.
    AuditId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_return_the_same_id() {
        let id = RouteId::from_bytes([7; 16]);
        assert_eq!(id.to_string().parse::<RouteId>().unwrap(), id);
        assert_eq!(RouteId::from_bytes(id.to_bytes()), id);
    }

    #[test]
    fn text_that_is_not_an_id_is_named() {
        let error = "web-01".parse::<VmId>().unwrap_err();
        assert!(error.to_string().contains("web-01"));
    }
}
