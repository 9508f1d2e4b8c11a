//! Mistakes of a person at start: each is named, and nothing is changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tests::binaries::{Up, bin};
use tests::ports::Occupied;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_the_same_directory_names_the_first() {
    let up = Up::start();

    let second = Up::command(up.data()).output().unwrap();

    assert_eq!(second.status.code(), Some(1));
    let said = stderr(&second);
    assert!(said.contains("already running"), "{said}");
    assert!(said.contains(&up.pid("up").to_string()), "names the pid: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_for_control_and_for_the_gateway() {
    let taken = Occupied::port();
    for listener in ["--admin", "--http", "--ssh"] {
        let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
        let output = Command::new(bin("gatehouse"))
            .arg("up")
            .arg("--data")
            .arg(directory.path())
            .args(others(listener))
            .arg(listener)
            .arg(taken.address().to_string())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{listener}");
        let wanted = format!("cannot listen on {}: address in use", taken.address());
        assert!(stderr(&output).contains(&wanted), "{listener}: {}", stderr(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_path_that_is_too_long_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(60)).join("e".repeat(60));

    let output = Up::command(&deep).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("107"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_data_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let closed = directory.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    let data = closed.join("data");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Up::command(&data);
    // Root reads everything, so the program runs as nobody.
    let command = if rustix::process::geteuid().is_root() { as_nobody(&command) } else { &mut command };

    let output = command.output().unwrap();

    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains(data.to_str().unwrap()) && said.to_lowercase().contains("permission denied"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_of_a_settings_file_is_reported_in_one_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gatehouse.toml");
    std::fs::write(&file, "[log]\nlevel = \"loud\"\nrotation = \"10 XB\"\n\n[nonsense]\nkey = 1\n").unwrap();

    let output = Command::new(bin("gatehouse")).arg("check").arg("--config").arg(&file).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    for part in ["gatehouse.toml:2", "gatehouse.toml:3", "gatehouse.toml:5", "log.level", "log.rotation"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_environment_file_is_refused_in_production_and_names_every_key() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let env = directory.path().join(".env");
    std::fs::write(
        &env,
        "FLASK_ENV=production\nSECRET_KEY=your-secret-key-change-in-production\nLOG_ROTATION=10 XB\nMAX_LOGIN_ATTEMPTS=abc\n",
    )
    .unwrap();

    let output = Up::command(&directory.path().join("data")).arg("--env-file").arg(&env).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    for key in ["SECRET_KEY", "LOG_ROTATION", "MAX_LOGIN_ATTEMPTS"] {
        assert!(stderr(&output).contains(key), "{key} is missing:\n{}", stderr(&output));
    }
    assert!(!directory.path().join("data/database.db").exists(), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_commands_are_named_and_change_nothing() {
    let up = Up::start();
    up.cli(&["route", "add", "app.example.com", "http://10.0.0.5:80"]);
    for (arguments, part) in [
        (vec!["route", "add", "http://app.example.com", "http://10.0.0.5"], "scheme"),
        (vec!["route", "add", "app example", "http://10.0.0.5"], "app example"),
        (vec!["route", "add", "", "http://10.0.0.5"], "empty"),
        (vec!["route", "add", "a\nb", "http://10.0.0.5"], "contains"),
        (vec!["route", "add", "a{b", "http://10.0.0.5"], "contains"),
        (vec!["route", "add", "app.example.com", "http://10.0.0.6:80"], "app.example.com"),
        (vec!["route", "add", "meta.example.com", "http://169.254.169.254"], "169.254.169.254"),
        (vec!["route", "add", "up.example.com", "http://10.0.0.5", "--tls", "acme"], "acme"),
        (vec!["user", "create", "usr1", "--grant", "root:ns1"], "root takes no namespace"),
        (vec!["user", "create", "usr1", "--grant", "chief:ns1"], "no such role"),
        (vec!["vm", "add", "web", "010.0.0.5"], "010.0.0.5"),
        (vec!["token", "create", "--subject", "nobody", "--duration", "10m"], "nobody"),
    ] {
        let output = up.try_cli(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{arguments:?} lacks {part:?}: {}", stderr(&output));
    }
    assert_eq!(up.try_cli(&["route", "fly"]).status.code(), Some(2), "usage");
    let routes: serde_json::Value = serde_json::from_str(&up.cli(&["route", "list", "-o", "json"])).unwrap();
    assert_eq!(routes["items"].as_array().or(routes.as_array()).unwrap().len(), 1);
}

fn others(listener: &str) -> Vec<String> {
    ["--http", "--https", "--ssh", "--novnc", "--ttyd", "--admin", "--sync", "--gateway-admin"]
        .iter()
        .filter(|other| **other != listener)
        .flat_map(|other| [other.to_string(), "127.0.0.1:0".to_owned()])
        .collect()
}

/// The same command as user nobody, by util-linux.
pub(super) fn as_nobody(command: &Command) -> &'static mut Command {
    let mut outer = Command::new("setpriv");
    outer.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(copy_for_everyone());
    outer.args(command.get_args());
    Box::leak(Box::new(outer))
}

/// A copy of the program that every user may run: the build directory may lie below a closed home.
fn copy_for_everyone() -> std::path::PathBuf {
    let folder = Box::leak(Box::new(tempfile::tempdir().unwrap())).path();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["gatehouse", "gatehouse-gateway"] {
        let to = folder.join(name);
        std::fs::copy(bin(name), &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Path::join(folder, "gatehouse")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
