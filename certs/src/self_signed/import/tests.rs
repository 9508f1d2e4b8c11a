use std::time::Duration;

use config::secret::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::super::pem;
use super::*;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

type Change = fn(&mut CertificateParams);

struct Made {
    der: Vec<u8>,
    key: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Made {
    fn new(algorithm: &'static SignatureAlgorithm, by: Option<&Self>, change: Change) -> Self {
        let key = if algorithm == &PKCS_RSA_SHA256 {
            KeyPair::generate_rsa_for(algorithm, RsaKeySize::_2048).unwrap()
        } else {
            KeyPair::generate_for(algorithm).unwrap()
        };
        let mut params = CertificateParams::default();
        let date = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        (params.not_before, params.not_after) = (date(NOW - DAY), date(NOW + 3650 * DAY));
        params.distinguished_name = DistinguishedName::new();
        let name = if by.is_some() { "Example Issuing CA" } else { "Example Root CA" };
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        let der = match by {
            Some(by) => params.signed_by(&key, &by.issuer).unwrap().der().to_vec(),
            None => params.self_signed(&key).unwrap().der().to_vec(),
        };
        Self { der, key: key.serialize_der(), issuer: Issuer::new(params, key) }
    }

    fn root(change: Change) -> Self {
        Self::new(&PKCS_ECDSA_P256_SHA256, None, change)
    }

    fn import(&self, above: &[&Self]) -> Result<Authority, UploadError> {
        let files: Vec<&[u8]> = std::iter::once(&self.der)
            .chain([&self.key])
            .chain(above.iter().map(|one| &one.der))
            .map(Vec::as_slice)
            .collect();
        Authority::import(&files, NOW)
    }
}

fn name() -> [SubjectName; 1] {
    [SubjectName::Host(HostPattern::parse("app.example").unwrap())]
}

fn trusted(chain: &[Vec<u8>], root: &[u8], at: u64) -> Result<(), webpki::Error> {
    let root = CertificateDer::from(root);
    let leaf = CertificateDer::from(chain[0].as_slice());
    let between: Vec<_> = chain[1..].iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor_from_trusted_cert(&root)?],
            &between,
            UnixTime::since_unix_epoch(Duration::from_secs(at)),
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map(drop)
}

#[test]
fn an_authority_of_any_usual_key_signs_leaves_that_its_users_trust() {
    for algorithm in [&PKCS_RSA_SHA256, &PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let made = Made::new(algorithm, None, |_| {});
        let authority = made.import(&[]).unwrap();
        let leaf = authority.issue_server(&name(), NOW, 90).unwrap();
        assert_eq!(leaf.chain.len(), 1, "a root is not carried");
        trusted(&leaf.chain, &made.der, NOW).unwrap();
        assert_eq!(authority.trusted_pem(), pem::certificate(&made.der));
        let again = Authority::from_parts(authority.certificate_der(), &authority.key_pkcs8()).unwrap();
        trusted(&again.issue_server(&name(), NOW, 90).unwrap().chain, &made.der, NOW).unwrap();
    }
}

#[test]
fn leaves_of_an_intermediate_carry_its_chain_without_the_root() {
    let root = Made::root(|_| {});
    let upper = Made::new(&PKCS_ECDSA_P384_SHA384, Some(&root), |params| {
        params.distinguished_name.push(DnType::CommonName, "Upper");
    });
    let lower = Made::new(&PKCS_ECDSA_P256_SHA256, Some(&upper), |_| {});
    for above in [&[&upper, &root][..], &[&upper]] {
        let authority = lower.import(above).unwrap();
        let leaf = authority.issue_server(&name(), NOW, 90).unwrap();
        assert_eq!(leaf.chain[1..], [lower.der.clone(), upper.der.clone()]);
        trusted(&leaf.chain, &root.der, NOW).unwrap();
        let parts = crate::identity::Parts::parse(&leaf.chain, leaf.key.expose());
        assert!(parts.is_ok(), "{parts:?}");
        assert_eq!(authority.trusted_pem(), pem::certificate(&above.last().unwrap().der));
    }
}

#[test]
fn pem_files_in_the_order_of_the_command_line_are_taken() {
    let (root, text) = (Made::root(|_| {}), |label: &str, der: &[u8]| pem::block(label, der));
    let lower = Made::new(&PKCS_RSA_SHA256, Some(&root), |_| {});
    let files =
        [text("CERTIFICATE", &lower.der), text("PRIVATE KEY", &lower.key), text("CERTIFICATE", &root.der)];
    let files: Vec<_> = files.iter().map(String::as_bytes).collect();
    assert_eq!(Authority::import(&files, NOW).unwrap().chain(), std::slice::from_ref(&root.der));
}

#[test]
fn a_leaf_ends_with_its_authority_at_the_latest() {
    let made = Made::root(|params| {
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW + 20 * DAY);
    });
    let authority = made.import(&[]).unwrap();
    assert_eq!(authority.ends(), NOW + 20 * DAY);
    let leaf = authority.issue_server(&name(), NOW, 90).unwrap();
    assert_eq!(leaf.ends, NOW + 20 * DAY);
    trusted(&leaf.chain, &made.der, NOW + 20 * DAY).unwrap();
    assert!(trusted(&leaf.chain, &made.der, NOW + 20 * DAY + 1).is_err());
    assert_eq!(authority.issue_server(&name(), NOW, 5).unwrap().ends, NOW + 5 * DAY);
}

#[test]
fn what_may_not_sign_leaves_is_refused_by_name() {
    let root = Made::root(|_| {});
    let code = |result: Result<Authority, UploadError>| {
        let error = result.unwrap_err();
        assert!(error.to_string().len() > 30, "{error}");
        error.code()
    };
    let changes: [(Change, &str); 6] = [
        (|params| params.is_ca = IsCa::ExplicitNoCa, "not_authority"),
        (|params| params.is_ca = IsCa::NoCa, "not_authority"),
        (|params| params.key_usages = vec![KeyUsagePurpose::CrlSign], "no_cert_sign"),
        (|params| params.not_after = rcgen::date_time_ymd(2026, 12, 31), "expired"),
        (|params| params.not_before = rcgen::date_time_ymd(2028, 1, 1), "not_yet_valid"),
        (|params| params.distinguished_name = DistinguishedName::new(), "authority_name"),
    ];
    for (change, expected) in changes {
        assert_eq!(code(Made::root(change).import(&[])), expected);
    }
    let for_mail: Change =
        |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    let mail = Made::new(&PKCS_ECDSA_P256_SHA256, Some(&root), for_mail);
    assert_eq!(code(mail.import(&[&root])), "not_for_servers");

    let (other, lower) = (Made::root(|_| {}), Made::new(&PKCS_ED25519, Some(&root), |_| {}));
    let stolen = Made { key: other.key.clone(), ..Made::root(|_| {}) };
    assert_eq!(code(stolen.import(&[])), "key_mismatch");
    assert_eq!(code(lower.import(&[&other])), "chain_broken");
    assert_eq!(code(root.import(&[&other])), "chain_broken");
}

#[test]
fn the_path_length_of_each_authority_above_counts() {
    let none: Change = |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let leaves_only = Made::root(none);
    leaves_only.import(&[]).unwrap();
    let lower = Made::new(&PKCS_ECDSA_P256_SHA256, Some(&leaves_only), |_| {});
    assert_eq!(
        lower.import(&[&leaves_only]).unwrap_err(),
        UploadError::PathLength {
            place: 2,
            subject: "O=Example, CN=Example Root CA".into(),
            allowed: 0,
            below: 1
        }
    );
    let one = Made::root(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    Made::new(&PKCS_ECDSA_P256_SHA256, Some(&one), none).import(&[&one]).unwrap();
}

#[test]
fn a_weak_key_is_refused_and_no_message_has_a_byte_of_it() {
    let weak = include_bytes!("weak_ca.pem").as_slice();
    let error = Authority::import(&[weak], NOW).unwrap_err();
    assert_eq!(error.code(), "weak_key", "{error}");
    assert!(error.to_string().contains("RSA 1024"), "{error}");
    let made = Made::root(|_| {});
    assert_eq!(Authority::import(&[&made.der], NOW).unwrap_err(), UploadError::NoKey);
    let shown = format!("{:?}", made.import(&[]).unwrap());
    assert_eq!(shown, "Authority(***)");
    let _: Secret<Vec<u8>> = made.import(&[]).unwrap().key_pkcs8();
}

/// As a directory service names its authorities: two parts of the same kind.
#[test]
fn a_name_that_would_not_be_found_again_is_refused() {
    let error = Authority::import(&[include_bytes!("two_dc_ca.pem").as_slice()], NOW).unwrap_err();
    assert_eq!(error.code(), "authority_name", "{error}");
}

#[test]
fn an_authority_that_may_sign_for_some_names_only_is_refused_as_such() {
    let constrained: Change = |params| {
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("corp.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    };
    let error = Made::root(constrained).import(&[]).unwrap_err();
    assert!(matches!(error, UploadError::NameConstraints { place: 1, .. }), "{error}");
    assert!(error.to_string().contains("name constraints"), "{error}");
    let root = Made::root(constrained);
    let below = Made::new(&PKCS_ECDSA_P256_SHA256, Some(&root), |_| {});
    let error = below.import(&[&root]).unwrap_err();
    assert!(
        matches!(error, UploadError::NameConstraints { place: 2, .. }),
        "those above it bind it as well: {error}"
    );
}
