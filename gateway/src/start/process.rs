//! What concerns the process as a whole: its limits, its service manager, its panics. Only the program calls this; a
//! gateway inside another process leaves that process alone.

use config::limits;
use sd_notify::NotifyState;

/// Tells the service manager, if there is one.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(cause) = sd_notify::notify(state) {
        tracing::warn!(%cause, "the service manager cannot be told");
    }
}

/// Tells the service manager that something is about to change; [`NotifyState::Ready`] ends it.
pub fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(cause) => tracing::warn!(%cause, "the service manager cannot be told"),
    }
}

/// Raises the limit of open files to what we may have; says so when that is little (INVENTORY A-54).
pub fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    if let Err(cause) = setrlimit(Resource::Nofile, files) {
        tracing::warn!(%cause, "the limit of open files stays as it is");
    }
    if let Some(max) = getrlimit(Resource::Nofile).current.filter(|max| *max < limits::OPEN_FILES_WANTED) {
        tracing::warn!(
            max,
            wanted = limits::OPEN_FILES_WANTED,
            "few open files are allowed: raise `ulimit -n`"
        );
    }
}

/// Has panics logged like everything else; each ends one task.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, what = panic.payload_as_str().unwrap_or("?"), "a bug: a task ends");
    }));
}
