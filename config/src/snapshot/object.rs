//! The model: what the objects of a snapshot mean.
//!
//! These types are what the rest of the product reads. Their wire form is private to `sync::wire`; [`Object::encode`]
//! and [`Object::decode`] are the two doors.

use std::net::{IpAddr, SocketAddr};

use crate::grant::Grants;
use crate::id::{EndpointId, IdentityId, RouteId, UserId, VmId};
use crate::name::{HostPattern, Namespace, NetworkName, PathPrefix, UserName, VmName};
use crate::secret::Secret;
use crate::snapshot::{
    Challenge, Console, Content, CookieKey, Filters, Forward, Kind, Matchers, Object, ObjectKey, SshAccess,
    SshGate, SshHostKey, SshHostKeyPin, SshKey, SshUserCa, TicketAuthority, TicketKey, Timeouts, TlsMode,
    TlsPolicy, UpstreamPolicy,
};
use crate::sync::wire;
use crate::target::Target;

/// What one object means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Kind [`Kind::ROUTE`].
    Route(Route),
    /// Kind [`Kind::VM`].
    Vm(Vm),
    /// Kind [`Kind::PRINCIPAL`].
    Principal(Principal),
    /// Kind [`Kind::IDENTITY`].
    Identity(Identity),
    /// Kind [`Kind::SSH_HOST_KEY`].
    SshHostKey(SshHostKey),
    /// Kind [`Kind::CHALLENGE`].
    Challenge(Challenge),
    /// Kind [`Kind::TICKET_KEY`].
    TicketKey(TicketKey),
    /// Kind [`Kind::COOKIE_KEY`].
    CookieKey(CookieKey),
    /// Kind [`Kind::FORWARD`].
    Forward(Forward),
    /// Kind [`Kind::CONSOLE`].
    Console(Console),
    /// Kind [`Kind::TICKET_AUTHORITY`].
    TicketAuthority(TicketAuthority),
    /// Kind [`Kind::SSH_USER_CA`].
    SshUserCa(SshUserCa),
    /// Kind [`Kind::SSH_HOST_KEY_PIN`].
    SshHostKeyPin(SshHostKeyPin),
    /// Kind [`Kind::SSH_GATE`].
    SshGate(SshGate),
    /// A kind that this program does not know: kept, digested, and otherwise left alone.
    Unknown,
}

/// Bytes that do not mean what their kind says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("object {key:?} cannot be read: {why}")]
pub struct Malformed {
    /// The object.
    pub key: ObjectKey,
    /// What is wrong with it.
    pub why: String,
}

impl Object {
    /// The object that says `value`. `Value::Unknown` has no bytes and gives `None`.
    pub fn encode(value: &Value) -> Option<Self> {
        wire::object::encode(value)
    }

    /// What the object means.
    ///
    /// Errors: the bytes are no message of their kind, or a name, address or enumeration in them is out of its grammar.
    pub fn decode(&self) -> Result<Value, Malformed> {
        wire::object::decode(self)
    }
}

impl Value {
    /// The key of the object this value becomes; `None` for [`Value::Unknown`].
    pub const fn key(&self) -> Option<ObjectKey> {
        let (kind, id) = match self {
            Self::Route(route) => (Kind::ROUTE, route.id.to_bytes()),
            Self::Vm(vm) => (Kind::VM, vm.id.to_bytes()),
            Self::Principal(principal) => (Kind::PRINCIPAL, principal.id.to_bytes()),
            Self::Identity(identity) => (Kind::IDENTITY, identity.id.to_bytes()),
            Self::SshHostKey(key) => (Kind::SSH_HOST_KEY, key.id.to_bytes()),
            Self::Challenge(challenge) => (Kind::CHALLENGE, challenge.id.to_bytes()),
            Self::TicketKey(key) => (Kind::TICKET_KEY, key.id.to_bytes()),
            Self::CookieKey(key) => (Kind::COOKIE_KEY, key.id.to_bytes()),
            Self::Forward(forward) => (Kind::FORWARD, forward.id.to_bytes()),
            Self::Console(console) => (Kind::CONSOLE, console.id.to_bytes()),
            Self::TicketAuthority(authority) => (Kind::TICKET_AUTHORITY, authority.id.to_bytes()),
            Self::SshUserCa(ca) => (Kind::SSH_USER_CA, ca.id.to_bytes()),
            Self::SshHostKeyPin(pin) => (Kind::SSH_HOST_KEY_PIN, pin.vm.to_bytes()),
            Self::SshGate(_) => (Kind::SSH_GATE, SshGate::ID.to_bytes()),
            Self::Unknown => return None,
        };
        Some(ObjectKey { kind, id })
    }
}

// In this order, so that a look-up among a million routes waits for main memory once: host, path and matchers share a
// cache line, or lie in two neighbours.
/// A match and what happens to what matches.
///
/// Unique by (host, path, matchers). A disabled route is not in the snapshot.
#[repr(C)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which hosts it answers.
    pub host: HostPattern,
    /// Which paths it answers, below the host.
    pub path: PathPrefix,
    /// What else a request has to be.
    pub matchers: Option<Box<Matchers>>,
    /// What it does to requests and answers on their way.
    pub filters: Option<Box<Filters>>,
    /// How long it waits.
    pub timeouts: Option<Box<Timeouts>>,
    /// What it asks of handshakes beyond the defaults. Of a terminated route only.
    pub tls_policy: Option<Box<TlsPolicy>>,
    /// Stable name of the route; also what its upstream is known by.
    pub id: RouteId,
    /// The tenant that owns it.
    pub namespace: Namespace,
    /// What the route does.
    pub action: Action,
    /// What a change of the route does to its open tunnels.
    pub on_change: FlowPolicy,
    /// What its deletion does to them.
    pub on_delete: FlowPolicy,
    /// `Strict-Transport-Security: max-age=N` in seconds on answers over TLS; `None` sends nothing.
    pub hsts_seconds: Option<u32>,
    /// How the public side is protected.
    pub tls: TlsMode,
    /// Answer plain HTTP with 301 to https. Meaningless when `tls` is off.
    pub redirect_https: bool,
    /// Whether an upgrade to a WebSocket passes; otherwise it is answered 426.
    pub websocket: bool,
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends it to an upstream.
    Forward(Upstream),
    /// Hands it to one of our own services.
    Service(Service),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Answers it with what stands here.
    Respond(Respond),
}

/// Where a client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// An absolute URL, or a path on the same host.
    pub to: Box<str>,
    /// Whether what follows the route's path prefix, and the query, is put behind `to`.
    pub keeps_rest: bool,
}

/// A fixed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The body.
    pub content: Content,
}

/// A group of endpoints that serve the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// At least one.
    pub endpoints: Box<[Endpoint]>,
    /// What it does besides round robin over plain HTTP/1.1.
    pub policy: Option<Box<UpstreamPolicy>>,
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Key of its connection pool and health; outlives generations, new when the target changes.
    pub id: EndpointId,
    /// Where it is.
    pub target: Target,
    /// Whether loopback may be dialled: root set it.
    pub loopback_ok: bool,
    /// The VM it belongs to, when it was given as one.
    pub vm: Option<VmId>,
    /// Its share of the requests against the other endpoints' (1 to 256).
    pub weight: u16,
    /// Whether it gets no new requests but those that stick to it.
    pub draining: bool,
}

/// Our own services, published by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// The admin API and web UI; control writes where it listens, as an address that every gateway of this control
    /// can reach.
    Control {
        /// Key of the connection pool.
        id: EndpointId,
        /// The admin listener.
        address: SocketAddr,
    },
    /// The noVNC console gate of the gateway itself.
    Novnc,
    /// The ttyd console gate of the gateway itself.
    Ttyd,
}

/// What happens to open flows when their object changes or goes (DESIGN D5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowPolicy {
    /// They live on.
    Keep,
    /// They may finish within this many milliseconds.
    Drain {
        /// The time they get.
        ms: u32,
    },
    /// They end now.
    Cut,
}

/// A machine that jumps and consoles lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Stable name.
    pub id: VmId,
    /// What people type; unique in the namespace.
    pub name: VmName,
    /// The tenant that owns it.
    pub namespace: Namespace,
    /// The network its address belongs to.
    pub network: NetworkName,
    /// Its address; unique in the network.
    pub address: IpAddr,
    /// Where its sshd listens; a jump to port 22 goes there as well.
    pub ssh_port: u16,
    /// Whether a loopback address may be dialled: root set it.
    pub loopback_ok: bool,
}

/// Whoever may authenticate on SSH. A disabled user is not in the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub id: UserId,
    /// The user's name, for logs and sessions; not for matching: the login name on SSH may be a shared one.
    pub name: UserName,
    /// The user's public keys.
    pub keys: Box<[SshKey]>,
    /// What the user may do where.
    pub grants: Grants,
    /// What limits the user's access by SSH, and what it has beyond the role.
    pub ssh: SshAccess,
}

/// A certificate chain with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Stable name.
    pub id: IdentityId,
    /// The names it serves; exact or wildcard. The catch-all marks the identity for unknown names.
    pub names: Box<[HostPattern]>,
    /// Whether it goes before one without this mark that serves the same name: somebody brought it, or a public
    /// authority signed it.
    pub preferred: bool,
    /// Certificates in DER, leaf first.
    pub chain: Box<[Vec<u8>]>,
    /// The leaf's private key as PKCS#8 DER.
    pub key: Secret<Vec<u8>>,
}
