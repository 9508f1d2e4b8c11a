//! The compact form of a record on its way to the writer: numbers as they lie in memory, texts with their lengths.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::id::{EndpointId, RouteId};
use config::limits;

use super::record::{Protocol, Record, TlsFacts, UpstreamWay};

/// Most bytes of one encoded record: five long texts, six short ones, and the numbers.
pub(super) const ENCODED_BYTES_MAX: usize =
    5 * limits::ACCESS_TEXT_BYTES_MAX + 6 * limits::ACCESS_NAME_BYTES_MAX + 512;

impl<'a> Record<'a> {
    /// Appends the compact form; texts over their bound are cut.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut put = Put(out);
        put.u64(u64::try_from(self.at.as_micros()).unwrap_or(u64::MAX));
        put.0.extend_from_slice(&self.trace);
        put.ip(self.client);
        put.address(Some(self.peer));
        put.0.extend_from_slice(&[u8::from(self.is_secured), self.protocol as u8]);
        put.0.extend_from_slice(&self.status.to_le_bytes());
        for number in [self.bytes.0, self.bytes.1, self.micros, self.generation] {
            put.u64(number);
        }
        put.id(self.route.map(RouteId::to_bytes));
        put.0.push(u8::from(self.upstream.is_some()));
        if let Some(way) = &self.upstream {
            put.id(way.endpoint.map(EndpointId::to_bytes));
            put.address(way.address);
            for time in [way.connected, way.head, Some(way.total)] {
                put.u64(time.unwrap_or(u64::MAX));
            }
            put.0.push(way.retries);
        }
        put.0.push(u8::from(self.tls.is_some()));
        if let Some((facts, sni)) = self.tls {
            put.0.extend_from_slice(&facts.version.to_le_bytes());
            put.0.extend_from_slice(&facts.suite.to_le_bytes());
            put.0.extend_from_slice(&[facts.alpn, u8::from(facts.is_resumed)]);
            put.text(sni, limits::ACCESS_NAME_BYTES_MAX);
        }
        for name in [self.request, self.host, self.method, self.user, self.fault] {
            put.text(name, limits::ACCESS_NAME_BYTES_MAX);
        }
        for text in [self.path, self.query, self.agent, self.referer] {
            put.text(text, limits::ACCESS_TEXT_BYTES_MAX);
        }
    }

    /// Reads the compact form; `None` if it is not whole.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut get = Get(bytes);
        let at = Duration::from_micros(get.u64()?);
        let trace = get.array()?;
        let client = get.ip()?;
        let peer = get.address()??;
        let [is_secured, protocol] = get.array()?;
        let status = u16::from_le_bytes(get.array()?);
        let bytes = (get.u64()?, get.u64()?);
        let (micros, generation) = (get.u64()?, get.u64()?);
        let route = get.id()?.map(RouteId::from_bytes);
        let upstream = if get.flag()? { Some(get.way()?) } else { None };
        let tls = if get.flag()? { Some((get.facts()?, get.text()?)) } else { None };
        let (request, host, method) = (get.text()?, get.text()?, get.text()?);
        let (user, fault) = (get.text()?, get.text()?);
        Some(Self {
            at,
            request,
            trace,
            client,
            peer,
            is_secured: is_secured != 0,
            protocol: match protocol {
                0 => Protocol::Http10,
                1 => Protocol::Http11,
                2 => Protocol::Http2,
                3 => Protocol::Tls,
                4 => Protocol::Tcp,
                _ => Protocol::Udp,
            },
            host,
            method,
            path: get.text()?,
            query: get.text()?,
            status,
            bytes,
            micros,
            generation,
            route,
            upstream,
            tls,
            user,
            fault,
            agent: get.text()?,
            referer: get.text()?,
        })
    }
}

struct Put<'a>(&'a mut Vec<u8>);

impl Put<'_> {
    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn ip(&mut self, ip: IpAddr) {
        let six = match ip {
            IpAddr::V4(four) => four.to_ipv6_mapped(),
            IpAddr::V6(six) => six,
        };
        self.0.extend_from_slice(&six.octets());
    }

    fn address(&mut self, address: Option<SocketAddr>) {
        self.0.push(u8::from(address.is_some()));
        if let Some(address) = address {
            self.ip(address.ip());
            self.0.extend_from_slice(&address.port().to_le_bytes());
        }
    }

    fn id(&mut self, id: Option<[u8; 16]>) {
        self.0.push(u8::from(id.is_some()));
        self.0.extend_from_slice(id.as_ref().map_or(&[], |id| &id[..]));
    }

    fn text(&mut self, text: &[u8], most: usize) {
        let text = text.get(..most).unwrap_or(text);
        let length = u16::try_from(text.len()).unwrap_or(0);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.get(..usize::from(length)).unwrap_or_default());
    }
}

struct Get<'a>(&'a [u8]);

impl<'a> Get<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Option<u64>> {
        self.u64().map(|time| (time != u64::MAX).then_some(time))
    }

    fn flag(&mut self) -> Option<bool> {
        self.array::<1>().map(|[flag]| flag != 0)
    }

    fn ip(&mut self) -> Option<IpAddr> {
        self.array::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
    }

    fn address(&mut self) -> Option<Option<SocketAddr>> {
        if !self.flag()? {
            return Some(None);
        }
        let ip = self.ip()?;
        Some(Some(SocketAddr::new(ip, u16::from_le_bytes(self.array()?))))
    }

    fn id(&mut self) -> Option<Option<[u8; 16]>> {
        if self.flag()? { self.array().map(Some) } else { Some(None) }
    }

    fn way(&mut self) -> Option<UpstreamWay> {
        Some(UpstreamWay {
            endpoint: self.id()?.map(EndpointId::from_bytes),
            address: self.address()?,
            connected: self.time()?,
            head: self.time()?,
            total: self.u64()?,
            retries: self.array::<1>().map(|[retries]| retries)?,
        })
    }

    fn facts(&mut self) -> Option<TlsFacts> {
        let version = u16::from_le_bytes(self.array()?);
        let suite = u16::from_le_bytes(self.array()?);
        let [alpn, is_resumed] = self.array()?;
        Some(TlsFacts { version, suite, alpn, is_resumed: is_resumed != 0 })
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::full;
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let full = full();
        let bare = Record {
            route: None,
            upstream: None,
            tls: None,
            fault: b"BadRequest",
            peer: "[2001:db8::1]:5".parse().unwrap(),
            ..full.clone()
        };
        for record in [full, bare] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Some(record));
            for end in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..end]), None, "{end}");
            }
        }
    }

    #[test]
    fn no_record_is_longer_than_its_bound() {
        let long = vec![b'x'; 100_000];
        let record = Record {
            request: &long,
            host: &long,
            method: &long,
            path: &long,
            query: &long,
            user: &long,
            fault: &long,
            agent: &long,
            referer: &long,
            tls: Some((TlsFacts::default(), &long)),
            ..full()
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert!(bytes.len() <= ENCODED_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Record::decode(&bytes).unwrap().path.len(), limits::ACCESS_TEXT_BYTES_MAX);
    }
}
