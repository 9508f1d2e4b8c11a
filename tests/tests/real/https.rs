//! HTTPS as a newcomer meets it, with the real curl and openssl: self-signed, uploaded, from an authority.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tests::binaries::Up;
use tests::origin::Origin;
use tests::wait::{DEADLINE, wait_at_most, wait_for};

use crate::bind::{self, Bind};
use crate::pebble::{self, Pebble};

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

/// Scenario 10.
#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_certificate_is_judged_and_swapped_without_cutting_a_download() {
    let up = Up::start();
    let folder = tempfile::tempdir().unwrap();
    let files = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let authority = Authority::make();
    std::fs::write(files("ca.pem"), authority.pem()).unwrap();
    let leaves = [
        ("first", "app.example.com", (-1, 90)),
        ("second", "app.example.com", (-1, 90)),
        ("other", "other.example.com", (-1, 90)),
        ("old", "app.example.com", (-90, -1)),
    ];
    for (name, host, days) in leaves {
        let (chain, key) = authority.leaf(host, days);
        std::fs::write(files(&format!("{name}.pem")), chain).unwrap();
        std::fs::write(files(&format!("{name}.key")), key).unwrap();
    }
    let (go, origin) = half_an_answer().await;
    let url = format!("http://{origin}");
    let refused = |arguments: &[&str]| {
        let output = up.try_cli(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} was taken");
        String::from_utf8(output.stderr).unwrap()
    };

    let mismatch = refused(&["cert", "add", "--cert", &files("first.pem"), "--key", &files("second.key")]);
    assert!(mismatch.contains("private key does not match"), "{mismatch}");
    let expired = refused(&["cert", "add", "--cert", &files("old.pem"), "--key", &files("old.key")]);
    assert!(expired.contains("expired"), "{expired}");
    up.cli(&["cert", "add", "--cert", &files("other.pem"), "--key", &files("other.key"), "--name", "other"]);
    let route = ["route", "add", "app.example.com", &url, "--tls", "upload"];
    let uncovered = refused(&[&route[..], &["--certificate", "other"]].concat());
    assert!(uncovered.contains("other.example.com"), "the names it has are not said: {uncovered}");

    up.cli(&["cert", "add", "--cert", &files("first.pem"), "--key", &files("first.key"), "--name", "app"]);
    up.cli(&route);
    let ca = folder.path().join("ca.pem");
    let curl = Curl { authority: &ca, http: up.address("http"), https: up.address("https") };
    let served = || serial(curl.https, "app.example.com");
    let first =
        wait_for("the upload is served", || async { Some(served()).filter(|serial| !serial.is_empty()) })
            .await;
    let mut download =
        curl.command(&["-N", "https://app.example.com/"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut body = download.stdout.take().unwrap();
    let mut half = vec![0; HALF.len()];
    body.read_exact(&mut half).unwrap();

    up.cli(&["cert", "import", "app", "--cert", &files("second.pem"), "--key", &files("second.key")]);
    wait_for("the other is served", || async { (served() != first).then_some(()) }).await;
    go.send(()).unwrap();
    let mut rest = String::new();
    body.read_to_string(&mut rest).unwrap();
    assert!(download.wait().unwrap().success(), "the download was cut");
    assert_eq!((half.as_slice(), rest.as_str()), (HALF.as_bytes(), HALF));
}

const HALF: &str = "half of what was asked for\n";

/// An origin that answers everybody with one half, and with the other when it is told to.
async fn half_an_answer() -> (tokio::sync::watch::Sender<()>, SocketAddr) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (go, told) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut told = told.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{HALF}", 2 * HALF.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
                told.changed().await.unwrap();
                stream.write_all(HALF.as_bytes()).await.unwrap();
            });
        }
    });
    (go, address)
}

/// Serial number and issuer of the certificate that is shown for a name, of one handshake; empty where there is none.
fn serial(https: SocketAddr, name: &str) -> String {
    let shown = openssl(https, &["-servername", name]);
    let said = pipe(&["x509", "-noout", "-serial", "-issuer", "-ext", "subjectAltName"], &shown.stdout);
    let above = name.split_once('.').map(|(_, rest)| format!("DNS:*.{rest}")).unwrap_or_default();
    let is_for_it = said.contains(&format!("DNS:{name}")) || said.contains(&above);
    if is_for_it { said } else { String::new() }
}

/// An authority that this machine does not know.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn make() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "some authority");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: rcgen::Issuer::new(params, key), certificate }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Chain and key in PEM, valid between so many days from now.
    fn leaf(&self, host: &str, (from, to): (i64, i64)) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let at = |days: i64| {
            let now = std::time::SystemTime::now();
            let time = std::time::Duration::from_secs(86_400 * days.unsigned_abs());
            (if days < 0 { now - time } else { now + time }).into()
        };
        (params.not_before, params.not_after) = (at(from), at(to));
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        (leaf.pem() + &self.pem(), key.serialize_pem())
    }
}

/// Scenario 11. The scan at two, with 29 and 31 days left, is control's `renewals` by a clock of its own.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_issues_and_renews_and_a_wildcard_needs_dns() {
    let Some(bind) = Bind::start().await else { return };
    let options = pebble::Options { dns_port: Some(bind.port), ..pebble::Options::default() };
    let Some(pebble) = Pebble::start(&options).await else { return };
    let directory = tempfile::Builder::new().prefix("gh").tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // The authority looks at a port of its own: the gateway listens there as well.
    let up = Up::start_in(directory.path(), &["--http", &format!("127.0.0.1:{}", pebble.http_port)]);
    let origin = Origin::start("issued").await;
    let roots = file("roots.pem", &pebble.root_pem);
    let resolver = bind.server();
    let account = [
        "acme",
        "account",
        "add",
        "--directory",
        &pebble.url,
        "--contact",
        "mailto:a@dyn.test",
        "--agree-tos",
    ];
    let account = [&account[..], &["--roots", &roots, "--resolver", &resolver]].concat();
    up.cli(&[&account[..], &["by-http"]].concat());
    let https = up.address("https");

    let wildcard = up.try_cli(&["route", "add", "*.dyn.test", &origin.url(), "--tls", "acme"]);
    let said = String::from_utf8(wildcard.stderr).unwrap();
    assert!(!wildcard.status.success() && said.contains("needs DNS-01"), "{said}");

    up.cli(&["route", "add", "app.dyn.test", &origin.url(), "--tls", "acme"]);
    let issued = |name: &'static str, before: String| async move {
        wait_long(&format!("another certificate for {name} than {before:?}"), || {
            let serial = serial(https, name);
            let is_new = !serial.is_empty() && serial != before && serial.contains("Pebble");
            is_new.then_some(serial)
        })
        .await
    };
    let first = issued("app.dyn.test", String::new()).await;
    assert_eq!(pebble.orders(), 1, "one order for one set of names");
    // The alias of the reference.
    up.cli(&["--renew-ssl", "--force", "app.dyn.test"]);
    let second = issued("app.dyn.test", first).await;

    let secret = file("tsig", bind::KEYS[0].2);
    let dns = ["--challenge", "dns-01", "--dns", "rfc2136", "--dns-server", &resolver];
    let key =
        ["--dns-key-name", bind::KEYS[0].0, "--dns-algorithm", bind::KEYS[0].1, "--dns-secret-file", &secret];
    up.cli(&[&account[..], &dns[..], &key[..], &["by-dns"]].concat());
    up.cli(&[
        "cert",
        "add",
        "--acme",
        "*.dyn.test",
        "--account",
        "by-dns",
        "--challenge",
        "dns-01",
        "--name",
        "wild",
    ]);
    up.cli(&["route", "add", "*.dyn.test", &origin.url(), "--tls", "acme"]);
    issued("any.dyn.test", String::new()).await;

    drop(pebble);
    outlives_its_authority(&up, &second).await;
}

/// The authority went away: what there is is served on, and the reason can be read.
async fn outlives_its_authority(up: &Up, second: &str) {
    up.cli(&["cert", "renew", "--force", "app.dyn.test"]);
    let orders = wait_long("the order says why it waits", || {
        let orders = up.cli(&["acme", "order", "ls", "-o", "json"]);
        orders.contains("next_try").then_some(orders).filter(|orders| orders.contains("no connection"))
    })
    .await;
    assert!(orders.contains("app.dyn.test"), "{orders}");
    assert_eq!(
        serial(up.address("https"), "app.dyn.test"),
        second,
        "{} {}",
        up.cli(&["acme", "order", "ls"]),
        up.cli(&["cert", "ls"])
    );
}

/// An order takes as long as its authority rests between its looks.
async fn wait_long<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    wait_at_most(4 * DEADLINE, what, || std::future::ready(probe())).await
}

/// The real curl, which finds every name at the gateway.
struct Curl<'a> {
    authority: &'a Path,
    http: SocketAddr,
    https: SocketAddr,
}

impl Curl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "20", "--cacert"])
            .arg(self.authority)
            .args(["--connect-to", &format!(":443:{}", self.https)])
            .args(["--connect-to", &format!(":80:{}", self.http)])
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("curl is installed by ./test")
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
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed by ./test")
}

fn pipe(arguments: &[&str], input: &[u8]) -> String {
    use std::io::Write as _;
    let mut child =
        Command::new("openssl").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}
