//! Databases to test on: a file, or a PostgreSQL server of our own that ends with the test.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use config::secret::Secret;
use config::settings::Database;
use control::store::{Db, OpenError};
use tempfile::TempDir;

pub(crate) enum Engine {
    Sqlite,
    Postgres(Server),
}

/// A server; its databases are named by a counter.
pub(crate) struct Server {
    /// Up to the name of the database.
    base: String,
    /// Behind it.
    options: String,
    made: AtomicU32,
    _own: Option<Own>,
}

struct Own {
    child: Child,
    _directory: TempDir,
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Engine {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }
}

/// An empty database and a data directory.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) async fn new(engine: &Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = match engine {
            Engine::Sqlite => Database::Sqlite(directory.path().join("database.db")),
            Engine::Postgres(server) => Database::Postgres(Secret::new(server.database().await)),
        };
        Self { database, directory }
    }

    pub(crate) async fn open(&self) -> Db {
        self.try_open().await.unwrap()
    }

    pub(crate) async fn try_open(&self) -> Result<Db, OpenError> {
        Db::open(&self.database, self.directory.path()).await
    }
}

impl Server {
    async fn database(&self) -> String {
        use sqlx::{Connection as _, Executor as _};
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatehouse_{}_{number}", std::process::id());
        let mut admin = sqlx::PgConnection::connect(&self.url("postgres")).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.base, self.options)
    }
}

/// The server that the environment names, or one of our own; `None` when there is neither.
pub(crate) async fn postgres() -> Option<Engine> {
    if let Ok(url) = std::env::var("DATABASE_URL_POSTGRES") {
        let (before, options) =
            url.split_once('?').map_or((url.as_str(), String::new()), |(a, b)| (a, format!("?{b}")));
        let base = before.rsplit_once('/').map_or(before, |(base, _)| base).to_owned();
        return Some(Engine::Postgres(Server { base, options, made: AtomicU32::new(0), _own: None }));
    }
    let programs = installed()?;
    Some(Engine::Postgres(start(&programs).await))
}

/// Debian keeps each version in a folder of its own.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|programs| programs.join("initdb").exists());
    found.sort();
    found.pop()
}

async fn start(programs: &Path) -> Server {
    let directory = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
    let user = owner(directory.path());
    let data = directory.path().join("data");
    let command = |name: &str| {
        let mut command = Command::new(programs.join(name));
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        command.current_dir(directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let made =
        command("initdb").args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "-D"]).arg(&data).status();
    assert!(made.unwrap().success(), "initdb failed");
    // By socket alone: no port can be taken, nobody else can come.
    let child = command("postgres")
        .arg("-D")
        .arg(&data)
        .arg("-k")
        .arg(directory.path())
        .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200"])
        .spawn()
        .unwrap();
    let base = "postgres://postgres@localhost".to_owned();
    let options = format!("?host={}", directory.path().display());
    let own = Some(Own { child, _directory: directory });
    let server = Server { base, options, made: AtomicU32::new(0), _own: own };
    answers(&server).await;
    server
}

/// PostgreSQL refuses to run as root; Debian's package brings a user for it, who then owns the folder.
fn owner(directory: &Path) -> Option<(u32, u32)> {
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, "postgres"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let (uid, gid) = (id("-u")?, id("-g")?);
    std::os::unix::fs::chown(directory, Some(uid), Some(gid)).unwrap();
    Some((uid, gid))
}

async fn answers(server: &Server) {
    use sqlx::Connection as _;
    let mut turn = tokio::time::interval(Duration::from_millis(50));
    let asked = async {
        while sqlx::PgConnection::connect(&server.url("postgres")).await.is_err() {
            turn.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.expect("PostgreSQL answers within 30 s");
}
