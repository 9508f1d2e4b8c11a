//! What a route asks of the connection that a request came by, and answers to authorities that look.

use config::snapshot::{Content, Generation, Route, TlsMode, TlsPolicy, TlsVersion};
use tokio::io::{AsyncRead, AsyncWrite};

use super::answer::Told;
use super::door::Asked;
use super::downstream::Connection;
use super::headers::Policy;
use super::redirect;
use super::respond::What;
use super::scratch::Scratch;
use super::serve::Next;
use crate::fault::{Fault, Kind};
use crate::listener;
use crate::live::Live;

impl<IO> Connection<IO> {
    /// Whether a connection made for one name may carry requests for `host`: both are of one identity, and the handshake
    /// asked for what the host wants of it.
    pub(super) fn check_name(&self, live: &Live, host: &str) -> Result<(), Fault> {
        let Some(secured) = &self.meta.secured else { return Ok(()) };
        let sni = secured.sni.as_deref();
        if !sni.is_none_or(|sni| sni == host || live.certs.same_identity(sni, host)) {
            return Err(Fault::downstream(Kind::Misdirected, "the Host is not the connection's server name"));
        }
        if !live.tls.admits(&live.table, secured, host) {
            let rule = "the connection's handshake was not made as the Host wants it";
            return Err(Fault::downstream(Kind::Misdirected, rule));
        }
        Ok(())
    }

    /// Whether the connection satisfies what `route` asks of it.
    pub(super) fn check_secured(&self, live: &Live, route: &Route) -> Result<(), Fault> {
        let secured = self.meta.secured.as_ref();
        if route.tls == TlsMode::Passthrough {
            // Over TLS it was refused with its name, by any connection that a rule could be asked about.
            let rule = "the route passes TLS through and serves nothing else";
            let kind = if secured.is_some() { Kind::Misdirected } else { Kind::NoRoute };
            return Err(Fault::downstream(kind, rule));
        }
        let Some(policy) = route.tls_policy.as_deref().filter(|policy| asks(policy)) else { return Ok(()) };
        let Some(secured) = secured else {
            return Err(Fault::downstream(Kind::TlsRequired, "the route asks for TLS to the gateway itself"));
        };
        if policy.clients.is_none() {
            return Ok(());
        }
        let Some(shown) = &secured.clients else {
            // Made before the route wanted one: another connection will be asked.
            return Err(Fault::downstream(Kind::Misdirected, "the handshake asked for no certificate"));
        };
        match live.tls.gate(route) {
            Some(gate) if shown.passes(gate) => Ok(()),
            Some(_) | None => {
                let rule = "the client's certificate does not satisfy the route";
                Err(Fault::downstream(Kind::ClientCertificate, rule))
            }
        }
    }

    /// What an authority is answered that looks whether the name is ours: on every gateway, before anything else.
    pub(super) fn challenge<'a>(
        &self,
        live: &'a Live,
        scratch: &Scratch,
        asked: &Asked,
    ) -> Option<&'a Content> {
        let is_public = matches!(self.meta.kind, listener::Kind::Http | listener::Kind::Https);
        if live.tls.challenges.has_no_http() || !is_public {
            return None;
        }
        let bytes = self.link.intake.head();
        let is_read = matches!(scratch.request.method.of(bytes), b"GET" | b"HEAD");
        let token = redirect::challenge_token(asked.path.of(bytes)).filter(|_| is_read)?;
        live.tls.challenges.http(&scratch.names.host, token)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Answers an authority.
    pub(super) async fn answer_challenge(
        &mut self,
        scratch: &mut Scratch,
        asked: &mut Asked,
        content: &Content,
        generation: Generation,
    ) -> Next {
        self.skip_body(asked);
        let manner = self.manner(scratch, asked, Policy::NONE);
        let what = What { content: Some(content), is_regular: true, ..What::status(200) };
        let next = self.answer(scratch, what, manner).await;
        let mut told = Told::new(generation, None);
        told.status = what.status;
        self.record(scratch, Some(asked), &told);
        next
    }
}

fn asks(policy: &TlsPolicy) -> bool {
    policy.clients.is_some() || policy.min_version != TlsVersion::default()
}
