//! HTTPS as a newcomer meets it, with the real curl and openssl: self-signed, uploaded, from an authority.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use tests::binaries::Up;
use tests::origin::Origin;
use tests::wait::wait_for;

/// Scenario 9.
#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_route_is_https_by_one_authority_and_http_leads_there() {
    let up = Up::start();
    let origin = Origin::start("behind").await;
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, up.cli(&["ca", "show"])).unwrap();
    up.cli(&["route", "add", "plain.example.com", &origin.url(), "--tls", "self-signed"]);
    up.cli(&["route", "add", "strict.example.com", &origin.url(), "--tls", "self-signed", "--hsts", "600"]);
    let curl = Curl { authority: &authority, http: up.address("http"), https: up.address("https") };
    wait_for("the routes serve", || async {
        let served = curl.run(&["-o", "/dev/null", "https://strict.example.com/"]);
        served.status.success().then_some(())
    })
    .await;

    // The one authority is trusted, the name is right, and HTTP/2 is agreed on.
    let seen = curl.text(&["-w", "\n%{http_version} %{ssl_verify_result}", "https://plain.example.com/"]);
    assert!(seen.starts_with("behind"), "{seen}");
    assert!(seen.ends_with("\n2 0"), "{seen}");
    let names = openssl(curl.https, &["-servername", "plain.example.com"]);
    let subject = pipe(&["x509", "-noout", "-ext", "subjectAltName"], &names.stdout);
    assert!(subject.contains("DNS:plain.example.com"), "{subject}");
    // A name that the certificate does not hold is not served under it.
    let wrong = curl.run(&["https://wrong.example.com/"]);
    assert!(!wrong.status.success(), "another name was trusted");

    let location = curl.text(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url}",
        "http://plain.example.com/a/b?c=d&e",
    ]);
    let wanted = format!("301 https://plain.example.com:{}/a/b?c=d&e", curl.https.port());
    assert_eq!(location, wanted);

    let fields =
        |host: &str| curl.text(&["-o", "/dev/null", "-D", "-", &format!("https://{host}/")]).to_lowercase();
    assert!(!fields("plain.example.com").contains("strict-transport-security"), "nobody asked for it");
    assert!(fields("strict.example.com").contains("strict-transport-security: max-age=600"));
    let plain = curl.text(&["-o", "/dev/null", "-D", "-", "http://strict.example.com/"]).to_lowercase();
    assert!(!plain.contains("strict-transport-security"), "over plain HTTP it means nothing: {plain}");

    for old in ["-tls1", "-tls1_1"] {
        let refused =
            openssl(curl.https, &["-servername", "plain.example.com", old, "-cipher", "ALL:@SECLEVEL=0"]);
        let said = String::from_utf8_lossy(&refused.stdout).into_owned();
        assert!(said.contains("Cipher is (NONE)") && !refused.status.success(), "{old}: {said}");
    }
    for new in ["-tls1_2", "-tls1_3"] {
        let agreed = openssl(curl.https, &["-servername", "plain.example.com", new]);
        assert!(String::from_utf8_lossy(&agreed.stdout).contains("Verify return code"), "{new}");
    }
}

/// The real curl, which finds every name at the gateway.
struct Curl<'a> {
    authority: &'a Path,
    http: SocketAddr,
    https: SocketAddr,
}

impl Curl<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("curl")
            .args(["-sS", "--max-time", "20", "--cacert"])
            .arg(self.authority)
            .args(["--connect-to", &format!(":443:{}", self.https)])
            .args(["--connect-to", &format!(":80:{}", self.http)])
            .args(arguments)
            .output()
            .expect("curl is installed by ./test")
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn openssl(address: SocketAddr, arguments: &[&str]) -> Output {
    Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed by ./test")
}

fn pipe(arguments: &[&str], input: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
