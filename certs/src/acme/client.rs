//! The HTTPS client that the ACME library is given: bounded in time and size, and precise about what failed.
//!
//! One connection a request: an order is a dozen requests, minutes apart, and a connection that is not kept cannot go
//! stale. HTTP/1.1 alone, which every authority speaks.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use config::limits;
use http::header::{CONNECTION, HOST, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient, Problem};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

tokio::task_local! {
    /// The last `Retry-After` of a good answer, for the step that is running.
    pub(super) static HINT: Cell<Option<Duration>>;
    /// The last good answer to a signed request, for who asks for what the library cannot read.
    pub(super) static ANSWER: RefCell<Option<(http::HeaderMap, Bytes)>>;
}

/// Longest wait that an authority may ask for; more is taken as a mistake.
const AFTER_MAX: Duration = Duration::from_secs(30 * 86_400);

/// How a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Address(String),
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("the TLS handshake failed")]
    Tls(#[source] std::io::Error),
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection broke")]
    Http(#[source] hyper::Error),
    #[error("the answer is too long")]
    TooLong,
    #[error("refused with {status}")]
    Refused { problem: Problem, status: u16, after: Option<Duration> },
    #[error("answered {status}")]
    Status { status: u16, after: Option<Duration> },
}

/// A client for one authority.
#[derive(Clone)]
pub(super) struct Client {
    tls: Arc<ClientConfig>,
    pub(super) deadline: Duration,
}

impl Client {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, deadline: Duration::from_millis(limits::ACME_REQUEST_DEADLINE_MS) }
    }

    /// Sends one request and reads its answer, whatever its status, within the deadline.
    pub(super) async fn exchange<B>(&self, request: Request<B>) -> Result<Response<Bytes>, Fault>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        tokio::time::timeout(self.deadline, self.exchange_unbounded(request))
            .await
            .unwrap_or(Err(Fault::TimedOut))
    }

    async fn exchange_unbounded<B>(&self, mut request: Request<B>) -> Result<Response<Bytes>, Fault>
    where
        B: hyper::body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (host, port) = target(request.uri())?;
        let name =
            ServerName::try_from(host.clone()).map_err(|_| Fault::Address(format!("{host} is no host")))?;
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(Fault::Connect)?;
        let stream =
            TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(Fault::Tls)?;

        to_origin_form(&mut request)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(Fault::Http)?;
        let mut connection = pin!(connection);
        let mut answer = pin!(async move {
            let (parts, body) = sender.send_request(request).await.map_err(Fault::Http)?.into_parts();
            let body = Limited::new(body, limits::ACME_ANSWER_BYTES_MAX).collect().await.map_err(
                |error| match error.downcast::<hyper::Error>() {
                    Ok(error) => Fault::Http(*error),
                    Err(_) => Fault::TooLong,
                },
            )?;
            Ok(Response::from_parts(parts, body.to_bytes()))
        });
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            // The end of the connection is known from what it leaves behind in the answer.
            _ = &mut connection => {}
        }
        answer.await
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let method = request.method().clone();
            let answer = client.exchange(request).await;
            answer
                .and_then(|answer| judge(answer, &method))
                .map_err(|fault| instant_acme::Error::Other(Box::new(fault)))
        })
    }
}

/// Lets good answers and refused nonces through to the library; names every other failure here, where status and
/// `Retry-After` are at hand.
fn judge(answer: Response<Bytes>, method: &Method) -> Result<BytesResponse, Fault> {
    let (mut parts, body) = answer.into_parts();
    let after = retry_after(&parts.headers);
    if parts.status.is_success() {
        // RFC 9773 § 4.3 wants it on renewal information and the library insists; six hours is its advice.
        if method == Method::GET && after.is_none() {
            parts.headers.insert(RETRY_AFTER, HeaderValue::from_static("21600"));
        }
        // A step outside of a scope has nobody to tell.
        let _ = HINT.try_with(|hint| hint.set(after));
        if method == Method::POST {
            let _ = ANSWER.try_with(|seen| seen.replace(Some((parts.headers.clone(), body.clone()))));
        }
        return Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))));
    }
    let status = parts.status.as_u16();
    match serde_json::from_slice::<Problem>(&body) {
        // The library signs again with the nonce that came along.
        Ok(problem)
            if super::problem::kind(problem.r#type.as_deref()) == super::Kind::BadNonce && status == 400 =>
        {
            Ok(BytesResponse::from(Response::from_parts(parts, Full::new(body))))
        }
        Ok(problem) if problem.r#type.is_some() || problem.detail.is_some() => {
            Err(Fault::Refused { problem, status, after })
        }
        Ok(_) | Err(_) => Err(Fault::Status { status, after }),
    }
}

/// Seconds or a date (RFC 9110 § 10.2.3).
fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(AFTER_MAX))
}

fn target(uri: &Uri) -> Result<(String, u16), Fault> {
    if uri.scheme_str() != Some("https") {
        return Err(Fault::Address(format!("{uri} is not an https URL")));
    }
    let host = uri.host().ok_or_else(|| Fault::Address(format!("{uri} has no host")))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(443)))
}

/// An origin server is asked for a path and told its name (RFC 9112 § 3.2.1).
fn to_origin_form<B>(request: &mut Request<B>) -> Result<(), Fault> {
    let unusable = |uri: &Uri| Fault::Address(format!("{uri} cannot be asked for"));
    let uri = request.uri().clone();
    let authority = uri.authority().ok_or_else(|| unusable(&uri))?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| unusable(&uri))?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *request.uri_mut() = path.parse().map_err(|_| unusable(&uri))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(())
}
