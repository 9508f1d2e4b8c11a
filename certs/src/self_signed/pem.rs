//! Certificates as text (RFC 7468).

use data_encoding::BASE64;

/// One certificate as PEM, ending in a newline.
pub(crate) fn certificate(der: &[u8]) -> String {
    block("CERTIFICATE", der)
}

/// Any block as PEM, ending in a newline. Not for keys: the text is not zeroed.
pub(crate) fn block(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (place, character) in BASE64.encode(der).chars().enumerate() {
        // Exactly 64 characters a line but the last (RFC 7468 § 2).
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}
