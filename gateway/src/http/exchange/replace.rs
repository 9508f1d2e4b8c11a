//! A page of the route instead of the origin's answer.

use std::io::Write as _;

use config::snapshot::Content;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::codec::{Body, Known, Span};
use super::super::headers::Connection;
use super::{After, Down, Exchange, Terms};

/// Fields about the body that does not pass. What is said about the request or the resource stays: `Allow`,
/// `WWW-Authenticate`, `Retry-After`, cookies.
const OF_THE_BODY: &[&[u8]] = &[
    b"accept-ranges",
    b"content-digest",
    b"content-disposition",
    b"content-encoding",
    b"content-language",
    b"content-location",
    b"content-md5",
    b"content-range",
    b"content-type",
    b"digest",
    b"etag",
    b"last-modified",
    b"repr-digest",
];

impl<'a> Terms<'a> {
    /// The page that stands for an origin's answer with this status.
    pub(super) fn page(&self, status: u16) -> Option<&'a Content> {
        let pages = &self.route.filters.as_ref()?.error_pages;
        let page = pages.iter().find(|page| page.replaces_origin && page.statuses.contains(&status))?;
        Some(&page.content)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Exchange<'_, IO> {
    /// Sends `page` instead of what the origin answered; `self.body` is the origin's.
    pub(super) fn replace(&mut self, page: &Content, connection: Connection) {
        let bytes = self.from_upstream.head();
        for field in self.scratch.response.fields_mut() {
            let name = field.name.of(bytes);
            let is_of_body = matches!(field.known, Known::ContentLength | Known::Trailer)
                || OF_THE_BODY.iter().any(|of_body| of_body.eq_ignore_ascii_case(name));
            field.keep &= !is_of_body;
        }
        self.write_head(connection, self.terms.policy, &Body::Empty);
        let out = &mut self.scratch.to_downstream;
        out.truncate(out.len().saturating_sub(2));
        let Content { media_type, body } = page;
        // Writing to a Vec cannot fail.
        let _ = write!(out, "Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n", body.len());
        if !self.terms.is_head {
            out.extend_from_slice(body);
            self.tally.bytes_down += body.len() as u64;
        }
        self.tally.status = self.scratch.response.status;
        self.upstream_goes_on &= self.skip_body();
        self.body = Body::Empty;
        self.down = Down::Out(After::Body);
    }

    /// Reads over what came of the origin's body; whether that was all. More is not waited for: a new connection is
    /// cheaper than a client that waits.
    fn skip_body(&mut self) -> bool {
        loop {
            match self.body.next(self.from_upstream.unread()) {
                Ok(Span::Pass(count) | Span::Drop(count)) => self.from_upstream.consume(count),
                Ok(Span::Done) => return true,
                Ok(Span::More) | Err(_) => return false,
            }
        }
    }
}
