//! What certificates cost the built programs: memory for each, the time until a swapped one is shown, handshakes among few
//! and among many.
//!
//! `target/dist/certs --identities 10000` after building control and gateway alike.

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use benches::http::Connection;
use benches::load::handshake::{self, Exchange, Wish};
use benches::process::{self, address, anonymous_bytes, cpu_seconds, gatehouse_up, pid};
use benches::stats::{median, percentile};
use clap::Parser;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};

/// Measures memory of an identity, the time to swap one, and handshakes among 1, 100 and all of them.
#[derive(Parser)]
struct Arguments {
    /// Identities in the end.
    #[arg(long, default_value_t = 10_000)]
    identities: usize,
    /// Swaps that are timed.
    #[arg(long, default_value_t = 200)]
    swaps: usize,
    /// Seconds of handshakes at each count.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
}

#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let directory = tempfile::Builder::new().prefix("gh").tempdir()?;
    println!("machine: {}", process::machine());
    let (_up, ready) = gatehouse_up(directory.path(), &[])?;
    let (gateway, control) = (pid(&ready, "gateway")?, pid(&ready, "control")?);
    let https = address(&ready, "https")?;
    let maker = Maker::new()?;
    let mut admin = Connection::admin(directory.path())?;
    let (mut made, mut newest) = (Vec::new(), Vec::new());
    let counts = [1, 100, arguments.identities];
    let (mut before, began) = ((0, 0), Instant::now());
    for count in counts.into_iter().filter(|count| *count <= arguments.identities) {
        while made.len() < count {
            let (id, leaf) = maker.add(&mut admin, made.len())?;
            made.push(id);
            newest = leaf;
            if made.len() == 1 {
                // What the first one makes either process set up is not the others'.
                before = (anonymous_bytes(gateway)?, anonymous_bytes(control)?);
            }
        }
        wait_until_shown(https, count - 1, &newest)?;
        let each = handshakes(https, gateway, &arguments, count)?;
        println!("among {count:6} identities: {each:.3} CPU s per 1 000 full handshakes");
    }
    println!("made through the API in {:.1} s", began.elapsed().as_secs_f64());
    let grown = |now: u64, before: u64| now.saturating_sub(before) as f64 / (made.len().max(2) - 1) as f64;
    println!(
        "memory of an identity and its route, gateway: {:.0} bytes",
        grown(anonymous_bytes(gateway)?, before.0)
    );
    println!(
        "memory of an identity and its route, control: {:.0} bytes",
        grown(anonymous_bytes(control)?, before.1)
    );
    swaps(directory.path(), https, &maker, (&made, arguments.swaps))
}

/// CPU seconds of the gateway for 1 000 full handshakes whose names go round among so many.
fn handshakes(https: SocketAddr, gateway: u32, arguments: &Arguments, count: usize) -> Result<f64> {
    let wish = Wish { resumes: false, exchange: Exchange::X25519 };
    // A stride that meets each once: no order that a cache would like.
    let at = |turn: u64| (turn.wrapping_mul(7_919) % count as u64) as usize;
    let before = cpu_seconds(gateway)?;
    let done = handshake::run_for(https, wish, arguments.seconds, |turn| server_name(at(turn)))?;
    Ok((cpu_seconds(gateway)? - before) / done * 1_000.0)
}

/// Swaps one after the other, and times each from the call to the handshake that shows it.
#[expect(clippy::print_stdout, reason = "a measurement's result is its output")]
fn swaps(data: &Path, https: SocketAddr, maker: &Maker, (made, count): (&[String], usize)) -> Result<()> {
    let mut admin = Connection::admin(data)?;
    let (mut calls, mut lives) = (Vec::new(), Vec::new());
    for turn in 0..count {
        let at = turn.wrapping_mul(7_919) % made.len();
        let id = made.get(at).context("none was made")?;
        let (body, leaf) = maker.upload(at)?;
        let began = Instant::now();
        let (status, text) =
            admin.call("PATCH", "localhost", &format!("/api/v1/certificates/{id}"), &body.to_string())?;
        if status != 200 {
            bail!("a swap was answered {status} {text}");
        }
        calls.push(began.elapsed().as_secs_f64() * 1_000.0);
        wait_until_shown(https, at, &leaf)?;
        lives.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    println!(
        "one swapped among {}: answered p50 {:.2} p99 {:.2} ms, shown p50 {:.2} p99 {:.2} ms",
        made.len(),
        median(&mut calls),
        percentile(&mut calls, 0.99),
        median(&mut lives),
        percentile(&mut lives, 0.99)
    );
    Ok(())
}

fn wait_until_shown(https: SocketAddr, number: usize, leaf: &[u8]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while handshake::shown(https, server_name(number)?)? != leaf {
        if Instant::now() > deadline {
            bail!("certificate {number} is not shown");
        }
    }
    Ok(())
}

fn host(number: usize) -> String {
    format!("h{number}.bench.example")
}

fn server_name(number: usize) -> Result<ServerName<'static>> {
    Ok(ServerName::try_from(host(number))?)
}

/// An authority whose leaves are uploaded: P-256, each with its issuer.
struct Maker {
    issuer: Issuer<'static, KeyPair>,
    authority: rcgen::Certificate,
}

impl Maker {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Bench");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let authority = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), authority })
    }

    /// What is sent for a new certificate of the host with this number, and its leaf.
    fn upload(&self, number: usize) -> Result<(Value, Vec<u8>)> {
        let mut params = CertificateParams::new(vec![host(number)])?;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let now = std::time::SystemTime::now();
        let day = Duration::from_secs(86_400);
        (params.not_before, params.not_after) = ((now - day).into(), (now + 90 * day).into());
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let chain = leaf.pem() + &self.authority.pem();
        Ok((json!({ "certificate": chain, "private_key": key.serialize_pem() }), leaf.der().to_vec()))
    }

    /// Makes one; gives its id and its leaf.
    fn add(&self, admin: &mut Connection<UnixStream>, number: usize) -> Result<(String, Vec<u8>)> {
        let (mut body, leaf) = self.upload(number)?;
        if let Some(members) = body.as_object_mut() {
            members.insert("source".to_owned(), json!("upload"));
            members.insert("name".to_owned(), json!(format!("c{number}")));
        }
        let (status, text) = admin.call("POST", "localhost", "/api/v1/certificates", &body.to_string())?;
        let made: Value = serde_json::from_str(&text).with_context(|| format!("{status} {text}"))?;
        let id = match made.get("id").and_then(Value::as_str) {
            Some(id) if status == 201 => id.to_owned(),
            _ => bail!("certificate {number} was answered {status} {text}"),
        };
        // Gateways are given what a route uses; its memory is counted with the identity's.
        let route = json!({
            "host": host(number), "target": "http://10.9.8.7:80", "tls": "upload", "certificate": format!("c{number}"),
        });
        let (status, text) = admin.call("POST", "localhost", "/api/v1/routes", &route.to_string())?;
        if status != 201 {
            bail!("route {number} was answered {status} {text}");
        }
        Ok((id, leaf))
    }
}
