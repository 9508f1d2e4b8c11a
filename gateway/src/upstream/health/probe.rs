//! One question to one endpoint, over the same door that requests go by: the same rules about addresses, the same TLS.

use std::rc::Rc;
use std::time::Duration;

use config::limits;
use config::snapshot::{ActiveCheck, Endpoint, Probe, UpstreamPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::super::{Call, Stream, Upstreams};
use crate::fault::Fault;
use crate::http::codec::{Head, Progress};
use crate::worker::Worker;

/// Why an endpoint is not well.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwell {
    #[error("no connection: {0}")]
    Unreached(#[source] Fault),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer is no HTTP: {0}")]
    NotHttp(&'static str),
    #[error("the connection broke")]
    Broke(#[from] std::io::Error),
    #[error("it takes longer than {0:?}")]
    Late(Duration),
}

/// Asks once.
pub(super) async fn ask(
    worker: &Rc<Worker>,
    endpoint: &Endpoint,
    policy: &UpstreamPolicy,
    check: &ActiveCheck,
) -> Result<(), Unwell> {
    let deadline = Duration::from_millis(check.timeout_ms.into());
    let call = Call { endpoint, policy: Some(policy), ends: None, deadline, takes_idle: false };
    let answer = async {
        let mut lease = Upstreams::connect(worker, &call).await.map_err(Unwell::Unreached)?;
        match &check.probe {
            Probe::Tcp => Ok(()),
            Probe::Http { path, host, statuses } => {
                let host =
                    host.as_ref().map_or_else(|| endpoint.target.to_string(), |host| host.as_str().into());
                let status = status(&mut lease.stream, path, &host).await?;
                let is_expected = statuses.iter().any(|(from, to)| (*from..=*to).contains(&status));
                if is_expected { Ok(()) } else { Err(Unwell::Status(status)) }
            }
        }
    };
    timeout(deadline, answer).await.unwrap_or(Err(Unwell::Late(deadline)))
}

async fn status(io: &mut Stream, path: &str, host: &str) -> Result<u16, Unwell> {
    let question = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: gatehouse-check\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    io.write_all(question.as_bytes()).await?;
    io.flush().await?;
    let mut answer = Vec::with_capacity(1024);
    let mut head = Head::default();
    loop {
        match head.parse_response(&answer).map_err(|broken| Unwell::NotHttp(broken.rule))? {
            // RFC 9110 § 15.2: interim responses may come unasked.
            Progress::Complete(len) if head.status < 200 => {
                answer.drain(..len);
                head.reset();
            }
            Progress::Complete(_) => return Ok(head.status),
            Progress::Partial if answer.len() > limits::HEAD_BYTES_MAX => {
                return Err(Unwell::NotHttp("the head is too large"));
            }
            Progress::Partial => {
                if io.read_buf(&mut answer).await? == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
                }
            }
        }
    }
}
