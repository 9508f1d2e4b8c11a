//! The door: how we introduce ourselves, and what becomes of each thing an SSH client can ask for.
//!
//! What is not named in [`Door`] is refused by russh's own answers. Remote forwards, agent and X11 channels and unix
//! sockets are not named.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use russh::keys::PrivateKey;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Preferred, Pty, SshId, cipher};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::auth::{self, Who};
use super::jump::{Asked, Refusal};

/// What a person sees who asks for a shell or a command.
const NO_SHELL: &str =
    "no shell here; to reach a VM through this gate, use: ssh -J USER@GATE:PORT USER@VM-NAME\r\n";

/// How we introduce ourselves; `None` without a host key.
pub(super) fn config(host_keys: &[PrivateKey]) -> Option<Arc<Config>> {
    if host_keys.is_empty() {
        return None;
    }
    let (keepalive_ms, keepalives) = limits::SSH_KEEPALIVE_MS;
    Some(Arc::new(Config {
        // No version: it would only help to pick an exploit.
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-gatehouse")),
        methods: MethodSet::from([MethodKind::PublicKey].as_slice()),
        auth_rejection_time: Duration::from_millis(limits::SSH_REJECTION_MS),
        // OpenSSH asks with method "none" first; that is a question, not an attempt.
        auth_rejection_time_initial: Some(Duration::ZERO),
        // russh counts that question as an attempt.
        max_auth_attempts: limits::SSH_AUTH_TRIES_MAX + 1,
        keys: host_keys.to_vec(),
        preferred: Preferred {
            // The client's order decides, and OpenSSH puts ChaCha20 and CTR first: they cost half as much again.
            cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::AES_128_GCM]),
            ..Preferred::DEFAULT
        },
        // An idle jump is a person who thinks; a dead client is found by the keep-alives.
        inactivity_timeout: None,
        keepalive_interval: Some(Duration::from_millis(keepalive_ms)),
        keepalive_max: keepalives,
        nodelay: true,
        ..Config::default()
    }))
}

/// Answers one connection's requests.
pub(super) struct Door {
    connection: Arc<Connection>,
    who: Option<Arc<Who>>,
    jumps: HashMap<ChannelId, CancellationToken>,
    shells: HashMap<ChannelId, OwnedSemaphorePermit>,
    opened: usize,
}

impl Door {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, who: None, jumps: HashMap::new(), shells: HashMap::new(), opened: 0 }
    }

    fn reject(&self) -> Auth {
        self.connection.counters.auth_failure();
        Auth::reject()
    }

    /// Makes room for one more channel.
    fn room(&mut self) -> Result<OwnedSemaphorePermit, Refusal> {
        if self.connection.shared.drain.is_draining() {
            return Err(Refusal::Stopping);
        }
        if self.opened >= limits::SSH_CHANNELS_IN_ALL_MAX {
            return Err(Refusal::Worn);
        }
        let room =
            Arc::clone(&self.connection.channels).try_acquire_owned().map_err(|_| Refusal::Channels)?;
        self.opened += 1;
        Ok(room)
    }

    /// Tells a person that there is no shell, and ends the channel.
    fn no_shell(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(channel)?;
        // On standard error: a script that captures an answer must not take this for one.
        session.extended_data(channel, 1, NO_SHELL)?;
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        session.close(channel)?;
        self.shells.remove(&channel);
        Ok(())
    }
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _login: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let live = self.connection.shared.current.pin();
        let is_known = live.is_some_and(|live| auth::is_known(&live, offer.public_key));
        Ok(if is_known { Auth::Accept } else { self.reject() })
    }

    async fn auth_publickey(
        &mut self,
        login: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let live = self.connection.shared.current.pin();
        let Some(who) = live.and_then(|live| Who::of_key(&live, key.public_key)) else {
            return Ok(self.reject());
        };
        let peer = self.connection.peer;
        let login: String = login.chars().take(limits::SSH_LOGIN_CHARS_SHOWN).collect();
        tracing::info!(%peer, ?login, principal = %who.name, key = %who.fingerprint, "authenticated");
        self.who = Some(Arc::new(who));
        self.connection.authenticated.cancel();
        Ok(Auth::Accept)
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host_to_connect: &str,
        port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        // Not reached: russh opens no channel before somebody authenticated. The dropped reply is a refusal.
        let Some(who) = self.who.clone() else { return Ok(()) };
        let room = match self.room() {
            Ok(room) => room,
            Err(refusal) => {
                reply.reject(refusal.failure()).await;
                return Ok(());
            }
        };
        // Jumps that ended by themselves leave their tokens cancelled.
        self.jumps.retain(|_, closed| !closed.is_cancelled());
        let closed = CancellationToken::new();
        self.jumps.insert(channel.id(), closed.clone());
        let asked = Asked {
            connection: Arc::clone(&self.connection),
            who,
            host: host_to_connect.to_owned(),
            port: port_to_connect,
            closed,
        };
        // In a task of its own: dialling here would hold up the whole connection.
        tokio::task::spawn_local(async move {
            let _room = room;
            asked.serve(channel, reply).await;
        });
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        // Accepted only to say why there is no shell.
        match self.room() {
            Ok(room) => {
                self.shells.insert(channel.id(), room);
                reply.accept().await;
            }
            Err(refusal) => reply.reject(refusal.failure()).await,
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.shells.remove(&channel);
        if let Some(closed) = self.jumps.remove(&channel) {
            closed.cancel();
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        // Said yes to, though there is none: a refusal would be a second, confusing line.
        session.channel_success(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.no_shell(channel, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.no_shell(channel, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }
}
