//! Port forwards of the gateway, and what they are measured against: a bare splice loop, socat.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Proxy, free_address, pinned, wait_until_open};
use crate::http::Connection;
use crate::process::program;

/// The bare splice loop and the gateway's forward, where it runs, in front of `target`.
pub fn tcp(proxies: &[Proxy], target: SocketAddr) -> Result<Vec<Proxy>> {
    let address = free_address()?;
    let (listen, to) = (address.to_string(), target.to_string());
    let splice = program("splice")?;
    let running = pinned("0", splice.to_str().context("a path that is no text")?, &[&listen, &to], &[])?;
    let mut all = vec![alone("splice", address, running)];
    all.extend(gateway(proxies, "tcp", target)?);
    all.iter().try_for_each(|proxy| wait_until_open(proxy.http))?;
    Ok(all)
}

/// socat and the gateway's forward, where it runs, in front of `target`.
pub fn udp(proxies: &[Proxy], target: SocketAddr) -> Result<Vec<Proxy>> {
    let address = free_address()?;
    let listen = format!("UDP4-LISTEN:{},bind={},fork,reuseaddr", address.port(), address.ip());
    // Its sessions outlive it by that silence.
    let running = pinned("0", "socat", &[&"-T10", &listen, &format!("UDP4:{target}")], &[])?;
    let mut all = vec![alone("socat", address, running)];
    all.extend(gateway(proxies, "udp", target)?);
    Ok(all)
}

fn alone(name: &'static str, address: SocketAddr, running: crate::process::Running) -> Proxy {
    let pid = running.0.id();
    Proxy { name, http: address, https: address, pid, data: None, _running: Some(running) }
}

/// A new forward of the gateway as a proxy of its own; the gateway itself stays with whoever has it.
fn gateway(proxies: &[Proxy], protocol: &str, target: SocketAddr) -> Result<Option<Proxy>> {
    let Some((proxy, data)) = proxies.iter().find_map(|proxy| Some((proxy, proxy.data.as_ref()?))) else {
        return Ok(None);
    };
    let port = free_address()?.port();
    let body = format!(
        r#"{{"protocol":"{protocol}","bind":"127.0.0.1","host_port":{port},"vm_ip":"{}","vm_port":{}}}"#,
        target.ip(),
        target.port()
    );
    let (status, text) = Connection::admin(data)?.call("POST", "localhost", "/api/v1/forwards", &body)?;
    if status != 201 {
        bail!("a forward was answered {status} {text}");
    }
    let made: Value = serde_json::from_str(&text)?;
    let port = made.get("host_port").and_then(Value::as_u64).context("a forward without a port")?;
    let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port)?));
    Ok(Some(Proxy {
        name: "gatehouse",
        http: address,
        https: address,
        pid: proxy.pid,
        data: None,
        _running: None,
    }))
}
