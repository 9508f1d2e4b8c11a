//! What the step from one generation to the next means for an open session (DESIGN D5).
//!
//! The strictest of everything that concerns a session wins: its route or forward, its VM, and the person behind it.

use std::collections::HashMap;

use config::grant::Role;
use config::id::{ConsoleId, ForwardId, RouteId, UserId, VmId};
use config::limits;
use config::snapshot::{
    Console, FlowPolicy, Forward, Kind, Object, ObjectKey, Principal, Route, Snapshot, Transport, Value, Vm,
};

use super::{SessionKind, Subject};
use crate::clock::now_ms;

/// One step between two generations. Remembers what it read: many sessions stand on few routes.
pub(super) struct Step<'a> {
    old: &'a Snapshot,
    new: &'a Snapshot,
    routes: HashMap<RouteId, FlowPolicy>,
    forwards: HashMap<ForwardId, FlowPolicy>,
}

impl<'a> Step<'a> {
    pub(super) fn new(old: &'a Snapshot, new: &'a Snapshot) -> Self {
        Self { old, new, routes: HashMap::new(), forwards: HashMap::new() }
    }

    /// What becomes of a session with this subject.
    pub(super) fn policy(&mut self, subject: &Subject) -> FlowPolicy {
        let by_route = subject.route.map_or(FlowPolicy::Keep, |id| self.route(id));
        let by_vm = subject.vm.map_or(FlowPolicy::Keep, |id| self.vm(id));
        let by_principal = subject.principal.map_or(FlowPolicy::Keep, |id| self.principal(id, subject));
        let by_forward = subject.forward.map_or(FlowPolicy::Keep, |id| self.forward(id));
        let by_console = subject.console.map_or(FlowPolicy::Keep, |id| self.console(id, subject.kind));
        let by_object = strictest(by_route, strictest(by_forward, by_console));
        strictest(by_object, strictest(by_vm, by_principal))
    }

    fn forward(&mut self, id: ForwardId) -> FlowPolicy {
        let (old, new) = (self.old, self.new);
        *self.forwards.entry(id).or_insert_with(|| {
            let key = ObjectKey { kind: Kind::FORWARD, id: id.to_bytes() };
            match (old.get(key), new.get(key)) {
                // Not in the old one: an earlier step has spoken already.
                (None, _) => FlowPolicy::Keep,
                (Some(before), Some(after)) if before == after => FlowPolicy::Keep,
                (Some(before), Some(after)) => {
                    let (before, after) = (read_forward(before), read_forward(after));
                    after.map_or(FlowPolicy::Keep, |after| {
                        if leads_elsewhere(before.as_ref(), &after) {
                            FlowPolicy::Cut
                        } else {
                            after.on_change
                        }
                    })
                }
                (Some(before), None) => {
                    let unread = FlowPolicy::Drain { ms: limits::DRAIN_ON_DELETE_MS };
                    read_forward(before).map_or(unread, |forward| forward.on_delete)
                }
            }
        })
    }

    fn route(&mut self, id: RouteId) -> FlowPolicy {
        let (old, new) = (self.old, self.new);
        *self.routes.entry(id).or_insert_with(|| {
            let key = ObjectKey { kind: Kind::ROUTE, id: id.to_bytes() };
            match (old.get(key), new.get(key)) {
                // Not in the old one: an earlier step has spoken already.
                (None, _) => FlowPolicy::Keep,
                (Some(before), Some(after)) if before == after => FlowPolicy::Keep,
                // An endpoint that left the route is a change of the route, too.
                (Some(_), Some(after)) => route(after).map_or(FlowPolicy::Keep, |route| route.on_change),
                (Some(before), None) => {
                    let unread = FlowPolicy::Drain { ms: limits::DRAIN_ON_DELETE_MS };
                    route(before).map_or(unread, |route| route.on_delete)
                }
            }
        })
    }

    fn console(&self, id: ConsoleId, kind: SessionKind) -> FlowPolicy {
        let key = ObjectKey { kind: Kind::CONSOLE, id: id.to_bytes() };
        match (self.old.get(key), self.new.get(key)) {
            (None, _) => FlowPolicy::Keep,
            (Some(before), Some(after)) if before == after => FlowPolicy::Keep,
            (Some(before), Some(after)) => read_console(after).map_or(FlowPolicy::Cut, |console| {
                let was_free = read_console(before).is_none_or(|before| !before.read_only);
                // Whoever keeps it open would keep what was taken from everybody.
                let is_taken = console.read_only && was_free && kind != SessionKind::Look;
                if is_taken { FlowPolicy::Cut } else { console.on_change }
            }),
            (Some(before), None) => read_console(before).map_or(FlowPolicy::Cut, |console| console.on_delete),
        }
    }

    fn vm(&self, id: VmId) -> FlowPolicy {
        let key = vm_key(id);
        let is_gone = self.old.get(key).is_some() && self.new.get(key).is_none();
        if is_gone { FlowPolicy::Cut } else { FlowPolicy::Keep }
    }

    fn principal(&self, id: UserId, subject: &Subject) -> FlowPolicy {
        let key = ObjectKey { kind: Kind::PRINCIPAL, id: id.to_bytes() };
        let Some(object) = self.new.get(key) else { return FlowPolicy::Cut };
        let vm = subject.vm.map(vm_key);
        let is_same = self.old.get(key) == Some(object)
            && vm.is_none_or(|key| self.old.get(key).is_some() && self.old.get(key) == self.new.get(key));
        if is_same || self.reaches(object, vm, subject.kind) { FlowPolicy::Keep } else { FlowPolicy::Cut }
    }

    /// Whether the principal as it is now could open such a session. What cannot be read reaches nothing.
    fn reaches(&self, principal: &Object, vm: Option<ObjectKey>, kind: SessionKind) -> bool {
        let Some(principal) = read_principal(principal) else { return false };
        match (vm, kind) {
            (Some(vm), _) => {
                self.new.get(vm).and_then(read_vm).is_some_and(|vm| may_stay(&principal, &vm, kind))
            }
            // A literal address is root's alone (DESIGN §12).
            (None, SessionKind::Jump) => principal.grants.is_root(),
            (None, SessionKind::Console | SessionKind::Look) => false,
            (None, SessionKind::Upgrade | SessionKind::Passthrough | SessionKind::Forward) => true,
        }
    }
}

/// A grant of SSH holds jumps and nothing else.
fn may_stay(principal: &Principal, vm: &Vm, kind: SessionKind) -> bool {
    if kind == SessionKind::Jump {
        let now = now_ms();
        return principal.has_access(now) && principal.reaches(vm, now);
    }
    let least = if kind == SessionKind::Look { Role::Guest } else { Role::Operator };
    principal.grants.allows(least, &vm.namespace)
}

/// Cut before drain before keep; the shorter drain before the longer.
fn strictest(one: FlowPolicy, other: FlowPolicy) -> FlowPolicy {
    match (one, other) {
        (FlowPolicy::Cut, _) | (_, FlowPolicy::Cut) => FlowPolicy::Cut,
        (FlowPolicy::Drain { ms: one }, FlowPolicy::Drain { ms: other }) => {
            FlowPolicy::Drain { ms: one.min(other) }
        }
        (FlowPolicy::Drain { ms }, FlowPolicy::Keep) | (FlowPolicy::Keep, FlowPolicy::Drain { ms }) => {
            FlowPolicy::Drain { ms }
        }
        (FlowPolicy::Keep, FlowPolicy::Keep) => FlowPolicy::Keep,
    }
}

fn vm_key(id: VmId) -> ObjectKey {
    ObjectKey { kind: Kind::VM, id: id.to_bytes() }
}

fn route(object: &Object) -> Option<Route> {
    if let Ok(Value::Route(route)) = object.decode() { Some(route) } else { None }
}

fn read_forward(object: &Object) -> Option<Forward> {
    if let Ok(Value::Forward(forward)) = object.decode() { Some(forward) } else { None }
}

/// Whether the datagrams of a client would go to another place now: a session of UDP has no end of its own, so one that
/// stayed would keep the client away from there for ever.
fn leads_elsewhere(before: Option<&Forward>, after: &Forward) -> bool {
    after.transport == Transport::Udp
        && before.is_none_or(|before| {
            before.endpoint.target != after.endpoint.target || before.ports.first != after.ports.first
        })
}

fn read_vm(object: &Object) -> Option<Vm> {
    if let Ok(Value::Vm(vm)) = object.decode() { Some(vm) } else { None }
}

fn read_console(object: &Object) -> Option<Console> {
    if let Ok(Value::Console(console)) = object.decode() { Some(console) } else { None }
}

fn read_principal(object: &Object) -> Option<Principal> {
    if let Ok(Value::Principal(principal)) = object.decode() { Some(principal) } else { None }
}
