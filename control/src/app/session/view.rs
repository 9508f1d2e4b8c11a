//! How a session is shown: with the names of what it stands on, as they are now.

use std::sync::Arc;

use config::id::{ConsoleId, ForwardId, RouteId, UserId, VmId};
use config::name::Namespace;
use config::snapshot::{Kind, ObjectKey, Snapshot, Transport, Value};
use config::sync::asking::{SessionSeen, source_text};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::App;
use super::super::page::time;
use crate::app::forward::ports;

/// An open session.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionView {
    /// Its id; those of a later one sort behind it.
    pub id: String,
    /// `tunnel`, `console`, `tcp`, `udp`, `ssh` or `passthrough`.
    pub kind: String,
    /// The gateway that carries it.
    pub gateway: String,
    /// Where it comes from: the client as `IP:port`, also behind trusted proxies, which keep its port to themselves.
    pub from: String,
    /// The person, where one is known.
    pub user: Option<String>,
    /// Their id.
    pub user_id: Option<String>,
    /// Where it leads, for people.
    pub to: String,
    /// The tenant; null when its object is gone, or has none.
    pub namespace: Option<String>,
    /// The VM, as `NAME.NAMESPACE`.
    pub vm: Option<String>,
    /// Its id.
    pub vm_id: Option<String>,
    /// The route it came by.
    pub route_id: Option<String>,
    /// The port forward it came by.
    pub forward_id: Option<String>,
    /// The console it shows.
    pub console_id: Option<String>,
    /// Whether its holder may only look.
    pub read_only: bool,
    /// When it was opened, RFC 3339.
    pub since: String,
    /// Bytes towards the VM so far.
    pub bytes_up: u64,
    /// Bytes towards the user so far.
    pub bytes_down: u64,
}

impl SessionView {
    /// Whose it is.
    pub(super) fn place(&self) -> Option<Namespace> {
        Namespace::parse(self.namespace.as_deref()?).ok()
    }
}

/// What things are called in the generation in force.
pub(super) struct Names(Arc<Snapshot>);

/// What a session leads to.
struct Place {
    to: String,
    namespace: Option<String>,
    vm: Option<String>,
    transport: Option<Transport>,
}

impl Names {
    pub(super) fn new(app: &App) -> Self {
        Self(super::snapshot(app))
    }

    fn get(&self, kind: Kind, id: [u8; 16]) -> Option<Value> {
        self.0.get(ObjectKey { kind, id })?.decode().ok()
    }

    fn vm(&self, id: VmId) -> Option<(String, String)> {
        let Some(Value::Vm(vm)) = self.get(Kind::VM, id.to_bytes()) else { return None };
        Some((format!("{}.{}", vm.name, vm.namespace), vm.namespace.to_string()))
    }

    fn user(&self, id: UserId) -> Option<String> {
        let Some(Value::Principal(user)) = self.get(Kind::PRINCIPAL, id.to_bytes()) else { return None };
        Some(user.name.to_string())
    }

    fn route(&self, id: RouteId) -> Option<(String, String)> {
        let Some(Value::Route(route)) = self.get(Kind::ROUTE, id.to_bytes()) else { return None };
        Some((format!("{}{}", route.host, route.path.as_str()), route.namespace.to_string()))
    }

    fn forward(&self, id: ForwardId) -> Option<(String, String, Transport)> {
        let Some(Value::Forward(forward)) = self.get(Kind::FORWARD, id.to_bytes()) else { return None };
        let ports = ports::text(forward.ports);
        Some((
            format!("port {ports} to {}", forward.endpoint.target),
            forward.namespace.to_string(),
            forward.transport,
        ))
    }

    fn console(&self, id: ConsoleId) -> Option<(&'static str, String)> {
        let Some(Value::Console(console)) = self.get(Kind::CONSOLE, id.to_bytes()) else { return None };
        Some((console.kind.name(), console.namespace.to_string()))
    }

    /// The object that says whose it is comes first: console, VM, forward, route.
    fn place(&self, seen: &SessionSeen) -> Place {
        let vm = seen.vm.and_then(|id| self.vm(id));
        let console = seen.console.and_then(|id| self.console(id));
        let forward = seen.forward.and_then(|id| self.forward(id));
        let route = seen.route.and_then(|id| self.route(id));
        let transport = forward.as_ref().map(|(_, _, transport)| *transport);
        let vm_name = vm.as_ref().map(|(name, _)| name.clone());
        // By the port that was asked for: a grant names ports.
        let port = seen.target.as_deref().and_then(|target| target.rsplit_once(':')).map(|(_, port)| port);
        let to = match (&console, &forward, &route, &vm_name) {
            (Some((kind, _)), _, _, Some(vm)) => format!("{kind} of {vm}"),
            (_, Some((text, _, _)), _, _) => text.clone(),
            (_, _, Some((text, _)), _) => text.clone(),
            (_, _, _, Some(vm)) => port.map_or_else(|| vm.clone(), |port| format!("{vm}:{port}")),
            // A literal address, control, or what is gone by now.
            (_, None, None, None) => seen.target.clone().unwrap_or_else(|| "-".to_owned()),
        };
        let namespace = console
            .map(|(_, namespace)| namespace)
            .or(forward.map(|(_, namespace, _)| namespace))
            .or(route.map(|(_, namespace)| namespace))
            .or(vm.map(|(_, namespace)| namespace));
        Place { to, namespace, vm: vm_name, transport }
    }

    /// Shows a session of this gateway.
    pub(super) fn view(&self, seen: &SessionSeen, gateway: &str) -> SessionView {
        let Place { to, namespace, vm, transport } = self.place(seen);
        let kind = match (seen.kind.as_str(), transport) {
            ("upgrade", _) => "tunnel",
            ("jump", _) => "ssh",
            ("look", _) => "console",
            ("forward", Some(Transport::Udp)) => "udp",
            ("forward", Some(Transport::Tcp)) => "tcp",
            (other, _) => other,
        };
        let micros = i64::try_from(seen.started_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        SessionView {
            id: seen.id.to_string(),
            kind: kind.to_owned(),
            gateway: gateway.to_owned(),
            from: source_text(seen.peer),
            user: seen.principal.and_then(|id| self.user(id)),
            user_id: seen.principal.map(|id| id.to_string()),
            to,
            namespace,
            vm,
            vm_id: seen.vm.map(|id| id.to_string()),
            route_id: seen.route.map(|id| id.to_string()),
            forward_id: seen.forward.map(|id| id.to_string()),
            console_id: seen.console.map(|id| id.to_string()),
            read_only: seen.kind == "look",
            since: time(micros),
            bytes_up: seen.bytes_up,
            bytes_down: seen.bytes_down,
        }
    }
}
