//! Changes to the fields of heads. Values are literal: nothing in them is replaced.

use config::snapshot::{Edit, FieldEdit};

use super::super::codec::{Known, all_text, all_token};

/// Fields of our own answers that say what the answer is: no edit touches them there.
const OWN: &[&str] = &["Date", "X-Request-Id", "Location", "Retry-After", "WWW-Authenticate", "Content-Type"];

/// Whose head is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Scope {
    /// The request's, on its way to the origin.
    Request,
    /// The origin's answer.
    Response {
        /// Whether `Strict-Transport-Security` may be changed: over TLS, and not beside the route's own setting.
        may_hsts: bool,
    },
    /// An answer of ours.
    Own {
        /// As of a response.
        may_hsts: bool,
        /// Whether it is what the route is there for, so that edits without `always` count as well.
        is_regular: bool,
    },
}

/// The edits of a route for one head, in order.
#[derive(Clone, Copy)]
pub(in super::super) struct Edits<'a> {
    list: &'a [FieldEdit],
    scope: Scope,
}

impl<'a> Edits<'a> {
    /// None.
    pub(in super::super) const NONE: Self = Self { list: &[], scope: Scope::Request };

    pub(in super::super) const fn of(list: &'a [FieldEdit], scope: Scope) -> Self {
        Self { list, scope }
    }

    /// Whether a line of this name, which is there already, stays.
    pub(in super::super) fn leaves(self, name: &[u8]) -> bool {
        !self.list.iter().any(|edit| self.clears(edit, name))
    }

    /// Writes the lines that the edits put there. What a later edit takes away again is not written.
    pub(in super::super) fn write(self, out: &mut Vec<u8>) {
        let mut later = self.list.iter();
        while let Some(edit) = later.next() {
            let (Edit::Add(value) | Edit::Set(value)) = &edit.edit else { continue };
            let name = edit.name.as_bytes();
            // Control has checked both; a line that could end early is worth a second look.
            let is_sound = all_token(name) && all_text(value.as_bytes());
            if !is_sound || !self.concerns(edit) || later.clone().any(|after| self.clears(after, name)) {
                continue;
            }
            for part in [name, b": ", value.as_bytes(), b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
    }

    fn clears(self, edit: &FieldEdit, name: &[u8]) -> bool {
        !matches!(edit.edit, Edit::Add(_))
            && edit.name.as_bytes().eq_ignore_ascii_case(name)
            && self.concerns(edit)
    }

    /// Whether the edit counts here: never for framing, for one hop's fields, or for who asked.
    fn concerns(self, edit: &FieldEdit) -> bool {
        let known = Known::of(edit.name.as_bytes());
        if known.is_hop_by_hop()
            || matches!(known, Known::ContentLength | Known::Expect | Known::Te | Known::Trailer)
        {
            return false;
        }
        match self.scope {
            Scope::Request if known == Known::Host => matches!(edit.edit, Edit::Set(_)),
            Scope::Request => !matches!(
                known,
                Known::Forwarded
                    | Known::XForwardedFor
                    | Known::XForwardedHost
                    | Known::XForwardedProto
                    | Known::XForwardedPort
                    | Known::XForwardedOther
                    | Known::XRealIp
                    | Known::XRequestId
            ),
            Scope::Response { may_hsts } => may_hsts || known != Known::StrictTransportSecurity,
            Scope::Own { may_hsts, is_regular } => {
                (is_regular || edit.always)
                    && (may_hsts || known != Known::StrictTransportSecurity)
                    && !OWN.iter().any(|own| own.eq_ignore_ascii_case(&edit.name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(name: &str, edit: Edit) -> FieldEdit {
        FieldEdit { name: name.into(), edit, always: false }
    }

    fn written(list: &[FieldEdit], scope: Scope) -> String {
        let mut out = Vec::new();
        Edits::of(list, scope).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn edits_count_in_their_order() {
        let list = [
            edit("A", Edit::Add("1".into())),
            edit("a", Edit::Set("2".into())),
            edit("A", Edit::Add("3".into())),
            edit("B", Edit::Add("4".into())),
            edit("b", Edit::Remove),
        ];
        assert_eq!(written(&list, Scope::Request), "a: 2\r\nA: 3\r\n");
        let edits = Edits::of(&list, Scope::Request);
        assert!(!edits.leaves(b"A") && !edits.leaves(b"b") && edits.leaves(b"C"));
    }

    #[test]
    fn framing_connection_and_identity_are_out_of_reach() {
        for name in [
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
            "TE",
            "Trailer",
            "Keep-Alive",
            "Proxy-Authorization",
            "Content_Length",
            "Expect",
            "X-Forwarded-For",
            "X-Forwarded-Anything",
            "X-Real-IP",
            "Forwarded",
            "X-Request-Id",
        ] {
            for change in [Edit::Add("x".into()), Edit::Set("x".into()), Edit::Remove] {
                let list = [edit(name, change)];
                assert_eq!(written(&list, Scope::Request), "", "{name}");
                assert!(Edits::of(&list, Scope::Request).leaves(name.as_bytes()), "{name}");
            }
        }
        assert!(Edits::of(&[edit("Host", Edit::Remove)], Scope::Request).leaves(b"host"));
        assert_eq!(written(&[edit("Host", Edit::Add("a".into()))], Scope::Request), "");
        assert_eq!(written(&[edit("Host", Edit::Set("a".into()))], Scope::Request), "Host: a\r\n");
    }

    #[test]
    fn a_line_that_would_end_early_is_not_written() {
        for (name, value) in [("A", "b\r\nC: d"), ("A\r\nB", "c"), ("A ", "b"), ("", "b"), ("A", "b\0")] {
            assert_eq!(written(&[edit(name, Edit::Set(value.into()))], Scope::Request), "", "{name:?}");
        }
    }

    #[test]
    fn strict_transport_security_waits_for_tls() {
        let list = [edit("Strict-Transport-Security", Edit::Set("max-age=1".into()))];
        assert_eq!(written(&list, Scope::Response { may_hsts: false }), "");
        assert!(!written(&list, Scope::Response { may_hsts: true }).is_empty());
    }

    #[test]
    fn an_answer_of_ours_takes_what_is_meant_for_it() {
        let mut always = edit("X-Frame-Options", Edit::Set("DENY".into()));
        always.always = true;
        let mut location = edit("Location", Edit::Set("//evil".into()));
        location.always = true;
        let list = [edit("X-Sometimes", Edit::Add("1".into())), always, location];
        let own = |is_regular| Scope::Own { may_hsts: true, is_regular };
        assert_eq!(written(&list, own(false)), "X-Frame-Options: DENY\r\n");
        assert_eq!(written(&list, own(true)), "X-Sometimes: 1\r\nX-Frame-Options: DENY\r\n");
    }
}
