//! Client certificates: who is asked at the handshake, and who may come in at each request.
//!
//! A [`Gate`] is what one route demands. At the handshake a certificate is taken if any route of the host would have it
//! ([`Asking`]); at a request the route's own gate looks again ([`ClientChain::passes`]), because the handshake did not
//! know the path, a resumed one asked nobody, and lists change under connections that stand.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use config::limits;
use config::snapshot::ClientCertificates;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

/// What one route demands of client certificates. Routes that demand the same share one.
pub(crate) struct Gate {
    pub(super) digest: [u8; 32],
    verifier: Result<Arc<dyn ClientCertVerifier>, Shut>,
    /// When the first of its lists expires, in Unix seconds, and which one that is.
    end: Option<(i64, usize)>,
}

/// Why nobody passes a gate until it is replaced.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Shut {
    #[error("authority {index} of its client certificates cannot be read: {cause}")]
    Authority { index: usize, cause: Error },
    #[error("list {index} of revoked client certificates cannot be read")]
    List { index: usize },
    #[error("list {index} of revoked client certificates has expired")]
    Expired { index: usize },
    #[error("its client certificates cannot be verified: {0}")]
    Other(String),
}

impl Gate {
    pub(super) fn new(asked: &ClientCertificates) -> Self {
        let (verifier, end) = match ends(asked) {
            Ok(end) => (verifier(asked), end),
            Err(shut) => (Err(shut), None),
        };
        Self { digest: digest(asked), verifier, end }
    }

    /// Why nobody passes at `now`, in Unix seconds: a list expires without anybody changing anything.
    pub(super) fn shut(&self, now: i64) -> Option<Shut> {
        let expired = self.end.filter(|(end, _)| *end <= now).map(|(_, index)| Shut::Expired { index });
        self.verifier.as_ref().err().cloned().or(expired)
    }

    /// When it will be shut by itself, in Unix seconds, if nothing changes.
    pub(super) fn end(&self) -> Option<i64> {
        self.end.map(|(end, _)| end)
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // The library asks the first list that speaks of an issuer; any that has expired shuts the gate.
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match &self.verifier {
            Ok(verifier) if self.end.is_none_or(|(end, _)| end > at) => {
                verifier.verify_client_cert(leaf, others, now)
            }
            Ok(_) | Err(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

/// What tells gates apart.
pub(super) fn digest(asked: &ClientCertificates) -> [u8; 32] {
    let mut hash = Sha256::new();
    for (mark, list) in [(b"authorities", &asked.authorities), (b"the revoked", &asked.revoked)] {
        hash.update(mark);
        hash.update((list.len() as u64).to_be_bytes());
        for der in list {
            hash.update((der.len() as u64).to_be_bytes());
            hash.update(der);
        }
    }
    hash.finalize().into()
}

/// The first end of a list, and which one it is of.
fn ends(asked: &ClientCertificates) -> Result<Option<(i64, usize)>, Shut> {
    let mut first = None;
    for (index, der) in asked.revoked.iter().enumerate() {
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|_| Shut::List { index })?;
        let end = list.next_update().map(|next| (next.timestamp(), index));
        first = [first, end].into_iter().flatten().min();
    }
    Ok(first)
}

/// The clock's second.
pub(crate) fn now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}

fn verifier(asked: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, Shut> {
    let mut roots = RootCertStore::empty();
    for (index, der) in asked.authorities.iter().enumerate() {
        let der = CertificateDer::from(der.clone());
        roots.add(der).map_err(|cause| Shut::Authority { index, cause })?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let lists = asked.revoked.iter().map(|der| CertificateRevocationListDer::from(der.clone()));
    // An expired list shuts the gate as well: it is looked at whenever somebody comes.
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .with_crls(lists)
        .enforce_revocation_expiration()
        .build()
        .map_err(|cause| Shut::Other(cause.to_string()))
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verifier {
            Ok(_) => f.write_str("Gate"),
            Err(shut) => write!(f, "Gate(shut: {shut})"),
        }
    }
}

/// Asks for a certificate at the handshakes of one host, and takes it if one of the host's gates does.
pub(super) struct Asking {
    gates: Box<[Arc<Gate>]>,
    hints: Vec<DistinguishedName>,
    is_mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Asking {
    /// `is_mandatory` where no route of the host is open to others.
    pub(super) fn new(gates: Box<[Arc<Gate>]>, is_mandatory: bool) -> Self {
        let open = gates.iter().filter_map(|gate| gate.verifier.as_ref().ok());
        let mut hints: Vec<DistinguishedName> = Vec::new();
        for hint in open.flat_map(|verifier| verifier.root_hint_subjects()) {
            if !hints.iter().any(|known| known.as_ref() == hint.as_ref()) {
                hints.push(hint.clone());
            }
        }
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { gates, hints, is_mandatory, algorithms }
    }
}

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut refused = CertificateError::ApplicationVerificationFailure.into();
        for gate in &self.gates {
            match gate.verify(leaf, others, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Asking({:?}, mandatory: {})", self.gates, self.is_mandatory)
    }
}

/// What a client that was asked for a certificate showed: its chain, leaf first, or nothing.
pub struct ClientChain {
    chain: Box<[CertificateDer<'static>]>,
    verdicts: RefCell<Vec<Verdict>>,
}

/// What one gate said, and when.
struct Verdict {
    gate: Weak<Gate>,
    at: Instant,
    passes: bool,
}

impl ClientChain {
    /// The chain that a handshake verified, or took from a ticket.
    pub(super) fn of(chain: Option<&[CertificateDer<'static>]>) -> Self {
        Self { chain: chain.unwrap_or_default().into(), verdicts: RefCell::default() }
    }

    /// Whether it satisfies `gate` now. What a gate said is believed for [`limits::CLIENT_VERDICT_MS`]: certificates and
    /// lists expire, and a list that changes is another gate.
    pub(crate) fn passes(&self, gate: &Arc<Gate>) -> bool {
        let now = Instant::now();
        let mut verdicts = self.verdicts.borrow_mut();
        let valid = Duration::from_millis(limits::CLIENT_VERDICT_MS);
        verdicts.retain(|verdict| now.duration_since(verdict.at) < valid && verdict.gate.strong_count() > 0);
        let is_it = |verdict: &&Verdict| std::ptr::eq(verdict.gate.as_ptr(), Arc::as_ptr(gate));
        if let Some(known) = verdicts.iter().find(is_it) {
            return known.passes;
        }
        let passes = self
            .chain
            .split_first()
            .is_some_and(|(leaf, others)| gate.verify(leaf, others, UnixTime::now()).is_ok());
        if verdicts.len() < limits::CLIENT_VERDICTS_MAX {
            verdicts.push(Verdict { gate: Arc::downgrade(gate), at: now, passes });
        }
        passes
    }
}

impl fmt::Debug for ClientChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientChain({} certificates)", self.chain.len())
    }
}
