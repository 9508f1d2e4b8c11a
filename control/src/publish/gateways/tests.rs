use std::net::SocketAddr;
use std::path::Path;

use certs::self_signed::Request;
use config::name::GatewayName;
use config::secret::Secret;
use config::settings::{self, Database, Level, Log, LogFormat, Mode, Retention, Rotation};
use config::sync::message::{CONTROL_SERVER_NAME, Enrol, Renew};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::TlsConnector;

use super::*;
use crate::start::{Control, Running};

async fn control(data: &Path) -> Running {
    let log = Log {
        level: Level::Info,
        file: None,
        rotation: Rotation::Off,
        retention: Retention::Files(1),
        format: LogFormat::Text,
    };
    let any: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap()];
    let database = Database::Sqlite(data.join("database.db"));
    let settings = settings::Control {
        data: data.to_path_buf(),
        admin: any.clone(),
        admin_tls: Vec::new(),
        sync: any,
        database,
        secret_key: None,
        forward_ports: Vec::new(),
        log,
        mode: Mode::Development,
    };
    Control::start(settings).await.unwrap()
}

/// A gateway's identity: chain and key.
type Identity = (Vec<Vec<u8>>, Secret<Vec<u8>>);

async fn dial(running: &Running, identity: Option<&Identity>) -> tokio_rustls::client::TlsStream<TcpStream> {
    let pem = running.app().authority.certificate_pem();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = chain.iter().cloned().map(CertificateDer::from).collect();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().clone()));
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let tcp = TcpStream::connect(running.sync[0]).await.unwrap();
    let name = ServerName::try_from(CONTROL_SERVER_NAME).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

fn enrol(token: &str) -> (Message, Secret<Vec<u8>>) {
    let request = Request::create("gate-1").unwrap();
    let name = GatewayName::parse("gate-1").unwrap();
    (Message::Enrol(Enrol { token: Secret::new(token.to_owned()), name, csr: request.csr_der }), request.key)
}

async fn ask(running: &Running, message: &Message) -> Option<Message> {
    let mut stream = dial(running, None).await;
    frame::write(&mut stream, message).await.unwrap();
    frame::read(&mut stream, limits::MESSAGE_BYTES_MAX).await.unwrap()
}

#[tokio::test]
async fn a_stranger_may_enrol_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let running = control(dir.path()).await;
    let answer = ask(&running, &Message::Ping(1)).await;
    assert!(matches!(&answer, Some(Message::Refused(why)) if why.contains("join token")), "{answer:?}");
    running.shutdown().await;
}

#[tokio::test]
async fn a_token_that_was_never_made_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = control(dir.path()).await;
    let answer = ask(&running, &enrol("guessed").0).await;
    assert!(matches!(answer, Some(Message::Refused(_))), "{answer:?}");
    running.shutdown().await;
}

#[tokio::test]
async fn a_large_message_of_a_stranger_ends_the_stream_unread() {
    let dir = tempfile::tempdir().unwrap();
    let running = control(dir.path()).await;
    let mut stream = dial(&running, None).await;
    let length = u32::try_from(limits::MESSAGE_BYTES_UNAUTHENTICATED_MAX + 1).unwrap();
    tokio::io::AsyncWriteExt::write_u32(&mut stream, length).await.unwrap();
    assert!(!matches!(frame::read(&mut stream, 1024).await, Ok(Some(_))));
    running.shutdown().await;
}

#[tokio::test]
async fn a_certificate_of_nobody_we_know_is_told_to_join_again() {
    let dir = tempfile::tempdir().unwrap();
    let running = control(dir.path()).await;
    let request = Request::create("gate-1").unwrap();
    // Signed by the same authority, and in no row.
    let sealed = crate::store::internal_key::get(&running.app().db, "authority").await.unwrap().unwrap();
    let bytes = running.app().keys.unseal("authority", &sealed).unwrap();
    let authority = Internal::from_bytes(&bytes, Arc::new(app::SystemClock)).unwrap();
    let (chain, _) =
        authority.sign_gateway(&request.csr_der, config::id::GatewayId::from_bytes([9; 16])).unwrap();
    let mut stream = dial(&running, Some(&(chain, request.key))).await;
    assert_eq!(frame::read(&mut stream, 4096).await.unwrap(), Some(Message::Withdrawn));
    let answer = frame::read(&mut stream, 4096).await.unwrap();
    assert!(matches!(&answer, Some(Message::Refused(why)) if why.contains("withdrawn")), "{answer:?}");
    running.shutdown().await;
}

#[tokio::test]
async fn a_gateway_joins_once_follows_and_is_dismissed_when_it_is_withdrawn() {
    let dir = tempfile::tempdir().unwrap();
    let running = control(dir.path()).await;
    let app = Arc::clone(running.app());
    let name = GatewayName::parse("gate-1").unwrap();
    let word = app::join_token::local(&app, &name).await.unwrap();
    let token = config::sync::join::JoinToken::parse(word.expose()).unwrap();
    assert_eq!(token.addresses, [running.sync[0].to_string()]);
    let (message, key) = enrol(token.secret.expose());

    let Some(Message::Enrolled(enrolled)) = ask(&running, &message).await else { panic!("not let in") };
    let Some(Message::Enrolled(again)) = ask(&running, &message).await else { panic!("not answered again") };
    assert_eq!(again.gateway, enrolled.gateway);
    let again = ask(&running, &enrol(token.secret.expose()).0).await;
    assert!(matches!(&again, Some(Message::Refused(why)) if why.contains("used")), "{again:?}");

    let old = (enrolled.chain, key);
    let mut stream = dial(&running, Some(&old)).await;
    let hello = config::sync::message::Hello { formats: vec![1], ..Default::default() };
    frame::write(&mut stream, &Message::Hello(hello)).await.unwrap();
    let Some(Message::Snapshot(snapshot)) = frame::read(&mut stream, 1 << 20).await.unwrap() else {
        panic!("no snapshot")
    };
    let ack = config::sync::message::Ack { generation: snapshot.generation(), degraded: Vec::new() };
    frame::write(&mut stream, &Message::Ack(ack)).await.unwrap();
    // The answer to a ping says that the acknowledgement before it was handled.
    frame::write(&mut stream, &Message::Ping(1)).await.unwrap();
    assert_eq!(frame::read(&mut stream, 1024).await.unwrap(), Some(Message::Pong(1)));
    let id = config::id::GatewayId::from_bytes(enrolled.gateway);
    assert_eq!(app.gateways.said(id).unwrap().acked, Some(snapshot.generation()));

    // A new key for the same gateway; the new certificate and the one before are both taken.
    let request = Request::create("anything").unwrap();
    frame::write(&mut stream, &Message::Renew(Renew { csr: request.csr_der })).await.unwrap();
    let Some(Message::Renewed(renewed)) = frame::read(&mut stream, 4096).await.unwrap() else {
        panic!("not renewed")
    };
    assert_eq!(certificate(&renewed.chain[0]).unwrap().gateway, id);
    for mut stream in
        [dial(&running, Some(&(renewed.chain, request.key))).await, dial(&running, Some(&old)).await]
    {
        frame::write(&mut stream, &Message::Ping(1)).await.unwrap();
        assert_eq!(frame::read(&mut stream, 1024).await.unwrap(), Some(Message::Pong(1)));
    }
    // A request that cannot be signed ends nothing.
    frame::write(&mut stream, &Message::Renew(Renew { csr: b"no request".to_vec() })).await.unwrap();
    frame::write(&mut stream, &Message::Ping(2)).await.unwrap();
    assert_eq!(frame::read(&mut stream, 1024).await.unwrap(), Some(Message::Pong(2)));

    let caller = app::Caller::ourselves("test");
    gateway::delete(&app, &caller, "gate-1").await.unwrap();
    assert_eq!(frame::read(&mut stream, 1024).await.unwrap(), Some(Message::Withdrawn));
    let farewell = frame::read(&mut stream, 1024).await.unwrap();
    assert!(matches!(&farewell, Some(Message::Refused(why)) if why.contains("withdrawn")), "{farewell:?}");
    running.shutdown().await;
}
