//! A machine with the real control and the real gateway as processes of their own, so that nobody but the test starts control
//! again; what they write is kept.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tests::binaries::{bin, signal};
use tests::client::{self, Connection};
use tests::wait::wait_for;

use crate::program::free_port;

/// One control and one gateway. Both end with it.
pub(crate) struct Machine {
    pub(crate) data: tempfile::TempDir,
    control: Child,
    pub(crate) gateway: Child,
    sync: SocketAddr,
    pub(crate) https: SocketAddr,
    how: How,
}

/// How control is run.
#[derive(Clone)]
struct How {
    level: &'static str,
    /// URL of a PostgreSQL that several may share; SQLite of its own without.
    database: Option<String>,
}

/// Another control over the same database. Ends with it.
pub(crate) struct Second {
    data: tempfile::TempDir,
    control: Child,
}

impl Second {
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        run(self.data.path(), arguments)
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        self.control.kill().ok();
        self.control.wait().ok();
    }
}

impl Machine {
    /// Starts both; the gateway listens at this port for the authority.
    pub(crate) async fn start(http_port: u16) -> Self {
        Self::start_logging(http_port, "info").await
    }

    /// [`Machine::start`] with a level of both logs.
    pub(crate) async fn start_logging(http_port: u16, level: &'static str) -> Self {
        Self::start_how(http_port, How { level, database: None }, None).await
    }

    /// Two controls over one PostgreSQL. The gateway is at the first, and knows where the second is.
    pub(crate) async fn start_pair(http_port: u16, database: &str) -> (Self, Second) {
        let how = How { level: "info", database: Some(database.to_owned()) };
        let other = ([127, 0, 0, 1], free_port()).into();
        let first = Self::start_how(http_port, how.clone(), Some(other)).await;
        let data = folder();
        let second = Second { control: Self::control(data.path(), other, &how), data };
        wait_for("the second control answers", || back(second.data.path())).await;
        (first, second)
    }

    async fn start_how(http_port: u16, how: How, other: Option<SocketAddr>) -> Self {
        let data = folder();
        let [sync, https] = [free_port(), free_port()].map(|port| ([127, 0, 0, 1], port).into());
        let control = Self::control(data.path(), sync, &how);
        wait_for("control answers", || back(data.path())).await;
        let token = run(data.path(), &["gateway", "token", "create", "--name", "gate1"]);
        let mut command = Command::new(bin("gatehouse-gateway"));
        command.arg("--data").arg(data.path()).args(["-o", "json", "--name", "gate1"]);
        command.arg("--http").arg(format!("127.0.0.1:{http_port}")).arg("--https").arg(format!("{https}"));
        for listener in ["ssh", "novnc", "ttyd", "gateway-admin"] {
            command.arg(format!("--{listener}")).arg("127.0.0.1:0");
        }
        command.arg("--control").arg(sync.to_string()).env("GATEHOUSE_GATEWAY__JOIN_TOKEN", token.trim());
        if let Some(other) = other {
            command.arg("--control").arg(other.to_string());
        }
        command.args(["--log-level", how.level]);
        let gateway = logging(&mut command, &data.path().join("gateway.out")).spawn().unwrap();
        let machine = Self { data, control, gateway, sync, https, how };
        wait_for("the gateway serves", || async {
            let http = ([127, 0, 0, 1], http_port).into();
            client::get_if_open(http, "none.example.com", "/").await.filter(|answer| answer.status == 404)
        })
        .await;
        machine
    }

    /// Makes the account.
    pub(crate) fn knows(&self, url: &str, root_pem: &str, resolver: &str) {
        let roots = self.data.path().join("roots.pem");
        std::fs::write(&roots, root_pem).unwrap();
        let roots = roots.to_str().unwrap();
        let who = ["acme", "account", "add", "--directory", url, "--contact", "mailto:a@dyn.test"];
        self.cli(&[&who[..], &["--agree-tos", "--roots", roots, "--resolver", resolver, "pebble"]].concat());
    }

    fn control(data: &Path, sync: SocketAddr, how: &How) -> Child {
        let mut command = Command::new(bin("gatehouse"));
        command.args(["control", "run", "--data"]).arg(data);
        command.args(["--admin", "off", "--sync"]).arg(sync.to_string());
        command.args(["--log-level", how.level]);
        if let Some(database) = &how.database {
            command.arg("--database").arg(database);
            command.env("GATEHOUSE_CONTROL__SECRET_KEY", "a secret of thirty-two characters or more");
        }
        logging(&mut command, &data.join("control.out")).spawn().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        signal(self.control.id(), "KILL");
        self.control.wait().unwrap();
    }

    pub(crate) async fn revive(&mut self) {
        self.control = Self::control(self.data.path(), self.sync, &self.how);
        wait_for("control is back", || back(self.data.path())).await;
    }

    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        run(self.data.path(), arguments)
    }

    /// Runs the command line, whatever becomes of it.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Output {
        call(self.data.path(), arguments)
    }

    pub(crate) fn said(&self, order: &Value) -> String {
        self.cli(&["acme", "order", "show", order.as_str().unwrap()])
    }

    /// Whether a certificate of the authority is shown for a name.
    pub(crate) async fn serves(&self, name: &str) -> Option<()> {
        let shown = Command::new("openssl")
            .args(["s_client", "-connect", &self.https.to_string(), "-servername", name])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8_lossy(&shown.stdout).contains("Pebble Intermediate").then_some(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in [&mut self.control, &mut self.gateway] {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn call(data: &Path, arguments: &[&str]) -> Output {
    Command::new(bin("gatehouse")).arg("--data").arg(data).args(arguments).output().unwrap()
}

/// A data directory as control wants it: ours alone.
pub(crate) fn folder() -> tempfile::TempDir {
    let ours = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    tempfile::Builder::new().prefix("gh").permissions(ours).tempdir().unwrap()
}

/// Both streams go to the end of a file.
fn logging<'a>(command: &'a mut Command, file: &Path) -> &'a mut Command {
    let file = File::options().create(true).append(true).open(file).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file)
}

fn run(data: &Path, arguments: &[&str]) -> String {
    let output = call(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn back(data: &Path) -> Option<()> {
    let stream = tokio::net::UnixStream::connect(data.join("control.sock")).await.ok()?;
    let mut connection = Connection::over(stream);
    (connection.get("localhost", "/readyz").await.ok()?.status == 200).then_some(())
}

/// The items of a list.
pub(crate) fn items(list: &Value) -> &Vec<Value> {
    list.as_array().or_else(|| list["items"].as_array()).unwrap()
}

/// The one item of a list.
pub(crate) fn only(list: &str) -> Value {
    let list: Value = serde_json::from_str(list).unwrap();
    assert_eq!(items(&list).len(), 1, "{list}");
    items(&list)[0].clone()
}
