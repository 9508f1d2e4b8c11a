//! The framed stream: TLS 1.3 with control's name verified, a 4-byte length before each message.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use config::limits;
use config::sync::message::{CONTROL_SERVER_NAME, MalformedMessage, Message};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::{Decoder as _, Encoder as _, LengthDelimitedCodec};

use super::SyncError;

/// Frames above this are decoded off the runtime's thread, and their buffer is given back.
const LARGE_FRAME_BYTES: usize = 1024 * 1024;

type OwnCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// TLS 1.3 to a control that `authority` signed for, showing `own` if there is one yet.
pub(super) fn client_config(
    authority: &CertificateDer<'static>,
    own: Option<OwnCertificate>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    Ok(Arc::new(match own {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    }))
}

/// Dials control at `address`, `host:port`.
pub(super) async fn connect(
    address: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, SyncError> {
    let dial = timeout(Duration::from_millis(limits::CONNECT_DEADLINE_MS), TcpStream::connect(address));
    let tcp = in_time(dial.await).map_err(|cause| SyncError::Dial { address: address.to_owned(), cause })?;
    let failed = |cause| SyncError::Handshake { address: address.to_owned(), cause };
    tcp.set_nodelay(true).map_err(failed)?;
    let name = ServerName::try_from(CONTROL_SERVER_NAME).map_err(|error| failed(io::Error::other(error)))?;
    let handshake = TlsConnector::from(config).connect(name, tcp);
    in_time(timeout(Duration::from_millis(limits::HANDSHAKE_DEADLINE_MS), handshake).await).map_err(failed)
}

fn in_time<T>(outcome: Result<io::Result<T>, tokio::time::error::Elapsed>) -> io::Result<T> {
    outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Messages over a byte stream.
#[derive(Debug)]
pub(super) struct Framed<S> {
    io: S,
    codec: LengthDelimitedCodec,
    input: BytesMut,
    heard: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    /// Takes messages of at most `bytes_max`.
    pub(super) fn new(io: S, bytes_max: usize) -> Self {
        let codec = LengthDelimitedCodec::builder().max_frame_length(bytes_max).new_codec();
        Self { io, codec, input: BytesMut::new(), heard: Instant::now() }
    }

    /// When the last bytes came; a long message counts while it comes.
    pub(super) const fn heard(&self) -> Instant {
        self.heard
    }

    /// The next frame. May be dropped and called again without loss.
    pub(super) async fn receive(&mut self) -> Result<Bytes, SyncError> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.input).map_err(SyncError::Broken)? {
                if self.input.is_empty() && frame.len() > LARGE_FRAME_BYTES {
                    self.input = BytesMut::new();
                }
                return Ok(frame.freeze());
            }
            match self.io.read_buf(&mut self.input).await {
                Ok(0) => return Err(SyncError::Ended),
                Ok(_) => self.heard = Instant::now(),
                // A peer that does not say goodbye in TLS has ended all the same; no message is cut by it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(SyncError::Ended),
                Err(error) => return Err(SyncError::Broken(error)),
            }
        }
    }

    /// Sends one message within the time after which a silent stream is dead.
    pub(super) async fn send(&mut self, message: &Message) -> Result<(), SyncError> {
        let mut output = BytesMut::new();
        self.codec.encode(Bytes::from(message.encode()), &mut output).map_err(SyncError::Broken)?;
        let write = async {
            self.io.write_all(&output).await?;
            self.io.flush().await
        };
        let written = timeout(Duration::from_millis(limits::SYNC_DEAD_MS), write).await;
        in_time(written).map_err(SyncError::Broken)
    }
}

/// Reads a frame; a large one aside, since a million objects take a while.
pub(super) async fn decode(frame: Bytes) -> Result<Message, MalformedMessage> {
    if frame.len() <= LARGE_FRAME_BYTES {
        return Message::decode(&frame);
    }
    let again = frame.clone();
    match tokio::task::spawn_blocking(move || Message::decode(&frame)).await {
        Ok(decoded) => decoded,
        // The runtime is ending.
        Err(_) => Message::decode(&again),
    }
}
