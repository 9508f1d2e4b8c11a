//! `gatehouse acme account …` and `gatehouse acme order …`.

use std::path::Path;

use serde_json::json;

use super::args::Form;
use super::args::acme::{AccountCommand, AccountFields, AcmeCommand, OrderCommand};
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{Column, Printer};
use super::{put, resolve};

const ACCOUNTS: &str = "/api/v1/acme/accounts";
const ACCOUNT_COLUMNS: &[Column] = &[
    ("NAME", "name"),
    ("DIRECTORY", "directory"),
    ("CHALLENGE", "challenge"),
    ("CONTACTS", "contacts"),
    ("REGISTERED", "url"),
    ("ID", "id"),
];

const ORDERS: &str = "/api/v1/acme/orders";
const ORDER_COLUMNS: &[Column] = &[
    ("NAMES", "names"),
    ("STATE", "state"),
    ("STEP", "step"),
    ("WAITS FOR", "waiting_for"),
    ("ATTEMPTS", "attempts"),
    ("NEXT TRY", "next_try"),
    ("LAST ERROR", "last_error"),
    ("ID", "id"),
];
const LOG_COLUMNS: &[Column] = &[("AT", "at"), ("WHAT", "message")];

pub(super) async fn run(client: &Client, printer: &Printer, command: AcmeCommand) -> Result<(), Failure> {
    match command {
        AcmeCommand::Account(command) => account(client, printer, command).await,
        AcmeCommand::Order(command) => order(client, printer, command).await,
    }
}

async fn order(client: &Client, printer: &Printer, command: OrderCommand) -> Result<(), Failure> {
    match command {
        OrderCommand::List { open } => {
            let filter: &[(&str, &str)] = if open { &[("state", "open")] } else { &[] };
            printer.list(&client.list(ORDERS, filter).await?, ORDER_COLUMNS);
        }
        OrderCommand::Show { order } => {
            let mut shown = client.get(&format!("{ORDERS}/{}", escape(&order))).await?.body;
            if printer.form() != Form::Table {
                printer.object(&shown);
                return Ok(());
            }
            let log = shown.as_object_mut().and_then(|members| members.remove("log"));
            printer.object(&shown);
            printer.list(log.as_ref().and_then(|log| log.as_array()).map_or(&[], Vec::as_slice), LOG_COLUMNS);
        }
        OrderCommand::Retry { order } => {
            let shown = client.post(&format!("{ORDERS}/{}/retry", escape(&order)), &json!({})).await?.body;
            printer.done(&shown, &format!("order {order} is tried again now"));
        }
        OrderCommand::Cancel { order } => {
            let gone = client.delete(&format!("{ORDERS}/{}", escape(&order))).await?.body;
            printer.done(&gone, &format!("order {order} cancelled"));
        }
    }
    Ok(())
}

async fn account(client: &Client, printer: &Printer, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add(fields) => {
            let name = fields.name.clone();
            let made = client.post(ACCOUNTS, &body(*fields)?).await?.body;
            printer.done(&made, &format!("ACME account {name} added"));
        }
        AccountCommand::List => printer.list(&client.list(ACCOUNTS, &[]).await?, ACCOUNT_COLUMNS),
        AccountCommand::Show { account } => {
            printer.object(&client.get(&path(client, &account).await?).await?.body);
        }
        AccountCommand::Rm { account } => {
            let gone = client.delete(&path(client, &account).await?).await?.body;
            printer.done(&gone, &format!("ACME account {account} deleted"));
        }
    }
    Ok(())
}

fn body(fields: AccountFields) -> Result<serde_json::Value, Failure> {
    let mut body = json!({
        "name": fields.name,
        "directory": fields.directory,
        "contacts": fields.contact,
        "agree_tos": fields.agree_tos,
    });
    put(&mut body, "challenge", fields.challenge);
    put(&mut body, "eab_kid", fields.eab_kid);
    put(&mut body, "eab_hmac", fields.eab_hmac_file.as_deref().map(read).transpose()?);
    put(&mut body, "roots", fields.roots.as_deref().map(read).transpose()?);
    put(&mut body, "resolvers", (!fields.resolver.is_empty()).then_some(fields.resolver));
    if let Some(provider) = fields.dns {
        let mut dns = json!({ "provider": provider });
        put(&mut dns, "server", fields.dns_server);
        put(&mut dns, "zone", fields.dns_zone);
        put(&mut dns, "key_name", fields.dns_key_name);
        put(&mut dns, "algorithm", fields.dns_algorithm);
        put(&mut dns, "secret", fields.dns_secret_file.as_deref().map(read).transpose()?);
        put(&mut dns, "program", fields.dns_program);
        put(&mut dns, "delegated", fields.dns_delegated.then_some(true));
        put(&mut body, "dns", Some(dns));
    }
    Ok(body)
}

/// A secret is read from a file or standard input: a command line is in the list of processes for everyone to see.
fn read(file: &Path) -> Result<String, Failure> {
    if file.as_os_str() == "-" {
        return super::read_input(std::io::stdin(), "standard input");
    }
    let name = file.display().to_string();
    let opened = std::fs::File::open(file).map_err(|e| Failure::failed(format!("{name}: {e}")))?;
    super::read_input(opened, &name)
}

async fn path(client: &Client, account: &str) -> Result<String, Failure> {
    let wanted = resolve::Wanted { noun: "ACME account", list: ACCOUNTS, field: "name", typed: account };
    Ok(format!("{ACCOUNTS}/{}", resolve::id(client, wanted, &[]).await?))
}
