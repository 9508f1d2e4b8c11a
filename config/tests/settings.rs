//! The words of a configuration's mistakes, reviewed as text. `UPDATE_GOLDEN=1` rewrites them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use config::settings::{Sources, load_both};

#[test]
fn a_file_with_three_mistakes_reads_like_this() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = std::fs::read_to_string(golden.join("three_mistakes.toml")).unwrap();
    let sources = Sources {
        file: Some(("gatehouse.toml".into(), text)),
        default_data: "/data".into(),
        ..Sources::default()
    };
    let errors = load_both(&sources, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap_err();
    let said = format!("{errors}\n");

    let expected = golden.join("three_mistakes.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&expected, &said).unwrap();
    }
    assert_eq!(said, std::fs::read_to_string(&expected).unwrap_or_default());
}
