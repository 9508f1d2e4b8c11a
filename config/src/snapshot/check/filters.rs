//! Rules of the filters.

use super::{Checked, Faults, action, is_token};
use crate::limits;
use crate::snapshot::{
    BasicAuth, BasicUser, Content, Edit, ErrorPage, FieldEdit, Filters, Maintenance, RateLimit, Timeouts,
};

impl Checked for Filters {
    fn look(&self, faults: &mut Faults) {
        const MAX: usize = limits::FILTERS_MAX;
        faults.part("maintenance", self.maintenance.as_ref());
        faults.networks("allow", &self.allow, MAX);
        faults.networks("deny", &self.deny, MAX);
        faults.part("rate", self.rate.as_ref());
        faults.part("basic_auth", self.basic_auth.as_ref());
        faults.require(
            self.in_flight_max != Some(0),
            "in_flight_max",
            "is 0 and lets nothing through; set maintenance instead",
        );
        faults.each("request_fields", &self.request_fields, MAX, |faults, edit| {
            edit.look(faults);
            faults.host_edit(edit);
        });
        faults.each("response_fields", &self.response_fields, MAX, |faults, edit| {
            edit.look(faults);
            faults.require(!edit.name.eq_ignore_ascii_case("host"), "name", "is a field of requests only");
        });
        faults.each("error_pages", &self.error_pages, MAX, |faults, page| page.look(faults));
        faults.each_once("upgrades", &self.upgrades, MAX, |faults, name| {
            let is_name = !name.is_empty()
                && name.len() <= limits::UPGRADE_NAME_BYTES_MAX
                && name.split('/').count() <= 2
                && name.split('/').all(|part| !part.is_empty() && part.bytes().all(is_token));
            faults.require(is_name, "", "has to be the name of a protocol, as NAME or NAME/VERSION");
            let is_websocket = name.eq_ignore_ascii_case("websocket");
            faults.require(!is_websocket, "", "is switched on by the route's field websocket");
            let begins =
                |with: &str| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
            let goes_around = ["h2", "http", "tls"].iter().any(|with| begins(with));
            faults.require(!goes_around, "", "would lead HTTP or TLS around the gateway's rules");
        });
        let maintenance = self.maintenance.iter().filter_map(|maintenance| maintenance.page.as_ref());
        let pages = self.error_pages.iter().map(|page| &page.content).chain(maintenance);
        let max = limits::PAGES_BYTES_MAX;
        faults.require(
            pages.map(|page| page.body.len()).sum::<usize>() <= max,
            "error_pages",
            format_args!("all pages of a route together have at most {max} bytes"),
        );
    }
}

impl Checked for Maintenance {
    fn look(&self, faults: &mut Faults) {
        faults.part("page", self.page.as_ref());
        faults.within("retry_after_seconds", self.retry_after_seconds, (0, limits::WEEK_SECONDS));
    }
}

impl Checked for Content {
    fn look(&self, faults: &mut Faults) {
        let essence = self.media_type.split(';').next().unwrap_or_default().trim_end();
        let is_type = essence.split_once('/').is_some_and(|(kind, sub)| {
            [kind, sub].iter().all(|half| !half.is_empty() && half.bytes().all(is_token))
        });
        faults.require(is_type, "media_type", "has to be like text/html, with its parameters");
        faults.field_value("media_type", &self.media_type);
        let max = limits::MEDIA_TYPE_BYTES_MAX;
        faults.require(
            self.media_type.len() <= max && self.media_type.is_ascii(),
            "media_type",
            format_args!("has at most {max} bytes of ASCII"),
        );
        let max = limits::PAGE_BYTES_MAX;
        faults.require(self.body.len() <= max, "body", format_args!("has more than {max} bytes"));
    }
}

impl Checked for RateLimit {
    fn look(&self, faults: &mut Faults) {
        faults.require(
            self.requests > 0,
            "requests",
            "is 0 and lets nothing through; set maintenance instead",
        );
        faults.require(self.burst > 0, "burst", "is at least 1: the request itself");
        faults.within("per_ms", self.per_ms, (1, limits::TIMEOUT_MS_MAX));
    }
}

impl Checked for BasicAuth {
    fn look(&self, faults: &mut Faults) {
        faults.plain_text("realm", &self.realm, limits::BASIC_TEXT_BYTES_MAX);
        faults.require(!self.users.is_empty(), "users", "has to name at least one user");
        faults.each("users", &self.users, limits::BASIC_USERS_MAX, |faults, user| user.look(faults));
        let mut names: Vec<_> =
            self.users.iter().take(limits::BASIC_USERS_MAX).map(|user| &user.name).collect();
        names.sort_unstable();
        let repeats = names.iter().zip(names.iter().skip(1)).any(|(one, next)| one == next);
        faults.require(!repeats, "users", "names one user twice");
    }
}

impl Checked for BasicUser {
    fn look(&self, faults: &mut Faults) {
        faults.require(!self.name.is_empty(), "name", "is empty");
        // RFC 7617 § 2: the first colon ends the name.
        faults.require(!self.name.contains(':'), "name", "has a colon, which ends a name");
        faults.plain_text("name", &self.name, limits::BASIC_TEXT_BYTES_MAX);
        if let Err(why) = check_hash(self.password_hash.expose()) {
            faults.refuse("password_hash", why);
        }
    }
}

/// Argon2id in PHC form, no dearer than strangers may make a gateway work.
fn check_hash(hash: &str) -> Result<(), String> {
    const FORM: &str = "has to be Argon2id in PHC form, like $argon2id$v=19$m=19456,t=2,p=1$salt$hash";
    if hash.len() > limits::PASSWORD_HASH_BYTES_MAX || !hash.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(FORM.to_owned());
    }
    let mut parts = hash.split('$');
    let [Some(""), Some("argon2id"), Some("v=19"), Some(cost), Some(salt), Some(output), None] =
        std::array::from_fn(|_| parts.next())
    else {
        return Err(FORM.to_owned());
    };
    let mut costs = cost.split(',');
    let costs: [_; 4] = std::array::from_fn(|_| costs.next());
    let [Some(memory), Some(passes), Some(lanes), None] = costs else { return Err(FORM.to_owned()) };
    let number = |text: &str, name: &str| text.strip_prefix(name)?.parse::<u32>().ok();
    let (Some(memory), Some(passes), Some(lanes)) =
        (number(memory, "m="), number(passes, "t="), number(lanes, "p="))
    else {
        return Err(FORM.to_owned());
    };
    if salt.is_empty() || output.is_empty() || memory == 0 || passes == 0 || lanes == 0 {
        return Err(FORM.to_owned());
    }
    let (memory_max, passes_max, lanes_max) = limits::PASSWORD_COST_MAX;
    if memory > memory_max || passes > passes_max || lanes > lanes_max {
        return Err(format!("costs too much; at most m={memory_max},t={passes_max},p={lanes_max}"));
    }
    Ok(())
}

/// Fields of framing and of one connection (RFC 9110 § 7.6.1, RFC 9113 § 8.2.2): the gateway's own business.
fn is_of_the_connection(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let is_proxys = |start: &[u8]| start.eq_ignore_ascii_case(b"proxy-");
    NAMES.iter().any(|own| own.eq_ignore_ascii_case(name)) || name.as_bytes().get(..6).is_some_and(is_proxys)
}

impl Checked for FieldEdit {
    fn look(&self, faults: &mut Faults) {
        faults.token("name", &self.name, limits::FIELD_NAME_BYTES_MAX);
        let message = "belongs to the connection or its framing, which is the gateway's";
        faults.require(!is_of_the_connection(&self.name), "name", message);
        match &self.edit {
            Edit::Add(value) | Edit::Set(value) => faults.field_value("value", value),
            Edit::Remove => {}
        }
    }
}

impl Faults {
    /// A request has one `Host`, and it names a host (RFC 9112 § 3.2).
    fn host_edit(&mut self, edit: &FieldEdit) {
        if !edit.name.eq_ignore_ascii_case("host") {
            return;
        }
        match &edit.edit {
            Edit::Set(value) => {
                self.require(
                    action::is_authority(value),
                    "value",
                    "has to be a host, with a port if need be",
                );
            }
            Edit::Add(_) | Edit::Remove => {
                self.refuse("edit", "Host can only be set: a request has exactly one")
            }
        }
    }
}

impl Checked for ErrorPage {
    fn look(&self, faults: &mut Faults) {
        faults.require(!self.statuses.is_empty(), "statuses", "has to name at least one status");
        faults.each("statuses", &self.statuses, 200, |faults, status| {
            faults.within("", *status, (400, 599));
        });
        faults.part("content", Some(&self.content));
    }
}

impl Checked for Timeouts {
    fn look(&self, faults: &mut Faults) {
        let Self { connect_ms, request_body_ms, response_head_ms, idle_body_ms, whole_ms, tunnel_ms } = self;
        for (field, value, max) in [
            ("connect_ms", connect_ms, limits::TIMEOUT_MS_MAX),
            ("request_body_ms", request_body_ms, limits::TIMEOUT_MS_MAX),
            ("response_head_ms", response_head_ms, limits::TIMEOUT_MS_MAX),
            ("idle_body_ms", idle_body_ms, limits::TIMEOUT_MS_MAX),
            ("whole_ms", whole_ms, limits::TIMEOUT_MS_MAX),
            ("tunnel_ms", tunnel_ms, limits::TUNNEL_IDLE_MS_MAX),
        ] {
            if let Some(ms) = value {
                faults.within(field, *ms, (1, max));
            }
        }
    }
}
