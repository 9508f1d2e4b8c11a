//! `sntrup761x25519-sha512` (draft-josefsson-ntruprime-ssh): Streamlined NTRU Prime and X25519, either of which keeps the
//! secret. The server only encapsulates.

use curve25519_dalek::montgomery::MontgomeryPoint;
use log::debug;
use sha2::{Digest, Sha512};
use sntrup::sntrup761::{self, Ciphertext, DecapsulationKey, EncapsulationKey};
use ssh_encoding::{Decode, Encode, Writer};

use super::{KexAlgorithm, KexAlgorithmImplementor, KexType, SharedSecret, compute_keys};
use crate::session::Exchange;
use crate::{CryptoVec, Error, cipher, mac, msg};

const X25519_PUBLIC_KEY_SIZE: usize = 32;

pub struct Sntrup761X25519KexType {}

impl KexType for Sntrup761X25519KexType {
    fn make(&self) -> KexAlgorithm {
        Sntrup761X25519Kex::default().into()
    }
}

#[doc(hidden)]
#[derive(Default)]
pub struct Sntrup761X25519Kex {
    secrets: Option<Box<(DecapsulationKey, [u8; 32])>>,
    /// SHA-512 of both shared secrets: a string, and not a number as in other exchanges.
    k: Option<CryptoVec>,
}

impl std::fmt::Debug for Sntrup761X25519Kex {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "Sntrup761X25519Kex {{ secrets: [hidden], k: [hidden] }}")
    }
}

impl Sntrup761X25519Kex {
    fn agree(&mut self, post_quantum: &[u8], peer: &[u8], secret: [u8; 32]) -> Result<(), Error> {
        let peer = <[u8; 32]>::try_from(peer).map_err(|_| Error::Kex)?;
        let classical = MontgomeryPoint(peer).mul_clamped(secret);
        if classical.0 == [0u8; 32] {
            debug!("the peer sent a low-order curve25519 pubkey");
            return Err(Error::Kex);
        }
        let mut hasher = Sha512::new();
        hasher.update(post_quantum);
        hasher.update(classical.0);
        let mut k = CryptoVec::new();
        k.extend(&hasher.finalize());
        self.k = Some(k);
        Ok(())
    }
}

impl KexAlgorithmImplementor for Sntrup761X25519Kex {
    fn skip_exchange(&self) -> bool {
        false
    }

    fn server_dh(&mut self, exchange: &mut Exchange, payload: &[u8]) -> Result<(), Error> {
        debug!("server_dh (hybrid sntrup761)");
        let Some((&msg::KEX_HYBRID_INIT, mut rest)) = payload.split_first() else {
            return Err(Error::Inconsistent);
        };
        let init = Vec::<u8>::decode(&mut rest)?;
        let (key, x25519) = init
            .split_at_checked(sntrup761::PUBLIC_KEY_SIZE)
            .ok_or(Error::Kex)?;
        let key = EncapsulationKey::try_from(key).map_err(|_| Error::Kex)?;
        let (ciphertext, shared) = key.encapsulate(&mut rand::rng());
        let secret = rand::random::<[u8; 32]>();
        self.agree(shared.as_ref(), x25519, secret)?;

        exchange.server_ephemeral.clear();
        exchange.server_ephemeral.extend_from_slice(ciphertext.as_ref());
        let public = MontgomeryPoint::mul_base_clamped(secret);
        exchange.server_ephemeral.extend_from_slice(&public.0);
        Ok(())
    }

    fn client_dh(
        &mut self,
        client_ephemeral: &mut Vec<u8>,
        writer: &mut impl Writer,
    ) -> Result<(), Error> {
        let (key, decapsulation) = sntrup761::generate_key(&mut rand::rng());
        let secret = rand::random::<[u8; 32]>();
        let public = MontgomeryPoint::mul_base_clamped(secret);

        client_ephemeral.clear();
        client_ephemeral.extend_from_slice(key.as_ref());
        client_ephemeral.extend_from_slice(&public.0);
        msg::KEX_HYBRID_INIT.encode(writer)?;
        client_ephemeral.as_slice().encode(writer)?;

        self.secrets = Some(Box::new((decapsulation, secret)));
        Ok(())
    }

    fn compute_shared_secret(&mut self, remote_pubkey: &[u8]) -> Result<(), Error> {
        let (ciphertext, x25519) = remote_pubkey
            .split_at_checked(sntrup761::CIPHERTEXT_SIZE)
            .filter(|(_, x25519)| x25519.len() == X25519_PUBLIC_KEY_SIZE)
            .ok_or(Error::Kex)?;
        let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| Error::Kex)?;
        let secrets = self.secrets.take().ok_or(Error::KexInit)?;
        let (decapsulation, secret) = &*secrets;
        let shared = decapsulation.decapsulate(&ciphertext);
        self.agree(shared.as_ref(), x25519, *secret)
    }

    fn shared_secret_bytes(&self) -> Option<&[u8]> {
        self.k.as_ref().map(|k| k.as_ref())
    }

    fn compute_exchange_hash(
        &self,
        key: &[u8],
        exchange: &Exchange,
        buffer: &mut CryptoVec,
    ) -> Result<Vec<u8>, Error> {
        let k = self.k.as_ref().ok_or(Error::KexInit)?;
        buffer.clear();
        exchange.client_id.encode(buffer)?;
        exchange.server_id.encode(buffer)?;
        exchange.client_kex_init.encode(buffer)?;
        exchange.server_kex_init.encode(buffer)?;
        buffer.extend(key);
        exchange.client_ephemeral.encode(buffer)?;
        exchange.server_ephemeral.encode(buffer)?;
        k.as_ref().encode(buffer)?;

        let mut hasher = Sha512::new();
        hasher.update(&buffer);
        Ok(hasher.finalize().to_vec())
    }

    fn compute_keys(
        &self,
        session_id: &[u8],
        exchange_hash: &[u8],
        cipher: cipher::Name,
        remote_to_local_mac: mac::Name,
        local_to_remote_mac: mac::Name,
        is_server: bool,
    ) -> Result<super::cipher::CipherPair, Error> {
        let k = self.k.as_ref().ok_or(Error::KexInit)?;
        compute_keys::<Sha512>(
            Some(&SharedSecret::from_string(k)?),
            session_id,
            exchange_hash,
            cipher,
            remote_to_local_mac,
            local_to_remote_mac,
            is_server,
        )
    }
}
