//! Asking the machine's resolver: its hosts file first, then its name servers, as its files say now.
//!
//! hickory reads the files once; what was read is therefore thrown away when one of them changed.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use config::limits;
use config::name::HostName;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Found;

/// Where answers come from.
pub(in super::super) struct Source {
    files: Files,
    read: Mutex<Option<Read>>,
}

#[derive(Debug, Clone)]
struct Files {
    resolv_conf: PathBuf,
    hosts: PathBuf,
}

/// What a file looked like: enough to see that it is another one.
type Stamp = Option<(SystemTime, u64)>;

struct Read {
    stamps: [Stamp; 2],
    looked: Instant,
    resolver: TokioResolver,
    hosts: std::sync::Arc<Hosts>,
}

impl Default for Source {
    fn default() -> Self {
        Self::reading("/etc/resolv.conf", "/etc/hosts")
    }
}

impl Source {
    /// A source that goes by these files.
    pub(super) fn reading(resolv_conf: impl Into<PathBuf>, hosts: impl Into<PathBuf>) -> Self {
        let files = Files { resolv_conf: resolv_conf.into(), hosts: hosts.into() };
        Self { files, read: Mutex::new(None) }
    }

    /// A source that asks these name servers, and reads no file.
    #[cfg(test)]
    pub(super) fn asking(conf: ResolverConfig) -> Self {
        let resolver = resolver(conf, ResolverOpts::default()).unwrap();
        let looked = Instant::now() + Duration::from_secs(3_600);
        let read = Read { stamps: [None; 2], looked, resolver, hosts: std::sync::Arc::default() };
        Self { read: Mutex::new(Some(read)), ..Self::default() }
    }

    /// Makes the files due to be looked at.
    #[cfg(test)]
    pub(super) async fn look_again(&self) {
        if let Some(read) = self.read.lock().await.as_mut() {
            read.looked -= millis(limits::RESOLVER_FILES_MS);
        }
    }

    /// The addresses of `host`.
    pub(super) async fn look_up(&self, host: &HostName) -> Found {
        let (resolver, hosts) = match self.current().await {
            Ok(current) => current,
            Err(cause) => return Found::Failed(cause.to_string()),
        };
        if let Some(ips) = listed(&hosts, host) {
            return Found::Addresses(ips.into(), millis(limits::RESOLVED_FOR_MS.1));
        }
        match resolver.lookup_ip(host.as_str()).await {
            Ok(found) => {
                let life = found.valid_until().saturating_duration_since(std::time::Instant::now());
                let ips = in_turn(found.iter());
                match ips.is_empty() {
                    true => Found::Nothing(bounded(life, limits::NOT_RESOLVED_FOR_MS)),
                    false => Found::Addresses(ips.into(), bounded(life, limits::RESOLVED_FOR_MS)),
                }
            }
            Err(cause) => failed(&cause),
        }
    }

    /// What the files say now; they are looked at from time to time.
    async fn current(&self) -> io::Result<(TokioResolver, std::sync::Arc<Hosts>)> {
        let mut read = self.read.lock().await;
        let is_fresh = |read: &&mut Read| read.looked.elapsed() < millis(limits::RESOLVER_FILES_MS);
        if let Some(read) = read.as_mut().filter(is_fresh) {
            return Ok((read.resolver.clone(), std::sync::Arc::clone(&read.hosts)));
        }
        let (files, before) = (self.files.clone(), read.as_ref().map(|read| read.stamps));
        // Not on a worker's thread: a file may take its time.
        let newer =
            tokio::task::spawn_blocking(move || files.read(before)).await.map_err(io::Error::other)??;
        if let Some(newer) = newer {
            *read = Some(newer);
        }
        let Some(read) = read.as_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        read.looked = Instant::now();
        Ok((read.resolver.clone(), std::sync::Arc::clone(&read.hosts)))
    }
}

impl Files {
    /// Reads the files, unless they are what they were `before`.
    fn read(&self, before: Option<[Stamp; 2]>) -> io::Result<Option<Read>> {
        let stamps = [stamp(&self.resolv_conf), stamp(&self.hosts)];
        if before == Some(stamps) {
            return Ok(None);
        }
        let conf = std::fs::read(&self.resolv_conf).map_err(NetError::from).and_then(parse_resolv_conf);
        let (conf, options) = conf.unwrap_or_else(|cause| {
            let path = self.resolv_conf.display();
            tracing::warn!(%path, %cause, "no name server is known: only names of the hosts file resolve");
            (ResolverConfig::from_parts(None, Vec::new(), Vec::new()), ResolverOpts::default())
        });
        let mut hosts = Hosts::default();
        if let Ok(file) = std::fs::File::open(&self.hosts) {
            hosts.read_hosts_conf(file)?;
        }
        let resolver = resolver(conf, options).map_err(io::Error::other)?;
        Ok(Some(Read { stamps, looked: Instant::now(), resolver, hosts: hosts.into() }))
    }
}

fn resolver(conf: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, NetError> {
    // Answers are kept by us, who know which are in use; the hosts file is read by us, for one family is enough there.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    options.timeout = options.timeout.min(millis(limits::RESOLVER_TRY_MS));
    options.attempts = options.attempts.min(limits::RESOLVER_TRIES_MAX);
    let mut builder = TokioResolver::builder_with_config(conf, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The addresses that the hosts file gives a name.
fn listed(hosts: &Hosts, host: &HostName) -> Option<Vec<IpAddr>> {
    let name = Name::from_ascii(host.as_str()).ok()?;
    let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [of(RecordType::AAAA), of(RecordType::A)];
    let ips =
        found.iter().flatten().flat_map(|found| found.answers()).filter_map(|record| record.data.ip_addr());
    Some(in_turn(ips)).filter(|ips| !ips.is_empty())
}

/// A few addresses, the families in turn: where one does not work, the other is tried next (RFC 8305 § 4).
pub(super) fn in_turn(ips: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = ips.partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let pairs = std::iter::from_fn(|| match [v6.next(), v4.next()] {
        [None, None] => None,
        pair => Some(pair),
    });
    pairs.flatten().flatten().take(limits::RESOLVED_ADDRESSES_MAX).collect()
}

fn failed(cause: &NetError) -> Found {
    let NetError::Dns(DnsError::NoRecordsFound(none)) = cause else {
        return Found::Failed(cause.to_string());
    };
    let life = none.negative_ttl.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.into()));
    Found::Nothing(bounded(life, limits::NOT_RESOLVED_FOR_MS))
}

fn bounded(life: Duration, (least, most): (u64, u64)) -> Duration {
    life.clamp(millis(least), millis(most))
}

const fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
