//! Looking names up: through a resolver, and at the servers of the zone itself.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the types of record one is wanted and all others are not"
)]

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use config::limits;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::{DnsError, ask};

/// Where names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    resolvers: Vec<SocketAddr>,
    authoritative: Vec<SocketAddr>,
    authoritative_port: u16,
}

/// A name server of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name, or its address where settings name it.
    pub name: String,
    /// Its addresses, at least one.
    pub addresses: Vec<SocketAddr>,
}

/// A zone and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The name where it begins.
    pub origin: String,
    /// Its servers, at least one, at most [`limits::DNS_SERVERS_MAX`].
    pub servers: Vec<Server>,
}

/// One CAA record (RFC 8659 § 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaaRecord {
    pub(crate) critical: bool,
    pub(crate) tag: String,
    pub(crate) value: String,
}

impl Lookup {
    /// Looks up through these resolvers, the first that answers. Errors: there is none.
    pub fn new(resolvers: Vec<SocketAddr>) -> Result<Self, DnsError> {
        if resolvers.is_empty() {
            return Err(DnsError::Settings { why: "no resolver is given".to_owned() });
        }
        Ok(Self { resolvers, authoritative: Vec::new(), authoritative_port: 53 })
    }

    /// Looks up through the resolvers of this machine, read once from `/etc/resolv.conf`.
    pub fn system() -> Result<Self, DnsError> {
        Self::from_file(Path::new("/etc/resolv.conf"))
    }

    fn from_file(path: &Path) -> Result<Self, DnsError> {
        let text = std::fs::read_to_string(path).map_err(|error| DnsError::Settings {
            why: format!("{} cannot be read: {error}", path.display()),
        })?;
        let resolvers = text.lines().filter_map(|line| {
            let address: IpAddr = line.trim().strip_prefix("nameserver")?.trim().parse().ok()?;
            Some(SocketAddr::new(address, 53))
        });
        Self::new(resolvers.take(3).collect())
    }

    /// Takes these servers for the authoritative ones of every zone: for zones that are hidden behind a primary, and
    /// for tests.
    #[must_use]
    pub fn with_authoritative(mut self, servers: Vec<SocketAddr>) -> Self {
        self.authoritative = servers;
        self
    }

    /// Asks authoritative servers on another port than 53.
    #[must_use]
    pub fn with_authoritative_port(mut self, port: u16) -> Self {
        self.authoritative_port = port;
        self
    }

    /// Addresses of a host, IPv4 first; empty when the name exists without any or does not exist.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        let name = ask::name(host)?;
        let mut addresses = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            let answer = self.resolve(&name, kind).await?;
            addresses.extend(answer.answers.iter().filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            }));
        }
        Ok(addresses)
    }

    /// The name that `record` is an alias of, itself if it is none; at most [`limits::DNS_ALIASES_MAX`] steps.
    pub async fn alias(&self, record: &str) -> Result<String, DnsError> {
        let mut name = ask::name(record)?;
        for _ in 0..=limits::DNS_ALIASES_MAX {
            let answer = self.resolve(&name, RecordType::CNAME).await?;
            let target = answer.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == name => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = target else { return Ok(ask::text(&name)) };
            name = target.to_lowercase();
        }
        let why = format!("more than {} aliases, or aliases in a circle", limits::DNS_ALIASES_MAX);
        Err(DnsError::Name { name: record.to_owned(), why })
    }

    /// The zone that `record` is in, aliases not followed.
    pub async fn zone(&self, record: &str) -> Result<Zone, DnsError> {
        let mut below = ask::name(record)?;
        let origin = loop {
            let answer = self.resolve(&below, RecordType::SOA).await?;
            if let Some(origin) = zone_in(&answer, &below) {
                break origin;
            }
            if below.num_labels() <= 1 {
                return Err(DnsError::Name { name: record.to_owned(), why: "no zone has it".to_owned() });
            }
            below = below.base_name();
        };
        let servers = if self.authoritative.is_empty() {
            self.servers(&origin).await?
        } else {
            let server = |at: &SocketAddr| Server { name: at.to_string(), addresses: vec![*at] };
            self.authoritative.iter().map(server).collect()
        };
        if servers.is_empty() {
            let why = "none of its name servers has an address".to_owned();
            return Err(DnsError::Name { name: ask::text(&origin), why });
        }
        Ok(Zone { origin: ask::text(&origin), servers })
    }

    async fn servers(&self, origin: &Name) -> Result<Vec<Server>, DnsError> {
        let answer = self.resolve(origin, RecordType::NS).await?;
        let names = answer.answers.iter().filter_map(|record| match &record.data {
            RData::NS(server) => Some(ask::text(&server.0)),
            _ => None,
        });
        let mut servers = Vec::new();
        for name in names.take(limits::DNS_SERVERS_MAX) {
            let addresses = self.addresses(&name).await?;
            let addresses: Vec<SocketAddr> = addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, self.authoritative_port))
                .collect();
            // A server without an address answers nobody, the authority included.
            if !addresses.is_empty() {
                servers.push(Server { name, addresses });
            }
        }
        Ok(servers)
    }

    /// The CAA records at a name itself, through its aliases; empty when there are none (RFC 8659 § 3).
    pub(crate) async fn caa(&self, host: &str) -> Result<Vec<CaaRecord>, DnsError> {
        let answer = self.resolve(&ask::name(host)?, RecordType::CAA).await?;
        let records = answer.answers.into_iter().filter_map(|record| match record.data {
            RData::CAA(caa) => Some(CaaRecord {
                critical: caa.issuer_critical,
                tag: caa.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&caa.value).into_owned(),
            }),
            _ => None,
        });
        Ok(records.collect())
    }

    /// Asks the resolvers in turn. "No such name" is an answer.
    async fn resolve(&self, name: &Name, kind: RecordType) -> Result<Message, DnsError> {
        let mut failure = DnsError::Settings { why: "no resolver is given".to_owned() };
        for resolver in &self.resolvers {
            let answer = match ask::question(*resolver, name, kind, true).await {
                Ok(answer) => answer,
                Err(error) => {
                    failure = error;
                    continue;
                }
            };
            if matches!(answer.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
                return Ok(answer);
            }
            failure = DnsError::Unanswered {
                server: format!("the resolver {resolver}"),
                why: format!("{} for {kind} of {}", answer.response_code, ask::text(name)),
            };
        }
        Err(failure)
    }
}

/// The TXT values at a name as one server has them, aliases not followed.
pub(super) async fn texts(server: SocketAddr, record: &str) -> Result<Vec<String>, DnsError> {
    let name = ask::name(record)?;
    let answer = ask::question(server, &name, RecordType::TXT, false).await?;
    if !matches!(answer.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        let why = answer.response_code.to_string();
        return Err(DnsError::Refused { server: server.to_string(), what: format!("TXT of {record}"), why });
    }
    let values = answer.answers.iter().filter_map(|record| match &record.data {
        RData::TXT(text) => Some(super::clean(&String::from_utf8_lossy(&text.txt_data.concat()))),
        _ => None,
    });
    Ok(values.collect())
}

/// The zone that an answer to a question for its SOA speaks of: the record itself, or the one beside "no such".
fn zone_in(answer: &Message, asked: &Name) -> Option<Name> {
    let records = answer.answers.iter().chain(&answer.authorities);
    let mut origins =
        records.filter(|record| matches!(record.data, RData::SOA(_))).map(|record| &record.name);
    origins.find(|origin| origin.zone_of(asked)).map(Name::to_lowercase)
}

/// The zone that `record` is in, as one server sees it.
pub(super) async fn zone_at(server: SocketAddr, record: &Name) -> Result<Name, DnsError> {
    let mut below = record.clone();
    while below.num_labels() > 0 {
        let answer = ask::question(server, &below, RecordType::SOA, false).await?;
        if answer.authoritative
            && let Some(origin) = zone_in(&answer, record)
        {
            return Ok(origin);
        }
        below = below.base_name();
    }
    let why = format!("{server} has no zone for it; name the zone in the settings, or another server");
    Err(DnsError::Name { name: ask::text(record), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_resolvers_are_read_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        std::fs::write(
            &path,
            "# comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n",
        )
        .unwrap();
        let lookup = Lookup::from_file(&path).unwrap();
        assert_eq!(lookup.resolvers, ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()]);
    }

    #[test]
    fn a_machine_without_resolvers_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        std::fs::write(&path, "search example.com\n").unwrap();
        assert!(Lookup::from_file(&path).unwrap_err().to_string().contains("no resolver"));
    }
}
