//! What a certificate says, for people: `cert show`, lists, and the messages of [`crate::upload`].

use std::fmt;

use aws_lc_rs::digest;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::identity::{self, IdentityError, SubjectNames, Validity};

/// Longest subject or issuer that is shown, in characters: real ones have less than 200.
const NAME_CHARS_MAX: usize = 256;

/// SHA-256 over a certificate's DER. `Display` is what `openssl x509 -fingerprint -sha256` prints: `AB:CD:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// What kind of key a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA with a modulus of so many bits.
    Rsa(u32),
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// Ed25519.
    Ed25519,
    /// Another, by its name or object identifier. Nothing we serve.
    Other(Box<str>),
}

impl KeyKind {
    /// Whether it is one that we serve: RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519.
    pub const fn is_served(&self) -> bool {
        match self {
            Self::Rsa(bits) => 2048 <= *bits && *bits <= 8192,
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 | Self::Ed25519 => true,
            Self::Other(_) => false,
        }
    }

    pub(crate) fn of(key: &SubjectPublicKeyInfo<'_>) -> Self {
        let oid = key.algorithm.algorithm.to_id_string();
        match oid.as_str() {
            "1.2.840.113549.1.1.1" => Self::Rsa(match key.parsed() {
                Ok(PublicKey::RSA(key)) => bits(key.modulus),
                _ => 0,
            }),
            "1.3.101.112" => Self::Ed25519,
            "1.2.840.10045.2.1" => {
                let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
                let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
                match curve.as_str() {
                    "1.2.840.10045.3.1.7" => Self::EcdsaP256,
                    "1.3.132.0.34" => Self::EcdsaP384,
                    "1.3.132.0.35" => Self::EcdsaP521,
                    "1.3.132.0.33" => Self::Other("ECDSA P-224".into()),
                    "1.2.840.10045.3.1.1" => Self::Other("ECDSA P-192".into()),
                    "1.3.132.0.10" => Self::Other("ECDSA secp256k1".into()),
                    "" => Self::Other("ECDSA on a curve without a name".into()),
                    curve => Self::Other(format!("ECDSA on curve {curve}").into()),
                }
            }
            "1.2.840.10040.4.1" => Self::Other("DSA".into()),
            "1.2.840.113549.1.1.10" => Self::Other("RSA-PSS".into()),
            "1.3.101.113" => Self::Other("Ed448".into()),
            oid => Self::Other(oid.into()),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// The facts of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Distinguished name of its holder, in its own order (`O=Example, CN=app.example`); may be empty.
    pub subject: String,
    /// Distinguished name of who signed it.
    pub issuer: String,
    /// What it is for.
    pub subject_names: SubjectNames,
    /// Serial number in lower-case hexadecimal.
    pub serial: String,
    /// From when to when it counts.
    pub validity: Validity,
    /// Kind of its key.
    pub key_kind: KeyKind,
    /// SHA-256 over its DER.
    pub fingerprint_sha256: Fingerprint,
    /// Whether it may sign others.
    pub is_ca: bool,
}

impl Description {
    /// Reads one certificate in DER.
    ///
    /// Errors: [`IdentityError::Certificate`] with place 0.
    pub fn parse(der: &[u8]) -> Result<Self, IdentityError> {
        Self::of(&identity::read(0, der)?, der)
    }

    /// Whether it names itself as the one who signed it.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>, der: &[u8]) -> Result<Self, IdentityError> {
        let (validity, subject_names) = identity::said(certificate)?;
        Ok(Self {
            subject: distinguished(certificate.subject()),
            issuer: distinguished(certificate.issuer()),
            subject_names,
            serial: data_encoding::HEXLOWER.encode(certificate.raw_serial()),
            validity,
            key_kind: KeyKind::of(certificate.public_key()),
            fingerprint_sha256: Fingerprint::of(der),
            is_ca: certificate.is_ca(),
        })
    }
}

/// A distinguished name for people: bounded, on one line.
pub(crate) fn distinguished(name: &X509Name<'_>) -> String {
    shown(&name.to_string())
}

/// Text out of a certificate, fit for a terminal and a log.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A moment in Unix seconds for people: `2027-01-15 08:00 UTC`.
pub fn moment(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days to a date of the proleptic Gregorian calendar; years begin in March, so that leap days come last.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60)
}

fn bits(modulus: &[u8]) -> u32 {
    let significant = modulus.iter().position(|byte| *byte != 0).and_then(|at| modulus.get(at..));
    let Some(digits) = significant else { return 0 };
    let first = digits.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(digits.len()).unwrap_or(u32::MAX).saturating_mul(8).saturating_sub(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::self_signed::{Authority, SubjectName};
    use config::name::HostPattern;

    #[test]
    fn a_leaf_of_the_authority_is_described() {
        let authority = Authority::create("Test CA", 1_800_000_000).unwrap();
        let name = SubjectName::Host(HostPattern::parse("app.example").unwrap());
        let leaf = authority.issue_server(&[name], 1_800_000_000, 90).unwrap();
        let said = Description::parse(&leaf.chain[0]).unwrap();
        assert_eq!((said.subject.as_str(), said.issuer.as_str()), ("CN=app.example", "CN=Test CA"));
        assert_eq!(said.key_kind, KeyKind::EcdsaP256);
        assert_eq!(said.serial.len(), 32);
        assert!(!said.is_ca && !said.is_self_issued());
        let of_the_authority = Description::parse(authority.certificate_der()).unwrap();
        assert!(of_the_authority.is_ca && of_the_authority.is_self_issued());
        let shown = said.fingerprint_sha256.to_string();
        assert_eq!((shown.len(), shown.matches(':').count()), (95, 31));
    }

    #[test]
    fn a_moment_is_a_date_and_a_time_of_day() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_800_000_000, "2027-01-15 08:00 UTC"),
            (-1, "1969-12-31 23:59 UTC"),
            (253_402_300_799, "9999-12-31 23:59 UTC"),
        ] {
            assert_eq!(moment(seconds), text);
        }
    }

    #[test]
    fn leading_zeros_of_a_modulus_do_not_count() {
        assert_eq!(bits(&[0, 0, 0x80, 0]), 16);
        assert_eq!(bits(&[0x01, 0]), 9);
        assert_eq!(bits(&[0, 0]), 0);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_described_or_refused(bytes: Vec<u8>) {
            let _ = Description::parse(&bytes);
        }

        #[test]
        fn any_moment_has_a_date(seconds in -62_135_596_800_i64..253_402_300_800) {
            proptest::prop_assert_eq!(moment(seconds).len(), 20);
        }
    }
}
