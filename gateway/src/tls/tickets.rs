//! Session tickets that need no memory (DESIGN D12): whoever has the generation's ticket keys opens them, so a client
//! resumes on any worker, after a restart and at another gateway.
//!
//! rustls takes a client's certificate from its ticket and asks nobody again. So every policy of client authentication
//! has keys of its own, derived from the ticket secret and the policy's digest: a ticket of another policy, or of the
//! same one before its authorities or lists changed, does not open, and the handshake is a full one.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use config::limits;
use config::secret::Secret;
use config::snapshot::{Kind, Snapshot, TicketKey, Value};
use rustls::server::ProducesTickets;

/// What is mixed into every derived key: another use of the same secret gives other keys.
const SALT: &[u8] = b"gatehouse session tickets 1";

const KEY_LEN: usize = 32;
/// The part of a key's id that its tickets begin with: the random end of a UUIDv7.
const NAME_LEN: usize = 8;
const TIME_LEN: usize = 8;

type Name = [u8; NAME_LEN];

/// The ticket secrets of a generation, the one that seals first.
#[derive(Default)]
pub(super) struct Secrets {
    keys: Vec<(Name, Secret<Vec<u8>>)>,
    /// Whether the first one seals; otherwise all of them only open.
    seals: bool,
    /// What is wrong with the others.
    pub(super) faults: Vec<String>,
}

impl Secrets {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut keys = Vec::new();
        let mut faults = Vec::new();
        for object in snapshot.objects().filter(|object| object.key().kind == Kind::TICKET_KEY) {
            match object.decode() {
                Ok(Value::TicketKey(key)) => keys.push(key),
                Ok(_) => {}
                Err(error) => faults.push(format!("ticket key cannot be used: {error}")),
            }
        }
        // Of several that seal the newest does: ids grow with time.
        keys.sort_by_key(|key: &TicketKey| (!key.seals, std::cmp::Reverse(key.id)));
        keys.truncate(limits::TICKET_KEYS_MAX);
        let seals = keys.first().is_some_and(|key| key.seals);
        let keys = keys.into_iter().map(|key| (name(key.id.to_bytes()), key.secret)).collect();
        Self { keys, seals, faults }
    }

    /// The keys of one policy.
    pub(super) fn derive(&self, label: &[u8]) -> Tickets {
        let derived = |(name, secret): &(Name, Secret<Vec<u8>>)| {
            let key = derive(secret.expose(), label)?;
            RandomizedNonceKey::new(&AES_256_GCM, &key).ok().map(|key| (*name, key))
        };
        let keys: Option<Vec<_>> = self.keys.iter().map(derived).collect();
        // Not reached with 32 bytes; without keys there are no tickets.
        Tickets { keys: keys.unwrap_or_default(), seals: self.seals }
    }
}

fn name(id: [u8; 16]) -> Name {
    let mut name = [0; NAME_LEN];
    name.copy_from_slice(id.split_at(NAME_LEN).1);
    name
}

fn derive(secret: &[u8], label: &[u8]) -> Option<[u8; KEY_LEN]> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            KEY_LEN
        }
    }
    let mut key = [0; KEY_LEN];
    let info = [label];
    let extracted = Salt::new(HKDF_SHA256, SALT).extract(secret);
    extracted.expand(&info, Length).ok()?.fill(&mut key).ok()?;
    Some(key)
}

/// Seals and opens the tickets of one policy.
///
/// A ticket is the key's name, a nonce, and under AES-256-GCM the time it was sealed and what rustls keeps.
pub(super) struct Tickets {
    keys: Vec<(Name, RandomizedNonceKey)>,
    seals: bool,
}

impl Tickets {
    /// Whether new ones can be given out.
    pub(super) const fn seals(&self) -> bool {
        self.seals && !self.keys.is_empty()
    }

    fn seal(&self, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, key) = self.keys.first().filter(|_| self.seals)?;
        let mut sealed = Vec::with_capacity(TIME_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&now.to_be_bytes());
        sealed.extend_from_slice(plain);
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (_, key) = self.keys.iter().find(|(known, _)| known == name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.open_in_place(nonce, Aad::from(name), &mut sealed).ok()?;
        let (sealed_at, plain) = plain.split_first_chunk::<TIME_LEN>()?;
        let age = now.checked_sub(u64::from_be_bytes(*sealed_at));
        // A gateway whose clock is a little behind opens what another one has just sealed.
        let is_fresh = age.is_none_or(|age| age <= u64::from(limits::TICKET_LIFETIME_SECONDS));
        is_fresh.then(|| plain.to_vec())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys.is_empty()
    }

    fn lifetime(&self) -> u32 {
        limits::TICKET_LIFETIME_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, seconds())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(ticket, seconds())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({} keys)", self.keys.len())
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::id::KeyId;
    use config::snapshot::{Generation, Lineage, Object};

    fn key(byte: u8, seals: bool) -> TicketKey {
        TicketKey { id: KeyId::from_bytes([byte; 16]), seals, secret: Secret::new(vec![byte; 32]) }
    }

    fn secrets(keys: impl IntoIterator<Item = TicketKey>) -> Secrets {
        let objects = keys.into_iter().map(|key| Object::encode(&Value::TicketKey(key)).unwrap());
        Secrets::of(&Snapshot::of(Lineage::default(), Generation(1), objects))
    }

    #[test]
    fn another_gateway_with_the_same_keys_opens_a_ticket() {
        let ticket = secrets([key(1, true)]).derive(b"a").seal(b"state", 1_000).unwrap();
        assert_eq!(secrets([key(1, true)]).derive(b"a").open(&ticket, 1_001).unwrap(), b"state");
        assert!(memchr::memmem::find(&ticket, b"state").is_none());
    }

    #[test]
    fn a_ticket_of_one_policy_does_not_open_under_another() {
        let secrets = secrets([key(1, true)]);
        let ticket = secrets.derive(b"default").seal(b"state", 1_000).unwrap();
        assert_eq!(secrets.derive(b"with clients").open(&ticket, 1_000), None);
    }

    #[test]
    fn a_key_that_was_swapped_opens_until_it_is_removed() {
        let ticket = secrets([key(1, true)]).derive(b"a").seal(b"state", 1_000).unwrap();
        let swapped = secrets([key(1, false), key(2, true)]).derive(b"a");
        assert_eq!(swapped.open(&ticket, 1_000).unwrap(), b"state");
        assert_eq!(swapped.seal(b"state", 1_000).unwrap()[..NAME_LEN], [2; NAME_LEN]);
        assert_eq!(secrets([key(2, true)]).derive(b"a").open(&ticket, 1_000), None);
    }

    #[test]
    fn the_newest_of_several_that_seal_does() {
        let both = secrets([key(1, true), key(3, false), key(2, true)]).derive(b"a");
        assert_eq!(both.seal(b"", 0).unwrap()[..NAME_LEN], [2; NAME_LEN]);
    }

    #[test]
    fn keys_that_only_open_give_out_nothing() {
        let opens = secrets([key(1, false)]).derive(b"a");
        assert!(opens.enabled() && !opens.seals());
        assert_eq!(opens.encrypt(b"state"), None);
        assert!(!secrets([]).derive(b"a").enabled());
    }

    #[test]
    fn a_ticket_grows_old_and_one_from_a_clock_ahead_does_not() {
        let tickets = secrets([key(1, true)]).derive(b"a");
        let ticket = tickets.seal(b"state", 1_000).unwrap();
        let last = 1_000 + u64::from(limits::TICKET_LIFETIME_SECONDS);
        assert!(tickets.open(&ticket, last).is_some() && tickets.open(&ticket, 990).is_some());
        assert_eq!(tickets.open(&ticket, last + 1), None);
    }

    #[test]
    fn what_is_damaged_short_or_foreign_does_not_open() {
        let tickets = secrets([key(1, true)]).derive(b"a");
        let ticket = tickets.seal(b"state", 1_000).unwrap();
        for at in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[at] ^= 1;
            assert_eq!(tickets.open(&damaged, 1_000), None, "byte {at}");
            assert_eq!(tickets.open(&ticket[..at], 1_000), None, "{at} bytes");
        }
    }
}
