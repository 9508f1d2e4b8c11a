//! The pure steps of a request, for `benches`: what they cost is counted in instructions.

use std::net::{IpAddr, Ipv4Addr};

use super::client::Client;
use super::codec::{Broken, Progress};
use super::door;
use super::headers::{self, Outbound};
use super::scratch::Scratch;
use super::trace::{Numbers, Trace};
use crate::fault::Fault;

/// Room for the steps, warm after the first.
#[derive(Default)]
pub struct Steps(Box<Scratch>, Numbers);

impl Steps {
    /// Reads a request head.
    pub fn parse_request(&mut self, bytes: &[u8]) -> Result<Progress, Broken> {
        self.0.request.reset();
        self.0.request.parse_request(bytes)
    }

    /// Reads a response head.
    pub fn parse_response(&mut self, bytes: &[u8]) -> Result<Progress, Broken> {
        self.0.response.reset();
        self.0.response.parse_response(bytes)
    }

    /// Reads a request head and passes it through the strict door.
    pub fn gate(&mut self, bytes: &[u8]) -> Result<door::Asked, Fault> {
        self.parse_request(bytes).map_err(door::refused)?;
        let Scratch { request, names, .. } = &mut *self.0;
        door::check(request, bytes, names)
    }

    /// The same, and writes the head that goes upstream; its length.
    pub fn rewrite(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let asked = self.gate(bytes)?;
        let Scratch { request, to_upstream, .. } = &mut *self.0;
        let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let client = Client { peer: address, address, is_trusted: false, is_secured: false };
        to_upstream.clear();
        let request_id = "0123456789abcdef0123456789abcdef";
        let trace = &Trace::of(request, bytes, &self.1);
        let parts = Outbound {
            target: None,
            head: request,
            bytes,
            asked: &asked,
            client: &client,
            request_id,
            filters: None,
            trace,
        };
        headers::outbound(to_upstream, &parts);
        Ok(to_upstream.len())
    }
}
