//! Who asks, and what they may do.

pub mod duration;
pub mod rbac;
pub mod token;

use std::net::SocketAddr;

use config::grant::Grants;
use config::id::{TokenId, UserId};
use config::name::UserName;

/// Who asks. A request extension: the unix socket's listener inserts [`Actor::Local`], the bearer layer the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Root on this machine, by the unix socket's peer credentials.
    Local,
    /// Whoever holds a valid token.
    Token {
        /// The user behind it.
        user: UserId,
        /// The user's name.
        name: UserName,
        /// What the token may do: its own grants, narrowed to what the user holds now.
        grants: Grants,
        /// The token.
        token: TokenId,
    },
    /// Whoever holds the one-time setup token; may do the setup and nothing else.
    Setup,
    /// Nobody we know.
    Anonymous,
}

impl Actor {
    /// Whether everything is allowed.
    pub fn is_root(&self) -> bool {
        match self {
            Self::Local => true,
            Self::Token { grants, .. } => grants.is_root(),
            Self::Setup | Self::Anonymous => false,
        }
    }

    /// The name that audit rows and `whoami` show.
    pub fn name(&self) -> &str {
        match self {
            Self::Local => "root",
            Self::Token { name, .. } => name.as_str(),
            Self::Setup => "setup",
            Self::Anonymous => "anonymous",
        }
    }

    /// How they proved it.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Local => "socket",
            Self::Token { .. } => "jwt",
            Self::Setup => "setup",
            Self::Anonymous => "none",
        }
    }
}

/// What a client certificate says that a TLS listener of the admin API verified. A request extension, inserted where one
/// was shown; nobody is signed in by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The distinguished name, as RFC 4514 writes it.
    pub subject: String,
    /// SHA-256 of the certificate in lower-case hex.
    pub fingerprint: String,
}

/// Where a request came in. A request extension, inserted by every listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The unix socket.
    Socket,
    /// A TCP peer.
    Peer(SocketAddr),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket => f.write_str("unix"),
            Self::Peer(address) => address.fmt(f),
        }
    }
}
