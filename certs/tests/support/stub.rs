//! An authority that answers what the test wants: for what pebble 2.4 cannot (renewal information, profiles) or will
//! not do (fail, hang, limit).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use certs::acme::Directory;
use certs::self_signed::{Authority, SubjectName};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What is answered at one path: status, fields, body. Without one the stub hangs.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: String,
    pub(crate) hangs: bool,
}

pub(crate) fn reply(status: u16, fields: &[(&'static str, &str)], body: &Value) -> Reply {
    let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Reply { status, fields, body: body.to_string(), hangs: false }
}

#[derive(Clone, Debug)]
pub(crate) struct Stub {
    pub(crate) base: String,
    root_pem: String,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    /// Path and decoded payload of every request.
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Stub {
    /// Starts one with a directory, nonces and accounts; everything else is 404.
    pub(crate) async fn start() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let authority = Authority::create("stub", now).unwrap();
        let localhost: IpAddr = "127.0.0.1".parse().unwrap();
        let leaf = authority.issue_server(&[SubjectName::Address(localhost)], now, 30).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                leaf.chain.into_iter().map(CertificateDer::from).collect(),
                PrivateKeyDer::Pkcs8(leaf.key.expose().clone().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://{}", listener.local_addr().unwrap());
        let stub = Self {
            root_pem: authority.certificate_pem(),
            replies: Arc::default(),
            seen: Arc::default(),
            base: base.clone(),
        };
        stub.on("/dir", reply(200, &[], &json!({
            "newNonce": format!("{base}/nonce"),
            "newAccount": format!("{base}/account"),
            "newOrder": format!("{base}/order"),
            "revokeCert": format!("{base}/revoke"),
            "keyChange": format!("{base}/key"),
            "renewalInfo": format!("{base}/ari"),
            "meta": { "profiles": { "classic": "90 days", "shortlived": "6 days" }, "caaIdentities": ["Stub.Example"] },
        })));
        stub.on("/nonce", reply(200, &[], &Value::Null));
        stub.on(
            "/account",
            reply(201, &[("Location", &format!("{base}/account/1"))], &json!({ "status": "valid" })),
        );
        tokio::spawn(stub.clone().serve(listener, TlsAcceptor::from(Arc::new(config))));
        stub
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::open(&format!("{}/dir", self.base), Some(&self.root_pem)).unwrap()
    }

    pub(crate) fn on(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub(crate) fn payloads(&self, path: &str) -> Vec<Value> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|(at, _)| at == path)
            .map(|(_, payload)| payload.clone())
            .collect()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    async fn serve(self, listener: TcpListener, tls: TlsAcceptor) {
        while let Ok((stream, _)) = listener.accept().await {
            let (stub, tls) = (self.clone(), tls.clone());
            tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    let _ = stub.answer(stream).await;
                }
            });
        }
    }

    async fn answer(
        &self,
        stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    ) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        self.seen.lock().unwrap().push((path.clone(), payload(&body)));
        let found = self.replies.lock().unwrap().get(&path).cloned();
        let found = found.unwrap_or_else(|| reply(404, &[], &json!({ "detail": "no such thing" })));
        if found.hangs {
            std::future::pending::<()>().await;
        }
        let mut head =
            format!("HTTP/1.1 {} X\r\nReplay-Nonce: bm9uY2U\r\nConnection: close\r\n", found.status);
        for (name, value) in &found.fields {
            head += &format!("{name}: {value}\r\n");
        }
        let is_head = path == "/nonce";
        let text = if is_head { "" } else { &found.body };
        head += &format!("Content-Length: {}\r\n\r\n{text}", text.len());
        stream.write_all(head.as_bytes()).await?;
        stream.shutdown().await
    }
}

fn payload(body: &[u8]) -> Value {
    use base64::Engine as _;
    let Ok(signed) = serde_json::from_slice::<Value>(body) else { return Value::Null };
    let payload = signed["payload"].as_str().unwrap_or_default();
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
    serde_json::from_slice(&payload).unwrap_or(Value::Null)
}
