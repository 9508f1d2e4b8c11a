//! The committed fuzz corpus, and every way to cut and bend a set of seeds, through the properties of the fuzz targets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/properties.rs"]
mod properties;

/// Runs the property on each file of a corpus, on the file with each byte replaced by those that matter in HTTP, and
/// with each byte left out.
fn replay(name: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let run = |bytes: &[u8]| {
            let caught = std::panic::catch_unwind(|| property(bytes));
            assert!(caught.is_ok(), "{} bent into {:?}", path.display(), String::from_utf8_lossy(bytes));
        };
        run(&bytes);
        for place in 0..bytes.len().min(400) {
            let mut bent = bytes.clone();
            for byte in *b"\r\n\0 \t:,;/%.0aG\x80" {
                bent[place] = byte;
                run(&bent);
            }
            bent.remove(place);
            run(&bent);
        }
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn request_heads_are_read_alike_however_they_are_cut() {
    replay("request", properties::request);
}

#[test]
fn response_heads_are_read_alike_however_they_are_cut() {
    replay("response", properties::response);
}

#[test]
fn chunked_bodies_are_read_alike_however_they_are_cut() {
    replay("chunks", properties::chunks);
}

#[test]
fn an_accepted_host_stays_as_it_is() {
    replay("host", properties::host);
}

#[test]
fn the_other_reading_of_a_path_is_the_last() {
    replay("path", properties::path);
}

#[test]
fn a_proxy_header_is_read_alike_however_it_is_cut() {
    replay("proxy", properties::proxy);
}

#[test]
fn both_readers_see_all_requests_of_a_stream() {
    let bytes = include_bytes!("../fuzz/corpus/differential/pipelined");
    assert_eq!(properties::seen(bytes), (3, 3));
}

#[test]
fn hyper_reads_what_we_accept_as_we_do() {
    replay("differential", properties::differential);
}
