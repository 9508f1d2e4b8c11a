//! What the gateway tells its service manager (sd_notify), which here is us: above all which process has its place after an
//! upgrade.

use std::path::{Path, PathBuf};

use config::limits;
use tokio::net::UnixDatagram;

/// The socket's name in the data directory, which is its owner's alone.
const SOCKET: &str = "up.notices";
/// Longest notice in bytes; ours are shorter, and what is cut off is not ours.
const NOTICE_BYTES_MAX: usize = 4_096;

/// Where notices come in.
#[derive(Debug)]
pub(super) struct Notices {
    socket: Option<(PathBuf, UnixDatagram)>,
}

impl Notices {
    /// Listens in the data directory. Where that cannot be, an upgraded gateway is taken for one that ended.
    pub(super) fn listen(data: &Path) -> Self {
        let path = std::path::absolute(data).unwrap_or_else(|_| data.to_path_buf()).join(SOCKET);
        // One that a dead `up` left; we hold its lock.
        let _ = std::fs::remove_file(&path);
        match UnixDatagram::bind(&path) {
            Ok(socket) => Self { socket: Some((path, socket)) },
            Err(cause) => {
                let most = limits::SOCKET_PATH_BYTES_MAX;
                crate::cli::output::err(&format!(
                    "gatehouse: {} cannot be listened on ({cause}; a path has at most {most} bytes): the gateway cannot be \
                     upgraded without a restart\n",
                    path.display()
                ));
                Self { socket: None }
            }
        }
    }

    /// The socket that the gateway is told.
    pub(super) fn path(&self) -> Option<&Path> {
        self.socket.as_ref().map(|(path, _)| path.as_path())
    }

    /// Waits for the number of a process that takes the gateway's place.
    pub(super) async fn main_pid(&self) -> u32 {
        let Some((_, socket)) = &self.socket else { return std::future::pending().await };
        let mut notice = [0; NOTICE_BYTES_MAX];
        loop {
            match socket.recv(&mut notice).await {
                Ok(count) => {
                    if let Some(pid) = main_pid(notice.get(..count).unwrap_or_default()) {
                        return pid;
                    }
                }
                Err(cause) => {
                    tracing::debug!(%cause, "no notice");
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// `MAINPID=` of a notice.
fn main_pid(notice: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(notice).ok()?;
    text.lines().find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok().filter(|pid| *pid > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_names_the_process_or_says_something_else() {
        assert_eq!(main_pid(b"READY=1\nMAINPID=4711\n"), Some(4711));
        for other in [&b"READY=1\n"[..], b"MAINPID=0", b"MAINPID=-5", b"XMAINPID=7", b"\xff"] {
            assert_eq!(main_pid(other), None);
        }
    }

    #[tokio::test]
    async fn a_notice_that_was_sent_is_heard() {
        let dir = tempfile::tempdir().unwrap();
        let notices = Notices::listen(dir.path());
        let teller = UnixDatagram::unbound().unwrap();
        teller.send_to(b"STATUS=well", notices.path().unwrap()).await.unwrap();
        teller.send_to(b"MAINPID=99", notices.path().unwrap()).await.unwrap();
        assert_eq!(notices.main_pid().await, 99);
        let path = notices.path().unwrap().to_owned();
        drop(notices);
        assert!(!path.exists());
    }
}
