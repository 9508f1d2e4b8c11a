//! Bringing the schema up to date, one numbered step at a time, each in a transaction of its own.

use std::path::Path;

use jiff::Timestamp;

use super::conn::{Conn, args};
use super::{Db, Engine, Error, OpenError};

/// The steps, in order; the number of a step is its place. One text serves both engines, since the column types are
/// portable ones.
const STEPS: &[&str] = &[
    include_str!("../../migrations/0001_spine.sql"),
    include_str!("../../migrations/0002_internal_keys.sql"),
    include_str!("../../migrations/0003_join_retry.sql"),
    include_str!("../../migrations/0004_route_options.sql"),
    include_str!("../../migrations/0005_certificates.sql"),
    include_str!("../../migrations/0006_acme.sql"),
    include_str!("../../migrations/0007_forwards.sql"),
    include_str!("../../migrations/0008_cookie_keys.sql"),
    include_str!("../../migrations/0009_acme_ledger.sql"),
    include_str!("../../migrations/0010_consoles.sql"),
    include_str!("../../migrations/0011_ssh.sql"),
    include_str!("../../migrations/0013_terminals.sql"),
];

/// The schema this program reads and writes.
pub const SCHEMA: i64 = STEPS.len() as i64;

pub(super) async fn run(db: &Db, data: &Path) -> Result<(), OpenError> {
    let step = |to| move |cause| OpenError::Migration { to, cause };
    let found = found(db).await.map_err(step(0))?;
    if found > SCHEMA {
        return Err(OpenError::Newer { found, known: SCHEMA });
    }
    if found > 0 && found < SCHEMA {
        backup(db, data).await?;
    }
    for (to, script) in (1i64..).zip(STEPS).skip(usize::try_from(found).unwrap_or(0)) {
        apply(db, to, script).await.map_err(step(to))?;
    }
    Ok(())
}

/// The schema of the database as it lies there; 0 for an empty one.
async fn found(db: &Db) -> Result<i64, Error> {
    let mut conn = db.write().await?;
    conn.run(
        "CREATE TABLE IF NOT EXISTS schema_steps (step BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)",
        &[],
    )
    .await?;
    let found = latest(&mut conn).await?;
    conn.commit().await?;
    Ok(found)
}

async fn latest(conn: &mut Conn) -> Result<i64, Error> {
    let row = conn.row("SELECT COALESCE(MAX(step), 0) AS step FROM schema_steps", &[]).await?;
    row.map_or(Ok(0), |row| row.int("step"))
}

async fn apply(db: &Db, to: i64, script: &'static str) -> Result<(), Error> {
    let mut conn = db.write().await?;
    if let Engine::Postgres { .. } = db.engine {
        // Two controls that start at once: the second waits here and then finds the step done.
        conn.run("LOCK TABLE schema_steps IN EXCLUSIVE MODE", &[]).await?;
    }
    if latest(&mut conn).await? >= to {
        return Ok(());
    }
    conn.script(script).await?;
    let now = Timestamp::now().as_microsecond();
    conn.run("INSERT INTO schema_steps (step, applied_at) VALUES ($1, $2)", &args![to, now]).await?;
    if to == 1 {
        let lineage = uuid::Uuid::new_v4().to_string();
        conn.run(
            "INSERT INTO meta (id, lineage, generation, setup_hash, setup_closed) VALUES (1, $1, 1, NULL, $2)",
            &args![lineage, false],
        )
        .await?;
    }
    conn.commit().await
}

/// Copies an SQLite database aside. PostgreSQL is backed up by its own means before an upgrade.
async fn backup(db: &Db, data: &Path) -> Result<(), OpenError> {
    let Engine::Sqlite { .. } = &db.engine else { return Ok(()) };
    let directory = data.join("backups");
    let stamp = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
    let path = directory.join(format!("database_{stamp}.db"));
    let failed = |cause| OpenError::Backup { path: path.clone(), cause };
    copy(db, &directory, &path).await.map_err(failed)
}

async fn copy(db: &Db, directory: &Path, path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let io = |cause| Error::Unavailable(sqlx::Error::Io(cause));
    tokio::fs::create_dir_all(directory).await.map_err(io)?;
    tokio::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).await.map_err(io)?;
    let mut conn = db.read().await?;
    conn.run("VACUUM INTO $1", &args![path.to_string_lossy().into_owned()]).await?;
    tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).await.map_err(io)
}
