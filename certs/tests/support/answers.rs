//! What the authority finds when it looks: a server for HTTP-01 and one for TLS-ALPN-01, as the gateways will be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use certs::acme::order::{Answer, ChallengeTask};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers by token and by server name.
#[derive(Clone, Default, Debug)]
pub(crate) struct Answers {
    files: Arc<Mutex<HashMap<String, String>>>,
    certificates: Arc<Mutex<HashMap<String, Arc<CertifiedKey>>>>,
}

impl Answers {
    pub(crate) async fn serve(http_port: u16, tls_port: u16) -> Self {
        let answers = Self::default();
        let listener = TcpListener::bind(("127.0.0.1", http_port)).await.unwrap();
        tokio::spawn(answers.clone().serve_http(listener));
        let listener = TcpListener::bind(("127.0.0.1", tls_port)).await.unwrap();
        tokio::spawn(answers.clone().serve_tls(listener));
        answers
    }

    pub(crate) fn publish(&self, tasks: &[ChallengeTask]) {
        for task in tasks {
            match &task.answer {
                Answer::Http01 { token, key_authorization } => {
                    self.files.lock().unwrap().insert(token.clone(), key_authorization.clone());
                }
                Answer::TlsAlpn01 { certificate, key } => {
                    let chain = vec![CertificateDer::from(certificate.clone())];
                    let key = PrivateKeyDer::Pkcs8(key.expose().clone().into());
                    // `CertifiedKey::from_der` refuses the critical extension.
                    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
                    let certified = Arc::new(CertifiedKey::new(chain, key));
                    self.certificates.lock().unwrap().insert(task.host.to_string(), certified);
                }
                Answer::Dns01 { .. } => panic!("not for these servers"),
            }
        }
    }

    /// Replaces what is answered for one token.
    pub(crate) fn spoil(&self, token: &str) {
        self.files.lock().unwrap().insert(token.to_owned(), "somebody else's".to_owned());
    }

    async fn serve_http(self, listener: TcpListener) {
        while let Ok((mut stream, _)) = listener.accept().await {
            let files = Arc::clone(&self.files);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap_or_default());
                    if head.len() > 8192 {
                        return;
                    }
                }
                let head = String::from_utf8_lossy(&head);
                let path = head.split(' ').nth(1).unwrap_or_default();
                let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
                let body = files.lock().unwrap().get(token).cloned();
                let (status, body) = body.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    }

    async fn serve_tls(self, listener: TcpListener) {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self));
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.shutdown().await;
                }
            });
        }
    }
}

impl ResolvesServerCert for Answers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.lock().unwrap().get(hello.server_name()?).cloned()
    }
}
