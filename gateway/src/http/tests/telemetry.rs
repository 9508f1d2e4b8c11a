//! What is told of requests: lines of the access log, series on the metrics page, traces.

use config::settings::{AccessFormat, AccessTarget};
use serde_json::Value;

use super::stage::{GET, OK, Stage, field, on_a_worker};
use crate::telemetry::page;
use crate::worker::{Shared, Worker, testing};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The same stage with an access log; the function reads what is in it.
pub(super) fn with_log(stage: Stage, format: AccessFormat) -> (Stage, impl Fn() -> String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut settings = testing::settings(dir.path());
    settings.trusted_proxies = vec!["127.0.0.9/32".parse().unwrap()];
    settings.access_log.to = AccessTarget::File(path.clone());
    settings.access_log.format = format;
    let worker = Worker::new(Shared::with_access_log(settings, 1).unwrap(), 0);
    let shared = std::sync::Arc::clone(&worker.shared);
    let stage = stage.with(worker);
    stage.routes([stage.route("app.example", "/")]);
    let read = move || {
        let _keeps = &dir;
        shared.access.flush();
        std::fs::read_to_string(&path).unwrap()
    };
    (stage, read)
}

/// Reads the log until it has so many lines: the record follows the answer.
pub(super) async fn lines(read: &impl Fn() -> String, count: usize) -> Vec<Value> {
    let wait = async {
        loop {
            let text = read();
            if text.lines().count() >= count {
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            tokio::task::yield_now().await;
        }
    };
    super::stage::within(wait).await
}

#[test]
fn a_request_leaves_a_line_with_all_that_is_known_and_no_secret() {
    on_a_worker(async |stage| {
        let (stage, read) = with_log(stage, AccessFormat::Json);
        let mut client = stage.connect_by(super::stage::HTTP, "127.0.0.9").await;
        client
            .send(format!(
                "POST /a%20b?q=1&Access%5fToken=hunter2 HTTP/1.1\r\nHost: App.Example:80\r\nX-Forwarded-For: 203.0.113.9\r\n\
                 X-Forwarded-Proto: https\r\nUser-Agent: x\"y\r\nReferer: http://u:hunter2@r.example/?code=hunter2\r\n\
                 Cookie: hunter2\r\nAuthorization: Bearer hunter2\r\nX-Request-Id: id-1\r\n\
                 traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\nContent-Length: 3\r\n\r\nabc"
            ))
            .await;
        let mut origin = stage.accept().await;
        origin.message().await;
        origin.send(OK).await;
        client.message().await;

        let line = lines(&read, 1).await.remove(0);

        assert!(!read().contains("hunter2"), "{line}");
        let address = stage.origin.local_addr().unwrap().to_string();
        for (key, value) in [
            ("request_id", "id-1"),
            ("trace_id", TRACE),
            ("client_ip", "203.0.113.9"),
            ("scheme", "https"),
            ("method", "POST"),
            ("host", "app.example"),
            ("path", "/a%20b"),
            ("query", "q=1&Access%5fToken=REDACTED"),
            ("protocol", "HTTP/1.1"),
            ("user_agent", "x\"y"),
            ("referer", "http://r.example/?code=REDACTED"),
            ("upstream", &address),
        ] {
            assert_eq!(line[key], value, "{key}: {line}");
        }
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.9:"));
        for (key, value) in
            [("status", 200), ("bytes_up", 3), ("bytes_down", 2), ("generation", 7), ("retries", 0)]
        {
            assert_eq!(line[key], value, "{key}: {line}");
        }
        let time = |key: &str| line[key].as_f64().unwrap();
        assert!(
            time("upstream_header_time") <= time("upstream_time")
                && time("upstream_time") <= time("duration")
        );
        assert!(line["route"].is_string() && line["endpoint"].is_string() && line.get("fault").is_none());
    });
}

#[test]
fn who_logged_in_and_http_2_stand_in_the_line() {
    on_a_worker(async |stage| {
        let (stage, read) = with_log(stage, AccessFormat::Json);
        let mut route = super::filters::filtered(&stage, |filters| {
            filters.basic_auth = Some(super::filters::access::auth());
        });
        route.action = super::filters::respond(200, "in");
        stage.routes([route]);
        let mut client = super::http2::Client::of(&stage).await;
        for (shown, user, code) in
            [("ann:pä:ss", Some("ann"), 200), ("ann:wrong", None, 401), ("eve:x", None, 401)]
        {
            use base64::Engine as _;
            let said = base64::engine::general_purpose::STANDARD.encode(shown);
            let request = http::Request::get("http://app.example/")
                .header("authorization", format!("Basic {said}"))
                .body(())
                .unwrap();
            super::http2::whole(client.request(request).await).await;
            let line = super::stage::within(async {
                loop {
                    if let Some(line) =
                        read().lines().find(|line| line.contains(&format!("\"status\":{code}")))
                    {
                        return serde_json::from_str::<Value>(line).unwrap();
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert_eq!(line["protocol"], "HTTP/2.0", "{line}");
            assert_eq!(line.get("user").and_then(Value::as_str), user, "{line}");
        }
        assert!(!read().contains("wrong") && !read().contains("eve"), "{}", read());
    });
}

#[test]
fn each_endpoint_that_was_used_has_a_sample_of_its_health() {
    on_a_worker(async |stage| {
        let (mut one, two) =
            (super::origins::Origin::start('a').await, super::origins::Origin::start('b').await);
        let ejection = config::snapshot::Ejection { failures: 1, for_ms: 1_000_000 };
        let policy = config::snapshot::UpstreamPolicy { ejection: Some(ejection), ..Default::default() };
        let route = stage.balanced(&[one.endpoint(), two.endpoint()], Some(policy));
        let id = route.id;
        stage.routes([route]);
        let sample = |endpoint: &config::snapshot::Endpoint| {
            let name = format!("gatehouse_upstream_healthy{{route=\"{id}\",endpoint=\"{}\"}} ", endpoint.id);
            let page = page::render(&stage.worker.shared);
            page.lines().find_map(|line| line.strip_prefix(name.as_str()).map(str::to_owned))
        };
        assert_eq!(sample(&one.endpoint()), None, "nobody has asked it");
        let mut client = stage.connect().await;
        stage.answers(&mut client, 2).await;
        assert_eq!(
            [&one, &two].map(|origin| sample(&origin.endpoint())),
            [Some("1".into()), Some("1".into())]
        );
        one.kill().await;
        stage.answers(&mut client, 4).await;
        assert_eq!(
            [&one, &two].map(|origin| sample(&origin.endpoint())),
            [Some("0".into()), Some("1".into())]
        );
    });
}

#[test]
fn what_is_refused_leaves_a_line_too() {
    on_a_worker(async |stage| {
        let (stage, read) = with_log(stage, AccessFormat::Json);
        stage.connect().await.ask("GET /x?token=hunter2 HTTP/1.1\r\nHost: nobody.example\r\n\r\n").await;
        stage.connect().await.ask("GET /y HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
        stage.connect().await.ask("GET http://u:hunter2@a/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        stage.connect().await.ask("\u{1} nonsense\r\n\r\n").await;

        let mut lines = lines(&read, 4).await;

        assert!(!read().contains("hunter2"));
        lines.sort_by_key(|line| line["path"].as_str().unwrap().to_owned());
        let told =
            |line: &Value| (line["status"].as_u64().unwrap(), line["fault"].as_str().unwrap().to_owned());
        assert_eq!(lines[0]["path"], "");
        assert_eq!(told(&lines[0]), (400, "bad_request".into()));
        assert_eq!((lines[2]["path"].as_str(), told(&lines[2])), (Some("/x"), (404, "no_route".into())));
        assert_eq!((lines[3]["path"].as_str(), told(&lines[3])), (Some("/y"), (400, "bad_request".into())));
    });
}

#[test]
fn a_request_that_failed_upstream_says_how() {
    on_a_worker(async |stage| {
        let (stage, read) = with_log(stage, AccessFormat::Json);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        origin.message().await;
        drop(origin);
        client.message().await;

        let line = lines(&read, 1).await.remove(0);

        assert_eq!((&line["status"], &line["fault"]), (&502.into(), &"closed".into()), "{line}");
        assert!(line.get("upstream_header_time").is_none() && line["upstream_connect_time"].is_number());
    });
}

#[test]
fn the_combined_form_stands_in_the_file() {
    on_a_worker(async |stage| {
        let (stage, read) = with_log(stage, AccessFormat::Combined);
        stage.connect().await.ask("GET / HTTP/1.0\r\nHost: a.example\r\nUser-Agent: \"\\\r\n\r\n").await;
        let text = super::stage::within(async {
            while read().is_empty() {
                tokio::task::yield_now().await;
            }
            read()
        })
        .await;
        assert!(text.starts_with("127.0.0.1 - - ["), "{text}");
        assert!(text.contains("] \"GET / HTTP/1.0\" 404 "), "{text}");
        assert!(text.ends_with(" \"-\" \"\\x22\\x5C\"\n"), "{text}");
    });
}

#[test]
fn requests_are_counted_by_route_method_and_code() {
    on_a_worker(async |stage| {
        let route = stage.route("app.example", "/").id;
        let mut client = stage.connect().await;
        client.send(GET).await;
        let mut origin = stage.accept().await;
        for round in 0..2 {
            origin.message().await;
            origin.send(OK).await;
            client.message().await;
            if round == 0 {
                client.send(GET).await;
            }
        }
        client.ask("BREW / HTTP/1.1\r\nHost: nobody.example\r\n\r\n").await;

        let wanted = [
            format!("gatehouse_http_requests_total{{route=\"{route}\",method=\"GET\",code=\"200\"}} 2"),
            "gatehouse_http_requests_total{route=\"none\",method=\"other\",code=\"404\"} 1".to_owned(),
            format!("gatehouse_http_request_duration_seconds_count{{route=\"{route}\"}} 2"),
            "gatehouse_http_requests_in_flight 0".to_owned(),
            "# TYPE gatehouse_upstream_healthy gauge".to_owned(),
        ];
        let counted = async {
            loop {
                let page = page::render(&stage.worker.shared);
                if wanted.iter().all(|line| page.lines().any(|found| found == line)) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        super::stage::within(counted).await;
    });
}

#[test]
fn a_trace_goes_on_with_a_parent_of_its_own() {
    on_a_worker(async |stage| {
        let mut client = stage.connect().await;
        client
            .send(format!(
                "GET / HTTP/1.1\r\nHost: app.example\r\ntraceparent: 00-{TRACE}-b7ad6b7169203331-00\r\n\
                 tracestate: a=1\r\ntracestate: b=2\r\n\r\n"
            ))
            .await;
        let (head, _) = stage.accept().await.message().await;
        let parent = field(&head, "traceparent").unwrap();
        assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"), "{head}");
        assert!(!parent.contains("b7ad6b7169203331"), "{head}");
        assert!(head.contains("tracestate: a=1\r\n") && head.contains("tracestate: b=2\r\n"), "{head}");
    });
}

#[test]
fn a_trace_is_started_where_there_is_none_and_an_orphaned_state_does_not_pass() {
    on_a_worker(async |stage| {
        for fields in [
            String::new(),
            "tracestate: a=1\r\n".to_owned(),
            format!("traceparent: 00-{TRACE}-0000000000000000-01\r\ntracestate: a=1\r\n"),
        ] {
            let mut client = stage.connect().await;
            client.send(format!("GET / HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n")).await;
            let (head, _) = stage.accept().await.message().await;
            let parent = field(&head, "traceparent").unwrap();
            assert!(parent.len() == 55 && !parent.contains(TRACE) && parent.ends_with("-03"), "{head}");
            assert_eq!(field(&head, "tracestate"), None, "{head}");
        }
    });
}
