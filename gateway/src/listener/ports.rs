//! What port 0 became: chosen once, kept in `DIR/gateway/ports.json`, tried first at the next start.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Wanted;

/// The ports chosen for listeners with port 0, by listener.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    path: PathBuf,
    chosen: BTreeMap<String, u16>,
}

impl Ports {
    /// Reads the choices of the last start. A file that is absent or damaged is no choice.
    pub(crate) fn load(dir: &Path) -> Self {
        let path = dir.join("ports.json");
        let chosen = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|cause| {
                tracing::warn!(path = %path.display(), %cause, "the ports of the last start cannot be read");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        Self { path, chosen }
    }

    /// The address to try first: the remembered port in the place of port 0.
    pub(crate) fn address(&self, key: &str, address: SocketAddr) -> SocketAddr {
        match self.chosen.get(key) {
            Some(port) if address.port() == 0 => SocketAddr::new(address.ip(), *port),
            Some(_) | None => address,
        }
    }

    /// Remembers what port 0 became; `false` if that is what was remembered.
    pub(crate) fn chose(&mut self, key: String, port: u16) -> bool {
        self.chosen.insert(key, port) != Some(port)
    }

    /// Puts the choices on disk, whole or not at all.
    pub(crate) fn save(&self) -> io::Result<()> {
        let aside = self.path.with_extension("json.new");
        let mut file = std::fs::File::create(&aside)?;
        file.write_all(&serde_json::to_vec(&self.chosen)?)?;
        file.sync_all()?;
        std::fs::rename(&aside, &self.path)
    }
}

/// What a listener's choice is kept under.
pub(crate) fn key(wanted: &Wanted) -> String {
    format!("{} {} {}", wanted.kind, wanted.address.ip(), wanted.nth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::Kind;

    #[test]
    fn a_choice_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = Wanted { kind: Kind::Http, address: ([127, 0, 0, 1], 0).into(), nth: 0 };
        let mut ports = Ports::load(dir.path());
        assert!(ports.chose(key(&wanted), 4711));
        ports.save().unwrap();

        let ports = Ports::load(dir.path());

        assert_eq!(ports.address(&key(&wanted), wanted.address).port(), 4711);
        let second = Wanted { nth: 1, ..wanted };
        assert_eq!(ports.address(&key(&second), second.address).port(), 0);
    }

    #[test]
    fn a_damaged_file_is_no_choice() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ports.json"), b"{\"http").unwrap();
        let address = ([127, 0, 0, 1], 0).into();
        assert_eq!(Ports::load(dir.path()).address("http 127.0.0.1 0", address).port(), 0);
    }
}
