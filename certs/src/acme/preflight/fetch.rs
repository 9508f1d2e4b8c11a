//! A look of our own at an HTTP-01 answer, at every address of the name.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use config::limits;
use http::Request;
use http::header::{CONNECTION, HOST};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Finding, Severity, Trouble};
use crate::acme::error::clean;
use crate::acme::order::{Answer, ChallengeTask};

/// Fetches the published answer of an HTTP-01 task from each address, as the authority will on port 80. Every finding
/// is a warning: a router may not lead back to its own outer address. Other kinds of task pass without a look.
pub async fn fetch(task: &ChallengeTask, addresses: &[IpAddr], port: u16) -> Vec<Finding> {
    let Answer::Http01 { token, key_authorization } = &task.answer else { return Vec::new() };
    let mut findings = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        let deadline = Duration::from_millis(limits::ACME_LOOK_DEADLINE_MS);
        let why = match tokio::time::timeout(deadline, look(at, task.host.as_str(), token)).await {
            Ok(Ok(body)) if body.trim_ascii_end() == key_authorization.as_bytes() => continue,
            Ok(Ok(_)) => "something else than the gateways answers there".to_owned(),
            Ok(Err(why)) => why,
            Err(_) => "no answer in time".to_owned(),
        };
        findings.push(Finding {
            name: task.host.to_string(),
            severity: Severity::Warning,
            trouble: Trouble::NotReachable,
            text: clean(&format!("port {port} of {address} does not show the challenge's answer: {why}")),
        });
    }
    findings
}

async fn look(at: SocketAddr, host: &str, token: &str) -> Result<Bytes, String> {
    let request = Request::get(format!("/.well-known/acme-challenge/{token}"))
        .header(HOST, host)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut connection = pin!(connection);
    let mut answer = pin!(async move {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if !answer.status().is_success() {
            return Err(format!("it answers {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), limits::ACME_LOOK_BYTES_MAX).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| error.to_string())
    });
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = &mut connection => {}
    }
    answer.await
}
