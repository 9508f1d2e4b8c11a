//! What people reach by SSH beyond their role.

use config::id::{UserId, VmId};
use config::name::Namespace;
use config::snapshot::{Ports, SshScope};
use uuid::Uuid;

use super::conn::{Conn, Row, args};
use super::select::{Select, Slice};
use super::{Error, Stamp, text};

/// One grant.
#[derive(Debug, Clone)]
pub struct SshGrantRow {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub user: UserId,
    /// Which machines.
    pub scope: SshScope,
    /// Which ports.
    pub ports: Vec<Ports>,
    /// When it ends, in microseconds UTC.
    pub until: Option<i64>,
    /// Free text.
    pub note: String,
    /// Revision and times.
    pub stamp: Stamp,
}

macro_rules! columns {
    () => {
        "SELECT id, user_id, vm_id, namespace, ports, until, note, revision, created_at, updated_at FROM ssh_grants \
         WHERE deleted_at IS NULL"
    };
}

/// Ports as people write them: `22,8000-8010`.
pub fn ports_text(ports: &[Ports]) -> String {
    let words: Vec<String> = ports
        .iter()
        .map(
            |Ports { first, last }| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        )
        .collect();
    words.join(",")
}

/// Reads what [`ports_text`] writes.
pub fn ports(text: &str) -> Result<Vec<Ports>, String> {
    let number = |word: &str| {
        word.trim().parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(|| {
            let shown: String = word.trim().chars().take(20).collect();
            format!("{shown:?} is no port; ports are 1 to 65535, one (22) or a row of them (8000-8010)")
        })
    };
    let row = |word: &str| match word.split_once('-') {
        None => number(word).map(|port| Ports { first: port, last: port }),
        Some((first, last)) => {
            let row = Ports { first: number(first)?, last: number(last)? };
            if row.is_empty() { Err(format!("{word}: the first port comes after the last")) } else { Ok(row) }
        }
    };
    text.split(',').map(row).collect()
}

fn read(row: &Row) -> Result<SshGrantRow, Error> {
    const TABLE: &str = "ssh_grants";
    let scope = if row.text_or("vm_id")?.is_some() {
        SshScope::Vm(text::parsed(row, TABLE, "vm_id", str::parse::<VmId>)?)
    } else {
        SshScope::Namespace(text::parsed(row, TABLE, "namespace", Namespace::parse)?)
    };
    Ok(SshGrantRow {
        id: text::parsed(row, TABLE, "id", str::parse)?,
        user: text::parsed(row, TABLE, "user_id", str::parse)?,
        scope,
        ports: text::parsed(row, TABLE, "ports", ports)?,
        until: row.int_or("until")?,
        note: row.text("note")?,
        stamp: Stamp::of(row)?,
    })
}

/// Adds one.
pub async fn insert(conn: &mut Conn, grant: &SshGrantRow) -> Result<(), Error> {
    let sql = "INSERT INTO ssh_grants (id, user_id, vm_id, namespace, ports, until, note, revision, created_at, \
               updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let (vm, namespace) = match &grant.scope {
        SshScope::Vm(vm) => (Some(vm.to_string()), None),
        SshScope::Namespace(namespace) => (None, Some(namespace.to_string())),
    };
    let args = args![
        grant.id.to_string(),
        grant.user.to_string(),
        vm,
        namespace,
        ports_text(&grant.ports),
        grant.until,
        &grant.note,
        grant.stamp.revision,
        grant.stamp.created_at,
        grant.stamp.updated_at,
    ];
    conn.run(sql, &args).await.map(drop)
}

/// Takes one away.
pub async fn delete(conn: &mut Conn, id: Uuid, now: i64) -> Result<(), Error> {
    let sql = "UPDATE ssh_grants SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![id.to_string(), now]).await.map(drop)
}

/// Takes those of a VM away.
pub async fn delete_of_vm(conn: &mut Conn, vm: VmId, now: i64) -> Result<(), Error> {
    let sql = "UPDATE ssh_grants SET deleted_at = $2 WHERE vm_id = $1 AND deleted_at IS NULL";
    conn.run(sql, &args![vm.to_string(), now]).await.map(drop)
}

/// Whose grants name this VM; each once.
pub async fn holders(conn: &mut Conn, vm: VmId) -> Result<Vec<UserId>, Error> {
    let sql =
        "SELECT DISTINCT user_id FROM ssh_grants WHERE vm_id = $1 AND deleted_at IS NULL ORDER BY user_id";
    let rows = conn.rows(sql, &args![vm.to_string()]).await?;
    rows.iter().map(|row| text::parsed(row, "ssh_grants", "user_id", str::parse)).collect()
}

/// All of a user; at most [`config::limits::SSH_GRANTS_MAX`].
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<Vec<SshGrantRow>, Error> {
    let slice = Slice { after: None, limit: config::limits::SSH_GRANTS_MAX, namespaces: None };
    let select = Select::new(columns!()).and("user_id =", Some(user.to_string())).slice("id", &slice, false);
    select.rows(conn).await?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written() {
        assert_eq!(ports_text(&ports("22, 8000-8010").unwrap()), "22,8000-8010");
        for (text, part) in [
            ("", "is no port"),
            ("0", "is no port"),
            ("65536", "is no port"),
            ("ssh", "\"ssh\" is no port"),
            ("9-8", "comes after"),
            ("1-", "is no port"),
            ("22,,23", "is no port"),
        ] {
            assert!(ports(text).unwrap_err().contains(part), "{text}");
        }
    }
}
