//! Whether a ticket opens a console under a generation.

use std::net::IpAddr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use config::grant::Role;
use config::id::{GatewayId, KeyId, UserId};
use config::limits;
use config::snapshot::{
    Console, ConsoleKind, ConsoleWire, Kind, ObjectKey, Principal, Service, Snapshot, Value, Vm,
};
use config::ticket::{self, Claims, Seen, TicketError};

/// Why no console opens. Each is told to whoever asks, so none says more than its holder knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Missing,
    /// It cannot be read, or its times are impossible.
    Malformed,
    /// Nobody whom we trust made it.
    Forged,
    /// Too late.
    Expired,
    /// Redeemed before.
    Used,
    /// The same, of a terminal, which its page may come back to.
    TerminalUsed,
    /// Made before this gateway started: nobody knows any more whether it was redeemed.
    BeforeStart,
    /// Made after now, as this gateway's clock has it.
    Early,
    /// Another gateway redeems it.
    OtherGateway,
    /// Bound to another address.
    OtherAddress,
    /// For another kind of console than is served here.
    OtherService,
    /// The console is gone.
    UnknownConsole,
    /// The console shows another machine than the ticket says.
    OtherVm,
    /// Its holder is disabled, or has lost the grant.
    NotGranted,
    /// Its holder's access by SSH is over.
    AccessOver,
    /// It only allows to look, and what passes untouched cannot be held back.
    NotHeldBack,
    /// No gateway of this version serves such consoles.
    NotServed,
    /// Another process of this gateway redeems it; this one has connections of before an upgrade.
    Moved,
    /// Too many tickets were redeemed of late.
    Full,
    /// The gateway that redeems it could not be asked.
    NotAsked,
}

impl Refusal {
    /// What the holder is told.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "A console ticket is required.",
            Self::Malformed => "This is not a console ticket.",
            Self::Forged => "The ticket was not made for this gate.",
            Self::Expired => "The ticket has expired. Ask for a new one.",
            Self::Used => "The ticket was used already. Ask for a new one.",
            Self::TerminalUsed => {
                "The ticket was used already: its terminal has ended, or is open in another page or at another gate. Ask \
                 for a new one."
            }
            Self::BeforeStart => "The gate was started again after the ticket was made. Ask for a new one.",
            Self::Early => "The clock of this gate is behind. Try again in a moment.",
            Self::OtherGateway => "The ticket is for another gate.",
            Self::OtherAddress => {
                "The ticket is for another address than the one you come from. Ask for one from here, or for any address."
            }
            Self::OtherService => "The ticket is for another kind of console than is served at this address.",
            Self::UnknownConsole => "The console of this ticket does not exist any more.",
            Self::OtherVm => "The ticket is for another machine than the console's.",
            Self::NotGranted => "You may not open this console any more.",
            Self::AccessOver => "Your access by SSH is over.",
            Self::NotHeldBack => "The ticket is for looking only, which this console cannot be held to.",
            Self::NotServed => "Consoles of this kind are not served by this gate.",
            Self::NotAsked => {
                "The gate that this ticket is for cannot be asked right now. Try again in a moment."
            }
            Self::Moved => "The gate was upgraded meanwhile. Try again.",
            Self::Full => "Too many consoles are being opened at once. Try again in a moment.",
        }
    }

    /// The same refusal of a ticket for such a console.
    pub(crate) fn of(self, kind: ConsoleKind) -> Self {
        if (self, kind) == (Self::Used, ConsoleKind::Ssh) { Self::TerminalUsed } else { self }
    }

    /// Whether the same ticket may open its console in a moment.
    pub(crate) const fn is_passing(self) -> bool {
        matches!(self, Self::Early | Self::NotAsked | Self::Moved | Self::Full)
    }

    /// The rule, for the log.
    pub(crate) const fn rule(self) -> &'static str {
        match self {
            Self::Missing => "a console was asked without a ticket",
            Self::Malformed
            | Self::Forged
            | Self::Expired
            | Self::Used
            | Self::TerminalUsed
            | Self::BeforeStart
            | Self::Early
            | Self::OtherGateway
            | Self::OtherAddress
            | Self::OtherService
            | Self::UnknownConsole
            | Self::OtherVm
            | Self::NotGranted
            | Self::AccessOver
            | Self::NotHeldBack
            | Self::NotServed
            | Self::NotAsked
            | Self::Moved
            | Self::Full => self.sentence(),
        }
    }
}

impl From<TicketError> for Refusal {
    fn from(error: TicketError) -> Self {
        match error {
            TicketError::Malformed | TicketError::Untimely => Self::Malformed,
            TicketError::UnknownKey | TicketError::Forged => Self::Forged,
            TicketError::Expired => Self::Expired,
        }
    }
}

/// A console that a ticket opens, once it is redeemed.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) claims: Claims,
    pub(crate) console: Console,
    /// Whether nothing but looking passes.
    pub(crate) read_only: bool,
    /// Whether another gateway redeems the ticket.
    pub(crate) is_elsewhere: bool,
    /// Whether it is bound to another address than it was shown from: it is not redeemed then, but a terminal that it
    /// opened may be come back to by its page, whose network changed.
    pub(crate) is_other_address: bool,
}

/// Where a ticket came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Who this gateway is; `None` before it is enrolled.
    pub(crate) gateway: Option<GatewayId>,
    /// What is served at the address.
    pub(crate) service: &'a Service,
    /// Who shows it.
    pub(crate) source: IpAddr,
    /// Milliseconds since 1970 UTC.
    pub(crate) now_ms: u64,
}

/// Verifies a ticket against a generation. Redeeming it is another matter.
pub(crate) fn admit(snapshot: &Snapshot, text: &str, place: &Place<'_>) -> Result<Opening, Refusal> {
    let claims = claims_of(snapshot, text, place.now_ms)?;
    // One that is not enrolled has nobody to ask.
    let is_elsewhere = place.gateway.ok_or(Refusal::OtherGateway)? != claims.gateway;
    let is_other = |source: IpAddr| source.to_canonical() != place.source.to_canonical();
    let is_other_address = claims.source.is_some_and(is_other);
    let console = console(snapshot, &claims)?;
    served(&console, place.service)?;
    let vm = vm(snapshot, &console).ok_or(Refusal::UnknownConsole)?;
    let read_only = claims.read_only || console.read_only;
    if let Some(user) = claims.user {
        // A guest may look. What the ticket says counts, not the console: it is what the person was given.
        let least = if claims.read_only { Role::Guest } else { Role::Operator };
        // A grant of SSH is of ports for jumps; a terminal logs in as the console says, which takes the role.
        let holder = principal(snapshot, user).ok_or(Refusal::NotGranted)?;
        if !holder.grants.allows(least, &vm.namespace) {
            return Err(Refusal::NotGranted);
        }
        if console.kind == ConsoleKind::Ssh && !holder.has_access(place.now_ms) {
            return Err(Refusal::AccessOver);
        }
    }
    if read_only && (console.kind, &console.wire) != (ConsoleKind::Vnc, &ConsoleWire::Tcp) {
        return Err(Refusal::NotHeldBack);
    }
    Ok(Opening { claims, console, read_only, is_elsewhere, is_other_address })
}

/// What a ticket says, where somebody whom we trust made it.
pub(crate) fn claims_of(snapshot: &Snapshot, text: &str, now_ms: u64) -> Result<Claims, TicketError> {
    let look = |key, signed: &[u8], signature: &[u8; 64]| look(snapshot, key, signed, signature);
    // A terminal is come back to with the ticket that opened it, however long it has been open; that it is open still,
    // and for this browser, is seen before anything else.
    let claims = ticket::verify(text, (now_ms, limits::TERMINAL_TICKET_LATE_MS), look)?;
    let is_over = claims.expires_ms.saturating_add(limits::TICKET_AGAIN_MS) <= now_ms;
    if is_over && claims.kind != ConsoleKind::Ssh { Err(TicketError::Expired) } else { Ok(claims) }
}

fn look(snapshot: &Snapshot, key: KeyId, signed: &[u8], signature: &[u8; 64]) -> Seen {
    let key = ObjectKey { kind: Kind::TICKET_AUTHORITY, id: key.to_bytes() };
    let Some(Ok(Value::TicketAuthority(authority))) = snapshot.get(key).map(|object| object.decode()) else {
        return Seen::UnknownKey;
    };
    match UnparsedPublicKey::new(&ED25519, authority.public_key).verify(signed, signature) {
        Ok(()) => Seen::Authentic,
        Err(_) => Seen::Forged,
    }
}

fn console(snapshot: &Snapshot, claims: &Claims) -> Result<Console, Refusal> {
    let key = ObjectKey { kind: Kind::CONSOLE, id: claims.console.to_bytes() };
    let Some(Ok(Value::Console(console))) = snapshot.get(key).map(|object| object.decode()) else {
        return Err(Refusal::UnknownConsole);
    };
    if console.vm != claims.vm || console.kind != claims.kind {
        return Err(Refusal::OtherVm);
    }
    Ok(console)
}

fn vm(snapshot: &Snapshot, console: &Console) -> Option<Vm> {
    let key = ObjectKey { kind: Kind::VM, id: console.vm.to_bytes() };
    if let Ok(Value::Vm(vm)) = snapshot.get(key)?.decode() { Some(vm) } else { None }
}

/// Who holds a ticket, as a generation knows them.
pub(crate) fn principal(snapshot: &Snapshot, user: UserId) -> Option<Principal> {
    let key = ObjectKey { kind: Kind::PRINCIPAL, id: user.to_bytes() };
    if let Ok(Value::Principal(principal)) = snapshot.get(key)?.decode() { Some(principal) } else { None }
}

fn served(console: &Console, service: &Service) -> Result<(), Refusal> {
    match (console.kind, service) {
        (ConsoleKind::Ssh, Service::Ttyd) if console.wire == ConsoleWire::Tcp => Ok(()),
        (ConsoleKind::Ssh, Service::Ttyd) => Err(Refusal::NotServed),
        (ConsoleKind::Vnc, Service::Novnc) | (ConsoleKind::Ttyd | ConsoleKind::Serial, Service::Ttyd) => {
            Ok(())
        }
        (ConsoleKind::Vnc | ConsoleKind::Ttyd | ConsoleKind::Ssh | ConsoleKind::Serial, _) => {
            Err(Refusal::OtherService)
        }
    }
}
