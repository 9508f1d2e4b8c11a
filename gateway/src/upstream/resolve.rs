//! Names of endpoints to addresses, remembered for a few seconds.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use config::id::EndpointId;
use config::limits;
use config::snapshot::Endpoint;
use config::target::Target;
use tokio::time::Instant;

use crate::fault::{Cause, Fault, Kind, Retry};

struct Answer {
    addresses: Rc<[SocketAddr]>,
    at: Instant,
}

impl Answer {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.at) < Duration::from_millis(limits::RESOLVED_FOR_MS)
    }
}

/// Answers of the resolver by endpoint.
#[derive(Default)]
pub(super) struct Resolved(RefCell<HashMap<EndpointId, Answer>>);

impl Resolved {
    /// Where the endpoint is; never empty.
    pub(super) async fn addresses(&self, endpoint: &Endpoint) -> Result<Rc<[SocketAddr]>, Fault> {
        let (host, port) = match &endpoint.target {
            Target::Address(address) => return Ok(Rc::from([*address])),
            Target::Name { host, port } => (host, *port),
        };
        let now = Instant::now();
        if let Some(answer) = self.0.borrow().get(&endpoint.id).filter(|answer| answer.is_fresh(now)) {
            return Ok(Rc::clone(&answer.addresses));
        }
        let addresses = look_up(host.as_str(), port).await?;
        let mut answers = self.0.borrow_mut();
        if answers.len() >= limits::RESOLVED_NAMES_MAX {
            answers.retain(|_, answer| answer.is_fresh(now));
        }
        if answers.len() < limits::RESOLVED_NAMES_MAX {
            answers.insert(endpoint.id, Answer { addresses: Rc::clone(&addresses), at: now });
        }
        Ok(addresses)
    }
}

async fn look_up(host: &str, port: u16) -> Result<Rc<[SocketAddr]>, Fault> {
    let deadline = Duration::from_millis(limits::CONNECT_DEADLINE_MS);
    match tokio::time::timeout(deadline, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(found)) => {
            let addresses: Rc<[SocketAddr]> = found.take(limits::RESOLVED_ADDRESSES_MAX).collect();
            if addresses.is_empty() {
                return Err(Fault::upstream(
                    Kind::Unresolved,
                    Retry::Safe,
                    Cause::Rule("the name has no address"),
                ));
            }
            Ok(addresses)
        }
        Ok(Err(cause)) => Err(Fault::upstream(Kind::Unresolved, Retry::Safe, cause)),
        Err(_) => Err(Fault::upstream(Kind::Timeout, Retry::Safe, Cause::Rule("the resolver took too long"))),
    }
}

#[cfg(test)]
mod tests {
    use config::name::HostName;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_remembered_and_an_unknown_name_is_a_fault() {
        let resolved = Resolved::default();
        let endpoint = |name: &str| Endpoint {
            id: EndpointId::from_bytes([1; 16]),
            target: Target::Name { host: HostName::parse(name).unwrap(), port: 80 },
            loopback_ok: true,
            vm: None,
            weight: 1,
            draining: false,
        };
        let first = resolved.addresses(&endpoint("localhost")).await.unwrap();
        let again = resolved.addresses(&endpoint("localhost")).await.unwrap();
        assert!(Rc::ptr_eq(&first, &again));

        let fault = Resolved::default().addresses(&endpoint("no-such-host.invalid")).await.unwrap_err();
        assert!(matches!(fault.kind, Kind::Unresolved | Kind::Timeout));
    }
}
