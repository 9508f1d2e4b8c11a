//! What we accept on: binding, and holding what is bound to what is wanted.

use std::fmt;

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Plain HTTP by domain.
    Http,
    /// HTTP over TLS by domain.
    Https,
    /// The jump host.
    Ssh,
    /// The noVNC console gate.
    Novnc,
    /// The ttyd console gate.
    Ttyd,
}

impl Kind {
    /// Every kind, in the order they are reported.
    pub const ALL: [Self; 5] = [Self::Http, Self::Https, Self::Ssh, Self::Novnc, Self::Ttyd];

    /// The word for it in settings, metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::Novnc => "novnc",
            Self::Ttyd => "ttyd",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
