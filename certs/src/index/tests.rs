use super::*;
use crate::self_signed::{Authority, SubjectName};
use config::snapshot::{Generation, Lineage};

const NOW: u64 = 1_800_000_000;

struct Fixture {
    authority: Authority,
}

impl Fixture {
    fn new() -> Self {
        Self { authority: Authority::create("Test CA", NOW).unwrap() }
    }

    fn identity(&self, id: u8, names: &[&str], days: u64) -> Identity {
        let names: Box<[_]> = names.iter().map(|name| HostPattern::parse(name).unwrap()).collect();
        let subjects: Vec<_> = names.iter().cloned().map(SubjectName::Host).collect();
        let leaf = self.authority.issue_server(&subjects, NOW, days).unwrap();
        Identity {
            id: IdentityId::from_bytes([id; 16]),
            names,
            preferred: false,
            chain: leaf.chain.into(),
            key: leaf.key,
        }
    }
}

fn index(identities: &[Identity]) -> (CertIndex, Vec<String>) {
    let mut index = CertIndex::fallback();
    for identity in identities {
        index.add_identity(identity);
    }
    let degraded = index.degraded();
    (index, degraded)
}

fn found(index: &CertIndex, sni: Option<&str>) -> Option<u8> {
    index.identity(sni).map(|ready| ready.id.to_bytes()[0])
}

#[test]
fn the_exact_name_goes_before_the_wildcard_and_the_wildcard_before_the_default() {
    let make = Fixture::new();
    let (index, degraded) = index(&[
        make.identity(1, &["app.example"], 90),
        make.identity(2, &["*.example"], 90),
        make.identity(3, &["*"], 90),
    ]);
    assert_eq!(degraded, Vec::<String>::new());
    assert_eq!(found(&index, Some("app.example")), Some(1));
    assert_eq!(found(&index, Some("app.example.")), Some(1));
    assert_eq!(found(&index, Some("other.example")), Some(2));
    assert_eq!(found(&index, Some("a.b.example")), Some(3));
    assert_eq!(found(&index, Some("example")), Some(3));
    assert_eq!(found(&index, None), Some(3));
}

#[test]
fn a_name_that_nothing_serves_gets_the_throw_away_identity() {
    let (index, _) = index(&[Fixture::new().identity(1, &["app.example"], 90)]);
    let shown = index.find(Some("other.example")).unwrap();
    assert_ne!(shown.cert[0], index.find(Some("app.example")).unwrap().cert[0]);
    assert!(CertIndex::fallback().find(None).is_some());
    assert!(CertIndex::fallback().is_empty());
}

#[test]
fn one_bad_identity_degrades_alone_and_is_named() {
    let make = Fixture::new();
    let mut bad = make.identity(2, &["bad.example"], 90);
    bad.key = make.identity(4, &["x.example"], 90).key;
    let (index, degraded) = index(&[make.identity(1, &["app.example"], 90), bad]);
    assert_eq!(degraded.len(), 1);
    assert!(degraded[0].contains("bad.example") && degraded[0].contains("02020202"), "{degraded:?}");
    assert_eq!(found(&index, Some("app.example")), Some(1));
    assert_eq!(found(&index, Some("bad.example")), None);
    assert_eq!(index.len(), 1);
}

#[test]
fn a_bad_identity_is_named_until_it_is_mended_or_gone() {
    let make = Fixture::new();
    let mut bad = make.identity(2, &["bad.example"], 90);
    bad.chain = [].into();
    let (before, _) = index(&[bad]);
    let (old, new) = (snapshot(1), snapshot(2));
    let (mut after, degraded) = before.rebuild(&old, &new, &config::delta::diff(&old, &new));
    assert_eq!(degraded.len(), 1);
    after.remove(ObjectKey { kind: Kind::IDENTITY, id: [2; 16] });
    assert_eq!(after.degraded(), Vec::<String>::new());
}

#[test]
fn a_name_outside_the_certificate_is_named_and_served() {
    let make = Fixture::new();
    let mut odd = make.identity(1, &["app.example"], 90);
    odd.names = [HostPattern::parse("other.example").unwrap()].into();
    let (index, degraded) = index(&[odd]);
    assert!(degraded[0].ends_with("not valid for other.example"), "{degraded:?}");
    assert_eq!(found(&index, Some("other.example")), Some(1));
}

#[test]
fn of_two_identities_for_a_name_the_longer_lived_serves_in_either_order() {
    let make = Fixture::new();
    let short = make.identity(9, &["app.example"], 30);
    let long = make.identity(1, &["app.example"], 90);
    for order in [[short.clone(), long.clone()], [long, short]] {
        let (mut index, _) = index(&order);
        assert_eq!(found(&index, Some("app.example")), Some(1));
        index.remove(ObjectKey { kind: Kind::IDENTITY, id: [1; 16] });
        assert_eq!(found(&index, Some("app.example")), Some(9));
    }
}

#[test]
fn names_of_one_identity_are_of_the_same_trust() {
    let make = Fixture::new();
    let (index, _) =
        index(&[make.identity(1, &["a.example", "*.dev.example"], 90), make.identity(2, &["b.example"], 90)]);
    assert!(index.same_identity("a.example", "a.example"));
    assert!(index.same_identity("a.example", "x.dev.example"));
    assert!(!index.same_identity("a.example", "b.example"));
    assert!(!index.same_identity("a.example", "unknown.example"));
    assert!(index.same_identity("unknown.example", "elsewhere.example"));
}

#[test]
fn a_change_leaves_the_index_before_it_untouched() {
    let make = Fixture::new();
    let (before, _) = index(&[make.identity(1, &["a.example"], 90), make.identity(2, &["b.example"], 90)]);
    let mut after = before.clone();
    after.remove(ObjectKey { kind: Kind::IDENTITY, id: [1; 16] });
    after.add_identity(&make.identity(3, &["*"], 90));
    assert_eq!(found(&before, Some("a.example")), Some(1));
    assert_eq!(found(&after, Some("a.example")), Some(3));
    let kept = |index: &CertIndex| Arc::as_ptr(index.identity(Some("b.example")).unwrap());
    assert_eq!(kept(&before), kept(&after));
}

#[test]
fn a_delta_without_identities_keeps_the_index() {
    let (old, new) = (snapshot(1), snapshot(2));
    let delta = config::delta::diff(&old, &new);
    let (before, _) = index(&[Fixture::new().identity(1, &["a.example"], 90)]);
    let (after, degraded) = before.rebuild(&old, &new, &delta);
    assert_eq!(degraded, Vec::<String>::new());
    assert_eq!(found(&after, Some("a.example")), Some(1));
}

#[test]
fn a_delta_of_other_generations_is_not_trusted() {
    let (old, new) = (snapshot(1), snapshot(3));
    let delta = config::delta::diff(&snapshot(1), &snapshot(2));
    let (before, _) = index(&[Fixture::new().identity(1, &["a.example"], 90)]);
    let (after, _) = before.rebuild(&old, &new, &delta);
    assert!(after.is_empty());
}

fn snapshot(generation: u64) -> Snapshot {
    Snapshot::empty(Lineage::default(), Generation(generation))
}

fn of(generation: u64, identities: &[&Identity]) -> Snapshot {
    let objects = identities.iter().map(|one| Object::encode(&Value::Identity((*one).clone())).unwrap());
    Snapshot::of(Lineage::default(), Generation(generation), objects)
}

#[test]
fn an_index_rebuilt_from_a_delta_equals_one_built_anew() {
    let make = Fixture::new();
    let one = make.identity(1, &["a.example"], 90);
    let two = make.identity(2, &["b.example", "*.b.example"], 90);
    let moved = make.identity(2, &["c.example"], 90);
    let three = make.identity(3, &["*"], 90);
    let (old, new) = (of(1, &[&one, &two]), of(2, &[&moved, &three]));

    let (before, _) = CertIndex::build(&old);
    let (after, degraded) = before.rebuild(&old, &new, &config::delta::diff(&old, &new));
    let (anew, _) = CertIndex::build(&new);
    assert_eq!(degraded, Vec::<String>::new());
    for name in ["a.example", "b.example", "x.b.example", "c.example", "unknown.test"] {
        assert_eq!(found(&after, Some(name)), found(&anew, Some(name)), "{name}");
    }
    assert_eq!(found(&after, Some("c.example")), Some(2));
    assert_eq!(found(&after, Some("b.example")), Some(3));
    assert_eq!(after.len(), 2);
}

#[test]
fn an_identity_whose_bytes_cannot_be_read_is_named() {
    let key = ObjectKey { kind: Kind::IDENTITY, id: [5; 16] };
    let snapshot = Snapshot::of(Lineage::default(), Generation(1), [Object::new(key, *b"\xff\xff\xff")]);
    let (index, degraded) = CertIndex::build(&snapshot);
    assert!(index.is_empty());
    assert!(degraded.len() == 1 && degraded[0].contains("05050505"), "{degraded:?}");
}
