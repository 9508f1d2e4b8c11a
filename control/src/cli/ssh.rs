//! `gatehouse ssh-ca|ssh-host-key|ssh-grant|ssh-config …`.

use serde_json::{Value, json};

use super::args::ssh::{
    GateName, SshCaCommand, SshConfigArgs, SshGrantCommand, SshGrantFields, SshHostKeyCommand,
};
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{Column, Printer};
use super::{put, resolve, user};
use crate::auth::duration;

const CAS: &str = "/api/v1/ssh-cas";
const HOST_KEYS: &str = "/api/v1/ssh-host-keys";
const VMS: &str = "/api/v1/vms";
const CA_COLUMNS: &[Column] =
    &[("NAME", "name"), ("FINGERPRINT", "fingerprint"), ("ADDED", "created_at"), ("ID", "id")];
const KEY_COLUMNS: &[Column] =
    &[("STAGE", "stage"), ("FINGERPRINT", "fingerprint"), ("MADE", "created_at"), ("ID", "id")];
const GRANT_COLUMNS: &[Column] = &[
    ("VM", "vm_name"),
    ("NAMESPACE", "namespace"),
    ("PORTS", "ports"),
    ("UNTIL", "until"),
    ("ENDED", "ended"),
    ("ID", "id"),
];

pub(super) async fn ca(client: &Client, printer: &Printer, command: SshCaCommand) -> Result<(), Failure> {
    match command {
        SshCaCommand::Add { name, file } => {
            let key = user::read(&file)?;
            let made = client.post(CAS, &json!({ "name": name, "key": key.trim() })).await?.body;
            printer.done(&made, &format!("certificates of {name} log people in as the users they name"));
        }
        SshCaCommand::Ls => printer.list(&client.list(CAS, &[]).await?, CA_COLUMNS),
        SshCaCommand::Rm { authority } => {
            let gone = client.delete(&format!("{CAS}/{}", escape(&authority))).await?.body;
            printer.done(&gone, &format!("{authority} is believed no longer"));
        }
        SshCaCommand::Revoke { authority, serial, key_id, key } => {
            let keys = key.iter().map(|text| key_text(text)).collect::<Result<Vec<_>, _>>()?;
            let body = json!({ "serials": serial, "key_ids": key_id, "keys": keys });
            let changed = client.post(&format!("{CAS}/{}/revoke", escape(&authority)), &body).await?.body;
            printer.done(&changed, &format!("revoked; {authority} signs on"));
        }
    }
    Ok(())
}

/// A fingerprint as it is, or what a file holds.
fn key_text(text: &str) -> Result<String, Failure> {
    if text.starts_with("SHA256:") { Ok(text.to_owned()) } else { user::read(text.as_ref()) }
}

pub(super) async fn host_key(
    client: &Client,
    printer: &Printer,
    command: SshHostKeyCommand,
) -> Result<(), Failure> {
    match command {
        SshHostKeyCommand::Ls => printer.list(items(&shown(client).await?), KEY_COLUMNS),
        SshHostKeyCommand::Rotate { finish } => {
            let done = client.post(&format!("{HOST_KEYS}/rotate"), &json!({ "finish": finish })).await?.body;
            let sentence = if finish {
                "the next key is in use; the old one is forgotten"
            } else {
                "the next key is announced beside the current one; when clients have connected once, say rotate --finish"
            };
            printer.done(&done, sentence);
        }
        SshHostKeyCommand::Certify { name } => {
            let body = json!({ "names": name });
            let done = client.post(&format!("{HOST_KEYS}/certify"), &body).await?.body;
            let sentence = if name.is_empty() { "no name is certified".into() } else { name.join(", ") };
            printer.done(&done, &format!("certified: {sentence}"));
        }
        SshHostKeyCommand::KnownHosts(gate) => {
            printer.lines(&known_hosts(&shown(client).await?, &gate)?, "line");
        }
        SshHostKeyCommand::Sshfp(gate) => printer.lines(&records(&shown(client).await?, &gate)?, "line"),
        SshHostKeyCommand::CertAuthority(gate) => {
            printer.line(&cert_authority(&shown(client).await?, &gate)?, "line");
        }
        SshHostKeyCommand::UserCa => {
            printer.line(&json!({ "key": text(&shown(client).await?, "user_authority") }), "key");
        }
    }
    Ok(())
}

/// A line of known_hosts for each key.
fn known_hosts(keys: &Value, gate: &GateName) -> Result<Vec<Value>, Failure> {
    let hosts = patterns(keys, gate)?;
    let line = |item: &Value| {
        let key = text(item, "key");
        json!({ "hosts": hosts, "key": key, "stage": text(item, "stage"), "line": format!("{hosts} {key}") })
    };
    Ok(items(keys).iter().map(line).collect())
}

/// A record of DNS for each name and key; an address has none.
fn records(keys: &Value, gate: &GateName) -> Result<Vec<Value>, Failure> {
    let mut records = Vec::new();
    for host in names(keys, gate)?.iter().filter(|host| host.parse::<std::net::IpAddr>().is_err()) {
        let host = format!("{}.", host.trim_end_matches('.'));
        records.extend(items(keys).iter().map(|item| {
            let (data, stage) = (text(item, "sshfp"), text(item, "stage"));
            json!({ "name": host, "data": data, "stage": stage, "line": format!("{host} IN SSHFP {data}") })
        }));
    }
    Ok(records)
}

/// The line of known_hosts by which all keys are believed that the gate's authority signs.
fn cert_authority(keys: &Value, gate: &GateName) -> Result<Value, Failure> {
    let certified = keys.get("names").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    if !certified {
        let wanted = "no name of the gate is certified yet, so the line would help nobody; say gatehouse ssh-host-key certify NAME… first";
        return Err(Failure::failed(wanted));
    }
    let (hosts, key) = (patterns(keys, gate)?, text(keys, "host_authority"));
    Ok(json!({ "hosts": hosts, "key": key, "line": format!("@cert-authority {hosts} {key}") }))
}

async fn shown(client: &Client) -> Result<Value, Failure> {
    Ok(client.get(HOST_KEYS).await?.body)
}

fn items(keys: &Value) -> &[Value] {
    keys.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The names that were given, or those that are certified.
fn names(keys: &Value, gate: &GateName) -> Result<Vec<String>, Failure> {
    if !gate.host.is_empty() {
        return Ok(gate.host.clone());
    }
    let certified = keys.get("names").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = certified.filter_map(Value::as_str).map(str::to_owned).collect();
    if names.is_empty() {
        return Err(Failure::usage("say by which name people reach the gate: --host gate.example.com"));
    }
    Ok(names)
}

/// The names as known_hosts writes them (sshd(8)): with the port in brackets where it is not 22.
fn patterns(keys: &Value, gate: &GateName) -> Result<String, Failure> {
    let pattern =
        |host: &String| if gate.port == 22 { host.clone() } else { format!("[{host}]:{}", gate.port) };
    Ok(names(keys, gate)?.iter().map(pattern).collect::<Vec<_>>().join(","))
}

pub(super) async fn grant(
    client: &Client,
    printer: &Printer,
    command: SshGrantCommand,
) -> Result<(), Failure> {
    match command {
        SshGrantCommand::Add(fields) => add(client, printer, fields).await?,
        SshGrantCommand::Ls { user } => {
            let path = format!("{}/ssh-grants", user::path(client, &user).await?);
            printer.list(&client.list(&path, &[]).await?, GRANT_COLUMNS);
        }
        SshGrantCommand::Rm { user, grant } => {
            let path = format!("{}/ssh-grants/{}", user::path(client, &user).await?, escape(&grant));
            printer.done(&client.delete(&path).await?.body, &format!("{grant} taken from user {user}"));
        }
    }
    Ok(())
}

async fn add(client: &Client, printer: &Printer, fields: SshGrantFields) -> Result<(), Failure> {
    let mut body = json!({});
    if let Some(typed) = &fields.vm {
        let wanted = resolve::Wanted { noun: "VM", list: VMS, field: "name", typed };
        put(&mut body, "vm", Some(resolve::id(client, wanted, &[("namespace", None)]).await?));
    }
    put(&mut body, "namespace", fields.namespace);
    put(&mut body, "ports", fields.ports);
    put(&mut body, "until", fields.until.as_deref().map(until).transpose()?);
    put(&mut body, "note", fields.note);
    let path = format!("{}/ssh-grants", user::path(client, &fields.user).await?);
    let made = client.post(&path, &body).await?.body;
    printer.done(&made, &format!("user {} reaches ports {}", fields.user, text(&made, "ports")));
    Ok(())
}

/// A time, or so long from now, as RFC 3339.
pub(super) fn until(typed: &str) -> Result<String, Failure> {
    let Ok(seconds) = duration::parse(typed) else { return Ok(typed.to_owned()) };
    let span = i64::try_from(seconds).ok().map(jiff::SignedDuration::from_secs);
    let end = span.and_then(|span| jiff::Timestamp::now().checked_add(span).ok());
    let end = end.ok_or_else(|| Failure::usage(format!("{typed} from now is beyond all calendars")))?;
    Ok(end.to_string())
}

pub(super) async fn config(client: &Client, printer: &Printer, args: &SshConfigArgs) -> Result<(), Failure> {
    let gate = GateName { host: args.host.iter().cloned().collect(), port: args.port };
    let hosts = names(&shown(client).await?, &gate)?;
    let host = hosts.first().map(String::as_str).unwrap_or_default();
    let text = stanza(args, host, &client.list(VMS, &[]).await?);
    let SshConfigArgs { port, user, alias, .. } = args;
    printer.line(&json!({ "host": host, "port": port, "user": user, "alias": alias, "text": text }), "text");
    Ok(())
}

fn stanza(args: &SshConfigArgs, host: &str, vms: &[Value]) -> String {
    let SshConfigArgs { port, user, alias, .. } = args;
    let mut text = format!(
        "# The gate. It has no shell: it leads to machines, and your key says which.\nHost {alias}\n    \
         HostName {host}\n    Port {port}\n    User {user}\n    ForwardAgent no\n    UpdateHostKeys yes\n"
    );
    let words: Vec<String> = vms
        .iter()
        .filter_map(|vm| Some(format!("{}.{}", vm.get("name")?.as_str()?, vm.get("namespace")?.as_str()?)))
        .collect();
    if words.is_empty() {
        text.push_str(&format!("# ssh -J {alias} root@VM-NAME\n"));
    } else {
        text.push_str(&format!("Host {}\n    ProxyJump {alias}\n", words.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stanza_jumps_by_the_gate_to_each_machine() {
        let args = SshConfigArgs { host: None, port: 2222, user: "openidcs".into(), alias: "gate".into() };
        let vms = [json!({"name": "web", "namespace": "ns1"}), json!({"name": "db", "namespace": "ns2"})];
        let text = stanza(&args, "gate.example", &vms);
        assert!(text.contains("Host gate\n    HostName gate.example\n    Port 2222\n    User openidcs\n"));
        assert!(text.ends_with("Host web.ns1 db.ns2\n    ProxyJump gate\n"), "{text}");
        assert!(stanza(&args, "gate.example", &[]).contains("ssh -J gate root@VM-NAME"));
    }

    #[test]
    fn known_hosts_write_the_port_in_brackets_unless_it_is_ssh_s_own() {
        let keys = json!({ "names": ["gate.example", "192.0.2.1"] });
        let at = |port| patterns(&keys, &GateName { host: Vec::new(), port }).unwrap();
        assert_eq!(at(2222), "[gate.example]:2222,[192.0.2.1]:2222");
        assert_eq!(at(22), "gate.example,192.0.2.1");
        let nobody = patterns(&json!({ "names": [] }), &GateName { host: Vec::new(), port: 22 });
        assert!(nobody.unwrap_err().to_string().contains("--host"));
    }

    #[test]
    fn each_key_is_a_line_and_an_address_has_no_record() {
        let keys = json!({
            "names": ["gate.example", "192.0.2.1"],
            "items": [
                { "stage": "current", "key": "ssh-ed25519 AAAA", "sshfp": "4 2 ab" },
                { "stage": "next", "key": "ssh-ed25519 BBBB", "sshfp": "4 2 cd" },
            ],
            "host_authority": "ssh-ed25519 CCCC",
        });
        let gate = GateName { host: Vec::new(), port: 22 };
        let lines =
            |items: Vec<Value>| items.iter().map(|item| text(item, "line").to_owned()).collect::<Vec<_>>();
        assert_eq!(
            lines(known_hosts(&keys, &gate).unwrap()),
            ["gate.example,192.0.2.1 ssh-ed25519 AAAA", "gate.example,192.0.2.1 ssh-ed25519 BBBB"]
        );
        assert_eq!(
            lines(records(&keys, &gate).unwrap()),
            ["gate.example. IN SSHFP 4 2 ab", "gate.example. IN SSHFP 4 2 cd"]
        );
        let line = cert_authority(&keys, &gate).unwrap();
        assert_eq!(text(&line, "line"), "@cert-authority gate.example,192.0.2.1 ssh-ed25519 CCCC");
    }

    #[test]
    fn an_end_is_a_time_or_so_long_from_now() {
        assert_eq!(until("2030-01-31T18:00:00Z").unwrap(), "2030-01-31T18:00:00Z");
        let soon: jiff::Timestamp = until("8h").unwrap().parse().unwrap();
        assert!(soon > jiff::Timestamp::now());
    }
}
