//! Where settings come from: finds and reads the files, asks the environment; `config::settings` does the rest.

use std::io;
use std::path::{Path, PathBuf};

use config::settings::{self, Flags, Loaded, Sources};

use super::args::{Global, RunArgs, UpArgs};
use super::failure::Failure;
use super::output;

/// Largest settings or secret file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The flags of `control run` and `check`.
pub(super) fn control_flags(global: &Global, run: &RunArgs) -> Flags {
    Flags {
        data: global.data.as_ref().map(|data| data.display().to_string()),
        production: run.source.production,
        admin: run.admin.clone(),
        sync: run.sync.clone(),
        database: run.database.clone(),
        log_level: run.log_level.clone(),
        log_file: run.log_file.clone(),
        log_format: run.log_format.clone(),
        ..Flags::default()
    }
}

/// The flags of `up`.
pub(super) fn up_flags(global: &Global, up: &UpArgs) -> Result<Flags, Failure> {
    let gateway_admin = match up.gateway_admin.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(Failure::usage("--gateway-admin is given once")),
    };
    Ok(Flags {
        http: up.http.clone(),
        https: up.https.clone(),
        ssh: up.ssh.clone(),
        novnc: up.novnc.clone(),
        ttyd: up.ttyd.clone(),
        gateway_admin,
        ..control_flags(global, &up.run)
    })
}

/// Reads the files that `run` names, or the first settings file of the search path.
pub(super) fn read(global: &Global, run: &RunArgs, flags: Flags) -> Result<Sources, Failure> {
    let mut sources = Sources {
        file: None,
        env_file: None,
        env: environment(),
        flags,
        default_data: super::data_directory(global)?,
        unprivileged: is_unprivileged(),
    };
    if let Some(path) = &run.source.env_file {
        sources.env_file = Some((path.clone(), text(path)?));
    }
    sources.file = match &run.source.config {
        Some(path) => Some((path.clone(), text(path)?)),
        None => search(&settings::data_directory(&sources))?,
    };
    Ok(sources)
}

/// The first file of the search path that is there. One that is there and cannot be read is a mistake, not an absence.
fn search(data: &Path) -> Result<Option<(PathBuf, String)>, Failure> {
    for path in settings::search_paths(data) {
        match read_text(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if is_absent(&error) => {}
            // The data directory itself is closed to us: the start says so, and better.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.starts_with(data) => {}
            Err(error) => return Err(Failure::failed(format!("{}: {error}", path.display()))),
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn text(path: &Path) -> Result<String, Failure> {
    read_text(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

/// Reads a small text file; also the way to secrets that are given by file.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    let read = io::Read::read_to_string(&mut io::Read::take(file, FILE_BYTES_MAX + 1), &mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than a mebibyte"));
    }
    Ok(text)
}

/// The environment; a variable that is no text cannot be a setting of ours.
fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether ports below 1024 cannot be had. Asked of the kernel by a bind, which knows of capabilities and sysctls; a
/// port that is taken was permitted.
fn is_unprivileged() -> bool {
    let tried = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, settings::default_ports().http));
    tried.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// Says which file was used and what is worth a word.
pub(super) fn announce(loaded: &Loaded, quiet: bool) {
    if quiet {
        return;
    }
    if let Some(file) = &loaded.file {
        output::err(&format!("gatehouse: settings from {}\n", file.display()));
    }
    for warning in &loaded.warnings {
        output::err(&format!("gatehouse: warning: {warning}\n"));
    }
}
