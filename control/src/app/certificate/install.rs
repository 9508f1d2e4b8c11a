//! A chain and its key into a row, and from there to the gateways. What orders and renewals end with.

use config::id::IdentityId;
use config::secret::Secret;
use config::snapshot::{Kind, Value};

use super::super::acme::order;
use super::super::change::Change;
use super::super::{App, Error, Keys};
use super::{leaf, self_signed};
use crate::publish::build;
use crate::store;
use crate::store::identity::{IdentityRow, Source, Status};

/// A chain that was issued, and the key of its leaf.
#[derive(Debug)]
pub struct Issued {
    /// Certificates in DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8 DER.
    pub key: Secret<Vec<u8>>,
}

/// Puts a new chain in the place of what the row has, in its store and at the gateways. The id stays, so both are swapped
/// in one generation and the old chain serves until then.
///
/// Errors: key and chain do not belong together, or the store fails; then nothing is changed.
pub async fn install(change: &mut Change<'_>, row: &mut IdentityRow, issued: Issued) -> Result<(), Error> {
    write(change, row, issued).await?;
    publish(change, row)?;
    // Hosts that were served with a leaf of ours until now.
    for host in row.served.clone() {
        self_signed::release(change, &host).await?;
    }
    Ok(())
}

/// Writes the chain into the row and its place in the store.
pub(super) async fn write(
    change: &mut Change<'_>,
    row: &mut IdentityRow,
    issued: Issued,
) -> Result<(), Error> {
    fill(change.keys().as_ref(), row, issued)?;
    row.stamp = row.stamp.changed(change.now());
    Ok(store::identity::update(change.conn(), row).await?)
}

/// Writes the chain, what its leaf says and the sealed key into the row alone.
pub(super) fn fill(keys: &dyn Keys, row: &mut IdentityRow, issued: Issued) -> Result<(), Error> {
    certs::identity::Parts::parse(&issued.chain, issued.key.expose())
        .map_err(|why| Error::Internal(why.to_string()))?;
    let first = issued.chain.first().map(Vec::as_slice).unwrap_or_default();
    let facts = leaf::facts(first).map_err(Error::Internal)?;
    let sealed = keys.seal(build::IDENTITY_PURPOSE, issued.key.expose());
    row.key_sealed = sealed.map_err(|error| Error::Internal(error.to_string()))?;
    row.chain = issued.chain;
    row.names = facts.names;
    // As rows are read.
    row.names.sort_by_key(ToString::to_string);
    row.names.dedup();
    row.not_before = Some(facts.not_before);
    row.expires_at = facts.not_after;
    row.issuer = Some(facts.issuer);
    row.serial = Some(facts.serial);
    row.key_kind = Some(facts.key_kind);
    row.status = Status::Active;
    (row.last_error, row.next_try) = (None, None);
    (row.csr, row.csr_key_sealed) = (None, None);
    Ok(())
}

/// Notes that an order or a renewal failed and when it is tried again. What the row has is served on.
pub async fn failed(
    change: &mut Change<'_>,
    row: &mut IdentityRow,
    why: &str,
    next_try: i64,
) -> Result<(), Error> {
    if !row.is_issued() {
        row.status = Status::Failed;
    }
    row.last_error = Some(why.to_owned());
    row.next_try = Some(next_try);
    row.stamp = row.stamp.changed(change.now());
    Ok(store::identity::update(change.conn(), row).await?)
}

/// Publishes a certificate as its row says, or withdraws it. `row` was read after the routes were written.
pub fn publish(change: &mut Change<'_>, row: &IdentityRow) -> Result<(), Error> {
    let keys = change.keys();
    match build::identity(row, keys.as_ref())? {
        Some(identity) => change.put(Value::Identity(identity)),
        None => change.remove(Kind::IDENTITY, row.id.to_bytes()),
    }
    Ok(())
}

/// The same, from the row as it lies there.
pub async fn republish(change: &mut Change<'_>, id: IdentityId) -> Result<(), Error> {
    match store::identity::by_id(change.conn(), id).await? {
        Some(row) => publish(change, &row),
        None => {
            change.remove(Kind::IDENTITY, id.to_bytes());
            Ok(())
        }
    }
}

/// Takes a row away and withdraws what was published of it.
pub async fn remove(change: &mut Change<'_>, id: IdentityId) -> Result<(), Error> {
    let now = change.now();
    order::forget(change, id).await?;
    store::identity::delete(change.conn(), id, now).await?;
    change.remove(Kind::IDENTITY, id.to_bytes());
    Ok(())
}

/// A certificate by its id, for orders; those that are gone are none.
pub async fn row(app: &App, id: IdentityId) -> Result<Option<IdentityRow>, Error> {
    Ok(store::identity::by_id(&mut app.db.read().await?, id).await?)
}

/// Whether an ACME authority is to be asked about it at all.
pub fn is_ordered(row: &IdentityRow) -> bool {
    row.source == Source::Acme && row.status != Status::Revoked
}
