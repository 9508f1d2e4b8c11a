//! Where a forward leads, for this caller.

use std::net::{IpAddr, SocketAddr};

use config::snapshot::Ports;
use config::target as rules;

use super::super::change::Change;
use super::super::input::{Input, Said};
use super::super::route::target::{Refused, vm_by_address, vm_by_name};
use super::super::{App, Caller, Error};
use super::input::Draft;
use crate::auth::rbac::{Action, Resource};
use crate::store::Conn;
use crate::store::forward::{ForwardRow, Leads};
use crate::store::route::EndpointVm;
use crate::store::vm::VmRow;

/// Why a target is not taken, and which member named it.
#[derive(Debug)]
pub struct Wrong {
    /// `vm` or `vm_ip`.
    pub field: &'static str,
    /// Why.
    pub why: Refused,
}

/// Writes where the row leads. Rules that are broken are noted in `input`.
///
/// Errors: a right is missing, or the store fails.
pub(super) async fn apply(
    app: &App,
    change: &mut Change<'_>,
    (row, draft): (&mut ForwardRow, &Draft),
    input: &mut Input,
) -> Result<(), Error> {
    let caller = change.caller().clone();
    let found = match (&draft.vm, &draft.vm_ip) {
        (Said::This(name), ip) => {
            by_name(change.conn(), &caller, name, ip.clone().some()).await.map(|leads| (leads, "vm"))
        }
        (Said::Nothing | Said::Null, Said::This(ip)) => {
            by_address(change.conn(), &caller, *ip).await.map(|leads| (leads, "vm_ip"))
        }
        (Said::Null, _) | (_, Said::Null) => {
            if input.is_sound_in("vm") && input.is_sound_in("vm_ip") {
                input.invalid("vm", "required", "a forward leads somewhere: say vm or vm_ip");
            }
            return Ok(());
        }
        (Said::Nothing, Said::Nothing) => Ok((row.leads.clone(), "vm_port")),
    };
    let checked = found.and_then(|(leads, field)| {
        check(app, &leads, row.target_ports()).map(|()| leads).map_err(|why| Wrong { field, why })
    });
    match checked {
        Ok(leads) => row.leads = leads,
        Err(Wrong { field, why: Refused::Rule(code, message) }) => input.invalid(field, code, message),
        Err(Wrong { why: Refused::Denied(denied), .. }) => return Err(denied.into()),
        Err(Wrong { why: Refused::Store(error), .. }) => return Err(error),
    }
    Ok(())
}

async fn by_name(conn: &mut Conn, caller: &Caller, name: &str, ip: Option<IpAddr>) -> Result<Leads, Wrong> {
    let wrong = |why| Wrong { field: "vm", why };
    let name = name.strip_prefix("vm:").unwrap_or(name);
    let vm = vm_by_name(conn, caller, name).await.map_err(wrong)?;
    if let Some(ip) = ip.filter(|ip| *ip != vm.address) {
        let message = format!("{ip} is not the address of VM {}, which is {}", vm.name, vm.address);
        return Err(Wrong { field: "vm_ip", why: Refused::Rule("invalid", message) });
    }
    Ok(to(&vm))
}

/// The VM at this address that the caller may use; root may write any other one.
pub(super) async fn by_address(conn: &mut Conn, caller: &Caller, ip: IpAddr) -> Result<Leads, Wrong> {
    let wrong = |why| Wrong { field: "vm_ip", why };
    match vm_by_address(conn, caller, ip).await.map_err(wrong)? {
        // Root's loopback addresses are many programs of one machine, whatever VM is said to be there.
        Some(vm) if !(ip.is_loopback() && caller.actor.is_root()) => Ok(to(&vm)),
        _ => {
            // What nobody may reach is said first: a right would not help.
            if let Err(why) = rules::check(SocketAddr::new(ip, 0), true, &[]) {
                return Err(wrong(Refused::Rule("forbidden", format!("{ip}: {why}"))));
            }
            let is_root = caller.allow(Action::Create, Resource::LiteralTarget);
            is_root.map_err(|denied| wrong(Refused::Denied(denied)))?;
            Ok(Leads::Address { ip, loopback_ok: ip.is_loopback() })
        }
    }
}

fn to(vm: &VmRow) -> Leads {
    Leads::Vm(EndpointVm {
        id: vm.id,
        name: vm.name.to_string(),
        namespace: vm.namespace.to_string(),
        address: vm.address,
        loopback_ok: vm.loopback_ok,
    })
}

/// Refuses ports that nobody may reach: those of our own listeners above all.
pub(super) fn check(app: &App, leads: &Leads, ports: Ports) -> Result<(), Refused> {
    let own = app.own_listeners();
    for port in ports.iter() {
        let address = SocketAddr::new(leads.ip(), port);
        rules::check(address, leads.loopback_ok(), &own)
            .map_err(|why| Refused::Rule("forbidden", format!("{address}: {why}")))?;
    }
    Ok(())
}
