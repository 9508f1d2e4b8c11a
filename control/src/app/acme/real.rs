//! The world as it is: `certs::acme` behind the traits of [`super::outside`].

use async_trait::async_trait;
use certs::acme::order::{self, ChallengeTask, Progress, Reason};
use certs::acme::renewal_info::{self, Window};
use certs::acme::{Account, Directory, ExternalBinding, Method, NewAccount};
use config::secret::Secret;

use super::account::Dns;
use super::outside::{Access, Authority, Ca, Fault, Records, Registered, Registration, Txt, Wanted};

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

    async fn preflight(&self, _access: &Access, _wanted: &Wanted) -> Result<(), Fault> {
        Ok(())
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

#[async_trait]
impl Records for Real {
    async fn put(&self, _dns: &Dns, _secret: Option<&Secret<String>>, _records: &[Txt]) -> Result<(), Fault> {
        Err(Fault::again("this program cannot write TXT records yet; use http-01 or tls-alpn-01"))
    }

    async fn remove(
        &self,
        _dns: &Dns,
        _secret: Option<&Secret<String>>,
        _records: &[Txt],
    ) -> Result<(), Fault> {
        Ok(())
    }
}
