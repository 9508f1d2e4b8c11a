//! The steps of an order. Each may be taken again: what it left is looked at first, and the authority asks itself where the
//! order stands.

use std::time::Duration;

use certs::acme::Method;
use certs::acme::order::{Answer as Wants, Progress};
use config::limits;
use config::secret::Secret;
use config::snapshot::{ChallengeAnswer, Generation};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, RsaKeySize};

use super::super::super::certificate::install::{self, Issued};
use super::super::super::change::Scope;
use super::super::super::{App, Caller, Error, challenge};
use super::super::account::{CREDENTIALS_PURPOSE, DNS_PURPOSE, EAB_PURPOSE};
use super::super::budget;
use super::super::outside::{Access, Authority, Fault, Outside, Place, Registration, Txt, Wanted};
use super::super::tally::Ended;
use super::{Left, Step, preflight};
use crate::publish::await_acknowledged;
use crate::store::acme_account::AccountRow;
use crate::store::acme_order::OrderRow;
use crate::store::identity::IdentityRow;
use crate::store::lease::Lease;
use crate::store::{self, text};

/// What the keys of certificates to be are sealed for.
const ORDER_KEY_PURPOSE: &str = "acme-order-key";

/// One order, and what belongs to it.
#[derive(Debug)]
pub struct Work {
    /// The order's row.
    pub row: OrderRow,
    /// What its steps left.
    pub left: Left,
    /// The account that it is made with.
    pub account: AccountRow,
    /// The certificate that it is for.
    pub certificate: IdentityRow,
    /// On the strength of what it is worked on; `None` where nobody else could.
    pub lease: Option<Lease>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next one follows.
    Go,
    /// This one follows.
    To(Step),
    /// The same one is taken again after a while: nothing is wrong.
    Wait(Duration),
    /// The next one follows, and the row says so already.
    Written,
}

/// Why a step did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The world's fault: written down, and tried again.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Ours, or the store's: nothing can be written down.
    #[error(transparent)]
    Ours(#[from] Error),
}

impl From<store::Error> for StepError {
    fn from(error: store::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl Work {
    /// How the names are proved.
    ///
    /// Errors: the row holds what this program never writes.
    pub fn method(&self) -> Result<Method, Error> {
        [Method::Http01, Method::TlsAlpn01, Method::Dns01]
            .into_iter()
            .find(|method| method.as_str() == self.row.challenge)
            .ok_or_else(|| Error::Internal(format!("{:?} is no challenge", self.row.challenge)))
    }

    fn order(&self) -> Result<&str, StepError> {
        // An order whose URL is not there was never opened, as far as we know.
        self.left
            .order
            .as_deref()
            .ok_or_else(|| Fault::anew("the order at the authority is not known").into())
    }

    pub(super) fn wanted(&self) -> Result<Wanted, Error> {
        Ok(Wanted {
            names: self.row.names.clone(),
            method: self.method()?,
            replaces: self.certificate.chain.first().cloned(),
        })
    }
}

/// Takes the step that the order stands at.
pub async fn take(app: &App, outside: &Outside, work: &mut Work) -> Result<Next, StepError> {
    let step = Step::parse(&work.row.step)
        .ok_or_else(|| Error::Internal(format!("{:?} is no step of an order", work.row.step)))?;
    match step {
        Step::Register => register(app, outside, work).await,
        Step::Preflight => preflight::look(app, outside, work).await,
        Step::Prepare => prepare(app, work),
        Step::Start => {
            if work.left.order.is_none() {
                work.left.order = Some(opened(app, outside, work).await?);
            }
            Ok(Next::Go)
        }
        Step::Publish => publish(app, outside, work).await,
        Step::Confirm => confirm(app, outside, work).await,
        Step::Tell => {
            outside.ca.ready(&access(app, work)?, work.order()?, work.method()?).await?;
            work.left.polls = 0;
            Ok(Next::Go)
        }
        Step::Validate | Step::Issue => poll(app, outside, work, step).await,
        Step::Finalize => {
            let csr = work.left.csr.as_deref().map(text::unbase64).transpose().map_err(Error::Internal)?;
            let csr = csr.ok_or_else(|| Fault::anew("the request is not there"))?;
            outside.ca.finalize(&access(app, work)?, work.order()?, &csr).await?;
            work.left.polls = 0;
            Ok(Next::Go)
        }
        Step::Download => {
            let chain = outside.ca.download(&access(app, work)?, work.order()?).await?;
            work.left.chain = chain.iter().map(|der| text::base64(der)).collect();
            Ok(Next::Go)
        }
        Step::Install => put_in_force(app, work).await,
        Step::Clean => {
            clean(app, outside, work).await;
            Ok(Next::Go)
        }
        Step::Done | Step::Cancelled => Ok(Next::Go),
    }
}

/// Opens an order, or finds the one of an earlier request whose answer was lost.
async fn opened(app: &App, outside: &Outside, work: &mut Work) -> Result<String, StepError> {
    let (access, wanted) = (access(app, work)?, work.wanted()?);
    if work.left.intent.is_some()
        && let Some(url) = outside.ca.find(&access, &wanted).await?
    {
        return Ok(url);
    }
    budget::book(app, work).await?;
    Ok(outside.ca.start(&access, &wanted).await?)
}

fn authority(account: &AccountRow) -> Authority {
    Authority {
        directory: account.directory.clone(),
        roots: account.roots.clone(),
        resolvers: account.resolvers.clone(),
    }
}

/// The account as orders use it.
///
/// Errors: it is not registered yet.
pub fn access_of(app: &App, account: &AccountRow) -> Result<Access, StepError> {
    let not_yet = || Fault {
        then: super::super::outside::Then::Register,
        ..Fault::again("the account is not registered")
    };
    let sealed = account.credentials_sealed.as_deref().ok_or_else(not_yet)?;
    let credentials =
        app.keys.unseal(CREDENTIALS_PURPOSE, sealed).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Access { authority: authority(account), credentials })
}

pub(super) fn access(app: &App, work: &Work) -> Result<Access, StepError> {
    access_of(app, &work.account)
}

fn unsealed(app: &App, purpose: &str, sealed: Option<&[u8]>) -> Result<Option<Secret<String>>, Error> {
    let internal = |why: String| Error::Internal(why);
    let Some(sealed) = sealed else { return Ok(None) };
    let opened = app.keys.unseal(purpose, sealed).map_err(|error| internal(error.to_string()))?;
    let text =
        String::from_utf8(opened.expose().clone()).map_err(|_| internal("a secret is no text".into()))?;
    Ok(Some(Secret::new(text)))
}

async fn register(app: &App, outside: &Outside, work: &mut Work) -> Result<Next, StepError> {
    if work.account.credentials_sealed.is_some() {
        return Ok(Next::Go);
    }
    let key = unsealed(app, EAB_PURPOSE, work.account.eab_key_sealed.as_deref())?;
    let external = work.account.eab_kid.clone().zip(key);
    let new = Registration { contacts: work.account.contacts.clone(), external };
    let done = outside.ca.register(&authority(&work.account), &new).await;
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Private).await?;
    match done {
        Ok(registered) => {
            let sealed = app.keys.seal(CREDENTIALS_PURPOSE, registered.credentials.expose());
            let sealed = sealed.map_err(|error| Error::Internal(error.to_string()))?;
            store::acme_account::registered(change.conn(), work.account.id, &sealed, &registered.url).await?;
            change.commit().await?;
            Ok(Next::Go)
        }
        Err(fault) => {
            store::acme_account::failed(change.conn(), work.account.id, &fault.message).await?;
            change.commit().await?;
            Err(fault.into())
        }
    }
}

fn prepare(app: &App, work: &mut Work) -> Result<Next, StepError> {
    if work.left.csr.is_some() && work.row.key_sealed.is_some() {
        return Ok(Next::Go);
    }
    let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
    let key = new_key(work.certificate.key_kind.as_deref()).map_err(|error| internal(&error))?;
    let names: Vec<_> = work.row.names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(|error| internal(&error))?;
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).map_err(|error| internal(&error))?;
    let der = Secret::new(key.serialize_der());
    let sealed = app.keys.seal(ORDER_KEY_PURPOSE, der.expose()).map_err(|error| internal(&error))?;
    work.row.key_sealed = Some(sealed);
    work.left.csr = Some(text::base64(csr.der()));
    Ok(Next::Go)
}

fn new_key(kind: Option<&str>) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
    match kind {
        Some("rsa-2048") => rsa(RsaKeySize::_2048),
        Some("rsa-3072") => rsa(RsaKeySize::_3072),
        Some("rsa-4096") => rsa(RsaKeySize::_4096),
        Some("ecdsa-p384") => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        _ => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
    }
}

async fn publish(app: &App, outside: &Outside, work: &mut Work) -> Result<Next, StepError> {
    let tasks = outside.ca.tasks(&access(app, work)?, work.order()?, work.method()?).await?;
    let (mut answers, mut records) = (Vec::new(), Vec::new());
    for task in tasks {
        let host = task.host;
        match task.answer {
            Wants::Http01 { token, key_authorization } => {
                let (token, key_authorization) = (token.into(), key_authorization.into());
                let answer = ChallengeAnswer::Http { token, key_authorization };
                answers.push(challenge::Answer { host, answer });
            }
            Wants::TlsAlpn01 { certificate, key } => {
                let answer = ChallengeAnswer::TlsAlpn { certificate, key };
                answers.push(challenge::Answer { host, answer });
            }
            Wants::Dns01 { record, value } => records.push(Txt { record, value }),
        }
    }
    work.left.generation = match answers.is_empty() {
        true => None,
        false => Some(challenge::publish(app, &work.row.id.to_string(), &answers).await?.0),
    };
    // Put by the next step, once they are written down: what is not written down is never taken away.
    for record in records {
        if !work.left.records.contains(&record) {
            work.left.records.push(record);
        }
    }
    Ok(Next::Go)
}

async fn confirm(app: &App, outside: &Outside, work: &mut Work) -> Result<Next, StepError> {
    if let Some(generation) = work.left.generation {
        await_acknowledged(app, Generation(generation), outside.acknowledged_within)
            .await
            .map_err(Fault::from)?;
        preflight::reach(app, outside, work).await?;
    }
    if !work.left.records.is_empty() {
        outside.records.put(&place(app, &work.account)?, &work.left.records).await?;
    }
    Ok(Next::Go)
}

fn place(app: &App, account: &AccountRow) -> Result<Place, StepError> {
    let missing = || Fault::again(format!("account {} does not say where TXT records are put", account.name));
    let said = account.dns.as_deref().ok_or_else(missing)?;
    let dns = serde_json::from_str(said).map_err(|why| Error::Internal(why.to_string()))?;
    let secret = unsealed(app, DNS_PURPOSE, account.dns_secret_sealed.as_deref())?;
    Ok(Place { dns, secret, resolvers: account.resolvers.clone() })
}

async fn poll(app: &App, outside: &Outside, work: &mut Work, step: Step) -> Result<Next, StepError> {
    let progress = outside.ca.poll(&access(app, work)?, work.order()?).await?;
    let after = match (progress, step) {
        (Progress::Failed(error), _) => return Err(Fault::from(*error).into()),
        (Progress::Issued, _) => return Ok(Next::To(Step::Download)),
        (Progress::Ready, Step::Validate) | (Progress::Processing { .. }, Step::Validate) => {
            return Ok(Next::Go);
        }
        // It forgot the request, or never got it.
        (Progress::Ready, _) => return Ok(Next::To(Step::Finalize)),
        (Progress::Pending { after } | Progress::Processing { after }, _) => after,
    };
    work.left.polls += 1;
    if work.left.polls > limits::ACME_POLLS_MAX {
        let what = if step == Step::Validate { "looked at the names" } else { "issued the certificate" };
        return Err(Fault::anew(format!(
            "the authority never {what}; it was asked {} times",
            limits::ACME_POLLS_MAX
        ))
        .into());
    }
    Ok(Next::Wait(after))
}

/// The new chain takes the place of the old one, and the answers are taken back: one generation, one transaction with the
/// order's own row.
async fn put_in_force(app: &App, work: &mut Work) -> Result<Next, StepError> {
    let chain = work.left.chain.iter().map(|der| text::unbase64(der)).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(Error::Internal)?;
    let sealed = work.row.key_sealed.as_deref().ok_or_else(|| Fault::anew("the key is not there"))?;
    let key =
        app.keys.unseal(ORDER_KEY_PURPOSE, sealed).map_err(|error| Error::Internal(error.to_string()))?;
    covers(&chain, work)?;
    certs::identity::Parts::parse(&chain, key.expose())
        .map_err(|why| Fault::anew(format!("what the authority issued cannot be used: {why}")))?;
    let caller = Caller::ourselves("acme");
    let mut change = app.begin(&caller, Scope::Published).await?;
    let row = store::identity::by_id(change.conn(), work.certificate.id).await?;
    let mut row = row.ok_or_else(|| Fault::again("the certificate was deleted"))?;
    install::install(&mut change, &mut row, Issued { chain, key }).await?;
    challenge::remove(&mut change, &work.row.id.to_string()).await?;
    let (seen, now) = (work.row.stamp.revision, change.now());
    work.row.step = Step::Clean.as_str().to_owned();
    (work.row.last_error, work.row.next_try) = (None, now);
    work.row.stamp = work.row.stamp.changed(now);
    work.left.generation = None;
    work.row.progress = work.left.to_text()?;
    if !super::job::stands(change.conn(), work, seen).await? {
        return Err(Fault::again("somebody else works on this order").into());
    }
    store::acme_order::log(change.conn(), work.row.id, now, "the certificate is in force").await?;
    change.commit().await?;
    app.acme.tally().count(&work.account.directory, Ended::Issued);
    Ok(Next::Written)
}

fn covers(chain: &[Vec<u8>], work: &Work) -> Result<(), StepError> {
    let leaf = chain.first().map(Vec::as_slice).unwrap_or_default();
    let said = certs::identity::Said::parse(leaf)
        .map_err(|why| Fault::anew(format!("what the authority issued cannot be read: {why}")))?;
    match work.row.names.iter().find(|name| !said.subject_names.hosts.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Fault::anew(format!("what the authority issued is not for {name}")).into()),
    }
}

/// Takes TXT records away. One that cannot be taken away does no harm, so nothing waits for it.
pub async fn clean(app: &App, outside: &Outside, work: &mut Work) {
    let records = std::mem::take(&mut work.left.records);
    if records.is_empty() {
        return;
    }
    let removed = match place(app, &work.account) {
        Ok(place) => outside.records.remove(&place, &records).await.map_err(StepError::from),
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        tracing::warn!(order = %work.row.id, %error, "TXT records of an order were left behind");
    }
}
