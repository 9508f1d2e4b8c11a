//! `gatehouse forward …` and `gatehouse diagnose forward`.

mod settled;
mod words;

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Form;
use super::args::forward::{DiagnoseCommand, ForwardCommand, ForwardName};
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{self, Column, Printer};
use super::put;
use crate::app::forward::view::PRESETS;

const LIST: &str = "/api/v1/forwards";
const COLUMNS: &[Column] = &[
    ("PROTOCOL", "protocol"),
    ("PORT", "port"),
    ("BIND", "bind"),
    ("TARGET", "target"),
    ("VM", "vm"),
    ("ENABLED", "enabled"),
    ("NOTE", "note"),
    ("NAMESPACE", "namespace"),
    ("ID", "id"),
];
const GATEWAY_COLUMNS: &[Column] =
    &[("GATEWAY", "gateway"), ("STATE", "state"), ("GENERATION", "generation"), ("WHY", "why")];
const PLAN_COLUMNS: &[Column] = &[
    ("LINE", "line"),
    ("PROTOCOL", "protocol"),
    ("PORT", "host_port"),
    ("VM IP", "vm_ip"),
    ("VM PORT", "vm_port"),
    ("VM", "vm"),
    ("NOTE", "note"),
];
const CHECK_COLUMNS: &[Column] = &[("CHECK", "check"), ("STATE", "state"), ("WHAT", "message")];

pub(super) async fn run(client: &Client, printer: &Printer, command: ForwardCommand) -> Result<(), Failure> {
    match command {
        ForwardCommand::Add { words, preset, namespace, fields } => {
            let mut body = words::body(&words, preset.as_deref(), &fields)?;
            put(&mut body, "namespace", namespace);
            let made = client.post(LIST, &body).await?.body;
            let sentence = format!("forward {} added: {}", text(&made, "id"), sentence(&made));
            settled::tell(client, printer, made, &sentence).await?;
        }
        ForwardCommand::List { namespace, protocol, vm } => {
            let asked = [("namespace", &namespace), ("protocol", &protocol), ("vm", &vm)];
            let asked: Vec<_> =
                asked.iter().filter_map(|(name, said)| Some((*name, said.as_deref()?))).collect();
            let mut items = client.list(LIST, &asked).await?;
            if printer.form() == Form::Table {
                items.iter_mut().for_each(ready);
            }
            printer.list(&items, COLUMNS);
        }
        ForwardCommand::Show(forward) => show(client, printer, &forward).await?,
        ForwardCommand::Update { forward, fields } => {
            let mut body = json!({});
            words::put_fields(&mut body, &fields);
            if body == json!({}) {
                return Err(Failure::usage("nothing to change was given"));
            }
            let changed = client.patch(&path(client, &forward).await?, &body).await?.body;
            let sentence = format!("forward {} changed: {}", forward.forward, sentence(&changed));
            settled::tell(client, printer, changed, &sentence).await?;
        }
        ForwardCommand::Rm(forward) => {
            let path = path(client, &forward).await?;
            client.delete(&path).await?;
            let id = path.rsplit('/').next().unwrap_or_default();
            let gone = json!({ "id": id, "deleted": true });
            settled::tell(client, printer, gone, &format!("forward {} deleted", forward.forward)).await?;
        }
        ForwardCommand::Enable(forward) => switch(client, printer, &forward, true).await?,
        ForwardCommand::Disable(forward) => switch(client, printer, &forward, false).await?,
        ForwardCommand::Import { file, dry_run, namespace } => {
            import(client, printer, (&file, dry_run, namespace)).await?;
        }
        ForwardCommand::Export { namespace } if printer.form() != Form::Table => {
            let asked: Vec<_> = namespace.as_deref().map(|name| ("namespace", name)).into_iter().collect();
            let items: Vec<_> = client.list(LIST, &asked).await?.iter().map(exported).collect();
            printer.list(&items, &[]);
        }
        ForwardCommand::Export { namespace } => {
            let query = namespace.map_or_else(String::new, |name| format!("?namespace={}", escape(&name)));
            output::out(&client.get(&format!("{LIST}/export{query}")).await?.text);
        }
        ForwardCommand::Presets => {
            let preset = |preset: &crate::app::forward::view::Preset| json!({"name": preset.name, "protocol": "tcp", "port": preset.port, "database": preset.is_database});
            let items: Vec<_> = PRESETS.iter().map(preset).collect();
            let columns =
                [("NAME", "name"), ("PROTOCOL", "protocol"), ("PORT", "port"), ("DATABASE", "database")];
            printer.list(&items, &columns);
        }
    }
    Ok(())
}

async fn show(client: &Client, printer: &Printer, forward: &ForwardName) -> Result<(), Failure> {
    let mut shown = client.get(&path(client, forward).await?).await?.body;
    if printer.form() != Form::Table {
        printer.object(&shown);
        return Ok(());
    }
    let gateways = shown.as_object_mut().and_then(|members| members.remove("gateways"));
    printer.object(&shown);
    output::out("\n");
    printer.list(gateways.as_ref().and_then(Value::as_array).map_or(&[], Vec::as_slice), GATEWAY_COLUMNS);
    Ok(())
}

async fn switch(client: &Client, printer: &Printer, forward: &ForwardName, on: bool) -> Result<(), Failure> {
    let changed = client.patch(&path(client, forward).await?, &json!({ "enabled": on })).await?.body;
    let how = if on { "enabled" } else { "disabled" };
    settled::tell(client, printer, changed, &format!("forward {} {how}", forward.forward)).await
}

async fn import(
    client: &Client,
    printer: &Printer,
    (file, dry_run, namespace): (&std::path::Path, bool, Option<String>),
) -> Result<(), Failure> {
    let bytes = if file.as_os_str() == "-" {
        super::read_bytes(std::io::stdin(), "standard input")?
    } else {
        let name = file.display().to_string();
        let opened = std::fs::File::open(file).map_err(|e| Failure::failed(format!("{name}: {e}")))?;
        super::read_bytes(opened, &name)?
    };
    let mut path = format!("{LIST}/import?dry_run={dry_run}");
    if let Some(namespace) = namespace {
        path.push_str(&format!("&namespace={}", escape(&namespace)));
    }
    let answer = client.post_csv(&path, bytes).await?.body;
    if printer.form() != Form::Table {
        printer.object(&answer);
        return Ok(());
    }
    let lines = answer.get("lines").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    warn(&answer);
    if dry_run {
        printer.list(lines, PLAN_COLUMNS);
        printer.done(&answer, &format!("{} forwards would be made; nothing is changed", lines.len()));
    } else {
        printer.done(&answer, &format!("{} forwards made", lines.len()));
    }
    Ok(())
}

/// Prints what a look at one forward found.
pub(super) async fn diagnose(
    client: &Client,
    printer: &Printer,
    DiagnoseCommand::Forward(forward): DiagnoseCommand,
) -> Result<ExitCode, Failure> {
    let found = client.get(&format!("{}/diagnosis", path(client, &forward).await?)).await?.body;
    let is_sound = found.get("ok").and_then(Value::as_bool) == Some(true);
    match (printer.form(), found.get("checks").and_then(Value::as_array)) {
        (Form::Table, Some(checks)) => {
            printer.text(text(&found, "forward"));
            printer.list(checks, CHECK_COLUMNS);
            for check in checks.iter().filter(|check| !text(check, "advice").is_empty()) {
                printer.text(&format!("{}: {}", text(check, "check"), text(check, "advice")));
            }
        }
        _ => printer.object(&found),
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The forward that an id or `tcp/10022` names.
async fn path(client: &Client, name: &ForwardName) -> Result<String, Failure> {
    let typed = name.forward.as_str();
    let parts = typed.split_once('/').map(|(one, other)| {
        if one.bytes().all(|byte| byte.is_ascii_digit()) { (other, one) } else { (one, other) }
    });
    let Some((protocol, port)) = parts else { return Ok(format!("{LIST}/{}", escape(typed))) };
    let found = client.list(LIST, &[("protocol", protocol), ("host_port", port)]).await?;
    match found.as_slice() {
        [] => Err(Failure::failed(format!("there is no forward {typed}"))),
        [one] => Ok(format!("{LIST}/{}", escape(text(one, "id")))),
        several => {
            let mut message = format!("{typed} is {} forwards; give the id of one:", several.len());
            for one in several {
                let bind = one.get("bind").and_then(Value::as_str).unwrap_or("any");
                message.push_str(&format!("\n  {}  bind {bind}", text(one, "id")));
            }
            Err(Failure::failed(message))
        }
    }
}

fn warn(object: &Value) {
    let warnings = object.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        output::err(&format!("gatehouse: warning: {warning}\n"));
    }
}

/// The members that a line of the CSV form has.
fn exported(item: &Value) -> Value {
    json!({
        "protocol": text(item, "protocol"),
        "host_port": ports(item, "host_port"),
        "vm_ip": text(item, "vm_ip"),
        "vm_port": ports(item, "vm_port"),
        "note": text(item, "note"),
    })
}

/// Adds what the table shows in one column.
fn ready(item: &mut Value) {
    let (port, target) = (ports(item, "host_port"), target(item));
    put(item, "port", Some(port));
    put(item, "target", Some(target));
}

/// `tcp 10022 to 10.0.0.5:22`.
fn sentence(item: &Value) -> String {
    format!("{} {} to {}", text(item, "protocol"), ports(item, "host_port"), target(item))
}

fn target(item: &Value) -> String {
    let (ip, port) = (text(item, "vm_ip"), ports(item, "vm_port"));
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

fn ports(item: &Value, name: &str) -> String {
    let row = item.get(format!("{name}s")).and_then(Value::as_str);
    let one = item.get(name).and_then(Value::as_u64).unwrap_or_default();
    row.map_or_else(|| one.to_string(), str::to_owned)
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_as_json_is_what_the_table_of_csv_holds() {
        let one = json!({"protocol": "tcp", "host_port": 10022, "host_ports": null, "vm_ip": "10.0.0.5",
                         "vm_port": 22, "vm_ports": null, "note": "SSH", "namespace": "ns1"});
        let row = json!({"protocol": "udp", "host_port": 10000, "host_ports": "10000-10010", "vm_ip": "2001:db8::1",
                         "vm_port": 5000, "vm_ports": "5000-5010", "note": ""});
        assert_eq!(
            [exported(&one), exported(&row)],
            [
                json!({"protocol": "tcp", "host_port": "10022", "vm_ip": "10.0.0.5", "vm_port": "22", "note": "SSH"}),
                json!({"protocol": "udp", "host_port": "10000-10010", "vm_ip": "2001:db8::1",
                       "vm_port": "5000-5010", "note": ""}),
            ]
        );
    }
}
