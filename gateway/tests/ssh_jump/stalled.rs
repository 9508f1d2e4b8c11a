//! One channel that stands still, and the other channels of its connection.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use config::snapshot::Value;
use russh::Channel;
use russh::client::{self, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::gate::{ALICE, Gate, echo, new_key, principal, vm};

/// Bytes that no buffer between here and a VM that does not read takes in: window, relay and kernel together.
const TOO_MUCH: usize = 24 << 20;
/// Packets of one byte each, to a channel that stands still.
const TINY_PACKETS: usize = 10_000;
const DEADLINE: Duration = Duration::from_secs(60);

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A connection through a gate that leads to an echo and to a VM that reads when it is told to.
pub(crate) struct Stage {
    gate: Gate,
    session: client::Handle<Trusting>,
    deaf: TcpListener,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let (gate, key) = (Gate::start(), new_key());
        let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
        gate.put([
            Value::Vm(vm(1, "echo", "ns1", echo())),
            Value::Vm(vm(2, "deaf", "ns1", deaf.local_addr().unwrap())),
            principal(ALICE, "operator:ns1", &[&key]),
        ]);
        let mut session = client::connect(Arc::default(), gate.address, Trusting).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        assert!(session.authenticate_publickey("openidcs", key).await.unwrap().success());
        Self { gate, session, deaf }
    }

    pub(crate) async fn open(&self, target: &str) -> Channel<Msg> {
        self.session.channel_open_direct_tcpip(target, 22, "127.0.0.1", 1).await.unwrap()
    }

    /// Sends to `channel`, whose VM does not read, until nothing moves on any more, and leaves room in its window.
    pub(crate) async fn stall(&self, channel: &Channel<Msg>, probe: &mut Channel<Msg>) -> u64 {
        let mut sent = 0;
        loop {
            channel.data_bytes(vec![b'a'; 65_536]).await.unwrap();
            sent += 65_536;
            for _ in 0..3 {
                ping(probe).await;
            }
            let sessions = self.gate.shared.sessions.list();
            let through = sessions.iter().map(|session| session.bytes_up).max().unwrap();
            if sent - through >= 512 * 1024 {
                return sent;
            }
            assert!(sent < TOO_MUCH as u64, "it does not stall");
        }
    }

    /// Accepts the connection to the VM that does not read, and reads it to its end.
    pub(crate) fn read_on(&self) -> std::thread::JoinHandle<Vec<u8>> {
        let (mut stream, _) = self.deaf.accept().unwrap();
        std::thread::spawn(move || {
            let mut heard = Vec::new();
            std::io::Read::read_to_end(&mut stream, &mut heard).unwrap();
            heard
        })
    }
}

/// One byte there and back.
pub(crate) async fn ping(channel: &mut Channel<Msg>) {
    channel.data_bytes(&b"!"[..]).await.unwrap();
    loop {
        let heard = channel.wait().await.expect("the channel ended");
        if let russh::ChannelMsg::Data { data } = heard {
            return assert_eq!(&data[..], b"!");
        }
        assert!(matches!(heard, russh::ChannelMsg::WindowAdjusted { .. }), "{heard:?}");
    }
}

fn within_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("it took too long") });
}

#[test]
fn of_twenty_channels_one_stalls_and_nineteen_flow() {
    within_time(async {
        let stage = Stage::set().await;
        let stalled = stage.open("deaf").await;
        let feeding = tokio::spawn(async move { stalled.data_bytes(vec![0; TOO_MUCH]).await });
        let mut flowing = Vec::new();
        for _ in 0..19 {
            flowing.push(stage.open("echo").await.into_stream());
        }
        for round in 0..4_u8 {
            for stream in &mut flowing {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let payload = vec![round; 512 * 1024];
                let mut heard = vec![0; payload.len()];
                let (sent, read) = tokio::join!(writer.write_all(&payload), reader.read_exact(&mut heard));
                sent.unwrap();
                read.unwrap();
                assert!(heard == payload, "what arrived is not what was sent");
            }
        }
        assert!(!feeding.is_finished(), "it was taken in, so memory is not bounded by the window");
        assert!(!stage.session.is_closed());
        feeding.abort();
    });
}

#[test]
fn ten_thousand_tiny_packets_to_a_stalled_channel_end_nothing_and_all_arrive() {
    within_time(async {
        let stage = Stage::set().await;
        let (stalled, mut probe) = (stage.open("deaf").await, stage.open("echo").await);
        let sent = stage.stall(&stalled, &mut probe).await;

        for _ in 0..TINY_PACKETS {
            stalled.data_bytes(&b"b"[..]).await.unwrap();
        }
        ping(&mut probe).await;

        let reading = stage.read_on();
        stalled.eof().await.unwrap();
        let heard = tokio::task::spawn_blocking(|| reading.join().unwrap()).await.unwrap();
        let (first, tiny) = heard.split_at(usize::try_from(sent).unwrap());
        assert!(first.iter().all(|byte| *byte == b'a'));
        assert_eq!(tiny, [b'b'; TINY_PACKETS]);
    });
}

#[test]
fn extended_data_is_dropped_and_gives_its_window_back() {
    within_time(async {
        let stage = Stage::set().await;
        let channel = stage.open("echo").await;
        for kind in [1, 7] {
            channel.extended_data_bytes(kind, vec![0; 5 << 20]).await.unwrap();
        }
        for _ in 0..1_000 {
            channel.extended_data_bytes(1, &b"x"[..]).await.unwrap();
            channel.data_bytes(&b"!"[..]).await.unwrap();
        }
        let mut heard = [0; 1_000];
        channel.into_stream().read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, [b'!'; 1_000]);
    });
}

#[test]
fn extended_data_to_a_stalled_channel_holds_up_nobody() {
    within_time(async {
        let stage = Stage::set().await;
        let (stalled, mut probe) = (stage.open("deaf").await, stage.open("echo").await);
        stage.stall(&stalled, &mut probe).await;

        for _ in 0..TINY_PACKETS / 4 {
            stalled.extended_data_bytes(1, &b"x"[..]).await.unwrap();
            stalled.data_bytes(&b"b"[..]).await.unwrap();
        }

        ping(&mut probe).await;
        assert!(!stage.session.is_closed());
    });
}

#[test]
fn a_slow_one_is_not_cut_and_loses_nothing() {
    within_time(async {
        let stage = Stage::set().await;
        let (slow, mut probe) = (stage.open("deaf").await, stage.open("echo").await);
        let sent = stage.stall(&slow, &mut probe).await;
        for _ in 0..500 {
            ping(&mut probe).await;
        }

        let reading = stage.read_on();
        let more = vec![b'c'; 4 << 20];
        slow.data_bytes(more.clone()).await.unwrap();
        slow.eof().await.unwrap();

        let heard = tokio::task::spawn_blocking(|| reading.join().unwrap()).await.unwrap();
        let (first, last) = heard.split_at(usize::try_from(sent).unwrap());
        assert!(first.iter().all(|byte| *byte == b'a') && last == more);
    });
}

#[test]
fn a_person_who_does_not_read_one_download_reads_the_others() {
    within_time(async {
        let stage = Stage::set().await;
        let mut unread = stage.open("echo").await.into_stream();
        let mut probe = stage.open("echo").await;
        // The echo comes back into a window that nobody opens again.
        let feeding = async {
            let block = vec![0; 65_536];
            let mut written = 0;
            while written < TOO_MUCH && unread.write_all(&block).await.is_ok() {
                written += block.len();
            }
            written
        };
        let pinging = async {
            for _ in 0..500 {
                ping(&mut probe).await;
            }
        };
        tokio::select! {
            written = feeding => panic!("{written} bytes of echo were taken in"),
            () = pinging => {}
        }
        ping(&mut probe).await;
    });
}

/// Where the VM that does not read listens, for clients of other kinds.
pub(crate) fn nobody_reads() -> (TcpListener, SocketAddr) {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = deaf.local_addr().unwrap();
    (deaf, at)
}
