use std::sync::Arc;

use config::snapshot::{Route, TlsPolicy, TlsVersion, Value};
use rustls::version::{TLS12, TLS13};

use super::site::{BOTH, Company, Site, get, guarded, on_a_worker, route};
use crate::listener::Kind;

#[test]
fn a_host_whose_routes_all_want_a_certificate_shakes_hands_with_nobody_else() {
    on_a_worker(async || {
        let (site, ours, theirs) = (Site::new(), Company::new("Ours"), Company::new("Theirs"));
        let other = Company::new("Other");
        let guarded = guarded(1, "app.example", "/", &[&other, &ours], &[]);
        site.put([site.identity(1, &["app.example"]), Value::Route(guarded)]);
        for versions in [&[&TLS13][..], &[&TLS12]] {
            let known = Arc::new(site.client_with(versions, Some(&ours.person(1))));
            assert_eq!(site.asked(&known, "app.example", "/").await.unwrap().0, 200);
            let nobody = Arc::new(site.client_with(versions, None));
            assert!(site.asked(&nobody, "app.example", "/").await.is_none());
            let stranger = Arc::new(site.client_with(versions, Some(&theirs.person(1))));
            assert!(site.asked(&stranger, "app.example", "/").await.is_none());
        }
    });
}

#[test]
fn a_route_beside_open_ones_asks_again_at_each_request() {
    on_a_worker(async || {
        let (site, ours, theirs) = (Site::new(), Company::new("Ours"), Company::new("Theirs"));
        let open = route(1, "app.example", "/");
        let inner = guarded(2, "app.example", "/ours", &[&ours], &[]);
        let other = guarded(3, "app.example", "/theirs", &[&theirs], &[]);
        site.put(
            [site.identity(1, &["app.example"])].into_iter().chain([open, inner, other].map(Value::Route)),
        );

        for (person, expected) in [(None, (403, 403)), (Some(ours.person(1)), (200, 403))] {
            let client = Arc::new(site.client_with(BOTH, person.as_ref()));
            let mut stream = site.connect(&client, "app.example").await.unwrap();
            // Twice, since what a gate said is remembered.
            for _ in 0..2 {
                assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, 200);
                let inner = get(&mut stream, "app.example", "/ours").await.unwrap();
                let other = get(&mut stream, "app.example", "/theirs").await.unwrap();
                assert_eq!((inner.0, other.0), expected);
                assert!(other.1.contains("A client certificate"), "{}", other.1);
            }
        }
    });
}

#[test]
fn a_certificate_that_is_revoked_is_refused_at_the_next_request_of_an_open_connection() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let put = |list: Vec<u8>| {
            let route = guarded(1, "app.example", "/", &[&ours], &[list]);
            site.put([site.identity(1, &["app.example"]), Value::Route(route)])
        };
        assert_eq!(put(ours.list(&[], 2090)), Vec::<String>::new());
        let client = Arc::new(site.client_with(BOTH, Some(&ours.person(7))));
        let mut stream = site.connect(&client, "app.example").await.unwrap();
        assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, 200);

        put(ours.list(&[7], 2090));
        assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, 403);
        assert!(site.asked(&client, "app.example", "/").await.is_none(), "nor by a new one");
        let other = Arc::new(site.client_with(BOTH, Some(&ours.person(8))));
        assert_eq!(site.asked(&other, "app.example", "/").await.unwrap().0, 200);
    });
}

#[test]
fn what_cannot_be_verified_closes_its_route_alone_and_is_named() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let mut unreadable = guarded(2, "app.example", "/unreadable", &[&ours], &[]);
        if let Some(clients) = unreadable.tls_policy.as_mut().and_then(|policy| policy.clients.as_mut()) {
            clients.authorities = Box::new([ours.der.clone(), b"no certificate".to_vec()]);
        }
        let expired = guarded(3, "app.example", "/expired", &[&ours], &[ours.list(&[], 2021)]);
        let no_list = guarded(4, "app.example", "/no-list", &[&ours], &[b"no list".to_vec()]);
        let good = guarded(5, "app.example", "/good", &[&ours], &[]);
        let open = route(1, "app.example", "/");
        let routes = [open, unreadable, expired, no_list, good].map(Value::Route);
        let degraded = site.put([site.identity(1, &["app.example"])].into_iter().chain(routes.clone()));
        assert_eq!(degraded.len(), 3, "{degraded:?}");
        for (fault, what) in degraded.iter().zip(["authority 1 of", "list 0 of", "list 0 of"]) {
            assert!(fault.contains("(app.example) is closed: ") && fault.contains(what), "{fault}");
        }
        assert!(degraded[1].ends_with("has expired"), "{degraded:?}");

        let client = Arc::new(site.client_with(BOTH, Some(&ours.person(1))));
        let mut stream = site.connect(&client, "app.example").await.unwrap();
        for (path, status) in
            [("/", 200), ("/good", 200), ("/unreadable", 403), ("/expired", 403), ("/no-list", 403)]
        {
            assert_eq!(get(&mut stream, "app.example", path).await.unwrap().0, status, "{path}");
        }

        // A delta that has nothing to do with it keeps it named; one that mends it opens it.
        let more = [Value::Route(route(9, "other.example", "/"))];
        let again = site.put([site.identity(1, &["app.example"])].into_iter().chain(routes).chain(more));
        assert_eq!(again, degraded);
        let mended = guarded(3, "app.example", "/expired", &[&ours], &[ours.list(&[], 2090)]);
        let mended = [route(1, "app.example", "/"), mended].map(Value::Route);
        assert!(site.put([site.identity(1, &["app.example"])].into_iter().chain(mended)).is_empty());
        assert_eq!(get(&mut stream, "app.example", "/expired").await.unwrap().0, 200);
    });
}

#[test]
fn no_connection_made_for_another_name_reaches_a_guarded_host() {
    on_a_worker(async || {
        let (site, ours, theirs) = (Site::new(), Company::new("Ours"), Company::new("Theirs"));
        // One identity: by its certificate alone every name would do.
        let identity = || site.identity(1, &["*", "open.example", "app.example", "theirs.example"]);
        let routes = || {
            [
                route(1, "open.example", "/"),
                guarded(2, "app.example", "/", &[&ours], &[]),
                guarded(3, "theirs.example", "/", &[&theirs], &[]),
            ]
        };
        site.put([identity()].into_iter().chain(routes().map(Value::Route)));
        let client = Arc::new(site.client_with(BOTH, Some(&ours.person(1))));
        let mut open = site.connect(&client, "open.example").await.unwrap();
        assert_eq!(get(&mut open, "open.example", "/").await.unwrap().0, 200);
        assert_eq!(get(&mut open, "app.example", "/").await.unwrap().0, 421);
        let mut guarded = site.connect(&client, "app.example").await.unwrap();
        assert_eq!(get(&mut guarded, "theirs.example", "/").await.unwrap().0, 421);
        assert_eq!(get(&mut guarded, "open.example", "/").await.unwrap().0, 200);

        let mut nameless = site.client_with(BOTH, Some(&ours.person(1)));
        nameless.enable_sni = false;
        let mut nameless = site.connect(&Arc::new(nameless), "open.example").await.unwrap();
        assert_eq!(get(&mut nameless, "app.example", "/").await.unwrap().0, 421);
    });
}

#[test]
fn streams_of_http_2_are_held_to_the_same() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let identity = || site.identity(1, &["open.example", "app.example"]);
        let put = |list| {
            let guarded = guarded(2, "app.example", "/", &[&ours], &[list]);
            site.put([identity(), Value::Route(route(1, "open.example", "/")), Value::Route(guarded)]);
        };
        put(ours.list(&[], 2090));
        let mut client = site.client_with(BOTH, Some(&ours.person(7)));
        client.alpn_protocols = vec![b"h2".to_vec()];
        let client = Arc::new(client);
        let begin = async |sni| {
            let stream = site.connect(&client, sni).await.unwrap();
            let (sender, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::task::spawn_local(connection);
            sender.ready().await.unwrap()
        };
        let ask = async |sender: &h2::client::SendRequest<bytes::Bytes>, host: &str| {
            let request = http::Request::get(format!("https://{host}/")).body(()).unwrap();
            let (answer, _) = sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
            answer.await.unwrap().status().as_u16()
        };
        let open = begin("open.example").await;
        assert_eq!((ask(&open, "open.example").await, ask(&open, "app.example").await), (200, 421));
        let guarded = begin("app.example").await;
        assert_eq!((ask(&guarded, "app.example").await, ask(&guarded, "open.example").await), (200, 200));
        put(ours.list(&[7], 2090));
        assert_eq!((ask(&guarded, "app.example").await, ask(&guarded, "open.example").await), (403, 200));
    });
}

#[test]
fn a_connection_from_before_the_policy_is_sent_to_a_new_one() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        site.put([site.identity(1, &["app.example"]), Value::Route(route(1, "app.example", "/"))]);
        let client = Arc::new(site.client_with(BOTH, Some(&ours.person(1))));
        let mut stream = site.connect(&client, "app.example").await.unwrap();
        assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, 200);

        let guarded = guarded(1, "app.example", "/", &[&ours], &[]);
        site.put([site.identity(1, &["app.example"]), Value::Route(guarded)]);
        assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, 421);
        assert_eq!(site.asked(&client, "app.example", "/").await.unwrap().0, 200);
    });
}

#[test]
fn a_guarded_route_is_not_served_in_clear() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let plain = guarded(1, "app.example", "/", &[&ours], &[]);
        let redirected = Route { redirect_https: true, ..guarded(2, "app.example", "/to", &[&ours], &[]) };
        let new_only = TlsPolicy { min_version: TlsVersion::Tls13, clients: None };
        let new_only = Route { tls_policy: Some(Box::new(new_only)), ..route(3, "new.example", "/") };
        site.put([plain, redirected, new_only].map(Value::Route));
        let mut stream = site.dial(Kind::Http).await;
        let (status, answer) = get(&mut stream, "app.example", "/").await.unwrap();
        assert!(status == 403 && answer.contains("over https only"), "{answer}");
        let (status, answer) = get(&mut stream, "app.example", "/to?a=b").await.unwrap();
        assert!(status == 301 && answer.contains("Location: https://app.example/to?a=b\r\n"), "{answer}");
        assert_eq!(get(&mut stream, "new.example", "/").await.unwrap().0, 403);
    });
}

#[test]
fn the_newest_version_that_a_route_wants_is_the_hosts() {
    on_a_worker(async || {
        let site = Site::new();
        let new_only = TlsPolicy { min_version: TlsVersion::Tls13, clients: None };
        let new_only = Route { tls_policy: Some(Box::new(new_only)), ..route(1, "new.example", "/x") };
        let rest = [route(2, "new.example", "/"), route(3, "old.example", "/"), route(4, "*.example", "/")];
        let identity = site.identity(1, &["new.example", "old.example", "other.example"]);
        site.put([identity, Value::Route(new_only)].into_iter().chain(rest.map(Value::Route)));
        let old = Arc::new(site.client_with(&[&TLS12], None));
        assert!(site.asked(&old, "new.example", "/").await.is_none());
        assert_eq!(site.asked(&old, "old.example", "/").await.unwrap().0, 200);
        assert_eq!(site.asked(&old, "other.example", "/").await.unwrap().0, 200);
        let mut stream = site.connect(&old, "old.example").await.unwrap();
        assert_eq!(get(&mut stream, "new.example", "/").await.unwrap().0, 421);
        let new = Arc::new(site.client());
        assert_eq!(site.asked(&new, "new.example", "/").await.unwrap().0, 200);
    });
}

#[test]
fn a_name_with_routes_of_its_own_does_not_fall_under_the_wildcards_policy() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let guarded = guarded(1, "*.dev.example", "/", &[&ours], &[]);
        let identity = || site.identity(1, &["*.dev.example"]);
        site.put([
            identity(),
            Value::Route(guarded.clone()),
            Value::Route(route(2, "open.dev.example", "/")),
        ]);
        let client = Arc::new(site.client());
        assert_eq!(site.asked(&client, "open.dev.example", "/").await.unwrap().0, 200);
        assert!(site.asked(&client, "app.dev.example", "/").await.is_none());

        site.put([identity(), Value::Route(guarded)]);
        assert!(site.asked(&client, "open.dev.example", "/").await.is_none(), "it has none any more");
        site.put([identity(), Value::Route(route(1, "*.dev.example", "/"))]);
        assert_eq!(site.asked(&client, "app.dev.example", "/").await.unwrap().0, 200, "nor has anybody");
    });
}

#[test]
fn a_list_that_expires_shuts_its_route_and_is_named_without_a_new_generation() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let inner =
            guarded(2, "app.example", "/ours", &[&ours], &[ours.list(&[], 2090), ours.list_for(&[], 3)]);
        let values = || {
            [
                site.identity(1, &["app.example"]),
                Value::Route(route(1, "app.example", "/")),
                Value::Route(inner.clone()),
            ]
        };
        assert_eq!(site.put(values()), Vec::<String>::new());
        let shared = Arc::clone(&site.worker.shared);
        let watch = tokio::task::spawn_local(crate::start::expiry::watch(Arc::clone(&shared)));
        let client = Arc::new(site.client_with(BOTH, Some(&ours.person(1))));
        let mut stream = site.connect(&client, "app.example").await.unwrap();
        assert_eq!(get(&mut stream, "app.example", "/ours").await.unwrap().0, 200);
        assert!(shared.gauges.faults().is_empty());

        // Watched from the generation's side: the wait ends when it is named, and by the test's own deadline else.
        while shared.gauges.faults().is_empty() {
            tokio::task::yield_now().await;
        }
        let named = shared.gauges.faults();
        assert_eq!(named.len(), 1, "{named:?}");
        assert!(named[0].ends_with("list 1 of revoked client certificates has expired"), "{named:?}");
        assert!(crate::telemetry::page::render(&shared).contains("gatehouse_config_degraded 1"));
        assert!(site.asked(&client, "app.example", "/ours").await.is_none(), "nobody can judge it");
        let nobody = Arc::new(site.client_with(BOTH, None));
        let mut stream = site.connect(&nobody, "app.example").await.unwrap();
        assert_eq!(get(&mut stream, "app.example", "/ours").await.unwrap().0, 403);
        assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, 200);
        // The same generation again, as a delta of something else makes it: named at once, though nothing was read anew.
        let other = Value::Route(route(9, "other.example", "/"));
        assert_eq!(site.put(values().into_iter().chain([other])), *named);
        watch.abort();
    });
}
