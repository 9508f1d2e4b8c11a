use std::os::unix::fs::PermissionsExt as _;

use config::settings::{Database, Level, Log, LogFormat, Mode, Retention, Rotation};

use super::*;
use crate::cli::client::Client;

fn settings(data: &Path) -> settings::Control {
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let any = vec!["127.0.0.1:0".parse().unwrap()];
    settings::Control {
        data: data.to_path_buf(),
        admin: any.clone(),
        admin_tls: Vec::new(),
        sync: any,
        database: Database::Sqlite(data.join("database.db")),
        secret_key: None,
        forward_ports: Vec::new(),
        log: Log {
            level: Level::Info,
            file: None,
            rotation: Rotation::Off,
            retention: Retention::Files(1),
            format: LogFormat::Text,
        },
        mode: Mode::Development,
    }
}

#[tokio::test]
async fn a_second_start_has_the_same_authority_and_ports_and_no_new_token() {
    let dir = tempfile::tempdir().unwrap();
    let first = Control::start(settings(dir.path())).await.unwrap();
    assert!(first.setup_token.is_some());
    let (admin, sync, pem) =
        (first.admin.clone(), first.sync.clone(), first.app().authority.certificate_pem());
    assert_eq!(expected_sync(&settings(dir.path())), sync.first().copied());
    first.shutdown().await;

    let second = Control::start(settings(dir.path())).await.unwrap();
    assert_eq!((&second.admin, &second.sync), (&admin, &sync));
    assert_eq!(second.setup_token, None, "the token is printed once");
    assert_eq!(second.app().authority.certificate_pem(), pem);
    second.shutdown().await;
}

#[tokio::test]
async fn a_second_instance_is_refused_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = Control::start(settings(dir.path())).await.unwrap();
    let error = Control::start(settings(dir.path())).await.unwrap_err().to_string();
    assert!(error.contains("control is already running") && error.contains("pid"), "{error}");
    let report = up::ready::Report::ask(&Client::on_socket(first.socket.clone())).await.unwrap();
    assert_eq!((report.admin, report.sync), (first.admin.clone(), first.sync.clone()));
    first.shutdown().await;
}

#[tokio::test]
async fn a_taken_port_is_named_and_nothing_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut settings = settings(dir.path());
    settings.admin = vec![address];
    let error = Control::start(settings).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {address}: address in use"));
    assert!(!dir.path().join("database.db").exists());
    assert!(!dir.path().join("secret.key").exists());
}

#[tokio::test]
async fn another_secret_key_does_not_open_the_authority() {
    let dir = tempfile::tempdir().unwrap();
    Control::start(settings(dir.path())).await.unwrap().shutdown().await;
    let mut settings = settings(dir.path());
    settings.secret_key = Some(Secret::new("quite another key of more than 32 bytes".to_owned()));
    let error = Control::start(settings).await.unwrap_err().to_string();
    assert!(error.contains("secret key"), "{error}");
}

#[tokio::test]
async fn the_local_routes_are_not_on_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let running = Control::start(settings(dir.path())).await.unwrap();
    let global = crate::cli::args::Global {
        data: None,
        url: Some(format!("http://{}", running.admin[0])),
        ca: None,
        output: None,
        quiet: false,
        no_color: false,
    };
    assert!(Client::new(&global).unwrap().get(up::REPORT_PATH).await.is_err());
    running.shutdown().await;
}
