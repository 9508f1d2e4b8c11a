//! What we accept on: binding, and holding what is bound to what is wanted.
//!
//! [`bind`] opens sockets, a set for each address with one for each worker; [`supervisor`] decides what to open and
//! close; [`ports`] remembers what port 0 became.

pub(crate) mod accept;
pub mod bind;
mod introduced;
pub(crate) mod ports;
pub mod proxy_protocol;
pub mod supervisor;

use std::fmt;
use std::net::SocketAddr;

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

/// A listener that is wanted: a kind and an address from the settings, which may have port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// What is spoken there.
    pub kind: Kind,
    /// The address as configured.
    pub address: SocketAddr,
    /// Tells apart several listeners of one kind with port 0 on one address.
    pub nth: usize,
}

impl Wanted {
    /// The listeners that the settings ask for.
    pub fn from_settings(settings: &config::settings::Gateway) -> Vec<Self> {
        let of = |kind| match kind {
            Kind::Http => &settings.http,
            Kind::Https => &settings.https,
            Kind::Ssh => &settings.ssh,
            Kind::Novnc => &settings.novnc,
            Kind::Ttyd => &settings.ttyd,
        };
        let listed = |kind: Kind| of(kind).iter().map(move |address| (kind, *address));
        let mut wanted: Vec<Self> = Vec::new();
        for (kind, address) in Kind::ALL.into_iter().flat_map(listed) {
            let same = wanted.iter().filter(|other| other.kind == kind && other.address == address).count();
            // The same fixed address twice is one listener.
            if same == 0 || address.port() == 0 {
                wanted.push(Self { kind, address, nth: same });
            }
        }
        wanted
    }
}
