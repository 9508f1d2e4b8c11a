//! Key exchange: hybrid for whoever has it, strict, and with a fast cipher.

use std::borrow::Cow;
use std::sync::Arc;

use config::snapshot::Value;
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Preferred, client, kex};

use crate::client::{Person, said};
use crate::gate::{ALICE, Gate, echo, new_key, principal, vm};
use crate::raw::{IGNORE, KEX_INIT, KEX_REPLY, Raw, string};

const SNTRUP: &str = "sntrup761x25519-sha512@openssh.com";
/// What a client sends to begin `sntrup761x25519-sha512`, in bytes: both public keys.
const SNTRUP_INIT: usize = 1158 + 32;

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

fn gate() -> Option<(Gate, Person)> {
    let (gate, key) = (Gate::start(), new_key());
    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo())), principal(ALICE, "operator:ns1", &[&key])]);
    let alice = Person::with_key(&key, gate.address)?;
    Some((gate, alice))
}

fn panics(gate: &Gate) -> u64 {
    gate.shared.metrics.sum(|shard| shard.panics.load(std::sync::atomic::Ordering::Relaxed))
}

#[tokio::test]
async fn each_hybrid_exchange_alone_logs_in() {
    let (gate, key) = (Gate::start(), new_key());
    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo())), principal(ALICE, "operator:ns1", &[&key])]);
    for name in [kex::MLKEM768X25519_SHA256, kex::SNTRUP761X25519_SHA512, kex::SNTRUP761X25519_SHA512_OPENSSH]
    {
        let preferred = Preferred { kex: Cow::Owned(vec![name]), ..Preferred::DEFAULT };
        let config = Arc::new(client::Config { preferred, ..client::Config::default() });
        let mut session = client::connect(config, gate.address, Trusting).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
        assert!(session.authenticate_publickey("openidcs", key).await.unwrap().success(), "{name:?}");
        session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
    }
}

#[test]
fn openssh_gets_a_hybrid_exchange_strict_and_aes_gcm() {
    let Some((_gate, alice)) = gate() else { return };
    let output = alice.run(&["-vvv", "-W", "web-01:22"], &[], b"hello");
    let text = said(&output);
    assert_eq!(output.stdout, b"hello", "{text}");
    let hybrid = ["kex: algorithm: sntrup761x25519", "kex: algorithm: mlkem768x25519"];
    assert!(hybrid.iter().any(|name| text.contains(name)), "{text}");
    for line in [
        "will use strict KEX ordering",
        // Its own order decides, once ChaCha20 is out of it.
        "kex: server->client cipher: aes128-gcm@openssh.com",
        "kex: client->server cipher: aes128-gcm@openssh.com",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }

    // Rekeying takes the same exchange again, in the middle of a stream.
    let payload = vec![b'a'; 3 << 20];
    let rekeying = ["-o", "RekeyLimit=256K", "-o", &format!("KexAlgorithms={SNTRUP}"), "-W", "web-01:22"];
    let output = alice.run(&rekeying, &[], &payload);
    assert!(output.stdout == payload, "{}", said(&output));
}

#[test]
fn a_public_key_that_nobody_made_is_answered_or_hung_up_on() {
    let Some((gate, alice)) = gate() else { return };
    for init in
        [vec![0; SNTRUP_INIT], vec![0xff; SNTRUP_INIT], vec![7; SNTRUP_INIT - 1], vec![7; 31], Vec::new()]
    {
        let mut client = Raw::connect(gate.address, "SSH-2.0-x");
        client.offer(SNTRUP);
        client.send(&[&[KEX_INIT], &string(&init)[..]].concat());
        while client.next().is_some_and(|answer| answer[0] != KEX_REPLY) {}
    }
    assert_eq!(panics(&gate), 0);
    let output = alice.run(&["-W", "web-01:22"], &[], b"hello");
    assert_eq!(output.stdout, b"hello", "{}", said(&output));
}

#[test]
fn under_strict_exchange_nothing_else_may_be_said_in_between() {
    let Some((gate, _)) = gate() else { return };
    for (offer, goes_on) in
        [("curve25519-sha256", true), ("curve25519-sha256,kex-strict-c-v00@openssh.com", false)]
    {
        let mut client = Raw::connect(gate.address, "SSH-2.0-x");
        client.offer(offer);
        client.send(&[IGNORE, 0, 0, 0, 0]);
        client.send(&[&[KEX_INIT], &string(&[9; 32])[..]].concat());
        let mut answers = std::iter::from_fn(|| client.next());
        assert_eq!(answers.any(|answer| answer[0] == KEX_REPLY), goes_on, "{offer}");
    }
}

#[test]
fn who_has_not_authenticated_sends_no_longer_packets_than_all_must_take() {
    let Some((gate, _)) = gate() else { return };
    for (bytes, goes_on) in [(34_000_u32, true), (40_000, false)] {
        let mut client = Raw::connect(gate.address, "SSH-2.0-x");
        client.offer("curve25519-sha256");
        let ignored = vec![0; usize::try_from(bytes).unwrap()];
        client.send(&[&[IGNORE], &string(&ignored)[..]].concat());
        client.send(&[&[KEX_INIT], &string(&[9; 32])[..]].concat());
        let mut answers = std::iter::from_fn(|| client.next());
        assert_eq!(answers.any(|answer| answer[0] == KEX_REPLY), goes_on, "{bytes}");
    }
}

#[test]
fn what_is_offered_depends_on_who_asks() {
    let Some((gate, _)) = gate() else { return };
    for (banner, has_plain_curve, ciphers) in [
        ("SSH-2.0-OpenSSH_10.0", false, 2),
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2", true, 2),
        ("SSH-2.0-PuTTY_Release_0.77", true, 4),
        ("SSH-2.0-paramiko_3.4", true, 4),
    ] {
        let kex = Raw::connect(gate.address, banner).offered(0);
        assert_eq!(kex.iter().any(|name| name == "curve25519-sha256"), has_plain_curve, "{banner}: {kex:?}");
        assert!(kex.iter().any(|name| name == SNTRUP), "{banner}: {kex:?}");
        assert!(kex.iter().any(|name| name == "kex-strict-s-v00@openssh.com"), "{banner}: {kex:?}");
        assert_eq!(Raw::connect(gate.address, banner).offered(2).len(), ciphers, "{banner}");
    }
}
