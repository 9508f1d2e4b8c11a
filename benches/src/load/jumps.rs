//! Many jumps that are open and silent: one connection with one channel each, as `ssh -J` has it, all in this process.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use russh::client::{self, Handle, Msg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{ChannelStream, Preferred, SshId, cipher, kex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::peers::ssh::{JUMPS_PER_PERSON, Jump, Target};

/// What was said through each before it fell silent: as much as a key exchange of an inner connection.
const SAID_BYTES: usize = 4 * 1024;
/// How long opening one may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Jumps that stay open until this is dropped.
pub struct Held {
    runtime: Runtime,
    open: Vec<(Handle<Trusting>, ChannelStream<Msg>)>,
}

/// Opens `count` jumps to an echo, each used once. Each [`JUMPS_PER_PERSON`] of them are the next key's.
pub fn open(jump: &Jump, target: Target, keys: &[PathBuf], count: usize) -> Result<Held> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let keys =
        keys.iter().map(|key| Ok(Arc::new(load_secret_key(key, None)?))).collect::<Result<Vec<_>>>()?;
    let config = Arc::new(config());
    let mut open = Vec::with_capacity(count);
    for nth in 0..count {
        let key = keys.get(nth / JUMPS_PER_PERSON).context("more jumps than the keys may open")?;
        let one = runtime.block_on(async {
            // Made within: a timer is of a runtime.
            tokio::time::timeout(PATIENCE, one(jump, target, key, &config)).await
        });
        open.push(one.context("it did not open in time").flatten().with_context(|| format!("jump {nth}"))?);
    }
    Ok(Held { runtime, open })
}

impl Held {
    /// Lets time pass, and answers what the other side asks meanwhile.
    pub fn rest(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// How many of them do not echo any more.
    pub fn broken(&mut self) -> usize {
        let Self { runtime, open } = self;
        let speaks = |stream| async { tokio::time::timeout(PATIENCE, speak(stream)).await };
        open.iter_mut()
            .filter_map(|(_, stream)| runtime.block_on(speaks(stream)).context("late").flatten().err())
            .count()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A channel that is dropped says so by a task of the runtime's.
        let _within = self.runtime.enter();
        self.open.clear();
    }
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// Introduces itself as OpenSSH, which most people have, and agrees on the same with both jump hosts.
fn config() -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-OpenSSH_9.2p1 Debian-2")),
        preferred: Preferred {
            cipher: Cow::Borrowed(&[cipher::AES_256_GCM]),
            kex: Cow::Borrowed(&[kex::CURVE25519, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]),
            ..Preferred::DEFAULT
        },
        nodelay: true,
        ..client::Config::default()
    }
}

async fn one(
    jump: &Jump,
    target: Target,
    key: &Arc<PrivateKey>,
    config: &Arc<client::Config>,
) -> Result<(Handle<Trusting>, ChannelStream<Msg>)> {
    let tcp = TcpStream::connect(jump.address).await?;
    tcp.set_nodelay(true)?;
    let mut session = client::connect_stream(Arc::clone(config), tcp, Trusting).await?;
    let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
    if !session.authenticate_publickey(jump.login(), key).await?.success() {
        bail!("{} lets nobody in", jump.name);
    }
    let (host, port) = jump.way_to(target);
    let channel = session.channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 1).await?;
    let mut stream = channel.into_stream();
    speak(&mut stream).await?;
    Ok((session, stream))
}

async fn speak(stream: &mut ChannelStream<Msg>) -> Result<()> {
    let said = [b'j'; SAID_BYTES];
    stream.write_all(&said).await?;
    stream.flush().await?;
    let mut heard = [0; SAID_BYTES];
    stream.read_exact(&mut heard).await?;
    if heard != said {
        bail!("the echo is not what was said");
    }
    Ok(())
}
