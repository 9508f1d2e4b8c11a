//! Opening the database: the file, its rights, its pragmas.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::settings::Database;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Db, Engine, Error, migrate};

/// Time a query waits for a connection or a lock.
const WAIT: Duration = Duration::from_secs(5);
/// Readers of the embedded database; each is a thread.
const READERS_MAX: u32 = 4;
/// Connections to PostgreSQL.
const CONNECTIONS_MAX: u32 = 16;

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory that holds it cannot be used.
    #[error(
        "the data directory {path} cannot be used; it must exist and be readable and writable by this user"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The file is there but cannot be used.
    #[error(
        "the database {path} cannot be opened; it must be an SQLite file readable and writable by this user"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: sqlx::Error,
    },
    /// The server cannot be reached or refuses us. The URL is not shown: it may carry a password.
    #[error("the PostgreSQL server of database.url cannot be used")]
    Server(#[source] sqlx::Error),
    /// The database was written by a newer program.
    #[error(
        "the database has schema {found}, this program knows {known}: it was written by a newer version; run that version, or restore the backup made before the upgrade"
    )]
    Newer {
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A migration failed; the transaction left nothing behind.
    #[error("migrating the database to schema {to} failed; it is unchanged")]
    Migration {
        /// The step.
        to: i64,
        /// Why.
        #[source]
        cause: Error,
    },
    /// The copy before a migration could not be made, so nothing was migrated.
    #[error("the backup {path} before the migration could not be made; nothing was changed")]
    Backup {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Error,
    },
}

impl Db {
    /// Opens the database, makes it if it is not there, and brings its schema up to date.
    ///
    /// A copy is left in `data/backups` before an existing SQLite database is migrated.
    ///
    /// Errors: [`OpenError`], each naming what to mend.
    pub async fn open(database: &Database, data: &Path) -> Result<Self, OpenError> {
        let db = match database {
            Database::Sqlite(file) => {
                make_folder(file, data).await?;
                open_sqlite(file).await?
            }
            Database::Postgres(url) => open_postgres(url.expose()).await?,
        };
        migrate::run(&db, data).await?;
        Ok(db)
    }
}

async fn open_sqlite(file: &Path) -> Result<Db, OpenError> {
    prepare(file).await?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(WAIT)
        .foreign_keys(true)
        .statement_cache_capacity(256);
    let failed = |cause| OpenError::File { path: file.into(), cause };
    let writer = pool(1).connect_with(options.clone()).await.map_err(failed)?;
    let readers = pool(READERS_MAX).connect_with(options).await.map_err(failed)?;
    Ok(Db { engine: Engine::Sqlite { writer, readers, file: file.into() } })
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).min_connections(1).acquire_timeout(WAIT)
}

/// A folder below the data directory is ours to make (`DataSaving/database.db`); any other is its owner's.
async fn make_folder(file: &Path, data: &Path) -> Result<(), OpenError> {
    let Some(folder) = file.parent().filter(|folder| *folder != data && folder.starts_with(data)) else {
        return Ok(());
    };
    let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).await;
    made.map_err(|cause| OpenError::Directory { path: folder.into(), cause })
}

/// Makes the file with its final rights: SQLite would make it readable to everyone, and its journals copy the mode.
async fn prepare(file: &Path) -> Result<(), OpenError> {
    let path = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let unusable = |cause| OpenError::Directory { path: path.clone(), cause };
    drop(tokio::fs::read_dir(&path).await.map_err(unusable)?);
    let made = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).await;
    match made {
        Ok(_) => Ok(()),
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            use std::os::unix::fs::PermissionsExt as _;
            let owner_only = std::fs::Permissions::from_mode(0o600);
            let failed = |cause| OpenError::File { path: file.into(), cause: sqlx::Error::Io(cause) };
            tokio::fs::set_permissions(file, owner_only).await.map_err(failed)?;
            // Opened for writing as well: SQLite would fall back to read-only in silence.
            tokio::fs::OpenOptions::new().read(true).write(true).open(file).await.map(drop).map_err(failed)
        }
        Err(cause) => Err(unusable(cause)),
    }
}

async fn open_postgres(url: &str) -> Result<Db, OpenError> {
    let options: PgConnectOptions = url.parse().map_err(OpenError::Server)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS_MAX)
        .acquire_timeout(WAIT)
        .connect_with(options)
        .await
        .map_err(OpenError::Server)?;
    Ok(Db { engine: Engine::Postgres { pool } })
}
