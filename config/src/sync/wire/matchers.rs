//! The conditions of a route.

use ipnet::IpNet;
use prost::Message;

use super::object::{address, address_bytes};
use crate::snapshot::{Matchers, Test, ValueMatch};

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireMatchers {
    #[prost(sint32, tag = "1")]
    priority: i32,
    #[prost(bool, tag = "2")]
    path_exact: bool,
    #[prost(string, repeated, tag = "3")]
    methods: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    headers: Vec<WireTest>,
    #[prost(message, repeated, tag = "5")]
    query: Vec<WireTest>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    clients: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct WireTest {
    #[prost(string, tag = "1")]
    name: String,
    /// 0 present, 1 absent, 2 equals, 3 begins with.
    #[prost(uint32, tag = "2")]
    test: u32,
    /// Of the last two.
    #[prost(string, tag = "3")]
    value: String,
}

pub(super) fn encode_matchers(matchers: &Matchers) -> WireMatchers {
    WireMatchers {
        priority: matchers.priority.into(),
        path_exact: matchers.path_exact,
        methods: matchers.methods.iter().map(ToString::to_string).collect(),
        headers: matchers.headers.iter().map(encode_test).collect(),
        query: matchers.query.iter().map(encode_test).collect(),
        clients: encode_networks(&matchers.clients),
    }
}

pub(super) fn decode_matchers(wire: WireMatchers) -> Result<Matchers, String> {
    let tests = |tests: Vec<WireTest>| tests.into_iter().map(decode_test).collect::<Result<_, _>>();
    Ok(Matchers {
        priority: i16::try_from(wire.priority).map_err(|_| format!("{} is no priority", wire.priority))?,
        path_exact: wire.path_exact,
        methods: wire.methods.into_iter().map(String::into_boxed_str).collect(),
        headers: tests(wire.headers)?,
        query: tests(wire.query)?,
        clients: decode_networks(&wire.clients)?,
    })
}

fn encode_test(condition: &ValueMatch) -> WireTest {
    let (test, value) = match &condition.test {
        Test::Present => (0, ""),
        Test::Absent => (1, ""),
        Test::Equals(value) => (2, &**value),
        Test::Prefix(value) => (3, &**value),
    };
    WireTest { name: condition.name.to_string(), test, value: value.to_owned() }
}

fn decode_test(wire: WireTest) -> Result<ValueMatch, String> {
    let WireTest { name, test, value } = wire;
    let value = value.into_boxed_str();
    let test = match test {
        0 | 1 if !value.is_empty() => return Err("a test of presence has a value".to_owned()),
        0 => Test::Present,
        1 => Test::Absent,
        2 => Test::Equals(value),
        3 => Test::Prefix(value),
        other => return Err(format!("test {other} is not known to this version")),
    };
    Ok(ValueMatch { name: name.into_boxed_str(), test })
}

/// Each the 4 or 16 bytes of the address and one for the length of the prefix.
pub(super) fn encode_networks(networks: &[IpNet]) -> Vec<Vec<u8>> {
    let encode = |network: &IpNet| {
        let mut bytes = address_bytes(network.addr());
        bytes.push(network.prefix_len());
        bytes
    };
    networks.iter().map(encode).collect()
}

pub(super) fn decode_networks(wire: &[Vec<u8>]) -> Result<Box<[IpNet]>, String> {
    let decode = |bytes: &Vec<u8>| {
        let (length, bytes) = bytes.split_last().ok_or("a network is empty")?;
        let address = address(bytes)?;
        IpNet::new(address, *length).map_err(|_| format!("{address} has no prefix of {length} bits"))
    };
    wire.iter().map(decode).collect()
}
