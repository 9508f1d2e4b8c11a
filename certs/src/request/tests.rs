use config::name::HostPattern;
use proptest::prelude::*;

use super::*;
use crate::self_signed::{Authority, ClientName};

fn host(text: &str) -> SubjectName {
    SubjectName::Host(HostPattern::parse(text).unwrap())
}

fn wanted() -> Wanted {
    let subject = Subject {
        common_name: Some("app.example".to_owned()),
        organization: Some("Example & Söhne".to_owned()),
        organizational_unit: Some("Web".to_owned()),
        locality: Some("Wien".to_owned()),
        state: Some("Wien".to_owned()),
        country: Some("AT".to_owned()),
    };
    Wanted {
        subject,
        names: vec![host("app.example"), host("*.app.example"), SubjectName::Address([10, 0, 0, 1].into())],
    }
}

#[test]
fn a_request_says_what_it_was_asked_for() {
    for (choice, kind) in [
        (KeyChoice::EcdsaP256, KeyKind::EcdsaP256),
        (KeyChoice::EcdsaP384, KeyKind::EcdsaP384),
        (KeyChoice::Rsa2048, KeyKind::Rsa(2048)),
    ] {
        let made = create(&wanted(), choice).unwrap();
        for bytes in [made.csr_pem.as_bytes(), &made.csr_der] {
            let asked = parse(bytes).unwrap();
            assert_eq!((asked.key_kind, asked.names.as_slice()), (kind.clone(), wanted().names.as_slice()));
            assert_eq!(asked.subject, "C=AT, ST=Wien, L=Wien, O=Example & Söhne, OU=Web, CN=app.example");
        }
    }
}

#[test]
fn a_key_that_is_there_already_can_be_asked_for_again() {
    let first = create(&wanted(), KeyChoice::default()).unwrap();
    let again = for_key(&wanted(), &first.key).unwrap();
    assert_eq!(parse(&again.csr_der).unwrap().public_key, parse(&first.csr_der).unwrap().public_key);
    assert_eq!(again.key, first.key);
    let error = for_key(&wanted(), &Secret::new(b"no key".to_vec())).unwrap_err();
    assert!(matches!(error, RequestError::Key { .. }));
}

#[test]
fn the_chain_that_comes_back_is_paired_with_its_key() {
    let now = 1_800_000_000_u64;
    let made = create(&wanted(), KeyChoice::default()).unwrap();
    // The authority signs clients' requests only; that its answer is for no server is found after the key was.
    let authority = Authority::create("Test CA", now).unwrap();
    let name = ClientName { common_name: "x", uri: "urn:x" };
    let chain = authority.sign_gateway_csr(&made.csr_der, name, now, 90).unwrap();
    let now = i64::try_from(now).unwrap();
    assert_eq!(load(&[&chain[0]], &made.key, now).unwrap_err().code(), "no_names");
    let other = create(&wanted(), KeyChoice::default()).unwrap();
    assert_eq!(load(&[&chain[0]], &other.key, now).unwrap_err().code(), "key_mismatch");
}

#[test]
fn what_cannot_stand_in_a_request_is_named() {
    let with = |change: fn(&mut Wanted)| {
        let mut wanted = wanted();
        change(&mut wanted);
        create(&wanted, KeyChoice::default()).unwrap_err().to_string()
    };
    assert!(with(|wanted| wanted.names.clear()).contains("--san"));
    assert!(with(|wanted| wanted.names.push(host("*"))).contains("\"*\""));
    assert!(with(|wanted| wanted.names = vec![host("a.example"); 101]).contains("101"));
    assert!(with(|wanted| wanted.subject.country = Some("Austria".to_owned())).starts_with("country"));
    assert!(with(|wanted| wanted.subject.organization = Some("x".repeat(65))).starts_with("organization"));
    assert!(with(|wanted| wanted.subject.locality = Some("a\nb".to_owned())).starts_with("locality"));
    assert!(with(|wanted| wanted.subject.common_name = Some(" ".to_owned())).starts_with("common name"));
}

#[test]
fn a_damaged_request_is_refused() {
    let made = create(&wanted(), KeyChoice::default()).unwrap();
    let mut forged = made.csr_der.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(matches!(parse(&forged), Err(RequestError::Unreadable { .. })));
    let mut trailing = made.csr_der.clone();
    trailing.push(0);
    assert!(matches!(parse(&trailing), Err(RequestError::Unreadable { .. })));
    let text = made.csr_pem.replace("REQUEST", "REQUES");
    assert!(matches!(parse(text.as_bytes()), Err(RequestError::Unreadable { .. })));
    assert!(matches!(parse(b""), Err(RequestError::Unreadable { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(at: prop::sample::Index, byte: u8) {
        let mut made = create(&wanted(), KeyChoice::default()).unwrap();
        let place = at.index(made.csr_der.len());
        made.csr_der[place] = byte;
        let _ = parse(&made.csr_der);
    }
}
