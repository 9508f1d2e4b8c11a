//! The join token: what a new gateway needs to be taken in, as one word that a person can copy.
//!
//! `gh1.` and then base64url of a message with the one-time secret, the authority that control's certificate is signed
//! by, and where control takes the gateways' stream. The authority makes the first dial safe: nobody in between can
//! answer for control.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use prost::Message;
use zeroize::Zeroize as _;

use crate::secret::Secret;

/// What every token begins with; the number is the format's.
pub const PREFIX: &str = "gh1.";

/// Longest token in bytes that is looked at: an authority is below a kilobyte, an address below 300 bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Addresses that a token may carry.
const ADDRESSES_MAX: usize = 32;

/// A join token, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Redeemed once, in `Enrol`.
    pub secret: Secret<String>,
    /// The internal authority in DER.
    pub authority: Vec<u8>,
    /// Where control takes the gateways' stream, as `host:port`; may be empty, then the gateway's settings say it.
    pub addresses: Vec<String>,
}

/// Text that is no join token. It never repeats the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum JoinTokenError {
    #[error("a join token begins with gh1.; control makes one")]
    Prefix,
    #[error("the join token is damaged or was not copied whole")]
    Damaged,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct Wire {
    #[prost(string, tag = "1")]
    secret: String,
    #[prost(bytes = "vec", tag = "2")]
    authority: Vec<u8>,
    #[prost(string, repeated, tag = "3")]
    addresses: Vec<String>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire(***)")
    }
}

impl JoinToken {
    /// The token as one word.
    pub fn format(&self) -> Secret<String> {
        let mut wire = Wire {
            secret: self.secret.expose().clone(),
            authority: self.authority.clone(),
            addresses: self.addresses.clone(),
        };
        let mut bytes = wire.encode_to_vec();
        let text = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes));
        wire.secret.zeroize();
        bytes.zeroize();
        Secret::new(text)
    }

    /// Reads a token; white space around it is dropped.
    pub fn parse(text: &str) -> Result<Self, JoinTokenError> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(JoinTokenError::Prefix)?;
        if body.len() > TEXT_BYTES_MAX {
            return Err(JoinTokenError::Damaged);
        }
        let mut bytes = BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| JoinTokenError::Damaged)?;
        let wire = Wire::decode(bytes.as_slice());
        bytes.zeroize();
        let wire = wire.map_err(|_| JoinTokenError::Damaged)?;
        let token =
            Self { secret: Secret::new(wire.secret), authority: wire.authority, addresses: wire.addresses };
        let is_whole = !token.secret.expose().is_empty() && !token.authority.is_empty();
        if is_whole && token.addresses.len() <= ADDRESSES_MAX {
            Ok(token)
        } else {
            Err(JoinTokenError::Damaged)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        JoinToken {
            secret: Secret::new("once".to_owned()),
            authority: vec![0x30, 0x82],
            addresses: vec!["control.example:1881".to_owned()],
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let text = token().format();
        assert_eq!(JoinToken::parse(&format!(" {}\n", text.expose())).unwrap(), token());
    }

    #[test]
    fn the_text_of_a_token_stays_what_it_is() {
        assert_eq!(token().format().expose(), "gh1.CgRvbmNlEgIwghoUY29udHJvbC5leGFtcGxlOjE4ODE");
    }

    #[test]
    fn what_is_no_token_is_refused_without_repeating_it() {
        let text = token().format();
        for (text, error) in [
            ("hunter2", JoinTokenError::Prefix),
            ("gh1.", JoinTokenError::Damaged),
            ("gh1.not base64", JoinTokenError::Damaged),
            (&text.expose()[..text.expose().len() - 3], JoinTokenError::Damaged),
        ] {
            let got = JoinToken::parse(text).unwrap_err();
            assert_eq!(got, error);
            assert!(!got.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_token_does_not_print_its_secret() {
        assert!(!format!("{:?}", token()).contains("once"));
    }
}
