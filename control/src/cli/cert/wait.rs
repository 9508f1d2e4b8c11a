//! `--wait`: follows an order until its certificate is in force.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::super::client::{Client, escape};
use super::super::failure::Failure;
use super::super::output;
use super::{LIST, text};

const ORDERS: &str = "/api/v1/acme/orders";
/// How often it is asked.
const STEP: Duration = Duration::from_millis(500);
/// How long is waited: an authority takes seconds, name servers minutes. The order itself goes on after that.
const DEADLINE: Duration = Duration::from_secs(10 * 60);

/// Waits until no order for the certificate is open, and prints each line of its log as it comes; gives the certificate.
///
/// Errors: the order was given up, or it is still open at the deadline; the message says why.
pub(super) async fn wait(client: &Client, id: &str, is_quiet: bool) -> Result<Value, Failure> {
    let started = Instant::now();
    let newest = client.list(ORDERS, &[("certificate", id)]).await?;
    let Some(order) = newest.first().map(|order| text(order, "id").to_owned()) else {
        return Ok(client.get(&format!("{LIST}/{}", escape(id))).await?.body);
    };
    let mut told = 0;
    loop {
        let now = client.get(&format!("{ORDERS}/{}", escape(&order))).await?.body;
        let lines = now.get("log").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if !is_quiet {
            for line in lines.iter().skip(told) {
                output::err(&format!("{} {}\n", text(line, "at"), text(line, "message")));
            }
        }
        told = told.max(lines.len());
        match text(&now, "state") {
            "done" => return Ok(client.get(&format!("{LIST}/{}", escape(id))).await?.body),
            "cancelled" => return Err(Failure::failed(format!("order {order} was given up"))),
            _ if started.elapsed() >= DEADLINE => {
                let why = Some(text(&now, "last_error")).filter(|why| !why.is_empty());
                let whom = why.unwrap_or_else(|| text(&now, "waiting_for"));
                let minutes = DEADLINE.as_secs() / 60;
                return Err(Failure::failed(format!(
                    "order {order} is still open after {minutes} minutes ({whom}); it goes on by itself, \
                     `gatehouse acme order show {order}` says how"
                )));
            }
            _ => tokio::time::sleep(STEP).await,
        }
    }
}
