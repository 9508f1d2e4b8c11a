//! The authorities that the machine trusts: read once for the process, when the first upstream wants them.

use std::sync::Arc;

use rustls::RootCertStore;
use tokio::sync::OnceCell;

use crate::fault::{Fault, Kind, Retry};

static SYSTEM: OnceCell<Arc<RootCertStore>> = OnceCell::const_new();

/// Why there are none.
#[derive(Debug, thiserror::Error)]
#[error("the system's certificate authorities cannot be read{}", .0.as_deref().unwrap_or(": install ca-certificates"))]
struct NoStore(Option<String>);

/// The system's authorities, the same for all workers. A store that could not be read is looked for again.
pub(super) async fn system() -> Result<Arc<RootCertStore>, Fault> {
    let store = SYSTEM.get_or_try_init(|| async {
        // Hundreds of files, perhaps: not on a worker's thread.
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(roots)) => Ok(Arc::new(roots)),
            Ok(Err(none)) => Err(std::io::Error::other(none)),
            Err(cause) => Err(std::io::Error::other(cause)),
        }
    });
    let store = store.await.map_err(|cause| Fault::upstream(Kind::UpstreamTls, Retry::Never, cause))?;
    Ok(Arc::clone(store))
}

fn load() -> Result<RootCertStore, NoStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A certificate that cannot be read, such as an ancient one, is no reason to trust none of the others.
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    for error in &found.errors {
        tracing::warn!(%error, "a part of the system's certificate authorities cannot be read");
    }
    if added == 0 {
        return Err(NoStore(found.errors.first().map(|error| format!(": {error}"))));
    }
    tracing::info!(added, ignored, "the system's certificate authorities are read");
    Ok(roots)
}
