use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    // Words in single quotes stay together, as in a shell.
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    Cli::try_parse_from(words)
}

#[test]
fn every_fixed_form_parses() {
    for line in [
        "gatehouse --data /d status",
        "gatehouse up --data /d --http 127.0.0.1:0 --http [::1]:0 --https off --ssh 127.0.0.1:0 --novnc 127.0.0.1:0 \
         --ttyd 127.0.0.1:0 --admin 127.0.0.1:0 --sync 127.0.0.1:0 --gateway-admin off -o json",
        "gatehouse up --config c.toml --env-file .env --production",
        "gatehouse route add app.example.com http://10.0.0.5:80",
        "gatehouse route add app.example.com http://10.0.0.5 --path /p --tls self-signed --websocket on",
        "gatehouse route add app.example.com http://10.0.0.5 --tls passthrough",
        "gatehouse route add '*' http://10.0.0.5",
        "gatehouse route add app.example.com http://10.0.0.5 --tls upload --certificate web --tls-min 1.3",
        "gatehouse route add app.example.com http://10.0.0.5 --tls acme --client-ca a.pem --client-ca b.pem --client-crl c.pem",
        "gatehouse ca import --cert ca.pem --key ca.key --chain root.pem",
        "gatehouse route rm app.example.com",
        "gatehouse route delete 01890a5d-ac96-774b-bcce-b302099a8057",
        "gatehouse route add openidc.example.com control",
        "gatehouse route add openidc.example.com --path /websockify novnc",
        "gatehouse route create app.example.com http://10.0.0.5",
        "gatehouse route ls",
        "gatehouse route list -o yaml",
        "gatehouse route show app.example.com --path /p",
        "gatehouse route update app.example.com --websocket off --note 'a b'",
        "gatehouse route add app.example.com --redirect https://b.example.com/ --status 308 --keep-rest",
        "gatehouse route add app.example.com --respond 410 --body gone --content-type text/plain",
        "gatehouse route add app.example.com https://10.0.0.5 --target https://10.0.0.6 --upstream-ca ca.pem",
        "gatehouse route add app.example.com --maintenance http://10.0.0.5 --gzip --path-exact",
        "gatehouse route add app.example.com http://10.0.0.5 --match-method GET --match-header 'X-A=b' --priority -1",
        "gatehouse route add app.example.com http://10.0.0.5 --basic-auth ada --rate 10/s --burst 5 --allow 10.0.0.0/8",
        "gatehouse route add app.example.com --options -",
        "gatehouse route update app.example.com --timeout whole=30s --timeout tunnel=1d --sticky cookie --check tcp",
        "gatehouse route endpoint list app.example.com",
        "gatehouse route endpoint drain app.example.com http://10.0.0.5:80 --path /p",
        "gatehouse route endpoint undrain app.example.com 10.0.0.5:80",
        "gatehouse route endpoint weight app.example.com 10.0.0.5:80 3",
        "gatehouse explain https://app.example.com/path --method PUT --header 'X-A: b' --header 'X-B: c' --client 10.0.0.1",
        "gatehouse vm add web 10.0.0.5 --namespace ns1 --network default --ssh-port 2222",
        "gatehouse vm rm web",
        "gatehouse user create usr1 --grant 'admin:ns1 guest:ns2'",
        "gatehouse user key add usr1 -",
        "gatehouse user key add usr1 /k.pub",
        "gatehouse user key ls usr1",
        "gatehouse user key rm usr1 SHA256:x",
        "gatehouse user update usr1 --enabled off",
        "gatehouse token create --subject usr1 --duration 10m",
        "gatehouse token revoke 1",
        "gatehouse ca show",
        "gatehouse db migrate --database /d/database.db",
        "gatehouse gateway list",
        "gatehouse gateway token create --name g2",
        "gatehouse gateway rm g2",
        "gatehouse gateway run --data /d --http 127.0.0.1:0",
        "gatehouse control run --admin 127.0.0.1:0",
        "gatehouse check --config c.toml",
        "gatehouse explain https://app.example.com/path",
        "gatehouse healthcheck --quiet",
        "gatehouse version",
        "gatehouse completion bash",
        "gatehouse setup --token t --name admin",
        "gatehouse --url https://c:1880 --ca ca.pem --no-color whoami",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn every_form_about_certificates_parses() {
    for line in [
        "gatehouse cert add chain.pem key.pem",
        "gatehouse cert add --cert a.pem --chain b.pem --key c.pem --name web --namespace ns1",
        "gatehouse cert add web.p12 --password-file pw",
        "gatehouse cert add --acme app.example.com --acme '*.example.com' --challenge dns-01 --account le",
        "gatehouse cert import web chain.pem key.pem",
        "gatehouse cert csr --cn app.example.com --san b.example.com --san 10.0.0.1 --org Example --country DE",
        "gatehouse cert load web --cert a.pem --chain b.pem",
        "gatehouse cert ls --days 30 -o json",
        "gatehouse cert list --source acme --status failed",
        "gatehouse cert show web --part certificate_chain",
        "gatehouse cert renew",
        "gatehouse cert renew --force web app.example.com",
        "gatehouse --renew-ssl",
        "gatehouse --renew-ssl --force",
        "gatehouse cert revoke web",
        "gatehouse cert rm web --force",
        "gatehouse ca show",
        "gatehouse ca trust --dry-run",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}\n{error}");
        }
    }
}

#[test]
fn a_wrong_word_is_a_usage_error() {
    for line in [
        "gatehouse",
        "gatehouse route fly",
        "gatehouse route add",
        "gatehouse route add app.example.com",
        "gatehouse route add app.example.com --redirect /a --respond 200",
        "gatehouse route add app.example.com --status 301 http://10.0.0.5",
        "gatehouse route endpoint drain app.example.com",
        "gatehouse vm add web",
        "gatehouse cert csr",
        "gatehouse cert add a.pem --acme app.example.com",
        "gatehouse cert add --challenge dns-01",
        "gatehouse -o xml status",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn the_definitions_agree_with_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn the_default_directory_is_the_systems_for_root_and_the_persons_otherwise() {
    let path = |text: &str| Some(PathBuf::from(text));
    assert_eq!(default_data(true, path("/s"), path("/h")), path("/var/lib/gatehouse"));
    assert_eq!(default_data(false, path("/s"), path("/h")), path("/s/gatehouse"));
    assert_eq!(default_data(false, None, path("/h")), path("/h/.local/state/gatehouse"));
    assert_eq!(default_data(false, None, None), None);
}

#[test]
fn the_url_to_explain_is_not_the_one_to_dial() {
    let cli = parse("gatehouse explain https://app.example.com/path").unwrap();
    assert_eq!(cli.global.url, None);
}

#[test]
fn what_follows_gateway_run_is_the_gateways() {
    let cli = parse("gatehouse --data /d gateway run --http 127.0.0.1:0 --workers 2 -o json").unwrap();
    let Command::Gateway(GatewayCommand::Run { arguments }) = cli.command else { panic!("another command") };
    assert_eq!(arguments, ["--http", "127.0.0.1:0", "--workers", "2", "-o", "json"]);
    let cli = parse("gatehouse gateway run --data /d -o json --http 127.0.0.1:0").unwrap();
    assert_eq!((cli.global.data, cli.global.output), (Some("/d".into()), Some(args::Form::Json)));
}

#[test]
fn every_form_of_a_forward_parses() {
    for line in [
        "gatehouse forward add tcp 10022 10.0.0.5:22 --note SSH",
        "gatehouse forward add web01 --preset ssh",
        "gatehouse forward add --protocol tcp --host-port 10000-10010 --vm web01 --vm-port 8000 --source 10.0.0.0/8 \
         --bind 192.0.2.1 --proxy-protocol v2 --max-conns 10 --rate 5 --idle-timeout 5m --on-change cut --on-delete keep",
        "gatehouse forward ls",
        "gatehouse forward show tcp/10022 -o json",
        "gatehouse forward update tcp/10022 --host-port auto --source any",
        "gatehouse forward rm 01890a5d-ac96-774b-bcce-b302099a8057",
        "gatehouse forward enable tcp/10022",
        "gatehouse forward disable tcp/10022",
        "gatehouse forward import rules.csv --dry-run",
        "gatehouse forward import - --namespace ns1",
        "gatehouse forward export",
        "gatehouse forward presets",
        "gatehouse diagnose forward tcp/10022 -o json",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn every_form_of_a_console_parses() {
    for line in [
        "gatehouse console add web01 vnc --port 5901 --address 10.0.0.1 --secret-file /run/vnc --read-only on",
        "gatehouse console add web01.ns1 ttyd --path /ws --on-change cut --on-delete keep --note x",
        "gatehouse console ls --vm web01 --kind vnc --namespace ns1",
        "gatehouse console show web01",
        "gatehouse console set web01 --kind vnc --wire websocket --secret-file -",
        "gatehouse console set 01890a5d-ac96-774b-bcce-b302099a8057 --no-secret",
        "gatehouse console rm web01 --kind serial",
        "gatehouse console open web01 -o json",
        "gatehouse console open web01 --kind vnc --look --source 192.0.2.7 --gateway gw1 --host gate.example --seconds 20",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn every_form_of_the_audit_parses() {
    for line in [
        "gatehouse audit ls",
        "gatehouse audit list --user ann --action refuse --kind jump --namespace ns1 --limit 500 -o json",
        "gatehouse audit ls --actor root --object 01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    assert!(parse("gatehouse audit ls --limit 0").is_err());
}

#[test]
fn every_form_of_a_session_parses() {
    for line in [
        "gatehouse session ls",
        "gatehouse session ls --gateway gw1 --kind console --namespace ns1 --user ann --vm web01.ns1 -o json",
        "gatehouse session show 01890a5d-ac96-774b-bcce-b302099a8057",
        "gatehouse session kill 01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}
