//! Rows that say which control does what only one may do at a time (DESIGN D16).
//!
//! A lease is not enough by itself: its holder may be suspended and wake up after the end of it. So each holder has an
//! epoch, and whoever writes on the strength of a lease calls [`fence`] in the same transaction.

use super::conn::{Conn, args};
use super::{Db, Engine, Error};

/// A lease that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// What is done under it.
    pub name: &'static str,
    /// Larger than that of every holder before.
    pub epoch: i64,
}

/// Takes a lease, or makes it last longer; `None` while somebody else holds it.
///
/// On PostgreSQL its time runs by the clock of the database. An SQLite database has one control, as the lock of its data
/// directory sees to, so what a killed one left is taken at once.
pub async fn take(db: &Db, name: &'static str, holder: &str, lasts_us: i64) -> Result<Option<Lease>, Error> {
    let mut conn = db.write().await?;
    let sql = match &db.engine {
        Engine::Postgres { .. } => {
            "INSERT INTO leases (name, holder, epoch, expires_at) \
             VALUES ($1, $2, 1, CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) + $3) \
             ON CONFLICT (name) DO UPDATE SET \
             epoch = leases.epoch + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END, \
             holder = excluded.holder, expires_at = excluded.expires_at \
             WHERE leases.holder = excluded.holder \
             OR leases.expires_at <= CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
        }
        Engine::Sqlite { .. } => {
            "INSERT INTO leases (name, holder, epoch, expires_at) VALUES ($1, $2, 1, $3) \
             ON CONFLICT (name) DO UPDATE SET \
             epoch = leases.epoch + CASE WHEN leases.holder = excluded.holder THEN 0 ELSE 1 END, \
             holder = excluded.holder, expires_at = excluded.expires_at"
        }
    };
    let is_ours = conn.run(sql, &args![name, holder, lasts_us]).await? == 1;
    let epoch = match is_ours {
        true => conn.row("SELECT epoch FROM leases WHERE name = $1", &args![name]).await?,
        false => None,
    };
    let lease = epoch.map(|row| row.int("epoch")).transpose()?.map(|epoch| Lease { name, epoch });
    conn.commit().await?;
    Ok(lease)
}

/// Whether a lease is still the newest of its name. The row stays locked until the transaction ends, so nobody takes it
/// between this answer and the commit.
pub async fn fence(conn: &mut Conn, lease: Lease) -> Result<bool, Error> {
    let sql = "UPDATE leases SET epoch = epoch WHERE name = $1 AND epoch = $2";
    Ok(conn.run(sql, &args![lease.name, lease.epoch]).await? == 1)
}

/// Gives a lease back, so that the next control need not wait for its end. One that somebody else took is left alone.
pub async fn release(db: &Db, lease: Lease) -> Result<(), Error> {
    let mut conn = db.write().await?;
    let sql = "UPDATE leases SET expires_at = 0, holder = '' WHERE name = $1 AND epoch = $2";
    conn.run(sql, &args![lease.name, lease.epoch]).await?;
    conn.commit().await
}
