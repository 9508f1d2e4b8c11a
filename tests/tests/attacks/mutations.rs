//! Ways to write `Transfer-Encoding: chunked` so that two readers disagree on whether it stands there, after the
//! published collections (the mutations of smuggler, of HTTP Garden and of HTTP Request Smuggler).

/// By hand: refused in every request, whatever else frames it.
pub(crate) const BY_HAND: &[&str] = &[
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding  :chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "  Transfer-Encoding : chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding:\r\n\tchunked",
    "Transfer-Encoding:\n chunked",
    "Transfer-Encoding:\nchunked",
    "Transfer-Encoding:\rchunked",
    "Transfer-Encoding\r\n: chunked",
    "Transfer-Encoding\r\n : chunked",
    "Transfer-Encoding\n: chunked",
    "Transfer\r\n -Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\n\rTransfer-Encoding: chunked",
    "X: y\r\rTransfer-Encoding: chunked",
    "X: y\r\r\nTransfer-Encoding: chunked",
    "X: y\n\nTransfer-Encoding: chunked",
    "X:\r\n Transfer-Encoding: chunked",
    "\nTransfer-Encoding: chunked",
    "\rTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r",
    "Transfer-Encoding: chunked\n",
    "Transfer-Encoding: chunked\r\n ",
    "Transfer-Encoding: chunked\r\n , identity",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: , chunked ,",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: deflate",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
    "Transfer-Encoding: ",
    "Transfer-Encoding: ,",
    "Transfer-Encoding: cow",
    "Transfer-Encoding: chunked cow",
    "Transfer-Encoding: cow chunked bar",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunke",
    "Transfer-Encoding: chun ked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: chunked; foo",
    "Transfer-Encoding: chunked;",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: (c) chunked",
    "Transfer-Encoding: chunked (c)",
    "Transfer-Encoding: x-chunked",
    "Transfer-Encoding: cHuNkEd, identity",
    "Transfer-Encoding: %63hunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\ntransfer-encoding: x",
    "Transfer-Encoding: x\r\nX: y\r\nTRANSFER-ENCODING: chunked",
    "Transfer-Encoding",
    "Transfer-Encoding chunked",
    "Transfer-Encoding=chunked",
    "Transfer-Encoding;: chunked",
    ":Transfer-Encoding: chunked",
    ": chunked",
    "Transfer-Encoding:: chunked",
    "Transfer-Encoding: : chunked",
    "Transfer Encoding: chunked",
    "Transfer-Encoding/: chunked",
    "\"Transfer-Encoding\": chunked",
    "(Transfer-Encoding): chunked",
    "Transfer-Encoding\\: chunked",
    "[Transfer-Encoding]: chunked",
    "X: y\\r\\nTransfer-Encoding: chunked\r\nTransfer-Encoding: a",
    "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    "Connection: close, transfer-encoding\r\nTransfer-Encoding: chunked",
    "Proxy-Connection: x\r\nTransfer-Encoding: x, chunked",
];

/// Other fields that a careless reader may take for it: read as what they are, and none that could be taken for it
/// reaches an origin.
pub(crate) const OTHER_FIELDS: &[&str] = &[
    "Transfer_Encoding: chunked",
    "transfer_encoding: chunked",
    "X-Transfer-Encoding: chunked",
    "Transfer-Encodin: chunked",
    "Transfer-Encodings: chunked",
    "TransferEncoding: chunked",
    "Content-Encoding: chunked",
    "TE: chunked",
    "TE: trailers, chunked",
    "Accept-Encoding: chunked",
    "Trailer: Transfer-Encoding",
    "X: Transfer-Encoding: chunked",
    "Upgrade: chunked",
];

/// Legal spellings.
pub(crate) const LEGAL: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: \t chunked \t ",
    "transfer-encoding: chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "tRANSFER-eNCODING: cHUNKED",
];

/// The line with each odd byte at each place where a reader may overlook it.
pub(crate) fn with_odd_bytes() -> Vec<Vec<u8>> {
    let odd = (1..=8).chain(0x0b..=0x0c).chain(0x0e..=0x1f).chain([0, 0x7f, 0x80, 0x85, 0xa0, 0xad, 0xff]);
    let mut lines = Vec::new();
    for byte in odd {
        let byte: &[u8] = &[byte];
        for parts in [
            [b"", byte, b"Transfer-Encoding: chunked"],
            [b"Transfer", byte, b"-Encoding: chunked"],
            [b"Transfer-Encoding", byte, b": chunked"],
            [b"Transfer-Encoding:", byte, b"chunked"],
            [b"Transfer-Encoding: chun", byte, b"ked"],
            [b"Transfer-Encoding: chunked", byte, b""],
            [b"Transfer-Encoding: chunked", byte, b", x"],
        ] {
            lines.push(parts.concat());
        }
    }
    lines
}
