use super::*;
use crate::name::PathPrefix;
use crate::secret::Secret;
use crate::snapshot::{
    ActiveCheck, Balance, BasicAuth, BasicUser, Content, Edit, ErrorPage, FieldEdit, HashKey, Learned, Probe,
    Sticky, Test, UpstreamTls, ValueMatch, Verify,
};

/// The fields that were found wrong.
fn fields(found: Result<(), Vec<Invalid>>) -> Vec<String> {
    found.err().into_iter().flatten().map(|invalid| invalid.field).collect()
}

fn redirect(to: &str) -> Redirect {
    Redirect { status: 302, to: to.into(), keeps_rest: false }
}

fn request_edit(name: &str, edit: Edit) -> Filters {
    let edit = FieldEdit { name: name.into(), edit, always: false };
    Filters { request_fields: [edit].into(), ..Filters::default() }
}

fn page(bytes: usize) -> Content {
    Content { media_type: "text/html".into(), body: vec![b'x'; bytes].into() }
}

#[test]
fn what_says_nothing_beyond_the_defaults_is_in_order() {
    assert_eq!(Matchers::default().check(), Ok(()));
    assert_eq!(Filters::default().check(), Ok(()));
    assert_eq!(Timeouts::default().check(), Ok(()));
    assert_eq!(UpstreamPolicy::default().check(), Ok(()));
}

#[test]
fn every_violation_is_named_with_its_place_up_to_a_bound() {
    let condition = |name: &str, test| ValueMatch { name: name.into(), test };
    let matchers = Matchers {
        priority: -1001,
        methods: ["GET ".into(), "M".repeat(33).into()].into(),
        headers: [condition("X-Big", Test::Present), condition("a", Test::Equals("x\r\n".into()))].into(),
        query: [condition("a=b", Test::Absent), condition("a", Test::Prefix("".into()))].into(),
        clients: ["10.0.0.1/8".parse().unwrap(), "::ffff:10.0.0.0/104".parse().unwrap()].into(),
        ..Matchers::default()
    };
    let wanted = [
        "priority",
        "methods[0]",
        "methods[1]",
        "headers[0].name",
        "headers[1].value",
        "query[0].name",
        "query[1].value",
        "clients[0]",
        "clients[1]",
    ];
    assert_eq!(fields(matchers.check()), wanted);
    let same = Matchers { methods: ["GET".into(), "GET".into()].into(), ..Matchers::default() };
    assert_eq!(fields(same.check()), ["methods"]);
    let many = Matchers { methods: vec!["".into(); limits::MATCHERS_MAX].into(), ..Matchers::default() };
    assert_eq!(fields(many.check()).len(), limits::VIOLATIONS_NAMED_MAX);
    let too_many = Matchers { methods: vec!["".into(); limits::MATCHERS_MAX + 1].into(), ..many };
    assert_eq!(fields(too_many.check()), ["methods"]);
}

#[test]
fn a_redirect_leads_to_a_url_of_http_or_a_path() {
    for to in [
        "/",
        "/a?b#c",
        "http://a.example",
        "https://a.example:8443/x?y",
        "http://[::1]:80/",
        "http://10.0.0.1/",
    ] {
        assert_eq!(redirect(to).check(), Ok(()), "{to}");
    }
    for to in [
        "",
        "//evil.example",
        "/\\evil.example",
        "/a\r\nSet-Cookie: x",
        "/a b",
        "/é",
        "ftp://a.example",
        "javascript:alert(1)",
        "https://",
        "https://user@a.example/",
        "https://a.example:70000/",
        "a.example",
    ] {
        assert!(fields(redirect(to).check()).contains(&"to".to_owned()), "{to}");
    }
    assert_eq!(fields(Redirect { status: 304, ..redirect("/") }.check()), ["status"]);
    assert_eq!(fields(Redirect { keeps_rest: true, ..redirect("/a?b") }.check()), ["to"]);
}

#[test]
fn a_fixed_answer_has_a_final_status_and_a_body_only_where_one_may_be_sent() {
    let answer = |status, bytes| Respond { status, content: page(bytes) };
    assert_eq!(answer(204, 0).check(), Ok(()));
    assert_eq!(fields(answer(204, 1).check()), ["content.body"]);
    assert_eq!(fields(answer(101, 0).check()), ["status"]);
    assert_eq!(fields(answer(600, 0).check()), ["status"]);
    assert_eq!(fields(answer(200, limits::PAGE_BYTES_MAX + 1).check()), ["content.body"]);
    let odd = Content { media_type: "text\r\nX: y".into(), body: [].into() };
    assert!(!fields(Respond { status: 200, content: odd }.check()).is_empty());
}

#[test]
fn fields_of_framing_and_of_the_connection_cannot_be_edited() {
    for name in [
        "Content-Length",
        "transfer-encoding",
        "CONNECTION",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "proxy-",
        "HTTP2-Settings",
        "two words",
        ":path",
        "",
    ] {
        let wrong = request_edit(name, Edit::Set("x".into()));
        assert!(fields(wrong.check()).contains(&"request_fields[0].name".to_owned()), "{name}");
    }
    assert_eq!(request_edit("X-Proxy-By", Edit::Set("x".into())).check(), Ok(()));
    for value in ["a\r\nb", "a\0", "a\tb", " a", "a "] {
        let wrong = request_edit("x-a", Edit::Add(value.into()));
        assert_eq!(fields(wrong.check()), ["request_fields[0].value"], "{value:?}");
    }
}

#[test]
fn the_host_of_a_request_can_be_set_to_a_host_and_to_nothing_else() {
    for value in ["a.example", "a.example:8080", "10.0.0.1", "[::1]:80"] {
        assert_eq!(request_edit("Host", Edit::Set(value.into())).check(), Ok(()), "{value}");
    }
    for value in ["", "a b", "http://a.example", "a.example/x", "user@a.example"] {
        assert_eq!(
            fields(request_edit("host", Edit::Set(value.into())).check()),
            ["request_fields[0].value"]
        );
    }
    assert_eq!(fields(request_edit("HOST", Edit::Remove).check()), ["request_fields[0].edit"]);
    let edit = FieldEdit { name: "Host".into(), edit: Edit::Remove, always: false };
    let answers = Filters { response_fields: [edit].into(), ..Filters::default() };
    assert_eq!(fields(answers.check()), ["response_fields[0].name"]);
}

#[test]
fn a_protocol_that_upgrades_pass_to_is_named_once_and_is_no_http() {
    let upgrades = |names: &[&str]| {
        let upgrades = names.iter().map(|name| (*name).into()).collect();
        fields(Filters { upgrades, ..Filters::default() }.check())
    };
    assert_eq!(upgrades(&["tcp", "x-one/2", "spdy"]), [""; 0]);
    assert_eq!(upgrades(&["tcp", "tcp"]), ["upgrades"]);
    for name in ["", "/", "a/", "/1", "a/b/c", "a b", "a,b", "WebSocket", "h2c", "HTTP/2.0", "TLS/1.3"] {
        assert_eq!(upgrades(&[name]), ["upgrades[0]"], "{name}");
    }
    assert_eq!(upgrades(&[&"x".repeat(limits::UPGRADE_NAME_BYTES_MAX + 1)]), ["upgrades[0]"]);
}

#[test]
fn a_password_is_argon2id_at_a_bearable_cost_and_is_not_repeated() {
    let verdict = |hash: &str| {
        let user = BasicUser { name: "ada".into(), password_hash: Secret::new(hash.to_owned()) };
        let auth = BasicAuth { realm: "ours".into(), users: [user].into() };
        Filters { basic_auth: Some(auth), ..Filters::default() }.check()
    };
    assert_eq!(verdict("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"), Ok(()));
    for hash in [
        "hunter2",
        "$2y$10$hunter2",
        "$argon2i$v=19$m=19456,t=2,p=1$hunter2$x",
        "$argon2id$v=19$m=4000000,t=2,p=1$hunter2$x",
        "$argon2id$v=19$m=19456,t=2,p=1,x=1$hunter2$x",
        "$argon2id$v=19$m=19456,t=2,p=1$hunter2$",
    ] {
        let found = verdict(hash).unwrap_err();
        assert_eq!(found[0].field, "basic_auth.users[0].password_hash", "{hash}");
        assert!(!found[0].to_string().contains("hunter2"));
    }
}

#[test]
fn users_are_named_once_and_without_a_colon() {
    let user = |name: &str| BasicUser {
        name: name.into(),
        password_hash: Secret::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".to_owned()),
    };
    let auth = |users: &[BasicUser]| {
        let auth = BasicAuth { realm: "ours".into(), users: users.into() };
        fields(Filters { basic_auth: Some(auth), ..Filters::default() }.check())
    };
    assert_eq!(auth(&[]), ["basic_auth.users"]);
    assert_eq!(auth(&[user("a:b")]), ["basic_auth.users[0].name"]);
    assert_eq!(auth(&[user("a"), user("b"), user("a")]), ["basic_auth.users"]);
}

#[test]
fn pages_have_a_bound_alone_and_together() {
    let pages = |count: usize, bytes: usize| {
        let page = ErrorPage { statuses: [502].into(), content: page(bytes), replaces_origin: false };
        fields(Filters { error_pages: vec![page; count].into(), ..Filters::default() }.check())
    };
    assert_eq!(pages(4, limits::PAGE_BYTES_MAX), [""; 0]);
    assert_eq!(pages(5, limits::PAGE_BYTES_MAX), ["error_pages"]);
    assert_eq!(pages(1, limits::PAGE_BYTES_MAX + 1), ["error_pages[0].content.body"]);
}

#[test]
fn a_policy_names_everything_that_is_wrong_with_it() {
    let learned = Learned {
        header: "X-Key".into(),
        path: PathPrefix::root(),
        field: 0,
        expire_seconds: 0,
        keys_max: limits::LEARNED_KEYS.1 + 1,
    };
    let probe = Probe::Http { path: "health".into(), host: None, statuses: [(200, 199), (99, 100)].into() };
    let policy = UpstreamPolicy {
        balance: Balance::Hash(HashKey::Header("X".into())),
        sticky: Some(Sticky::Learned(learned)),
        tls: Some(UpstreamTls { verify: Verify::Authorities([].into()), server_name: None, client: None }),
        check: Some(ActiveCheck { probe, interval_ms: 99, timeout_ms: 0, rise: 0, fall: 0 }),
        in_flight_max: Some(0),
        ..UpstreamPolicy::default()
    };
    let wanted = [
        "balance.header",
        "sticky.header",
        "sticky.field",
        "sticky.expire_seconds",
        "sticky.keys_max",
        "tls.authorities",
        "check.probe.path",
        "check.probe.statuses[0]",
        "check.probe.statuses[1]",
        "check.interval_ms",
        "check.timeout_ms",
        "check.rise",
        "check.fall",
        "in_flight_max",
    ];
    assert_eq!(fields(policy.check()), wanted);
}

#[test]
fn times_are_at_least_a_millisecond_and_a_tunnel_may_be_silent_longest() {
    let timeouts = Timeouts {
        connect_ms: Some(0),
        whole_ms: Some(limits::TIMEOUT_MS_MAX + 1),
        tunnel_ms: Some(limits::TIMEOUT_MS_MAX + 1),
        ..Timeouts::default()
    };
    assert_eq!(fields(timeouts.check()), ["connect_ms", "whole_ms"]);
}
