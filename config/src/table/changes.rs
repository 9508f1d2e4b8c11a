//! What a snapshot or a delta changes, read from its objects.
//!
//! Identities and host keys are not the table's: one that cannot be read degrades alone, elsewhere (DESIGN D3).

use std::sync::Arc;

use crate::delta::Delta;
use crate::id::{KeyId, UserId, VmId};
use crate::limits;
use crate::snapshot::object::Malformed;
use crate::snapshot::{Kind, Object, ObjectKey, Principal, Route, Snapshot, SshUserCa, Value, Vm};
use crate::table::Conflicts;

/// A route that comes or goes. A route that changes does both.
pub(super) struct RouteChange {
    pub(super) route: Arc<Route>,
    pub(super) added: bool,
}

/// What a VM or a principal is from now on; `None` when it is gone.
pub(super) struct Change<I, T> {
    pub(super) id: I,
    pub(super) now: Option<T>,
}

/// All changes of one step.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) routes: Vec<RouteChange>,
    pub(super) machines: Vec<Change<VmId, Vm>>,
    pub(super) people: Vec<Change<UserId, Principal>>,
    pub(super) authorities: Vec<Change<KeyId, SshUserCa>>,
}

impl Changes {
    /// From nothing to `snapshot`.
    pub(super) fn of_whole(snapshot: &Snapshot) -> Result<Self, Conflicts> {
        Self::collect(snapshot.objects().map(|object| (object.key(), None, Some(object))))
    }

    /// From `old` to `new`, as far as the keys in `delta` differ.
    pub(super) fn of_delta(old: &Snapshot, new: &Snapshot, delta: &Delta) -> Result<Self, Conflicts> {
        let mut keys: Vec<ObjectKey> =
            delta.upserts.iter().map(Object::key).chain(delta.removals.iter().copied()).collect();
        keys.sort_unstable();
        keys.dedup();
        let pairs = keys.into_iter().map(|key| (key, old.get(key), new.get(key)));
        Self::collect(pairs.filter(|(_, before, after)| before != after))
    }

    fn collect<'a>(
        pairs: impl Iterator<Item = (ObjectKey, Option<&'a Object>, Option<&'a Object>)>,
    ) -> Result<Self, Conflicts> {
        let mut changes = Self::default();
        let mut malformed = Vec::new();
        for (key, before, after) in pairs {
            if let Err(error) = changes.note(key, before, after)
                && malformed.len() < limits::CONFLICTS_NAMED_MAX
            {
                malformed.push(error);
            }
        }
        if malformed.is_empty() { Ok(changes) } else { Err(Conflicts { routes: Vec::new(), malformed }) }
    }

    fn note(
        &mut self,
        key: ObjectKey,
        before: Option<&Object>,
        after: Option<&Object>,
    ) -> Result<(), Malformed> {
        match key.kind {
            Kind::ROUTE => {
                for (object, added) in [(before, false), (after, true)] {
                    if let Some(Value::Route(route)) = object.map(Object::decode).transpose()? {
                        self.routes.push(RouteChange { route: Arc::new(route), added });
                    }
                }
            }
            Kind::VM => {
                let value = after.map(Object::decode).transpose()?;
                let now = if let Some(Value::Vm(vm)) = value { Some(vm) } else { None };
                self.machines.push(Change { id: VmId::from_bytes(key.id), now });
            }
            Kind::PRINCIPAL => {
                let value = after.map(Object::decode).transpose()?;
                let now = if let Some(Value::Principal(principal)) = value { Some(principal) } else { None };
                self.people.push(Change { id: UserId::from_bytes(key.id), now });
            }
            Kind::SSH_USER_CA => {
                let value = after.map(Object::decode).transpose()?;
                let now = if let Some(Value::SshUserCa(ca)) = value { Some(ca) } else { None };
                self.authorities.push(Change { id: KeyId::from_bytes(key.id), now });
            }
            _ => {}
        }
        Ok(())
    }
}
