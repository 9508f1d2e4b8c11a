//! `gatehouse cert …`.

mod wait;

use std::io::Read as _;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::args::cert::{AddArgs, CertCommand, CsrArgs, FileArgs, RenewArgs};
use super::client::{Client, escape};
use super::failure::Failure;
use super::output::{self, Column, Printer};
use super::{put, resolve};

const LIST: &str = "/api/v1/certificates";
const COLUMNS: &[Column] = &[
    ("NAME", "name"),
    ("SOURCE", "source"),
    ("STATUS", "status"),
    ("DAYS", "left"),
    ("NAMES", "names"),
    ("USED BY", "used_by"),
    ("NAMESPACE", "namespace"),
    ("ID", "id"),
];
/// The password of a PKCS#12 archive.
const PASSWORD: &str = "GATEHOUSE_CERT_PASSWORD";

pub(super) async fn run(client: &Client, printer: &Printer, command: CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Add(arguments) => add(client, printer, *arguments).await,
        CertCommand::Import { certificate, files } => {
            let body = brought(&files)?;
            let changed = client.patch(&path(client, &certificate).await?, &body).await?.body;
            warn(&changed);
            printer.done(&changed, &format!("certificate {certificate} replaced{}", until(&changed)));
            Ok(())
        }
        CertCommand::Csr(arguments) => csr(client, printer, *arguments).await,
        CertCommand::Load { certificate, file, chain } => {
            let mut body = json!({ "certificate": read(&file)? });
            put(&mut body, "certificate_chain", chain.as_deref().map(read).transpose()?);
            let path = format!("{}/load", path(client, &certificate).await?);
            let loaded = client.post(&path, &body).await?.body;
            warn(&loaded);
            printer.done(&loaded, &format!("certificate {certificate} loaded{}", until(&loaded)));
            Ok(())
        }
        CertCommand::Ls { namespace, source, status, days } => {
            let days = days.map(|days| days.to_string());
            let said = [("namespace", &namespace), ("source", &source), ("status", &status), ("days", &days)];
            let filters: Vec<_> =
                said.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
            let mut items = client.list(LIST, &filters).await?;
            items.iter_mut().for_each(mark);
            printer.list(&items, COLUMNS);
            Ok(())
        }
        CertCommand::Show { certificate, part } => {
            let shown = client.get(&path(client, &certificate).await?).await?.body;
            show(printer, &shown, part.as_deref())
        }
        CertCommand::Renew(arguments) => renew(client, printer, &arguments).await,
        CertCommand::Revoke { certificate, reason } => {
            let path = format!("{}/revoke", path(client, &certificate).await?);
            let mut body = json!({});
            put(&mut body, "reason", reason);
            let revoked = client.post(&path, &body).await?.body;
            printer.done(&revoked, &format!("certificate {certificate} revoked"));
            Ok(())
        }
        CertCommand::Rm { certificate, force } => {
            let path = path(client, &certificate).await?;
            let query = if force { "?force=true" } else { "" };
            let gone = client.send(Method::DELETE, &format!("{path}{query}"), None, None).await?.body;
            printer.done(&gone, &format!("certificate {certificate} deleted"));
            Ok(())
        }
    }
}

async fn add(client: &Client, printer: &Printer, arguments: AddArgs) -> Result<(), Failure> {
    let is_order = !arguments.acme.is_empty();
    let mut body = if is_order {
        json!({ "source": "acme", "names": arguments.acme })
    } else {
        brought(&arguments.files)?
    };
    put(&mut body, "account", arguments.account);
    put(&mut body, "challenge", arguments.challenge);
    put(&mut body, "key_type", arguments.key_type);
    put(&mut body, "name", arguments.name);
    put(&mut body, "namespace", arguments.namespace);
    put(&mut body, "note", arguments.note);
    let mut made = client.post(LIST, &body).await?.body;
    warn(&made);
    let mut what = if is_order { "is ordered" } else { "added" };
    if arguments.wait {
        (made, what) = (wait::wait(client, text(&made, "id"), printer.is_quiet()).await?, "is in force");
    }
    printer.done(&made, &format!("certificate {} {what}{}", text(&made, "name"), until(&made)));
    Ok(())
}

async fn csr(client: &Client, printer: &Printer, arguments: CsrArgs) -> Result<(), Failure> {
    let mut subject = json!({});
    put(&mut subject, "common_name", arguments.cn);
    put(&mut subject, "organization", arguments.org);
    put(&mut subject, "organizational_unit", arguments.unit);
    put(&mut subject, "locality", arguments.locality);
    put(&mut subject, "state", arguments.state);
    put(&mut subject, "country", arguments.country);
    let mut body = json!({ "source": "csr", "csr": subject });
    put(&mut body, "names", (!arguments.san.is_empty()).then_some(arguments.san));
    put(&mut body, "key_type", arguments.key_type);
    put(&mut body, "name", arguments.name);
    put(&mut body, "namespace", arguments.namespace);
    let made = client.post(LIST, &body).await?.body;
    match printer.form() {
        super::args::Form::Table => {
            printer.text(text(&made, "certificate_signing_request"));
            let how = "have it signed, then: gatehouse cert load";
            output::err(&format!(
                "certificate {} waits; {how} {} --cert FILE\n",
                text(&made, "name"),
                text(&made, "id")
            ));
        }
        super::args::Form::Json | super::args::Form::Yaml => printer.object(&made),
    }
    Ok(())
}

fn show(printer: &Printer, shown: &Value, part: Option<&str>) -> Result<(), Failure> {
    let Some(part) = part else {
        let mut shown = shown.clone();
        // Pages of PEM bury the rest; `--part` prints them.
        if printer.form() == super::args::Form::Table
            && let Some(members) = shown.as_object_mut()
        {
            members.remove("certificate_chain");
            members.remove("certificate_signing_request");
        }
        printer.object(&shown);
        return Ok(());
    };
    let pem = match part {
        "certificate_chain" | "certificate_signing_request" => text(shown, part).to_owned(),
        "certificate" => {
            const END: &str = "-----END CERTIFICATE-----\n";
            let chain = text(shown, "certificate_chain");
            chain.find(END).and_then(|end| chain.get(..end + END.len())).unwrap_or_default().to_owned()
        }
        "private_key" => return Err(Failure::failed("private keys are never shown")),
        other => {
            let known = "certificate_chain, certificate or certificate_signing_request";
            return Err(Failure::usage(format!("--part {other}: write {known}")));
        }
    };
    if pem.is_empty() {
        return Err(Failure::failed(format!("the certificate has no {part} yet")));
    }
    printer.text(&pem);
    Ok(())
}

async fn renew(client: &Client, printer: &Printer, arguments: &RenewArgs) -> Result<(), Failure> {
    let mut ids = Vec::new();
    if arguments.names.is_empty() {
        for one in client.list(LIST, &[]).await? {
            let renews_itself = text(&one, "source") == "self-signed" || text(&one, "source") == "acme";
            if renews_itself && text(&one, "status") != "revoked" {
                ids.push(text(&one, "id").to_owned());
            }
        }
    }
    for name in &arguments.names {
        let path = path(client, name).await?;
        ids.push(path.rsplit('/').next().unwrap_or_default().to_owned());
    }
    let mut done = Vec::with_capacity(ids.len());
    for id in ids {
        let path = format!("{LIST}/{}", escape(&id));
        let before = client.get(&path).await?.body;
        let mut after =
            client.post(&format!("{path}/renew"), &json!({ "force": arguments.force })).await?.body;
        let name = text(&after, "name").to_owned();
        let said = if before.get("revision") == after.get("revision") {
            format!("{name}: not due{}; --force renews it all the same", until(&after))
        } else if text(&after, "source") == "acme" && arguments.wait {
            after = wait::wait(client, &id, printer.is_quiet()).await?;
            format!("{name}: renewed{}", until(&after))
        } else if text(&after, "source") == "acme" {
            format!("{name}: is ordered; `gatehouse cert show {name}` says how it goes")
        } else {
            format!("{name}: renewed{}", until(&after))
        };
        if printer.form() == super::args::Form::Table {
            printer.done(&after, &said);
        }
        done.push(after);
    }
    if printer.form() != super::args::Form::Table {
        printer.object(&Value::Array(done));
    }
    Ok(())
}

/// Days with a mark where somebody should look.
fn mark(item: &mut Value) {
    let days = item.get("days").and_then(Value::as_i64);
    let warns = item.get("warning").is_some_and(|warning| !warning.is_null());
    let left = match days {
        None if warns => "- !".to_owned(),
        None => "-".to_owned(),
        Some(days) if warns => format!("{days} !"),
        Some(days) => days.to_string(),
    };
    put(item, "left", Some(left));
}

fn warn(answer: &Value) {
    for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        output::err(&format!("gatehouse: warning: {}\n", warning.as_str().unwrap_or_default()));
    }
}

fn until(answer: &Value) -> String {
    match answer.get("days").and_then(Value::as_i64) {
        Some(days) => format!(", good for {days} days"),
        None => String::new(),
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

async fn path(client: &Client, typed: &str) -> Result<String, Failure> {
    let wanted = resolve::Wanted { noun: "certificate", list: LIST, field: "name", typed };
    Ok(format!("{LIST}/{}", resolve::id(client, wanted, &[]).await?))
}

/// The files that were named, in the members of a body.
fn brought(files: &FileArgs) -> Result<Value, Failure> {
    let mut body = json!({});
    let mut named: Vec<&Path> = files.cert.iter().map(AsRef::as_ref).collect();
    named.extend(files.file.iter().map(AsRef::<Path>::as_ref));
    let mut members = ["certificate", "certificate_chain", "private_key"].into_iter();
    if files.chain.is_some() || files.key.is_some() {
        let [one] = named.as_slice() else {
            return Err(Failure::usage("name the certificate once: --cert FILE --chain FILE --key FILE"));
        };
        put(&mut body, "certificate", Some(read(one)?));
        put(&mut body, "certificate_chain", files.chain.as_deref().map(read).transpose()?);
        put(&mut body, "private_key", files.key.as_deref().map(read).transpose()?);
    } else {
        if named.is_empty() {
            return Err(Failure::usage("name the files to bring, or order with --acme NAME"));
        }
        for file in named {
            let Some(member) = members.next() else {
                return Err(Failure::usage("at most three files: certificate, chain and key"));
            };
            put(&mut body, member, Some(read(file)?));
        }
    }
    put(&mut body, "password", password(files)?);
    Ok(body)
}

fn password(files: &FileArgs) -> Result<Option<String>, Failure> {
    if let Some(file) = &files.password_file {
        let text = super::sources::read_text(file);
        let text = text.map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()))
}

/// A file as the API takes it: PEM as it is, anything else as base64.
pub(super) fn read(file: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", file.display()));
    let most = config::limits::API_BODY_BYTES_MAX as u64;
    let mut bytes = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().take(most).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(file).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN ") => Ok(text),
        Ok(text) => Ok(data_encoding::BASE64.encode(text.as_bytes())),
        Err(error) => Ok(data_encoding::BASE64.encode(error.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_marked_where_somebody_should_look() {
        for (item, left) in [
            (json!({"days": 80, "warning": null}), "80"),
            (json!({"days": 12, "warning": "it ends in 12 days"}), "12 !"),
            (json!({"days": null, "warning": "the last try failed"}), "- !"),
            (json!({"days": null, "warning": null}), "-"),
        ] {
            let mut item = item;
            mark(&mut item);
            assert_eq!(item["left"], left);
        }
    }

    #[test]
    fn files_go_into_the_members_they_are_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (pem, archive) = (file("a", b"-----BEGIN CERTIFICATE-----\n"), file("b", &[0x30, 0x82, 0xff]));
        let files = FileArgs { cert: Some(pem.clone()), key: Some(pem.clone()), ..FileArgs::default() };
        let body = brought(&files).unwrap();
        assert_eq!(body["certificate"], body["private_key"]);
        assert!(body.get("certificate_chain").is_none());
        let body = brought(&FileArgs { file: vec![archive], ..FileArgs::default() }).unwrap();
        assert_eq!(body["certificate"], "MIL/");
        assert!(brought(&FileArgs::default()).is_err());
    }
}
