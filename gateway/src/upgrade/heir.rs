//! The new process: takes over what the elder hands it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::limits;
use config::snapshot::Transport;

use super::Draining;
use super::link::Link;
use super::manifest::{FORMAT, Flow, Go, Handed, Manifest, Serves, ToElder, ToHeir};
use crate::forward::{Open, Spot};
use crate::listener::Wanted;
use crate::listener::bind::Bound;

/// Why a heir cannot take over; the elder serves on and says so.
#[derive(Debug, thiserror::Error)]
pub enum HeirError {
    /// Not started by an elder.
    #[error("--inherit is for a gateway that is being upgraded: {0}")]
    NoElder(String),
    /// The elder is of another kind.
    #[error("the process before speaks another language: {0}")]
    Format(String),
    /// The settings are of another gateway.
    #[error("the settings name the data directory {}, and the process before uses {}", ours.display(), theirs.display())]
    OtherData {
        /// As the settings say.
        ours: std::path::PathBuf,
        /// As the elder says.
        theirs: std::path::PathBuf,
    },
    /// The checkpoint does not lead to what is in force.
    #[error(
        "generation {wanted} is in force and cannot be put in force here{found}: the checkpoint of it cannot be used"
    )]
    Generation {
        /// What the elder serves.
        wanted: u64,
        /// What was found instead.
        found: String,
    },
    /// The elder is gone, or thought better of it.
    #[error("the process before does not give the word: {0}")]
    NotNow(String),
}

/// How a heir tells its elder what becomes of it.
#[derive(Debug, Clone)]
pub struct Voice {
    link: Arc<Link>,
}

impl Voice {
    /// Speaks on standard input, where the elder put its socket, and leaves nothing there for others to read.
    pub fn of_stdin() -> Result<Self, HeirError> {
        let none = |cause: io::Error| HeirError::NoElder(cause.to_string());
        let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(none)?;
        rustix::net::sockopt::socket_domain(&stdin)
            .map_err(|_| HeirError::NoElder("standard input is not its socket".to_owned()))?;
        let nothing = File::open("/dev/null").map_err(none)?;
        rustix::stdio::dup2_stdin(&nothing).map_err(|cause| none(cause.into()))?;
        Self::on(stdin)
    }

    /// Speaks on this socket.
    pub fn on(socket: OwnedFd) -> Result<Self, HeirError> {
        let link = Arc::new(Link::from(socket));
        let hello = ToElder::Hello { version: env!("CARGO_PKG_VERSION").to_owned(), formats: vec![FORMAT] };
        link.send(&hello, &[]).map_err(|error| HeirError::NoElder(error.to_string()))?;
        Ok(Self { link })
    }

    /// Tells why it does not take over. The elder may be gone.
    pub fn failed(&self, why: &str) {
        let _ = self.link.send(&ToElder::Failed(why.to_owned()), &[]);
    }

    /// Waits for what the elder hands over. Blocking.
    pub fn receive(&self) -> Result<Inheritance, HeirError> {
        let within = Duration::from_millis(limits::UPGRADE_READY_MS);
        let (message, descriptors) =
            self.link.receive(within).map_err(|error| HeirError::NotNow(error.to_string()))?;
        let ToHeir::Offer(manifest) = message else {
            return Err(HeirError::Format("it offers nothing".to_owned()));
        };
        Inheritance::sort(Arc::clone(&self.link), manifest, descriptors)
    }
}

/// What the elder handed over.
#[derive(Debug)]
pub struct Inheritance {
    link: Arc<Link>,
    manifest: Manifest,
    pub(crate) lock: Option<File>,
    pub(crate) orders: Option<UnixListener>,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) listeners: Vec<(Wanted, Bound)>,
    pub(crate) doors: HashMap<Spot, Vec<Open>>,
    draining: Vec<Draining>,
}

impl Inheritance {
    fn sort(link: Arc<Link>, manifest: Manifest, descriptors: Vec<OwnedFd>) -> Result<Self, HeirError> {
        if manifest.format != FORMAT || manifest.handed.len() != descriptors.len() {
            return Err(HeirError::Format(format!(
                "form {} with {} of {} sockets",
                manifest.format,
                descriptors.len(),
                manifest.handed.len()
            )));
        }
        let handed = manifest.handed.clone();
        let elder = Draining { pid: manifest.pid, link: Arc::clone(&link) };
        let mut all = Self {
            link,
            manifest,
            lock: None,
            orders: None,
            admin: None,
            listeners: Vec::new(),
            doors: HashMap::new(),
            draining: vec![elder],
        };
        for (handed, descriptor) in handed.iter().zip(descriptors) {
            all.take(handed, descriptor)
                .map_err(|cause| HeirError::Format(format!("{handed:?}: {cause}")))?;
        }
        Ok(all)
    }

    fn take(&mut self, handed: &Handed, descriptor: OwnedFd) -> io::Result<()> {
        match handed {
            Handed::Lock => self.lock = Some(descriptor.into()),
            Handed::Orders => self.orders = Some(descriptor.into()),
            Handed::Admin => self.admin = Some(descriptor.into()),
            Handed::Listener { .. } => {
                // One of a kind that this version does not know is closed.
                let Some(wanted) = handed.wanted() else { return Ok(()) };
                let socket = TcpListener::from(descriptor);
                match self.listeners.iter_mut().find(|(known, _)| *known == wanted) {
                    Some((_, bound)) => bound.sockets.push(socket),
                    None => {
                        let address = socket.local_addr()?;
                        self.listeners.push((wanted, Bound { address, sockets: vec![socket] }));
                    }
                }
            }
            Handed::Door { .. } => {
                let Some(spot) = handed.spot() else { return Ok(()) };
                let open = match spot.transport {
                    Transport::Tcp => Open::Tcp(descriptor.into()),
                    Transport::Udp => Open::Udp(UdpSocket::from(descriptor)),
                };
                self.doors.entry(spot).or_default().push(open);
            }
            Handed::Draining { pid } => {
                self.draining.push(Draining { pid: *pid, link: Arc::new(Link::from(descriptor)) });
            }
            Handed::Unknown => {}
        }
        Ok(())
    }

    /// Whether the settings are of the same gateway.
    pub(crate) fn fits(&self, data: &Path) -> Result<(), HeirError> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if real(data) == real(&self.manifest.data) {
            return Ok(());
        }
        Err(HeirError::OtherData { ours: data.to_path_buf(), theirs: self.manifest.data.clone() })
    }

    /// Whether what was put in force is what the elder serves.
    pub(crate) fn continues(&self, in_force: Option<Serves>) -> Result<(), HeirError> {
        match &self.manifest.serves {
            Some(wanted) if in_force.as_ref() != Some(wanted) => Err(HeirError::Generation {
                wanted: wanted.generation,
                found: in_force
                    .map_or_else(String::new, |found| format!(" (here it is {})", found.generation)),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// What is left of it once the sockets are taken out.
    pub(crate) fn succession(&mut self) -> Succession {
        Succession { link: Arc::clone(&self.link), draining: std::mem::take(&mut self.draining) }
    }
}

/// The last steps of taking over.
#[derive(Debug, Clone)]
pub(crate) struct Succession {
    link: Arc<Link>,
    draining: Vec<Draining>,
}

impl Succession {
    /// [`Succession::ready`], off the runtime's thread.
    pub(crate) async fn word(self) -> Result<(Go, Vec<(Flow, OwnedFd)>), HeirError> {
        let word = tokio::task::spawn_blocking(move || self.ready()).await;
        word.unwrap_or_else(|error| Err(HeirError::NotNow(error.to_string())))
    }

    /// Says that everything is in hand, and waits for the word. Blocking.
    fn ready(&self) -> Result<(Go, Vec<(Flow, OwnedFd)>), HeirError> {
        let not_now = |error: super::link::LinkError| HeirError::NotNow(error.to_string());
        self.link.send(&ToElder::Ready, &[]).map_err(not_now)?;
        let within = Duration::from_millis(limits::UPGRADE_READY_MS);
        let (message, descriptors) = self.link.receive(within).map_err(not_now)?;
        let ToHeir::Go(mut go) = message else {
            return Err(HeirError::Format("it should have given the word".to_owned()));
        };
        let flows = std::mem::take(&mut go.flows).into_iter().zip(descriptors).collect();
        Ok((go, flows))
    }

    /// Says that this process serves. From here on it is alone with that, and the others drain.
    pub(crate) fn serving(&mut self) -> Result<Vec<Draining>, HeirError> {
        self.link.send(&ToElder::Serving, &[]).map_err(|error| HeirError::NotNow(error.to_string()))?;
        Ok(std::mem::take(&mut self.draining))
    }

    /// Says that it follows control.
    pub(crate) fn following(&self) {
        let _ = self.link.send(&ToElder::Following, &[]);
    }
}
