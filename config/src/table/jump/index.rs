//! Where VMs and principals are found: by id, name, address and key.
//!
//! All spread by id: a hundred tenants may each have a `web` or a 10.0.0.5, and a change must not copy all of them.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use crate::id::{KeyId, UserId, VmId};
use crate::snapshot::{Principal, SshUserCa, Vm};
use crate::table::changes::Change;
use crate::table::shards::{Sharded, shard_of};

/// The VMs.
#[derive(Clone, Default)]
pub(in crate::table) struct Machines {
    by_id: Sharded<Arc<Vm>>,
    by_name: Sharded<Arc<Vm>>,
    by_address: Sharded<Arc<Vm>>,
}

impl Machines {
    pub(super) fn by_id(&self, hasher: &impl BuildHasher, id: VmId) -> Option<&Arc<Vm>> {
        self.by_id.find(shard(id.to_bytes()), hasher.hash_one(id), |vm| vm.id == id)
    }

    /// VMs of this name in every namespace; case does not count.
    pub(super) fn by_name<'a>(
        &'a self,
        hasher: &impl BuildHasher,
        name: &str,
    ) -> impl Iterator<Item = &'a Arc<Vm>> {
        self.by_name
            .alike_everywhere(name_hash(hasher, name))
            .filter(move |vm| vm.name.as_str().eq_ignore_ascii_case(name))
    }

    /// VMs with this address in every network; an IPv4-mapped address is the IPv4 address it is.
    pub(super) fn by_address(
        &self,
        hasher: &impl BuildHasher,
        address: IpAddr,
    ) -> impl Iterator<Item = &Arc<Vm>> {
        let address = address.to_canonical();
        self.by_address
            .alike_everywhere(hasher.hash_one(address))
            .filter(move |vm| vm.address.to_canonical() == address)
    }

    #[cfg(test)]
    pub(super) fn shards_not_shared(&self, other: &Self) -> [usize; 3] {
        [
            self.by_id.not_shared(&other.by_id),
            self.by_name.not_shared(&other.by_name),
            self.by_address.not_shared(&other.by_address),
        ]
    }

    pub(in crate::table) fn apply(&mut self, hasher: &impl BuildHasher, change: Change<VmId, Vm>) {
        let id = change.id;
        let shard = shard(id.to_bytes());
        let id_hash = |vm: &Arc<Vm>| hasher.hash_one(vm.id);
        let name_hash = |vm: &Arc<Vm>| name_hash(hasher, vm.name.as_str());
        let address_hash = |vm: &Arc<Vm>| hasher.hash_one(vm.address.to_canonical());
        let is_it = |vm: &Arc<Vm>| vm.id == id;
        if let Some(old) = self.by_id.take(shard, hasher.hash_one(id), is_it, id_hash) {
            self.by_name.take(shard, name_hash(&old), is_it, name_hash);
            self.by_address.take(shard, address_hash(&old), is_it, address_hash);
        }
        if let Some(vm) = change.now.map(Arc::new) {
            self.by_name.put(shard, name_hash(&vm), vm.clone(), name_hash);
            self.by_address.put(shard, address_hash(&vm), vm.clone(), address_hash);
            self.by_id.put(shard, id_hash(&vm), vm, id_hash);
        }
    }
}

/// The principals.
#[derive(Clone, Default)]
pub(in crate::table) struct People {
    by_id: Sharded<Arc<Principal>>,
    by_key: Sharded<Key>,
    by_name: Sharded<Arc<Principal>>,
}

/// A key and whose it is.
#[derive(Clone)]
struct Key {
    blob: Arc<[u8]>,
    holder: Arc<Principal>,
}

impl People {
    pub(super) fn by_id(&self, hasher: &impl BuildHasher, id: UserId) -> Option<&Arc<Principal>> {
        self.by_id.find(shard(id.to_bytes()), hasher.hash_one(id), |principal| principal.id == id)
    }

    /// The oldest holder of the key.
    pub(super) fn by_key(&self, hasher: &impl BuildHasher, blob: &[u8]) -> Option<&Arc<Principal>> {
        let hash = hasher.hash_one(blob);
        let holders = self.by_key.alike(shard_of(hash), hash).filter(|key| *key.blob == *blob);
        holders.map(|key| &key.holder).min_by_key(|principal| principal.id)
    }

    /// The oldest of this name; case counts, as it does in certificates.
    pub(super) fn by_name(&self, hasher: &impl BuildHasher, name: &str) -> Option<&Arc<Principal>> {
        let hash = hasher.hash_one(name);
        let named = self.by_name.alike(shard_of(hash), hash);
        named.filter(|principal| principal.name.as_str() == name).min_by_key(|principal| principal.id)
    }

    #[cfg(test)]
    pub(super) fn shards_not_shared(&self, other: &Self) -> [usize; 2] {
        [self.by_id.not_shared(&other.by_id), self.by_key.not_shared(&other.by_key)]
    }

    pub(in crate::table) fn apply(&mut self, hasher: &impl BuildHasher, change: Change<UserId, Principal>) {
        let id = change.id;
        let id_hash = |principal: &Arc<Principal>| hasher.hash_one(principal.id);
        let key_hash = |key: &Key| hasher.hash_one(&*key.blob);
        let person_hash = |principal: &Arc<Principal>| hasher.hash_one(principal.name.as_str());
        let is_it = |principal: &Arc<Principal>| principal.id == id;
        if let Some(old) = self.by_id.take(shard(id.to_bytes()), hasher.hash_one(id), is_it, id_hash) {
            for key in &old.keys {
                let hash = hasher.hash_one(&*key.blob);
                let is_key = |other: &Key| other.holder.id == id && other.blob == key.blob;
                self.by_key.take(shard_of(hash), hash, is_key, key_hash);
            }
            let hash = person_hash(&old);
            self.by_name.take(shard_of(hash), hash, is_it, person_hash);
        }
        if let Some(principal) = change.now.map(Arc::new) {
            for key in &principal.keys {
                let key = Key { blob: key.blob.clone(), holder: principal.clone() };
                let hash = key_hash(&key);
                self.by_key.put(shard_of(hash), hash, key, key_hash);
            }
            let hash = person_hash(&principal);
            self.by_name.put(shard_of(hash), hash, principal.clone(), person_hash);
            self.by_id.put(shard(id.to_bytes()), id_hash(&principal), principal, id_hash);
        }
    }
}

/// The authorities of people's certificates, in the order of their ids.
#[derive(Clone, Default)]
pub(in crate::table) struct Authorities(Vec<Arc<SshUserCa>>);

impl Authorities {
    /// The oldest with this key.
    pub(super) fn by_key(&self, blob: &[u8]) -> Option<&Arc<SshUserCa>> {
        self.0.iter().find(|ca| *ca.key.blob == *blob)
    }

    pub(in crate::table) fn apply(&mut self, change: Change<KeyId, SshUserCa>) {
        self.0.retain(|ca| ca.id != change.id);
        if let Some(ca) = change.now.map(Arc::new) {
            let place = self.0.partition_point(|other| other.id < ca.id);
            self.0.insert(place, ca);
        }
    }
}

/// UUIDv7 ends in random bits.
const fn shard(id: [u8; 16]) -> u8 {
    id[15]
}

fn name_hash(hasher: &impl BuildHasher, name: &str) -> u64 {
    hasher.hash_one(name.to_ascii_lowercase())
}
