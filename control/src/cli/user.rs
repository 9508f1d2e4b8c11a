//! `gatehouse user …` and `gatehouse user key …`.

use std::path::Path;

use serde_json::{Value, json};

use super::args::user::SshLimits;
use super::args::{KeyCommand, UserCommand};
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{Column, Printer};
use super::{put, resolve};

const LIST: &str = "/api/v1/users";
const COLUMNS: &[Column] = &[("NAME", "name"), ("GRANT", "grant"), ("ENABLED", "enabled"), ("ID", "id")];
const KEY_COLUMNS: &[Column] =
    &[("FINGERPRINT", "fingerprint"), ("TYPE", "algorithm"), ("COMMENT", "comment"), ("ID", "id")];

pub(super) async fn run(client: &Client, printer: &Printer, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Create { name, grant, enabled, ssh } => {
            let mut body = json!({ "name": name });
            put(&mut body, "grant", grant);
            put(&mut body, "enabled", enabled.map(super::args::Switch::is_on));
            put_limits(&mut body, ssh)?;
            let made = client.post(LIST, &body).await?.body;
            printer.done(&made, &format!("user {name} created"));
        }
        UserCommand::List => printer.list(&client.list(LIST, &[]).await?, COLUMNS),
        UserCommand::Show { user } => printer.object(&client.get(&path(client, &user).await?).await?.body),
        UserCommand::Update { user, grant, enabled, ssh } => {
            let mut body = json!({});
            put(&mut body, "grant", grant);
            put(&mut body, "enabled", enabled.map(super::args::Switch::is_on));
            put_limits(&mut body, ssh)?;
            if body == json!({}) {
                return Err(Failure::usage("nothing to change was given"));
            }
            let changed = client.patch(&path(client, &user).await?, &body).await?.body;
            printer.done(&changed, &format!("user {user} changed"));
        }
        UserCommand::Delete { user } => {
            let gone = client.delete(&path(client, &user).await?).await?.body;
            printer.done(&gone, &format!("user {user} deleted"));
        }
        UserCommand::Key(command) => key(client, printer, command).await?,
    }
    Ok(())
}

async fn key(client: &Client, printer: &Printer, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Add { user, file } => {
            let text = read(&file)?;
            let lines = key_lines(&text);
            if lines.is_empty() {
                return Err(Failure::failed(format!("{} holds no public key", file.display())));
            }
            let keys = format!("{}/keys", path(client, &user).await?);
            if lines.len() > 1 {
                let done =
                    client.post(&format!("{keys}/import"), &json!({ "authorized_keys": text })).await?.body;
                printer.done(&done, &format!("{} added to user {user}", imported(&done)));
                return Ok(());
            }
            for line in lines {
                let made = client.post(&keys, &json!({ "key": line })).await?.body;
                let fingerprint = made.get("fingerprint").and_then(Value::as_str).unwrap_or("key").to_owned();
                printer.done(&made, &format!("{fingerprint} added to user {user}"));
            }
        }
        KeyCommand::Ls { user } => {
            let keys = client.list(&format!("{}/keys", path(client, &user).await?), &[]).await?;
            printer.list(&keys, KEY_COLUMNS);
        }
        KeyCommand::Rm { user, key } => {
            let keys = format!("{}/keys", path(client, &user).await?);
            let found = client.list(&keys, &[]).await?;
            let id = found
                .iter()
                .find(|item| {
                    ["id", "fingerprint"].iter().any(|f| item.get(f).and_then(Value::as_str) == Some(&key))
                })
                .and_then(|item| item.get("id").or_else(|| item.get("fingerprint")))
                .and_then(Value::as_str)
                .ok_or_else(|| Failure::failed(format!("user {user} has no key {key:?}")))?;
            let gone = client.delete(&format!("{keys}/{}", escape(id))).await?.body;
            printer.done(&gone, &format!("{key} taken from user {user}"));
        }
    }
    Ok(())
}

/// How many keys an import brought: `3 keys, 1 was there already`.
fn imported(done: &Value) -> String {
    let count = |field: &str| done.get(field).and_then(Value::as_array).map_or(0, Vec::len);
    match count("unchanged") {
        0 => format!("{} keys", count("items")),
        held => format!("{} keys ({held} were there already)", count("items")),
    }
}

fn put_limits(body: &mut Value, limits: SshLimits) -> Result<(), Failure> {
    match limits.ssh_until.as_deref() {
        Some("never") => {
            if let Some(members) = body.as_object_mut() {
                members.insert("ssh_until".into(), Value::Null);
            }
        }
        Some(typed) => put(body, "ssh_until", Some(super::ssh::until(typed)?)),
        None => {}
    }
    put(body, "ssh_sessions_max", limits.ssh_sessions);
    Ok(())
}

/// The lines of an authorized_keys file that hold keys.
fn key_lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

pub(super) fn read(file: &Path) -> Result<String, Failure> {
    if file.as_os_str() == "-" {
        return super::read_input(std::io::stdin(), "standard input");
    }
    let name = file.display().to_string();
    let opened = std::fs::File::open(file).map_err(|e| Failure::failed(format!("{name}: {e}")))?;
    let text = super::read_input(opened, &name)?;
    // The wrong file of the two is the commonest slip, and this one must not travel.
    if text.contains("PRIVATE KEY") {
        return Err(Failure::failed(format!("{name} is a private key; give the public one, {name}.pub")));
    }
    Ok(text)
}

pub(super) async fn path(client: &Client, user: &str) -> Result<String, Failure> {
    let wanted = resolve::Wanted { noun: "user", list: LIST, field: "name", typed: user };
    Ok(format!("{LIST}/{}", resolve::id(client, wanted, &[]).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_empty_lines_are_no_keys() {
        assert_eq!(key_lines("# mine\n\nssh-ed25519 AAAA me\n  \n"), ["ssh-ed25519 AAAA me"]);
    }

    #[test]
    fn a_private_key_is_refused_before_it_travels() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        std::fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("private key"));
    }
}
