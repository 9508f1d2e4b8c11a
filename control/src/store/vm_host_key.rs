//! The host keys that VMs' SSH servers have shown.

use config::id::VmId;
use config::snapshot::PinState;

use super::conn::{Conn, Row, args};
use super::{Error, text};

/// One host key of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmHostKeyRow {
    /// The VM.
    pub vm: VmId,
    /// `SHA256:…`, as OpenSSH prints it.
    pub fingerprint: String,
    /// The public key in SSH wire form.
    pub blob: Vec<u8>,
    /// Whether it is believed.
    pub state: PinState,
    /// When it was first shown, in microseconds UTC.
    pub seen_at: i64,
}

/// The word for a state.
pub const fn word(state: PinState) -> &'static str {
    match state {
        PinState::Accepted => "accepted",
        PinState::Refused => "refused",
    }
}

fn state(text: &str) -> Result<PinState, String> {
    match text {
        "accepted" => Ok(PinState::Accepted),
        "refused" => Ok(PinState::Refused),
        other => Err(format!("{other:?} is no state of a host key")),
    }
}

fn read(row: &Row) -> Result<VmHostKeyRow, Error> {
    const TABLE: &str = "vm_host_keys";
    let id = |text: &str| text.parse::<VmId>();
    let vm = row.text("vm_id")?;
    let damaged = |why: String| Error::Damaged { table: TABLE, id: vm.clone(), why };
    Ok(VmHostKeyRow {
        vm: id(&vm).map_err(|error| damaged(error.to_string()))?,
        fingerprint: row.text("fingerprint")?,
        blob: text::unbase64(&row.text("blob")?).map_err(damaged)?,
        state: state(&row.text("state")?).map_err(damaged)?,
        seen_at: row.int("seen_at")?,
    })
}

macro_rules! columns {
    () => {
        "SELECT vm_id, fingerprint, blob, state, seen_at FROM vm_host_keys"
    };
}

/// Adds one.
pub async fn insert(conn: &mut Conn, key: &VmHostKeyRow) -> Result<(), Error> {
    let sql =
        "INSERT INTO vm_host_keys (vm_id, fingerprint, blob, state, seen_at) VALUES ($1, $2, $3, $4, $5)";
    let args =
        args![key.vm.to_string(), &key.fingerprint, text::base64(&key.blob), word(key.state), key.seen_at];
    conn.run(sql, &args).await.map(drop)
}

/// Says whether one is believed.
pub async fn judge(conn: &mut Conn, key: &VmHostKeyRow, state: PinState) -> Result<(), Error> {
    let sql = "UPDATE vm_host_keys SET state = $3 WHERE vm_id = $1 AND fingerprint = $2";
    conn.run(sql, &args![key.vm.to_string(), &key.fingerprint, word(state)]).await.map(drop)
}

/// Forgets one.
pub async fn delete(conn: &mut Conn, key: &VmHostKeyRow) -> Result<(), Error> {
    let sql = "DELETE FROM vm_host_keys WHERE vm_id = $1 AND fingerprint = $2";
    conn.run(sql, &args![key.vm.to_string(), &key.fingerprint]).await.map(drop)
}

/// Forgets those of a VM that goes.
pub async fn delete_of_vm(conn: &mut Conn, vm: VmId) -> Result<(), Error> {
    conn.run("DELETE FROM vm_host_keys WHERE vm_id = $1", &args![vm.to_string()]).await.map(drop)
}

/// Those of a VM, in the order they were seen; bounded where they are added.
pub async fn of_vm(conn: &mut Conn, vm: VmId) -> Result<Vec<VmHostKeyRow>, Error> {
    let sql = concat!(columns!(), " WHERE vm_id = $1 ORDER BY seen_at, fingerprint");
    conn.rows(sql, &args![vm.to_string()]).await?.iter().map(read).collect()
}

/// All of them, VM by VM.
pub async fn all(conn: &mut Conn) -> Result<Vec<VmHostKeyRow>, Error> {
    let sql = concat!(columns!(), " ORDER BY vm_id, seen_at, fingerprint");
    conn.rows(sql, &[]).await?.iter().map(read).collect()
}
