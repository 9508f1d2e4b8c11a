//! The world as it is: `certs::acme` and `certs::dns` behind the traits of [`super::outside`].

use std::time::Duration;

use async_trait::async_trait;
use certs::acme::order::{self, ChallengeTask, Progress, Reason};
use certs::acme::preflight::{self, Facts, Finding};
use certs::acme::renewal_info::{self, Window};
use certs::acme::{Account, Directory, ExternalBinding, Method, NewAccount};
use certs::dns::{Delegated, DnsError, Hook, Lookup, Rfc2136, TsigKey, propagation};
use config::limits;

use super::account::{Dns, Provider};
use super::outside::{Access, Authority, Ca, Fault, Own, Records, Registered, Registration, Txt, Wanted};

/// Addresses of a name at which a published answer is looked for.
const LOOKS_MAX: usize = 4;
/// How long all these looks may take: they only warn, and the order waits for them.
const LOOKS_LAST: Duration = Duration::from_secs(20);

/// The network.
#[derive(Debug)]
pub(super) struct Real;

fn directory(authority: &Authority) -> Result<Directory, Fault> {
    let roots = Some(authority.roots.as_str()).filter(|roots| !roots.is_empty());
    Ok(Directory::open(&authority.directory, roots)?)
}

async fn account(access: &Access) -> Result<Account, Fault> {
    Ok(Account::load(&directory(&access.authority)?, &access.credentials).await?)
}

impl From<DnsError> for Fault {
    fn from(error: DnsError) -> Self {
        Self::again(error.to_string())
    }
}

/// Where names are looked up. Resolvers on another port than 53 are a view of their own: its zones' servers are asked on
/// that port too.
fn lookup(resolvers: &[std::net::SocketAddr]) -> Result<Lookup, Fault> {
    let Some(first) = resolvers.first() else { return Ok(Lookup::system()?) };
    Ok(Lookup::new(resolvers.to_vec())?.with_authoritative_port(first.port()))
}

#[async_trait]
impl Ca for Real {
    async fn register(&self, authority: &Authority, new: &Registration) -> Result<Registered, Fault> {
        let external = match &new.external {
            Some((kid, key)) => Some(ExternalBinding::parse(kid, key)?),
            None => None,
        };
        let asked = NewAccount { contacts: &new.contacts, terms_agreed: true, external: external.as_ref() };
        let (account, credentials) = Account::create(&directory(authority)?, &asked).await?;
        Ok(Registered { credentials, url: account.url().to_owned() })
    }

    async fn preflight(&self, access: &Access, wanted: &Wanted, own: &Own) -> Result<Vec<Finding>, Fault> {
        let account = account(access).await?;
        let offer = account.directory().offer().await?;
        let lookup = lookup(&access.authority.resolvers)?;
        let facts = Facts {
            lookup: &lookup,
            method: wanted.method,
            caa_identities: &offer.caa_identities,
            account_url: account.url(),
            own_addresses: &own.addresses,
            must_point_here: own.is_complete,
        };
        Ok(preflight::check(&wanted.names, &facts).await)
    }

    /// On port 80, whatever port the gateways have: that is where authorities look (RFC 8555 § 8.3).
    async fn reach(&self, authority: &Authority, tasks: &[ChallengeTask]) -> Vec<Finding> {
        let Ok(lookup) = lookup(&authority.resolvers) else { return Vec::new() };
        let (mut found, until) = (Vec::new(), tokio::time::Instant::now() + LOOKS_LAST);
        for task in tasks {
            let look = async {
                let addresses = lookup.addresses(task.host.as_str()).await.unwrap_or_default();
                preflight::fetch(task, addresses.get(..LOOKS_MAX).unwrap_or(&addresses), 80).await
            };
            match tokio::time::timeout_at(until, look).await {
                Ok(seen) => found.extend(seen),
                Err(_) => break,
            }
        }
        found
    }

    async fn find(&self, access: &Access, wanted: &Wanted) -> Result<Option<String>, Fault> {
        Ok(order::find(&account(access).await?, &wanted.names).await?)
    }

    async fn start(&self, access: &Access, wanted: &Wanted) -> Result<String, Fault> {
        let asked = order::Wanted {
            names: &wanted.names,
            method: wanted.method,
            profile: None,
            replaces: wanted.replaces.as_deref(),
        };
        Ok(order::start(&account(access).await?, &asked).await?)
    }

    async fn tasks(&self, access: &Access, order: &str, method: Method) -> Result<Vec<ChallengeTask>, Fault> {
        Ok(order::tasks(&account(access).await?, order, method).await?)
    }

    async fn ready(&self, access: &Access, order: &str, method: Method) -> Result<(), Fault> {
        Ok(order::ready(&account(access).await?, order, method).await?)
    }

    async fn poll(&self, access: &Access, order: &str) -> Result<Progress, Fault> {
        Ok(order::poll(&account(access).await?, order).await?)
    }

    async fn finalize(&self, access: &Access, order: &str, csr: &[u8]) -> Result<(), Fault> {
        Ok(order::finalize(&account(access).await?, order, csr).await?)
    }

    async fn download(&self, access: &Access, order: &str) -> Result<Vec<Vec<u8>>, Fault> {
        Ok(order::download(&account(access).await?, order).await?.der)
    }

    async fn revoke(&self, access: &Access, leaf: &[u8], reason: Reason) -> Result<(), Fault> {
        Ok(order::revoke(&account(access).await?, leaf, reason).await?)
    }

    async fn renewal_info(&self, access: &Access, leaf: &[u8]) -> Result<Option<Window>, Fault> {
        Ok(renewal_info::renewal_info(&account(access).await?, leaf).await?)
    }
}

/// Writes one value, or takes it away.
async fn write(place: &super::outside::Place, txt: &Txt, is_wanted: bool) -> Result<(), Fault> {
    let Dns { provider, delegated } = &place.dns;
    let provider: Box<dyn certs::dns::Provider> = match provider {
        Provider::Rfc2136 { server, zone, key_name, algorithm } => {
            let missing = || Fault::again("the TSIG key of the account is not there");
            let secret = place.secret.as_ref().ok_or_else(missing)?;
            let key = TsigKey::parse(key_name, algorithm, secret)?;
            let updates = Rfc2136::new(&server.to_string(), zone.as_deref(), Some(key))?;
            if *delegated {
                Box::new(Delegated::new(lookup(&place.resolvers)?, updates))
            } else {
                Box::new(updates)
            }
        }
        Provider::Exec { program } => {
            let hook = Hook::new(program)?;
            if *delegated {
                Box::new(Delegated::new(lookup(&place.resolvers)?, hook))
            } else {
                Box::new(hook)
            }
        }
    };
    match is_wanted {
        true => provider.present(&txt.record, &txt.value).await?,
        false => provider.remove(&txt.record, &txt.value).await?,
    }
    Ok(())
}

#[async_trait]
impl Records for Real {
    async fn put(&self, place: &super::outside::Place, records: &[Txt]) -> Result<(), Fault> {
        for record in records {
            write(place, record, true).await?;
        }
        let lookup = lookup(&place.resolvers)?;
        let within = Duration::from_millis(limits::ACME_PROPAGATION_MS);
        for record in records {
            propagation::wait(&lookup, &record.record, &record.value, within).await?;
        }
        Ok(())
    }

    async fn remove(&self, place: &super::outside::Place, records: &[Txt]) -> Result<(), Fault> {
        let mut failed = None;
        for record in records {
            if let Err(fault) = write(place, record, false).await {
                failed = Some(fault);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
