//! `gatehouse status`, `explain` and `healthcheck`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::{ExplainArgs, Form};
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{self, Printer};

/// Prints what runs and which generation each gateway serves.
pub(super) async fn status(client: &Client, printer: &Printer) -> Result<(), Failure> {
    let stats = client.get("/api/v1/system/stats").await?.body;
    let gateways = client.list("/api/v1/gateways", &[]).await?;
    match printer.form() {
        Form::Table => {
            printer.object(&stats);
            output::out("\n");
            printer.list(&gateways, super::gateway::COLUMNS);
        }
        Form::Json | Form::Yaml => printer.object(&json!({ "control": stats, "gateways": gateways })),
    }
    Ok(())
}

/// What a handshake meets, in a line.
fn handshake(tls: Option<&Value>) -> String {
    let Some(tls) = tls.filter(|tls| tls.is_object()) else { return String::new() };
    let text = |name: &str| tls.get(name).and_then(Value::as_str);
    let mode = text("mode").unwrap_or("off");
    if text("ends_at") == Some("target") {
        return "\nTLS passes through to the target".to_owned();
    }
    let is = |name: &str| tls.get(name).and_then(Value::as_bool).unwrap_or_default();
    let mut said = format!("\nTLS {mode}");
    match text("identity") {
        Some(identity) => said.push_str(&format!(", certificate {identity}")),
        None if mode == "off" => {}
        None => said.push_str(", no certificate yet"),
    }
    if let Some(version) = text("min_version") {
        said.push_str(&format!(", from TLS {version}"));
    }
    if is("client_certificate") {
        said.push_str(", clients need a certificate");
    }
    if is("redirect_https") {
        said.push_str(", http is redirected");
    }
    said
}

/// Prints each route that was considered, in order, and why it does or does not answer.
pub(super) async fn explain(client: &Client, printer: &Printer, asked: &ExplainArgs) -> Result<(), Failure> {
    let mut path = format!("/api/v1/explain?url={}&method={}", escape(&asked.address), escape(&asked.method));
    if let Some(address) = asked.client {
        path.push_str(&format!("&client={}", escape(&address.to_string())));
    }
    for text in &asked.header {
        let (name, value) = super::route::body::field(text)?;
        path.push_str(&format!("&header={}", escape(&format!("{name}: {value}"))));
    }
    let answer = client.get(&path).await?.body;
    match (printer.form(), answer.get("candidates").and_then(Value::as_array)) {
        (Form::Table, Some(candidates)) => {
            printer.list(
                candidates,
                &[
                    ("HOST", "host"),
                    ("PATH", "path"),
                    ("PRIORITY", "priority"),
                    ("VERDICT", "verdict"),
                    ("ROUTE", "route"),
                ],
            );
            match answer.get("route").and_then(Value::as_str) {
                Some(route) => {
                    printer.text(&format!("answered by route {route}{}", handshake(answer.get("tls"))));
                }
                None => printer.text("answered by no route"),
            }
        }
        _ => printer.object(&answer),
    }
    Ok(())
}

/// Asks control whether it is ready; never a usage error, so that a container sees 0 or 1.
pub(super) async fn healthcheck(client: &Client, printer: &Printer) -> ExitCode {
    match client.get("/readyz").await {
        Ok(answer) => {
            printer.done(&answer.body, "ready");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            output::err(&format!("gatehouse: not ready: {failure}\n"));
            ExitCode::FAILURE
        }
    }
}
