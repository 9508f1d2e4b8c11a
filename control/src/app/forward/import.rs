//! Many forwards at once: all lines of a file or none, in one transaction and one generation.

use config::grant::Role;
use config::name::Namespace;
use config::snapshot::Generation;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::change::{Change, Scope};
use super::super::route::target::Refused;
use super::super::{App, Caller, Error, Violation};
use super::csv::{self, Line, wrong};
use super::ports::{self, OwnListener};
use super::{blank, note, publish, target, view};
use crate::auth::rbac::{Action, Resource};
use crate::store::forward::{Filter, ForwardRow, Leads};
use crate::store::{self, Slice, text};

/// What was asked besides the file.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The tenant; where the caller is at home when absent.
    pub namespace: Option<String>,
    /// Whether nothing is to be made.
    pub dry_run: bool,
}

/// What an import made, or would make.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImportView {
    /// Whether nothing was made.
    pub dry_run: bool,
    /// How many forwards were made: all of the file's, or none of a dry run.
    pub imported: usize,
    /// The generation that has them; null for a dry run.
    pub generation: Option<u64>,
    /// Each line.
    pub lines: Vec<ImportLine>,
    /// What somebody should look at.
    pub warnings: Vec<String>,
}

/// One line of an import.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImportLine {
    /// Its number in the file, from 1.
    pub line: u64,
    /// The forward that it became; null for a dry run.
    pub id: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// A port, or a row of them.
    pub host_port: String,
    /// The VM, as `NAME.NAMESPACE`; null for an address that root wrote.
    pub vm: Option<String>,
    /// The address that it leads to.
    pub vm_ip: String,
    /// A port, or a row of them.
    pub vm_port: String,
    /// Free text.
    pub note: String,
}

/// Makes the forwards of a file.
///
/// Errors: every line that cannot be, with its number and reason; nothing is made then.
pub async fn import(app: &App, caller: &Caller, asked: &Asked, bytes: &[u8]) -> Result<ImportView, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let named = asked.namespace.as_deref().unwrap_or_else(|| caller.home_as(Role::Operator));
    let namespace = Namespace::parse(named).map_err(|why| {
        Error::Invalid(vec![Violation::new("namespace", "invalid", format!("namespace: {why}"))])
    })?;
    caller.allow(Action::Create, Resource::Forward(&namespace))?;
    let (lines, mut violations) = csv::parse(bytes);
    let mut change = app.begin(caller, Scope::Published).await?;
    let own = ports::own(app);
    let mut rows: Vec<ForwardRow> = Vec::with_capacity(lines.len());
    for (place, line) in lines.iter().enumerate() {
        let row = ForwardRow {
            transport: line.transport,
            ports: line.ports,
            target_port: line.target_port,
            note: line.note.clone(),
            ..blank(namespace.clone(), caller, change.now())
        };
        let before = lines.get(..place).unwrap_or_default();
        match resolve(app, &mut change, (row, line), (before, &own)).await? {
            Ok(row) => rows.push(row),
            Err(found) => violations.extend(found),
        }
    }
    if !violations.is_empty() {
        violations.sort_by_key(|violation| {
            violation.field.strip_prefix("line ").and_then(|number| number.parse::<u64>().ok())
        });
        return Err(Error::Invalid(violations));
    }
    let generation = if asked.dry_run { None } else { Some(make(change, &rows).await?) };
    Ok(shown(asked, generation, &lines, &rows))
}

/// Says where a line leads and whether its ports are free, or everything that is wrong.
async fn resolve(
    app: &App,
    change: &mut Change<'_>,
    (mut row, line): (ForwardRow, &Line),
    (before, own): (&[Line], &[OwnListener]),
) -> Result<Result<ForwardRow, Vec<Violation>>, Error> {
    let caller = change.caller().clone();
    let mut violations = Vec::new();
    let found = target::by_address(change.conn(), &caller, line.vm_ip).await.map_err(|wrong| wrong.why);
    match found.and_then(|leads: Leads| target::check(app, &leads, row.target_ports()).map(|()| leads)) {
        Ok(leads) => row.leads = leads,
        Err(Refused::Rule(code, message)) => violations.push(wrong(line.number, code, message)),
        Err(Refused::Denied(_)) => {
            let message = format!("{} is the address of no VM of yours", line.vm_ip);
            violations.push(wrong(line.number, "denied", message));
        }
        Err(Refused::Store(error)) => return Err(error),
    }
    // Quadratic, but over numbers and at most FORWARD_IMPORT_ROWS_MAX of them.
    let twin =
        before.iter().find(|other| other.transport == row.transport && other.ports.overlaps(row.ports));
    if let Some(twin) = twin {
        let port = row.ports.first.max(twin.ports.first);
        let message =
            format!("{port}/{} is on line {} already", text::transport_text(row.transport), twin.number);
        violations.push(wrong(line.number, "repeated", message));
    }
    if let Some(message) = ports::forbidden(app, &caller, row.ports) {
        violations.push(wrong(line.number, "range", message));
    }
    if let Some(message) = ports::conflict(change.conn(), &caller, &row, own).await? {
        violations.push(wrong(line.number, "taken", message));
    }
    Ok(if violations.is_empty() { Ok(row) } else { Err(violations) })
}

async fn make(mut change: Change<'_>, rows: &[ForwardRow]) -> Result<Generation, Error> {
    for row in rows {
        store::forward::insert(change.conn(), row).await?;
        publish(&mut change, row);
        change.audit(note("create", row), None, Some(&view::of(row))).await?;
    }
    change.commit().await
}

fn shown(asked: &Asked, generation: Option<Generation>, lines: &[Line], rows: &[ForwardRow]) -> ImportView {
    let mut warnings = Vec::new();
    let mut one = |(line, row): (&Line, &ForwardRow)| {
        let view = view::of(row);
        warnings.extend(view.warnings.into_iter().map(|said| format!("line {}: {said}", line.number)));
        ImportLine {
            line: line.number,
            id: generation.map(|_| view.id),
            protocol: view.protocol,
            host_port: ports::text(row.ports),
            vm: view.vm,
            vm_ip: view.vm_ip,
            vm_port: ports::text(row.target_ports()),
            note: view.note,
        }
    };
    let lines: Vec<_> = lines.iter().zip(rows).map(&mut one).collect();
    ImportView {
        dry_run: asked.dry_run,
        imported: generation.map_or(0, |_| rows.len()),
        generation: generation.map(|generation| generation.0),
        lines,
        warnings,
    }
}

/// Rows read at a time.
const BATCH: usize = 500;

/// Every forward that the caller may see, as CSV, in the order in which they were made.
pub async fn export(app: &App, caller: &Caller, filter: &Filter) -> Result<Vec<u8>, Error> {
    caller.allow(Action::Read, Resource::Whoami)?;
    let mut slice = Slice { after: None, limit: BATCH, namespaces: caller.visible(Role::Guest)? };
    let mut conn = app.db.read().await?;
    let mut rows = Vec::new();
    loop {
        let batch = store::forward::list(&mut conn, filter, &slice).await?;
        let Some(last) = batch.last() else { break };
        slice.after = Some(last.id.to_string());
        rows.extend(batch);
    }
    csv::write(&rows).map_err(|error| Error::Internal(error.to_string()))
}
