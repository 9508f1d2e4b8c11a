//! What is changed on the way.

use config::name::PathPrefix;
use config::snapshot::{Edit, FieldEdit, PathRewrite, RateKey, RateLimit};

use super::super::stage::{GET, OK, Stage, field, on_a_worker, status};
use super::{access, edit, filtered, get, post, respond};

fn rewriting(stage: &Stage, at: &str, strip: &str, add: &str) -> config::snapshot::Route {
    let mut route = stage.route("app.example", at);
    let path = |text: &str| PathPrefix::parse(text).unwrap();
    route.filters = filtered(stage, |filters| {
        filters.path = Some(PathRewrite { strip: path(strip), add: path(add) });
    })
    .filters;
    route
}

#[test]
fn the_origin_sees_the_changed_path_with_the_query_as_it_came() {
    on_a_worker(async |stage| {
        stage.routes([rewriting(&stage, "/api", "/api", "/v1"), rewriting(&stage, "/bare", "/bare", "/")]);
        let mut client = stage.connect().await;
        client.send(get("/api/a%2Fb?c=/api", "")).await;
        let mut origin = stage.accept().await;
        let mut requests = ["/api?x", "/bare", "/bare?x=y", "/bare//evil.example"].into_iter();
        for target in ["/v1/a%2Fb?c=/api", "/v1?x", "/", "/?x=y", "/evil.example"] {
            let (head, _) = origin.message().await;
            assert!(head.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{target}: {head}");
            assert_eq!(field(&head, "host"), Some("app.example"));
            origin.send(OK).await;
            assert_eq!(client.message().await.1, "ok");
            if let Some(path) = requests.next() {
                client.send(get(path, "")).await;
            }
        }
    });
}

#[test]
fn a_path_that_leads_out_of_what_is_added_never_reaches_the_origin() {
    on_a_worker(async |stage| {
        stage.routes([rewriting(&stage, "/", "/api", "/v1")]);
        for path in [
            "/api/../x",
            "/api/%2e%2e/x",
            "/api%2f..",
            "/api/..;/x",
            "/api%2f..%2f..%2fx",
            "/%61pi/x",
            "//api/x",
            "/x/../../y",
        ] {
            let (head, _) = stage.connect().await.ask(&get(path, "")).await;
            assert_eq!(status(&head), 400, "{path}");
        }
        assert!(stage.origin_is_untouched().await);
    });
}

#[test]
fn fields_are_changed_both_ways_and_framing_is_not() {
    on_a_worker(async |stage| {
        stage.routes([filtered(&stage, |filters| {
            filters.request_fields = [
                edit("Host", Edit::Set("inner.example".into())),
                edit("X-Gone", Edit::Remove),
                edit("X-Set", Edit::Set("one".into())),
                edit("X-Add", Edit::Add("two".into())),
            ]
            .into();
            filters.response_fields = [
                edit("Server", Edit::Remove),
                edit("X-Frame-Options", Edit::Set("DENY".into())),
                edit("Set-Cookie", Edit::Add("b=2".into())),
            ]
            .into();
        })]);
        let mut client = stage.connect().await;
        client
            .send(post("X-Gone: 1\r\nx-gone: 2\r\nX-Set: 0\r\nX-Add: 1\r\nContent-Length: 2\r\n", "hi"))
            .await;
        let mut origin = stage.accept().await;
        let (head, body) = origin.message().await;
        assert_eq!((field(&head, "host"), body.as_str()), (Some("inner.example"), "hi"));
        assert_eq!(field(&head, "x-forwarded-host"), Some("app.example"));
        assert_eq!((field(&head, "x-gone"), field(&head, "x-set")), (None, Some("one")));
        assert_eq!(head.matches("Host:").count() - head.matches("X-Forwarded-Host:").count(), 1, "{head}");
        assert!(head.contains("X-Add: 1\r\n") && head.contains("X-Add: two\r\n"), "{head}");

        let answer = "HTTP/1.1 200 OK\r\nServer: x\r\nx-frame-options: ALLOW\r\nSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nok";
        origin.send(answer).await;
        let (head, body) = client.message().await;
        assert_eq!((field(&head, "server"), body.as_str()), (None, "ok"));
        assert!(!head.contains("ALLOW") && head.contains("X-Frame-Options: DENY\r\n"), "{head}");
        assert!(head.contains("Set-Cookie: a=1\r\n") && head.contains("Set-Cookie: b=2\r\n"), "{head}");
    });
}

#[test]
fn answers_of_ours_take_edits_that_are_always_meant() {
    on_a_worker(async |stage| {
        let edits = [
            FieldEdit { always: true, ..edit("X-Always", Edit::Set("1".into())) },
            edit("X-Sometimes", Edit::Set("1".into())),
            FieldEdit { always: true, ..edit("Cache-Control", Edit::Set("private".into())) },
        ];
        let mut own = filtered(&stage, |filters| filters.response_fields = edits.into());
        own.action = respond(200, "own");
        let mut gone = stage.route_to("gone.example", "/", &["127.0.0.1:1".parse().unwrap()]);
        gone.filters.clone_from(&own.filters);
        stage.routes([own, gone]);
        let mut client = stage.connect().await;
        let (head, _) = client.ask(GET).await;
        assert_eq!((field(&head, "x-always"), field(&head, "x-sometimes")), (Some("1"), Some("1")));
        let (head, _) = client.ask(&GET.replace("app.", "gone.")).await;
        assert_eq!(status(&head), 502);
        assert_eq!((field(&head, "x-always"), field(&head, "x-sometimes")), (Some("1"), None));
        assert!(head.contains("Cache-Control: private\r\n") && !head.contains("no-store"), "{head}");
    });
}

#[test]
fn the_cheapest_refusal_goes_first() {
    on_a_worker(async |stage| {
        let everything = |denied: bool, burst| {
            filtered(&stage, |filters| {
                if denied {
                    filters.deny = ["127.0.0.0/8".parse().unwrap()].into();
                }
                filters.rate = Some(RateLimit { requests: 1, per_ms: 3_600_000, burst, key: RateKey::Route });
                filters.basic_auth = Some(access::auth());
                filters.body_bytes_max = Some(1);
            })
        };
        let large = post("Content-Length: 2\r\n", "ab");
        for (route, expected) in
            [(everything(true, 1), 403), (everything(false, 1), 401), (everything(false, 1), 429)]
        {
            stage.routes([route]);
            assert_eq!(status(&stage.connect().await.ask(&large).await.0), expected);
        }
    });
}
