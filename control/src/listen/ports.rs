//! Ports that the system chose: kept in the data directory and taken again at the next start (DESIGN D20).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::{ListenError, bind};

/// The chosen ports of one process, by the address that asked for them.
#[derive(Debug)]
pub struct Kept {
    file: PathBuf,
    ports: BTreeMap<String, u16>,
}

impl Kept {
    /// Reads what was kept; a file that is absent or damaged keeps nothing.
    pub fn open(file: PathBuf) -> Self {
        let ports =
            std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { file, ports }
    }

    /// Binds every address of one kind. Port 0 takes the port of the last start if it is free, otherwise any.
    pub fn bind(&mut self, kind: &str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
        let mut bound = Vec::with_capacity(addresses.len());
        for (place, wanted) in addresses.iter().enumerate() {
            let again = match self.port(kind, wanted, place) {
                Some(port) if wanted.port() == 0 => bind(SocketAddr::new(wanted.ip(), port)).ok(),
                _ => None,
            };
            let listener = match again {
                Some(listener) => listener,
                None => bind(*wanted)?,
            };
            if let (0, Ok(address)) = (wanted.port(), listener.local_addr()) {
                self.ports.insert(name(kind, wanted, place), address.port());
            }
            bound.push(listener);
        }
        Ok(bound)
    }

    /// The port that was chosen for the address at `place` among those of its kind.
    pub fn port(&self, kind: &str, wanted: &SocketAddr, place: usize) -> Option<u16> {
        self.ports.get(&name(kind, wanted, place)).copied()
    }

    /// Writes the choice down. A failure costs a new port at the next start, nothing else.
    pub fn save(&self) {
        if !self.ports.is_empty()
            && let Err(error) = self.write(&self.file)
        {
            tracing::warn!(file = %self.file.display(), %error, "the chosen ports cannot be kept");
        }
    }

    fn write(&self, file: &Path) -> std::io::Result<()> {
        let aside = file.with_extension("new");
        let mut out = std::fs::File::create(&aside)?;
        out.write_all(serde_json::json!(self.ports).to_string().as_bytes())?;
        std::fs::rename(aside, file)
    }
}

fn name(kind: &str, wanted: &SocketAddr, place: usize) -> String {
    format!("{kind} {wanted} {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_port_is_taken_again_and_another_when_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ports.json");
        let any: [SocketAddr; 1] = ["127.0.0.1:0".parse().unwrap()];
        let start = || {
            let mut kept = Kept::open(file.clone());
            let bound = kept.bind("admin", &any).unwrap();
            kept.save();
            bound
        };
        let port = |bound: &[TcpListener]| bound[0].local_addr().unwrap().port();
        let first = start();
        let chosen = port(&first);
        let second = start();
        assert_ne!(port(&second), chosen);
        drop((first, second));
        let third = start();
        let again = port(&third);
        drop(third);
        assert_eq!(port(&start()), again);
    }
}
