use super::*;
use crate::delta;
use crate::id::KeyId;
use crate::name::{Namespace, NetworkName, UserName, VmName};
use crate::snapshot::{
    Generation, Lineage, Object, Ports, Snapshot, SshAccess, SshGrant, SshKey, SshScope, Value,
};

const WEB1: VmId = VmId::from_bytes([1; 16]);
const WEB2: VmId = VmId::from_bytes([2; 16]);
const DB: VmId = VmId::from_bytes([3; 16]);
const LOCAL: VmId = VmId::from_bytes([4; 16]);
const NOW: u64 = 1_000;

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
        ssh: Default::default(),
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
    match table().jump(&principal(9, grants, &[]), target, port, NOW) {
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
    let refusal = table.jump(&principal(9, "root", &[]), "web.ns1", 22, NOW).unwrap_err();
    let candidates = vec![WEB1.to_string(), WEB2.to_string()];
    assert_eq!(refusal, JumpRefusal::Ambiguous { target: "web.ns1".into(), candidates });
}

#[test]
fn a_vm_named_like_the_id_of_another_does_not_take_its_place() {
    let vms = [vm(WEB1, "web", "ns1", "10.0.0.1"), vm(WEB2, &WEB1.to_string(), "ns1", "10.0.0.2")];
    let table = RouteTable::compile(&snapshot(vms.map(Value::Vm))).unwrap();
    let refusal = table.jump(&principal(9, "root", &[]), &WEB1.to_string(), 22, NOW).unwrap_err();
    assert!(matches!(refusal, JumpRefusal::Ambiguous { .. }), "{refusal}");
}

#[test]
fn a_hundred_meanings_are_named_up_to_the_bound() {
    let vms = (0..100).map(|n| vm(VmId::from_bytes([n; 16]), "web", &format!("ns{n}"), "10.0.0.1"));
    let table = RouteTable::compile(&snapshot(vms.map(Value::Vm))).unwrap();
    let JumpRefusal::Ambiguous { candidates, .. } =
        table.jump(&principal(9, "root", &[]), "web", 22, NOW).unwrap_err()
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
    let refusal = table.jump(&principal(9, "operator", &[]), "web", 22, NOW).unwrap_err();
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
        assert!(before.jump(person, target, 22, NOW).is_ok(), "{target}");
        assert!(after.jump(person, target, 22, NOW).is_err(), "{target}");
    }
    assert_eq!(
        after.jump(person, "web-new", 22, NOW).unwrap(),
        after.jump(person, "10.0.0.7", 22, NOW).unwrap()
    );
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

fn granted(scope: SshScope, ports: &[(u16, u16)], until_ms: Option<u64>) -> SshGrant {
    let ports = ports.iter().map(|(first, last)| Ports { first: *first, last: *last }).collect();
    SshGrant { scope, ports, until_ms }
}

/// Where somebody with these grants of SSH and a role gets, and until when.
fn by_grants(role: &str, ssh: SshAccess, target: &str, port: u16) -> Result<(u8, Option<u64>), String> {
    let person = Principal { ssh, ..principal(9, role, &[]) };
    let target = table().jump(&person, target, port, NOW).map_err(|refusal| refusal.to_string())?;
    Ok((target.vm.unwrap().to_bytes()[0], target.until_ms))
}

fn with(grants: impl IntoIterator<Item = SshGrant>) -> SshAccess {
    SshAccess { grants: grants.into_iter().collect(), ..SshAccess::default() }
}

#[test]
fn a_grant_opens_its_machines_and_ports_and_no_others() {
    let one = || with([granted(SshScope::Vm(WEB2), &[(22, 22), (8000, 8010)], None)]);
    for port in [22, 2022, 8000, 8010] {
        assert_eq!(by_grants("", one(), "web", port), Ok((2, None)), "{port}");
    }
    assert!(by_grants("", one(), "web", 8011).unwrap_err().contains("not open"));
    assert!(by_grants("", one(), "db", 22).unwrap_err().contains("no VM of yours"));
    let tenant =
        || with([granted(SshScope::Namespace(Namespace::parse("ns2").unwrap()), &[(5432, 5432)], None)]);
    assert_eq!(by_grants("guest", tenant(), "db", 5432), Ok((3, None)));
    assert!(by_grants("guest", tenant(), "db", 22).unwrap_err().contains("not open"));
    // The role keeps what it has.
    assert_eq!(by_grants("operator:ns2", tenant(), "db", 22), Ok((3, None)));
}

#[test]
fn a_right_ends_when_its_time_is_over_and_the_longest_counts() {
    let vm = || SshScope::Vm(DB);
    let grants = |ends: &[Option<u64>]| with(ends.iter().map(|until| granted(vm(), &[(22, 22)], *until)));
    assert_eq!(by_grants("", grants(&[Some(NOW + 1)]), "db", 22), Ok((3, Some(NOW + 1))));
    assert!(by_grants("", grants(&[Some(NOW)]), "db", 22).unwrap_err().contains("no VM of yours"));
    assert_eq!(by_grants("", grants(&[Some(5_000), Some(9_000)]), "db", 22), Ok((3, Some(9_000))));
    assert_eq!(by_grants("", grants(&[Some(5_000), None]), "db", 22), Ok((3, None)));
    let whole = SshAccess { until_ms: Some(4_000), ..grants(&[Some(5_000)]) };
    assert_eq!(by_grants("", whole, "db", 22), Ok((3, Some(4_000))));
    let over = || SshAccess { until_ms: Some(NOW), ..SshAccess::default() };
    for (target, role) in [("db", "root"), ("192.0.2.9", "root"), ("none", "guest")] {
        assert_eq!(by_grants(role, over(), target, 22).unwrap_err(), "your access by SSH has ended");
    }
}

#[test]
fn a_person_and_an_authority_are_found_until_they_are_gone() {
    let ca = |id, key: &[u8]| {
        Value::SshUserCa(SshUserCa {
            id: KeyId::from_bytes([id; 16]),
            name: "people".into(),
            key: SshKey { blob: key.into() },
            revoked_serials: Box::new([7]),
            revoked_key_ids: Box::new(["ada@old".into()]),
            revoked_keys: Box::new([[3; 32]]),
        })
    };
    let old =
        snapshot([Value::Principal(principal(5, "", &[])), ca(2, b"one"), ca(1, b"one"), ca(3, b"other")]);
    let table = RouteTable::compile(&old).unwrap();
    assert_eq!(table.principal_by_name("someone").map(|found| found.id.to_bytes()[0]), Some(5));
    assert!(table.principal_by_name("Someone").is_none());
    let found = table.ssh_user_ca(b"one").unwrap();
    assert_eq!(found.id.to_bytes()[0], 1);
    assert!(found.revokes(7, "x", &[0; 32]) && found.revokes(1, "ada@old", &[0; 32]));
    assert!(found.revokes(1, "x", &[3; 32]) && !found.revokes(1, "x", &[0; 32]));

    let new = snapshot([ca(3, b"moved")]).numbered(Generation(2));
    let after = table.recompile(&old, &new, &delta::diff(&old, &new)).unwrap();
    assert!(after.principal_by_name("someone").is_none());
    assert!(after.ssh_user_ca(b"one").is_none() && after.ssh_user_ca(b"other").is_none());
    assert!(after.ssh_user_ca(b"moved").is_some());
}
