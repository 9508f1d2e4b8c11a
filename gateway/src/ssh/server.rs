//! The door: what becomes of each thing an SSH client can ask for.
//!
//! What is not named in [`Door`] is refused by russh's own answers. Remote forwards, agent and X11 channels and unix
//! sockets are not named.

use std::collections::HashMap;
use std::sync::Arc;

use config::limits;
use russh::keys::ssh_key::{Certificate, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Pty};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::auth::{self, Shown, Who};
use super::certificate::Refused;
use super::jump::{Asked, Refusal};
use super::{Connection, Offers};
use crate::clock::now_ms;

/// What a person sees who asks for a shell or a command.
const NO_SHELL: &str =
    "no shell here; to reach a VM through this gate, use: ssh -J USER@GATE:PORT USER@VM-NAME\r\n";

/// Answers one connection's requests.
pub(super) struct Door {
    connection: Arc<Connection>,
    offers: Arc<Offers>,
    who: Option<Arc<Who>>,
    jumps: HashMap<ChannelId, CancellationToken>,
    shells: HashMap<ChannelId, OwnedSemaphorePermit>,
    opened: usize,
}

impl Door {
    pub(super) fn new(connection: Arc<Connection>, offers: Arc<Offers>) -> Self {
        Self { connection, offers, who: None, jumps: HashMap::new(), shells: HashMap::new(), opened: 0 }
    }

    fn shown<'a>(&self, login: &'a str) -> Shown<'a> {
        Shown { login, peer: self.connection.peer.ip(), now_ms: now_ms() }
    }

    /// The refusal of a certificate that an authority of ours signed is worth a line: it was to work. Others anybody makes.
    fn note(&self, login: &str, refused: &Refused) {
        let login: String = login.chars().take(limits::SSH_LOGIN_CHARS_SHOWN).collect();
        let peer = self.connection.peer;
        if matches!(refused, Refused::NotAUsers | Refused::Authority) {
            tracing::debug!(%peer, ?login, %refused, "certificate refused");
        } else {
            tracing::info!(%peer, ?login, %refused, "certificate refused");
        }
    }

    /// Lets in who was found.
    fn answer(&mut self, login: &str, who: Option<Who>) -> Auth {
        let Some(who) = who else { return self.reject() };
        let login: String = login.chars().take(limits::SSH_LOGIN_CHARS_SHOWN).collect();
        tracing::info!(
            peer = %self.connection.peer, ?login, principal = %who.name, key = %who.fingerprint,
            certificate = who.certificate(), "authenticated"
        );
        self.who = Some(Arc::new(who));
        self.connection.authenticated.cancel();
        Auth::Accept
    }

    fn reject(&self) -> Auth {
        self.connection.counters.auth_failure();
        Auth::reject()
    }

    /// Makes room for one more channel.
    fn room(&mut self) -> Result<OwnedSemaphorePermit, Refusal> {
        if self.connection.shared.drain.is_stopping() {
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

impl Drop for Door {
    fn drop(&mut self) {
        self.connection.over.cancel();
    }
}

impl Handler for Door {
    type Error = russh::Error;

    fn client_identified(&mut self, id: &[u8]) -> Option<Arc<Config>> {
        Some(self.offers.to(id))
    }

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        self.connection.asks.cancel();
        Ok(None)
    }

    async fn auth_publickey_offered(
        &mut self,
        login: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let Some(live) = self.connection.shared.current.pin() else { return Ok(self.reject()) };
        let shown = self.shown(login);
        let known = match offer.certificate {
            _ if !auth::is_modern(offer.algorithm) => {
                Err(format!("signatures of the kind {} are not accepted", offer.algorithm))
            }
            None if auth::is_known(&live, offer.public_key, shown) => Ok(()),
            None => Err("nobody's key, or of somebody without access".to_owned()),
            Some(certificate) => Who::of_certificate(&live, shown, certificate)
                .inspect_err(|refused| self.note(login, refused))
                .map(drop)
                .map_err(|refused| format!("certificate refused: {refused}")),
        };
        Ok(match known {
            Ok(()) => Auth::Accept,
            Err(why) => {
                self.connection.tried.key(login, offer.public_key, why);
                self.reject()
            }
        })
    }

    fn auth_publickey_unproved(&mut self, login: &str, key: &PublicKey, why: &'static str) {
        self.connection.tried.key(login, key, why.to_owned());
        self.connection.counters.auth_failure();
    }

    async fn auth_publickey(
        &mut self,
        login: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        let live = self.connection.shared.current.pin();
        let who = live.and_then(|live| Who::of_key(&live, key.public_key, self.shown(login)));
        Ok(self.answer(login, who))
    }

    async fn auth_openssh_certificate(
        &mut self,
        login: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        let live = self.connection.shared.current.pin();
        let who = live.and_then(|live| Who::of_certificate(&live, self.shown(login), certificate).ok());
        Ok(self.answer(login, who))
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        session.announce_host_keys()
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
