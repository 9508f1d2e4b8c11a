//! Console tickets: what control signs and a gateway verifies, once.
//!
//! A ticket is `base64url(body || signature)` without padding: `body` is a version byte, the id of the key and the claims
//! in fixed places. This crate has no cryptography: who calls brings the signature, and the look at one. Redeeming it
//! once is the gateway's.

use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;

use crate::id::{ConsoleId, GatewayId, KeyId, SessionId, UserId, VmId};
use crate::limits;
use crate::snapshot::ConsoleKind;

/// What a ticket says. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The session that it opens; also what it is remembered by once it is redeemed.
    pub session: SessionId,
    /// Who it was made for; `None` is root on the machine of control itself.
    pub user: Option<UserId>,
    /// The machine.
    pub vm: VmId,
    /// The machine's console.
    pub console: ConsoleId,
    /// What that is.
    pub kind: ConsoleKind,
    /// Whether its holder may only look.
    pub read_only: bool,
    /// The address it may be used from, where that is bound.
    pub source: Option<IpAddr>,
    /// The gateway that redeems it.
    pub gateway: GatewayId,
    /// When it was made.
    pub issued_ms: u64,
    /// When it can no longer be redeemed.
    pub expires_ms: u64,
}

/// Why a ticket does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It cannot be read.
    #[error("this is not a console ticket")]
    Malformed,
    /// Of a key that is not, or no longer, in force.
    #[error("the ticket was signed with a key that is not in force here")]
    UnknownKey,
    /// Somebody else made or changed it.
    #[error("the ticket's signature is wrong")]
    Forged,
    /// Too late.
    #[error("the ticket has expired")]
    Expired,
    /// Made in the future, or for longer than a ticket may live.
    #[error("the ticket's times are not possible: are the clocks of control and gateway right?")]
    Untimely,
}

/// What a look at a signature found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It is the key's.
    Authentic,
    /// There is no such key.
    UnknownKey,
    /// It is not.
    Forged,
}

/// Of the layout below.
const VERSION: u8 = 1;
const SIGNATURE_LEN: usize = 64;
/// Version, key, session, user, vm, console, gateway, two times, kind, flags, source.
const BODY_LEN: usize = 1 + 16 * 6 + 8 * 2 + 1 + 1 + 16;
const READ_ONLY: u8 = 1;
const HAS_USER: u8 = 2;
const HAS_SOURCE: u8 = 4;

/// Length of a ticket in characters.
pub const TICKET_LEN: usize = ((BODY_LEN + SIGNATURE_LEN) * 4).div_ceil(3);

/// Writes a ticket; `sign` makes the Ed25519 signature of what it is given with the key of this id.
pub fn seal(claims: &Claims, key: KeyId, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> String {
    let mut bytes = body(claims, key);
    let signature = sign(&bytes);
    bytes.extend_from_slice(&signature);
    BASE64URL_NOPAD.encode(&bytes)
}

/// Reads a ticket. `look` sees the key's id, what was signed, and the signature. It is read for `late_ms` after its end:
/// whoever asks for that has to see that a ticket is not redeemed for the first time then.
///
/// Errors: it cannot be read, was not signed by a key in force, or is out of its time.
pub fn verify(
    text: &str,
    (now_ms, late_ms): (u64, u64),
    look: impl FnOnce(KeyId, &[u8], &[u8; 64]) -> Seen,
) -> Result<Claims, TicketError> {
    // The length first: nobody makes us decode a book.
    if text.len() != TICKET_LEN {
        return Err(TicketError::Malformed);
    }
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| TicketError::Malformed)?;
    let (body, signature) = bytes.split_last_chunk::<SIGNATURE_LEN>().ok_or(TicketError::Malformed)?;
    let (key, claims) = read(body).ok_or(TicketError::Malformed)?;
    match look(key, body, signature) {
        Seen::Authentic => {}
        Seen::UnknownKey => return Err(TicketError::UnknownKey),
        Seen::Forged => return Err(TicketError::Forged),
    }
    let (issued, expires) = (claims.issued_ms, claims.expires_ms);
    let is_possible = issued <= now_ms.saturating_add(limits::TICKET_CLOCK_SKEW_MS)
        && expires >= issued
        && expires - issued <= limits::TICKET_LIFE_MS;
    if !is_possible {
        return Err(TicketError::Untimely);
    }
    if expires.saturating_add(late_ms) <= now_ms { Err(TicketError::Expired) } else { Ok(claims) }
}

fn body(claims: &Claims, key: KeyId) -> Vec<u8> {
    let mut out = Vec::with_capacity(BODY_LEN + SIGNATURE_LEN);
    out.push(VERSION);
    out.extend_from_slice(&key.to_bytes());
    out.extend_from_slice(&claims.session.to_bytes());
    out.extend_from_slice(&claims.user.map(UserId::to_bytes).unwrap_or_default());
    out.extend_from_slice(&claims.vm.to_bytes());
    out.extend_from_slice(&claims.console.to_bytes());
    out.extend_from_slice(&claims.gateway.to_bytes());
    out.extend_from_slice(&claims.issued_ms.to_be_bytes());
    out.extend_from_slice(&claims.expires_ms.to_be_bytes());
    out.push(kind_number(claims.kind));
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.push(
        flag(claims.read_only, READ_ONLY)
            | flag(claims.user.is_some(), HAS_USER)
            | flag(claims.source.is_some(), HAS_SOURCE),
    );
    out.extend_from_slice(&claims.source.map(mapped).unwrap_or_default());
    out
}

/// The key and the claims; `None` for whatever `body` would not write.
fn read(body: &[u8]) -> Option<(KeyId, Claims)> {
    let (version, rest) = body.split_first_chunk::<1>()?;
    let (key, rest) = rest.split_first_chunk::<16>()?;
    let (session, rest) = rest.split_first_chunk::<16>()?;
    let (user, rest) = rest.split_first_chunk::<16>()?;
    let (vm, rest) = rest.split_first_chunk::<16>()?;
    let (console, rest) = rest.split_first_chunk::<16>()?;
    let (gateway, rest) = rest.split_first_chunk::<16>()?;
    let (issued, rest) = rest.split_first_chunk::<8>()?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let ([kind, flags], rest) = rest.split_first_chunk::<2>()?;
    let source = <[u8; 16]>::try_from(rest).ok()?;
    if *version != [VERSION] || flags & !(READ_ONLY | HAS_USER | HAS_SOURCE) != 0 {
        return None;
    }
    let has = |flag| flags & flag != 0;
    let claims = Claims {
        session: SessionId::from_bytes(*session),
        user: has(HAS_USER).then(|| UserId::from_bytes(*user)),
        vm: VmId::from_bytes(*vm),
        console: ConsoleId::from_bytes(*console),
        kind: ConsoleKind::ALL.into_iter().find(|known| kind_number(*known) == *kind)?,
        read_only: has(READ_ONLY),
        source: has(HAS_SOURCE).then(|| IpAddr::from(source).to_canonical()),
        gateway: GatewayId::from_bytes(*gateway),
        issued_ms: u64::from_be_bytes(*issued),
        expires_ms: u64::from_be_bytes(*expires),
    };
    Some((KeyId::from_bytes(*key), claims))
}

const fn kind_number(kind: ConsoleKind) -> u8 {
    match kind {
        ConsoleKind::Vnc => 0,
        ConsoleKind::Ttyd => 1,
        ConsoleKind::Ssh => 2,
        ConsoleKind::Serial => 3,
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000_000;

    fn claims() -> Claims {
        Claims {
            session: SessionId::from_bytes([1; 16]),
            user: Some(UserId::from_bytes([2; 16])),
            vm: VmId::from_bytes([3; 16]),
            console: ConsoleId::from_bytes([4; 16]),
            kind: ConsoleKind::Vnc,
            read_only: true,
            source: Some("192.0.2.7".parse().unwrap()),
            gateway: GatewayId::from_bytes([5; 16]),
            issued_ms: NOW,
            expires_ms: NOW + limits::TICKET_LIFE_MS,
        }
    }

    fn key() -> KeyId {
        KeyId::from_bytes([9; 16])
    }

    /// No signature at all, but one that depends on each byte.
    fn mark(bytes: &[u8]) -> [u8; 64] {
        use sha2::Digest as _;
        let half: [u8; 32] = sha2::Sha256::digest(bytes).into();
        std::array::from_fn(|place| half[place % 32])
    }

    fn look(id: KeyId, bytes: &[u8], signature: &[u8; 64]) -> Seen {
        match (id == key(), mark(bytes) == *signature) {
            (false, _) => Seen::UnknownKey,
            (true, true) => Seen::Authentic,
            (true, false) => Seen::Forged,
        }
    }

    #[test]
    fn a_ticket_says_what_was_claimed() {
        for (user, source) in [(claims().user, claims().source), (None, None)] {
            let claims = Claims { user, source, ..claims() };
            let text = seal(&claims, key(), mark);
            assert_eq!(text.len(), TICKET_LEN);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
            assert_eq!(verify(&text, (NOW + 1, 0), look), Ok(claims));
        }
        let v6 = Claims { source: Some("2001:db8::1".parse().unwrap()), ..claims() };
        assert_eq!(verify(&seal(&v6, key(), mark), (NOW, 0), look), Ok(v6));
    }

    #[test]
    fn a_ticket_out_of_its_time_opens_nothing() {
        let text = seal(&claims(), key(), mark);
        assert_eq!(verify(&text, (NOW + limits::TICKET_LIFE_MS, 0), look), Err(TicketError::Expired));
        assert!(verify(&text, (NOW + limits::TICKET_LIFE_MS, 1), look).is_ok());
        let early = NOW - limits::TICKET_CLOCK_SKEW_MS;
        assert!(verify(&text, (early, 0), look).is_ok());
        assert_eq!(verify(&text, (early - 1, 0), look), Err(TicketError::Untimely));
        let long = Claims { expires_ms: NOW + limits::TICKET_LIFE_MS + 1, ..claims() };
        assert_eq!(verify(&seal(&long, key(), mark), (NOW, 0), look), Err(TicketError::Untimely));
        let backwards = Claims { expires_ms: NOW - 1, ..claims() };
        assert_eq!(verify(&seal(&backwards, key(), mark), (NOW, 0), look), Err(TicketError::Untimely));
    }

    #[test]
    fn a_key_that_is_not_in_force_opens_nothing() {
        let text = seal(&claims(), KeyId::from_bytes([8; 16]), mark);
        assert_eq!(verify(&text, (NOW, 0), look), Err(TicketError::UnknownKey));
    }

    #[test]
    fn no_changed_bit_is_accepted() {
        let text = seal(&claims(), key(), mark);
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&BASE64URL_NOPAD.encode(&changed), (NOW, 0), look).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_is_no_ticket_is_refused(text in ".{0,400}") {
            prop_assert_eq!(verify(&text, (NOW, 0), |_, _, _| Seen::Authentic), Err(TicketError::Malformed));
        }
    }
}
