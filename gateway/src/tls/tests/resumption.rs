use std::rc::Rc;
use std::sync::Arc;

use config::snapshot::{Route, TlsPolicy, TlsVersion, Value};
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup};

use super::site::{Company, Site, guarded, on_a_worker, route, ticket_key};
use crate::checkpoint::Checkpoint;
use crate::live::Live;

/// Resumes whatever it has with whomever it meets, as an attacker would.
#[derive(Debug)]
struct Anywhere(ClientSessionMemoryCache);

fn one_name() -> ServerName<'static> {
    ServerName::try_from("any.example").unwrap()
}

impl ClientSessionStore for Anywhere {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(one_name(), group);
    }
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&one_name())
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(one_name(), value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&one_name())
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one_name());
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(one_name(), value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one_name())
    }
}

fn anywhere(mut config: ClientConfig) -> Arc<ClientConfig> {
    let store = Arc::new(Anywhere(ClientSessionMemoryCache::new(32)));
    config.resumption = Resumption::store(store);
    Arc::new(config)
}

async fn kind(site: &Site, client: &Arc<ClientConfig>, sni: &'static str) -> Option<HandshakeKind> {
    site.asked(client, sni, "/").await.map(|(status, kind)| {
        assert_eq!(status, 200);
        kind
    })
}

const RESUMED: Option<HandshakeKind> = Some(HandshakeKind::Resumed);

fn is_full(kind: Option<HandshakeKind>) -> bool {
    matches!(kind, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest))
}

#[test]
fn a_client_resumes_after_a_swap_and_at_another_gateway_with_the_same_keys() {
    on_a_worker(async || {
        let site = Site::new();
        let twin = Site::with(|_| {}, Rc::clone(&site.authority));
        let route = Value::Route(route(1, "app.example", "/"));
        let objects = |id| [site.identity(id, &["app.example"]), route.clone(), ticket_key(1, true)];
        site.put(objects(1));
        twin.put(objects(2));
        for versions in [&[&TLS13][..], &[&TLS12]] {
            let client = Arc::new(site.client_with(versions, None));
            assert!(is_full(kind(&site, &client, "app.example").await));
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED);
            assert_eq!(kind(&twin, &client, "app.example").await, RESUMED, "another gateway");
            site.put(objects(3));
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED, "after a swap of the identity");
        }
    });
}

#[test]
fn two_workers_of_a_process_take_up_the_sessions_of_each_other() {
    on_a_worker(async || {
        let site = Site::new();
        let other = site.sibling();
        let route = Value::Route(route(1, "app.example", "/"));
        site.put([site.identity(1, &["app.example"]), route, ticket_key(1, true)]);
        for versions in [&[&TLS13][..], &[&TLS12]] {
            let client = Arc::new(site.client_with(versions, None));
            assert!(is_full(kind(&site, &client, "app.example").await));
            // To and fro, each by the ticket that the other gave.
            for _ in 0..3 {
                assert_eq!(kind(&other, &client, "app.example").await, RESUMED);
                assert_eq!(kind(&site, &client, "app.example").await, RESUMED);
            }
        }
    });
}

/// One of three runs of a measurement had ended with a full handshake: over a second's end, a new generation and new keys.
#[test]
fn a_chain_of_resumed_handshakes_does_not_break_over_seconds_generations_and_keys() {
    on_a_worker(async || {
        let site = Site::new();
        let put = |keys: &[(u8, bool)]| {
            let keys = keys.iter().map(|(id, seals)| ticket_key(*id, *seals));
            let rest = [site.identity(1, &["app.example"]), Value::Route(route(1, "app.example", "/"))];
            site.put(rest.into_iter().chain(keys));
        };
        put(&[(1, true)]);
        let client = Arc::new(site.client_with(&[&TLS13], None));
        assert!(is_full(kind(&site, &client, "app.example").await));
        let begun = std::time::Instant::now();
        let mut count = 0_u8;
        while begun.elapsed() < std::time::Duration::from_millis(2_200) {
            count = count.wrapping_add(1);
            match count % 50 {
                10 => put(&[(1, true)]),
                20 => put(&[(1, false), (2, true)]),
                40 => put(&[(2, false), (1, true)]),
                _ => {}
            }
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED, "handshake {count}");
        }
        assert!(count > 0);
    });
}

#[test]
fn a_client_resumes_after_a_restart_from_the_checkpoint() {
    on_a_worker(async || {
        let (site, dir) = (Site::new(), tempfile::tempdir().unwrap());
        let route = Value::Route(route(1, "app.example", "/"));
        site.put([site.identity(1, &["app.example"]), route, ticket_key(0x5a, true)]);
        let client = Arc::new(site.client());
        assert!(is_full(kind(&site, &client, "app.example").await));
        let (mut checkpoint, _, _) = Checkpoint::open(dir.path()).unwrap();
        checkpoint.save(&site.worker.shared.current.pin().unwrap().snapshot, None).unwrap();
        drop(checkpoint);

        for file in std::fs::read_dir(dir.path().join("gateway/checkpoint")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&bytes, &[0x5a; 32]).is_none(), "the key stands in it");
        }
        let (_, snapshot, _) = Checkpoint::open(dir.path()).unwrap();
        let again = Site::with(|_| {}, Rc::clone(&site.authority));
        let (live, _) = Live::compile(Arc::new(snapshot.unwrap())).unwrap();
        again.worker.shared.current.replace(Arc::new(live));
        assert_eq!(kind(&again, &client, "app.example").await, RESUMED);
    });
}

#[test]
fn a_key_that_was_swapped_still_opens_and_one_that_was_removed_costs_a_full_handshake() {
    on_a_worker(async || {
        let site = Site::new();
        let put = |keys: &[(u8, bool)]| {
            let keys = keys.iter().map(|(id, seals)| ticket_key(*id, *seals));
            let rest = [site.identity(1, &["app.example"]), Value::Route(route(1, "app.example", "/"))];
            site.put(rest.into_iter().chain(keys));
        };
        for versions in [&[&TLS13][..], &[&TLS12]] {
            put(&[(1, true)]);
            let client = Arc::new(site.client_with(versions, None));
            assert!(is_full(kind(&site, &client, "app.example").await));
            put(&[(1, false), (2, true)]);
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED);
            // Both of the first key's tickets are used up, or replaced: these are the second's.
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED);
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED);
            put(&[(3, true)]);
            assert!(is_full(kind(&site, &client, "app.example").await));
            put(&[]);
            assert!(is_full(kind(&site, &client, "app.example").await));
            assert!(is_full(kind(&site, &client, "app.example").await), "without keys there are no tickets");
        }
    });
}

/// The first bypass of CRATES 2: rustls takes the certificate from the ticket and asks no verifier.
#[test]
fn a_client_whose_certificate_was_revoked_does_not_come_back_by_its_ticket() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let put = |revoked: &[u64]| {
            let route = guarded(1, "app.example", "/", &[&ours], &[ours.list(revoked, 2090)]);
            site.put([site.identity(1, &["app.example"]), Value::Route(route), ticket_key(1, true)]);
        };
        for versions in [&[&TLS13][..], &[&TLS12]] {
            put(&[]);
            let client = Arc::new(site.client_with(versions, Some(&ours.person(7))));
            assert!(is_full(kind(&site, &client, "app.example").await));
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED, "as long as nothing changed");
            put(&[7]);
            assert_eq!(kind(&site, &client, "app.example").await, None);
        }
    });
}

/// The second bypass of CRATES 2: a ticket from where nobody was asked for a certificate.
#[test]
fn a_ticket_from_before_client_certificates_were_asked_for_does_not_open_the_host() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let put = |route: Route| {
            site.put([site.identity(1, &["app.example"]), Value::Route(route), ticket_key(1, true)]);
        };
        for versions in [&[&TLS13][..], &[&TLS12]] {
            put(route(1, "app.example", "/"));
            let client = Arc::new(site.client_with(versions, None));
            assert!(is_full(kind(&site, &client, "app.example").await));
            assert_eq!(kind(&site, &client, "app.example").await, RESUMED);
            put(guarded(1, "app.example", "/", &[&ours], &[]));
            assert_eq!(kind(&site, &client, "app.example").await, None);
            // Open for some paths: a handshake without a certificate is a full one, and the guarded path stays shut.
            let inner = guarded(2, "app.example", "/inner", &[&ours], &[]);
            let open = route(1, "app.example", "/");
            let identity = site.identity(1, &["app.example"]);
            site.put([identity, Value::Route(open), Value::Route(inner), ticket_key(1, true)]);
            assert!(is_full(kind(&site, &client, "app.example").await));
            assert_eq!(
                site.asked(&client, "app.example", "/inner").await,
                Some((403, HandshakeKind::Resumed))
            );
        }
    });
}

#[test]
fn a_ticket_of_one_host_opens_no_other() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let names = ["one.example", "two.example", "guarded.example", "mixed.example"];
        let routes = [
            route(1, names[0], "/"),
            route(2, names[1], "/"),
            guarded(3, names[2], "/", &[&ours], &[]),
            route(4, names[3], "/"),
            guarded(5, names[3], "/inner", &[&ours], &[]),
        ];
        let identity = site.identity(1, &names);
        site.put([identity, ticket_key(1, true)].into_iter().chain(routes.map(Value::Route)));
        for versions in [&[&TLS13][..], &[&TLS12]] {
            let client = anywhere(site.client_with(versions, None));
            assert!(is_full(kind(&site, &client, "one.example").await));
            assert_eq!(kind(&site, &client, "one.example").await, RESUMED);
            // Of the same policy, so of the same keys: rustls compares the name.
            assert!(is_full(kind(&site, &client, "two.example").await));
            assert_eq!(kind(&site, &client, "guarded.example").await, None);
            assert!(is_full(kind(&site, &client, "mixed.example").await));
        }
    });
}

#[test]
fn a_ticket_of_an_old_version_does_not_outlive_the_newer_minimum() {
    on_a_worker(async || {
        let site = Site::new();
        let put = |min_version| {
            let policy = TlsPolicy { min_version, clients: None };
            let route = Route { tls_policy: Some(Box::new(policy)), ..route(1, "app.example", "/") };
            site.put([site.identity(1, &["app.example"]), Value::Route(route), ticket_key(1, true)]);
        };
        put(TlsVersion::Tls12);
        let client = Arc::new(site.client_with(&[&TLS12], None));
        assert!(is_full(kind(&site, &client, "app.example").await));
        assert_eq!(kind(&site, &client, "app.example").await, RESUMED);
        put(TlsVersion::Tls13);
        assert_eq!(kind(&site, &client, "app.example").await, None);
    });
}

#[test]
fn nothing_printed_of_a_generation_holds_a_key() {
    let site = Site::new();
    let secret = [0x5a; 32];
    let values = [site.identity(1, &["app.example"]), ticket_key(0x5a, true)];
    let printed = format!("{values:?}");
    site.put(values);
    let live = site.worker.shared.current.pin().unwrap();
    let acceptor = &site.worker.shared.tls;
    let config = live.tls.usual.configs(acceptor).unwrap();
    let printed = format!("{printed} {:?} {:?} {config:?} {:?}", live.tls, live.snapshot, live.certs);
    assert!(!printed.contains(&format!("{secret:?}")[1..40]), "{printed}");
    assert!(!printed.contains("90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90, 90,"));
}
