//! A real name server: bind9 with dynamic zones.

use std::path::Path;
use std::process::Command;

use certs::dns::{Lookup, Rfc2136, TsigKey};
use config::secret::Secret;
use tempfile::TempDir;

use crate::program::{Program, free_port, require, until};

/// Name, algorithm and secret of the keys that it knows; `reader` may not write.
pub(crate) const KEYS: [(&str, &str, &str); 3] = [
    ("writer", "hmac-sha256", "c2VjcmV0LW9mLXRoZS13cml0ZXItb2YtdGVzdHM="),
    ("writer512", "hmac-sha512", "YW5vdGhlci1zZWNyZXQtb2YtYW5vdGhlci13cml0ZXI="),
    ("reader", "hmac-sha256", "c2VjcmV0LW9mLXRoZS1yZWFkZXItb2YtdGVzdHM="),
];

pub(crate) struct Bind {
    pub(crate) port: u16,
    _named: Program,
    _dir: TempDir,
}

impl Bind {
    /// Starts it with the zones `dyn.test` (every name is 127.0.0.1; two name servers `ns1`, and `ns2` at 127.0.0.2 in
    /// `two.test`) and `static.test`, whose challenges are aliases into `dyn.test`.
    pub(crate) async fn start() -> Option<Self> {
        let named = require("named")?;
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        write_zones(dir.path());
        std::fs::write(dir.path().join("named.conf"), settings(dir.path(), port)).unwrap();
        let mut command = Command::new(named);
        command.args(["-g", "-c"]).arg(dir.path().join("named.conf"));
        let started =
            Self { port, _named: Program::start(&mut command, &dir.path().join("named.log")), _dir: dir };
        until("named answers", async || {
            let addresses = started.lookup().addresses("ns1.dyn.test").await.ok()?;
            (!addresses.is_empty()).then_some(())
        })
        .await;
        Some(started)
    }

    /// Everything is asked of it.
    pub(crate) fn lookup(&self) -> Lookup {
        let at = ([127, 0, 0, 1], self.port).into();
        Lookup::new(vec![at]).unwrap().with_authoritative_port(self.port)
    }

    pub(crate) fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A provider that signs with the key of this name.
    pub(crate) fn provider(&self, key: &str) -> Rfc2136 {
        let (name, algorithm, secret) = KEYS.into_iter().find(|(name, ..)| *name == key).unwrap();
        let key = TsigKey::parse(name, algorithm, &Secret::new(secret.to_owned())).unwrap();
        Rfc2136::new(&self.server(), None, Some(key)).unwrap()
    }
}

fn write_zones(dir: &Path) {
    let zone = |name: &str, records: &str| {
        let head =
            format!("$ORIGIN {name}.\n$TTL 1\n@ SOA ns1 admin 1 60 60 600 1\n@ NS ns1\nns1 A 127.0.0.1\n");
        std::fs::write(dir.join(name), format!("{head}{records}")).unwrap();
    };
    zone("dyn.test", "@ A 127.0.0.1\n* A 127.0.0.1\n");
    zone("two.test", "@ NS ns2\nns2 A 127.0.0.2\n_acme-challenge TXT new\n");
    let records = "_acme-challenge.alias CNAME alias.dyn.test.\n\
        _acme-challenge.loop CNAME loop\nloop CNAME _acme-challenge.loop\n\
        here A 127.0.0.1\nelsewhere A 192.0.2.7\nempty TXT nothing\n\
        forbidden A 127.0.0.1\nforbidden CAA 0 issue \"other.example\"\n\
        allowed.forbidden A 127.0.0.1\nallowed.forbidden CAA 0 issue \"ca.example\"\n\
        below.forbidden A 127.0.0.1\n";
    zone("static.test", records);
}

fn settings(dir: &Path, port: u16) -> String {
    let dir = dir.display();
    let keys: String = KEYS
        .iter()
        .map(|(name, algorithm, secret)| {
            format!("key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n")
        })
        .collect();
    let zone = |name: &str, policy: &str| {
        format!("zone \"{name}\" {{ type master; file \"{dir}/{name}\"; {policy} }};\n")
    };
    let policy = "update-policy { grant writer zonesub TXT; grant writer512 zonesub TXT; };";
    format!(
        "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
         pid-file \"{dir}/pid\"; session-keyfile \"{dir}/session.key\"; lock-file none;\n\
         recursion no; dnssec-validation no; allow-query {{ any; }}; notify no; }};\ncontrols {{ }};\n{keys}{}{}{}",
        zone("dyn.test", policy),
        zone("two.test", ""),
        zone("static.test", ""),
    )
}
