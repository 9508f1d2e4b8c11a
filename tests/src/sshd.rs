//! A real sshd that stands in for a VM, and the client's side: keys and configuration.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A key pair of a person, made by the real `ssh-keygen`.
pub struct KeyPair {
    /// The private key's file; the public one is beside it with `.pub`.
    pub file: PathBuf,
    _directory: Option<TempDir>,
}

impl KeyPair {
    /// An ed25519 pair.
    pub fn make(comment: &str) -> Self {
        Self::make_as("ed25519", comment)
    }

    /// A pair of this type, as `ssh-keygen -t` names it.
    pub fn make_as(kind: &str, comment: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        keygen(&file, kind, comment);
        Self { file, _directory: Some(directory) }
    }

    /// A pair that somebody else keeps.
    pub fn at(file: PathBuf) -> Self {
        Self { file, _directory: None }
    }

    /// The public key's file.
    pub fn public_file(&self) -> PathBuf {
        self.file.with_extension("pub")
    }

    /// The public key's line.
    pub fn public(&self) -> String {
        fs::read_to_string(self.public_file()).unwrap()
    }
}

/// A running sshd on loopback that lets `authorized` in as the user who runs the tests.
pub struct Sshd {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Sshd {
    /// Starts one. Needs openssh-server.
    pub async fn start(authorized: &KeyPair) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("authorized_keys");
        fs::write(&keys, authorized.public()).unwrap();
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();
        Self::start_in(directory, &keys).await
    }

    /// Starts one that reads this file of keys at each login; it may be written later.
    pub async fn start_for(authorized_keys: PathBuf) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &authorized_keys).await
    }

    /// Starts one that lets nobody in but who shows a certificate of this authority, an OpenSSH public key's line.
    pub async fn start_trusting(authority: &str) -> Self {
        Self::start_trusting_as(authority, &[&KeyPair::make("host")]).await
    }

    /// The same with these host keys.
    pub async fn start_trusting_as(authority: &str, host_keys: &[&KeyPair]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("authority.pub");
        fs::write(&file, authority).unwrap();
        let extra = format!("TrustedUserCAKeys {}\n", file.display());
        Self::start_with(directory, Path::new("none"), (host_keys, &extra)).await
    }

    async fn start_in(directory: TempDir, keys: &Path) -> Self {
        Self::start_with(directory, keys, (&[&KeyPair::make("host")], "")).await
    }

    async fn start_with(directory: TempDir, keys: &Path, (host_keys, extra): (&[&KeyPair], &str)) -> Self {
        let folder = directory.path();
        fs::create_dir_all("/run/sshd").ok();
        let mut host_key_lines = String::new();
        for (number, pair) in host_keys.iter().enumerate() {
            // A copy of its own, as a machine has one.
            let file = folder.join(format!("host{number}"));
            fs::copy(&pair.file, &file).unwrap();
            host_key_lines.push_str(&format!("HostKey {}\n", file.display()));
        }
        let address = crate::ports::refusing();
        let config = folder.join("sshd_config");
        fs::write(
            &config,
            format!(
                "ListenAddress {address}\n{host_key_lines}AuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\n\
                 PermitRootLogin prohibit-password\nPasswordAuthentication no\nSubsystem sftp internal-sftp\nAcceptEnv LANG LC_*\n{extra}",
                keys.display(),
            ),
        )
        .unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .expect("openssh-server is installed by ./test");
        crate::wait::wait_for("sshd listens", || async {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        Self { child, address, _directory: directory }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A client configuration that asks nobody anything and uses `key` alone, for the jump as well.
pub fn client_config(folder: &Path, key: &KeyPair) -> PathBuf {
    let file = folder.join("ssh_config");
    fs::write(
        &file,
        format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  IdentityAgent none\n  StrictHostKeyChecking no\n  \
             UserKnownHostsFile /dev/null\n  LogLevel ERROR\n  BatchMode yes\n  ConnectTimeout 20\n",
            key.file.display()
        ),
    )
    .unwrap();
    file
}

fn keygen(file: &Path, kind: &str, comment: &str) {
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-C", comment, "-f"])
        .arg(file)
        .status()
        .expect("openssh-client is installed by ./test");
    assert!(status.success());
}
