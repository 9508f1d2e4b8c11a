//! The response's direction: head and first body bytes in one write, then the body.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use config::limits;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::codec::head::View;
use super::super::codec::{Body, Broken, Dialect, Head, Known, Progress, Span, Version, list};
use super::super::door;
use super::super::h2::StreamIo;
use super::super::headers::{self, Connection, Inbound, Policy};
use super::gains::{self, Gain};
use super::{After, Down, Exchange, downstream_gone, poll_write, take_first};
use crate::fault::{Cause, Fault, Kind, Retry};

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Exchange<'_, IO> {
    pub(super) fn poll_down(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        self.waits_for_reader = false;
        loop {
            let before = self.down;
            let step = match before {
                Down::Head => self.poll_down_head(context)?,
                Down::Out(after) => self.poll_down_out(context, after)?,
                Down::Body if self.pack.is_some() => self.poll_down_packed(context)?,
                Down::Body if self.spliced.down.is_some() => self.poll_down_drain(context)?,
                Down::Body if self.pass > 0 => self.poll_down_pass(context)?,
                Down::Body => self.poll_down_body(context)?,
                Down::Flush => self.poll_down_flush(context)?,
                Down::Done | Down::Switched => return Ok(()),
            };
            if step.is_pending() {
                return Ok(());
            }
            // A head that comes byte by byte is late like one that does not come: only a whole one is progress.
            self.has_moved |= before != Down::Head || self.down != Down::Head;
        }
    }

    fn poll_down_head(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let progress = self.scratch.response.parse_response(self.from_upstream.head()).map_err(bad)?;
        if let Progress::Complete(len) = progress {
            self.from_upstream.end_head(len);
            self.response_head()?;
            return Ok(Poll::Ready(()));
        }
        match self.from_upstream.poll_head(context, self.upstream, &self.worker.buffers) {
            Poll::Pending => {
                // An interim response may still lie in a TLS layer.
                if self.interims > 0 {
                    self.flush(context)?;
                }
                Ok(Poll::Pending)
            }
            Poll::Ready(Ok(0)) => Err(self.closed_early(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => Ok(Poll::Ready(())),
            Poll::Ready(Err(cause)) => Err(self.closed_early(cause)),
        }
    }

    /// The origin closed before a whole head.
    fn closed_early(&self, cause: io::Error) -> Fault {
        let is_silent = self.interims == 0 && self.from_upstream.head().is_empty();
        let retry = match (is_silent, cause.kind()) {
            // An endpoint of HTTP/2 says so of a request that it did not look at; a socket cannot.
            (true, io::ErrorKind::ConnectionRefused) => Retry::Safe,
            (true, _) if self.is_reused => Retry::IfIdempotent,
            _ => Retry::Never,
        };
        Fault::upstream(Kind::Closed, retry, cause)
    }

    fn response_head(&mut self) -> Result<(), Fault> {
        match self.scratch.response.status {
            101 => self.switching(),
            100..=199 => self.interim(),
            200..=599 => self.last_head(),
            _ => Err(bad(Broken::bad("the status is of no known class"))),
        }
    }

    fn switching(&mut self) -> Result<(), Fault> {
        if !self.terms.may_switch || !self.up.is_done() {
            return Err(bad(Broken::bad("the origin switches protocols unasked")));
        }
        self.connection_options()?;
        if !self.switches_as_asked() {
            return Err(bad(Broken::bad("the origin switches to a protocol that was not asked for")));
        }
        self.accepts_our_key()?;
        self.tell_attempt();
        self.write_head(Connection::Upgrade, self.terms.policy, &Body::Empty);
        self.tally.status = 101;
        self.scratch.journey.answered();
        self.down = Down::Out(After::Switched);
        Ok(())
    }

    /// Whether the origin names protocols, each of which the client offered (RFC 9110 § 7.8).
    fn switches_as_asked(&self) -> bool {
        let bytes = self.link.intake.head();
        let asked = self.scratch.request.all(Known::Upgrade).flat_map(|field| list(field.value.of(bytes)));
        let is_asked = |protocol: &[u8]| asked.clone().any(|asked| asked.eq_ignore_ascii_case(protocol));
        let bytes = self.from_upstream.head();
        let mut taken = self
            .scratch
            .response
            .all(Known::Upgrade)
            .flat_map(|field| list(field.value.of(bytes)))
            .peekable();
        taken.peek().is_some() && taken.all(is_asked)
    }

    /// The key of an extended CONNECT is ours, so we are the one to look at the answer (RFC 6455 § 4.1). A client of
    /// HTTP/1.1 has its own key, and looks for itself.
    fn accepts_our_key(&self) -> Result<(), Fault> {
        let io = &self.link.io as &dyn Any;
        let Some(wanted) = io.downcast_ref::<StreamIo>().and_then(StreamIo::accept) else { return Ok(()) };
        let bytes = self.from_upstream.head();
        let fields = self.scratch.response.fields().iter();
        let mut said =
            fields.filter(|field| field.name.of(bytes).eq_ignore_ascii_case(b"sec-websocket-accept"));
        let fits = said.next().is_some_and(|field| field.value.of(bytes) == wanted.as_bytes());
        if fits && said.next().is_none() {
            return Ok(());
        }
        Err(bad(Broken::bad("the origin accepts a WebSocket with another key than ours")))
    }

    /// Whether the client would take a success for an open tunnel (RFC 8441 § 5).
    fn is_extended_connect(&self) -> bool {
        let io = &self.link.io as &dyn Any;
        io.downcast_ref::<StreamIo>().is_some_and(|stream| stream.accept().is_some())
    }

    fn interim(&mut self) -> Result<(), Fault> {
        self.interims += 1;
        if self.interims > limits::INTERIM_RESPONSES_MAX {
            return Err(bad(Broken::bad("there are too many interim responses")));
        }
        self.connection_options()?;
        // RFC 9110 § 15.2: never to an HTTP/1.0 client.
        self.scratch.to_downstream.clear();
        self.sent = 0;
        // `100 Continue` answers an expectation; unasked it says nothing.
        let is_awaited = self.scratch.response.status != 100 || self.terms.expects_continue;
        if self.terms.version == Version::Http11 && is_awaited {
            self.write_head(Connection::Unsaid, Policy::NONE, &Body::Empty);
        }
        self.from_upstream.next_message(&self.worker.buffers);
        self.scratch.response.reset();
        self.down = Down::Out(After::NextHead);
        Ok(())
    }

    fn last_head(&mut self) -> Result<(), Fault> {
        self.scratch.journey.answered();
        if self.scratch.response.status < 300 && self.is_extended_connect() {
            return Err(bad(Broken::bad("the origin answers a WebSocket without switching to it")));
        }
        let options = self.connection_options()?;
        self.tell_attempt();
        self.body = framing(&self.scratch.response, self.from_upstream.head(), &self.terms)?;
        self.upstream_goes_on = !options.close
            && self.scratch.response.version == Version::Http11
            && !matches!(self.body, Body::UntilClose);
        let page = self.terms.page(self.scratch.response.status);
        let gain = if page.is_some() { Gain::Nothing } else { self.gain() };
        let gain = self.pack(gain);
        let is_delimited = match &self.body {
            _ if page.is_some() || self.pack.is_some() => true,
            Body::UntilClose => false,
            Body::Chunked(chunked) => chunked.dialect() == Dialect::Chunks,
            Body::Empty | Body::Length(_) => true,
        };
        self.tally.ends_by_close = !is_delimited;
        if !is_delimited {
            // From here an orderly end would make a part the whole, also if this task is dropped or the process dies.
            (self.link.looks_cut)(&self.link.io, true);
        }
        // An origin that answers early and closes will not read the rest: the client learns it from the head.
        self.downstream_goes_on &= is_delimited
            && (self.up.is_done() || (!self.up.is_over() && self.upstream_goes_on))
            && !self.worker.shared.drain.is_draining();
        let connection = if self.downstream_goes_on { Connection::KeepAlive } else { Connection::Close };
        match page {
            Some(page) => self.replace(page, connection),
            None => self.pass_head(connection, gain)?,
        }
        Ok(())
    }

    /// Takes what compresses the body, where it gains. Returns what is said about it.
    fn pack(&mut self, gain: Gain) -> Gain {
        if gain != Gain::Gzip {
            return gain;
        }
        // The answer to HEAD says what the answer to GET would.
        let has_body = !self.body.is_done();
        if has_body {
            self.pack = self.worker.http.packers.take();
            if self.pack.is_none() {
                return Gain::Varies;
            }
        }
        if let Body::Chunked(_) = self.body {
            self.body = Body::chunked(Dialect::Data);
        }
        gains::unmark(&mut self.scratch.response, self.from_upstream.head());
        gain
    }

    /// Writes the origin's head and, unless it is compressed, the beginning of its body.
    fn pass_head(&mut self, connection: Connection, gain: Gain) -> Result<(), Fault> {
        let body =
            if self.pack.is_some() { Body::chunked(Dialect::Chunks) } else { std::mem::take(&mut self.body) };
        self.write_head(connection, self.terms.policy, &body);
        let response = View { head: &self.scratch.response, bytes: self.from_upstream.head() };
        gains::rewrite(&mut self.scratch.to_downstream, response, gain);
        if self.pack.is_none() {
            self.body = body;
            let head_len = self.scratch.to_downstream.len();
            self.pass = take_first(&mut self.body, self.from_upstream, &mut self.scratch.to_downstream)
                .map_err(bad)?;
            self.tally.bytes_down += (self.scratch.to_downstream.len() - head_len) as u64;
        }
        // Not before: a body that is broken from its beginning can still be answered for.
        self.tally.status = self.scratch.response.status;
        self.down = Down::Out(After::Body);
        Ok(())
    }

    fn connection_options(&mut self) -> Result<door::Options, Fault> {
        door::connection(&mut self.scratch.response, self.from_upstream.head())
            .map_err(|_| bad(Broken::bad("the response's connection options are odd")))
    }

    pub(super) fn write_head(&mut self, connection: Connection, policy: Policy<'_>, body: &Body) {
        self.sent = 0;
        self.scratch.to_downstream.clear();
        let inbound = Inbound {
            head: &self.scratch.response,
            bytes: self.from_upstream.head(),
            body,
            version: self.terms.version,
            connection,
            policy,
            to_add: if self.scratch.response.status == 101 || self.scratch.response.status >= 200 {
                &self.scratch.to_add
            } else {
                &[]
            },
        };
        headers::inbound(&mut self.scratch.to_downstream, &inbound);
    }

    fn tell_attempt(&self) {
        if let Some(attempt) = self.attempt {
            attempt.answered(View { head: &self.scratch.response, bytes: self.from_upstream.head() });
        }
    }

    fn poll_down_out(&mut self, context: &mut Context<'_>, after: After) -> Result<Poll<()>, Fault> {
        let rest = self.scratch.to_downstream.get(self.sent..).unwrap_or_default();
        if !rest.is_empty() {
            match poll_write(context, &mut self.link.io, rest) {
                Poll::Pending => {
                    self.waits_for_reader = true;
                    return Ok(Poll::Pending);
                }
                Poll::Ready(Err(cause)) => return Err(downstream_gone(cause)),
                Poll::Ready(Ok(count)) => self.sent += count,
            }
            return Ok(Poll::Ready(()));
        }
        self.down = match after {
            After::NextHead => Down::Head,
            After::Body => Down::Body,
            After::Switched => Down::Switched,
        };
        // Interim responses are for now, not for when the buffer of a TLS layer is full.
        if after != After::Body {
            self.flush(context)?;
        }
        Ok(Poll::Ready(()))
    }

    fn poll_down_pass(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        let bytes = self.from_upstream.unread().get(..self.pass).unwrap_or_default();
        match poll_write(context, &mut self.link.io, bytes) {
            Poll::Pending => {
                self.waits_for_reader = true;
                return Ok(Poll::Pending);
            }
            Poll::Ready(Err(cause)) => return Err(downstream_gone(cause)),
            Poll::Ready(Ok(count)) => {
                self.from_upstream.consume(count);
                self.pass -= count;
                self.tally.bytes_down += count as u64;
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_down_body(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        match self.body.next(self.from_upstream.unread()).map_err(bad)? {
            Span::Pass(count) => self.pass = count,
            Span::Drop(count) => self.from_upstream.consume(count),
            Span::Done => self.down = Down::Flush,
            Span::More => {
                if let Some(step) = self.poll_down_fill(context)? {
                    return Ok(step);
                }
                let is_long = self.body.is_long(limits::BUFFER_BYTES);
                match self.from_upstream.poll_body(context, self.upstream, &self.worker.buffers, is_long) {
                    Poll::Pending => {
                        self.flush(context)?;
                        return Ok(Poll::Pending);
                    }
                    Poll::Ready(Ok(0)) if self.body == Body::UntilClose => self.down = Down::Flush,
                    Poll::Ready(Ok(0)) => return Err(cut_short(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(cause)) => return Err(cut_short(cause)),
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_down_flush(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, Fault> {
        match Pin::new(&mut self.link.io).poll_flush(context) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(cause)) => Err(downstream_gone(cause)),
            Poll::Ready(Ok(())) => {
                self.down = Down::Done;
                Ok(Poll::Ready(()))
            }
        }
    }

    /// Pushes what lies in a TLS layer; one that cannot go now wakes the task later.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) -> Result<(), Fault> {
        match Pin::new(&mut self.link.io).poll_flush(context) {
            Poll::Ready(Err(cause)) => Err(downstream_gone(cause)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

pub(super) fn bad(broken: Broken) -> Fault {
    Fault::upstream(Kind::BadResponse, Retry::Never, Cause::Rule(broken.rule))
}

pub(super) fn cut_short(cause: io::Error) -> Fault {
    Fault::upstream(Kind::Closed, Retry::Never, cause)
}

/// Where a response's body ends (RFC 9112 § 6.3), as strictly as for requests.
fn framing(head: &Head, bytes: &[u8], terms: &super::Terms<'_>) -> Result<Body, Fault> {
    let mut codings = head.all(Known::TransferEncoding);
    let mut lengths = head.all(Known::ContentLength);
    let body = match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => return Err(bad(Broken::bad("the response has two framings"))),
        (Some(coding), None) => {
            let is_chunked = coding.value.of(bytes).eq_ignore_ascii_case(b"chunked");
            if !is_chunked || codings.next().is_some() || head.version == Version::Http10 {
                return Err(bad(Broken::bad("the response's transfer coding is not chunked alone")));
            }
            Body::chunked(if terms.version == Version::Http11 { Dialect::Chunks } else { Dialect::Data })
        }
        (None, Some(length)) => {
            let length = door::parse_length(length.value.of(bytes)).filter(|_| lengths.next().is_none());
            Body::of_length(length.ok_or_else(|| bad(Broken::bad("the response's Content-Length is odd")))?)
        }
        (None, None) => Body::UntilClose,
    };
    let has_none = terms.is_head || head.status == 204 || head.status == 304;
    Ok(if has_none { Body::Empty } else { body })
}
