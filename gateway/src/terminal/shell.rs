//! The VM's half of a terminal: an SSH client that asks for a shell.
//!
//! The VM is who its pinned host key says. We are a person's certificate of minutes, made by control for this one key of
//! ours, which never leaves this process.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::limits;
use russh::client::{self, Config, Handle, Handler, Msg};
use russh::keys::{
    Algorithm, Certificate, EcdsaCurve, HashAlg, PrivateKey, PublicKey, PublicKeyOrCertificate,
};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, Preferred, SshId, cipher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::protocol::Size;

/// Who decides about a VM's host key.
pub(super) trait HostKeys: Send + 'static {
    /// Whether `key` is the VM's.
    ///
    /// Errors: it is not, or nobody can say; in words for the person.
    fn check(&self, key: &PublicKey) -> impl Future<Output = Result<(), String>> + Send;

    /// The types of the keys that are known to be the VM's. They are asked for first: a VM that gained a key of a newer
    /// type has not changed.
    fn known(&self) -> Vec<Algorithm>;
}

/// Types of host keys, the best first; RSA signs with SHA-2 or not at all.
const HOST_KEYS: [Algorithm; 6] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// How we log in on a VM.
pub(super) struct Login {
    /// The account.
    pub(super) name: String,
    /// Our key.
    pub(super) key: Arc<PrivateKey>,
    /// What control says of it.
    pub(super) certificate: Certificate,
}

/// Why there is no shell, in words for a person.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShellError {
    #[error("{0}")]
    HostKey(String),
    #[error("the VM does not let {0:?} in: does it trust the gate's SSH authority?")]
    Denied(String),
    #[error("the VM opens no terminal for {0:?}")]
    NoTerminal(String),
    #[error("the VM and the gate have no SSH algorithm in common")]
    NoCommonAlgorithm,
    #[error("the VM does not speak SSH, or broke off")]
    Broken,
    #[error("the VM did not answer in time")]
    Late,
}

/// What a shell says next.
pub(super) enum Printed {
    Bytes(Bytes),
    /// It is over, with this status.
    Exited(Option<u32>),
    /// The connection is gone.
    Lost,
}

/// A shell that is open.
pub(super) struct Shell {
    end: Box<dyn FnOnce()>,
    read: ChannelReadHalf,
    status: Option<u32>,
    /// What goes to the shell, in the order it came.
    pub(super) input: mpsc::Sender<Bytes>,
    /// The size of its terminal. Only the newest counts, and it waits for no input.
    pub(super) size: watch::Sender<Size>,
}

/// Opens a shell for `login`, on a connection to a VM, in a terminal of this size.
pub(super) async fn open<IO, K>(io: IO, keys: K, login: Login, size: Size) -> Result<Shell, ShellError>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    K: HostKeys,
{
    let deadline = Duration::from_millis(limits::TERMINAL_OPEN_DEADLINE_MS);
    let opening = async {
        let mut handle = client::connect_stream(config(&keys.known()), io, Door(keys)).await?;
        let entered =
            handle.authenticate_openssh_cert(login.name.clone(), login.key, login.certificate).await?;
        if !entered.success() {
            return Err(ShellError::Denied(login.name));
        }
        let channel = handle.channel_open_session().await?;
        ask(channel, &login.name, size).await.map(|channel| (handle, channel))
    };
    let (handle, channel) = timeout(deadline, opening).await.map_err(|_| ShellError::Late)??;
    let (read, write) = channel.split();
    let (input, typed) = mpsc::channel(limits::TERMINAL_SAID_QUEUED_MAX);
    let (size, sizes) = watch::channel(size);
    tokio::task::spawn_local(feed(write, typed, sizes));
    Ok(Shell { end: Box::new(move || leave(handle)), read, status: None, input, size })
}

/// Asks for a terminal and a shell in it, and waits for both answers.
async fn ask(mut channel: Channel<Msg>, name: &str, size: Size) -> Result<Channel<Msg>, ShellError> {
    channel.request_pty(true, "xterm-256color", size.columns, size.rows, 0, 0, &[]).await?;
    answered(&mut channel, name).await?;
    // A server that takes no environment is none the worse: nothing waits for its answer. The page speaks UTF-8 and
    // nothing else; a machine that sets a locale of its own sets it after this.
    channel.set_env(false, "COLORTERM", "truecolor").await?;
    channel.set_env(false, "LANG", "C.UTF-8").await?;
    channel.request_shell(true).await?;
    answered(&mut channel, name).await?;
    Ok(channel)
}

async fn answered(channel: &mut Channel<Msg>, name: &str) -> Result<(), ShellError> {
    loop {
        match channel.wait().await {
            Some(ChannelMsg::Success) => return Ok(()),
            Some(ChannelMsg::Failure) => return Err(ShellError::NoTerminal(name.to_owned())),
            Some(ChannelMsg::Close) | None => return Err(ShellError::Broken),
            Some(_) => {}
        }
    }
}

/// Hands a shell what was typed and the sizes of its terminal, until nobody types any more. A shell that takes no input
/// hears of a new size all the same.
async fn feed(
    write: ChannelWriteHalf<Msg>,
    mut typed: mpsc::Receiver<Bytes>,
    mut sizes: watch::Receiver<Size>,
) {
    let keys = async {
        while let Some(bytes) = typed.recv().await {
            if write.data_bytes(bytes).await.is_err() {
                break;
            }
        }
    };
    let resizes = async {
        while sizes.changed().await.is_ok() {
            let Size { columns, rows } = *sizes.borrow_and_update();
            if write.window_change(columns, rows, 0, 0).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = keys => {}
        () = resizes => {}
    }
    // The connection is ended by whoever holds it; this is only politeness.
    let _ = write.close().await;
}

/// Ends a connection in order, without waiting for it.
fn leave<K: HostKeys>(handle: Handle<Door<K>>) {
    tokio::task::spawn_local(async move {
        let bye = handle.disconnect(Disconnect::ByApplication, "", "");
        let _ = timeout(Duration::from_millis(limits::CONSOLE_CLOSE_DEADLINE_MS), bye).await;
    });
}

impl Shell {
    /// What comes next; may be dropped and asked again.
    pub(super) async fn next(&mut self) -> Printed {
        loop {
            match self.read.wait().await {
                Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => {
                    return Printed::Bytes(data);
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => self.status = Some(exit_status),
                Some(ChannelMsg::Close) => return Printed::Exited(self.status),
                None if self.status.is_some() => return Printed::Exited(self.status),
                None => return Printed::Lost,
                Some(_) => {}
            }
        }
    }

    /// Ends it.
    pub(super) fn leave(self) {
        (self.end)();
    }
}

/// Types of host keys in the order in which they are asked for.
fn host_keys(known: &[Algorithm]) -> Vec<Algorithm> {
    let is_rsa = |one: &Algorithm| matches!(one, Algorithm::Rsa { .. });
    let is_known =
        |wanted: &Algorithm| known.contains(wanted) || (is_rsa(wanted) && known.iter().any(is_rsa));
    let mut all = HOST_KEYS.to_vec();
    // Stable: among equals the best stays first.
    all.sort_by_key(|wanted| !is_known(wanted));
    all
}

fn config(known: &[Algorithm]) -> Arc<Config> {
    let (keepalive_ms, keepalives) = limits::SSH_KEEPALIVE_MS;
    Arc::new(Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-gatehouse")),
        // What a person reads: a screen, not a download.
        window_size: limits::TERMINAL_WINDOW_BYTES,
        preferred: Preferred {
            key: Cow::Owned(host_keys(known)),
            cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::AES_256_CTR]),
            ..Preferred::DEFAULT
        },
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_millis(keepalive_ms)),
        keepalive_max: keepalives,
        nodelay: true,
        ..Config::default()
    })
}

/// Looks at the host key; whatever a server might open towards us is refused by not being named here.
struct Door<K>(K);

impl<K: HostKeys> Handler for Door<K> {
    type Error = ShellError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, ShellError> {
        let checked = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.0.check(key).await,
            PublicKeyOrCertificate::Certificate(certificate) => {
                self.0.check(&PublicKey::from(certificate.public_key().clone())).await
            }
        };
        checked.map(|()| true).map_err(ShellError::HostKey)
    }
}

impl From<russh::Error> for ShellError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is one to a person")]
    fn from(error: russh::Error) -> Self {
        tracing::debug!(%error, "terminal's ssh");
        match error {
            russh::Error::NoCommonAlgo { .. } => Self::NoCommonAlgorithm,
            _ => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_known_key_is_asked_for_first_and_the_rest_by_rank() {
        assert_eq!(host_keys(&[]), HOST_KEYS);
        // A key is of RSA whatever it signs with.
        let asked = host_keys(&[Algorithm::Rsa { hash: None }]);
        assert_eq!(asked[..3], [HOST_KEYS[4].clone(), HOST_KEYS[5].clone(), Algorithm::Ed25519]);
        let p384 = Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 };
        assert_eq!(host_keys(std::slice::from_ref(&p384))[..2], [p384, Algorithm::Ed25519]);
    }
}
