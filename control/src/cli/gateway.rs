//! `gatehouse gateway list|show|rm|token`: the gateways that joined.

use serde_json::json;

use super::args::{GatewayCommand, JoinCommand};
use super::client::Client;
use super::failure::Failure;
use super::output::{Column, Printer};
use super::{print_token, put, resolve};

const LIST: &str = "/api/v1/gateways";
pub(super) const COLUMNS: &[Column] = &[
    ("NAME", "name"),
    ("CONNECTED", "connected"),
    ("GENERATION", "generation"),
    ("VERSION", "version"),
    ("DEGRADED", "degraded"),
    ("REFUSED", "refused"),
    ("ID", "id"),
];

pub(super) async fn run(client: &Client, printer: &Printer, command: GatewayCommand) -> Result<(), Failure> {
    match command {
        // `run` starts a process; it never comes here.
        GatewayCommand::Run { .. } => {}
        GatewayCommand::List => printer.list(&client.list(LIST, &[]).await?, COLUMNS),
        GatewayCommand::Show { gateway } => {
            printer.object(&client.get(&path(client, &gateway).await?).await?.body);
        }
        GatewayCommand::Rm { gateway } => {
            let gone = client.delete(&path(client, &gateway).await?).await?.body;
            printer.done(&gone, &format!("gateway {gateway} withdrawn"));
        }
        GatewayCommand::Token(JoinCommand::Create { name }) => {
            let mut body = json!({});
            put(&mut body, "name", name);
            print_token(printer, &client.post(&format!("{LIST}/tokens"), &body).await?.body)?;
        }
    }
    Ok(())
}

async fn path(client: &Client, gateway: &str) -> Result<String, Failure> {
    let wanted = resolve::Wanted { noun: "gateway", list: LIST, field: "name", typed: gateway };
    Ok(format!("{LIST}/{}", resolve::id(client, wanted, &[]).await?))
}
