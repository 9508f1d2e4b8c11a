use super::*;
use crate::delta;
use crate::name::{Namespace, NetworkName, UserName, VmName};
use crate::snapshot::{Generation, Lineage, Object, Snapshot, SshKey, Value};

const WEB1: VmId = VmId::from_bytes([1; 16]);
const WEB2: VmId = VmId::from_bytes([2; 16]);
const DB: VmId = VmId::from_bytes([3; 16]);
const LOCAL: VmId = VmId::from_bytes([4; 16]);

fn vm(id: VmId, name: &str, namespace: &str, address: &str) -> Vm {
    Vm {
        id,
        name: VmName::parse(name).unwrap(),
        namespace: Namespace::parse(namespace).unwrap(),
        network: NetworkName::parse(namespace).unwrap(),
        address: address.parse().unwrap(),
        ssh_port: 2022,
        loopback_ok: id == LOCAL,
    }
}

fn principal(id: u8, grants: &str, keys: &[&[u8]]) -> Principal {
    Principal {
        id: UserId::from_bytes([id; 16]),
        name: UserName::parse("someone").unwrap(),
        keys: keys.iter().map(|blob| SshKey { blob: (*blob).into() }).collect(),
        grants: grants.parse().unwrap(),
    }
}

fn snapshot(values: impl IntoIterator<Item = Value>) -> Snapshot {
    let objects = values.into_iter().map(|value| Object::encode(&value).unwrap());
    Snapshot::of(Lineage([1; 16]), Generation(1), objects)
}

fn table() -> RouteTable {
    let vms = [
        vm(WEB1, "web", "ns1", "10.0.0.1"),
        vm(WEB2, "Web", "ns2", "10.0.0.2"),
        vm(DB, "db", "ns2", "10.0.0.1"),
        vm(LOCAL, "here", "ns2", "127.0.0.1"),
    ];
    RouteTable::compile(&snapshot(vms.map(Value::Vm))).unwrap()
}

/// `vm address`, or what was refused.
fn jump(grants: &str, target: &str, port: u16) -> String {
    match table().jump(&principal(9, grants, &[]), target, port) {
        Ok(JumpTarget { vm: Some(vm), address, .. }) => format!("{} {address}", vm.to_bytes()[0]),
        Ok(JumpTarget { vm: None, address, .. }) => format!("- {address}"),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn a_vm_is_reached_by_each_of_its_words() {
    for target in ["web", "WEB", "web.ns1", "Web.NS1", "10.0.0.1", "::ffff:10.0.0.1", &WEB1.to_string()] {
        assert_eq!(jump("operator:ns1", target, 22), "1 10.0.0.1:2022", "{target}");
    }
    assert_eq!(jump("admin:ns2", "10.0.0.1", 22), "3 10.0.0.1:2022");
}

#[test]
fn guests_strangers_and_other_tenants_are_told_the_same_as_for_a_vm_that_is_not_there() {
    for target in
        ["web", "web.ns1", "10.0.0.1", &WEB1.to_string(), "none", "none.ns1", "web.ns1.", "", ".", "web."]
    {
        for grants in ["guest", "guest:ns1", "", "admin:ns3 guest:ns1"] {
            assert_eq!(jump(grants, target, 22), format!("no VM of yours is called {target:?}"), "{grants}");
        }
    }
}

#[test]
fn a_word_with_two_reachable_meanings_is_refused_with_both() {
    assert_eq!(jump("operator", "web", 22), "\"web\" is several VMs: say Web.ns2 or web.ns1");
    assert_eq!(jump("root", "10.0.0.1", 22), "\"10.0.0.1\" is several VMs: say db.ns2 or web.ns1");
    assert_eq!(jump("root", "web.ns2", 22), "2 10.0.0.2:2022");
    assert_eq!(jump("operator:ns2 guest:ns1", "web", 22), "2 10.0.0.2:2022");
}

#[test]
fn two_vms_that_differ_in_case_alone_are_told_apart_by_id() {
    let vms = [vm(WEB1, "web", "ns1", "10.0.0.1"), vm(WEB2, "Web", "ns1", "10.0.0.2")];
    let table = RouteTable::compile(&snapshot(vms.map(Value::Vm))).unwrap();
    let refusal = table.jump(&principal(9, "root", &[]), "web.ns1", 22).unwrap_err();
    let candidates = vec![WEB1.to_string(), WEB2.to_string()];
    assert_eq!(refusal, JumpRefusal::Ambiguous { target: "web.ns1".into(), candidates });
}

#[test]
fn a_vm_named_like_the_id_of_another_does_not_take_its_place() {
    let vms = [vm(WEB1, "web", "ns1", "10.0.0.1"), vm(WEB2, &WEB1.to_string(), "ns1", "10.0.0.2")];
    let table = RouteTable::compile(&snapshot(vms.map(Value::Vm))).unwrap();
    let refusal = table.jump(&principal(9, "root", &[]), &WEB1.to_string(), 22).unwrap_err();
    assert!(matches!(refusal, JumpRefusal::Ambiguous { .. }), "{refusal}");
}

#[test]
fn a_hundred_meanings_are_named_up_to_the_bound() {
    let vms = (0..100).map(|n| vm(VmId::from_bytes([n; 16]), "web", &format!("ns{n}"), "10.0.0.1"));
    let table = RouteTable::compile(&snapshot(vms.map(Value::Vm))).unwrap();
    let JumpRefusal::Ambiguous { candidates, .. } =
        table.jump(&principal(9, "root", &[]), "web", 22).unwrap_err()
    else {
        panic!("it has a hundred meanings")
    };
    assert_eq!(candidates.len(), limits::JUMP_CANDIDATES_MAX);
}

#[test]
fn only_root_reaches_other_ports() {
    assert_eq!(jump("operator:ns1", "web", 2022), "1 10.0.0.1:2022");
    assert_eq!(jump("admin:ns1", "web", 80), "port 80 of \"web\" is not open to jumps");
    assert_eq!(jump("root", "web.ns1", 80), "1 10.0.0.1:80");
}

#[test]
fn a_literal_address_is_roots_alone() {
    assert_eq!(jump("root", "192.0.2.9", 2200), "- 192.0.2.9:2200");
    assert_eq!(jump("root", "2001:db8::9", 22), "- [2001:db8::9]:22");
    assert_eq!(jump("admin", "192.0.2.9", 22), "no VM of yours is called \"192.0.2.9\"");
}

#[test]
fn addresses_that_are_refused_to_everyone_are_refused_to_root() {
    for (target, part) in [
        ("localhost", "loopback"),
        ("LocalHost.", "loopback"),
        ("127.0.0.2", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.2", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("127.1", "no VM of yours"),
        ("2130706433", "no VM of yours"),
        ("fe80::1%eth0", "no VM of yours"),
        ("example.com", "no VM of yours"),
    ] {
        let refusal = jump("root", target, 22);
        assert!(refusal.contains(part), "{target}: {refusal}");
    }
}

#[test]
fn loopback_is_reached_only_where_root_set_it() {
    assert_eq!(jump("operator:ns2", "here", 22), "4 127.0.0.1:2022");
    let table = RouteTable::compile(&snapshot([Value::Vm(vm(WEB1, "web", "ns1", "127.0.0.1"))])).unwrap();
    let refusal = table.jump(&principal(9, "operator", &[]), "web", 22).unwrap_err();
    assert!(matches!(refusal, JumpRefusal::Forbidden { cause: Forbidden::Loopback, .. }));
}

#[test]
fn a_refusal_repeats_no_more_than_a_line_of_hostile_text() {
    assert!(jump("root", &"x".repeat(100_000), 22).len() < 200);
}

#[test]
fn a_key_belongs_to_the_oldest_of_those_who_claim_it() {
    let people = [principal(5, "root", &[b"mine", b"other"]), principal(3, "guest", &[b"mine"])];
    let table = RouteTable::compile(&snapshot(people.map(Value::Principal))).unwrap();
    let holder = |blob: &[u8]| table.principal_by_key(blob).map(|principal| principal.id.to_bytes()[0]);
    assert_eq!(holder(b"mine"), Some(3));
    assert_eq!(holder(b"other"), Some(5));
    assert_eq!(holder(b"none"), None);
    assert_eq!(table.principal(UserId::from_bytes([5; 16])).map(|p| p.keys.len()), Some(2));
}

#[test]
fn a_change_of_a_vm_or_a_person_takes_the_old_words_away() {
    let old = snapshot([
        Value::Vm(vm(WEB1, "web", "ns1", "10.0.0.1")),
        Value::Vm(vm(DB, "db", "ns1", "10.0.0.3")),
        Value::Principal(principal(5, "operator:ns1", &[b"old"])),
        Value::Principal(principal(6, "operator:ns1", &[b"gone"])),
    ]);
    let new = snapshot([
        Value::Vm(vm(WEB1, "web-new", "ns1", "10.0.0.7")),
        Value::Principal(principal(5, "operator:ns1", &[b"new"])),
    ])
    .numbered(Generation(2));
    let before = RouteTable::compile(&old).unwrap();
    let after = before.recompile(&old, &new, &delta::diff(&old, &new)).unwrap();

    for blob in [b"old".as_slice(), b"gone"] {
        assert!(before.principal_by_key(blob).is_some() && after.principal_by_key(blob).is_none());
    }
    let person = after.principal_by_key(b"new").unwrap();
    for target in ["web", "10.0.0.1", "db", "10.0.0.3", &DB.to_string()] {
        assert!(before.jump(person, target, 22).is_ok(), "{target}");
        assert!(after.jump(person, target, 22).is_err(), "{target}");
    }
    assert_eq!(after.jump(person, "web-new", 22).unwrap(), after.jump(person, "10.0.0.7", 22).unwrap());
    assert!(after.vm(DB).is_none() && after.principal(UserId::from_bytes([6; 16])).is_none());
}

#[test]
fn what_a_change_of_one_vm_or_person_does_not_touch_is_shared() {
    let mut everybody = Vec::new();
    for n in 0..=255 {
        everybody.push(Value::Vm(vm(VmId::from_bytes([n; 16]), "web", &format!("ns{n}"), "10.0.0.1")));
        everybody.push(Value::Principal(principal(n, "guest", &[&[n]])));
    }
    let old = snapshot(everybody);
    let before = RouteTable::compile(&old).unwrap();
    let changed = |value: Value| {
        let mut new = old.clone().numbered(Generation(2));
        new.put(Object::encode(&value).unwrap());
        let after = before.recompile(&old, &new, &delta::diff(&old, &new)).unwrap();
        let machines = before.parts.machines.shards_not_shared(&after.parts.machines);
        (machines, before.parts.people.shards_not_shared(&after.parts.people))
    };
    let moved = vm(VmId::from_bytes([7; 16]), "web", "ns7", "10.0.0.2");
    assert_eq!(changed(Value::Vm(moved)), ([1, 1, 1], [0, 0]));
    // The key is the same and so in the same shard.
    assert_eq!(changed(Value::Principal(principal(7, "root", &[&[7]]))), ([0, 0, 0], [1, 1]));
}
