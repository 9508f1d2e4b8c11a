//! The way connections to an endpoint are made: protocol, TLS, PROXY header.
//!
//! Each way has a number that no other way of this worker ever had, so a connection made one way is never lent for
//! another. The plain way, which most have, is number 0 and stands nowhere.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use config::id::EndpointId;
use config::limits;
use config::snapshot::{Protocol, ProxyProtocol, UpstreamPolicy, UpstreamTls};
use rustls::ClientConfig;

use super::tls;

/// How connections to one endpoint are made, where that is not the plain way.
#[derive(Debug)]
pub(super) struct Way {
    /// Tells it apart.
    pub(super) number: u64,
    pub(super) protocol: Protocol,
    pub(super) proxy: Option<ProxyProtocol>,
    pub(super) tls: Option<UpstreamTls>,
    /// What handshakes are made with, once there was one; its sessions are this way's own.
    pub(super) config: OnceCell<Result<Arc<ClientConfig>, tls::Unusable>>,
}

impl Way {
    fn is(&self, policy: &UpstreamPolicy) -> bool {
        self.protocol == policy.protocol && self.proxy == policy.proxy_protocol && self.tls == policy.tls
    }
}

/// The ways in use, by endpoint.
#[derive(Default)]
pub(super) struct Ways {
    by_endpoint: RefCell<HashMap<EndpointId, Vec<Rc<Way>>>>,
    last: Cell<u64>,
}

impl Ways {
    /// The way that `policy` asks for; `None` is the plain one. Cost: a comparison with the few ways that the endpoint
    /// has, of which a change leaves an old one behind for the requests that still go by it.
    pub(super) fn of(&self, id: EndpointId, policy: Option<&UpstreamPolicy>) -> Option<Rc<Way>> {
        let policy = policy?;
        if policy.protocol == Protocol::Http1 && policy.proxy_protocol.is_none() && policy.tls.is_none() {
            return None;
        }
        let mut by_endpoint = self.by_endpoint.borrow_mut();
        let ways = by_endpoint.entry(id).or_default();
        if let Some(way) = ways.iter().find(|way| way.is(policy)) {
            return Some(Rc::clone(way));
        }
        if ways.len() >= limits::WAYS_PER_ENDPOINT_MAX {
            ways.remove(0);
        }
        self.last.set(self.last.get() + 1);
        let way = Rc::new(Way {
            number: self.last.get(),
            protocol: policy.protocol,
            proxy: policy.proxy_protocol,
            tls: policy.tls.clone(),
            config: OnceCell::new(),
        });
        ways.push(Rc::clone(&way));
        Some(way)
    }

    /// Forgets the ways to these.
    pub(super) fn retire(&self, ids: &HashSet<EndpointId>) {
        self.by_endpoint.borrow_mut().retain(|id, _| !ids.contains(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::snapshot::Verify;

    const ONE: EndpointId = EndpointId::from_bytes([1; 16]);

    fn policy(verify: Verify) -> UpstreamPolicy {
        UpstreamPolicy {
            tls: Some(UpstreamTls { verify, server_name: None, client: None }),
            ..UpstreamPolicy::default()
        }
    }

    #[test]
    fn a_policy_has_one_number_and_a_changed_one_another() {
        let ways = Ways::default();
        let number = |verify| ways.of(ONE, Some(&policy(verify))).unwrap().number;

        assert_eq!(number(Verify::Nothing), number(Verify::Nothing));
        assert_ne!(number(Verify::Nothing), number(Verify::Fingerprint([1; 32])));
        assert_ne!(number(Verify::Fingerprint([1; 32])), number(Verify::Fingerprint([2; 32])));
    }

    #[test]
    fn a_policy_that_says_nothing_about_connections_is_the_plain_way() {
        let ways = Ways::default();
        assert!(ways.of(ONE, None).is_none());
        assert!(ways.of(ONE, Some(&UpstreamPolicy::default())).is_none());
        assert!(ways.by_endpoint.borrow().is_empty());
    }

    #[test]
    fn ways_that_are_gone_through_do_not_pile_up() {
        let ways = Ways::default();
        for byte in 0..100 {
            ways.of(ONE, Some(&policy(Verify::Fingerprint([byte; 32]))));
        }
        assert_eq!(ways.by_endpoint.borrow()[&ONE].len(), limits::WAYS_PER_ENDPOINT_MAX);
        ways.retire(&[ONE].into());
        assert!(ways.by_endpoint.borrow().is_empty());
    }
}
