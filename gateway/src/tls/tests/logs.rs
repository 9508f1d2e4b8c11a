//! What is logged of handshakes when everything is: nothing that opens a connection or signs for a host.

use std::io;
use std::sync::{Arc, Mutex};

use config::snapshot::Value;
use data_encoding::{BASE64, HEXLOWER};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, KeyLog};
use tracing_subscriber::fmt::MakeWriter;

use super::site::{Company, Site, guarded, on_a_worker, route, ticket_key};

/// Every line that this thread logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The secrets of a client's handshakes, which are the server's, too.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, _label: &str, _client_random: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push(secret.to_vec());
    }
}

/// A part of it that is long enough to be no accident, in each way that something prints bytes.
fn prints(secret: &[u8]) -> Vec<String> {
    let middle = &secret[secret.len() / 2 - 6..secret.len() / 2 + 6];
    let decimal = format!("{middle:?}");
    // Base64 depends on where it begins.
    let base64 = (0..3).map(|at| BASE64.encode(&middle[at..at + 9]));
    let hex = HEXLOWER.encode(middle);
    let spaced = middle.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let named = middle.iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(", ");
    let decimal = decimal.trim_matches(['[', ']']).to_owned();
    base64.chain([hex.clone(), hex.to_uppercase(), spaced, named, decimal]).collect()
}

#[test]
fn everything_that_is_logged_of_handshakes_holds_no_secret() {
    let lines = Lines::default();
    // The bridge is the process's and does not hurt other tests: without a subscriber of theirs it says nothing.
    let _ = tracing_log::LogTracer::init();
    tracing_log::log::set_max_level(tracing_log::log::LevelFilter::Trace);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(lines.clone())
        .with_ansi(false)
        .finish();
    let _capture = tracing::subscriber::set_default(subscriber);
    // With one subscriber alone, a place that another thread comes by first, where it is not set, is off for good.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let mut secrets = vec![vec![0x5a; 32]];
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let identity = site.identity(1, &["app.example", "ours.example"]);
        let Value::Identity(parts) = &identity else { panic!("an identity") };
        secrets.push(parts.key.expose().clone());
        let routes = [route(1, "app.example", "/"), guarded(2, "ours.example", "/", &[&ours], &[])];
        let log = Arc::new(Secrets::default());
        site.put([identity, ticket_key(0x5a, true)].into_iter().chain(routes.map(Value::Route)));
        for versions in [&[&TLS13][..], &[&TLS12]] {
            let mut client = site.client_with(versions, Some(&ours.person(1)));
            client.key_log = Arc::clone(&log) as _;
            let client = Arc::new(client);
            for host in ["app.example", "ours.example"] {
                assert_eq!(site.asked(&client, host, "/").await.unwrap().0, 200);
                let again = site.asked(&client, host, "/").await.unwrap();
                assert_eq!(again, (200, HandshakeKind::Resumed));
            }
            // One that fails says why.
            let nobody = Arc::new(site.client_with(versions, None));
            assert!(site.asked(&nobody, "ours.example", "/").await.is_none());
        }
        secrets.extend(log.0.lock().unwrap().drain(..));
    });

    let said = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    // It listened: the library's own words, on its lowest level, and ours.
    assert!(
        said.contains("TRACE rustls::") || said.contains("TRACE log: "),
        "{}",
        &said[..said.len().min(2_000)]
    );
    assert!(said.contains("no handshake"), "ours");
    assert!(secrets.len() > 20, "{} secrets", secrets.len());
    for (number, secret) in secrets.iter().enumerate() {
        for print in prints(secret) {
            assert!(!said.contains(&print), "secret {number} was logged as {print}");
        }
    }
}
