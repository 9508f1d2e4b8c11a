//! How a console is shown. Its secret never is.

use serde::Serialize;
use utoipa::ToSchema;

use super::super::page::time;
use crate::store::console::ConsoleRow;
use crate::store::text;
use config::snapshot::ConsoleKind;

/// A console of a machine.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ConsoleView {
    /// Its id.
    pub id: String,
    /// The tenant that owns it: the VM's.
    pub namespace: String,
    /// The VM that it shows, as `NAME.NAMESPACE`.
    pub vm: String,
    /// Its id.
    pub vm_id: String,
    /// `vnc`, `ttyd`, `ssh` or `serial`.
    pub kind: String,
    /// Where it is; the VM's address unless root wrote another.
    pub address: String,
    /// The port there.
    pub port: u16,
    /// `tcp`, or `websocket` for what speaks WebSocket itself.
    pub wire: String,
    /// What a WebSocket is asked for.
    pub path: Option<String>,
    /// The account on the VM that a terminal by SSH logs in as.
    pub login: Option<String>,
    /// Whether a VNC password is kept; it is never shown.
    pub has_secret: bool,
    /// Whether nobody may do more than look.
    pub read_only: bool,
    /// What a change does to open sessions: `keep`, `cut` or `drain 30s`.
    pub on_change: String,
    /// What the deletion does to them.
    pub on_delete: String,
    /// Free text.
    pub note: String,
    /// Who made it.
    pub owner: Option<String>,
    /// Counts the changes; the ETag.
    pub revision: i64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// `NAME.NAMESPACE`.
pub(super) fn vm_text(row: &ConsoleRow) -> String {
    format!("{}.{}", row.vm.name, row.vm.namespace)
}

/// Shows a console.
pub fn of(row: &ConsoleRow) -> ConsoleView {
    ConsoleView {
        id: row.id.to_string(),
        namespace: row.namespace.to_string(),
        vm: vm_text(row),
        vm_id: row.vm.id.to_string(),
        kind: row.kind.name().to_owned(),
        address: row.ip().to_string(),
        port: row.port,
        wire: if row.path.is_some() { "websocket" } else { "tcp" }.to_owned(),
        path: row.path.clone(),
        login: (row.kind == ConsoleKind::Ssh).then(|| row.login().to_owned()),
        has_secret: row.secret_sealed.is_some(),
        read_only: row.read_only,
        on_change: text::policy_text(row.on_change),
        on_delete: text::policy_text(row.on_delete),
        note: row.note.clone(),
        owner: row.owner.clone(),
        revision: row.stamp.revision,
        created_at: time(row.stamp.created_at),
        updated_at: time(row.stamp.updated_at),
    }
}
