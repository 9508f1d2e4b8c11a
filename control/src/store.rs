//! The database: one SQL text for SQLite and PostgreSQL (DESIGN D16).
//!
//! Owns connections, migrations and the queries of each table; knows no rules and no authorisation (those are
//! `app`'s). Every query of the modules below takes a [`Conn`], which is a pooled reader or the one writing
//! transaction. Start at [`Db`].

pub mod acme_account;
pub mod acme_ledger;
pub mod acme_order;
pub mod audit;
pub mod challenge;
pub mod conn;
pub mod console;
pub mod cookie_key;
pub mod forward;
pub mod gateway;
pub mod host_key;
pub mod identity;
pub mod internal_key;
pub mod join_token;
pub mod lease;
pub mod meta;
pub mod migrate;
pub mod open;
pub mod route;
pub mod select;
pub mod signing_key;
pub mod ssh_authority;
pub mod ssh_ca;
pub mod ssh_grant;
pub mod text;
pub mod ticket_key;
pub mod token;
pub mod user;
pub mod user_key;
pub mod vm;
pub mod vm_host_key;

use std::path::PathBuf;

use sqlx::{PgPool, SqlitePool};

pub use conn::{Arg, Conn, Row};
pub use open::OpenError;
pub use select::Slice;

/// The database of control. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    /// One writer, so that writers queue in the pool instead of failing with "database is locked".
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
        file: PathBuf,
    },
    Postgres {
        pool: PgPool,
    },
}

/// Why a query did not give its answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is gone, full, locked or refuses: the caller may try again.
    #[error("the database cannot be used")]
    Unavailable(#[source] sqlx::Error),
    /// A row that two writers wanted; the unique index won.
    #[error("a row with the same {constraint} exists")]
    Unique {
        /// The index or the columns, as the engine names them.
        constraint: String,
    },
    /// A row holds what this program never writes.
    #[error("{table} {id}: {why}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// What is wrong with it.
        why: String,
    },
}

impl From<sqlx::Error> for Error {
    fn from(cause: sqlx::Error) -> Self {
        match cause.as_database_error() {
            Some(error) if error.is_unique_violation() => Self::Unique {
                constraint: error.constraint().map_or_else(|| error.message().into(), Into::into),
            },
            _ => Self::Unavailable(cause),
        }
    }
}

impl Db {
    /// A connection for reading, outside any transaction.
    ///
    /// Errors: none could be had in time.
    pub async fn read(&self) -> Result<Conn, Error> {
        match &self.engine {
            Engine::Sqlite { readers, .. } => Ok(Conn::sqlite(readers.acquire().await?)),
            Engine::Postgres { pool } => Ok(Conn::postgres(pool.acquire().await?)),
        }
    }

    /// The writing transaction. Dropped without [`Conn::commit`] it leaves nothing behind.
    ///
    /// On SQLite it takes the write lock at once: a deferred transaction that reads first fails when it then writes.
    pub async fn write(&self) -> Result<Conn, Error> {
        match &self.engine {
            Engine::Sqlite { writer, .. } => {
                Ok(Conn::sqlite_write(writer.begin_with("BEGIN IMMEDIATE").await?))
            }
            Engine::Postgres { pool } => Ok(Conn::postgres_write(pool.begin().await?)),
        }
    }

    /// Whether the database answers, and its file is still there to be read and written.
    ///
    /// An open SQLite connection goes on working on a file that was removed or made unreadable, and what it writes is
    /// then lost at the next start; so the file is looked at by name as well.
    pub async fn probe(&self) -> Result<(), Error> {
        if let Engine::Sqlite { file, .. } = &self.engine {
            let by_name = tokio::fs::OpenOptions::new().read(true).write(true).open(file).await;
            by_name.map_err(|cause| Error::Unavailable(sqlx::Error::Io(cause)))?;
        }
        let mut conn = self.read().await?;
        conn.rows("SELECT generation FROM meta WHERE id = 1", &[]).await.map(drop)
    }

    /// `sqlite` or `postgres`.
    pub const fn engine_name(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres { .. } => "postgres",
        }
    }

    /// Ends all connections; SQLite folds its log into the file.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Engine::Postgres { pool } => pool.close().await,
        }
    }
}

/// What every row of a resource carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Counts the changes; the object's ETag.
    pub revision: i64,
    /// Microseconds UTC.
    pub created_at: i64,
    /// Microseconds UTC.
    pub updated_at: i64,
}

impl Stamp {
    /// The stamp of something made now.
    pub const fn new(now: i64) -> Self {
        Self { revision: 1, created_at: now, updated_at: now }
    }

    /// The stamp after a change.
    #[must_use]
    pub const fn changed(self, now: i64) -> Self {
        Self { revision: self.revision + 1, created_at: self.created_at, updated_at: now }
    }

    fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            revision: row.int("revision")?,
            created_at: row.int("created_at")?,
            updated_at: row.int("updated_at")?,
        })
    }
}
