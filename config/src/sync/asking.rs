//! Questions on the gateways' stream, and their answers. Either end asks; who does not know a question says nothing, and
//! the asker's deadline tells.

use std::net::{IpAddr, SocketAddr};

use crate::id::{ConsoleId, EndpointId, ForwardId, RouteId, SessionId, UserId, VmId};
use crate::secret::Secret;
use crate::snapshot::{Ports, Transport};
use crate::sync::audit::AuditEvent;

/// A question. The number is the asker's, and stands in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The number.
    pub number: u64,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Of a gateway: its open sessions.
    Sessions {
        /// Only what comes after this one, in the order of ids.
        after: Option<SessionId>,
        /// Only this one.
        only: Option<SessionId>,
        /// At most so many.
        limit: u32,
    },
    /// Of a gateway: to end a session.
    End(SessionId),
    /// Of control, which asks the gateway that the ticket names: to redeem a console ticket.
    Redeem {
        /// The ticket.
        ticket: Secret<String>,
        /// Who shows it.
        source: IpAddr,
        /// A digest of what that browser calls itself; the asking gateway's own.
        agent: u64,
    },
    /// Of control: a certificate of minutes for a key of the gateway's own, to log in where a ticket leads.
    Certify {
        /// The ticket.
        ticket: Secret<String>,
        /// The public key in SSH wire form (RFC 4253 § 6.6).
        key: Vec<u8>,
    },
    /// Of control: a VM shows a host key that is not among its pins. It is pinned if it is the first.
    HostKeySeen {
        /// The VM.
        vm: VmId,
        /// The key in SSH wire form.
        key: Vec<u8>,
    },
    /// Of a gateway: whether another program has one of these ports.
    Ports {
        /// Of which transport.
        transport: Transport,
        /// On which address; `None` is every one.
        listen: Option<IpAddr>,
        /// Which.
        ports: Ports,
    },
    /// Of control: to write this into the audit. Asked again until it is answered, and written once.
    Audit(Vec<AuditEvent>),
    /// One that this program does not know.
    Unknown,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The number of the question.
    pub number: u64,
    /// What is answered.
    pub answer: Answer,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Open sessions, in the order of ids.
    Sessions {
        /// Some of them.
        items: Vec<SessionSeen>,
        /// Whether others follow.
        more: bool,
    },
    /// Whether there was such a session; it ends.
    Ended(bool),
    /// What became of a ticket.
    Redeemed(Redemption),
    /// To [`Question::Certify`].
    Certified {
        /// The certificate in OpenSSH's one-line form.
        certificate: String,
        /// The account on the VM to log in as; the certificate names it.
        login: String,
    },
    /// To [`Question::HostKeySeen`]: whether the key is believed.
    HostKey(bool),
    /// To [`Question::Ports`]: the highest that another program has; `None` where it has none.
    Taken(Option<u16>),
    /// To [`Question::Audit`]: all of it is in the audit, whether it came for the first time or not.
    Noted,
    /// No, and why; in words for the person who waits.
    Refused(String),
    /// One that this program does not know.
    Unknown,
}

/// What became of a console ticket at the gateway that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redemption {
    /// It opens a console, for the one who asked.
    Yours,
    /// It was redeemed before.
    Used,
    /// Too late.
    Expired,
    /// Made before that gateway started.
    BeforeStart,
    /// That gateway does not take it for a ticket of ours.
    Forged,
    /// Nobody could say in time.
    Unanswered,
}

impl Redemption {
    /// Every one, in the order of its number.
    pub const ALL: [Self; 6] =
        [Self::Yours, Self::Used, Self::Expired, Self::BeforeStart, Self::Forged, Self::Unanswered];
}

/// One open session of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSeen {
    /// Its id.
    pub id: SessionId,
    /// The gateway's word for its kind.
    pub kind: String,
    /// Who it comes from: the client, also behind trusted proxies, which do not say its port; that is 0 then.
    pub peer: SocketAddr,
    /// Who authenticated.
    pub principal: Option<UserId>,
    /// The route it came by.
    pub route: Option<RouteId>,
    /// The port forward it came by.
    pub forward: Option<ForwardId>,
    /// The endpoint it goes to.
    pub endpoint: Option<EndpointId>,
    /// The VM it goes to.
    pub vm: Option<VmId>,
    /// The console it shows.
    pub console: Option<ConsoleId>,
    /// When it was opened, in milliseconds since 1970 UTC.
    pub started_ms: u64,
    /// Bytes towards the VM so far.
    pub bytes_up: u64,
    /// Bytes towards the user so far.
    pub bytes_down: u64,
    /// Where a jump goes, as it was typed, with the port; `None` from a gateway that does not say.
    pub target: Option<String>,
}

/// Where a session comes from, for people: `IP:port`, or the address alone where the port is not known.
pub fn source_text(peer: SocketAddr) -> String {
    if peer.port() == 0 { peer.ip().to_string() } else { peer.to_string() }
}
