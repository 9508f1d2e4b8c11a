//! Certificates as text (RFC 7468).

use data_encoding::BASE64;

/// One certificate as PEM, ending in a newline.
pub(super) fn certificate(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (place, character) in BASE64.encode(der).chars().enumerate() {
        // Exactly 64 characters a line but the last (RFC 7468 § 2).
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}
