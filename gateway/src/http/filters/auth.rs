//! Names and passwords (RFC 7617).
//!
//! A password is verified on another thread, a few at once in the whole gateway. One that was right is remembered by its
//! worker for a while, as a keyed hash of the password together with what it was verified against: a changed password or
//! a user that is gone is forgotten by that alone. What is wrong costs the same whatever is wrong, and a client that
//! guesses waits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::limits;
use config::secret::Secret;
use config::snapshot::{BasicAuth, BasicUser, Route};
use tokio::time::Instant;

use super::super::client::Client;
use super::super::codec::Field;
use super::super::downstream::Connection;
use super::super::scratch::Scratch;
use super::{Refusal, State, rate};
use crate::fault::{Fault, Kind};

const FIELD: &[u8] = b"Authorization";

/// Passwords that were right, of one worker.
pub(in super::super) struct Passwords {
    key: hmac::Key,
    until: RefCell<HashMap<[u8; 32], Instant>>,
}

impl Default for Passwords {
    fn default() -> Self {
        let secret: [u8; 32] = rand::random();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret), until: RefCell::default() }
    }
}

impl Passwords {
    /// What `credentials` are remembered by, once they were right against `hash`.
    fn digest(&self, hash: &str, credentials: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&(hash.len() as u64).to_be_bytes());
        context.update(hash.as_bytes());
        context.update(credentials);
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn knows(&self, digest: &[u8; 32], now: Instant) -> bool {
        self.until.borrow().get(digest).is_some_and(|until| now < *until)
    }

    fn remember(&self, digest: [u8; 32], now: Instant) {
        let mut all = self.until.borrow_mut();
        if all.len() >= limits::PASSWORDS_REMEMBERED_MAX {
            all.retain(|_, until| now < *until);
        }
        if all.len() < limits::PASSWORDS_REMEMBERED_MAX {
            all.insert(digest, now + Duration::from_millis(limits::PASSWORD_REMEMBERED_MS));
        }
    }
}

impl<IO> Connection<IO> {
    /// Lets a request through whose name and password are right, and takes them off it: they were for us.
    pub(super) async fn admit_by_password(
        &self,
        route: &Route,
        auth: &BasicAuth,
        scratch: &mut Scratch,
        client: &Client,
    ) -> Result<(), Refusal> {
        if let Some(unknown) = self.look_up(auth, scratch)? {
            // Boxed: rare, and its size would be every idle connection's.
            if let Err(refusal) = Box::pin(self.ask(route, unknown, client)).await {
                // It was said, and not shown.
                scratch.user.clear();
                return Err(refusal);
            }
        }
        let bytes = self.link.intake.head();
        for field in scratch.request.fields_mut() {
            field.keep &= !field.name.of(bytes).eq_ignore_ascii_case(FIELD);
        }
        Ok(())
    }

    /// Reads name and password, and puts the name into the scratch if there is such a user. `None` if they were right of late.
    fn look_up(&self, auth: &BasicAuth, scratch: &mut Scratch) -> Result<Option<Unknown>, Refusal> {
        let bytes = self.link.intake.head();
        let mut room = [0; limits::CREDENTIALS_BYTES_MAX];
        let is_said = |field: &&Field| field.name.of(bytes).eq_ignore_ascii_case(FIELD);
        let mut said = scratch.request.fields().iter().filter(is_said);
        let credentials = match (said.next(), said.next()) {
            (None, _) => return Err(unauthorized("there is no password")),
            (Some(field), None) => credentials(field.value.of(bytes), &mut room),
            (Some(_), Some(_)) => None,
        };
        let Some((name, credentials)) = credentials else {
            self.worker.counters.auth_failure_http();
            return Err(unauthorized("the authorization is none of ours"));
        };
        let user = auth.users.iter().find(|user| user.name.as_bytes() == name);
        if let Some(user) = user {
            scratch.user.push_str(&user.name);
        }
        let passwords = &self.worker.http.passwords;
        let digest = user.map(|user| passwords.digest(user.password_hash.expose(), credentials));
        if digest.is_some_and(|digest| passwords.knows(&digest, Instant::now())) {
            return Ok(None);
        }
        let hash = user.or_else(|| stand_in(auth, name)).map(|user| user.password_hash.clone());
        let question = Question {
            hash: hash.unwrap_or(Secret::new(String::new())),
            password: Secret::new(credentials.get(name.len() + 1..).unwrap_or_default().to_vec()),
        };
        Ok(Some(Unknown { digest, question }))
    }

    async fn ask(&self, route: &Route, unknown: Unknown, client: &Client) -> Result<(), Refusal> {
        let Some(digest) = self.verify(route, unknown, client).await? else {
            self.worker.counters.auth_failure_http();
            return Err(unauthorized("the name or the password is wrong"));
        };
        self.worker.http.passwords.remember(digest, Instant::now());
        Ok(())
    }

    /// Asks whether name and password are right, unless this client guessed wrong too often of late. Returns what they
    /// are remembered by if they are.
    async fn verify(
        &self,
        route: &Route,
        unknown: Unknown,
        client: &Client,
    ) -> Result<Option<[u8; 32]>, Refusal> {
        let state = &self.worker.shared.filters;
        let key = rate::Key { route: route.id, of: rate::Of::Guesses(rate::network(client.address)) };
        let (requests, per_ms, burst) = limits::PASSWORD_GUESSES;
        let pace = rate::Pace::new(requests, per_ms, burst);
        // Taken before the answer is known: guesses that are made at once must not all see the same room.
        state.rates.take(key, pace, Instant::now()).map_err(|wait_ns| {
            self.worker.counters.auth_failure_http();
            Refusal::too_many("too many wrong passwords from this client", wait_ns)
        })?;
        let verified = state.verify(unknown.question).await;
        let is_wrong = matches!(verified, Ok(is_right) if !is_right || unknown.digest.is_none());
        if !is_wrong {
            state.rates.give_back(key, pace);
        }
        let digest = unknown.digest.filter(|_| !is_wrong);
        verified.map(|_| digest).map_err(Refusal::from)
    }
}

impl State {
    async fn verify(&self, question: Question) -> Result<bool, Fault> {
        let wait = Duration::from_millis(limits::PASSWORD_WAIT_MS);
        let turn = tokio::time::timeout(wait, Arc::clone(&self.verifications).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Fault::internal(Kind::Overloaded)) };
        #[cfg(test)]
        let verified = Arc::clone(&self.verified);
        let verify = move || {
            // Held by the work and not by who waits for it.
            let _turn = turn;
            #[cfg(test)]
            verified.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            question.is_right()
        };
        tokio::task::spawn_blocking(verify).await.map_err(|_| Fault::internal(Kind::Overloaded))
    }
}

/// A name and password that are not known to be right.
struct Unknown {
    /// What they will be remembered by; `None` for a name that nobody has.
    digest: Option<[u8; 32]>,
    question: Question,
}

/// A password, and what it has to be.
struct Question {
    hash: Secret<String>,
    password: Secret<Vec<u8>>,
}

impl Question {
    fn is_right(&self) -> bool {
        let Ok(hash) = PasswordHash::new(self.hash.expose()) else { return false };
        is_affordable(&hash) && Argon2::default().verify_password(self.password.expose(), &hash).is_ok()
    }
}

/// Whether the hash is argon2id, and of a cost that a stranger may make us pay.
fn is_affordable(hash: &PasswordHash) -> bool {
    let (memory_kib, passes, lanes) = limits::PASSWORD_COST_MAX;
    let within = |name: &str, max: u32| hash.params.get_decimal(name).is_some_and(|cost| cost <= max);
    hash.algorithm == Algorithm::Argon2id.ident()
        && within("m", memory_kib)
        && within("t", passes)
        && within("p", lanes)
}

/// Whose password an unknown name is checked against, so that it takes as long as a known one.
///
/// Hashes of different cost take different times. Each name therefore has its own stand-in, the same one every time and
/// with every worker, and chosen by what no stranger knows: else a cost that nobody else has would tell who exists.
fn stand_in<'a>(auth: &'a BasicAuth, name: &[u8]) -> Option<&'a BasicUser> {
    let secret = auth.users.first()?.password_hash.expose().as_bytes();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), name);
    let number = tag.as_ref().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte));
    auth.users.get(usize::try_from(number % auth.users.len() as u64).ok()?)
}

fn unauthorized(rule: &'static str) -> Refusal {
    Fault::downstream(Kind::Unauthorized, rule).into()
}

/// The name, and name and password with the colon between them, out of an `Authorization` field.
fn credentials<'a>(value: &[u8], room: &'a mut [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (scheme, token) = value.split_at_checked(5)?;
    let token = token.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(b"Basic"))?.trim_ascii();
    let len = STANDARD.decode_slice(token, room).ok()?;
    let both = room.get(..len)?;
    let colon = memchr::memchr(b':', both)?;
    Some((both.get(..colon)?, both))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<(String, String)> {
        let mut room = [0; limits::CREDENTIALS_BYTES_MAX];
        let (name, both) = credentials(value.as_bytes(), &mut room)?;
        Some((String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(both.to_vec()).unwrap()))
    }

    #[test]
    fn name_and_password_are_parted_by_the_first_colon() {
        let said = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(read(&said("ann:a:b")), Some(("ann".into(), "ann:a:b".into())));
        assert_eq!(read(&said("zoë:päß")), Some(("zoë".into(), "zoë:päß".into())));
        assert_eq!(read(&said(":")), Some((String::new(), ":".into())));
        assert_eq!(read(&said("a:").replace("Basic", "bASIC")), Some(("a".into(), "a:".into())));
        let long = "x".repeat(4 * limits::CREDENTIALS_BYTES_MAX);
        for value in
            ["", "Basic", "Basic ", "Bearer YTpi", "BasicYTpi", "Basic YQ==", "Basic !!!!", &said(&long)]
        {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn what_is_remembered_is_bound_to_the_hash_and_to_time_and_number() {
        let passwords = Passwords::default();
        let now = Instant::now();
        let digest = passwords.digest("$hash", b"ann:secret");
        passwords.remember(digest, now);
        assert!(passwords.knows(&digest, now));
        assert!(!passwords.knows(&passwords.digest("$other", b"ann:secret"), now));
        assert!(!passwords.knows(&passwords.digest("$hash", b"bob:secret"), now));
        assert!(!passwords.knows(&digest, now + Duration::from_millis(limits::PASSWORD_REMEMBERED_MS)));
        assert_ne!(
            digest,
            Passwords::default().digest("$hash", b"ann:secret"),
            "the key is the worker's own"
        );

        for number in 0..limits::PASSWORDS_REMEMBERED_MAX as u64 {
            passwords.remember(passwords.digest("$hash", &number.to_be_bytes()), now);
        }
        assert_eq!(passwords.until.borrow().len(), limits::PASSWORDS_REMEMBERED_MAX);
    }

    #[test]
    fn an_unknown_name_costs_what_some_user_costs_and_the_same_every_time() {
        let user = |name: &str| BasicUser {
            name: name.into(),
            password_hash: Secret::new(format!("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$hash-of-{name}")),
        };
        let auth = BasicAuth { realm: "r".into(), users: [user("ann"), user("bob"), user("eve")].into() };
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..100 {
            let name = format!("nobody-{number}");
            let first = stand_in(&auth, name.as_bytes()).unwrap();
            assert_eq!(first, stand_in(&auth.clone(), name.as_bytes()).unwrap());
            seen.insert(first.name.clone());
        }
        assert_eq!(seen.len(), 3, "costs of unknown names are spread as those of known ones");
        assert!(stand_in(&BasicAuth { users: Box::default(), ..auth }, b"nobody").is_none());
    }

    #[test]
    fn only_argon2id_of_a_bearable_cost_is_verified() {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA";
        let affordable = |text: &str| PasswordHash::new(text).is_ok_and(|hash| is_affordable(&hash));
        assert!(affordable(hash));
        for (from, to) in
            [("argon2id", "argon2i"), ("m=19456", "m=4000000"), ("t=2", "t=1000"), ("p=1", "p=99")]
        {
            assert!(!affordable(&hash.replace(from, to)), "{to}");
        }
    }
}
