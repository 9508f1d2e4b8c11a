//! What is ready, as control tells it on its socket, and how that is printed.

use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cli::client::Client;

/// The kinds of public listeners, in the order they are printed.
const KINDS: [&str; 5] = ["http", "https", "ssh", "novnc", "ttyd"];

/// What control says about itself and the gateways: `GET /local/running`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The admin listeners.
    pub admin: Vec<SocketAddr>,
    /// Those that speak TLS.
    #[serde(default)]
    pub admin_tls: Vec<SocketAddr>,
    /// The listeners of the gateways' stream.
    pub sync: Vec<SocketAddr>,
    /// The connected gateways.
    pub gateways: Vec<Connected>,
}

/// One connected gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Its name.
    pub name: String,
    /// The generation it serves.
    pub acked: Option<u64>,
    /// Where it listens.
    pub listeners: Vec<Listening>,
}

/// One listener of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// `http`, `https`, `ssh`, `novnc`, `ttyd` or `admin`.
    pub kind: String,
    /// The bound address.
    pub address: SocketAddr,
}

impl Report {
    /// Asks control; `None` while it does not answer.
    pub async fn ask(client: &Client) -> Option<Self> {
        let answer = client.get(super::REPORT_PATH).await.ok()?;
        serde_json::from_value(answer.body).ok()
    }

    /// The gateway of this name, once a generation is in force there.
    pub fn serving(&self, name: &str) -> Option<&Connected> {
        self.gateways.iter().find(|gateway| gateway.name == name && gateway.acked.is_some())
    }
}

/// The process ids of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pids {
    /// `gatehouse up`.
    pub up: u32,
    /// `gatehouse control run`.
    pub control: u32,
    /// `gatehouse-gateway`.
    pub gateway: u32,
}

/// The ready line (DESIGN §11): one JSON object.
pub fn line(report: &Report, gateway: &Connected, pids: Pids, data: &Path) -> Value {
    let mut line = json!({
        "admin": report.admin,
        "admin_tls": report.admin_tls,
        "sync": report.sync,
        "pid": { "up": pids.up, "control": pids.control, "gateway": pids.gateway },
        "data": data.display().to_string(),
    });
    for (name, kind) in KINDS.map(|kind| (kind, kind)).into_iter().chain([("gateway_admin", "admin")]) {
        if let Some(members) = line.as_object_mut() {
            members.insert(name.to_owned(), json!(addresses(gateway, kind).collect::<Vec<_>>()));
        }
    }
    line
}

/// The same for people.
pub fn text(report: &Report, gateway: &Connected, data: &Path) -> String {
    let mut text = String::from("Gatehouse is ready:\n");
    let mut say = |kind: &str, addresses: Vec<String>| {
        let said = if addresses.is_empty() { "off".to_owned() } else { addresses.join(", ") };
        text.push_str(&format!("  {kind:<8} {said}\n"));
    };
    for kind in KINDS {
        say(kind, addresses(gateway, kind).map(SocketAddr::to_string).collect());
    }
    let secured = report.admin_tls.iter().map(|address| format!("tls:{address}"));
    say("admin", report.admin.iter().map(SocketAddr::to_string).chain(secured).collect());
    say("sync", report.sync.iter().map(SocketAddr::to_string).collect());
    say("gateway", addresses(gateway, "admin").map(SocketAddr::to_string).collect());
    say("data", vec![data.display().to_string()]);
    text
}

fn addresses<'a>(gateway: &'a Connected, kind: &'a str) -> impl Iterator<Item = &'a SocketAddr> {
    gateway.listeners.iter().filter(move |listener| listener.kind == kind).map(|listener| &listener.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        serde_json::from_value(json!({
            "admin": ["127.0.0.1:1880"], "admin_tls": ["127.0.0.1:1883"], "sync": ["127.0.0.1:1881"], "pid": 7,
            "gateways": [
                {"name": "other", "acked": 3, "listeners": []},
                {"name": "local", "acked": 3, "listeners": [
                    {"kind": "http", "address": "0.0.0.0:8080"}, {"kind": "admin", "address": "127.0.0.1:1882"},
                ]},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn the_ready_line_has_every_name_of_the_fixed_form() {
        let report = report();
        let gateway = report.serving("local").unwrap();
        let line = line(&report, gateway, Pids { up: 1, control: 2, gateway: 3 }, Path::new("/data"));
        assert_eq!(
            line,
            json!({
                "http": ["0.0.0.0:8080"], "https": [], "ssh": [], "novnc": [], "ttyd": [],
                "gateway_admin": ["127.0.0.1:1882"],
                "admin": ["127.0.0.1:1880"], "admin_tls": ["127.0.0.1:1883"], "sync": ["127.0.0.1:1881"],
                "pid": {"up": 1, "control": 2, "gateway": 3}, "data": "/data",
            })
        );
        assert!(!line.to_string().contains('\n'));
    }

    #[test]
    fn people_see_what_is_off() {
        let report = report();
        let text = text(&report, report.serving("local").unwrap(), Path::new("/data"));
        assert!(text.contains("  admin    127.0.0.1:1880, tls:127.0.0.1:1883\n"), "{text}");
        assert!(text.contains("  http     0.0.0.0:8080\n") && text.contains("  ssh      off\n"), "{text}");
    }

    #[test]
    fn a_gateway_without_a_generation_is_not_serving() {
        let mut report = report();
        report.gateways[1].acked = None;
        assert_eq!(report.serving("local"), None);
    }
}
