//! The proxies that are compared, each with one worker on core 0, and the origin behind them on core 1.
//!
//! Every peer does the same work: any host to one origin, one path to an echo with upgrades, forwarding fields added, upstream connections kept, an access
//! log (nginx's and the gateway's buffered), HTTP and HTTPS with HTTP/2, TLS 1.2 and 1.3 (which nginx 1.22 has to be told).

pub mod echo;
pub mod forwards;
pub mod gate;
pub mod screen;
pub mod ssh;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::echo::Echo;
use crate::http::Connection;
use crate::process::{self, Running, address, gatehouse_up, pid};

/// The host that every request is for: one that resolves to here, because wrk asks for the name of its URL in a handshake.
pub const HOST: &str = "localhost";
/// The path that every proxy takes to the echo, with upgrades.
pub const TUNNEL_PATH: &str = "/tunnel";
/// Size of the large object in bytes.
pub const BULK_BYTES: usize = 10 * 1024 * 1024;

/// A proxy that runs.
pub struct Proxy {
    /// Its name.
    pub name: &'static str,
    /// Plain HTTP/1.1.
    pub http: SocketAddr,
    /// TLS with HTTP/2 and HTTP/1.1.
    pub https: SocketAddr,
    /// The process that carries the bytes.
    pub pid: u32,
    /// Its data directory, of the gateway alone.
    pub data: Option<PathBuf>,
    /// Of none that is part of another.
    _running: Option<Running>,
}

/// What the proxies lead to.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// The origin of requests.
    pub origin: SocketAddr,
    /// What [`TUNNEL_PATH`] leads to.
    pub echo: Echo,
}

/// The origin: 1 KiB at `/`, [`BULK_BYTES`] at `/big`, and any upload swallowed by `/up`.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    _running: Running,
}

/// Starts the origin, an nginx.
pub fn origin(folder: &Path) -> Result<Origin> {
    let address = free_address()?;
    let prefix = folder.join("origin");
    fs::create_dir_all(&prefix)?;
    fs::write(prefix.join("big"), vec![b'x'; BULK_BYTES])?;
    let body = "x".repeat(1024);
    let config = format!(
        "daemon off; master_process off; pid origin.pid; error_log /dev/null;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; client_max_body_size 0; sendfile on; server {{\n\
         listen {address} backlog=4096; root {root};\n\
         location / {{ default_type text/plain; return 200 '{body}'; }}\n\
         location = /up {{ client_body_buffer_size 16m; proxy_pass_request_body off; proxy_set_header Content-Length '';\n\
         proxy_http_version 1.1; proxy_pass http://{address}/; }}\n\
         location = /big {{ default_type application/octet-stream; try_files /big =404; }} }} }}\n",
        root = prefix.display()
    );
    fs::write(prefix.join("nginx.conf"), config)?;
    let running = pinned("1", "nginx", &[&"-p", &prefix, &"-c", &prefix.join("nginx.conf")], &[])?;
    wait_until_open(address)?;
    Ok(Origin { address, _running: running })
}

type Start = fn(&Path, Behind, usize) -> Result<Proxy>;

/// Starts every peer named in `names` in front of `behind`; the gateway with so many `routes` beside the one that is asked.
pub fn start(folder: &Path, behind: Behind, names: &[String], routes: usize) -> Result<Vec<Proxy>> {
    certificate(folder)?;
    let starts: [(&str, Start); 4] =
        [("nginx", nginx), ("haproxy", haproxy), ("caddy", caddy), ("gatehouse", gatehouse)];
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    starts
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, start)| start(folder, behind, routes).with_context(|| format!("{name} does not start")))
        .collect()
}

fn certificate(folder: &Path) -> Result<()> {
    let (key, chain) = (folder.join("key.pem"), folder.join("chain.pem"));
    let status = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&chain)
        .stderr(Stdio::null())
        .status()
        .context("openssl is needed")?;
    if !status.success() {
        bail!("openssl made no certificate");
    }
    let both = [fs::read(&chain)?, fs::read(&key)?].concat();
    Ok(fs::write(folder.join("both.pem"), both)?)
}

fn nginx(folder: &Path, behind: Behind, _routes: usize) -> Result<Proxy> {
    let (origin, echo) = (behind.origin, behind.echo.tcp);
    let (http, https) = (free_address()?, free_address()?);
    let prefix = folder.join("nginx");
    fs::create_dir_all(&prefix)?;
    let config = format!(
        "daemon off; master_process off; pid proxy.pid; error_log /dev/null;\n\
         events {{ worker_connections 65536; }} worker_rlimit_nofile 200000;\n\
         http {{ access_log {log} combined buffer=64k flush=1s; keepalive_requests 1000000000; keepalive_timeout 600s;\n\
         client_max_body_size 0; proxy_request_buffering off;\n\
         upstream o {{ server {origin}; keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen {http} backlog=4096 reuseport; listen {https} backlog=4096 reuseport ssl http2;\n\
         ssl_certificate {folder}/chain.pem; ssl_certificate_key {folder}/key.pem;\n\
         ssl_protocols TLSv1.2 TLSv1.3;\n\
         location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection '';\n\
         proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         proxy_set_header X-Forwarded-Proto $scheme; }}\n\
         location {TUNNEL_PATH} {{ proxy_pass http://{echo}; proxy_http_version 1.1; proxy_set_header Host $host;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection 'upgrade';\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n\
         proxy_read_timeout 1h; proxy_send_timeout 1h; }} }} }}\n",
        log = prefix.join("access.log").display(),
        folder = folder.display(),
    );
    fs::write(prefix.join("nginx.conf"), config)?;
    let running = pinned("0", "nginx", &[&"-p", &prefix, &"-c", &prefix.join("nginx.conf")], &[])?;
    opened("nginx", http, https, running)
}

fn haproxy(folder: &Path, behind: Behind, _routes: usize) -> Result<Proxy> {
    let (origin, echo) = (behind.origin, behind.echo.tcp);
    let (http, https) = (free_address()?, free_address()?);
    let config = format!(
        "global\n maxconn {most}\n nbthread 1\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 600s\n timeout server 600s\n timeout tunnel 1h\n\
         timeout http-keep-alive 600s\n option splice-auto\n http-reuse always\n\
         frontend f\n bind {http}\n bind {https} ssl crt {both} alpn h2,http/1.1\n option forwardfor\n\
         http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}\n\
         http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}\n use_backend e if {{ path_beg {TUNNEL_PATH} }}\n default_backend o\n\
         backend o\n server o1 {origin} check inter 1s\n\
         backend e\n server e1 {echo}\n",
        both = folder.join("both.pem").display(),
        // It does not start where it could not have the files: two and half a one, for pipes, of each, and some of its own.
        most = (process::open_files_max().saturating_sub(1_000) * 2 / 5).min(40_000),
    );
    let path = folder.join("haproxy.cfg");
    fs::write(&path, config)?;
    let running = pinned("0", "haproxy", &[&"-db", &"-f", &path], &[])?;
    opened("haproxy", http, https, running)
}

fn caddy(folder: &Path, behind: Behind, _routes: usize) -> Result<Proxy> {
    let (origin, echo) = (behind.origin, behind.echo.tcp);
    let (http, https) = (free_address()?, free_address()?);
    let config = format!(
        "{{\n admin off\n auto_https off\n default_sni {HOST}\n servers {{\n  protocols h1 h2\n }}\n}}\n\
         http://:{plain} {{\n bind 127.0.0.1\n reverse_proxy {TUNNEL_PATH} {echo}\n reverse_proxy {origin}\n}}\n\
         https://{HOST}:{secured} {{\n bind 127.0.0.1\n tls {folder}/chain.pem {folder}/key.pem\n reverse_proxy {TUNNEL_PATH} {echo}\n reverse_proxy {origin}\n}}\n",
        plain = http.port(),
        secured = https.port(),
        folder = folder.display(),
    );
    let path = folder.join("Caddyfile");
    fs::write(&path, config)?;
    let home = folder.display().to_string();
    let environment = [("GOMAXPROCS", "1"), ("HOME", home.as_str()), ("XDG_DATA_HOME", home.as_str())];
    let running =
        pinned("0", "caddy", &[&"run", &"--adapter", &"caddyfile", &"--config", &path], &environment)?;
    opened("caddy", http, https, running)
}

fn gatehouse(folder: &Path, behind: Behind, routes: usize) -> Result<Proxy> {
    let (origin, echo) = (behind.origin, behind.echo.tcp);
    let data = folder.join("data");
    let log = folder.join("gatehouse-main.log").display().to_string();
    let (running, ready) = gatehouse_up(&data, &[("GATEHOUSE_LOG__FILE", &log)])?;
    let mut admin = Connection::admin(&data)?;
    let mut make = |body: &str| -> Result<()> {
        let (status, text) = admin.call("POST", "localhost", "/api/v1/routes", body)?;
        if status != 201 {
            bail!("a route was answered {status} {text}")
        }
        Ok(())
    };
    make(&format!(
        r#"{{"host":"{HOST}","target":"http://{origin}","tls":"self-signed","redirect_https":false,
            "upstream":{{"check":{{"http":{{"path":"/"}},"interval":"1s"}}}}}}"#
    ))?;
    make(&format!(
        r#"{{"host":"{HOST}","path":"{TUNNEL_PATH}","target":"http://{echo}","websocket":true,
            "tls":"self-signed","redirect_https":false}}"#
    ))?;
    for number in 0..routes {
        make(&format!(r#"{{"host":"h{number}.bench.example","target":"http://10.9.8.7:80"}}"#))?;
    }
    let gateway = pid(&ready, "gateway")?;
    process::pin(gateway, 0)?;
    let (http, https) = (address(&ready, "http")?, address(&ready, "https")?);
    Ok(Proxy { name: "gatehouse", http, https, pid: gateway, data: Some(data), _running: Some(running) })
}

fn opened(name: &'static str, http: SocketAddr, https: SocketAddr, running: Running) -> Result<Proxy> {
    wait_until_open(http)?;
    wait_until_open(https)?;
    Ok(Proxy { name, http, https, pid: running.0.id(), data: None, _running: Some(running) })
}

fn pinned(
    core: &str,
    program: &str,
    arguments: &[&dyn AsRef<std::ffi::OsStr>],
    environment: &[(&str, &str)],
) -> Result<Running> {
    let mut command = Command::new("taskset");
    command.args(["-c", core, program]).stdout(Stdio::null()).stderr(Stdio::null());
    for argument in arguments {
        command.arg(argument);
    }
    command.envs(environment.iter().copied());
    Ok(Running(command.spawn().with_context(|| format!("{program} and taskset are needed"))?))
}

#[expect(clippy::disallowed_methods, reason = "a pause between two looks at a condition")]
fn wait_until_open(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            bail!("nothing listens on {address}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
