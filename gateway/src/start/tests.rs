use super::*;
use crate::worker::testing;
use std::net::TcpListener as StdListener;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn settings(dir: &Path) -> settings::Gateway {
    settings::Gateway {
        http: vec![ANY],
        https: vec![ANY],
        ssh: vec![ANY],
        admin: Some(ANY),
        workers: 2,
        ..testing::settings(dir)
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_gateway_listens_on_port_zero_and_shuts_down() {
    let dir = tempfile::tempdir().unwrap();
    let running = Gateway::start(settings(dir.path())).await.unwrap();
    let addresses = running.addresses();
    assert!(addresses.http[0].port() != 0 && addresses.https[0].port() != 0 && addresses.ssh[0].port() != 0);
    assert!(addresses.novnc.is_empty());
    TcpStream::connect(addresses.http[0]).await.unwrap();

    assert_eq!(running.shutdown().await, End::Drained);

    assert!(TcpStream::connect(addresses.http[0]).await.is_err());
}

#[tokio::test]
async fn several_gateways_run_in_one_process() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = Gateway::start(settings(dirs[0].path())).await.unwrap();
    let second = Gateway::start(settings(dirs[1].path())).await.unwrap();
    assert_ne!(first.addresses().http, second.addresses().http);

    drop(first);

    TcpStream::connect(second.addresses().http[0]).await.unwrap();
}

#[tokio::test]
async fn every_taken_port_is_named_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = [StdListener::bind(ANY).unwrap(), StdListener::bind(ANY).unwrap()];
    let taken = theirs.each_ref().map(|socket| socket.local_addr().unwrap());
    let wanted = settings::Gateway { http: vec![taken[0]], admin: Some(taken[1]), ..settings(dir.path()) };

    let error = Gateway::start(wanted).await.err().unwrap().to_string();

    let expected = taken.map(|address| format!("cannot listen on {address}: address in use"));
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
    // Nothing of it is left behind.
    Gateway::start(settings(dir.path())).await.unwrap();
}

#[tokio::test]
async fn a_second_gateway_on_the_same_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = Gateway::start(settings(dir.path())).await.unwrap();

    let error = Gateway::start(settings(dir.path())).await.err().unwrap();

    assert!(matches!(error, StartError::Locked { .. }), "{error}");
    running.shutdown().await;
    Gateway::start(settings(dir.path())).await.unwrap();
}

#[tokio::test]
async fn the_next_start_has_the_same_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let running = Gateway::start(settings(dir.path())).await.unwrap();
    let before = running.addresses();
    running.shutdown().await;

    let running = Gateway::start(settings(dir.path())).await.unwrap();

    assert_eq!(running.addresses(), before);
}

#[tokio::test]
async fn the_admin_endpoint_is_for_loopback_alone() {
    let dir = tempfile::tempdir().unwrap();
    let wide = settings::Gateway { admin: Some(([0, 0, 0, 0], 0).into()), ..settings(dir.path()) };
    let error = Gateway::start(wide).await.err().unwrap();
    assert!(matches!(error, StartError::AdminNotLoopback(_)), "{error}");
}

#[tokio::test]
async fn the_admin_endpoint_answers_over_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let running = Gateway::start(settings(dir.path())).await.unwrap();
    let admin = running.addresses().admin.unwrap();
    assert!(get(admin, "/livez").await.starts_with("HTTP/1.1 200 "));
    assert!(get(admin, "/readyz").await.starts_with("HTTP/1.1 503 "));
    let listeners = get(admin, "/listeners").await;
    assert!(listeners.contains(&running.addresses().ssh[0].to_string()), "{listeners}");
    let own = running.shared().own_addresses.load();
    assert!(own.contains(&admin) && own.contains(&running.addresses().http[0]));
}

#[tokio::test]
async fn draining_waits_for_what_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let running = Gateway::start(settings(dir.path())).await.unwrap();
    let address = running.addresses().http[0];
    let open = running.shared().guard.admit_connection(ANY.ip()).ok().unwrap();
    running.stop();
    running.shared().drain.begun().await;

    // It no longer accepts, and has not ended.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(running.end.borrow().is_none());
    drop(open);

    assert_eq!(running.ended().await, End::Drained);
}

#[tokio::test]
async fn what_is_open_at_the_deadline_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let hasty = settings::Gateway { drain: Duration::from_millis(20), ..settings(dir.path()) };
    let running = Gateway::start(hasty).await.unwrap();
    let _open = running.shared().guard.admit_connection(ANY.ip()).ok().unwrap();
    assert_eq!(running.shutdown().await, End::Cut);
}

#[tokio::test]
async fn a_second_signal_cuts_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let patient = settings::Gateway { drain: Duration::from_secs(3_600), ..settings(dir.path()) };
    let running = Gateway::start(patient).await.unwrap();
    let _open = running.shared().guard.admit_connection(ANY.ip()).ok().unwrap();
    running.stop();
    running.shared().drain.begun().await;
    running.cut();
    assert_eq!(running.ended().await, End::Cut);
}

#[tokio::test]
async fn a_gateway_without_control_is_ready_from_its_checkpoint() {
    use config::snapshot::{Generation, Lineage, Snapshot};
    let dir = tempfile::tempdir().unwrap();
    let saved = Snapshot::empty(Lineage([3; 16]), Generation(12));
    crate::checkpoint::Checkpoint::open(dir.path()).unwrap().0.save(&saved, None).unwrap();

    let running = Gateway::start(settings(dir.path())).await.unwrap();

    running.wait_ready().await;
    let admin = running.addresses().admin.unwrap();
    assert!(get(admin, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(admin, "/generation").await.contains("\"generation\":12"));
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"").unwrap();
    let error = Gateway::start(settings(&dir.path().join("file"))).await.err().unwrap().to_string();
    assert!(error.contains("/file/gateway cannot be used"), "{error}");
}

#[tokio::test]
async fn without_a_generation_http_answers_503_and_ssh_closes() {
    let dir = tempfile::tempdir().unwrap();
    let running = Gateway::start(settings(dir.path())).await.unwrap();
    let addresses = running.addresses();

    assert!(get(addresses.http[0], "/").await.starts_with("HTTP/1.1 503 "));
    let mut ssh = TcpStream::connect(addresses.ssh[0]).await.unwrap();
    let mut said = Vec::new();
    // Closed, or reset for what was not read: either way nothing was said.
    let _ = ssh.read_to_end(&mut said).await;

    assert_eq!(said, b"");
    assert_eq!(running.shutdown().await, End::Drained);
}

#[tokio::test]
async fn an_idle_keep_alive_connection_does_not_hold_up_the_drain() {
    let dir = tempfile::tempdir().unwrap();
    let patient = settings::Gateway { drain: Duration::from_secs(3_600), ..settings(dir.path()) };
    let running = Gateway::start(patient).await.unwrap();
    let mut idle = TcpStream::connect(running.addresses().http[0]).await.unwrap();
    while running.shared().guard.connections() == 0 {
        tokio::task::yield_now().await;
    }

    assert_eq!(running.shutdown().await, End::Drained);

    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0);
}
