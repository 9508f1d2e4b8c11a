use std::sync::Arc;

use config::id::ChallengeId;
use config::name::HostName;
use config::secret::Secret;
use config::snapshot::{Challenge, ChallengeAnswer, Route, Value};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use tokio::io::AsyncReadExt as _;

use super::leaf;
use super::site::{Company, Site, get, guarded, on_a_worker, route};
use crate::listener::Kind;

fn by_http(id: u8, host: &str, token: &str, answer: &str) -> Value {
    Value::Challenge(Challenge {
        id: ChallengeId::from_bytes([id; 16]),
        host: HostName::parse(host).unwrap(),
        answer: ChallengeAnswer::Http { token: token.into(), key_authorization: answer.into() },
    })
}

fn by_tls(id: u8, host: &str) -> (Value, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    let challenge = Challenge {
        id: ChallengeId::from_bytes([id; 16]),
        host: HostName::parse(host).unwrap(),
        answer: ChallengeAnswer::TlsAlpn {
            certificate: certificate.clone(),
            key: Secret::new(key.serialize_der()),
        },
    };
    (Value::Challenge(challenge), certificate)
}

#[test]
fn an_authority_is_answered_before_anything_else_and_for_its_host_and_token_alone() {
    on_a_worker(async || {
        let (site, ours) = (Site::new(), Company::new("Ours"));
        let guarded = Route { redirect_https: true, ..guarded(1, "app.example", "/", &[&ours], &[]) };
        let open = route(2, "open.example", "/");
        site.put([
            site.identity(1, &["open.example"]),
            Value::Route(guarded),
            Value::Route(open),
            by_http(1, "app.example", "tok-1", "tok-1.print"),
            by_http(2, "open.example", "tok-2", "tok-2.print"),
            by_http(3, "nowhere.example", "tok-3", "tok-3.print"),
        ]);
        let mut plain = site.dial(Kind::Http).await;
        for (host, token) in
            [("app.example", "tok-1"), ("open.example", "tok-2"), ("nowhere.example", "tok-3")]
        {
            let path = format!("/.well-known/acme-challenge/{token}");
            let (status, answer) = get(&mut plain, host, &path).await.unwrap();
            assert!(status == 200 && answer.ends_with(&format!("\r\n\r\n{token}.print")), "{answer}");
            assert!(answer.contains("Content-Type: application/octet-stream\r\n"), "{answer}");
        }
        for (host, path, status) in [
            ("app.example", "/.well-known/acme-challenge/tok-2", 403),
            ("nowhere.example", "/.well-known/acme-challenge/tok-1", 404),
            ("app.example", "/.well-known/acme-challenge/", 403),
            ("app.example", "/.well-known/acme-challenge/../acme-challenge/tok-1", 301),
        ] {
            let (got, answer) = get(&mut plain, host, path).await.unwrap();
            assert!(got == status && !answer.contains("print"), "{host}{path}: {answer}");
        }
        let mut secured = site.connect(&Arc::new(site.client()), "open.example").await.unwrap();
        let path = "/.well-known/acme-challenge/tok-2";
        assert!(get(&mut secured, "open.example", path).await.unwrap().1.ends_with("tok-2.print"));
    });
}

/// Takes any certificate, as an authority does that reads it itself.
#[derive(Debug)]
struct Any;

impl rustls::client::danger::ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256, rustls::SignatureScheme::ED25519]
    }
}

#[test]
fn a_handshake_of_acme_tls_1_alone_is_shown_the_challenge_and_ended() {
    on_a_worker(async || {
        let site = Site::new();
        let (challenge, certificate) = by_tls(1, "app.example");
        let route = Value::Route(route(1, "app.example", "/"));
        site.put([site.identity(1, &["app.example"]), route.clone(), challenge]);
        let authority = |offer: &[&str]| {
            let mut client = site.client();
            client.dangerous().set_certificate_verifier(Arc::new(Any));
            client.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
            Arc::new(client)
        };
        let mut looking = site.connect(&authority(&["acme-tls/1"]), "app.example").await.unwrap();
        assert_eq!(looking.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        assert_eq!(leaf(&looking).as_ref(), certificate);
        assert_eq!(looking.read(&mut [0; 1]).await.unwrap(), 0, "an orderly end");

        let other = site.connect(&authority(&["acme-tls/1", "http/1.1"]), "app.example").await.unwrap();
        assert_ne!(leaf(&other).as_ref(), certificate, "who offers more is no authority");
        let refused = site.connect(&authority(&["acme-tls/1"]), "other.example").await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
        assert_eq!(site.asked(&Arc::new(site.client()), "app.example", "/").await.unwrap().0, 200);
        site.put([site.identity(1, &["app.example"]), route]);
        assert!(site.connect(&authority(&["acme-tls/1"]), "app.example").await.is_err(), "it is over");
    });
}

#[test]
fn a_challenge_whose_key_cannot_be_read_is_named_without_it() {
    let site = Site::new();
    let key = b"no key of anybody";
    let challenge = Challenge {
        id: ChallengeId::from_bytes([9; 16]),
        host: HostName::parse("app.example").unwrap(),
        answer: ChallengeAnswer::TlsAlpn { certificate: vec![1, 2, 3], key: Secret::new(key.to_vec()) },
    };
    let degraded = site.put([Value::Challenge(challenge)]);
    assert!(degraded[0].contains("(app.example) cannot be answered"), "{degraded:?}");
    assert!(!degraded[0].contains("anybody"), "{degraded:?}");
}
