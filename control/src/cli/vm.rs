//! `gatehouse vm …`.

use serde_json::json;

use super::args::{VmCommand, VmRef};
use super::client::Client;
use super::failure::Failure;
use super::output::{Column, Printer};
use super::{put, resolve};

const LIST: &str = "/api/v1/vms";
const COLUMNS: &[Column] = &[
    ("NAME", "name"),
    ("ADDRESS", "address"),
    ("SSH-PORT", "ssh_port"),
    ("NETWORK", "network"),
    ("NAMESPACE", "namespace"),
    ("ID", "id"),
];

const HOST_KEYS: &[Column] =
    &[("FINGERPRINT", "fingerprint"), ("STATE", "state"), ("SEEN", "seen_at"), ("KEY", "key")];

pub(super) async fn run(client: &Client, printer: &Printer, command: VmCommand) -> Result<(), Failure> {
    match command {
        VmCommand::Add { name, address, namespace, network, ssh_port, note } => {
            let mut body = json!({ "name": name, "address": address });
            put(&mut body, "namespace", namespace);
            put(&mut body, "network", network);
            put(&mut body, "ssh_port", ssh_port);
            put(&mut body, "note", note);
            let made = client.post(LIST, &body).await?.body;
            printer.done(&made, &format!("vm {name} at {address} added"));
        }
        VmCommand::List { namespace } => {
            let filters: Vec<_> = namespace.as_deref().map(|n| ("namespace", n)).into_iter().collect();
            printer.list(&client.list(LIST, &filters).await?, COLUMNS);
        }
        VmCommand::Show(vm) => printer.object(&client.get(&path(client, &vm).await?).await?.body),
        VmCommand::Update { vm, name, address, network, ssh_port, note } => {
            let mut body = json!({});
            put(&mut body, "name", name);
            put(&mut body, "address", address);
            put(&mut body, "network", network);
            put(&mut body, "ssh_port", ssh_port);
            put(&mut body, "note", note);
            if body == json!({}) {
                return Err(Failure::usage("nothing to change was given"));
            }
            let changed = client.patch(&path(client, &vm).await?, &body).await?.body;
            printer.done(&changed, &format!("vm {} changed", vm.vm));
        }
        VmCommand::HostKeys(vm) => {
            let keys = client.get(&format!("{}/host-keys", path(client, &vm).await?)).await?.body;
            printer.list(keys.as_array().map_or(&[], Vec::as_slice), HOST_KEYS);
        }
        VmCommand::AcceptHostKey { vm, fingerprint, state } => {
            let body = json!({ "fingerprint": fingerprint, "state": state });
            let keys = client.post(&format!("{}/host-keys", path(client, &vm).await?), &body).await?.body;
            printer.done(&keys, &format!("host key {fingerprint} of {} {state}", vm.vm));
        }
        VmCommand::Rm(vm) => {
            let gone = client.delete(&path(client, &vm).await?).await?.body;
            printer.done(&gone, &format!("vm {} deleted", vm.vm));
        }
    }
    Ok(())
}

async fn path(client: &Client, vm: &VmRef) -> Result<String, Failure> {
    let wanted = resolve::Wanted { noun: "vm", list: LIST, field: "name", typed: &vm.vm };
    let id = resolve::id(client, wanted, &[("namespace", vm.namespace.as_deref())]).await?;
    Ok(format!("{LIST}/{id}"))
}
