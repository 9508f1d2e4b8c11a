//! What a browser is answered beside the WebSocket of a console: the page, what it loads, and what a ticket opens.
//!
//! | Below the consoles | Answer |
//! |---|---|
//! | `/assets/DIGEST/…` | a file of the pages, to be kept |
//! | `/`, `/vnc.html` (screens), `/console/TICKET` of a browser | the page; without a ticket that opens something, why |
//! | `/console/TICKET`, `/websockify`, `/ws` with `Accept: application/json` | what it would open, or why it does not |
//! | the folder without its last slash | the same with it: references are relative |

use config::snapshot::{Kind as ObjectKind, ObjectKey, Service, Value};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Visit, policy, ticket_of};
use crate::console::pages::{self, Found, HTML};
use crate::console::ticket::Opening;
use crate::fault::{Fault, Kind};
use crate::http::answer::{Manner, Told};
use crate::http::codec::{Known, list};
use crate::http::downstream::Connection;
use crate::http::respond::{self, Answer, Document, What};
use crate::http::scratch::Scratch;
use crate::http::serve::Next;

/// What is written at once: who reads slowly has the time of a write for each.
const PIECE_BYTES: usize = 64 * 1024;

/// Fields of what never changes at its address.
const KEPT: &str = "Cache-Control: public, max-age=31536000, immutable\r\nX-Content-Type-Options: nosniff\r\n\
                    Cross-Origin-Resource-Policy: same-origin\r\n";
/// Fields of an answer to a script.
const TOLD: &str = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nVary: Accept\r\n";

/// Fields of a page. Nothing inline, nothing from elsewhere; `data:` and `blob:` are pictures of a screen's decoder.
/// The address holds a ticket, so nobody is told where a browser came from.
macro_rules! page_fields {
    ($cache:literal) => {
        concat!(
            "Cache-Control: ",
            $cache,
            "\r\nVary: Accept\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
             Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
             img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'self'\r\nX-Frame-Options: SAMEORIGIN\r\n"
        )
    };
}
const PAGE: &str = page_fields!("no-cache");
const REFUSED_PAGE: &str = page_fields!("no-store");

/// What a path below the consoles is, to a browser.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The folder of the consoles, without the slash at its end.
    Folder,
    /// A file that a page loads.
    Asset,
    /// The page, by its own address.
    Page,
    /// The address of a WebSocket that is the page's too.
    Ticket,
    /// Anything else.
    Other,
}

impl Place {
    fn of(rest: &[u8], service: &Service) -> Self {
        match rest {
            b"" => Self::Folder,
            b"/" => Self::Page,
            b"/vnc.html" if matches!(service, Service::Novnc) => Self::Page,
            rest if rest.starts_with(b"/assets/") => Self::Asset,
            rest if rest.starts_with(b"/console/") => Self::Ticket,
            _ => Self::Other,
        }
    }
}

/// The answer to a request that asks for no WebSocket.
pub(super) enum Reply {
    /// A file or a page.
    Found(Found, &'static str),
    /// What a ticket opens.
    Facts(String),
    /// Another address; relative.
    Elsewhere(Vec<u8>),
    /// The same over https.
    Secured(Vec<u8>),
}

impl<IO: AsyncRead + AsyncWrite + Unpin + 'static> Connection<IO> {
    /// What a request without an upgrade gets; `rest` is its path below the consoles. `None` is for who asks for the
    /// address of a WebSocket, and is no browser.
    pub(super) fn reply(
        &self,
        scratch: &Scratch,
        visit: &Visit<'_>,
        rest: &[u8],
    ) -> Result<Option<Reply>, Fault> {
        let bytes = self.link.intake.head();
        if !matches!(scratch.request.method.of(bytes), b"GET" | b"HEAD") {
            return Ok(None);
        }
        let place = Place::of(rest, visit.door.service);
        if place == Place::Asset {
            let asset = pages::asset(rest.strip_prefix(b"/assets/").unwrap_or_default());
            let found = asset.ok_or(Fault::downstream(Kind::NoRoute, "no such file of the pages"))?;
            return Ok(Some(Reply::Found(found, KEPT)));
        }
        let wants = |sort: &[u8]| wants(self, scratch, sort);
        let is_page = place == Place::Page || (place == Place::Ticket && wants(b"text/html"));
        if place == Place::Folder && visit.door.route.is_some() {
            return Ok(Some(Reply::Elsewhere(with_slash(visit.asked.path_and_query.of(bytes)))));
        }
        if is_page && let Some(location) = self.secured_twin(scratch, visit) {
            return Ok(Some(Reply::Secured(location)));
        }
        let wants_facts = wants(b"application/json");
        if !is_page && !wants_facts {
            return Ok(None);
        }
        let ticket = ticket_of(rest, visit.asked.query.of(bytes));
        let opening = self.look(scratch, visit, ticket.or_else(|| nested(visit.asked.query.of(bytes))))?;
        if wants_facts && place != Place::Page {
            return Ok(Some(Reply::Facts(facts(visit, &opening))));
        }
        let page = pages::page(visit.door.service, place == Place::Ticket);
        let found = page.ok_or(Fault::downstream(Kind::NoRoute, "no page of this service"))?;
        Ok(Some(Reply::Found(found, PAGE)))
    }

    /// What a ticket would open now.
    fn look(&self, scratch: &Scratch, visit: &Visit<'_>, ticket: Option<&[u8]>) -> Result<Opening, Fault> {
        let opening = self.admit_ticket(visit, ticket)?;
        let browser = self.browser(scratch, visit.client);
        self.check_ticket(&opening, browser)?;
        Ok(opening)
    }

    /// Whether a console is asked in the clear for a name that we have an identity for: its ticket would be for
    /// everyone on the way to read.
    pub(super) fn lacks_tls(&self, scratch: &Scratch, visit: &Visit<'_>) -> bool {
        visit.door.route.is_none()
            && !visit.client.is_secured
            && visit.pinned.certs.knows(&scratch.names.host)
    }

    /// The same address over https, where that is how it is served: both are spoken on the listener's port.
    fn secured_twin(&self, scratch: &Scratch, visit: &Visit<'_>) -> Option<Vec<u8>> {
        if !self.lacks_tls(scratch, visit) {
            return None;
        }
        let bytes = self.link.intake.head();
        let host = scratch.request.all(Known::Host).next()?.value.of(bytes);
        Some([b"https://", host, visit.asked.path_and_query.of(bytes)].concat())
    }

    /// Gives a reply.
    pub(super) async fn give(
        &mut self,
        scratch: &mut Scratch,
        visit: &Visit<'_>,
        reply: Reply,
        told: &mut Told,
    ) -> Next {
        let manner = self.manner(scratch, visit.asked, policy(visit));
        let what = |status| What { is_regular: true, ..What::status(status) };
        let tag;
        let facts;
        let (what, location) = match reply {
            Reply::Found(Found { media_type, body }, fields) => {
                tag = format!("ETag: \"{}\"\r\n{fields}", pages::version());
                let status = if self.has_it(scratch) { 304 } else { 200 };
                let document = Document { media_type, fields: &tag, body };
                (What { document: Some(document), ..what(status) }, None)
            }
            Reply::Facts(text) => {
                facts = text;
                let document =
                    Document { media_type: "application/json", fields: TOLD, body: facts.as_bytes() };
                (What { document: Some(document), ..what(200) }, None)
            }
            Reply::Elsewhere(location) => (what(308), Some(location)),
            Reply::Secured(location) => (what(self.redirect_status(scratch)), Some(location)),
        };
        let what = What { location: location.as_deref(), ..what };
        told.status = what.status;
        self.give_document(scratch, what, manner).await
    }

    /// Says why a console does not open, in the form that was asked for.
    pub(super) async fn give_refusal(
        &mut self,
        scratch: &mut Scratch,
        visit: &Visit<'_>,
        fault: &Fault,
        manner: Manner<'_>,
    ) -> Option<Next> {
        let Kind::Ticket(refusal) = fault.kind else { return None };
        if visit.asked.upgrade.is_some() {
            return None;
        }
        let sentence = refusal.sentence();
        let (text, media_type, fields) = if wants(self, scratch, b"application/json") {
            (serde_json::json!({ "refused": sentence }).to_string(), "application/json", TOLD)
        } else if wants(self, scratch, b"text/html") {
            let path = visit.asked.path.of(self.link.intake.head());
            let is_deep = path.rsplit(|byte| *byte == b'/').nth(1) == Some(b"console");
            (pages::refused(sentence, is_deep), HTML, REFUSED_PAGE)
        } else {
            return None;
        };
        self.worker.counters.fault(fault.side);
        let document = Document { media_type, fields, body: text.as_bytes() };
        let what = What { document: Some(document), ..What::fault(fault, policy(visit))? };
        Some(self.give_document(scratch, what, manner).await)
    }

    /// Writes an answer with a document piece by piece: none is copied.
    async fn give_document(&mut self, scratch: &mut Scratch, what: What<'_>, manner: Manner<'_>) -> Next {
        let closes = manner.closes || self.worker.shared.drain.is_draining();
        let Manner { is_head, wants_html, says_keep_alive, policy, .. } = manner;
        let Scratch { request_id, to_downstream, .. } = scratch;
        to_downstream.clear();
        // The body follows by itself.
        let has_body = !is_head && what.document.is_some() && what.status != 304;
        let is_head = is_head || has_body;
        respond::render(
            to_downstream,
            &Answer { what, request_id, is_head, wants_html, closes, says_keep_alive, policy },
        );
        self.worker.counters.response(what.status);
        if self.write(to_downstream).await.is_err() {
            return Next::Abort;
        }
        let body = what.document.filter(|_| has_body).map_or(&[][..], |document| document.body);
        for piece in body.chunks(PIECE_BYTES) {
            if self.write(piece).await.is_err() {
                return Next::Abort;
            }
        }
        if closes { Next::Close } else { Next::Again }
    }

    /// Whether the browser has this version already (RFC 9110 § 13.1.2).
    fn has_it(&self, scratch: &Scratch) -> bool {
        let bytes = self.link.intake.head();
        let is_ours = |tag: &[u8]| {
            let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
            tag == b"*"
                || tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\""))
                    == Some(pages::version().as_bytes())
        };
        let named = |name: &[u8]| name.eq_ignore_ascii_case(b"if-none-match");
        let fields = scratch.request.fields().iter().filter(|field| named(field.name.of(bytes)));
        fields.flat_map(|field| list(field.value.of(bytes))).any(is_ours)
    }
}

fn wants<IO>(connection: &Connection<IO>, scratch: &Scratch, sort: &[u8]) -> bool {
    let bytes = connection.link.intake.head();
    let names = |value: &[u8]| list(value).any(|element| element.starts_with(sort));
    scratch.request.all(Known::Accept).any(|field| names(field.value.of(bytes)))
}

/// The ticket in an address as noVNC's users write it: `?path=websockify?token=TICKET`, perhaps encoded.
fn nested(query: &[u8]) -> Option<&[u8]> {
    let mut pairs = query.split(|byte| *byte == b'&');
    let path = pairs.find_map(|pair| pair.strip_prefix(b"path="))?;
    ["token=", "token%3D", "token%3d"].iter().find_map(|mark| {
        let at = memchr::memmem::find(path, mark.as_bytes())?;
        path.get(at + mark.len()..)
    })
}

/// The last segment with a slash, and the query: relative, for what stands before may not be what the browser sees.
fn with_slash(path_and_query: &[u8]) -> Vec<u8> {
    let end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
    let (path, query) = path_and_query.split_at_checked(end).unwrap_or((path_and_query, b""));
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // A colon in a first segment would read as a scheme.
    [b"./", last, b"/", query].concat()
}

fn facts(visit: &Visit<'_>, opening: &Opening) -> String {
    let key = ObjectKey { kind: ObjectKind::VM, id: opening.console.vm.to_bytes() };
    let vm = match visit.pinned.snapshot.get(key).map(|object| object.decode()) {
        Some(Ok(Value::Vm(vm))) => vm.name.to_string(),
        Some(_) | None => String::new(),
    };
    let kind = opening.console.kind.name();
    serde_json::json!({ "vm": vm, "kind": kind, "view_only": opening.read_only }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_sent_to_its_slash_without_naming_what_stands_before() {
        for (from, wanted) in
            [("/screens", "./screens/"), ("/a/b?token=x", "./b/?token=x"), ("/a:b", "./a:b/")]
        {
            assert_eq!(with_slash(from.as_bytes()), wanted.as_bytes(), "{from}");
        }
    }

    #[test]
    fn the_address_of_a_page_may_hold_the_ticket_as_novnc_has_it() {
        for (query, wanted) in [
            ("path=websockify?token=abc", Some("abc")),
            ("autoconnect=1&path=websockify%3Ftoken%3Dabc&resize=scale", Some("abc")),
            ("path=websockify", None),
            ("other=token=abc", None),
        ] {
            assert_eq!(nested(query.as_bytes()), wanted.map(str::as_bytes), "{query}");
        }
    }

    #[test]
    fn paths_are_what_they_are_by_all_of_their_letters() {
        for (rest, wanted) in [
            ("", Place::Folder),
            ("/", Place::Page),
            ("/vnc.html", Place::Page),
            ("/vnc.html/", Place::Other),
            ("/VNC.html", Place::Other),
            ("/assets/x", Place::Asset),
            ("/assets", Place::Other),
            ("/console/x", Place::Ticket),
        ] {
            assert_eq!(Place::of(rest.as_bytes(), &Service::Novnc), wanted, "{rest}");
        }
        assert_eq!(Place::of(b"/vnc.html", &Service::Ttyd), Place::Other);
    }
}
