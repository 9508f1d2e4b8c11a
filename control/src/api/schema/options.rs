//! Bodies of the options of routes. `control/src/options.rs` reads them; `OPTIONS.md` describes them for people.

use utoipa::ToSchema;

use super::bodies;

bodies! {
    /// What a request has to be for a route, besides host and path. All of it has to hold.
    MatchOptions {
        /// Higher goes first, from -1000 to 1000; 0 when absent.
        priority: Option<i16>,
        /// The path has to be the route's path, not only begin with it.
        path_exact: Option<bool>,
        /// Any of these methods.
        methods: Option<Vec<String>>,
        /// All of these about header fields.
        headers: Option<Vec<ConditionOptions>>,
        /// All of these about parameters of the query, undecoded.
        query: Option<Vec<ConditionOptions>>,
        /// Any of these networks or addresses is the client's.
        clients: Option<Vec<String>>,
    }
    /// A condition on a named value: one of `equals`, `prefix`, `present` and `absent`.
    ConditionOptions {
        /// Whose value.
        name: String,
        /// It is this.
        equals: Option<String>,
        /// It begins with this.
        prefix: Option<String>,
        /// true: it is there.
        present: Option<bool>,
        /// true: it is not there.
        absent: Option<bool>,
    }
    /// How long a route waits, as `500ms`, `5s`, `10m`; what is absent has the default of every route.
    TimeoutOptions {
        /// For one upstream connection to be made.
        connect: Option<String>,
        /// Silence inside a request body.
        request_body: Option<String>,
        /// For the response head, once the request is sent.
        response_head: Option<String>,
        /// Silence inside a response body.
        idle_body: Option<String>,
        /// For the whole exchange, tunnels excepted.
        whole: Option<String>,
        /// Silence of a tunnel.
        tunnel: Option<String>,
    }
    /// What a route asks of handshakes. It holds for the whole host: the strictest of its routes.
    TlsPolicyOptions {
        /// `1.2` (default) or `1.3`.
        min_version: Option<String>,
        /// PEM bundle of the authorities whose client certificates open the route; without one that stands: 403.
        client_ca_pem: Option<String>,
        /// PEM bundle of their lists of revoked certificates.
        client_crl_pem: Option<String>,
    }
    /// Where a client is sent.
    RedirectOptions {
        /// An absolute URL, or a path on the same host.
        to: String,
        /// 301 (default), 302, 303, 307 or 308.
        status: Option<u16>,
        /// Put what follows the route's path, and the query, behind `to`; false when absent.
        keeps_rest: Option<bool>,
    }
    /// A fixed answer.
    RespondOptions {
        /// 200 (default) to 599.
        status: Option<u16>,
        /// `text/plain; charset=utf-8` when absent.
        content_type: Option<String>,
        /// At most 64 KiB.
        body: Option<String>,
        /// The body where it is no text, instead of `body`.
        body_base64: Option<String>,
    }
    /// One of several targets.
    TargetOptions {
        /// `http`, `https`, `h2c` or `h2`, `://` and HOST:PORT or vm:NAME:PORT.
        url: String,
        /// Its share against the others', from 1 to 256; 1 when absent.
        weight: Option<u16>,
        /// Give it no new requests but those that stick to it.
        draining: Option<bool>,
    }
    /// What a route does to requests and answers on their way.
    FilterOptions {
        /// Answer everything with 503; `true` is our own page.
        maintenance: Option<MaintenanceOptions>,
        /// Networks or addresses of clients that may ask; others get 403.
        allow: Option<Vec<String>>,
        /// Those that may not, before `allow` is looked at.
        deny: Option<Vec<String>>,
        /// Requests in a time; more get 429.
        rate: Option<RateOptions>,
        /// Who may ask, by name and password; others get 401.
        basic_auth: Option<BasicAuthOptions>,
        /// Requests under way at once in one gateway; more get 503.
        in_flight_max: Option<u32>,
        /// Largest request body, as `10MiB`; larger ones get 413.
        body_max: Option<String>,
        /// How the path is changed on the way to the upstream.
        path: Option<PathOptions>,
        /// Changes to the request's fields, in order.
        request_headers: Option<Vec<RequestHeaderOptions>>,
        /// Changes to the response's fields, in order.
        response_headers: Option<Vec<ResponseHeaderOptions>>,
        /// Pages instead of answers with these statuses.
        error_pages: Option<Vec<ErrorPageOptions>>,
        /// Compress what gains by it, where the client takes it.
        gzip: Option<bool>,
        /// Protocols other than WebSocket that a request may be upgraded to, as `Upgrade` names them; others get 501.
        upgrades: Option<Vec<String>>,
    }
    /// A route that is closed for work.
    MaintenanceOptions {
        /// Of the page.
        content_type: Option<String>,
        /// The page; our own when absent.
        body: Option<String>,
        /// The page where it is no text, instead of `body`.
        body_base64: Option<String>,
        /// `Retry-After`, as `5m` (default).
        retry_after: Option<String>,
    }
    /// Requests in a time.
    RateOptions {
        /// That pass in the time.
        requests: u32,
        /// The time, as `1s` (default).
        per: Option<String>,
        /// That may come at once; `requests` when absent.
        burst: Option<u32>,
        /// What is counted together: `client` (default) or `route`.
        key: Option<String>,
    }
    /// Names and passwords (RFC 7617).
    BasicAuthOptions {
        /// What the browser shows; `restricted` when absent.
        realm: Option<String>,
        /// At least one.
        users: Vec<BasicUserOptions>,
    }
    /// One name with its password.
    BasicUserOptions {
        /// Without a colon.
        name: String,
        /// Kept as its Argon2id hash alone and never shown; absent, a user keeps the one it has.
        #[schema(write_only)]
        password: Option<String>,
    }
    /// Prefixes taken away and put before.
    PathOptions {
        /// Taken away where the path begins with it on a segment boundary.
        strip: Option<String>,
        /// Put before what is left.
        add: Option<String>,
    }
    /// One change to a field of a request: one of `set`, `add` and `remove` with its name.
    RequestHeaderOptions {
        /// `value` instead of whatever is there.
        set: Option<String>,
        /// One more with `value`.
        add: Option<String>,
        /// None is left.
        remove: Option<String>,
        /// The value.
        value: Option<String>,
    }
    /// One change to a field of a response.
    ResponseHeaderOptions {
        /// `value` instead of whatever is there.
        set: Option<String>,
        /// One more with `value`.
        add: Option<String>,
        /// None is left.
        remove: Option<String>,
        /// The value.
        value: Option<String>,
        /// Also on our own answers.
        always: Option<bool>,
    }
    /// A page instead of an answer.
    ErrorPageOptions {
        /// From 400 to 599; a text may be a range, as `500-599`.
        statuses: Vec<u16>,
        /// `text/plain; charset=utf-8` when absent.
        content_type: Option<String>,
        /// At most 64 KiB.
        body: Option<String>,
        /// The page where it is no text, instead of `body`.
        body_base64: Option<String>,
        /// Also instead of the origin's own answers.
        replace_origin: Option<bool>,
    }
    /// How endpoints share requests, are spoken to and looked after.
    UpstreamOptions {
        /// `round-robin` (default), `least`, `p2c`, `hash:address`, `hash:header:NAME` or `hash:cookie:NAME`.
        balance: Option<String>,
        /// What keeps a client at its endpoint.
        sticky: Option<StickyOptions>,
        /// `http1` (default) or `http2`; the scheme of the targets says it as well.
        protocol: Option<String>,
        /// TLS to the endpoints, for targets with https:// or h2://.
        tls: Option<UpstreamTlsOptions>,
        /// `v1` or `v2`: a PROXY protocol header before the first byte.
        proxy_protocol: Option<String>,
        /// How endpoints are asked whether they are well.
        check: Option<CheckOptions>,
        /// When failures of real requests take an endpoint out.
        ejection: Option<EjectionOptions>,
        /// Time over which an endpoint that came back gets its share by and by.
        slow_start: Option<String>,
        /// Requests under way at once at one endpoint from one gateway.
        in_flight_max: Option<u32>,
        /// How often a request is tried again.
        retry: Option<RetryOptions>,
    }
    /// What keeps a client at its endpoint: one of both.
    StickyOptions {
        /// A cookie of ours.
        cookie: Option<StickyCookieOptions>,
        /// A key that a response header tells and a later path carries.
        learned: Option<StickyLearnedOptions>,
    }
    /// A cookie of ours that names the endpoint.
    StickyCookieOptions {
        /// `gatehouse` when absent.
        name: Option<String>,
        /// Its life, as `1h`; the browser's session when absent.
        max_age: Option<String>,
    }
    /// Stickiness learned from a response header and matched on a part of the path.
    StickyLearnedOptions {
        /// The response header.
        header: String,
        /// Only paths below this carry a key; `/` when absent.
        path: Option<String>,
        /// Which part between slashes, the text before the first `/` being 1; 3 when absent.
        field: Option<u8>,
        /// Life of a key since its last use; `1h` when absent.
        expire: Option<String>,
        /// Keys kept; 30000 when absent.
        keys_max: Option<u32>,
    }
    /// TLS to the endpoints.
    UpstreamTlsOptions {
        /// `system` (default), `ca`, `fingerprint`, or `off`, which is root's alone.
        verify: Option<String>,
        /// Authorities, as PEM.
        ca_pem: Option<String>,
        /// SHA-256 of the leaf, as 64 hexadecimal digits.
        fingerprint: Option<String>,
        /// Name asked for and checked instead of the target's own.
        server_name: Option<String>,
        /// Our certificate with its chain, as PEM.
        client_cert_pem: Option<String>,
        /// Its key in PKCS#8, as PEM; kept sealed and never shown.
        #[schema(write_only)]
        client_key_pem: Option<String>,
    }
    /// How endpoints are asked: one of `http` and `tcp`.
    CheckOptions {
        /// By a GET.
        http: Option<CheckHttpOptions>,
        /// true: by a connection.
        tcp: Option<bool>,
        /// Pause between two questions; `5s` when absent.
        interval: Option<String>,
        /// Time for the answer; `2s` when absent.
        timeout: Option<String>,
        /// Good answers in a row that bring an endpoint back; 2 when absent.
        rise: Option<u8>,
        /// Bad ones that take it out; 3 when absent.
        fall: Option<u8>,
    }
    /// A GET that tells whether an endpoint is well.
    CheckHttpOptions {
        /// With its query; `/` when absent.
        path: Option<String>,
        /// The target's own when absent.
        host: Option<String>,
        /// Statuses or ranges of them that count as well; `200-399` when absent.
        statuses: Option<Vec<String>>,
    }
    /// When failures of real requests take an endpoint out.
    EjectionOptions {
        /// In a row; 5 when absent.
        failures: Option<u32>,
        /// Time it stays out; `30s` when absent.
        r#for: Option<String>,
    }
    /// How often a request is tried again.
    RetryOptions {
        /// Tries in all; 3 when absent.
        tries: Option<u8>,
        /// Retries for each hundred requests; 20 when absent.
        budget_percent: Option<u8>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::route::target;
    use crate::options::{action, filters, matchers, timeouts, tls_policy, upstream};

    #[test]
    fn the_described_options_have_the_members_that_are_read() {
        for (described, read) in [
            (MatchOptions::FIELDS, matchers::KNOWN),
            (ConditionOptions::FIELDS, matchers::CONDITION),
            (TimeoutOptions::FIELDS, timeouts::KNOWN),
            (TlsPolicyOptions::FIELDS, tls_policy::KNOWN),
            (RedirectOptions::FIELDS, action::REDIRECT),
            (RespondOptions::FIELDS, action::RESPOND),
            (TargetOptions::FIELDS, target::KNOWN),
            (FilterOptions::FIELDS, filters::KNOWN),
            (MaintenanceOptions::FIELDS, filters::MAINTENANCE),
            (RateOptions::FIELDS, filters::RATE),
            (BasicAuthOptions::FIELDS, filters::BASIC_AUTH),
            (BasicUserOptions::FIELDS, filters::BASIC_USER),
            (PathOptions::FIELDS, filters::PATH),
            (RequestHeaderOptions::FIELDS, filters::REQUEST_HEADER),
            (ResponseHeaderOptions::FIELDS, filters::RESPONSE_HEADER),
            (ErrorPageOptions::FIELDS, filters::ERROR_PAGE),
            (UpstreamOptions::FIELDS, upstream::KNOWN),
            (StickyOptions::FIELDS, upstream::STICKY),
            (StickyCookieOptions::FIELDS, upstream::COOKIE),
            (StickyLearnedOptions::FIELDS, upstream::LEARNED),
            (UpstreamTlsOptions::FIELDS, upstream::tls::KNOWN),
            (CheckOptions::FIELDS, upstream::CHECK),
            (CheckHttpOptions::FIELDS, upstream::CHECK_HTTP),
            (EjectionOptions::FIELDS, upstream::EJECTION),
            (RetryOptions::FIELDS, upstream::RETRY),
        ] {
            let described: Vec<_> = described.iter().map(|name| name.trim_start_matches("r#")).collect();
            assert_eq!(described, read);
        }
    }
}
