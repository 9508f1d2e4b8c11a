//! Which forward has which port in one generation.
//!
//! Two forwards that want one port are a mistake that control does not make; where it happens all the same, the older
//! one (by id) has it and the younger is blocked, whole. Forwards lie in shards by port and by id that a later
//! generation shares with the one before it, so a step costs what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use config::delta::Delta;
use config::id::ForwardId;
use config::snapshot::{Forward, Generation, Kind, Lineage, Object, ObjectKey, Snapshot, Transport, Value};

const SHARDS: usize = 256;

type ById = BTreeMap<ForwardId, Arc<Forward>>;

/// The forwards of one generation.
#[derive(Debug, Clone)]
pub struct Forwards {
    /// By the high byte of their ports, oldest first; one with many ports is in several.
    by_port: Box<[Arc<Vec<Arc<Forward>>>]>,
    /// By the low byte of their ids.
    by_id: Box<[Arc<ById>]>,
    /// Who is in whose way: the younger, and the older that has the port.
    blocked: Arc<BTreeMap<ForwardId, ForwardId>>,
    step: Step,
}

/// What differs from the generation before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// The generation it was made of; `None` was made of nothing.
    pub(crate) base: Option<(Lineage, Generation)>,
    /// Forwards that are new, changed, gone, blocked or no longer so.
    pub(crate) touched: BTreeSet<ForwardId>,
}

impl Default for Forwards {
    fn default() -> Self {
        Self {
            by_port: (0..SHARDS).map(|_| Arc::default()).collect(),
            by_id: (0..SHARDS).map(|_| Arc::default()).collect(),
            blocked: Arc::default(),
            step: Step::default(),
        }
    }
}

impl Forwards {
    /// Those of a whole snapshot.
    pub(crate) fn compile(snapshot: &Snapshot) -> Self {
        let mut made = Self::default();
        let mut all = BTreeMap::new();
        for object in snapshot.objects().filter(|object| object.key().kind == Kind::FORWARD) {
            if let Some(forward) = read(object) {
                made.put(&forward);
                all.insert(forward.id, forward);
            }
        }
        made.settle(all);
        made
    }

    /// Those of the snapshot that `delta` makes of `old`, of which these are.
    pub(crate) fn recompile(&self, old: &Snapshot, new: &Snapshot, delta: &Delta) -> Self {
        let keys = delta.upserts.iter().map(Object::key).chain(delta.removals.iter().copied());
        let keys: Vec<ObjectKey> = keys.filter(|key| key.kind == Kind::FORWARD).collect();
        let mut made = self.clone();
        made.step = Step { base: Some((old.lineage(), old.generation())), touched: BTreeSet::new() };
        let mut seeds = BTreeMap::new();
        for key in &keys {
            let id = ForwardId::from_bytes(key.id);
            made.step.touched.insert(id);
            if let Some(before) = made.remove(id) {
                seeds.extend(made.neighbours(&before).into_iter().map(|one| (one.id, one)));
            }
            seeds.remove(&id);
        }
        for forward in keys.iter().filter_map(|key| new.get(*key)).filter_map(read) {
            made.put(&forward);
            seeds.insert(forward.id, forward);
        }
        // One that was a neighbour of the first may have been changed as the second.
        seeds.retain(|id, forward| made.get(*id).is_some_and(|now| Arc::ptr_eq(now, forward)));
        made.settle(seeds);
        made
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.iter().map(|shard| shard.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every forward, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Forward>> {
        self.by_id.iter().flat_map(|shard| shard.values())
    }

    /// The forward with this id.
    pub fn get(&self, id: ForwardId) -> Option<&Arc<Forward>> {
        self.by_id.get(id_shard(id))?.get(&id)
    }

    /// The older forward that has a port of this one.
    pub fn blocked_by(&self, id: ForwardId) -> Option<ForwardId> {
        self.blocked.get(&id).copied()
    }

    /// The forward that a port of an address belongs to. Cost: a walk of those whose ports are near.
    pub fn at(&self, transport: Transport, ip: IpAddr, port: u16) -> Option<&Arc<Forward>> {
        let ip = ip.to_canonical();
        self.with(transport, port).find(|forward| covers(forward.listen, ip))
    }

    /// The addresses on which this port belongs to a forward.
    pub(crate) fn listening(&self, transport: Transport, port: u16) -> impl Iterator<Item = IpAddr> {
        self.with(transport, port).flat_map(|forward| addresses(forward.listen))
    }

    /// What differs from the generation before.
    pub(crate) const fn step(&self) -> &Step {
        &self.step
    }

    fn with(&self, transport: Transport, port: u16) -> impl Iterator<Item = &Arc<Forward>> {
        let shard = self.by_port.get(usize::from(port >> 8)).into_iter().flat_map(|shard| shard.iter());
        shard.filter(move |forward| {
            forward.transport == transport
                && forward.ports.contains(port)
                && !self.blocked.contains_key(&forward.id)
        })
    }

    fn put(&mut self, forward: &Arc<Forward>) {
        if let Some(shard) = self.by_id.get_mut(id_shard(forward.id)) {
            Arc::make_mut(shard).insert(forward.id, Arc::clone(forward));
        }
        for shard in self.by_port.get_mut(port_shards(forward)).unwrap_or_default() {
            let shard = Arc::make_mut(shard);
            let place = shard.partition_point(|other| other.id < forward.id);
            shard.insert(place, Arc::clone(forward));
        }
    }

    fn remove(&mut self, id: ForwardId) -> Option<Arc<Forward>> {
        let before = Arc::make_mut(self.by_id.get_mut(id_shard(id))?).remove(&id)?;
        for shard in self.by_port.get_mut(port_shards(&before)).unwrap_or_default() {
            Arc::make_mut(shard).retain(|other| other.id != id);
        }
        if self.blocked.contains_key(&id) {
            Arc::make_mut(&mut self.blocked).remove(&id);
        }
        Some(before)
    }

    fn neighbours(&self, forward: &Forward) -> Vec<Arc<Forward>> {
        let shards = self.by_port.get(port_shards(forward)).unwrap_or_default();
        let near = shards.iter().flat_map(|shard| shard.iter());
        near.filter(|other| other.id != forward.id && collide(other, forward)).map(Arc::clone).collect()
    }

    /// Decides again who is blocked, among these and all that they have to do with.
    fn settle(&mut self, seeds: BTreeMap<ForwardId, Arc<Forward>>) {
        let mut waiting: Vec<Arc<Forward>> = seeds.values().map(Arc::clone).collect();
        let mut concerned = seeds;
        while let Some(forward) = waiting.pop() {
            for near in self.neighbours(&forward) {
                if concerned.insert(near.id, Arc::clone(&near)).is_none() {
                    waiting.push(near);
                }
            }
        }
        let mut open: Vec<&Arc<Forward>> = Vec::new();
        for forward in concerned.values() {
            // Only those with a neighbour at all are looked at twice.
            let before = self.blocked.get(&forward.id).copied();
            let in_the_way = if self.neighbours(forward).is_empty() {
                None
            } else {
                open.iter().find(|other| collide(other, forward)).map(|other| other.id)
            };
            if in_the_way.is_none() {
                open.push(forward);
            }
            if before != in_the_way {
                let blocked = Arc::make_mut(&mut self.blocked);
                match in_the_way {
                    Some(other) => blocked.insert(forward.id, other),
                    None => blocked.remove(&forward.id),
                };
                self.step.touched.insert(forward.id);
            }
        }
    }
}

fn read(object: &Object) -> Option<Arc<Forward>> {
    // What cannot be decoded was refused with the table.
    if let Ok(Value::Forward(forward)) = object.decode() { Some(Arc::new(forward)) } else { None }
}

const fn id_shard(id: ForwardId) -> usize {
    // The last byte of a UUIDv7 is random.
    let [.., last] = id.to_bytes();
    last as usize
}

fn port_shards(forward: &Forward) -> std::ops::RangeInclusive<usize> {
    usize::from(forward.ports.first >> 8)..=usize::from(forward.ports.last >> 8)
}

/// The addresses to bind for what a forward listens on.
pub(crate) fn addresses(listen: Option<IpAddr>) -> Vec<IpAddr> {
    match listen {
        Some(ip) => vec![ip.to_canonical()],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    }
}

/// Whether a forward that listens there has this address; an unspecified one is its whole family.
fn covers(listen: Option<IpAddr>, ip: IpAddr) -> bool {
    listen.is_none_or(|listen| {
        let listen = listen.to_canonical();
        listen == ip || (listen.is_unspecified() && listen.is_ipv4() == ip.is_ipv4())
    })
}

fn collide(one: &Forward, other: &Forward) -> bool {
    let meets = |listen: Option<IpAddr>, there: Option<IpAddr>| {
        there.is_none_or(|ip| covers(listen, ip.to_canonical()))
    };
    one.transport == other.transport
        && one.ports.overlaps(other.ports)
        && (meets(one.listen, other.listen) || meets(other.listen, one.listen))
}
