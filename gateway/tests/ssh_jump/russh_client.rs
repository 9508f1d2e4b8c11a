//! What OpenSSH's client never does: a client of our own against the gate.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::snapshot::Value;
use russh::ChannelOpenFailure;
use russh::client::{self, AuthResult};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::gate::{ALICE, Gate, echo, new_key, principal, vm};

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn connect(gate: &Gate) -> client::Handle<Trusting> {
    client::connect(Arc::default(), gate.address, Trusting).await.unwrap()
}

async fn log_in(session: &mut client::Handle<Trusting>, key: &PrivateKey) -> AuthResult {
    let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
    session.authenticate_publickey("openidcs", key).await.unwrap()
}

/// A gate with alice and `web-01` in force.
fn gate(key: &PrivateKey) -> Gate {
    let gate = Gate::start();
    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo())), principal(ALICE, "operator:ns1", &[key])]);
    gate
}

fn failure(error: russh::Error) -> ChannelOpenFailure {
    let russh::Error::ChannelOpenFailure(failure) = error else { panic!("{error}") };
    failure
}

#[test]
fn without_a_generation_it_is_closed_before_a_word() {
    let gate = Gate::start();
    let mut stream = std::net::TcpStream::connect(gate.address).unwrap();
    assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0);
}

#[tokio::test]
async fn channels_of_one_connection_are_bounded_and_give_their_room_back() {
    let key = new_key();
    let gate = gate(&key);
    let mut session = connect(&gate).await;
    assert!(log_in(&mut session, &key).await.success());
    let mut streams = Vec::new();
    for _ in 0..limits::SSH_CHANNELS_MAX {
        let channel = session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
        streams.push(channel.into_stream());
    }

    let one_more = session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap_err();
    assert_eq!(failure(one_more).code(), ChannelOpenFailure::ResourceShortage.code());

    for stream in &mut streams {
        stream.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"ping");
    }
    drop(streams.pop().unwrap());
    let closed = async {
        // Not the blocking wait: the client's own task has to run.
        while gate.shared.sessions.len() == limits::SSH_CHANNELS_MAX {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .expect("the channel's session was not closed");
    session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
}

#[tokio::test]
async fn a_person_who_lost_the_key_opens_nothing_more() {
    let key = new_key();
    let gate = gate(&key);
    let mut session = connect(&gate).await;
    assert!(log_in(&mut session, &key).await.success());

    gate.put([Value::Vm(vm(1, "web-01", "ns1", echo())), principal(ALICE, "operator:ns1", &[])]);

    let refused = session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap_err();
    let refused = failure(refused);
    assert_eq!(refused.code(), ChannelOpenFailure::AdministrativelyProhibited.code());
}

#[tokio::test]
async fn other_channels_and_odd_targets_are_refused_and_the_connection_lives() {
    let key = new_key();
    let gate = gate(&key);
    let mut session = connect(&gate).await;
    assert!(log_in(&mut session, &key).await.success());

    assert!(session.channel_open_direct_streamlocal("/run/docker.sock").await.is_err());
    assert!(session.channel_open_x11("127.0.0.1", 1).await.is_err());
    let long = "a".repeat(10_000);
    for (host, port) in [("web-01", 70_000), ("", 22), ("we\0b\n", 22), (&long, 22)] {
        assert!(session.channel_open_direct_tcpip(host, port, "127.0.0.1", 1).await.is_err(), "{port}");
    }

    session.channel_open_direct_tcpip("web-01", 22, "127.0.0.1", 1).await.unwrap();
}

#[tokio::test]
async fn passwords_are_not_a_way_in_and_attempts_are_bounded() {
    let gate = gate(&new_key());
    let mut session = connect(&gate).await;
    assert!(!session.authenticate_password("openidcs", "secret").await.unwrap().success());

    let mut attempts = 1;
    loop {
        let key = PrivateKeyWithHashAlg::new(Arc::new(new_key()), None);
        match session.authenticate_publickey("openidcs", key).await {
            Ok(answer) if !answer.success() && !session.is_closed() => attempts += 1,
            Ok(_) | Err(_) => break,
        }
        assert!(attempts <= limits::SSH_AUTH_TRIES_MAX + 1, "attempts are not bounded");
    }
    assert!(attempts >= limits::SSH_AUTH_TRIES_MAX, "{attempts}");
}

#[tokio::test]
async fn what_is_not_aes_gcm_is_not_spoken() {
    let gate = gate(&new_key());
    let config = client::Config {
        preferred: russh::Preferred {
            cipher: std::borrow::Cow::Borrowed(&[russh::cipher::CHACHA20_POLY1305]),
            ..russh::Preferred::DEFAULT
        },
        ..client::Config::default()
    };
    assert!(client::connect(Arc::new(config), gate.address, Trusting).await.is_err());
}
