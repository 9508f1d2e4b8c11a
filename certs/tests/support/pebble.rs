//! The ACME authority of the tests: pebble, and its mock name server.

use std::net::IpAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use certs::acme::Directory;
use certs::self_signed::{Authority, SubjectName};
use serde_json::json;
use tempfile::TempDir;

use crate::program::{Program, free_port, pem, require, until};

/// What is unusual about one pebble.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// Nonces that are refused, in percent; 15 by default.
    pub(crate) bad_nonces: Option<u32>,
    /// Key id and HMAC key (base64url) of the external account, if one is required.
    pub(crate) external: Option<(&'a str, &'a str)>,
    /// Another name server than the mock one, which answers 127.0.0.1 for every name.
    pub(crate) dns_port: Option<u16>,
    /// How long its certificates live, in seconds; five years by default.
    pub(crate) validity_seconds: Option<u64>,
}

pub(crate) struct Pebble {
    pub(crate) url: String,
    pub(crate) root_pem: String,
    /// Where it looks for HTTP-01.
    pub(crate) http_port: u16,
    /// Where it looks for TLS-ALPN-01.
    pub(crate) tls_port: u16,
    pub(crate) management_port: u16,
    /// The name server that it asks.
    pub(crate) dns_port: u16,
    pebble: Program,
    _dns: Option<Program>,
    _dir: TempDir,
}

impl Pebble {
    /// Starts one, with nonce rejections and validation delays on. `None` when it is not installed.
    pub(crate) async fn start(options: &Options<'_>) -> Option<Self> {
        let (pebble, challtestsrv) = (require("pebble")?, require("pebble-challtestsrv")?);
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let [port, management_port, http_port, tls_port, dns_management] = [(); 5].map(|()| free_port());

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let authority = Authority::create("pebble's own", now).unwrap();
        let localhost: IpAddr = "127.0.0.1".parse().unwrap();
        let leaf = authority.issue_server(&[SubjectName::Address(localhost)], now, 30).unwrap();
        std::fs::write(at("cert.pem"), pem("CERTIFICATE", &leaf.chain[0])).unwrap();
        std::fs::write(at("key.pem"), pem("PRIVATE KEY", leaf.key.expose())).unwrap();

        let mut config = json!({
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management_port}"),
            "certificate": at("cert.pem"),
            "privateKey": at("key.pem"),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": options.external.is_some(),
        });
        if let Some((id, key)) = options.external {
            config["externalAccountMACKeys"] = json!({ id: key });
        }
        if let Some(seconds) = options.validity_seconds {
            config["certificateValidityPeriod"] = json!(seconds);
        }
        std::fs::write(at("pebble.json"), json!({ "pebble": config }).to_string()).unwrap();

        let dns_port = options.dns_port.unwrap_or_else(free_port);
        let dns = options.dns_port.is_none().then(|| {
            let arguments = [
                ("-dns01", format!("127.0.0.1:{dns_port}")),
                ("-management", format!("127.0.0.1:{dns_management}")),
                ("-http01", String::new()),
                ("-https01", String::new()),
                ("-tlsalpn01", String::new()),
                ("-defaultIPv6", String::new()),
            ];
            let arguments = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
            Program::start(Command::new(challtestsrv).args(arguments), &at("dns.log"))
        });
        let bad_nonces = options.bad_nonces.unwrap_or(15).to_string();
        let mut command = Command::new(pebble);
        command.arg("-config").arg(at("pebble.json")).args(["-dnsserver", &format!("127.0.0.1:{dns_port}")]);
        command.envs([("PEBBLE_WFE_NONCEREJECT", bad_nonces.as_str()), ("PEBBLE_VA_SLEEPTIME", "1")]);
        command.env("PEBBLE_AUTHZREUSE", "0");
        let pebble = Program::start(&mut command, &at("pebble.log"));

        let started = Self {
            url: format!("https://127.0.0.1:{port}/dir"),
            root_pem: authority.certificate_pem(),
            http_port,
            tls_port,
            management_port,
            dns_port,
            pebble,
            _dns: dns,
            _dir: dir,
        };
        until("pebble's directory", async || started.directory().offer().await.ok()).await;
        Some(started)
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::open(&self.url, Some(&self.root_pem)).unwrap()
    }

    /// Where it looks names up.
    pub(crate) fn dns(&self) -> String {
        format!("127.0.0.1:{}", self.dns_port)
    }

    /// How many orders were ever opened.
    pub(crate) fn orders(&self) -> usize {
        self.pebble.log().lines().filter(|line| line.contains("Added order")).count()
    }

    pub(crate) fn log(&self) -> String {
        self.pebble.log()
    }
}
