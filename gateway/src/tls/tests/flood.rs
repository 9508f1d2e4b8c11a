use std::rc::Rc;
use std::sync::Arc;

use certs::self_signed::Authority;
use config::snapshot::Value;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::now;
use super::site::{Site, get, on_a_worker, route};
use crate::listener::Kind;

fn site() -> Site {
    let site = Site::new();
    site.put([site.identity(1, &["app.example"]), Value::Route(route(1, "app.example", "/"))]);
    site
}

#[test]
fn hellos_that_stop_hold_no_place_and_do_not_starve_who_is_there() {
    on_a_worker(async || {
        let site = site();
        let all = site.worker.handshakes.available_permits();
        let client = Arc::new(site.client());
        let mut there = site.connect(&client, "app.example").await.unwrap();
        let name = ServerName::try_from("app.example").unwrap();
        let mut connection = rustls::ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut hello = Vec::new();
        connection.write_tls(&mut hello).unwrap();

        let mut stopped = Vec::new();
        for at in 0..100 {
            let mut near = site.dial(Kind::Https).await;
            // Some stop inside the hello, some after our answer to it.
            let end = if at % 2 == 0 { hello.len() / 2 } else { hello.len() };
            near.write_all(&hello[..end]).await.unwrap();
            stopped.push(near);
            assert_eq!(get(&mut there, "app.example", "/").await.unwrap().0, 200);
        }
        assert_eq!(site.asked(&client, "app.example", "/").await.unwrap().0, 200, "and who is new");
        drop(stopped);
        while site.worker.handshakes.available_permits() < all {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn many_handshakes_at_once_leave_room_for_traffic_and_free_their_places() {
    on_a_worker(async || {
        let site = Rc::new(site());
        let all = site.worker.handshakes.available_permits();
        let client = Arc::new(site.client());
        let mut there = site.connect(&client, "app.example").await.unwrap();
        let handshakes: Vec<_> = (0..60)
            .map(|_| {
                let (site, client) = (Rc::clone(&site), Arc::clone(&client));
                tokio::task::spawn_local(async move { site.asked(&client, "app.example", "/").await })
            })
            .collect();
        let mut answered = 0;
        while handshakes.iter().any(|one| !one.is_finished()) {
            assert_eq!(get(&mut there, "app.example", "/").await.unwrap().0, 200);
            answered += 1;
        }
        assert!(answered > 1, "traffic waited for the flood's end");
        for one in handshakes {
            assert_eq!(one.await.unwrap().unwrap().0, 200);
        }
        while site.worker.handshakes.available_permits() < all {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_proxy_says_who_asks_before_tls() {
    on_a_worker(async || {
        let authority = Rc::new(Authority::create("Test CA", now()).unwrap());
        let own = |settings: &mut config::settings::Gateway| {
            settings.proxy_protocol = vec!["127.0.0.0/8".parse().unwrap()];
        };
        let site = Site::with(own, authority);
        let mut filtered = route(1, "app.example", "/");
        let allow = Box::new(["192.0.2.0/24".parse().unwrap()]);
        filtered.filters = Some(Box::new(config::snapshot::Filters { allow, ..Default::default() }));
        site.put([site.identity(1, &["app.example"]), Value::Route(filtered)]);
        let connector = TlsConnector::from(Arc::new(site.client()));
        let v2 = |client: [u8; 4]| {
            [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &client, &[10, 0, 0, 1, 18, 103, 1, 187]].concat()
        };
        for (header, status) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n".to_vec(), 200),
            (b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 443\r\n".to_vec(), 403),
            (v2([192, 0, 2, 1]), 200),
            (v2([198, 51, 100, 1]), 403),
        ] {
            let mut near = site.dial(Kind::Https).await;
            near.write_all(&header).await.unwrap();
            let name = ServerName::try_from("app.example").unwrap();
            let mut stream = connector.connect(name, near).await.unwrap();
            assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, status);
        }
        let mut near = site.dial(Kind::Https).await;
        near.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
        assert!(matches!(near.read(&mut [0; 1]).await, Ok(0) | Err(_)), "a hello is no header");
    });
}
