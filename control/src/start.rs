//! From settings to a running control, in this process: what `control run` and the tests call.
//!
//! Order of a start: directory and lock, ports, keys, database, authority, desired state, then service. Whatever is
//! wrong with the first two changes nothing in the others.

mod local;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::secret::Secret;
use config::settings;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{self, Addresses, App, Clock, Keys, Parts, SystemClock};
use crate::authority::{self, Internal};
use crate::keys::{RootError, RootKeys};
use crate::listen::directory::{self, DirectoryError, Lock};
use crate::listen::ports::Kept;
use crate::listen::secured::{Secured, SecuredError};
use crate::listen::serve::Shared;
use crate::listen::{ListenError, socket};
use crate::publish::gateways::{Gateways, TlsError};
use crate::store::{self, Db, OpenError};
use crate::{api, up};

/// Why control did not start. Each says what to mend.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The secret key.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The database.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The internal authority.
    #[error(transparent)]
    Authority(#[from] authority::OpenError),
    /// The desired state.
    #[error("the desired state cannot be built from the database: {0}")]
    Desired(#[source] app::Error),
    /// TLS of the gateways' stream.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// TLS of the admin API.
    #[error(transparent)]
    Secured(#[from] SecuredError),
    /// The runtime took no listener.
    #[error("a listener cannot be served: {0}")]
    Runtime(#[source] std::io::Error),
}

/// The control plane.
#[derive(Debug)]
pub struct Control;

/// A control that runs. Dropping it without [`Running::shutdown`] leaves the connections to the runtime's end.
#[derive(Debug)]
pub struct Running {
    /// Where the admin API listens.
    pub admin: Vec<SocketAddr>,
    /// Where it listens with TLS.
    pub admin_tls: Vec<SocketAddr>,
    /// Where the gateways' stream is taken.
    pub sync: Vec<SocketAddr>,
    /// The unix socket.
    pub socket: PathBuf,
    /// The one-time setup token, until there is a first administrator. Print it once.
    pub setup_token: Option<Secret<String>>,
    app: Arc<App>,
    stop: CancellationToken,
    tasks: TaskTracker,
    _lock: Lock,
}

impl Running {
    /// What handlers see; for tests.
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Stops accepting, lets what runs end within the drain deadline, and closes the database.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        let deadline = Duration::from_millis(limits::CONTROL_STOP_MS);
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!("connections were still open at the end of the drain and were cut");
        }
        self.app.db.close().await;
        // Kept files of a stopped control would only puzzle: the next start makes its own.
        drop(std::fs::remove_file(&self.socket));
    }
}

/// Everything that is bound.
struct Bound {
    admin: Vec<TcpListener>,
    admin_tls: Vec<TcpListener>,
    sync: Vec<TcpListener>,
    socket: UnixListener,
}

impl Bound {
    fn addresses(&self) -> Addresses {
        let [admin, admin_tls, sync] = [&self.admin, &self.admin_tls, &self.sync].map(|all| addresses(all));
        Addresses { admin, admin_tls, sync }
    }
}

impl Control {
    /// Starts control. Several may run in one process, each on a directory of its own.
    ///
    /// Errors: [`StartError`]; nothing keeps running.
    pub async fn start(settings: settings::Control) -> Result<Running, StartError> {
        directory::open(&settings.data)?;
        let lock = directory::lock("control", &settings.data.join("lock"))?;
        let bound = bind(&settings)?;
        let keys = Arc::new(RootKeys::open(&settings.data, settings.secret_key.as_ref())?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let db = Db::open(&settings.database, &settings.data).await?;
        let started = Self::serve(&settings, bound, Parts4 { db: db.clone(), keys, clock }, lock).await;
        if started.is_err() {
            db.close().await;
        }
        started
    }

    async fn serve(
        settings: &settings::Control,
        bound: Bound,
        parts: Parts4,
        lock: Lock,
    ) -> Result<Running, StartError> {
        let Parts4 { db, keys, clock } = parts;
        let authority = Arc::new(Internal::open(&db, keys.as_ref(), Arc::clone(&clock)).await?);
        let forward_ports = settings.forward_ports.clone();
        let parts = Parts { db, keys, authority: Arc::clone(&authority) as _, clock, forward_ports };
        let app = App::start(parts);
        let app = Arc::new(app.await.map_err(StartError::Desired)?);
        let addresses = bound.addresses();
        app.set_addresses(addresses.clone()).await.map_err(StartError::Desired)?;
        let setup_token = first_setup_token(&app).await?;

        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(Arc::clone(&app).tend(stop.clone()));
        tasks.spawn(app::ticket_key::tend(Arc::clone(&app), stop.clone()));
        tasks.spawn(app::signing_key::tend(Arc::clone(&app), stop.clone()));
        tasks.spawn(app::acme::run(Arc::clone(&app), stop.clone()));
        let router = api::router(Arc::clone(&app));
        let gateways = Gateways::new(Arc::clone(&app), Arc::clone(&authority), stop.clone(), tasks.clone())?;
        let local = local::Local { app: Arc::clone(&app), names: gateways.names().clone() };
        let local = router.clone().merge(local::router(local));
        let shared = Shared::new(router, stop.clone(), tasks.clone());
        let secured = Secured::new(Arc::clone(&authority), Arc::clone(&app.clock), &addresses.admin_tls)?;
        for listener in bound.admin {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Runtime)?;
            tasks.spawn(shared.clone().tcp(listener));
        }
        for listener in bound.admin_tls {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Runtime)?;
            tasks.spawn(shared.clone().tls(listener, secured.clone()));
        }
        for listener in bound.sync {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Runtime)?;
            tasks.spawn(gateways.clone().accept(listener));
        }
        tasks.spawn(shared.unix(bound.socket, local));
        let Addresses { admin, admin_tls, sync } = addresses;
        let socket = socket::path(&settings.data);
        tracing::info!(?admin, ?admin_tls, ?sync, socket = %socket.display(), "control is ready");
        Ok(Running { admin, admin_tls, sync, socket, setup_token, app, stop, tasks, _lock: lock })
    }
}

/// What is opened before anything is served.
struct Parts4 {
    db: Db,
    keys: Arc<dyn Keys>,
    clock: Arc<dyn Clock>,
}

/// The socket first: its path is the mistake that no other choice of ports mends.
fn bind(settings: &settings::Control) -> Result<Bound, ListenError> {
    let socket = socket::bind(&settings.data)?;
    let mut kept = Kept::open(ports_file(&settings.data));
    let admin = kept.bind("admin", &settings.admin)?;
    let admin_tls = kept.bind("admin-tls", &settings.admin_tls)?;
    let sync = kept.bind("sync", &settings.sync)?;
    kept.save();
    Ok(Bound { admin, admin_tls, sync, socket })
}

fn ports_file(data: &Path) -> PathBuf {
    data.join("control-ports.json")
}

/// Where the gateways' stream will be, if that is known before control runs: as set, or as chosen at an earlier start.
pub fn expected_sync(settings: &settings::Control) -> Option<SocketAddr> {
    let wanted = settings.sync.first()?;
    let port = match wanted.port() {
        0 => Kept::open(ports_file(&settings.data)).port("sync", wanted, 0)?,
        port => port,
    };
    Some(up::dialled(SocketAddr::new(wanted.ip(), port)))
}

/// The setup token, at the first start alone: a later one would take the place of the token that was printed, and be
/// lost in a log that nobody reads.
async fn first_setup_token(app: &App) -> Result<Option<Secret<String>>, StartError> {
    let failed = |error: store::Error| StartError::Desired(error.into());
    let mut conn = app.db.read().await.map_err(failed)?;
    let meta = store::meta::read(&mut conn).await.map_err(failed)?;
    drop(conn);
    if meta.setup_hash.is_some() || meta.setup_closed {
        return Ok(None);
    }
    app.setup_token().await.map_err(StartError::Desired)
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

#[cfg(test)]
mod tests;
