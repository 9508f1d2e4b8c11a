//! A whole Gatehouse in one process: control, any number of gateways, port 0, directories of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::name::GatewayName;
use config::secret::Secret;
use config::settings::{self, Database, Level, Log, LogFormat, Mode, Retention, Rotation};
use serde_json::json;
use tempfile::TempDir;

use crate::api::Api;
use crate::client;
use crate::wait::{wait_for, within};

/// Control and its gateways. Everything ends when it is dropped.
pub struct Stack {
    control: Option<control::start::Running>,
    gateways: Vec<gateway::Running>,
    /// The admin API as the local root.
    pub api: Api,
    directory: TempDir,
}

impl Stack {
    /// Control and one gateway that has a generation in force.
    pub async fn start() -> Self {
        let mut stack = Self::control_alone().await;
        stack.join("gate1").await;
        stack
    }

    /// Control without a gateway.
    pub async fn control_alone() -> Self {
        // A short path: the socket of control lies in it.
        let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
        let control = within("control starts", start_control(directory.path())).await;
        let api = Api::of(directory.path());
        Self { control: Some(control), gateways: Vec::new(), api, directory }
    }

    /// One more gateway, enrolled by a join token of its own. Gives its place among the gateways.
    pub async fn join(&mut self, name: &str) -> usize {
        let body = json!({ "name": name });
        let token =
            self.api.post("/api/v1/gateways/tokens", body).await["token"].as_str().unwrap().to_owned();
        let sync = self.control.as_ref().unwrap().sync.first().unwrap().to_string();
        let settings = gateway_settings(&self.gateway_directory(name), name, sync, Some(token));
        let running = within("the gateway starts", gateway::Gateway::start(settings)).await.unwrap();
        within("the gateway has a generation", running.wait_ready()).await;
        self.gateways.push(running);
        self.gateways.len() - 1
    }

    /// The plain HTTP listener of a gateway.
    pub fn http(&self, gateway: usize) -> SocketAddr {
        *self.gateways[gateway].addresses().http.first().unwrap()
    }

    /// The HTTPS listener of a gateway.
    pub fn https(&self, gateway: usize) -> SocketAddr {
        *self.gateways[gateway].addresses().https.first().unwrap()
    }

    /// The listener of terminals of a gateway.
    pub fn ttyd(&self, gateway: usize) -> SocketAddr {
        *self.gateways[gateway].addresses().ttyd.first().unwrap()
    }

    /// The first admin listener of control.
    pub fn admin(&self) -> SocketAddr {
        *self.control.as_ref().unwrap().admin.first().unwrap()
    }

    /// How many gateways run.
    pub fn gateways(&self) -> usize {
        self.gateways.len()
    }

    /// Ends control and starts it again on its directory.
    pub async fn restart_control(&mut self) {
        within("control stops", self.control.take().unwrap().shutdown()).await;
        self.control = Some(within("control starts", start_control(self.directory.path())).await);
    }

    /// Ends control for good.
    pub async fn stop_control(&mut self) {
        within("control stops", self.control.take().unwrap().shutdown()).await;
    }

    /// Waits until a gateway answers `host` with 200 and this body.
    pub async fn serves(&self, gateway: usize, host: &str, body: &str) {
        let http = self.http(gateway);
        wait_for(&format!("{host} serves {body:?}"), || async {
            let answer = client::get_if_open(http, host, "/").await?;
            (answer.status == 200 && answer.text() == body).then_some(())
        })
        .await;
    }

    /// Waits until a gateway answers `host` with this status.
    pub async fn answers(&self, gateway: usize, host: &str, status: u16) {
        let http = self.http(gateway);
        wait_for(&format!("{host} answers {status}"), || async {
            (client::get_if_open(http, host, "/").await?.status == status).then_some(())
        })
        .await;
    }

    fn gateway_directory(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

async fn start_control(data: &Path) -> control::start::Running {
    let settings = settings::Control {
        data: data.to_owned(),
        admin: vec![any_port()],
        admin_tls: Vec::new(),
        sync: vec![any_port()],
        database: Database::Sqlite(data.join("database.db")),
        secret_key: None,
        forward_ports: Vec::new(),
        log: quiet(),
        mode: Mode::Development,
    };
    control::start::Control::start(settings).await.unwrap()
}

fn gateway_settings(data: &Path, name: &str, sync: String, token: Option<String>) -> settings::Gateway {
    settings::Gateway {
        data: data.to_owned(),
        http: vec![any_port()],
        https: vec![any_port()],
        ssh: vec![any_port()],
        novnc: vec![any_port()],
        ttyd: vec![any_port()],
        admin: Some(any_port()),
        control: vec![sync],
        name: GatewayName::parse(name).unwrap(),
        join_token: token.map(Secret::new),
        workers: 1,
        access_log: settings::AccessLog::off(),
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        unknown_sni: settings::UnknownSni::Fallback,
        drain: Duration::from_secs(1),
        log: quiet(),
        mode: Mode::Development,
    }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn quiet() -> Log {
    Log {
        level: Level::Warn,
        file: None,
        rotation: Rotation::Off,
        retention: Retention::Files(1),
        format: LogFormat::Text,
    }
}
