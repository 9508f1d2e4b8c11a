//! Cases about changes: what is committed is what is in force, here and at another control.

use std::sync::Arc;

use config::secret::Secret;
use control::app::input::Members;
use control::app::page::Asked;
use control::app::{
    Addresses, App, Caller, Clock, Error, Keys, Parts, SystemClock, console, forward, route, user, vm,
};
use control::authority::Internal;
use control::keys::RootKeys;
use control::store::forward::Filter;

use crate::engines::Place;

pub(crate) async fn start(place: &Place) -> Arc<App> {
    let db = place.open().await;
    let given = Secret::new("a secret of thirty-two characters or more".to_owned());
    let keys: Arc<dyn Keys> = Arc::new(RootKeys::open(place.directory.path(), Some(&given)).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let authority = Arc::new(Internal::open(&db, keys.as_ref(), Arc::clone(&clock)).await.unwrap());
    let forward_ports = Vec::new();
    let app = App::start(Parts { db, keys, authority, clock, forward_ports }).await.unwrap();
    let admin = vec!["127.0.0.1:1880".parse().unwrap()];
    let addresses = Addresses { admin, ..Addresses::default() };
    app.set_addresses(addresses).await.unwrap();
    Arc::new(app)
}

fn body(text: &str) -> Members {
    Members::parse(text.as_bytes()).unwrap()
}

async fn populate(app: &App) {
    let caller = Caller::ourselves("test");
    vm::create(app, &caller, body(r#"{"name": "web01", "address": "10.0.0.5"}"#)).await.unwrap();
    user::create(app, &caller, body(r#"{"name": "usr1", "grant": "operator:default"}"#)).await.unwrap();
    let text =
        r#"{"host": "a.example.com", "targets": ["vm:web01:81", "http://10.1.1.1"], "tls": "self-signed"}"#;
    route::create(app, &caller, body(text)).await.unwrap();
    route::create(app, &caller, body(r#"{"host": "c.example.com", "target": "control"}"#)).await.unwrap();
    for text in [
        r#"{"host": "o.example.com", "targets": [{"url": "https://10.1.1.1", "weight": 7, "draining": true}],
            "match": {"methods": ["GET"], "priority": -3}, "timeouts": {"whole": "1s"},
            "filters": {"gzip": true, "basic_auth": {"users": [{"name": "ada", "password": "secret"}]}},
            "upstream": {"sticky": {"cookie": {}}, "check": {"tcp": true}, "tls": {"verify": "off"}}}"#,
        r#"{"host": "o.example.com", "match": {"methods": ["PUT"]}, "redirect": {"to": "/gr%C3%BC%C3%9Fe"}}"#,
        r#"{"host": "o.example.com", "respond": {"body": "Gr\u00fc\u00dfe 'quoted'; $1"}}"#,
    ] {
        route::create(app, &caller, body(text)).await.unwrap();
    }
    for text in [
        r#"{"vm": "web01", "kind": "vnc", "secret": "Gr\u00fc\u00dfe", "read_only": true, "on_delete": "keep"}"#,
        r#"{"vm": "web01", "kind": "ttyd", "address": "127.0.0.1", "path": "/t?x='1'", "on_change": "drain 5s"}"#,
    ] {
        console::create(app, &caller, body(text)).await.unwrap();
    }
    for text in [
        r#"{"protocol": "tcp", "vm": "web01", "vm_port": 22, "note": "Gr\u00fc\u00dfe, \"quoted\""}"#,
        r#"{"protocol": "udp", "host_ports": "5353-5360", "bind": "::", "vm_ip": "10.0.0.6", "vm_port": 53,
            "sources": ["10.0.0.0/8", "2001:db8::/32"], "max_conns": 9, "rate": 4294967295, "idle_timeout": "5s"}"#,
        r#"{"protocol": "tcp", "host_port": 10023, "vm_ip": "127.0.0.1", "vm_port": 1, "proxy_protocol": "v2"}"#,
    ] {
        forward::create(app, &caller, body(text)).await.unwrap();
    }
    let disabled =
        r#"{"protocol": "tcp", "host_port": 10024, "vm": "web01", "vm_port": 22, "enabled": false}"#;
    forward::create(app, &caller, body(disabled)).await.unwrap();
    for port in ["10023", "20000"] {
        let text =
            format!(r#"{{"protocol": "tcp", "host_port": {port}, "vm_ip": "10.0.0.5", "vm_port": 22}}"#);
        assert!(matches!(forward::create(app, &caller, body(&text)).await, Err(Error::Conflict { .. })));
    }
    let same = r#"{"host": "o.example.com", "match": {"methods": ["PUT"]}, "target": "http://10.1.1.1"}"#;
    assert!(matches!(route::create(app, &caller, body(same)).await, Err(Error::Conflict { .. })));
}

pub(crate) async fn a_restart_builds_the_same_snapshot(place: &Place) {
    let app = start(place).await;
    populate(&app).await;
    let before = app.desired.current();
    app.db.close().await;

    let after = start(place).await.desired.current();

    assert_eq!(*before.snapshot, *after.snapshot);
    assert_eq!(after.table.routes_len(), 5);
}

pub(crate) async fn two_controls_on_one_database_follow_each_other(place: &Place) {
    let (one, two) = (start(place).await, start(place).await);
    populate(&one).await;

    two.follow().await.unwrap();

    assert_eq!(*one.desired.current().snapshot, *two.desired.current().snapshot);
    // A change made before the other's was seen takes it in on its way.
    let caller = Caller::ourselves("test");
    vm::create(&one, &caller, body(r#"{"name": "web02", "address": "10.0.0.6"}"#)).await.unwrap();
    vm::create(&two, &caller, body(r#"{"name": "web03", "address": "10.0.0.7"}"#)).await.unwrap();
    one.follow().await.unwrap();
    let (at_one, at_two) = (one.desired.current(), two.desired.current());
    assert_eq!(*at_one.snapshot, *at_two.snapshot);
    // Nothing new is no new generation: two followers must not chase each other.
    two.follow().await.unwrap();
    one.follow().await.unwrap();
    assert_eq!(one.desired.current().snapshot.generation(), at_one.snapshot.generation());
}

pub(crate) async fn concurrent_changes_are_all_in_force_in_order(place: &Place) {
    let app = start(place).await;
    let before = app.desired.current().snapshot.generation();
    let writers = (0..8).map(|writer| {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            for number in 0..8 {
                let text =
                    format!(r#"{{"host": "h{number}.w{writer}.example.com", "target": "http://10.0.0.5"}}"#);
                route::create(&app, &Caller::ourselves("test"), body(&text)).await.unwrap();
                // Everyone wants this one, and one gets it.
                let text = format!(r#"{{"host": "same{number}.example.com", "target": "http://10.0.0.5"}}"#);
                drop(route::create(&app, &Caller::ourselves("test"), body(&text)).await);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let now = app.desired.current();
    assert_eq!(now.table.routes_len(), 64 + 8);
    assert_eq!(now.snapshot.generation().0, before.0 + 64 + 8, "a refused change takes no generation");
    app.db.close().await;
    assert_eq!(*start(place).await.desired.current().snapshot, *now.snapshot);
}

pub(crate) async fn forwards_that_want_the_same_port_at_once_get_it_once(place: &Place) {
    let app = start(place).await;
    let makers = (0..8).map(|_| {
        let app = Arc::clone(&app);
        tokio::spawn(async move {
            let caller = Caller::ourselves("test");
            let automatic = r#"{"protocol": "tcp", "vm_ip": "10.0.0.5", "vm_port": 22}"#;
            let wanted =
                r#"{"protocol": "tcp", "host_ports": "10000-10003", "vm_ip": "10.0.0.5", "vm_port": 22}"#;
            let made = forward::create(&app, &caller, body(automatic)).await.unwrap();
            (made.host_port, forward::create(&app, &caller, body(wanted)).await.is_ok())
        })
    });
    let (mut ports, mut winners) = (Vec::new(), 0);
    for maker in makers.collect::<Vec<_>>() {
        let (port, has_won) = maker.await.unwrap();
        ports.push(port);
        winners += i32::from(has_won);
    }
    ports.sort_unstable();
    assert_eq!(ports, (20_000..20_008).collect::<Vec<u16>>());
    assert_eq!(winners, 1);
    let caller = Caller::ourselves("test");
    let asked = Asked::default();
    let list = |filter| forward::list(&app, &caller, filter, &asked);
    let by_port = Filter { protocol: Some("tcp".into()), host_port: Some(10_002), ..Filter::default() };
    assert_eq!(list(&by_port).await.unwrap().items.len(), 1);
    let disabled = Filter { enabled: Some(false), ..Filter::default() };
    assert_eq!(list(&disabled).await.unwrap().items.len(), 0);
}
