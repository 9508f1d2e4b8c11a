//! `gatehouse audit …`.

use serde_json::Value;

use super::args::audit::{AuditCommand, AuditFilter};
use super::client::Client;
use super::failure::Failure;
use super::output::{Column, Printer};

const LIST: &str = "/api/v1/audits";
const COLUMNS: &[Column] = &[
    ("AT", "at"),
    ("WHO", "actor"),
    ("BY", "method"),
    ("FROM", "source"),
    ("ACTION", "action"),
    ("KIND", "object_kind"),
    ("OBJECT", "object_id"),
    ("NAMESPACE", "namespace"),
    ("RESULT", "result"),
];

pub(super) async fn run(client: &Client, printer: &Printer, command: AuditCommand) -> Result<(), Failure> {
    let AuditCommand::List(AuditFilter { actor, action, kind, object, namespace, limit }) = command;
    let asked = [
        ("actor", actor),
        ("action", action),
        ("object_kind", kind),
        ("object_id", object),
        ("namespace", namespace),
    ];
    let asked: Vec<_> = asked.iter().filter_map(|(name, said)| Some((*name, said.as_deref()?))).collect();
    let items: Vec<Value> = client.first(LIST, &asked, limit as usize).await?;
    printer.list(&items, COLUMNS);
    Ok(())
}
