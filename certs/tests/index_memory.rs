//! What ten thousand certificates cost the index: bytes each, look-ups that allocate nothing, one swap that reads one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

use std::sync::Arc;

use certs::index::CertIndex;
use certs::self_signed::{Authority, SubjectName};
use config::id::IdentityId;
use config::name::HostPattern;
use config::snapshot::{Generation, Identity, Lineage, Object, Snapshot, Value};

const COUNT: u32 = 10_000;
/// Bytes that an identity may keep, its chain included; what its parsed key takes in the library's own memory is not
/// counted. Measured: 1.6 kB (benches/README.md).
const BYTES_EACH_MAX: i64 = 6 * 1024;

fn snapshot(generation: u64, objects: &[Object]) -> Snapshot {
    Snapshot::of(Lineage::default(), Generation(generation), objects.iter().cloned())
}

fn object(id: u32, authority: &Authority, leaf: &certs::self_signed::Leaf) -> Object {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    let names = [HostPattern::parse(&format!("host-{id}.example.com")).unwrap()];
    let chain = [leaf.chain[0].clone(), authority.certificate_der().to_vec()];
    let identity = Identity {
        id: IdentityId::from_bytes(bytes),
        names: names.into(),
        preferred: false,
        chain: chain.into(),
        key: leaf.key.clone(),
    };
    Object::encode(&Value::Identity(identity)).unwrap()
}

#[test]
fn ten_thousand_identities_are_small_and_a_swap_reads_one() {
    let now = 1_800_000_000;
    let authority = Authority::create("Test CA", now).unwrap();
    let name = |text| SubjectName::Host(HostPattern::parse(text).unwrap());
    let leaf = authority.issue_server(&[name("*.example.com")], now, 90).unwrap();
    let mut objects: Vec<_> = (0..COUNT).map(|id| object(id, &authority, &leaf)).collect();
    let old = snapshot(1, &objects);

    let mut built = None;
    let kept = allocation_counter::measure(|| built = Some(CertIndex::build(&old)));
    let (index, degraded) = built.unwrap();
    assert_eq!(degraded, Vec::<String>::new());
    assert_eq!(index.len(), COUNT as usize);
    let each = kept.bytes_current / i64::from(COUNT);
    println!("{each} bytes an identity, {} allocations to build it", kept.count_total / u64::from(COUNT));
    assert!(each < BYTES_EACH_MAX, "{each} bytes an identity");

    let looked = allocation_counter::measure(|| {
        assert!(index.find(Some("host-77.example.com")).is_some());
        assert!(index.find(Some("unknown.example.net")).is_some());
        assert!(index.find(None).is_some());
    });
    assert_eq!(looked.count_total, 0, "{looked:?}");

    let other = authority.issue_server(&[name("*.example.com")], now, 30).unwrap();
    objects[77] = object(77, &authority, &other);
    let new = snapshot(2, &objects);
    let delta = config::delta::diff(&old, &new);
    let (swapped, _) = index.rebuild(&old, &new, &delta);
    // What is the same object was not read again.
    let same = |id: &u32| {
        let host = format!("host-{id}.example.com");
        Arc::ptr_eq(index.identity(Some(&host)).unwrap(), swapped.identity(Some(&host)).unwrap())
    };
    let read: Vec<_> = (0..COUNT).filter(|id| !same(id)).collect();
    assert_eq!(read, [77]);
}
