//! `gatehouse session …`.

use serde_json::Value;

use super::args::session::SessionCommand;
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{self, Column, Printer};

const LIST: &str = "/api/v1/sessions";
const COLUMNS: &[Column] = &[
    ("KIND", "kind"),
    ("USER", "user"),
    ("FROM", "from"),
    ("TO", "to"),
    ("SINCE", "since"),
    ("UP", "bytes_up"),
    ("DOWN", "bytes_down"),
    ("GATEWAY", "gateway"),
    ("NAMESPACE", "namespace"),
    ("ID", "id"),
];

pub(super) async fn run(client: &Client, printer: &Printer, command: SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::List { gateway, kind, namespace, user, vm } => {
            let asked =
                [("gateway", gateway), ("kind", kind), ("namespace", namespace), ("user", user), ("vm", vm)];
            let asked: Vec<_> =
                asked.iter().filter_map(|(name, said)| Some((*name, said.as_deref()?))).collect();
            let mut away = Vec::new();
            let items = client
                .list_seeing(LIST, &asked, |page| {
                    let said = page.get("away").and_then(Value::as_array);
                    for one in said
                        .into_iter()
                        .flatten()
                        .filter(|one| !away.contains(*one))
                        .cloned()
                        .collect::<Vec<_>>()
                    {
                        away.push(one);
                    }
                })
                .await?;
            printer.list(&items, COLUMNS);
            for one in &away {
                let (gateway, why) = (text(one, "gateway"), text(one, "why"));
                output::err(&format!(
                    "gatehouse: warning: sessions of gateway {gateway} are not here: {why}\n"
                ));
            }
        }
        SessionCommand::Show { id } => {
            printer.object(&client.get(&format!("{LIST}/{}", escape(&id))).await?.body);
        }
        SessionCommand::Kill { id } => {
            let gone = client.delete(&format!("{LIST}/{}", escape(&id))).await?.body;
            printer.done(&gone, &format!("session {id} ended"));
        }
    }
    Ok(())
}

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item.get(name).and_then(Value::as_str).unwrap_or_default()
}
