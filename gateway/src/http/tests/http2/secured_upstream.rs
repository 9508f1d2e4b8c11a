//! Endpoints of HTTP/2 behind TLS: what is agreed on, and who has to prove what.

use std::sync::Arc;

use config::name::HostName;
use config::snapshot::{Action, Protocol, Route, UpstreamPolicy, UpstreamTls, Verify};
use http::Response;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

use super::super::stage::{GET, Stage, on_a_worker, status, within};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Issuer::new(params, key), der }
    }

    /// An endpoint's side for this name, which offers these protocols.
    fn acceptor(&self, name: &str, protocols: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn route(stage: &Stage, trusts: &Authority) -> Route {
    let mut route = stage.route("app.example", "/");
    if let Action::Forward(upstream) = &mut route.action {
        let tls = UpstreamTls {
            verify: Verify::Authorities([trusts.der.clone()].into()),
            server_name: Some(HostName::parse("origin.example").unwrap()),
            client: None,
        };
        let policy =
            UpstreamPolicy { protocol: Protocol::Http2, tls: Some(tls), ..UpstreamPolicy::default() };
        upstream.policy = Some(Box::new(policy));
    }
    route
}

#[test]
fn an_endpoint_that_proves_its_name_and_agrees_to_h2_is_spoken_to() {
    on_a_worker(async |stage| {
        let authority = Authority::new();
        stage.routes([route(&stage, &authority)]);
        let acceptor = authority.acceptor("origin.example", &["http/1.1", "h2"]);
        let mut client = stage.connect().await;
        client.send(GET).await;
        let io = within(acceptor.accept(stage.accept().await.io)).await.unwrap();
        assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(io.get_ref().1.server_name(), Some("origin.example"));
        tokio::task::spawn_local(async move {
            let mut connection = h2::server::handshake(io).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let text = format!("{:?} {}", request.version(), request.uri());
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(text.into(), true).unwrap();
            }
        });
        let answer = client.until("\r\n0\r\n\r\n").await;
        assert_eq!(status(&answer), 200);
        assert!(answer.contains("HTTP/2.0 https://app.example/"), "{answer}");
    });
}

#[test]
fn an_endpoint_that_proves_another_name_or_by_another_authority_or_speaks_no_h2_is_502() {
    on_a_worker(async |stage| {
        let authority = Authority::new();
        stage.routes([route(&stage, &authority)]);
        for (what, acceptor) in [
            ("another name", authority.acceptor("other.example", &["h2"])),
            ("another authority", Authority::new().acceptor("origin.example", &["h2"])),
            ("HTTP/1.1 alone", authority.acceptor("origin.example", &["http/1.1"])),
            ("no protocol", authority.acceptor("origin.example", &[])),
        ] {
            let mut client = stage.connect().await;
            client.send(GET).await;
            let io = stage.accept().await.io;
            let shaken = tokio::task::spawn_local(async move { acceptor.accept(io).await.is_ok() });
            let (head, body) = client.message().await;
            assert_eq!(status(&head), 502, "{what}");
            assert!(!body.contains("127.0.0.1") && !body.contains("origin.example"), "{what}: {body}");
            let _ = within(shaken).await;
        }
    });
}
