use std::rc::Rc;
use std::sync::Arc;

use certs::self_signed::Authority;
use config::settings::UnknownSni;
use config::snapshot::Value;
use rustls::NamedGroup;

use super::now;
use super::site::{BOTH, Site, get, on_a_worker, route};

#[test]
fn an_unknown_name_is_refused_by_its_alert_where_the_settings_say_so() {
    on_a_worker(async || {
        let authority = Rc::new(Authority::create("Test CA", now()).unwrap());
        let site = Site::with(|settings| settings.unknown_sni = UnknownSni::Refuse, authority);
        site.put([
            site.identity(1, &["app.example", "*.dev.example"]),
            site.identity(2, &["*", "default.test"]),
            Value::Route(route(1, "app.example", "/")),
        ]);
        let client = Arc::new(site.client());
        assert_eq!(site.asked(&client, "app.example", "/").await.unwrap().0, 200);
        assert_eq!(site.asked(&client, "one.dev.example", "/").await.unwrap().0, 404);
        let refused = site.connect(&client, "other.example").await.unwrap_err().to_string();
        assert!(refused.contains("UnrecognisedName"), "{refused}");
        let mut nameless = site.client_with(BOTH, None);
        nameless.enable_sni = false;
        let refused = site.connect(&Arc::new(nameless), "app.example").await.unwrap_err().to_string();
        assert!(refused.contains("UnrecognisedName"), "{refused}");
    });
}

#[test]
fn the_hybrid_key_exchange_is_agreed_on_with_clients_that_know_it() {
    on_a_worker(async || {
        let site = Site::new();
        site.put([site.identity(1, &["app.example"]), Value::Route(route(1, "app.example", "/"))]);
        let mut stream = site.connect(&Arc::new(site.client()), "app.example").await.unwrap();
        let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
        assert_eq!(get(&mut stream, "app.example", "/").await.unwrap().0, 200);
    });
}
