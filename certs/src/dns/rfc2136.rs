//! Dynamic updates (RFC 2136), signed with TSIG (RFC 8945).

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use config::limits;
use config::secret::Secret;
use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{Name, RData, Record, RecordSet, TSigVerifier, TSigner};

use super::{DnsError, Provider, ask, lookup};

/// Clock difference that is allowed, in seconds (RFC 8945 § 10 recommends it).
const FUDGE_SECONDS: u16 = 300;
/// How long others may keep the record, in seconds: it is gone in minutes.
const TTL_SECONDS: u32 = 60;

/// A key that a name server shares with us.
#[derive(Clone)]
pub struct TsigKey {
    signer: TSigner,
}

impl TsigKey {
    /// Takes a key as `tsig-keygen` prints it: name, `hmac-sha256` or `hmac-sha512` (or `-384`), secret in base64.
    pub fn parse(name: &str, algorithm: &str, secret_base64: &Secret<String>) -> Result<Self, DnsError> {
        let wrong =
            |why: &str| DnsError::Settings { why: format!("the TSIG key {}: {why}", super::clean(name)) };
        let algorithm = match algorithm.trim().trim_end_matches('.').to_ascii_lowercase().as_str() {
            "hmac-sha256" => TsigAlgorithm::HmacSha256,
            "hmac-sha384" => TsigAlgorithm::HmacSha384,
            "hmac-sha512" => TsigAlgorithm::HmacSha512,
            _ => return Err(wrong("the algorithm must be hmac-sha256, hmac-sha384 or hmac-sha512")),
        };
        let secret = BASE64_STANDARD
            .decode(secret_base64.expose().trim())
            .map_err(|_| wrong("the secret is not base64"))?;
        if secret.is_empty() {
            return Err(wrong("the secret is empty"));
        }
        let signer = TSigner::new(secret, algorithm, ask::name(name)?, FUDGE_SECONDS)
            .map_err(|error| wrong(&error.to_string()))?;
        Ok(Self { signer })
    }
}

impl std::fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TsigKey({}, ***)", self.signer.signer_name())
    }
}

/// A primary name server that takes updates.
#[derive(Debug, Clone)]
pub struct Rfc2136 {
    server: String,
    zone: Option<Name>,
    key: Option<TsigKey>,
}

impl Rfc2136 {
    /// Sends updates to `server` (`host`, `host:port`, `[v6]:port`; 53 without). Without `zone` the server is asked
    /// which of its zones a record is in. Without `key` updates are not signed.
    pub fn new(server: &str, zone: Option<&str>, key: Option<TsigKey>) -> Result<Self, DnsError> {
        let server = server.trim();
        let has_port = server.rsplit_once(':').is_some_and(|(host, port)| {
            (!host.contains(':') || host.ends_with(']')) && port.parse::<u16>().is_ok()
        });
        let server = match server.parse::<std::net::Ipv6Addr>() {
            Ok(address) => format!("[{address}]:53"),
            Err(_) if has_port => server.to_owned(),
            Err(_) => format!("{server}:53"),
        };
        if server.starts_with(':') || server.contains(char::is_whitespace) {
            return Err(DnsError::Settings { why: format!("{server:?} is no name server") });
        }
        Ok(Self { server, zone: zone.map(ask::name).transpose()?, key })
    }

    async fn update(&self, record: &str, change: Change<'_>) -> Result<(), DnsError> {
        let name = ask::name(record)?;
        let server = self.address().await?;
        let zone = match &self.zone {
            Some(zone) => zone.clone(),
            None => lookup::zone_at(server, &name).await?,
        };
        // The library takes this for granted and panics.
        if !zone.zone_of(&name) {
            let why = format!("it is not in the zone {}", ask::text(&zone));
            return Err(DnsError::Name { name: record.to_owned(), why });
        }
        let value = match change {
            Change::Add(value) | Change::Delete(value) => RData::TXT(TXT::new(vec![value.to_owned()])),
        };
        let set = RecordSet::from(Record::from_rdata(name, TTL_SECONDS, value));
        let mut message = match change {
            Change::Add(_) => update_message::append(set, zone.clone(), false, false),
            Change::Delete(_) => update_message::delete_by_rdata(set, zone.clone(), false),
        };
        self.send(server, &mut message, &zone).await
    }

    async fn address(&self) -> Result<SocketAddr, DnsError> {
        let unknown = |why: String| DnsError::Unanswered { server: self.server.clone(), why };
        let deadline = Duration::from_millis(limits::DNS_QUESTION_DEADLINE_MS);
        match tokio::time::timeout(deadline, tokio::net::lookup_host(&self.server)).await {
            Ok(Ok(mut found)) => found.next().ok_or_else(|| unknown("its name has no address".to_owned())),
            Ok(Err(error)) => Err(unknown(format!("its name does not resolve: {error}"))),
            Err(_) => Err(unknown("its name was not resolved in time".to_owned())),
        }
    }

    async fn send(&self, server: SocketAddr, message: &mut Message, zone: &Name) -> Result<(), DnsError> {
        let refused = |why: String| DnsError::Refused {
            server: format!("{} ({server})", self.server),
            what: format!("an update of the zone {}", ask::text(zone)),
            why,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let verifier = match &self.key {
            Some(key) => message.finalize(&key.signer, now).map_err(|error| refused(error.to_string()))?,
            None => None,
        };
        let bytes = message.to_vec().map_err(|error| refused(error.to_string()))?;
        let answer = ask::over_tcp(server, &bytes).await?;
        self.judge(server, &answer, verifier).map_err(refused)
    }

    /// Reads the verdict. Failures are read before the signature: a server that does not know the key cannot sign, and
    /// the library's words for that ("truncated HMACs") help nobody.
    fn judge(&self, server: SocketAddr, answer: &[u8], verifier: Option<TSigVerifier>) -> Result<(), String> {
        let message = ask::read(server, answer).map_err(|error| error.to_string())?;
        let tsig = message.signature.as_ref().and_then(|record| record.data.error);
        if let Some(error) = tsig {
            return Err(self.key_trouble(error));
        }
        if message.response_code != ResponseCode::NoError {
            return Err(self.trouble(message.response_code));
        }
        let Some(mut verifier) = verifier else { return Ok(()) };
        if message.signature.is_none() {
            return Err("its answer is not signed, so it may be anybody's".to_owned());
        }
        verifier
            .verify(answer)
            .map(|_| ())
            .map_err(|error| format!("the signature of its answer is wrong: {error}"))
    }

    fn key_trouble(&self, error: TsigError) -> String {
        let key = self.key.as_ref().map_or_else(String::new, |key| ask::text(key.signer.signer_name()));
        match error {
            TsigError::BadKey => format!("BADKEY: it does not know a key {key} with this algorithm"),
            TsigError::BadSig => format!("BADSIG: the secret of the key {key} is not the one it has"),
            TsigError::BadTime => "BADTIME: its clock and ours differ by more than five minutes".to_owned(),
            TsigError::BadTrunc => "BADTRUNC: it wants longer signatures".to_owned(),
            TsigError::Unknown(code) => format!("TSIG error {code}"),
        }
    }

    fn trouble(&self, code: ResponseCode) -> String {
        let unsigned = self.key.is_none();
        if code == ResponseCode::Refused && unsigned {
            "REFUSED: it takes signed updates only; give a TSIG key".to_owned()
        } else if code == ResponseCode::Refused {
            "REFUSED: its update policy does not let this key write this record".to_owned()
        } else if code == ResponseCode::NotAuth {
            "NOTAUTH: it is not authoritative for the zone, or does not accept the key".to_owned()
        } else if code == ResponseCode::NotZone {
            "NOTZONE: the record is not in the zone".to_owned()
        } else if code == ResponseCode::ServFail {
            "SERVFAIL: it could not write the zone; its own log says why".to_owned()
        } else if code == ResponseCode::NotImp {
            "NOTIMP: it does not take updates".to_owned()
        } else {
            code.to_string()
        }
    }
}

#[derive(Clone, Copy)]
enum Change<'a> {
    Add(&'a str),
    Delete(&'a str),
}

#[async_trait::async_trait]
impl Provider for Rfc2136 {
    async fn present(&self, record: &str, value: &str) -> Result<(), DnsError> {
        self.update(record, Change::Add(value)).await
    }

    async fn remove(&self, record: &str, value: &str) -> Result<(), DnsError> {
        self.update(record, Change::Delete(value)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_is_asked_on_53() {
        for (given, used) in [
            ("ns.example", "ns.example:53"),
            ("ns.example:5353", "ns.example:5353"),
            ("192.0.2.1", "192.0.2.1:53"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ] {
            assert_eq!(Rfc2136::new(given, None, None).unwrap().server, used);
        }
        assert!(Rfc2136::new("", None, None).is_err());
        assert!(Rfc2136::new("a b", None, None).is_err());
    }

    #[test]
    fn a_key_is_checked_when_given_and_not_printed() {
        let secret = Secret::new("c2VjcmV0c2VjcmV0c2VjcmV0".to_owned());
        let key = TsigKey::parse("acme-key", "HMAC-SHA256", &secret).unwrap();
        assert_eq!(format!("{key:?}"), "TsigKey(acme-key., ***)");
        assert!(TsigKey::parse("acme-key", "hmac-md5", &secret).is_err());
        assert!(TsigKey::parse("acme-key", "hmac-sha512", &Secret::new("***".to_owned())).is_err());
        assert!(TsigKey::parse("acme-key", "hmac-sha512", &Secret::new(String::new())).is_err());
    }
}
