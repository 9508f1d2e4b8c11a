//! Crashes and restarts: what one process does while the other is away.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use tests::api::Api;
use tests::binaries::{Up, bin, signal};
use tests::client::{self, Connection};
use tests::origin::Origin;
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_both_processes_cleanly() {
    let mut up = Up::start();
    let (control, gateway) = (up.pid("control"), up.pid("gateway"));

    assert_eq!(up.stop(), Some(0));

    for pid in [control, gateway] {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} outlived `gatehouse up`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_notice_that_control_was_killed() {
    let up = Up::start();
    let origin = Origin::start("one").await;
    let api = Api::of(up.data());
    api.route("app.example.com", &origin.url()).await;
    serves(up.address("http"), "app.example.com", "one").await;
    let mut kept = Connection::open(up.address("http")).await;
    assert_eq!(kept.get("app.example.com", "/").await.unwrap().text(), "one");
    let control = up.pid("control");

    signal(control, "KILL");

    for _ in 0..200 {
        assert_eq!(kept.get("app.example.com", "/").await.unwrap().status, 200);
    }
    // `up` starts it again, and the gateway catches up with what is changed afterwards.
    wait_for("control is back", || async { back(up.data()).await }).await;
    api.route("later.example.com", &origin.url()).await;
    serves(up.address("http"), "later.example.com", "one").await;
    assert_eq!(kept.get("app.example.com", "/").await.unwrap().text(), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_is_started_again_on_the_same_ports() {
    let up = Up::start();
    let origin = Origin::start("one").await;
    Api::of(up.data()).route("app.example.com", &origin.url()).await;
    serves(up.address("http"), "app.example.com", "one").await;

    signal(up.pid("gateway"), "KILL");

    serves(up.address("http"), "app.example.com", "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_alone_serves_from_its_checkpoint_and_control_back_catches_it_up() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let data = directory.path();
    let origin = Origin::start("one").await;
    let http = {
        let mut up = Up::start_in(data, &[]);
        Api::of(data).route("app.example.com", &origin.url()).await;
        serves(up.address("http"), "app.example.com", "one").await;
        up.stop();
        up.address("http")
    };

    let mut alone = gateway_alone(data);

    // Port 0 was chosen once and is kept.
    serves(http, "app.example.com", "one").await;
    assert_eq!(client::get(http, "unknown.example.com", "/").await.unwrap().status, 404);
    stop(&mut alone);

    let up = Up::start_in(data, &[]);
    assert_eq!(up.address("http"), http);
    Api::of(data).route("later.example.com", &origin.url()).await;
    serves(http, "later.example.com", "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_neither_control_nor_checkpoint_listens_and_is_not_ready() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let mut command = gateway_command(directory.path());
    let mut child = Alone(command.stdout(Stdio::piped()).spawn().unwrap());
    let ready = ready_line(&mut child.0);
    let http = ready["http"][0].as_str().unwrap().parse().unwrap();
    let admin = ready["admin"].as_str().unwrap().parse().unwrap();

    assert_eq!(client::get(http, "app.example.com", "/").await.unwrap().status, 503);
    assert_eq!(client::get(admin, "localhost", "/readyz").await.unwrap().status, 503);
    assert_eq!(client::get(admin, "localhost", "/livez").await.unwrap().status, 200);
    stop(&mut child);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_cut_in_half_falls_back_and_control_mends_it() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let data = directory.path();
    let origin = Origin::start("one").await;
    let http = {
        let mut up = Up::start_in(data, &[]);
        Api::of(data).route("app.example.com", &origin.url()).await;
        serves(up.address("http"), "app.example.com", "one").await;
        up.stop();
        up.address("http")
    };
    let mut halved = 0;
    for entry in std::fs::read_dir(data.join("gateway/checkpoint")).unwrap() {
        let path = entry.unwrap().path();
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 2).unwrap();
        halved += 1;
    }
    assert!(halved > 0);

    let said = data.join("said");
    let mut command = gateway_command(data);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
    let mut alone = Alone(command.spawn().unwrap());
    let status = wait_for("the gateway answers", || async {
        client::get_if_open(http, "app.example.com", "/").await.map(|answer| answer.status)
    })
    .await;
    assert!([200, 404, 503].contains(&status), "{status}");
    let said = std::fs::read_to_string(&said).unwrap();
    let warned = said.lines().any(|line| line.contains("WARN") && line.contains("checkpoint"));
    assert!(warned, "the damage is said:\n{said}");
    stop(&mut alone);

    let _up = Up::start_in(data, &[]);
    serves(http, "app.example.com", "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_follows_a_database_that_was_restored_from_an_older_backup() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let data = directory.path();
    let backup = tempfile::tempdir().unwrap();
    let origin = Origin::start("one").await;
    {
        let mut up = Up::start_in(data, &[]);
        Api::of(data).route("kept.example.com", &origin.url()).await;
        serves(up.address("http"), "kept.example.com", "one").await;
        up.stop();
        copy_database(data, backup.path());
    }
    {
        let mut up = Up::start_in(data, &[]);
        for number in 0..5 {
            Api::of(data).route(&format!("lost{number}.example.com"), &origin.url()).await;
        }
        serves(up.address("http"), "lost4.example.com", "one").await;
        up.stop();
    }
    copy_database(backup.path(), data);

    let up = Up::start_in(data, &[]);

    let http = up.address("http");
    wait_for("the later routes are gone", || async {
        (client::get_if_open(http, "lost4.example.com", "/").await?.status == 404).then_some(())
    })
    .await;
    serves(http, "kept.example.com", "one").await;
    Api::of(data).route("new.example.com", &origin.url()).await;
    serves(http, "new.example.com", "one").await;
}

/// The database with what belongs to it, and nothing else of the directory.
fn copy_database(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(to).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("database.db") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let mut copied = 0;
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("database.db") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            copied += 1;
        }
    }
    assert!(copied > 0, "no database in {}", from.display());
}

async fn serves(address: std::net::SocketAddr, host: &str, body: &str) {
    wait_for("the route serves", || async {
        let answer = client::get_if_open(address, host, "/").await?;
        (answer.status == 200 && answer.text() == body).then_some(())
    })
    .await;
}

async fn back(data: &Path) -> Option<()> {
    let stream = tokio::net::UnixStream::connect(data.join("control.sock")).await.ok()?;
    let mut connection = Connection::over(stream);
    (connection.get("localhost", "/readyz").await.ok()?.status == 200).then_some(())
}

fn gateway_command(data: &Path) -> Command {
    let mut command = Command::new(bin("gatehouse-gateway"));
    command.arg("--data").arg(data).args(["-o", "json"]);
    for listener in ["http", "https", "ssh", "novnc", "ttyd", "gateway-admin"] {
        command.arg(format!("--{listener}")).arg("127.0.0.1:0");
    }
    command.arg("--control").arg(tests::ports::refusing().to_string());
    command
}

/// A gateway without control; ends with the test, however that ends.
struct Alone(Child);

impl Drop for Alone {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn gateway_alone(data: &Path) -> Alone {
    Alone(gateway_command(data).stdout(Stdio::null()).spawn().unwrap())
}

fn ready_line(child: &mut Child) -> serde_json::Value {
    use std::io::BufRead;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn stop(child: &mut Alone) {
    signal(child.0.id(), "TERM");
    assert!(child.0.wait().unwrap().success(), "the gateway stops cleanly");
}
