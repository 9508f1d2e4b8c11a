//! The API, seen from the command line: over the unix socket of the data directory, or by URL with a token.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use config::limits;
use config::secret::Secret;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::args::Global;
use super::failure::Failure;

/// Time for one answer of the API, from dialling to the last byte.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Longest a change waits for the gateways to follow.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);
/// Pause between two looks at the gateways.
const SETTLE_STEP: Duration = Duration::from_millis(5);

/// Talks to one control.
#[derive(Debug, Clone)]
pub struct Client {
    way: Way,
    token: Option<Secret<String>>,
    changed: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Way {
    Socket(PathBuf),
    Plain(Place),
    Tls(Place, Arc<rustls::ClientConfig>),
}

#[derive(Debug, Clone)]
struct Place {
    host: String,
    port: u16,
    authority: String,
    base: String,
}

/// What the API answered; always a success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The revision of the object, for `If-Match`.
    pub etag: Option<String>,
    /// The body; `Null` when there is none.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Client {
    /// A client for these flags: `--url` where given, otherwise the socket of the data directory.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let Some(url) = &global.url else {
            return Ok(Self::on_socket(crate::listen::socket::path(&super::data_directory(global)?)));
        };
        let token = std::env::var("GATEHOUSE_TOKEN").ok().filter(|token| !token.is_empty()).map(Secret::new);
        let (place, is_tls) = parse_url(url)?;
        let way = if is_tls { Way::Tls(place, trust(global.ca.as_deref())?) } else { Way::Plain(place) };
        Ok(Self { way, token, changed: Arc::default() })
    }

    /// A client on the unix socket at `path`.
    pub fn on_socket(path: PathBuf) -> Self {
        Self { way: Way::Socket(path), token: None, changed: Arc::default() }
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, path, None, None).await
    }

    /// Makes.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.send(Method::POST, path, Some(body), None).await
    }

    /// Sends a CSV file.
    pub async fn post_csv(&self, path: &str, file: Vec<u8>) -> Result<Answer, Failure> {
        self.changed.store(true, Relaxed);
        let request = self.request((Method::POST, path), Some(("text/csv", file.into())), None)?;
        self.sent(request).await
    }

    /// Changes the revision that is there now: what somebody else changed meanwhile is not overwritten.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        let current = self.get(path).await?;
        self.send(Method::PATCH, path, Some(body), current.etag.as_deref()).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send(Method::DELETE, path, None, None).await
    }

    /// Waits, within a bound, until every connected gateway serves what was changed here, so that the next command of
    /// a script meets it. A gateway that lags is no failure: the change itself is kept.
    pub async fn settle(&self) {
        if !self.changed.load(Relaxed) {
            return;
        }
        let started = tokio::time::Instant::now();
        while started.elapsed() < SETTLE_DEADLINE {
            // Whoever may not see the gateways does not wait for them.
            let Ok(gateways) = self.list("/api/v1/gateways", &[]).await else { return };
            if !gateways.iter().any(lags) {
                return;
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
    }

    /// What gateways say of an object, at the latest when the wait is over: read until none of them is about to take the
    /// last change.
    pub async fn settled(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let started = tokio::time::Instant::now();
        loop {
            let said = self.list(path, &[]).await?;
            let waits = |one: &Value| one.get("state").and_then(Value::as_str) == Some("waiting");
            if !said.iter().any(waits) || started.elapsed() >= SETTLE_DEADLINE {
                return Ok(said);
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
    }

    /// Every item of a list, page by page.
    pub async fn list(&self, path: &str, filters: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        self.list_seeing(path, filters, |_| {}).await
    }

    /// [`Client::list`]; `see` is shown each page, for what stands beside its items.
    pub async fn list_seeing(
        &self,
        path: &str,
        filters: &[(&str, &str)],
        mut see: impl FnMut(&Value),
    ) -> Result<Vec<Value>, Failure> {
        self.pages((path, filters), usize::MAX, &mut see).await
    }

    /// The first `count` of a list in its own order.
    pub async fn first(
        &self,
        path: &str,
        filters: &[(&str, &str)],
        count: usize,
    ) -> Result<Vec<Value>, Failure> {
        self.pages((path, filters), count, &mut |_| {}).await
    }

    async fn pages(
        &self,
        (path, filters): (&str, &[(&str, &str)]),
        count: usize,
        see: &mut impl FnMut(&Value),
    ) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let limit = count.saturating_sub(items.len()).clamp(1, limits::PAGE_ITEMS.1);
            let mut query = format!("{path}?limit={limit}");
            for (name, value) in filters.iter().copied().chain(cursor.as_deref().map(|c| ("cursor", c))) {
                query.push_str(&format!("&{name}={}", escape(value)));
            }
            let mut page = self.get(&query).await?.body;
            see(&page);
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            match page.get("next").and_then(Value::as_str) {
                // A cursor that stays where it is would go round for ever.
                Some(next) if cursor.as_deref() != Some(next) && items.len() < count => {
                    cursor = Some(next.to_owned());
                }
                _ => {
                    items.truncate(count);
                    return Ok(items);
                }
            }
        }
    }

    /// Sends one request and reads the whole answer.
    ///
    /// Errors: control cannot be reached, or the answer is no success.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        if_match: Option<&str>,
    ) -> Result<Answer, Failure> {
        if method != Method::GET {
            self.changed.store(true, Relaxed);
        }
        let body = body.map(|body| ("application/json", Bytes::from(body.to_string())));
        let request = self.request((method, path), body, if_match)?;
        self.sent(request).await
    }

    async fn sent(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let exchange = async {
            match &self.way {
                Way::Socket(socket) => {
                    let stream = UnixStream::connect(socket).await.map_err(|e| no_socket(socket, &e))?;
                    exchange(stream, request).await
                }
                Way::Plain(place) => exchange(dial(place).await?, request).await,
                Way::Tls(place, trust) => {
                    let name = ServerName::try_from(place.host.clone())
                        .map_err(|_| Failure::usage(format!("--url: {} is no host name", place.host)))?;
                    let tcp = dial(place).await?;
                    let tls = tokio_rustls::TlsConnector::from(Arc::clone(trust)).connect(name, tcp).await;
                    exchange(tls.map_err(|e| unreachable(place, &e))?, request).await
                }
            }
        };
        match tokio::time::timeout(ANSWER_DEADLINE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::failed(format!(
                "control did not answer within {} seconds",
                ANSWER_DEADLINE.as_secs()
            ))),
        }
    }

    fn request(
        &self,
        (method, path): (Method, &str),
        body: Option<(&str, Bytes)>,
        if_match: Option<&str>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let (authority, base) = match &self.way {
            Way::Socket(_) => ("localhost", ""),
            Way::Plain(place) | Way::Tls(place, _) => (place.authority.as_str(), place.base.as_str()),
        };
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(header::HOST, authority)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("gatehouse/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            builder = builder.header(header::AUTHORIZATION, format!("Bearer {}", token.expose().trim()));
        }
        if let Some(revision) = if_match {
            builder = builder.header(header::IF_MATCH, revision);
        }
        let bytes = match body {
            Some((kind, bytes)) => {
                builder = builder.header(header::CONTENT_TYPE, kind);
                bytes
            }
            None => Bytes::new(),
        };
        builder
            .body(Full::new(bytes))
            .map_err(|e| Failure::usage(format!("the request cannot be written: {e}")))
    }
}

async fn dial(place: &Place) -> Result<TcpStream, Failure> {
    TcpStream::connect((place.host.as_str(), place.port)).await.map_err(|e| unreachable(place, &e))
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |e: hyper::Error| Failure::failed(format!("the connection to control broke: {e}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, limits::CLI_ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|e| Failure::failed(format!("the answer of control cannot be read: {e}")))?
        .to_bytes();
    driver.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    if !head.status.is_success() {
        return Err(Failure::from_answer(head.status, &text));
    }
    let etag = head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::Null) };
    Ok(Answer { status: head.status, etag, body, text })
}

fn parse_url(url: &str) -> Result<(Place, bool), Failure> {
    let wrong = |why: &str| Failure::usage(format!("--url {url}: {why}"));
    let uri: http::Uri = url.parse().map_err(|_| wrong("is no URL"))?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("write http:// or https://")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("carries a user name; the token comes from GATEHOUSE_TOKEN"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let base = uri.path().trim_end_matches('/').to_owned();
    Ok((Place { host, port, authority: authority.as_str().to_owned(), base }, is_tls))
}

/// The authorities that an https:// URL is checked against: `--ca`, otherwise the system's.
fn trust(ca: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, Failure> {
    let file = ca.map(Path::to_path_buf).or_else(|| std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    let file = file.unwrap_or_else(|| PathBuf::from("/etc/ssl/certs/ca-certificates.crt"));
    let unreadable = |why: String| Failure::failed(format!("--ca {}: {why}", file.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|e| unreadable(e.to_string()))? {
        let certificate = certificate.map_err(|e| unreadable(e.to_string()))?;
        // The system's bundle may hold one that rustls does not like; the others still count.
        drop(roots.add(certificate));
    }
    if roots.is_empty() {
        return Err(unreadable("holds no certificate".to_owned()));
    }
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Failure::failed(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(Arc::new(config))
}

fn no_socket(socket: &Path, error: &io::Error) -> Failure {
    let at = socket.display();
    let (kind, absent) = (error.kind(), [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused]);
    Failure::failed(if absent.contains(&kind) {
        format!(
            "no control runs on this data directory ({at}); start one with `gatehouse up`, name another directory \
             with --data, or another machine with --url"
        )
    } else if kind == io::ErrorKind::PermissionDenied {
        format!("{at}: permission denied; only root and the user that runs control may use its socket")
    } else {
        format!("{at}: {error}")
    })
}

fn unreachable(place: &Place, error: &io::Error) -> Failure {
    Failure::failed(format!("control at {} cannot be reached: {error}", place.authority))
}

/// Percent-encodes everything but unreserved characters (RFC 3986 § 2.3).
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Whether a gateway is connected and does not serve what it should.
fn lags(gateway: &Value) -> bool {
    let number = |name: &str| gateway.get(name).and_then(Value::as_u64);
    let refuses = gateway.get("refused").is_some_and(|why| !why.is_null());
    let connected = gateway.get("connected").and_then(Value::as_bool) == Some(true);
    connected && !refuses && number("generation") < number("desired")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_lags_while_it_is_connected_and_behind() {
        let gateway = |connected: bool, generation: Option<u64>, refused: Option<&str>| {
            lags(&serde_json::json!({
                "connected": connected, "generation": generation, "desired": 7, "refused": refused
            }))
        };
        assert!(gateway(true, Some(6), None));
        assert!(gateway(true, None, None));
        assert!(!gateway(true, Some(7), None));
        assert!(!gateway(false, Some(6), None), "nobody waits for one that is away");
        assert!(
            !gateway(true, Some(6), Some("generation 7: a conflict")),
            "nor for one that will not follow"
        );
    }

    #[test]
    fn a_url_is_taken_apart() {
        let (place, is_tls) = parse_url("https://[::1]:8443/base/").unwrap();
        assert!(is_tls);
        assert_eq!((place.host.as_str(), place.port, place.base.as_str()), ("::1", 8443, "/base"));
        let (place, is_tls) = parse_url("http://admin.example").unwrap();
        assert!(!is_tls);
        assert_eq!(place.port, 80);
    }

    #[test]
    fn a_url_that_is_none_is_a_usage_error() {
        for url in ["ftp://x", "x", "http://user@host/", ""] {
            assert_eq!(parse_url(url).unwrap_err().exit_code(), 2, "{url}");
        }
    }

    #[test]
    fn reserved_characters_are_escaped() {
        assert_eq!(escape("*.a b/ü"), "%2A.a%20b%2F%C3%BC");
    }

    #[tokio::test]
    async fn a_missing_socket_says_what_to_do() {
        let client = Client::on_socket(PathBuf::from("/nonexistent/control.sock"));
        let failure = client.get("/readyz").await.unwrap_err();
        assert!(failure.to_string().contains("gatehouse up"), "{failure}");
        assert_eq!(failure.exit_code(), 1);
    }
}
