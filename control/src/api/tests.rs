//! The API through its router: one fact a test.

mod acme;
mod authority;
mod certificates;
mod certificates_routes;
mod console_places;
mod consoles;
mod forwards;
mod forwards_csv;
mod forwards_probed;
mod gateways;
mod routes;
mod routes_options;
mod sessions;
mod ssh;
mod system;
mod terminals;
mod told;
mod users;
mod vms;

/// The document is reviewed as text; `UPDATE_GOLDEN=1` rewrites it.
#[test]
fn the_committed_openapi_document_is_the_codes() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let mut now = super::document().to_pretty_json().unwrap();
    now.push('\n');
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "control/openapi.json is not what the code serves; UPDATE_GOLDEN=1 rewrites it"
    );
}
