//! Bytes both ways through small buffers: a peer that does not read is still read from.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

use config::snapshot::Value;
use russh::client;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::gate::{ALICE, Gate, echo, new_key, principal, shrink, vm};

/// In the kernel, each way: what a few packets of data fill.
const BUFFERS: usize = 32 * 1024;
/// Less than a window, and more than all buffers on the way.
const UPLOAD: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(60);

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// A connection that is not read from while `pause` says so.
struct Paused {
    tcp: TcpStream,
    pause: watch::Receiver<bool>,
    resumed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl AsyncRead for Paused {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while *self.pause.borrow() {
            let mut pause = self.pause.clone();
            let resumed = self
                .resumed
                .get_or_insert_with(|| Box::pin(async move { drop(pause.wait_for(|paused| !paused).await) }));
            std::task::ready!(resumed.as_mut().poll(context));
            self.resumed = None;
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Paused {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// Logs in over small buffers; the sender says when the connection is not read from.
async fn log_in(gate: &Gate, key: &PrivateKey) -> (client::Handle<Trusting>, watch::Sender<bool>) {
    let tcp = TcpStream::connect(gate.address).await.unwrap();
    shrink(&tcp, BUFFERS);
    let (tell, pause) = watch::channel(false);
    let stream = Paused { tcp, pause, resumed: None };
    let mut session = client::connect_stream(Arc::default(), stream, Trusting).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), None);
    assert!(session.authenticate_publickey("openidcs", key).await.unwrap().success());
    (session, tell)
}

/// A VM that sends without end.
fn spring() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let block: Vec<u8> = (0..251 * 256).map(|number| (number % 251) as u8).collect();
        while stream.write_all(&block).is_ok() {}
    });
    address
}

/// A VM that takes everything, and says when it has had so much.
fn sink(much: usize) -> (SocketAddr, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut vec![0; much]).unwrap();
        tell.send(()).unwrap();
    });
    (address, told)
}

fn within_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("it took too long") });
}

#[test]
fn what_a_client_sends_arrives_while_it_reads_nothing() {
    within_time(async {
        let (gate, key) = (Gate::start_with_buffers(Some(BUFFERS)), new_key());
        let (sink, arrived) = sink(UPLOAD);
        gate.put([
            Value::Vm(vm(1, "spring", "ns1", spring())),
            Value::Vm(vm(2, "sink", "ns1", sink)),
            principal(ALICE, "operator:ns1", &[&key]),
        ]);
        let (session, pause) = log_in(&gate, &key).await;
        let open =
            async |target| session.channel_open_direct_tcpip(target, 22, "127.0.0.1", 1).await.unwrap();
        let upload = open("sink").await;
        let mut download = open("spring").await.into_stream();
        pause.send_replace(true);
        // More than the buffers hold: from here on the gate has something to write, and cannot.
        let came_down =
            || gate.shared.sessions.list().iter().map(|session| session.bytes_down).max().unwrap_or(0);
        while came_down() < 8 * BUFFERS as u64 {
            tokio::task::yield_now().await;
        }

        upload.data_bytes(vec![7; UPLOAD]).await.unwrap();

        tokio::task::spawn_blocking(move || arrived.recv().unwrap()).await.unwrap();
        pause.send_replace(false);
        let mut heard = vec![0; 4 << 20];
        download.read_exact(&mut heard).await.unwrap();
        assert!(heard.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251), "nothing is lost");
    });
}

#[test]
fn bulk_both_ways_on_many_channels_goes_on_through_small_buffers() {
    within_time(async {
        let (gate, key) = (Gate::start_with_buffers(Some(BUFFERS)), new_key());
        gate.put([Value::Vm(vm(1, "echo", "ns1", echo())), principal(ALICE, "operator:ns1", &[&key])]);
        let (session, _) = log_in(&gate, &key).await;
        let mut all = tokio::task::JoinSet::new();
        for number in 0..4_u8 {
            let channel = session.channel_open_direct_tcpip("echo", 22, "127.0.0.1", 1).await.unwrap();
            all.spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(channel.into_stream());
                let payload = vec![number; 3 << 20];
                let mut heard = vec![0; payload.len()];
                let (sent, read) = tokio::join!(writer.write_all(&payload), reader.read_exact(&mut heard));
                sent.unwrap();
                read.unwrap();
                assert!(heard == payload, "what arrived is not what was sent");
            });
        }
        while let Some(ended) = all.join_next().await {
            ended.unwrap();
        }
    });
}
