//! The data directory: made when absent, for its owner alone, and held by one instance at a time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made, read or written.
    #[error("the data directory {path} cannot be used: {cause}", path = path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It belongs to somebody else, or others may enter.
    #[error("the data directory {path} must belong to the user that runs this and be closed to others: {why}", path = path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Another instance holds it.
    #[error("{what} is already running on {path} (pid {pid})", path = path.display())]
    Held {
        /// What runs: `control`, `gateway`, `up`.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// The holder's process id, as it wrote it.
        pid: String,
    },
}

/// Makes the directory (0700) when absent, and checks that it is ours and closed to others.
pub fn open(path: &Path) -> Result<(), DirectoryError> {
    let unusable = |cause| DirectoryError::Unusable { path: path.to_path_buf(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
    // Reading comes first: "permission denied" says more than whose directory it is.
    let is_empty = std::fs::read_dir(path).map_err(unusable)?.next().is_none();
    let meta = std::fs::metadata(path).map_err(unusable)?;
    let own = rustix::process::geteuid();
    let open = |why| Err(DirectoryError::Open { path: path.to_path_buf(), why });
    if meta.uid() != own.as_raw() && !own.is_root() {
        return open(format!("it belongs to user {}", meta.uid()));
    }
    if meta.mode() & 0o077 != 0 {
        // An empty directory that was made for us beforehand (mkdir, a volume) is ours to close; one with something
        // in it was perhaps named by mistake.
        if !is_empty {
            return open(format!("its mode is {:o}; chmod 700 it", meta.mode() & 0o777));
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}

/// The right to be the only instance; given back when dropped, or by the kernel when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes `file` (a path inside the data directory) for this process and writes its id into it.
///
/// Errors: another instance holds it, and is named.
pub fn lock(what: &'static str, file: &Path) -> Result<Lock, DirectoryError> {
    let directory = file.parent().unwrap_or(file).to_path_buf();
    let unusable = |cause| DirectoryError::Unusable { path: directory.clone(), cause };
    let mut opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(file)
        .map_err(unusable)?;
    match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let write = |file: &mut File| {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())
            };
            write(&mut opened).map_err(unusable)?;
            Ok(Lock { _file: opened })
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(DirectoryError::Held { what, path: directory, pid: written_pid(&mut opened) })
        }
        Err(cause) => Err(unusable(cause.into())),
    }
}

/// Whether somebody holds the lock, and the process id it wrote. A file that is not there is held by nobody.
pub fn holder(file: &Path) -> Option<String> {
    let mut opened = File::open(file).ok()?;
    match flock(&opened, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Some(written_pid(&mut opened)),
        _ => None,
    }
}

fn written_pid(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| io::Read::take(&mut *file, 32).read_to_string(&mut text));
    match read {
        Ok(_) if text.trim().bytes().all(|b| b.is_ascii_digit()) && !text.trim().is_empty() => {
            text.trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        open(&data).unwrap();
        assert_eq!(std::fs::metadata(&data).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_with_something_in_it_that_others_may_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "").unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(open(dir.path()).unwrap_err().to_string().contains("755"));
    }

    #[test]
    fn a_second_instance_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("lock");
        let held = lock("control", &file).unwrap();
        let error = lock("control", &file).unwrap_err().to_string();
        assert!(error.contains("control is already running"), "{error}");
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        assert_eq!(holder(&file), Some(std::process::id().to_string()));
        drop(held);
        assert_eq!(holder(&file), None);
        lock("control", &file).unwrap();
    }

    #[test]
    fn a_path_that_is_a_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("data");
        std::fs::write(&file, "").unwrap();
        assert!(open(&file).unwrap_err().to_string().contains("data"));
    }
}
