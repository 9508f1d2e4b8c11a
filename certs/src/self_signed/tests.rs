use std::time::Duration as StdDuration;

use rustls_pki_types::{ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn authority() -> Authority {
    Authority::create("Gatehouse CA", NOW).unwrap()
}

fn host(text: &str) -> SubjectName {
    SubjectName::Host(HostPattern::parse(text).unwrap())
}

fn trusted(anchor: &TrustAnchor<'_>, leaf: &[u8], at: u64, usage: KeyUsage) -> Result<(), webpki::Error> {
    let der = CertificateDer::from(leaf);
    let end = EndEntityCert::try_from(&der)?;
    let time = UnixTime::since_unix_epoch(StdDuration::from_secs(at));
    end.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        std::slice::from_ref(anchor),
        &[],
        time,
        usage,
        None,
        None,
    )
    .map(drop)
}

fn serves(leaf: &[u8], name: &str) -> bool {
    let der = CertificateDer::from(leaf);
    let end = EndEntityCert::try_from(&der).unwrap();
    end.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).is_ok()
}

#[test]
fn a_server_leaf_is_trusted_for_its_names_and_its_days() {
    let authority = authority();
    let names = [host("app.example"), host("*.dev.example"), SubjectName::Address([127, 0, 0, 1].into())];
    let leaf = authority.issue_server(&names, NOW, 90).unwrap();
    let ca = CertificateDer::from(authority.certificate_der());
    let anchor = anchor_from_trusted_cert(&ca).unwrap();

    for at in [NOW - 3600, NOW, NOW + 90 * DAY] {
        trusted(&anchor, &leaf.chain[0], at, KeyUsage::server_auth()).unwrap();
    }
    for at in [NOW - 3601, NOW + 90 * DAY + 1] {
        trusted(&anchor, &leaf.chain[0], at, KeyUsage::server_auth()).unwrap_err();
    }
    trusted(&anchor, &leaf.chain[0], NOW, KeyUsage::client_auth()).unwrap_err();
    for name in ["app.example", "a.dev.example", "127.0.0.1"] {
        assert!(serves(&leaf.chain[0], name), "{name}");
    }
    for name in ["other.example", "a.b.dev.example", "dev.example", "127.0.0.2"] {
        assert!(!serves(&leaf.chain[0], name), "{name}");
    }
}

#[test]
fn a_leaf_of_another_authority_is_not_trusted() {
    let (ours, theirs) = (authority(), authority());
    let leaf = theirs.issue_server(&[host("app.example")], NOW, 90).unwrap();
    let ca = CertificateDer::from(ours.certificate_der());
    let anchor = anchor_from_trusted_cert(&ca).unwrap();
    trusted(&anchor, &leaf.chain[0], NOW, KeyUsage::server_auth()).unwrap_err();
}

#[test]
fn a_leaf_lives_397_days_at_most() {
    let leaf = authority().issue_server(&[host("app.example")], NOW, 4000).unwrap();
    let (_, parsed) = X509Certificate::from_der(&leaf.chain[0]).unwrap();
    assert_eq!(parsed.validity().not_after.timestamp() as u64, NOW + LEAF_DAYS_MAX * DAY);
}

#[test]
fn a_leaf_without_a_name_is_refused_and_the_catch_all_stands_for_nobody() {
    assert!(matches!(authority().issue_server(&[], NOW, 90), Err(AuthorityError::NoNames)));
    let leaf = authority().issue_server(&[host("*")], NOW, 90).unwrap();
    assert!(serves(&leaf.chain[0], NOBODY));
}

#[test]
fn an_authority_survives_its_parts() {
    let first = authority();
    let again = Authority::from_parts(first.certificate_der(), &first.key_pkcs8()).unwrap();
    assert_eq!(first.certificate_der(), again.certificate_der());
    let leaf = again.issue_server(&[host("app.example")], NOW, 90).unwrap();
    let ca = CertificateDer::from(first.certificate_der());
    let anchor = anchor_from_trusted_cert(&ca).unwrap();
    trusted(&anchor, &leaf.chain[0], NOW, KeyUsage::server_auth()).unwrap();

    let other = authority();
    let mixed = Authority::from_parts(first.certificate_der(), &other.key_pkcs8());
    assert!(matches!(mixed, Err(AuthorityError::KeyMismatch)));
    let a_leaf = Authority::from_parts(&leaf.chain[0], &leaf.key);
    assert!(matches!(a_leaf, Err(AuthorityError::NotAnAuthority)));
    let rubbish = Authority::from_parts(b"rubbish", &first.key_pkcs8());
    assert!(matches!(rubbish, Err(AuthorityError::Certificate { .. })));
}

#[test]
fn an_authority_signs_no_further_authority() {
    let authority = authority();
    let (_, parsed) = X509Certificate::from_der(authority.certificate_der()).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap();
    assert!(constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    assert!(parsed.name_constraints().unwrap().is_none());
    let ten_years =
        (3650 * DAY..=3654 * DAY).contains(&(parsed.validity().not_after.timestamp() as u64 - NOW));
    assert!(ten_years);
}

#[test]
fn a_gateway_gets_the_names_it_is_given_and_not_those_it_asks_for() {
    let authority = authority();
    let request = Request::create("root").unwrap();
    let name = ClientName { common_name: "gate-1", uri: "urn:gatehouse:gateway:1" };
    let chain = authority.sign_gateway_csr(&request.csr_der, name, NOW, 90).unwrap();

    let parts = crate::identity::Parts::parse(&chain, request.key.expose()).unwrap();
    assert_eq!(parts.subject_names.uris, ["urn:gatehouse:gateway:1"]);
    let (_, parsed) = X509Certificate::from_der(&chain[0]).unwrap();
    assert_eq!(parsed.subject().to_string(), "CN=gate-1");
    let ca = CertificateDer::from(authority.certificate_der());
    let anchor = anchor_from_trusted_cert(&ca).unwrap();
    trusted(&anchor, &chain[0], NOW, KeyUsage::client_auth()).unwrap();
    trusted(&anchor, &chain[0], NOW, KeyUsage::server_auth()).unwrap_err();
}

#[test]
fn a_request_that_was_changed_on_its_way_is_refused() {
    let mut request = Request::create("gate-1").unwrap();
    let name = ClientName { common_name: "gate-1", uri: "urn:gatehouse:gateway:1" };
    *request.csr_der.last_mut().unwrap() ^= 1;
    let error = authority().sign_gateway_csr(&request.csr_der, name, NOW, 90).unwrap_err();
    assert!(matches!(error, AuthorityError::Request(_)), "{error}");
    let error = authority().sign_gateway_csr(b"", name, NOW, 90).unwrap_err();
    assert!(matches!(error, AuthorityError::Request(_)), "{error}");
}

#[test]
fn a_request_for_another_kind_of_key_is_refused() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap();
    let name = ClientName { common_name: "gate-1", uri: "urn:gatehouse:gateway:1" };
    let error = authority().sign_gateway_csr(csr.der(), name, NOW, 90).unwrap_err();
    assert!(matches!(error, AuthorityError::RequestKey), "{error}");
}

// One byte of each input changed at each place: an answer, never a panic.
#[test]
fn damaged_bytes_are_refused_or_read_and_nothing_panics() {
    let authority = authority();
    let leaf = authority.issue_server(&[host("app.example")], NOW, 90).unwrap();
    let request = Request::create("gate-1").unwrap();
    let name = ClientName { common_name: "gate-1", uri: "urn:gatehouse:gateway:1" };
    for bits in [0x01, 0x80, 0xff] {
        for place in 0..leaf.chain[0].len() {
            let mut chain = leaf.chain.clone();
            chain[0][place] ^= bits;
            let _ = crate::identity::Parts::parse(&chain, leaf.key.expose());
        }
        for place in 0..leaf.key.expose().len() {
            let mut key = leaf.key.expose().clone();
            key[place] ^= bits;
            let _ = crate::identity::Parts::parse(&leaf.chain, &key);
            let _ = Authority::from_parts(authority.certificate_der(), &Secret::new(key));
        }
        for place in 0..request.csr_der.len() {
            let mut csr = request.csr_der.clone();
            csr[place] ^= bits;
            // The few bytes that no signature covers may change; the key that is signed may not.
            if let Ok(chain) = authority.sign_gateway_csr(&csr, name, NOW, 90) {
                crate::identity::Parts::parse(&chain, request.key.expose()).unwrap();
            }
        }
    }
}

#[test]
fn serials_are_random() {
    let authority = authority();
    let serial = || {
        let leaf = authority.issue_server(&[host("app.example")], NOW, 90).unwrap();
        X509Certificate::from_der(&leaf.chain[0]).unwrap().1.raw_serial().to_vec()
    };
    let (one, two) = (serial(), serial());
    assert_ne!(one, two);
    assert_eq!(one.len(), 16);
}

#[test]
fn the_pem_is_what_it_encodes() {
    use rustls_pki_types::pem::PemObject as _;
    let authority = authority();
    let pem = authority.certificate_pem();
    assert!(pem.lines().all(|line| line.len() <= 64));
    assert_eq!(&*CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(), authority.certificate_der());
}

#[test]
fn a_clock_at_either_end_of_time_still_signs() {
    for now in [0, u64::MAX] {
        Authority::create("CA", now).unwrap().issue_server(&[host("app.example")], now, 90).unwrap();
    }
}
