//! What the programs do for whoever runs them: commands, a second gateway, settings, logs, health and figures.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tests::api::Api;
use tests::binaries::{Running, Up, bin, signal};
use tests::client;
use tests::origin::Origin;
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn each_command_says_what_it_is_for() {
    let up = Up::start();

    assert_eq!(up.cli(&["version"]), format!("gatehouse {}\n", env!("CARGO_PKG_VERSION")));
    let completion = up.cli(&["completion", "bash"]);
    // Longer than one argument may be.
    let script = up.data().join("completion.bash");
    std::fs::write(&script, &completion).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(checked.success() && completion.contains("complete "), "a bash script: {completion}");
    assert_eq!(up.cli(&["healthcheck"]), "ready\n");
    let status: Value = serde_json::from_str(&up.cli(&["status", "-o", "json"])).unwrap();
    assert_eq!(status["gateways"][0]["connected"], true, "{status}");
    assert!(up.cli(&["check"]).contains("the settings are valid"));
    let whoami: Value = serde_json::from_str(&up.cli(&["whoami", "-o", "json"])).unwrap();
    assert_eq!(whoami["raw_grant"], "root", "the socket is the local root: {whoami}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_healthcheck_fails_where_control_is_not_ready() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();

    let output = Command::new(bin("gatehouse"))
        .arg("--data")
        .arg(directory.path())
        .arg("healthcheck")
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("not ready"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_when_its_command_ends() {
    let up = Up::start();
    let origin = Origin::start("one").await;
    for number in 0..20 {
        let host = format!("h{number}.example.com");
        up.cli(&["route", "add", &host, &origin.url()]);
        assert_eq!(client::get(up.address("http"), &host, "/").await.unwrap().status, 200, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_joins_with_a_token_of_the_command_line() {
    let up = Up::start();
    let origin = Origin::start("one").await;
    let elsewhere = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let token = up.cli(&["gateway", "token", "create", "--name", "edge2"]);

    let second = joined(&up, elsewhere.path(), "edge2", &token);

    up.cli(&["route", "add", "app.example.com", &origin.url()]);
    wait_for("the second gateway serves", || async {
        let answer = client::get_if_open(second.address("http"), "app.example.com", "/").await?;
        (answer.status == 200 && answer.text() == "one").then_some(())
    })
    .await;
    let listed: Value = serde_json::from_str(&up.cli(&["gateway", "list", "-o", "json"])).unwrap();
    let names: Vec<&str> = items(&listed).iter().filter_map(|gateway| gateway["name"].as_str()).collect();
    assert!(names.contains(&"edge2") && names.contains(&"local"), "{names:?}");
    // The token was for one gateway, once.
    let third = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let refused = joined(&up, third.path(), "edge2", &token);
    wait_for("the token is refused", || async {
        let answer = client::get(refused.address("admin"), "localhost", "/generation").await.ok()?.text();
        let answer: Value = serde_json::from_str(&answer).ok()?;
        answer["control_away_because"].as_str().filter(|why| why.contains("token")).map(drop)
    })
    .await;
    assert_eq!(client::get(refused.address("admin"), "localhost", "/readyz").await.unwrap().status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_and_health_are_where_scrapers_look() {
    let up = Up::start();
    let elsewhere = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let token = up.cli(&["gateway", "token", "create", "--name", "edge2"]);
    let gateway = joined(&up, elsewhere.path(), "edge2", &token);
    let admin = gateway.address("admin");
    wait_for("the gateway is ready", || async {
        (client::get(admin, "localhost", "/readyz").await.ok()?.status == 200).then_some(())
    })
    .await;

    for path in ["/livez", "/readyz", "/metrics", "/generation", "/sessions"] {
        let answer = client::get(admin, "localhost", path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let page = client::get(admin, "localhost", "/metrics").await.unwrap().text();
    let figure = |name: &str| {
        let line = page.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("no figure {name} on the page:\n{page}"))
    };
    // The soft limit was raised to the hard one.
    assert!(figure("process_open_fds") > 0.0 && figure("process_max_fds") >= hard_limit_of_files());
    let control = Api::of(up.data()).call("GET", "/metrics", None).await;
    assert_eq!(control.status, 200);
    assert!(control.text().lines().any(|line| line.starts_with("# TYPE")), "{}", control.text());
    // The health check that the reference documents, with its own words.
    let url = format!("http://{}/api/system/stats", up.address("admin"));
    let healthy = Command::new("curl").args(["-sf", "--max-time", "10", &url]).output().unwrap();
    assert!(healthy.status.success(), "curl -f {url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_as_many_as_were_given_or_off_and_all_are_named() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let mut command = Command::new(bin("gatehouse"));
    command.args(["up", "-o", "json", "--data"]).arg(directory.path());
    command.args(["--http", "127.0.0.1:0", "--http", "[::1]:0", "--novnc", "off"]);
    for listener in ["https", "ssh", "ttyd", "admin", "sync", "gateway-admin"] {
        command.arg(format!("--{listener}")).arg("127.0.0.1:0");
    }

    let up = Running::start(&mut command);

    let named = |kind: &str| up.ready[kind].as_array().unwrap().len();
    assert_eq!(["http", "https", "ssh", "novnc", "ttyd"].map(named), [2, 1, 1, 0, 1], "{}", up.ready);
    assert_eq!(["admin", "sync", "gateway_admin"].map(named), [1, 1, 1], "{}", up.ready);
    for address in up.ready["http"].as_array().unwrap() {
        let address = address.as_str().unwrap().parse().unwrap();
        assert_eq!(client::get(address, "nobody.example.com", "/").await.unwrap().status, 404);
    }
    let ready = client::get(up.address("gateway_admin"), "localhost", "/readyz").await.unwrap();
    assert_eq!(ready.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_file_of_the_data_directory_is_used_and_named_and_a_flag_goes_over_it() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let file = directory.path().join("gatehouse.toml");
    std::fs::write(&file, "[database]\nurl = \"of-the-file.db\"\n").unwrap();
    let migrate = |more: &[&str]| {
        let mut command = Command::new(bin("gatehouse"));
        command.arg("--data").arg(directory.path()).args(["db", "migrate"]).args(more).output().unwrap()
    };

    let by_file = migrate(&[]);

    assert!(by_file.status.success(), "{}", stderr(&by_file));
    assert!(stderr(&by_file).contains(file.to_str().unwrap()), "{}", stderr(&by_file));
    assert!(directory.path().join("of-the-file.db").exists());
    assert!(migrate(&["--database", "of-the-flag.db"]).status.success());
    assert!(directory.path().join("of-the-flag.db").exists());
    std::fs::write(&file, "[nonsense]\n").unwrap();
    assert_eq!(migrate(&[]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_not_migrated_under_a_control_that_runs() {
    let up = Up::start();

    let output = up.try_cli(&["db", "migrate"]);

    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&up.pid("control").to_string()), "names it: {}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn relative_paths_of_the_reference_lie_in_the_data_directory() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let data = directory.path().join("data");
    let env = directory.path().join(".env");
    let text = "FLASK_ENV=development\nDATABASE_PATH=DataSaving/database.db\nLOG_FILE=DataSaving/log-main.log\n\
                LOG_LEVEL=INFO\nLOG_ROTATION=10 MB\nLOG_RETENTION=7 days\n";
    std::fs::write(&env, text).unwrap();

    let _up = Up::start_in(&data, &["--env-file", env.to_str().unwrap()]);

    for name in ["database.db", "log-main.log", "log-main-gateway.log"] {
        assert!(data.join("DataSaving").join(name).exists(), "DataSaving/{name} is missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_reads_the_level_of_both_logs_again_and_opens_their_files_anew() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let data = directory.path().join("data");
    let file = directory.path().join("gatehouse.toml");
    let write = |level: &str| {
        std::fs::write(&file, format!("[log]\nfile = \"log/main.log\"\nlevel = \"{level}\"\n")).unwrap();
    };
    write("error");
    let up = Up::start_in(&data, &["--config", file.to_str().unwrap()]);
    let logs = ["log/main.log", "log/main-gateway.log"].map(|name| data.join(name));
    for log in &logs {
        assert!(!read(log).contains("INFO"), "{}: {}", log.display(), read(log));
        std::fs::rename(log, log.with_extension("moved")).unwrap();
    }

    write("info");
    signal(up.pid("up"), "HUP");

    for log in &logs {
        wait_for("the log is written anew at its new level", || async {
            read(log).contains("log reloaded").then_some(())
        })
        .await;
    }
    // A mistake in the file changes nothing and is said.
    write("loud");
    signal(up.pid("up"), "HUP");
    for log in &logs {
        wait_for("the mistake is named", || async { read(log).contains("log.level").then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_rotate_by_size_and_keep_as_many_files_as_they_are_told() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let data = directory.path().join("data");
    let file = directory.path().join("gatehouse.toml");
    let text =
        "[log]\nfile = \"log/main.log\"\nlevel = \"debug\"\nrotation = \"2 kB\"\nretention = \"2 files\"\n";
    std::fs::write(&file, text).unwrap();
    let up = Up::start_in(&data, &["--config", file.to_str().unwrap()]);

    // Each hang-up is a line at least; both logs turn over many times.
    for log in ["main.log", "main-gateway.log"] {
        let mut seen = std::collections::BTreeSet::new();
        wait_for("the log turned over more often than it keeps files", || {
            signal(up.pid("up"), "HUP");
            seen.extend(moved(&data.join("log"), log));
            let enough = seen.len() > 4;
            async move { enough.then_some(()) }
        })
        .await;
        wait_for("two moved files are kept", || async {
            (moved(&data.join("log"), log).len() <= 2).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_root_other_ports_are_taken_and_named() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(bin("gatehouse"));
    command.args(["up", "-o", "json", "--data"]).arg(directory.path().join("data"));
    for listener in ["ssh", "novnc", "ttyd", "admin", "sync", "gateway-admin"] {
        command.arg(format!("--{listener}")).arg("127.0.0.1:0");
    }
    let command = if rustix::process::geteuid().is_root() {
        super::mistakes::as_nobody(&command)
    } else {
        &mut command
    };
    // Standard error goes to a file: the process runs on while we read.
    let said = directory.path().join("said");
    command.stderr(std::fs::File::create(&said).unwrap()).stdout(Stdio::null());
    let child = Started(command.spawn().unwrap());

    let (low, line) = if low_ports_are_free_to_all() {
        (true, "0.0.0.0:80")
    } else {
        (false, "8080 and 8443 are used instead of 80 and 443")
    };
    wait_for("the ports are named", || async {
        // Where low ports are anybody's, or a port is held by somebody else, the start names the port.
        (read(&said).contains(line) || (low && gatehouse_listens(80).await)).then_some(())
    })
    .await;
    if !low {
        wait_for("8080 is taken, by us or by whom the start names", || async {
            let refused = read(&said).contains("cannot listen on 0.0.0.0:8");
            (refused || gatehouse_listens(8080).await).then_some(())
        })
        .await;
    }
    drop(child);
}

/// As in most containers: then everybody takes 80 and 443, and nothing is to be said.
fn low_ports_are_free_to_all() -> bool {
    let first = read(Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start"));
    first.trim().parse::<u16>().is_ok_and(|first| first <= 80)
}

async fn gatehouse_listens(port: u16) -> bool {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let answer = client::get_if_open(address, "nobody.example.com", "/").await;
    answer.is_some_and(|answer| answer.status == 404 && answer.field("x-request-id").is_some())
}

/// Ends with the test, however that ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        signal(self.0.id(), "TERM");
        self.0.wait().ok();
    }
}

/// A gateway elsewhere that joins by a token.
pub(crate) fn joined(up: &Up, data: &Path, name: &str, token: &str) -> Running {
    let mut command = Command::new(bin("gatehouse"));
    command.args(["gateway", "run", "--name", name, "-o", "json", "--data"]).arg(data);
    for listener in ["http", "https", "ssh", "novnc", "ttyd", "gateway-admin"] {
        command.arg(format!("--{listener}")).arg("127.0.0.1:0");
    }
    command.args(["--control", &up.address("sync").to_string(), "--join-token", token.trim()]);
    Running::start(&mut command)
}

fn hard_limit_of_files() -> f64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.maximum.unwrap_or(u64::MAX) as f64
}

/// The moved files of one log.
fn moved(folder: &Path, log: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&format!("{log}."))).collect()
}

fn items(list: &Value) -> &Vec<Value> {
    list["items"].as_array().or(list.as_array()).unwrap()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
