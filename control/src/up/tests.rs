use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn program(script: &str) -> Program {
    Program { path: "/bin/sh".into(), arguments: ["-c", script].map(Into::into).to_vec() }
}

fn plan(data: &Path, control: &str, gateway: &str) -> Plan {
    Plan {
        data: data.to_path_buf(),
        control: program(control),
        gateway: program(gateway),
        name: "local".to_owned(),
        sync: Some("127.0.0.1:1".parse().unwrap()),
        is_joined: false,
        stop_deadline: Duration::from_secs(10),
    }
}

#[tokio::test]
async fn a_control_that_cannot_start_ends_up_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = run(plan(dir.path(), "exit 1", "exit 0"), |_, _, _| ()).await.unwrap_err();
    assert_eq!(error.to_string(), "control could not be started; its message is above");
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plan(dir.path(), "exit 0", "exit 0");
    plan.control.path = "/nonexistent/gatehouse".into();
    assert!(run(plan, |_, _, _| ()).await.is_err());
}

#[test]
fn a_second_up_is_told_who_runs() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let _up = claim(dir.path()).unwrap();
    let _control = directory::lock("control", &dir.path().join("lock")).unwrap();
    let said = claim(dir.path()).unwrap_err().to_string();
    let pid = std::process::id();
    assert!(said.contains("already running"), "{said}");
    assert!(said.contains(&format!("up (pid {pid}), control (pid {pid})")), "{said}");
}

#[test]
fn a_listener_on_every_address_is_dialled_over_loopback() {
    for (listener, dial) in
        [("0.0.0.0:5", "127.0.0.1:5"), ("[::]:5", "[::1]:5"), ("10.0.0.1:5", "10.0.0.1:5")]
    {
        assert_eq!(dialled(listener.parse().unwrap()), dial.parse().unwrap());
    }
}
