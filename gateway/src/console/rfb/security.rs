//! VNC authentication (RFC 6143 § 7.2.2): an old cipher, and what servers ask for.

use des::Des;
use des::cipher::{Block, BlockCipherEncrypt as _, KeyInit as _};

/// The answer to a challenge. The password is the key of DES, with the bits of each byte in reverse; what goes beyond
/// its eight bytes does not count.
pub(crate) fn answer(password: &str, challenge: &[u8; 16]) -> [u8; 16] {
    let mut key = [0_u8; 8];
    for (byte, given) in key.iter_mut().zip(password.bytes()) {
        *byte = given.reverse_bits();
    }
    let cipher = Des::new(&key.into());
    let mut answer = *challenge;
    for half in answer.chunks_exact_mut(8) {
        let mut block = Block::<Des>::default();
        block.copy_from_slice(half);
        cipher.encrypt_block(&mut block);
        half.copy_from_slice(&block);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_des_with_reversed_bits() {
        // By openssl: `openssl enc -des-ecb -nopad -K 0e86ceceee0c4e26` (passw0rd with its bits in reverse).
        let challenge = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let hex: String = answer("passw0rd", &challenge).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b74009c87f3c1f6b73621d7403d32880");
        assert_eq!(answer("passw0rd", &challenge), answer("passw0rd and more", &challenge));
    }
}
