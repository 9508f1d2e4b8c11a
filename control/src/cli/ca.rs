//! `gatehouse ca …`.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use serde_json::{Value, json};

use super::args::cert::CaCommand;
use super::cert::read;
use super::client::Client;
use super::failure::Failure;
use super::output::Printer;

const CA: &str = "/api/v1/ca";

/// Where systems keep authorities that their administrator added, and what makes them take notice.
const STORES: &[(&str, &str, &[&str])] = &[
    ("/usr/local/share/ca-certificates", "gatehouse.crt", &["update-ca-certificates"]),
    ("/etc/pki/ca-trust/source/anchors", "gatehouse.pem", &["update-ca-trust", "extract"]),
    ("/etc/ca-certificates/trust-source/anchors", "gatehouse.crt", &["trust", "extract-compat"]),
];

pub(super) async fn run(client: &Client, printer: &Printer, command: CaCommand) -> Result<(), Failure> {
    match command {
        CaCommand::Show => printer.text(&client.get(CA).await?.text),
        CaCommand::Trust { dry_run } => trust(printer, &client.get(CA).await?.text, dry_run)?,
        CaCommand::Import { cert, key, chain } => {
            let chain = chain.as_deref().map(read).transpose()?;
            let body = match chain {
                Some(chain) => {
                    json!({ "certificate": read(&cert)?, "private_key": read(&key)?, "certificate_chain": chain })
                }
                None => json!({ "certificate": read(&cert)?, "private_key": read(&key)? }),
            };
            let done = client.post(CA, &body).await?.body;
            let subject = done.get("subject").and_then(Value::as_str).unwrap_or_default();
            let count = done.get("reissued").and_then(Value::as_u64).unwrap_or_default();
            let said = format!("{subject} signs from now on; certificates issued anew: {count}");
            printer.done(&done, &said);
        }
    }
    Ok(())
}

fn trust(printer: &Printer, pem: &str, dry_run: bool) -> Result<(), Failure> {
    let store = STORES.iter().find(|(directory, ..)| Path::new(directory).is_dir());
    let Some((directory, name, update)) = store else {
        printer.text(&how(None));
        return Ok(());
    };
    let file = Path::new(directory).join(name);
    if dry_run || !rustix::process::geteuid().is_root() {
        printer.text(&how(Some((&file, update))));
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", file.display()));
    std::fs::write(&file, pem).map_err(failed)?;
    let [program, arguments @ ..] = *update else { return Ok(()) };
    let ran = Process::new(program).args(arguments).output();
    match ran {
        Ok(ran) if ran.status.success() => {
            let said = format!("this machine trusts the internal authority ({})", file.display());
            printer.done(&json!({ "file": file, "trusted": true }), &said);
            Ok(())
        }
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
            Err(Failure::failed(format!("{program} failed: {said}; the file is {}", file.display())))
        }
        Err(error) => Err(Failure::failed(format!("{program}: {error}; the file is {}", file.display()))),
    }
}

/// What to do by hand.
fn how(store: Option<(&PathBuf, &[&str])>) -> String {
    let system = match store {
        Some((file, update)) => format!(
            "as root: gatehouse ca show > {file} && {update}",
            file = file.display(),
            update = update.join(" ")
        ),
        None => "this system's store is not known; `gatehouse ca show` prints the certificate".to_owned(),
    };
    format!(
        "{system}\n\
         Firefox: Settings, Certificates, Authorities, Import; trust it to identify websites.\n\
         curl and others: --cacert FILE with what `gatehouse ca show` prints."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_by_hand_names_the_file_and_the_program() {
        let file = PathBuf::from("/usr/local/share/ca-certificates/gatehouse.crt");
        let said = how(Some((&file, &["update-ca-certificates"])));
        assert!(said.starts_with(
            "as root: gatehouse ca show > /usr/local/share/ca-certificates/gatehouse.crt && update-ca-certificates\n"
        ));
        assert!(how(None).contains("gatehouse ca show"));
    }
}
