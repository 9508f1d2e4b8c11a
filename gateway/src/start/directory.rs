//! The gateway's own directory, `DIR/gateway`, and the lock that keeps a second gateway off it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::StartError;

/// `DIR/gateway`, locked until this is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    // The kernel gives the lock back when the last process that has it ends, however it ends.
    lock: File,
}

impl Directory {
    /// Makes the directory (0700) if need be and locks it.
    pub(crate) fn open(data: &Path) -> Result<Self, StartError> {
        let path = data.join("gateway");
        let denied = |path: &Path| {
            let path = path.to_path_buf();
            move |cause| StartError::Data { path, cause }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(denied(&path))?;
        let lock = path.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&lock).map_err(denied(&lock))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let pid = if pid.trim().is_empty() { "?".to_owned() } else { pid.trim().to_owned() };
                return Err(StartError::Locked { path: data.to_path_buf(), pid });
            }
            Err(cause) => return Err(denied(&lock)(io::Error::from(cause))),
        }
        let directory = Self { path, lock: file };
        directory.sign();
        Ok(directory)
    }

    /// Takes the directory with the lock that the process before holds: the file is open in both, and locked as long as
    /// either lives.
    pub(crate) fn inherit(data: &Path, lock: File) -> Self {
        Self { path: data.join("gateway"), lock }
    }

    /// Notes that this process has the directory.
    pub(crate) fn sign(&self) {
        sign(&self.lock);
    }

    /// The locked file.
    pub(crate) const fn lock(&self) -> &File {
        &self.lock
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Notes this process in the locked file.
pub(crate) fn sign(mut lock: &File) {
    let noted =
        lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
    // For people alone. A full disk must not keep a gateway from serving what its checkpoint has.
    if let Err(cause) = noted {
        tracing::warn!(%cause, "the process id cannot be noted beside the lock");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_second_gateway_on_a_directory_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        let error = Directory::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");

        drop(first);

        Directory::open(dir.path()).unwrap();
    }

    #[test]
    fn a_full_disk_does_not_keep_a_gateway_from_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("gateway")).unwrap();
        std::os::unix::fs::symlink("/dev/full", dir.path().join("gateway/lock")).unwrap();
        Directory::open(dir.path()).unwrap();
    }

    #[test]
    fn the_directory_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Directory::open(&dir.path().join("new")).unwrap();
        assert_eq!(std::fs::metadata(opened.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let error = Directory::open(&dir.path().join("file")).unwrap_err().to_string();
        assert!(error.contains("file/gateway"), "{error}");
    }
}
