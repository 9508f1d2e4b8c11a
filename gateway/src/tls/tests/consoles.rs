//! A port of consoles: in the clear where there is no identity, over TLS where there is one.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use super::site::{Site, get, on_a_worker, route};
use crate::console::pages::version;
use crate::listener::Kind;

#[test]
fn a_port_of_consoles_speaks_tls_and_sends_who_comes_in_the_clear_to_it() {
    on_a_worker(async || {
        let site = Site::new();
        site.put([
            site.identity(1, &["gate.example"]),
            config::snapshot::Value::Route(route(1, "a.example", "/")),
        ]);
        let file = format!("/assets/{}/novnc/page.js", version());
        for kind in [Kind::Novnc, Kind::Ttyd] {
            let near = site.dial(kind).await;
            let name = ServerName::try_from("gate.example").unwrap();
            let mut secured = TlsConnector::from(Arc::new(site.client())).connect(name, near).await.unwrap();
            assert_eq!(get(&mut secured, "gate.example", &file).await.unwrap().0, 200);
            assert_eq!(get(&mut secured, "gate.example", "/").await.unwrap().0, 401);

            let mut plain = site.dial(kind).await;
            let (status, answer) = get(&mut plain, "gate.example:6080", "/?token=abc").await.unwrap();
            assert_eq!(status, 301);
            assert!(answer.contains("\r\nLocation: https://gate.example:6080/?token=abc\r\n"), "{answer}");
            let (status, answer) = get(&mut plain, "gate.example", "/websockify?token=abc").await.unwrap();
            assert!(status == 403 && answer.contains("over https only"), "{answer}");

            let mut plain = site.dial(kind).await;
            assert_eq!(
                get(&mut plain, "127.0.0.1", "/").await.unwrap().0,
                401,
                "no identity, no TLS to go to"
            );
        }
    });
}

#[test]
fn who_says_nothing_and_who_says_half_a_handshake_is_left_alone_on_a_port_of_consoles() {
    on_a_worker(async || {
        let site = Site::new();
        site.put([site.identity(1, &["gate.example"])]);
        let _silent = site.dial(Kind::Novnc).await;
        let mut half = site.dial(Kind::Novnc).await;
        half.write_all(&[22, 3, 1]).await.unwrap();
        let mut plain = site.dial(Kind::Novnc).await;
        assert_eq!(get(&mut plain, "127.0.0.1", "/").await.unwrap().0, 401);
    });
}
