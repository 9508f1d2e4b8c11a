//! `gatehouse console …`.

use std::path::Path;

use config::id::ConsoleId;
use serde_json::{Value, json};

use super::args::Form;
use super::args::console::{ConsoleCommand, ConsoleFields, ConsoleName};
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{Column, Printer};
use super::put;

const LIST: &str = "/api/v1/consoles";
const COLUMNS: &[Column] = &[
    ("VM", "vm"),
    ("KIND", "kind"),
    ("ADDRESS", "address"),
    ("PORT", "port"),
    ("WIRE", "wire"),
    ("READ-ONLY", "read_only"),
    ("NOTE", "note"),
    ("ID", "id"),
];

pub(super) async fn run(client: &Client, printer: &Printer, command: ConsoleCommand) -> Result<(), Failure> {
    match command {
        ConsoleCommand::Add { vm, kind, fields } => {
            let mut body = json!({ "vm": vm, "kind": kind });
            put_fields(&mut body, &fields)?;
            let made = client.post(LIST, &body).await?.body;
            printer.done(&made, &format!("{kind} console of {} added", text(&made, "vm")));
        }
        ConsoleCommand::List { namespace, vm, kind } => {
            let (name, inside) = vm.as_deref().map_or((None, None), |vm| split(vm));
            let asked =
                [("namespace", namespace.as_deref().or(inside)), ("vm", name), ("kind", kind.as_deref())];
            let asked: Vec<_> = asked.iter().filter_map(|(name, said)| Some((*name, (*said)?))).collect();
            printer.list(&client.list(LIST, &asked).await?, COLUMNS);
        }
        ConsoleCommand::Show(console) => {
            printer.object(&client.get(&path(client, &console).await?).await?.body);
        }
        ConsoleCommand::Set { console, fields, no_secret } => {
            let mut body = json!({});
            put_fields(&mut body, &fields)?;
            if no_secret {
                put(&mut body, "secret", Some(Value::Null));
            }
            if body == json!({}) {
                return Err(Failure::usage("nothing to change was given"));
            }
            let changed = client.patch(&path(client, &console).await?, &body).await?.body;
            let (kind, vm) = (text(&changed, "kind"), text(&changed, "vm"));
            printer.done(&changed, &format!("{kind} console of {vm} changed"));
        }
        ConsoleCommand::Rm(console) => {
            let gone = client.delete(&path(client, &console).await?).await?.body;
            printer.done(&gone, &format!("console of {} deleted", console.vm));
        }
        ConsoleCommand::Open { console, look, source, gateway, host, seconds, websocket } => {
            let mut body = json!({});
            put(&mut body, "read_only", look.then_some(true));
            put(&mut body, "source", source);
            put(&mut body, "gateway", gateway);
            put(&mut body, "host", host);
            put(&mut body, "seconds", seconds);
            let ticket =
                client.post(&format!("{}/tickets", path(client, &console).await?), &body).await?.body;
            let which = if websocket { "websocket_url" } else { "url" };
            match printer.form() {
                Form::Table => printer.text(text(&ticket, which)),
                Form::Json | Form::Yaml => printer.object(&ticket),
            }
        }
    }
    Ok(())
}

fn put_fields(body: &mut Value, fields: &ConsoleFields) -> Result<(), Failure> {
    // `vm` is how "the VM's own address" is said on a command line.
    let address = fields.address.as_deref().map(|text| if text == "vm" { Value::Null } else { text.into() });
    put(body, "address", address);
    put(body, "port", fields.port);
    put(body, "wire", fields.wire.clone());
    put(body, "path", fields.path.clone());
    put(body, "login", fields.login.clone());
    if let Some(file) = &fields.secret_file {
        put(body, "secret", Some(secret(file)?));
    }
    put(body, "read_only", fields.read_only.map(super::args::Switch::is_on));
    put(body, "on_change", fields.on_change.clone());
    put(body, "on_delete", fields.on_delete.clone());
    put(body, "note", fields.note.clone());
    Ok(())
}

/// The first line of a file: a password on the command line could be seen by everybody on the machine.
fn secret(file: &Path) -> Result<String, Failure> {
    let bytes = if file.as_os_str() == "-" {
        super::read_bytes(std::io::stdin(), "standard input")?
    } else {
        let name = file.display().to_string();
        let opened = std::fs::File::open(file).map_err(|e| Failure::failed(format!("{name}: {e}")))?;
        super::read_bytes(opened, &name)?
    };
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::failed("--secret-file: the password is no text"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// The console that an id, or a VM and a kind, name.
async fn path(client: &Client, console: &ConsoleName) -> Result<String, Failure> {
    let typed = console.vm.as_str();
    let (name, namespace) = split(typed);
    let mut asked: Vec<_> = name.map(|name| ("vm", name)).into_iter().collect();
    asked.extend(namespace.map(|namespace| ("namespace", namespace)));
    asked.extend(console.kind.as_deref().map(|kind| ("kind", kind)));
    let found = client.list(LIST, &asked).await?;
    match found.as_slice() {
        [one] => Ok(format!("{LIST}/{}", escape(text(one, "id")))),
        // An id may be a console's as well as a VM's.
        [] if typed.parse::<ConsoleId>().is_ok() => Ok(format!("{LIST}/{}", escape(typed))),
        [] => {
            let kind = console.kind.as_deref().map(|kind| format!("{kind} ")).unwrap_or_default();
            Err(Failure::failed(format!(
                "VM {typed:?} has no {kind}console; gatehouse console add makes one known"
            )))
        }
        several => {
            let mut message =
                format!("{typed:?} has {} consoles; say --kind, or the id of one:", several.len());
            for one in several {
                message.push_str(&format!(
                    "\n  {}  {} of {}",
                    text(one, "id"),
                    text(one, "kind"),
                    text(one, "vm")
                ));
            }
            Err(Failure::failed(message))
        }
    }
}

/// A VM as it is typed: its name or id, and its namespace where that was said.
fn split(vm: &str) -> (Option<&str>, Option<&str>) {
    match vm.split_once('.') {
        Some((name, namespace)) => (Some(name), Some(namespace)),
        None => (Some(vm), None),
    }
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}
