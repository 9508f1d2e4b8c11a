//! `gatehouse upgrade`: asks the gateway of this machine, on a socket in its own directory, to give way to a new process.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use config::limits;
use serde_json::{Value, json};

use super::args::{Global, UpgradeArgs};
use super::failure::Failure;
use super::output::{self, Printer};

/// Where the gateway takes the order, in the data directory.
const FOLDER: &str = "gateway";
const SOCKET: &str = "upgrade.sock";

/// Asks, prints how far it is, and gives the end.
pub(super) fn upgrade(global: &Global, arguments: &UpgradeArgs) -> Result<ExitCode, Failure> {
    if global.url.is_some() {
        return Err(Failure::usage("an upgrade is for the gateway of this machine: --url cannot be given"));
    }
    let data = super::data_directory(global)?;
    let order = order(arguments)?;
    let unreachable = |cause: io::Error| {
        Failure::failed(format!("no gateway that can be upgraded runs on {}: {cause}", data.display()))
    };
    let mut stream = connect(&data.join(FOLDER)).map_err(unreachable)?;
    writeln!(stream, "{order}").map_err(unreachable)?;
    let longest = limits::UPGRADE_HELLO_MS + limits::UPGRADE_READY_MS + limits::UPGRADE_SERVING_MS;
    stream.set_read_timeout(Some(Duration::from_millis(longest))).map_err(unreachable)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|cause| Failure::failed(format!("the gateway does not answer: {cause}")))?;
        let said: Value = serde_json::from_str(&line)
            .map_err(|_| Failure::failed("the gateway speaks another language; its log says how it went"))?;
        if let Some(error) = said.get("error").and_then(Value::as_str) {
            return Err(Failure::failed(format!("no upgrade, the gateway serves as before: {error}")));
        }
        if let Some(upgraded) = said.get("upgraded") {
            Printer::new(global).done(upgraded, &sentence(upgraded));
            return Ok(ExitCode::SUCCESS);
        }
        if let Some(step) = said.get("step").and_then(Value::as_str).filter(|_| !global.quiet) {
            output::err(&format!("gatehouse: {step}\n"));
        }
    }
    Err(Failure::failed("the gateway ended before it said how it went"))
}

fn order(arguments: &UpgradeArgs) -> Result<Value, Failure> {
    let mut order = json!({});
    if let Some(binary) = &arguments.binary {
        let path = std::path::absolute(binary)
            .map_err(|cause| Failure::failed(format!("{}: {cause}", binary.display())))?;
        super::put(&mut order, "binary", Some(path.display().to_string()));
    }
    if let Some(age) = arguments.max_age
        && let Some(members) = order.as_object_mut()
    {
        members.insert("max_age_ms".to_owned(), json!(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
    }
    Ok(order)
}

/// By a short name: the address of a unix socket has room for a hundred bytes.
fn connect(folder: &Path) -> io::Result<UnixStream> {
    let folder = std::fs::File::open(folder)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()))
}

fn sentence(upgraded: &Value) -> String {
    let text = |name: &str| upgraded.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |name: &str| upgraded.get(name).and_then(Value::as_u64).unwrap_or_default();
    format!(
        "gatehouse-gateway {} serves as process {}; process {} (version {}) finishes {} open connections",
        text("version"),
        number("pid"),
        number("was_pid"),
        text("was_version"),
        number("connections")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_who_serves_and_who_drains() {
        let upgraded =
            json!({"pid": 8, "version": "2.0.0", "was_pid": 7, "was_version": "1.0.0", "connections": 3});
        assert_eq!(
            sentence(&upgraded),
            "gatehouse-gateway 2.0.0 serves as process 8; process 7 (version 1.0.0) finishes 3 open connections"
        );
    }

    #[test]
    fn an_order_names_the_program_by_its_whole_path_and_the_age_in_milliseconds() {
        let order =
            order(&UpgradeArgs { binary: Some("bin/new".into()), max_age: Some(Duration::from_secs(90)) })
                .unwrap();
        let path = order["binary"].as_str().unwrap();
        assert!(path.starts_with('/') && path.ends_with("/bin/new"), "{path}");
        assert_eq!(order["max_age_ms"], 90_000);
    }
}
