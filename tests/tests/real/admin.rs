//! The admin API by TLS, with the real curl and the real command line (INVENTORY E-13).

use std::process::{Command, Output};

use serde_json::Value;
use tests::binaries::{Up, bin};

#[test]
fn the_admin_api_is_served_by_tls_beside_plain_http() {
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let up = Up::start_in(directory.path(), &["--admin", "tls:127.0.0.1:0"]);
    assert_eq!(up.ready["admin"].as_array().unwrap().len(), 1, "{}", up.ready);
    let address = up.address("admin_tls");
    up.cli(&["user", "create", "e13user", "--grant", "root"]);
    let token = up.cli(&["token", "create", "--subject", "e13user", "--duration", "10m"]);
    let token = token.trim();
    let bearer = format!("Authorization: Bearer {token}");

    // The line of the reference.
    let whoami = curl(&["-k", "-H", &bearer, &format!("https://{address}/whoami")]);
    let whoami: Value = serde_json::from_str(&whoami).unwrap();
    assert_eq!((&whoami["name"], &whoami["raw_grant"]), (&"e13user".into(), &"root".into()), "{whoami}");

    // And with trust in the one authority, in both versions.
    let authority = directory.path().join("ca.pem");
    std::fs::write(&authority, up.cli(&["ca", "show"])).unwrap();
    let trusted = ["--cacert", authority.to_str().unwrap(), "-H", &bearer];
    let localhost = format!("https://localhost:{}/whoami", address.port());
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let seen = curl(&[version, &trusted, &["-w", " %{http_code}", &localhost]].concat());
        assert!(seen.ends_with(" 200"), "{seen}");
    }
    let nobody = curl(&["-k", "-w", " %{http_code}", &format!("https://{address}/whoami")]);
    assert!(nobody.ends_with(" 401"), "{nobody}");
    let plain = curl(&["-w", " %{http_code}", &format!("http://{address}/whoami")]);
    assert!(plain.ends_with(" 400") && plain.contains("https://"), "{plain}");

    let cli = |extra: &[&str]| -> Output {
        let url = format!("https://{address}");
        let mut command = Command::new(bin("gatehouse"));
        command
            .env("GATEHOUSE_TOKEN", token)
            .args(["--url", &url])
            .args(extra)
            .arg("whoami")
            .output()
            .unwrap()
    };
    let said = cli(&["--ca", authority.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.success() && text.contains("e13user"), "{said:?}");
    let stranger = cli(&[]);
    assert!(!stranger.status.success(), "an authority that nobody named was trusted");
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20"])
        .args(arguments)
        .output()
        .expect("curl is installed by ./test");
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
