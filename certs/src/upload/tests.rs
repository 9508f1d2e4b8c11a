use data_encoding::{BASE64, HEXLOWER};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::*;
use crate::describe::KeyKind;
use crate::identity::Parts;
use crate::self_signed::pem as text;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

macro_rules! at {
    ($seconds:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(($seconds).try_into().unwrap())
    };
}

/// A root, two intermediates and a leaf of `app.example`, leaf first.
struct Chain {
    der: Vec<Vec<u8>>,
    key: Vec<u8>,
}

type Change = fn(&mut CertificateParams);

fn chain() -> Chain {
    chain_with(|_| {}, |_| {})
}

fn chain_with(leaf: Change, intermediate: Change) -> Chain {
    let (root, root_der) = authority("Root", None, |_| {});
    let (upper, upper_der) = authority("Upper", Some(&root), |_| {});
    let (lower, lower_der) = authority("Lower", Some(&upper), intermediate);
    let (der, key) = leaf_of(&lower, leaf);
    Chain { der: vec![der, lower_der, upper_der, root_der], key }
}

fn leaf_of(issuer: &Issuer<'_, KeyPair>, change: Change) -> (Vec<u8>, Vec<u8>) {
    let mut params = params("app.example", 90);
    params.subject_alt_names = vec![SanType::DnsName("app.example".try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().der().to_vec(), key.serialize_der())
}

fn authority(
    name: &str,
    by: Option<&Issuer<'_, KeyPair>>,
    change: Change,
) -> (Issuer<'static, KeyPair>, Vec<u8>) {
    let mut params = params(name, 3650);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let der = match by {
        Some(issuer) => params.signed_by(&key, issuer).unwrap().der().to_vec(),
        None => params.self_signed(&key).unwrap().der().to_vec(),
    };
    (Issuer::new(params, key), der)
}

fn params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (at!(NOW - DAY), at!(NOW + days * DAY));
    params
}

fn pem_of(der: &[Vec<u8>]) -> String {
    der.iter().map(|der| text::certificate(der)).collect()
}

fn key_pem(key: &[u8]) -> String {
    text::block("PRIVATE KEY", key)
}

fn bring(chain: &[Vec<u8>], key: &[u8]) -> Result<Uploaded, UploadError> {
    read(&[pem_of(chain).as_bytes(), key_pem(key).as_bytes()], None, NOW)
}

fn code(result: Result<Uploaded, UploadError>) -> &'static str {
    result.unwrap_err().code()
}

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/", $name)).as_slice()
    };
}

#[test]
fn a_chain_and_its_key_in_any_order_can_be_served() {
    let Chain { der, key } = chain();
    let served = &der[..3];
    for order in [
        key_pem(&key) + &pem_of(served),
        pem_of(served) + &key_pem(&key),
        pem_of(&served[..1]) + &key_pem(&key) + &pem_of(&served[1..]),
        format!("Bag Attributes\n  friendlyName: x\n{}\r\n{}", pem_of(served), key_pem(&key))
            .replace('\n', "\r\n"),
    ] {
        let uploaded = read(&[order.as_bytes()], None, NOW).unwrap();
        assert_eq!((uploaded.chain.as_slice(), uploaded.key.expose()), (served, &key));
        assert_eq!(uploaded.warnings, []);
        assert_eq!(uploaded.leaf.subject, "CN=app.example");
        Parts::parse(&uploaded.chain, uploaded.key.expose()).unwrap();
    }
}

#[test]
fn der_files_in_any_order_of_the_key_can_be_served() {
    let Chain { der, key } = chain();
    let uploaded = read(&[&key, &der[0], &der[1]], None, NOW).unwrap();
    assert_eq!(uploaded.chain, &der[..2]);
}

#[test]
fn a_root_at_the_end_stays_and_is_said_to_be_needless() {
    let Chain { der, key } = chain();
    let uploaded = bring(&der, &key).unwrap();
    assert_eq!((uploaded.chain.len(), uploaded.warnings), (4, vec![Warning::RootIncluded]));
}

#[test]
fn a_leaf_without_its_issuer_is_served_with_a_warning_that_names_it() {
    let Chain { der, key } = chain();
    let uploaded = bring(&der[..1], &key).unwrap();
    assert_eq!(uploaded.warnings, [Warning::NoIntermediate { issuer: "CN=Lower".to_owned() }]);
    assert!(uploaded.warnings[0].to_string().contains("CN=Lower"));
}

#[test]
fn keys_of_older_forms_become_pkcs8() {
    for (bytes, kind) in [
        (fixture!("plain.pem"), KeyKind::Rsa(2048)),
        (fixture!("pkcs1.pem"), KeyKind::Rsa(2048)),
        (fixture!("ec.pem"), KeyKind::EcdsaP256),
        (fixture!("sec1.pem"), KeyKind::EcdsaP256),
    ] {
        let uploaded = read(&[bytes], None, NOW).unwrap();
        assert_eq!(uploaded.leaf.key_kind, kind);
        assert!(uploaded.warnings.contains(&Warning::SelfSigned));
        Parts::parse(&uploaded.chain, uploaded.key.expose()).unwrap();
    }
}

#[test]
fn pkcs12_opens_with_its_password_and_with_no_other() {
    for archive in [fixture!("modern.p12"), fixture!("legacy.p12")] {
        let uploaded = read(&[archive], Some("secret"), NOW).unwrap();
        assert_eq!(uploaded.leaf.subject, "CN=ec.example");
        assert_eq!(read(&[archive], Some("wrong"), NOW).unwrap_err(), UploadError::Password);
        assert_eq!(read(&[archive], None, NOW).unwrap_err(), UploadError::Password);
    }
    read(&[fixture!("no_password.p12")], None, NOW).unwrap();
    let cut = &fixture!("modern.p12")[..600];
    assert_eq!(code(read(&[cut], Some("secret"), NOW)), "bad_archive");
    let huge = [&[0x30, 0x80, 2, 1, 3], vec![0; limits::ARCHIVE_BYTES_MAX].as_slice()].concat();
    assert_eq!(code(pkcs12(&huge, "", NOW)), "too_large");
}

#[test]
fn certificates_of_an_archive_are_put_in_order_and_strangers_left_out() {
    let (ours, other) = (chain(), chain());
    let mut shuffled: Vec<_> = [2, 0, 1].iter().map(|place| ours.der[*place].clone()).collect();
    shuffled.insert(1, other.der[0].clone());
    let mut store = KeyStore::new();
    let certificates = shuffled.iter().map(|der| Certificate::from_der(der).unwrap());
    let entry = PrivateKeyChain::new("id", PrivateKey::from_der(&ours.key).unwrap(), certificates);
    store.add_entry("x", KeyStoreEntry::PrivateKeyChain(entry));
    let archive = store.writer("p").encryption_iterations(1).mac_iterations(1).write().unwrap();
    let uploaded = read(&[&archive], Some("p"), NOW).unwrap();
    assert_eq!(uploaded.chain, &ours.der[..3]);
    assert_eq!(uploaded.warnings, [Warning::LeftOut { certificates: 1 }]);
}

#[test]
fn an_archive_that_asks_for_millions_of_rounds_is_refused_before_any() {
    let Chain { der, key } = chain();
    let certificates = der.iter().map(|der| Certificate::from_der(der).unwrap());
    let entry = PrivateKeyChain::new("id", PrivateKey::from_der(&key).unwrap(), certificates);
    for (encryption, mac) in [(70_000, 1), (1, 70_000)] {
        let mut store = KeyStore::new();
        store.add_entry("x", KeyStoreEntry::PrivateKeyChain(entry.clone()));
        let writer = store.writer("p").encryption_iterations(encryption).mac_iterations(mac);
        let mut archive = writer.write().unwrap();
        let at = archive.windows(5).position(|part| part == [2, 3, 0x01, 0x11, 0x70]).unwrap();
        archive[at + 2] = 0x7f;
        let error = read(&[&archive], Some("p"), NOW).unwrap_err();
        assert!(error.to_string().contains("more than a million rounds"), "{error}");
        assert_eq!(error.code(), "bad_archive");
    }
}

#[test]
fn an_encrypted_key_is_told_how_to_become_a_plain_one() {
    let certificate = fixture!("plain.pem");
    for key in [fixture!("encrypted_pkcs8.pem"), fixture!("encrypted_old.pem")] {
        let error = read(&[certificate, key], None, NOW).unwrap_err();
        assert_eq!(error, UploadError::EncryptedKey);
        assert!(error.to_string().contains("openssl pkey") && error.to_string().contains("PKCS#12"));
    }
    let Chain { der, .. } = chain();
    assert_eq!(
        read(&[&der[0], fixture!("encrypted_pkcs8.der")], None, NOW).unwrap_err(),
        UploadError::EncryptedKey
    );
}

#[test]
fn a_key_of_another_certificate_is_refused_by_the_leafs_name() {
    let (one, two) = (chain(), chain());
    let error = bring(&one.der[..2], &two.key).unwrap_err();
    assert_eq!(error, UploadError::KeyMismatch { subject: "CN=app.example".to_owned() });
}

#[test]
fn a_reversed_chain_is_said_to_be_reversed() {
    let Chain { mut der, key } = chain();
    der.reverse();
    let error = bring(&der, &key).unwrap_err();
    assert_eq!(error, UploadError::Reversed { first: "CN=Root".to_owned() });
    assert!(error.to_string().contains("put the leaf first"));
}

#[test]
fn a_leaf_in_the_middle_is_named_with_its_place() {
    let Chain { der, key } = chain();
    let order = [der[1].clone(), der[0].clone(), der[2].clone()];
    let error = bring(&order, &key).unwrap_err();
    assert_eq!(error, UploadError::LeafNotFirst { place: 2, subject: "CN=app.example".to_owned() });
}

#[test]
fn a_gap_names_who_is_missing_and_a_swap_names_who_must_follow() {
    let Chain { der, key } = chain();
    let gap = bring(&[der[0].clone(), der[2].clone()], &key).unwrap_err();
    let expected = UploadError::Gap { place: 1, issuer: "CN=Lower".to_owned(), next: "CN=Upper".to_owned() };
    assert_eq!(gap, expected);
    let swapped = bring(&[der[0].clone(), der[2].clone(), der[1].clone()], &key).unwrap_err();
    assert_eq!(swapped, UploadError::OutOfOrder { place: 1, found: 2, issuer: "CN=Lower".to_owned() });
}

#[test]
fn an_issuer_of_the_right_name_and_the_wrong_key_is_found() {
    let (ours, other) = (chain(), chain());
    let error = bring(&[ours.der[0].clone(), other.der[1].clone()], &ours.key).unwrap_err();
    assert_eq!(error, UploadError::Signature { place: 1, issuer: "CN=Lower".to_owned() });
}

#[test]
fn what_follows_a_root_or_may_not_sign_is_refused() {
    let (one, two) = (chain(), chain());
    let longer = [one.der.as_slice(), &two.der[1..2]].concat();
    assert!(matches!(bring(&longer, &one.key), Err(UploadError::AfterRoot { place: 5, .. })));
    let not_ca = chain_with(|_| {}, |params| params.is_ca = IsCa::ExplicitNoCa);
    assert!(matches!(bring(&not_ca.der, &not_ca.key), Err(UploadError::NotAnIssuer { place: 2, .. })));
    let no_signing = chain_with(|_| {}, |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert!(matches!(
        bring(&no_signing.der, &no_signing.key),
        Err(UploadError::NotAnIssuer { place: 2, .. })
    ));
}

#[test]
fn a_leaf_that_cannot_be_served_is_refused_with_the_reason() {
    let cases: [(Change, &str); 5] = [
        (|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "is_authority"),
        (|params| params.subject_alt_names.clear(), "no_names"),
        (|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], "not_for_servers"),
        (|params| params.not_after = at!(NOW - 1), "expired"),
        (|params| params.not_before = at!(NOW + 1), "not_yet_valid"),
    ];
    for (change, expected) in cases {
        let Chain { der, key } = chain_with(change, |_| {});
        assert_eq!(code(bring(&der, &key)), expected);
    }
    let Chain { der, key } = chain_with(|_| {}, |params| params.not_after = at!(NOW - 1));
    let error = bring(&der, &key).unwrap_err();
    assert!(error.to_string().contains("CN=Lower") && error.to_string().contains("2027-01-15"), "{error}");
}

#[test]
fn the_edges_of_validity_count_as_inside() {
    let Chain { der, key } = chain_with(|params| params.not_before = at!(NOW), |_| {});
    bring(&der, &key).unwrap();
    let Chain { der, key } = chain_with(|params| params.not_after = at!(NOW), |_| {});
    assert_eq!(bring(&der, &key).unwrap().warnings[0], Warning::ExpiresSoon { at: NOW });
}

#[test]
fn what_is_odd_is_a_warning() {
    let long = chain_with(|params| params.not_after = at!(NOW + 800 * DAY), |_| {});
    assert_eq!(bring(&long.der[..2], &long.key).unwrap().warnings, [Warning::LongLived { days: 801 }]);
    let usage = chain_with(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment], |_| {});
    assert_eq!(bring(&usage.der[..2], &usage.key).unwrap().warnings, [Warning::KeyUsage]);
    let first = chain_with(|_| {}, |params| params.not_after = at!(NOW + DAY));
    let expected = Warning::IssuerEndsFirst { subject: "CN=Lower".to_owned(), at: NOW + DAY };
    assert_eq!(bring(&first.der[..3], &first.key).unwrap().warnings, [expected]);
    let Chain { der, key } = chain();
    let twice = [der[0].clone(), der[0].clone(), der[1].clone()];
    assert_eq!(bring(&twice, &key).unwrap().warnings, [Warning::Repeated]);
}

#[test]
fn weak_keys_and_signatures_are_refused_by_name() {
    let weak = |bytes| read(&[bytes], None, NOW).unwrap_err().to_string();
    assert!(weak(fixture!("rsa1024.pem")).contains("RSA 1024"));
    assert!(weak(fixture!("p224.pem")).contains("ECDSA P-224"));
    assert!(weak(fixture!("sha1.pem")).contains("SHA-1"));
}

#[test]
fn names_that_the_leaf_does_not_cover_are_listed_beside_those_it_does() {
    let Chain { der, key } = chain();
    let uploaded = bring(&der, &key).unwrap();
    let wanted = ["app.example", "other.example", "*.example"].map(|name| HostPattern::parse(name).unwrap());
    uploaded.covers(&wanted[..1]).unwrap();
    let error = uploaded.covers(&wanted).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the certificate is not valid for other.example, *.example; it is for app.example"
    );
}

#[test]
fn what_is_missing_or_too_much_is_named() {
    let Chain { der, key } = chain();
    let other = chain();
    assert_eq!(code(read(&[], None, NOW)), "empty");
    assert_eq!(code(read(&[b" \n", b""], None, NOW)), "empty");
    assert_eq!(code(read(&[pem_of(&der).as_bytes()], None, NOW)), "no_key");
    assert_eq!(code(read(&[key_pem(&key).as_bytes()], None, NOW)), "no_certificate");
    let keys = key_pem(&key) + &key_pem(&other.key) + &pem_of(&der);
    assert_eq!(code(read(&[keys.as_bytes()], None, NOW)), "several_keys");
    let twice = key_pem(&key) + &key_pem(&key) + &pem_of(&der);
    read(&[twice.as_bytes()], None, NOW).unwrap();
    assert_eq!(code(read(&[&vec![b'x'; limits::UPLOAD_BYTES_MAX + 1]], None, NOW)), "too_large");
    let many = pem_of(&vec![der[0].clone(); limits::PEM_BLOCKS_MAX + 1]);
    assert_eq!(code(read(&[many.as_bytes()], None, NOW)), "too_many_blocks");
    let each: Vec<_> = (0..11).map(|_| chain().der[0].clone()).collect();
    assert_eq!(code(bring(&each, &key)), "chain_too_long");
}

#[test]
fn damage_is_named_by_its_line_or_its_place() {
    let Chain { der, key } = chain();
    let good = pem_of(&der[..1]);
    let line = |text: &str| match read(&[text.as_bytes(), key_pem(&key).as_bytes()], None, NOW) {
        Err(UploadError::Pem { line, .. } | UploadError::Block { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line("text\n-----END CERTIFICATE-----"), 2);
    assert_eq!(line("-----BEGIN CERTIFICATE-----\n-----BEGIN CERTIFICATE-----"), 2);
    assert_eq!(line("-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----"), 3);
    assert_eq!(
        line(&(good.clone() + "-----BEGIN CERTIFICATE-----\nA*==\n-----END CERTIFICATE-----")),
        good.lines().count() + 1
    );
    assert_eq!(line("-----BEGIN CERTIFICATE----\n"), 1);
    assert_eq!(line("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"), 1);
    let open = format!("{}\n-----BEGIN CERTIFICATE-----\nAAAA\n", key_pem(&key));
    assert!(matches!(read(&[open.as_bytes()], None, NOW), Err(UploadError::Pem { .. })));

    let mut trailing = der.clone();
    trailing[1].push(0);
    let error = bring(&trailing, &key).unwrap_err();
    assert_eq!(error, UploadError::Certificate { place: 2, why: "bytes follow its end".to_owned() });
    let cut = der[0][..100].to_vec();
    assert!(matches!(bring(&[cut], &key), Err(UploadError::Certificate { place: 1, .. })));
}

#[test]
fn a_wrong_block_is_told_what_it_is() {
    let Chain { der, key } = chain();
    for (label, hint) in [
        ("CERTIFICATE REQUEST", "it is a request"),
        ("PUBLIC KEY", "public"),
        ("OPENSSH PRIVATE KEY", "SSH"),
        ("X509 CRL", "only"),
    ] {
        let text = pem_of(&der) + &key_pem(&key) + &text::block(label, b"xyz");
        let error = read(&[text.as_bytes()], None, NOW).unwrap_err().to_string();
        assert!(error.contains(hint) && error.contains(label), "{error}");
    }
}

#[test]
fn a_chain_finds_the_key_that_waits_for_it() {
    let Chain { der, key } = chain();
    let waiting = Secret::new(key.clone());
    for files in [vec![pem_of(&der[..2]).into_bytes()], vec![der[0].clone(), der[1].clone()]] {
        let files: Vec<_> = files.iter().map(Vec::as_slice).collect();
        assert_eq!(chain_for(&files, &waiting, NOW).unwrap().chain.len(), 2);
    }
    let with_key = pem_of(&der) + &key_pem(&key);
    chain_for(&[with_key.as_bytes()], &waiting, NOW).unwrap();
    let other = chain();
    assert_eq!(code(chain_for(&[pem_of(&other.der).as_bytes()], &waiting, NOW)), "key_mismatch");
    let with_other = pem_of(&der) + &key_pem(&other.key);
    assert_eq!(code(chain_for(&[with_other.as_bytes()], &waiting, NOW)), "several_keys");
}

/// Every part of eight bytes of a key, in the encodings that a message could have it in.
fn leaks(message: &str, key: &[u8]) -> bool {
    let lower = message.to_lowercase();
    let encoded = BASE64.encode(key);
    let parts = encoded.as_bytes().windows(12).map(|part| std::str::from_utf8(part).unwrap().to_owned());
    parts.into_iter().any(|part| message.contains(&part))
        || key.windows(8).any(|part| {
            lower.contains(&HEXLOWER.encode(part))
                || message.contains(format!("{part:?}").trim_matches(['[', ']']))
        })
}

#[test]
fn no_error_says_a_byte_of_a_key() {
    let Chain { der, key } = chain();
    let other = chain();
    let encoded = BASE64.encode(&key);
    let damaged = &key[..key.len() - 9];
    let mut texts = vec![
        pem_of(&der) + &key_pem(damaged),
        pem_of(&der) + &format!("-----BEGIN PRIVATE KEY-----\n{encoded}*\n-----END PRIVATE KEY-----\n"),
        pem_of(&der) + &format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n"),
        pem_of(&der) + &format!("-----BEGIN {encoded}-----\n-----END {encoded}-----\n"),
        pem_of(&der) + &format!("-----BEGIN PRIVATE KEY-----{encoded}-----END PRIVATE KEY-----\n"),
        pem_of(&der) + &text::block("RSA PRIVATE KEY", &key),
        pem_of(&der) + &text::block("CERTIFICATE", &key) + &key_pem(&key),
        pem_of(&der) + &text::block("OPENSSH PRIVATE KEY", &key),
        pem_of(&other.der) + &key_pem(&key),
        key_pem(&key) + &key_pem(&other.key),
        key_pem(&key),
    ];
    texts.push(texts[0].replace("PRIVATE KEY", "CERTIFICATE REQUEST"));
    for text in texts {
        let error = read(&[text.as_bytes()], None, NOW).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!leaks(&shown, &key), "{shown}");
    }
    let error = read(&[&key, &der[0], &other.key], None, NOW).unwrap_err();
    assert!(!leaks(&format!("{error} {error:?}"), &key));
    let uploaded = bring(&der, &key).unwrap();
    // The rest of the encoding is the public key, which stands in the certificate.
    assert!(!leaks(&format!("{uploaded:?}"), &key[36..68]));
    assert!(leaks(&format!("{:?}", key), &key) && leaks(&encoded, &key), "the search itself works");
}

fn fixture_of(which: usize) -> &'static [u8] {
    [
        fixture!("plain.pem"),
        fixture!("sec1.pem"),
        fixture!("legacy.p12"),
        fixture!("modern.p12"),
        fixture!("encrypted_pkcs8.der"),
        fixture!("encrypted_old.pem"),
    ][which % 6]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_bytes_are_taken_or_refused(one: Vec<u8>, two: Vec<u8>) {
        let _ = read(&[&one, &two], Some("x"), NOW);
        let _ = der(&[&one, &two], NOW);
        let _ = pkcs12(&one, "x", NOW);
        let _ = chain_for(&[&one], &Secret::new(two), NOW);
        let _ = request_der(&one);
    }

    #[test]
    fn damaged_uploads_are_taken_or_refused(which: usize, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = fixture_of(which).to_vec();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = read(&[&bytes], Some("secret"), NOW);
        let _ = read(&[&bytes[..cut.index(bytes.len())]], Some("secret"), NOW);
    }

    #[test]
    fn any_lines_of_pem_are_taken_or_refused(lines in prop::collection::vec(0_usize..9, 0..24)) {
        const LINES: [&str; 9] = [
            "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----", "MAA=", "", "Proc-Type: 4,ENCRYPTED", "-----", "-----BEGIN -----",
        ];
        let text = lines.iter().map(|line| LINES[*line]).collect::<Vec<_>>().join("\n");
        let _ = read(&[text.as_bytes()], None, NOW);
        let _ = request_der(text.as_bytes());
    }
}
