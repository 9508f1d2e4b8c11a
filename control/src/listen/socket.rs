//! `DIR/control.sock`: whoever owns the machine or runs the service is root here, without a password (DESIGN §12).

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use config::limits;
use tokio::net::{UnixListener, UnixStream};

use super::ListenError;

/// Where the socket of a data directory is.
pub fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Listens on the socket of a data directory; one that a dead process left is replaced. The caller holds the lock of the
/// directory, so nobody else is listening.
pub fn bind(data: &Path) -> Result<UnixListener, ListenError> {
    let path = path(data);
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > limits::SOCKET_PATH_BYTES_MAX {
        return Err(ListenError::SocketPathTooLong { path, bytes });
    }
    let made = || -> io::Result<UnixListener> {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // Between bind and chmod the directory, which is 0700, keeps others out.
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    made().map_err(|cause| ListenError::Socket { path: path.clone(), cause })
}

/// Whether the peer is root or the user that this process runs as.
pub fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| may_enter(peer.uid(), own))
}

const fn may_enter(peer: u32, own: u32) -> bool {
    peer == 0 || peer == own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_own_user_enter_and_nobody_else() {
        assert!(may_enter(0, 1000));
        assert!(may_enter(1000, 1000));
        assert!(!may_enter(1001, 1000));
        assert!(!may_enter(1000, 0));
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_named_with_its_length() {
        let data = PathBuf::from(format!("/tmp/{}", "d".repeat(100)));
        let error = bind(&data).unwrap_err().to_string();
        assert!(error.contains("118 bytes") && error.contains("107"), "{error}");
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_process_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        drop(bind(dir.path()).unwrap());
        let listener = bind(dir.path()).unwrap();
        assert_eq!(std::fs::metadata(path(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        let (client, accepted) = tokio::join!(UnixStream::connect(path(dir.path())), listener.accept());
        client.unwrap();
        assert!(is_trusted(&accepted.unwrap().0));
    }
}
