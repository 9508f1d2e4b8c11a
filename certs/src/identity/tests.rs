use super::*;
use crate::self_signed::{Authority, Leaf, SubjectName};

const NOW: u64 = 1_800_000_000;

fn leaf(names: &[&str]) -> Leaf {
    let authority = Authority::create("Test CA", NOW).unwrap();
    let names: Vec<_> =
        names.iter().map(|name| SubjectName::Host(HostPattern::parse(name).unwrap())).collect();
    authority.issue_server(&names, NOW, 30).unwrap()
}

fn parse(leaf: &Leaf) -> Result<Parts, IdentityError> {
    Parts::parse(&leaf.chain, leaf.key.expose())
}

#[test]
fn a_leaf_says_what_it_is_for_and_how_long() {
    let parts = parse(&leaf(&["app.example", "*.dev.example"])).unwrap();
    let hosts: Vec<_> = parts.subject_names.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["app.example", "*.dev.example"]);
    assert_eq!(
        parts.validity,
        Validity { not_before: NOW as i64 - 3600, not_after: NOW as i64 + 30 * 86_400 }
    );
    assert!(parts.validity.covers(NOW as i64));
    assert!(!parts.validity.covers(parts.validity.not_after + 1));
}

#[test]
fn a_key_of_another_leaf_is_refused() {
    let (one, two) = (leaf(&["one.example"]), leaf(&["two.example"]));
    let error = Parts::parse(&one.chain, two.key.expose()).unwrap_err();
    assert_eq!(error, IdentityError::KeyMismatch);
}

#[test]
fn damage_is_named_by_its_place() {
    let whole = leaf(&["app.example"]);
    assert_eq!(Parts::parse(&[], whole.key.expose()).unwrap_err(), IdentityError::NoChain);

    let mut chain = whole.chain.clone();
    chain.push(vec![0x30, 0x03, 1, 2, 3]);
    let error = Parts::parse(&chain, whole.key.expose()).unwrap_err();
    assert!(matches!(error, IdentityError::Certificate { place: 1, .. }), "{error}");

    let mut trailing = whole.chain.clone();
    trailing[0].push(0);
    let error = Parts::parse(&trailing, whole.key.expose()).unwrap_err();
    assert!(matches!(error, IdentityError::Certificate { place: 0, .. }), "{error}");

    let error = Parts::parse(&whole.chain, b"not a key").unwrap_err();
    assert!(matches!(error, IdentityError::Key { .. }), "{error}");

    let long = vec![whole.chain[0].clone(); CHAIN_MAX + 1];
    assert_eq!(Parts::parse(&long, whole.key.expose()).unwrap_err(), IdentityError::ChainTooLong);
}

#[test]
fn a_name_that_the_leaf_does_not_cover_is_known() {
    let leaf = leaf(&["app.example", "*.dev.example"]);
    let pattern = |text: &str| HostPattern::parse(text).unwrap();
    let ready = Ready::of(&Identity {
        id: IdentityId::from_bytes([1; 16]),
        names: ["app.example", "a.dev.example", "a.b.dev.example", "*.example", "*"].map(pattern).into(),
        preferred: false,
        chain: leaf.chain.into(),
        key: leaf.key,
    })
    .unwrap();
    let uncovered: Vec<_> = ready.uncovered().map(ToString::to_string).collect();
    assert_eq!(uncovered, ["a.b.dev.example", "*.example"]);
}
