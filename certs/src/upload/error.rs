//! Why what a person brought cannot be served, and what about it is odd.

use crate::describe::{KeyKind, moment};
use crate::identity::CHAIN_MAX;

/// Why an upload is refused. Each message says what, where and what to do; none holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum UploadError {
    #[error("nothing was given; bring the certificate, its chain and its private key")]
    Empty,
    #[error("{bytes} bytes are more than the {max} that a certificate, its chain and its key may have")]
    TooLarge { bytes: usize, max: usize },
    #[error("line {line}: {why}")]
    Pem { line: usize, why: &'static str },
    #[error("line {line}: a block of {label:?} does not belong here; {hint}")]
    Block { line: usize, label: String, hint: &'static str },
    #[error("more than {max} PEM blocks; bring one chain and one key")]
    TooManyBlocks { max: usize },
    #[error("there is no certificate in it; bring the leaf and its intermediates as CERTIFICATE blocks")]
    NoCertificate,
    #[error("there is no private key in it; bring the key that the certificate was requested with")]
    NoKey,
    #[error("there are several different private keys in it; bring only the one of the leaf certificate")]
    SeveralKeys,
    #[error(
        "the private key is encrypted; decrypt it first (openssl pkey -in KEY -out PLAIN), or bring key and chain as \
         PKCS#12 with its password"
    )]
    EncryptedKey,
    #[error(
        "the private key cannot be read: {why}; it must be RSA of 2048 to 8192 bits, ECDSA P-256/384/521 or Ed25519"
    )]
    Key { why: &'static str },
    #[error("certificate {place} (the first is 1) cannot be read: {why}")]
    Certificate { place: usize, why: String },
    #[error("the chain has more than {CHAIN_MAX} certificates; leave out what does not belong to it")]
    ChainTooLong,
    #[error(
        "the private key does not match the certificate of {subject:?}; bring the key that it was requested with"
    )]
    KeyMismatch { subject: String },
    #[error("the chain is reversed: it begins with {first:?} and ends with the leaf; put the leaf first")]
    Reversed { first: String },
    #[error(
        "the leaf {subject:?} is certificate {place}, not the first; put it first, then who signed it, and so on"
    )]
    LeafNotFirst { place: usize, subject: String },
    #[error(
        "certificates {place} and {found} of the chain are not in order: {issuer:?}, who signed the former, must follow it"
    )]
    OutOfOrder { place: usize, found: usize, issuer: String },
    #[error(
        "the chain has a gap: certificate {place} was signed by {issuer:?}, but {next:?} follows; put the certificate of \
         {issuer:?} between them"
    )]
    Gap { place: usize, issuer: String, next: String },
    #[error("certificate {place} follows a root, which nobody else signs; leave {subject:?} out")]
    AfterRoot { place: usize, subject: String },
    #[error(
        "certificate {place} was not signed by the key of {issuer:?} that follows it, though the name is right; bring the \
         intermediate that came with the certificate"
    )]
    Signature { place: usize, issuer: String },
    #[error(
        "certificate {place}, {subject:?}, may not sign others, but stands in the chain as an issuer; leave it out"
    )]
    NotAnIssuer { place: usize, subject: String },
    #[error(
        "{subject:?} is the certificate of an authority and cannot be served; have a leaf signed, or use `ca import`"
    )]
    Authority { subject: String },
    #[error(
        "certificate {place}, {subject:?}, is no authority (basicConstraints lacks CA:TRUE); bring one that may sign others"
    )]
    NotAuthority { place: usize, subject: String },
    #[error(
        "certificate {place}, {subject:?}, may not sign certificates (key usage lacks keyCertSign); bring one that may"
    )]
    NoCertSign { place: usize, subject: String },
    #[error(
        "certificate {place}, {subject:?}, allows a path length of {allowed}, but {below} authorities stand below it; have \
         the authority issued by one that allows more"
    )]
    PathLength { place: usize, subject: String, allowed: u32, below: usize },
    #[error(
        "the name of the authority, {subject:?}, is empty or cannot be repeated in what it signs (a part occurs twice or \
         has several values); use an authority with a plain name"
    )]
    AuthorityName { subject: String },
    #[error("the authority cannot sign here: {why}")]
    AuthorityUnfit { why: String },
    #[error(
        "the certificate of {subject:?} names no host (subjectAltName), and a common name does not count; request one \
         with its names"
    )]
    NoNames { subject: String },
    #[error(
        "certificate {place}, {subject:?}, has name constraints: clients would refuse leaves for names outside of them, and which \
         those are is not followed here; bring an authority without"
    )]
    NameConstraints { place: usize, subject: String },
    #[error(
        "the certificate of {subject:?} is not for servers (extended key usage lacks serverAuth); request one that is"
    )]
    NotForServers { subject: String },
    #[error(
        "the key of {subject:?}, {kind}, is too weak or of a kind that is not served; use RSA of 2048 to 8192 bits, ECDSA \
         P-256/384/521 or Ed25519"
    )]
    WeakKey { subject: String, kind: KeyKind },
    #[error(
        "certificate {place}, {subject:?}, is signed with {algorithm}, which clients refuse; have it issued anew"
    )]
    WeakSignature { place: usize, subject: String, algorithm: &'static str },
    #[error("the certificate of {subject:?} expired on {}; bring a new one", moment(*.at))]
    Expired { subject: String, at: i64 },
    #[error(
        "the certificate of {subject:?} is not valid before {}; bring it then, or set this machine's clock",
        moment(*.from)
    )]
    NotYetValid { subject: String, from: i64 },
    #[error("the certificate is not valid for {missing}; it is for {have}")]
    Names { missing: String, have: String },
    #[error("the PKCS#12 archive has more than {max} bytes")]
    ArchiveTooLarge { max: usize },
    #[error("the password of the PKCS#12 archive is wrong or missing")]
    Password,
    #[error("the PKCS#12 archive cannot be read: {why}; make it anew with openssl pkcs12 -export")]
    Archive { why: &'static str },
}

impl UploadError {
    /// A stable word for it: for an API's `code`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLarge { .. } | Self::ArchiveTooLarge { .. } => "too_large",
            Self::Pem { .. } => "bad_pem",
            Self::Block { .. } => "unexpected_block",
            Self::TooManyBlocks { .. } => "too_many_blocks",
            Self::NoCertificate => "no_certificate",
            Self::NoKey => "no_key",
            Self::SeveralKeys => "several_keys",
            Self::EncryptedKey => "encrypted_key",
            Self::Key { .. } => "bad_key",
            Self::Certificate { .. } => "bad_certificate",
            Self::ChainTooLong => "chain_too_long",
            Self::KeyMismatch { .. } => "key_mismatch",
            Self::Reversed { .. } => "chain_reversed",
            Self::LeafNotFirst { .. } | Self::OutOfOrder { .. } => "chain_out_of_order",
            Self::Gap { .. } | Self::AfterRoot { .. } | Self::Signature { .. } | Self::NotAnIssuer { .. } => {
                "chain_broken"
            }
            Self::Authority { .. } => "is_authority",
            Self::NotAuthority { .. } => "not_authority",
            Self::NoCertSign { .. } => "no_cert_sign",
            Self::PathLength { .. } => "path_length",
            Self::AuthorityName { .. } => "authority_name",
            Self::NameConstraints { .. } => "name_constraints",
            Self::AuthorityUnfit { .. } => "authority_unfit",
            Self::NoNames { .. } => "no_names",
            Self::NotForServers { .. } => "not_for_servers",
            Self::WeakKey { .. } => "weak_key",
            Self::WeakSignature { .. } => "weak_signature",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::Names { .. } => "names_not_covered",
            Self::Password => "bad_password",
            Self::Archive { .. } => "bad_archive",
        }
    }
}

/// What is odd about an upload that can be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Warning {
    #[error(
        "the chain is only the leaf; without the certificate of {issuer:?}, who signed it, many clients refuse it"
    )]
    NoIntermediate { issuer: String },
    #[error("the certificate signs itself; clients trust it only where they are told to")]
    SelfSigned,
    #[error("the root at the end of the chain can be left out; clients use their own")]
    RootIncluded,
    #[error("it expires on {}, in less than 30 days", moment(*.at))]
    ExpiresSoon { at: i64 },
    #[error("the intermediate {subject:?} expires on {}, before the leaf", moment(*.at))]
    IssuerEndsFirst { subject: String, at: i64 },
    #[error("it is valid for {days} days; browsers refuse more than 397 from public authorities")]
    LongLived { days: i64 },
    #[error(
        "its key usage lacks digitalSignature, which TLS 1.3 and forward secrecy need; strict clients refuse it"
    )]
    KeyUsage,
    #[error("{certificates} certificates of the archive do not belong to the chain and were left out")]
    LeftOut { certificates: usize },
    #[error("the same certificate stood in the chain more than once")]
    Repeated,
}
