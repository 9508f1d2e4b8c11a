//! Jump hosts, the gateway and OpenSSH's sshd, each on core 0; and on core 1 what is behind them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::gate::{Gate, until};
use super::{pinned, wait_until_open};
use crate::process::Running;

/// Whose jumps one key opens at most: the gateway grants a person 256 at once.
pub const JUMPS_PER_PERSON: usize = 250;
const CHUNK_BYTES: usize = 256 * 1024;

/// Something behind the jump hosts.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The VM that it is to the gateway.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A jump host that runs.
pub struct Jump {
    /// Its name.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// The process that carries the bytes, or has those for children that do.
    pub pid: u32,
    login: String,
    by_name: bool,
    _running: Option<Running>,
}

/// Everything that takes part.
pub struct World {
    /// sshd first, the gateway second.
    pub jumps: Vec<Jump>,
    /// The gateway.
    pub gate: Gate,
    /// Says a byte, reads how many bytes are wanted, and writes so many.
    pub source: Target,
    /// Says a byte, reads how many bytes will come, reads so many, and says a byte.
    pub sink: Target,
    /// Says back what it hears.
    pub echo: Target,
    /// An sshd that lets every key in, and what the gateway certifies.
    pub inner: Target,
    keys: Vec<PathBuf>,
    folder: PathBuf,
    _inner: Running,
}

impl Jump {
    /// How a target is asked for: the gateway knows VMs, sshd addresses.
    pub fn way_to(&self, target: Target) -> (String, u16) {
        if self.by_name {
            (target.name.to_owned(), 22)
        } else {
            (target.address.ip().to_string(), target.address.port())
        }
    }

    /// The name that people log in with.
    pub fn login(&self) -> &str {
        &self.login
    }
}

impl World {
    /// Starts all of it, for so many people with a key each.
    pub fn start(folder: &Path, people: usize) -> Result<Self> {
        let folder = folder.join("ssh");
        fs::create_dir_all(&folder)?;
        // sshd reads the keys as the person who logs in.
        for folder in [folder.parent().context("a folder has a parent")?, &folder] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
        }
        let keys = (0..people.max(1))
            .map(|nth| keygen(&folder, &format!("key{nth}")))
            .collect::<Result<Vec<_>>>()?;
        let public = keys
            .iter()
            .map(|key| fs::read_to_string(key.with_extension("pub")))
            .collect::<Result<String, _>>()?;
        fs::write(folder.join("authorized_keys"), &public)?;
        keygen(&folder, "host")?;
        let gate = Gate::start(&folder, "gate")?;
        let authority = gate.ask("/api/v1/ssh-host-keys")?;
        let authority = authority.get("user_authority").and_then(|key| key.as_str());
        fs::write(folder.join("authority.pub"), authority.context("the gate has no authority")?)?;
        let (outer, jump) = sshd(&folder, 10, "0")?;
        let (inner, inner_sshd) = sshd(&folder, 14, "1")?;
        let world = Self {
            jumps: vec![
                Jump {
                    name: "sshd",
                    address: outer,
                    pid: jump.0.id(),
                    login: person(),
                    by_name: false,
                    _running: Some(jump),
                },
                Jump {
                    name: "gatehouse",
                    address: gate.address("ssh")?,
                    pid: gate.pid,
                    login: "openidcs".to_owned(),
                    by_name: true,
                    _running: None,
                },
            ],
            source: Target { name: "source", address: served(11, give)? },
            sink: Target { name: "sink", address: served(12, swallow)? },
            echo: Target { name: "echo", address: served(13, echo)? },
            inner: Target { name: "inner", address: inner },
            gate,
            keys,
            folder,
            _inner: inner_sshd,
        };
        world.tell_the_gate()?;
        Ok(world)
    }

    fn tell_the_gate(&self) -> Result<()> {
        for Target { name, address } in [self.source, self.sink, self.echo, self.inner] {
            let vm = json!({ "name": name, "address": address.ip().to_string(), "ssh_port": address.port() });
            self.gate.make("/api/v1/vms", &vm)?;
        }
        for (nth, key) in self.keys.iter().enumerate() {
            let user = json!({ "name": format!("usr{nth}"), "grant": "operator:default" });
            let user = self.gate.make_id("/api/v1/users", &user)?;
            let public = json!({ "key": fs::read_to_string(key.with_extension("pub"))?.trim() });
            self.gate.make(&format!("/api/v1/users/{user}/keys"), &public)?;
        }
        let jump = self.jumps.last().context("there is a jump host")?;
        let config = self.config("there", "")?;
        until(|| {
            let output = self.login(jump, &config).stdin(Stdio::null()).stderr(Stdio::piped()).output()?;
            if !output.status.success() {
                bail!("ssh -J: {}", String::from_utf8_lossy(&output.stderr));
            }
            Ok(())
        })
    }

    /// The private keys.
    pub fn keys(&self) -> &[PathBuf] {
        &self.keys
    }

    /// A configuration of OpenSSH's client that asks nobody anything, uses the first key, and has these lines, too.
    pub fn config(&self, name: &str, lines: &str) -> Result<PathBuf> {
        let file = self.folder.join(format!("config-{name}"));
        let key = self.keys.first().context("there is a key")?;
        let text = format!(
            "Host *\n IdentityFile {}\n IdentitiesOnly yes\n IdentityAgent none\n StrictHostKeyChecking no\n \
             UserKnownHostsFile /dev/null\n LogLevel ERROR\n BatchMode yes\n ConnectTimeout 20\n \
             ServerAliveInterval 10\n {lines}\n",
            key.display()
        );
        fs::write(&file, text)?;
        Ok(file)
    }

    /// `ssh -J` through a jump host to the inner sshd, running `true` there.
    pub fn login(&self, jump: &Jump, config: &Path) -> Command {
        let mut command = self.through(jump, config);
        command.arg("true");
        command
    }

    /// `ssh -J` through a jump host to the inner sshd; what is to run there comes behind.
    pub fn through(&self, jump: &Jump, config: &Path) -> Command {
        let mut command = Command::new("ssh");
        let (host, port) = jump.way_to(self.inner);
        command.arg("-F").arg(config).args(["-J", &format!("{}@{}", jump.login, jump.address)]);
        command.args(["-p", &port.to_string(), &format!("{}@{host}", owner())]);
        command
    }

    /// `ssh` to the inner sshd without a jump.
    pub fn direct(&self, config: &Path) -> Command {
        let mut command = Command::new("ssh");
        let inner = self.inner.address;
        command.arg("-F").arg(config);
        command.args(["-p", &inner.port().to_string(), &format!("{}@{}", owner(), inner.ip())]);
        command
    }

    /// `ssh -W` through a jump host to a target; ended after some minutes, whatever happens.
    pub fn carry(&self, jump: &Jump, target: Target, config: &Path) -> Command {
        let mut command = Command::new("timeout");
        let (host, port) = jump.way_to(target);
        command.args(["-s", "KILL", "300", "ssh", "-F"]).arg(config).args(["-W", &format!("{host}:{port}")]);
        command.args(["-p", &jump.address.port().to_string()]);
        command.arg(format!("{}@{}", jump.login, jump.address.ip()));
        command
    }
}

/// Who logs in at the jump sshd: not root where that is possible, as nobody does, so that sshd has the two processes for a
/// connection that it has for people.
fn person() -> String {
    if rustix::process::geteuid().is_root() { "nobody".to_owned() } else { owner() }
}

/// Who runs this.
fn owner() -> String {
    std::env::var("USER").unwrap_or_else(|_| "root".to_owned())
}

fn keygen(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(&file)
        .status()
        .context("openssh-client is needed")?;
    if !status.success() {
        bail!("ssh-keygen made no key");
    }
    Ok(file)
}

/// An sshd on an address of loopback of its own.
fn sshd(folder: &Path, last: u8, core: &str) -> Result<(SocketAddr, Running)> {
    fs::create_dir_all("/run/sshd").ok();
    let address = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0))?.local_addr()?;
    let config = folder.join(format!("sshd-{last}"));
    let text = format!(
        "ListenAddress {address}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n\
         TrustedUserCAKeys {folder}/authority.pub\nPidFile none\nUsePAM no\nStrictModes no\nUseDNS no\n\
         PermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 1000\nLogLevel QUIET\n",
        folder = folder.display()
    );
    fs::write(&config, text)?;
    let running = pinned(core, "/usr/sbin/sshd", &[&"-D", &"-f", &config], &[])?;
    wait_until_open(address)?;
    Ok((address, running))
}

/// Serves each connection of an address of loopback by a thread, until the process ends.
fn served(last: u8, serve: fn(TcpStream) -> std::io::Result<()>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let small = std::thread::Builder::new().stack_size(512 * 1024);
            // A client that goes away is how each of them ends; one without a thread sees its connection closed.
            let _ = small.spawn(move || stream.set_nodelay(true).and_then(|()| serve(stream)));
        }
    });
    Ok(address)
}

fn count_of(stream: &mut TcpStream) -> std::io::Result<u64> {
    stream.write_all(b"g")?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    Ok(u64::from_be_bytes(count))
}

fn give(mut stream: TcpStream) -> std::io::Result<()> {
    let mut left = count_of(&mut stream)?;
    let chunk = vec![b'd'; CHUNK_BYTES];
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        stream.write_all(chunk.get(..next).unwrap_or_default())?;
        left -= next as u64;
    }
    Ok(())
}

fn swallow(mut stream: TcpStream) -> std::io::Result<()> {
    let mut left = count_of(&mut stream)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    while left > 0 {
        match stream.read(&mut chunk)? as u64 {
            0 => return Ok(()),
            read => left = left.saturating_sub(read),
        }
    }
    stream.write_all(b"k")
}

fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(chunk.get(..read).unwrap_or_default())?;
    }
}
