//! What became of one request, and its compact form on the way to the writer.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::id::{EndpointId, RouteId};
use config::limits;
use rustls::{CipherSuite, CommonState, HandshakeKind, ProtocolVersion};

/// What became of one request. Texts are as they came: whatever a stranger sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// When it ended, since 1970 UTC.
    pub at: Duration,
    /// Number of the request, as sent in `X-Request-Id`.
    pub request: &'a [u8],
    /// The trace it belongs to.
    pub trace: [u8; 16],
    /// Who asked, through trusted proxies.
    pub client: IpAddr,
    /// Who connected.
    pub peer: SocketAddr,
    /// Whether it came by https, to the gateway or a trusted proxy before it.
    pub is_secured: bool,
    /// The protocol it came by.
    pub protocol: Protocol,
    /// The host it was for.
    pub host: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The path without its query.
    pub path: &'a [u8],
    /// The query without its `?`. Its secrets are hidden when it is written.
    pub query: &'a [u8],
    /// The status that was sent; 0 if none was.
    pub status: u16,
    /// Bytes of the bodies, towards the VM and towards the user.
    pub bytes: (u64, u64),
    /// From the complete head to the last byte of the answer, in microseconds.
    pub micros: u64,
    /// The generation it was served by; 0 if there was none.
    pub generation: u64,
    /// The route it matched.
    pub route: Option<RouteId>,
    /// Its way to an endpoint.
    pub upstream: Option<UpstreamWay>,
    /// What the TLS handshake agreed on, and the name asked for.
    pub tls: Option<(TlsFacts, &'a [u8])>,
    /// Who logged in.
    pub user: &'a [u8],
    /// What went wrong, by its kind.
    pub fault: &'a [u8],
    /// `User-Agent`.
    pub agent: &'a [u8],
    /// `Referer`.
    pub referer: &'a [u8],
}

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the protocol of that name")]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
    Tls,
    Tcp,
    Udp,
}

impl Protocol {
    /// As logs write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// The way of a request to an endpoint. Times are in microseconds since the request was sent on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpstreamWay {
    /// The endpoint it ended at.
    pub endpoint: Option<EndpointId>,
    /// The address of that.
    pub address: Option<SocketAddr>,
    /// Until there was a connection; `None` if there was none, nearly 0 if one stood already.
    pub connected: Option<u64>,
    /// Until the head of the response was whole.
    pub head: Option<u64>,
    /// Until the end.
    pub total: u64,
    /// Tries after the first.
    pub retries: u8,
}

/// What a TLS handshake agreed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsFacts {
    version: u16,
    suite: u16,
    alpn: u8,
    is_resumed: bool,
}

impl TlsFacts {
    /// Reads them off a connection whose handshake is done.
    pub fn of(state: &CommonState) -> Self {
        Self {
            version: state.protocol_version().map_or(0, u16::from),
            suite: state.negotiated_cipher_suite().map_or(0, |suite| u16::from(suite.suite())),
            alpn: match state.alpn_protocol() {
                Some(b"http/1.1") => 1,
                Some(b"h2") => 2,
                Some(_) | None => 0,
            },
            is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// As logs write it: `TLSv1.3`.
    pub fn version(self) -> &'static str {
        if self.version == u16::from(ProtocolVersion::TLSv1_3) {
            "TLSv1.3"
        } else if self.version == u16::from(ProtocolVersion::TLSv1_2) {
            "TLSv1.2"
        } else {
            ""
        }
    }

    /// Whether it is TLS 1.3.
    pub fn is_tls_1_3(self) -> bool {
        self.version == u16::from(ProtocolVersion::TLSv1_3)
    }

    /// The name of the cipher suite.
    pub fn cipher(self) -> &'static str {
        CipherSuite::from(self.suite).as_str().unwrap_or_default()
    }

    /// The application protocol, if one was agreed on.
    pub const fn alpn(self) -> &'static str {
        match self.alpn {
            1 => "http/1.1",
            2 => "h2",
            _ => "",
        }
    }

    /// Whether an earlier session was resumed.
    pub const fn is_resumed(self) -> bool {
        self.is_resumed
    }
}

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
pub(super) mod tests {
    use super::*;

    /// A record with everything in it.
    pub(in super::super) fn full() -> Record<'static> {
        Record {
            at: Duration::from_millis(1_792_345_678_042),
            request: b"r-1",
            trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes(),
            client: [203, 0, 113, 9].into(),
            peer: ([192, 0, 2, 7], 999).into(),
            is_secured: true,
            protocol: Protocol::Http11,
            host: b"app.example",
            method: b"GET",
            path: b"/a/b",
            query: b"q=1&token=abc",
            status: 200,
            bytes: (1, 2),
            micros: 1_234_567,
            generation: 3,
            route: Some(RouteId::from_bytes([1; 16])),
            upstream: Some(UpstreamWay {
                endpoint: Some(EndpointId::from_bytes([2; 16])),
                address: Some(([10, 0, 0, 1], 8080).into()),
                connected: Some(12),
                head: Some(345),
                total: 6_789,
                retries: 1,
            }),
            tls: Some((
                TlsFacts {
                    version: ProtocolVersion::TLSv1_3.into(),
                    suite: CipherSuite::TLS13_AES_128_GCM_SHA256.into(),
                    alpn: 2,
                    is_resumed: true,
                },
                b"app.example",
            )),
            user: b"anna",
            fault: b"",
            agent: b"curl/8",
            referer: b"https://other.example/x?code=y",
        }
    }

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
