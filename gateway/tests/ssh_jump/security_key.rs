//! Security keys (PROTOCOL.u2f): OpenSSH's client, and an agent that signs as the hardware would.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use config::snapshot::{SshAccess, Value};
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use crate::client::{Person, said};
use crate::gate::{Gate, echo, person, vm};
use crate::raw::string;

const ED25519: &str = "sk-ssh-ed25519@openssh.com";
const ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";
const APPLICATION: &str = "ssh:";
/// The person touched the key.
const PRESENT: u8 = 0x01;
/// The person typed the key's PIN.
const VERIFIED: u8 = 0x04;

/// What is said over a unix socket to an agent (draft-ietf-sshm-ssh-agent).
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const FAILURE: u8 = 5;

enum Secret {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

/// How the hardware behaves.
#[derive(Clone, Copy)]
struct Behaviour {
    /// The flags that it signs.
    signs: u8,
    /// The flags that it says it signed.
    says: u8,
    /// The application it signs for.
    application: &'static str,
}

const HONEST: Behaviour = Behaviour { signs: PRESENT, says: PRESENT, application: APPLICATION };

impl Secret {
    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    fn ecdsa() -> Self {
        Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => ED25519,
            Self::Ecdsa(_) => ECDSA,
        }
    }

    /// The public key in SSH wire form.
    fn blob(&self) -> Vec<u8> {
        let mut blob = string(self.algorithm().as_bytes());
        match self {
            Self::Ed25519(key) => blob.extend(string(key.public_key().as_ref())),
            Self::Ecdsa(key) => {
                blob.extend(string(b"nistp256"));
                blob.extend(string(key.public_key().as_ref()));
            }
        }
        blob.extend(string(APPLICATION.as_bytes()));
        blob
    }

    fn line(&self) -> String {
        format!("{} {} security key", self.algorithm(), BASE64.encode(&self.blob()))
    }

    /// The signature of `message` in SSH wire form.
    fn sign(&self, message: &[u8], behaves: Behaviour) -> Vec<u8> {
        let counter = 7_u32.to_be_bytes();
        let signed =
            [&Sha256::digest(behaves.application)[..], &[behaves.signs], &counter, &Sha256::digest(message)]
                .concat();
        let signature = match self {
            Self::Ed25519(key) => key.sign(&signed).as_ref().to_vec(),
            Self::Ecdsa(key) => {
                let both = key.sign(&SystemRandom::new(), &signed).unwrap();
                both.as_ref().chunks(32).flat_map(|half| string(&positive(half))).collect()
            }
        };
        let mut wire = string(self.algorithm().as_bytes());
        wire.extend(string(&signature));
        wire.push(behaves.says);
        wire.extend(counter);
        wire
    }
}

/// A number that is not negative, as SSH writes it.
fn positive(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = &bytes[first..];
    let zero: &[u8] = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
    [zero, bytes].concat()
}

/// An agent with one key at a socket, for as many connections as come.
fn agent(socket: &Path, secret: Secret, behaves: Behaviour) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            attend(stream, &secret, behaves);
        }
    });
}

fn attend(mut stream: UnixStream, secret: &Secret, behaves: Behaviour) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut message).unwrap();
        let answer = match message.split_first().unwrap() {
            (&REQUEST_IDENTITIES, _) => {
                [&[IDENTITIES_ANSWER, 0, 0, 0, 1], &string(&secret.blob())[..], &string(b"security key")]
                    .concat()
            }
            (&SIGN_REQUEST, rest) => {
                let key = secret.blob();
                let data = &rest[4 + key.len()..];
                let length = u32::from_be_bytes(data[..4].try_into().unwrap()) as usize;
                [&[SIGN_RESPONSE], &string(&secret.sign(&data[4..4 + length], behaves))[..]].concat()
            }
            _ => vec![FAILURE],
        };
        stream.write_all(&string(&answer)).unwrap();
    }
}

/// Logs in with a security key that behaves so.
fn gets_through(secret: Secret, behaves: Behaviour) -> Option<Result<(), String>> {
    let gate = Gate::start();
    let alice = Person::with_public_key(&secret.line(), gate.address)?;
    gate.put([
        Value::Vm(vm(1, "web-01", "ns1", echo())),
        person("operator:ns1", &[secret.blob()], SshAccess::default()),
    ]);
    let socket = alice.path("agent");
    agent(Path::new(&socket), secret, behaves);
    let agent = format!("IdentityAgent={socket}");
    let output = alice.run(&["-o", &agent, "-W", "web-01:22"], &[], b"hello");
    Some(if output.stdout == b"hello" { Ok(()) } else { Err(said(&output)) })
}

#[test]
fn a_touched_security_key_opens_the_gate_and_an_untouched_one_does_not() {
    for make in [Secret::ed25519 as fn() -> Secret, Secret::ecdsa] {
        for flags in [PRESENT, PRESENT | VERIFIED] {
            let Some(outcome) = gets_through(make(), Behaviour { signs: flags, says: flags, ..HONEST })
            else {
                return;
            };
            outcome.unwrap();
        }
        for flags in [0, VERIFIED] {
            let untouched = Behaviour { signs: flags, says: flags, ..HONEST };
            let text = gets_through(make(), untouched).unwrap().unwrap_err();
            assert!(text.contains("Permission denied (publickey)"), "{text}");
        }
    }
}

#[test]
fn a_touch_that_was_not_signed_and_a_signature_for_something_else_are_refused() {
    for make in [Secret::ed25519 as fn() -> Secret, Secret::ecdsa] {
        for liar in [
            Behaviour { signs: 0, says: PRESENT, ..HONEST },
            Behaviour { application: "https://example.com", ..HONEST },
        ] {
            let Some(outcome) = gets_through(make(), liar) else { return };
            let text = outcome.unwrap_err();
            assert!(text.contains("Permission denied (publickey)"), "{text}");
        }
    }
}
