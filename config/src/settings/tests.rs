use std::io;
use std::path::Path;

use super::key::{LATER, SPECS, Spec};
use super::*;
use crate::snapshot::Ports;

const ROOT_KEY: &str = "8c1e5f0b9a7d4c3e2f1a0b9c8d7e6f5a";

fn sources() -> Sources {
    Sources { default_data: "/data".into(), ..Sources::default() }
}

fn file(text: &str) -> Sources {
    Sources { file: Some(("gatehouse.toml".into(), text.into())), ..sources() }
}

fn env_file(text: &str) -> Sources {
    Sources { env_file: Some((".env".into(), text.into())), ..sources() }
}

fn env(variables: &[(&str, &str)]) -> Sources {
    let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { env, ..sources() }
}

fn no_file(path: &Path) -> io::Result<String> {
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no {} in this test", path.display())))
}

fn both(sources: &Sources) -> (Control, Gateway, Loaded) {
    load_both(sources, &no_file).unwrap()
}

fn mistakes(sources: &Sources) -> Vec<String> {
    let errors = load_both(sources, &no_file).expect_err("something is wrong");
    errors.all().iter().map(ToString::to_string).collect()
}

fn addresses(text: &[&str]) -> Vec<SocketAddr> {
    text.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn without_any_source_the_defaults_stand() {
    let (control, gateway, loaded) = both(&sources());
    assert_eq!(loaded, Loaded { file: None, warnings: Vec::new() });
    assert_eq!(gateway.http, addresses(&["0.0.0.0:80"]));
    assert_eq!(gateway.https, addresses(&["0.0.0.0:443"]));
    assert_eq!(gateway.ssh, addresses(&["0.0.0.0:2222"]));
    assert_eq!(gateway.novnc, addresses(&["0.0.0.0:6080"]));
    assert_eq!(gateway.ttyd, addresses(&["0.0.0.0:7681"]));
    assert_eq!(gateway.admin, Some("127.0.0.1:1882".parse().unwrap()));
    assert_eq!(control.admin, addresses(&["127.0.0.1:1880"]));
    assert_eq!(control.sync, addresses(&["127.0.0.1:1881"]));
    assert_eq!(gateway.control, ["127.0.0.1:1881"]);
    assert_eq!(control.database, Database::Sqlite("/data/database.db".into()));
    assert_eq!((control.mode, gateway.mode), (Mode::Production, Mode::Production));
    assert_eq!(control.log.file, None);
    assert_eq!(control.log.retention, Retention::Files(3));
    assert!(gateway.trusted_proxies.is_empty() && gateway.proxy_protocol.is_empty());
    assert!(control.secret_key.is_none());
    assert_eq!(control.forward_ports, [Ports { first: 1_024, last: 65_535 }]);
}

#[test]
fn the_ports_that_people_may_take_are_rows_and_may_be_none() {
    let of = |text: &str| {
        let file = Some(("gatehouse.toml".into(), format!("[forwards]\nports = {text}\n")));
        load_control(&Sources { file, ..sources() }, &no_file)
    };
    let rows = |text: &str| of(text).unwrap().0.forward_ports;
    let row = |first, last| Ports { first, last };
    assert_eq!(rows("\"10000-19999, 25565\""), [row(10_000, 19_999), row(25_565, 25_565)]);
    assert_eq!(rows("[\"1-1\", \"65535\"]"), [row(1, 1), row(65_535, 65_535)]);
    assert_eq!(rows("[]"), []);
    for text in ["\"0-5\"", "\"9-8\"", "\"1-65536\"", "\"ten\"", "\"1-2-3\""] {
        let said = of(text).unwrap_err().to_string();
        assert!(said.contains("gatehouse.toml:2: forwards.ports"), "{said}");
    }
}

#[test]
fn without_root_the_web_takes_other_ports_and_says_so() {
    let (_, gateway, loaded) = both(&Sources { unprivileged: true, ..sources() });
    assert_eq!(gateway.http, addresses(&["0.0.0.0:8080"]));
    assert_eq!(gateway.https, addresses(&["0.0.0.0:8443"]));
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings[0].contains("8080 instead of 80"), "{:?}", loaded.warnings);

    let mut chosen = Sources { unprivileged: true, ..sources() };
    chosen.flags.http = vec!["127.0.0.1:80".into()];
    chosen.flags.https = vec!["off".into()];
    let (_, gateway, loaded) = both(&chosen);
    assert_eq!(gateway.http, addresses(&["127.0.0.1:80"]));
    assert_eq!(gateway.https, []);
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn a_flag_goes_over_the_environment_over_the_env_file_over_the_file() {
    let mut all = file("[log]\nlevel = \"error\"\nformat = \"json\"\n[gateway]\nname = \"a\"\nworkers = 2\n");
    all.env_file = Some((".env".into(), "GATEHOUSE_GATEWAY__NAME=b\nLOG_LEVEL=warning\n".into()));
    all.env = vec![("LOG_LEVEL".into(), "debug".into())];
    all.flags.log_level = Some("trace".into());
    let (control, gateway, loaded) = both(&all);
    assert_eq!(loaded.file.as_deref(), Some(Path::new("gatehouse.toml")));
    assert_eq!(control.log.level, Level::Trace);
    assert_eq!(control.log.format, LogFormat::Json);
    assert_eq!((gateway.name.as_str(), gateway.workers), ("b", 2));

    all.flags.log_level = None;
    assert_eq!(both(&all).0.log.level, Level::Debug);
    all.env.clear();
    assert_eq!(both(&all).0.log.level, Level::Warn);
}

#[test]
fn our_own_name_of_a_variable_goes_over_the_reference_s() {
    let (control, _, loaded) = both(&env(&[
        ("DATA_DB", "sqlite:///c.db"),
        ("DATABASE_PATH", "b.db"),
        ("GATEHOUSE_DATABASE__URL", "a.db"),
    ]));
    assert_eq!(control.database, Database::Sqlite("/data/a.db".into()));
    assert_eq!(
        loaded.warnings,
        [
            "environment: DATABASE_PATH: has no effect beside GATEHOUSE_DATABASE__URL",
            "environment: DATA_DB: has no effect beside GATEHOUSE_DATABASE__URL",
        ]
    );
}

#[test]
fn the_reference_environment_file_works_with_a_real_key() {
    let text = format!(
        "# Application\nFLASK_ENV=production\nHOST_SERVER_PORT=1990\nSECRET_KEY={ROOT_KEY}\n# Database\n\
         DATABASE_PATH=DataSaving/database.db\n# Logging\nLOG_LEVEL=INFO\nLOG_FILE=DataSaving/log-main.log\n\
         LOG_ROTATION=10 MB\nLOG_RETENTION=7 days\n# Security\nTOKEN_EXPIRE_HOURS=24\nMAX_LOGIN_ATTEMPTS=5\n\
         LOGIN_LOCKOUT_MINUTES=30\nENABLE_REGISTRATION=false\n# Sessions\nSESSION_TIMEOUT=3600\n\
         SESSION_COOKIE_SECURE=true\nSESSION_COOKIE_HTTPONLY=true\n# Backup\nAUTO_BACKUP=true\n\
         BACKUP_INTERVAL=86400\nBACKUP_RETENTION_DAYS=30\n# Monitoring\nENABLE_MONITORING=true\n\
         MONITORING_INTERVAL=60\n"
    );
    let (control, gateway, loaded) = both(&env_file(&text));
    assert_eq!(control.admin, addresses(&["127.0.0.1:1990"]));
    assert_eq!(control.secret_key.unwrap().expose(), ROOT_KEY);
    assert_eq!(control.database, Database::Sqlite("/data/DataSaving/database.db".into()));
    assert_eq!(control.log.rotation, Rotation::Bytes(10_000_000));
    assert_eq!(control.log.retention, Retention::Age(Duration::from_hours(168)));
    assert_eq!(control.log.file.as_deref(), Some(Path::new("/data/DataSaving/log-main.log")));
    assert_eq!(gateway.log.file.as_deref(), Some(Path::new("/data/DataSaving/log-main-gateway.log")));
    assert_eq!(loaded.warnings.len(), 12);
    assert!(loaded.warnings.iter().all(|warning| warning.ends_with("is accepted and not in force yet")));
}

#[test]
fn the_reference_environment_file_as_pasted_is_refused_naming_each_key() {
    let text = "FLASK_ENV=production\nSECRET_KEY=your-secret-key-change-in-production\n\
                LOG_ROTATION=10 XB\nMAX_LOGIN_ATTEMPTS=abc\n";
    let mistakes = mistakes(&env_file(text));
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    for (mistake, place) in mistakes.iter().zip([
        ".env:2: SECRET_KEY: is a placeholder",
        ".env:3: LOG_ROTATION: \"10 XB\": \"XB\" is no unit",
        ".env:4: MAX_LOGIN_ATTEMPTS: \"abc\" is not a whole number",
    ]) {
        assert!(mistake.starts_with(place), "{mistake}");
    }
}

#[test]
fn a_root_key_is_never_repeated_and_development_only_warns() {
    for secret in ["prettysecret", "", "short-but-mine", "${SECRET_KEY}"] {
        let production = mistakes(&env(&[("SECRET_KEY", secret)]));
        assert_eq!(production.len(), 1);
        assert!(production[0].starts_with("environment: SECRET_KEY: "), "{production:?}");
        assert!(secret.is_empty() || !production[0].contains(secret), "{production:?}");

        let (control, _, loaded) = both(&env(&[("SECRET_KEY", secret), ("MODE", "development")]));
        assert_eq!(control.secret_key.is_some(), !secret.is_empty());
        assert!(loaded.warnings[0].contains("production would refuse it"), "{:?}", loaded.warnings);
    }
}

#[test]
fn the_production_flag_goes_over_a_development_environment() {
    let mut sources = env(&[("FLASK_ENV", "development"), ("SECRET_KEY", "prettysecret")]);
    sources.flags.production = true;
    assert!(mistakes(&sources)[0].contains("SECRET_KEY"));
}

#[test]
fn a_secret_comes_from_the_file_that_is_named() {
    let read = |path: &Path| match path.to_str() {
        Some("/run/key") => Ok(format!("{ROOT_KEY}\n")),
        Some("/run/url") => Ok("postgres://u:p@h/d".to_owned()),
        _ => no_file(path),
    };
    let mut sources = file("[control]\nsecret_key_file = \"/run/key\"\n");
    sources.env = vec![("DATABASE_PATH_FILE".into(), "/run/url".into())];
    let (control, _) = load_control(&sources, &read).unwrap();
    assert_eq!(control.secret_key.unwrap().expose(), ROOT_KEY);
    assert_eq!(control.database, Database::Postgres(Secret::new("postgres://u:p@h/d".into())));

    let missing = mistakes(&env(&[("SECRET_KEY_FILE", "/run/none")]));
    assert!(
        missing[0].starts_with("environment: SECRET_KEY_FILE: /run/none cannot be read: "),
        "{missing:?}"
    );
    let twice = mistakes(&env(&[("SECRET_KEY_FILE", "/run/key"), ("SECRET_KEY", ROOT_KEY)]));
    assert!(twice[0].contains("stands beside SECRET_KEY"), "{twice:?}");
    let twice = mistakes(&file("[control]\nsecret_key = \"x\"\nsecret_key_file = \"/run/key\"\n"));
    assert!(twice.iter().any(|one| one.contains("stands beside control.secret_key")), "{twice:?}");
}

#[test]
fn a_gateway_does_not_read_the_secrets_of_control() {
    let sources = env(&[("SECRET_KEY_FILE", "/root/only"), ("DATABASE_PATH", "mysql://h/d")]);
    load_gateway(&sources, &no_file).unwrap();
    load_control(&sources, &no_file).unwrap_err();
}

#[test]
fn an_unknown_key_names_the_nearest_and_a_renamed_one_its_successor() {
    let text = "port = 1\n[lgo]\nlevel = 1\n[log]\nlevle = \"info\"\nadmin = 1\nmax_size = 1\ncolour = 1\n\
                [server]\nport = 1880\n[other]\n";
    let expected = [
        "gatehouse.toml:1: port: is no section; there are",
        "gatehouse.toml:2: lgo: is no section; did you mean [log]?",
        "gatehouse.toml:5: log.levle: is no setting; did you mean log.level?",
        "gatehouse.toml:6: log.admin: is no setting of [log]; did you mean gateway.admin?",
        "gatehouse.toml:7: log.max_size: was renamed to log.rotation",
        "gatehouse.toml:8: log.colour: is no setting of [log]",
        "gatehouse.toml:10: server.port: was renamed to control.admin",
        "gatehouse.toml:11: other: is no section; there are",
    ];
    let mistakes = mistakes(&file(text));
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
    for (mistake, expected) in mistakes.iter().zip(expected) {
        assert!(mistake.starts_with(expected), "{mistake}");
    }
    let bare = self::mistakes(&file("HOST_SERVER_PORT = 1880\n"));
    assert!(bare[0].contains("is written as admin in section [control] here"), "{bare:?}");
}

#[test]
fn an_unknown_variable_is_an_error_if_it_is_ours_and_a_warning_in_an_env_file() {
    let ours =
        mistakes(&env(&[("GATEHOUSE_LOG__LEVLE", "info"), ("PATH", "/bin"), ("GATEHOUSE_TOKEN", "x")]));
    assert_eq!(
        ours,
        ["environment: GATEHOUSE_LOG__LEVLE: is no setting; did you mean GATEHOUSE_LOG__LEVEL?"]
    );
    let (_, _, loaded) =
        both(&env(&[("GATEHOUSE_PORT", "tcp://10.0.0.1:80"), ("GATEHOUSE_LOG_LEVEL", "info")]));
    assert_eq!(
        loaded.warnings,
        ["environment: GATEHOUSE_LOG_LEVEL: is no setting; did you mean GATEHOUSE_LOG__LEVEL?"]
    );
    let (_, _, loaded) = both(&env_file("TZ=UTC\nLOG_LEVLE=info\n"));
    assert_eq!(
        loaded.warnings,
        [
            ".env:1: TZ: is no setting and has no effect",
            ".env:2: LOG_LEVLE: is no setting and has no effect; did you mean LOG_LEVEL?",
        ]
    );
    let removed = mistakes(&env_file("DATA_FILE=/etc/im/inf.dat\n"));
    assert!(removed[0].contains("renamed to DATA_DB"), "{removed:?}");
    assert!(both(&env(&[("DATA_FILE", "/x")])).2.warnings[0].contains("renamed to DATA_DB"));
}

#[test]
fn an_unknown_server_name_falls_back_or_is_refused() {
    assert_eq!(both(&sources()).1.unknown_sni, UnknownSni::Fallback);
    assert_eq!(both(&file("[gateway]\nunknown_sni = \"refuse\"\n")).1.unknown_sni, UnknownSni::Refuse);
    let by_variable = env(&[("GATEHOUSE_GATEWAY__UNKNOWN_SNI", "refuse")]);
    assert_eq!(both(&by_variable).1.unknown_sni, UnknownSni::Refuse);
    let mistakes = mistakes(&file("[gateway]\nunknown_sni = \"drop\"\n"));
    assert!(mistakes[0].contains("neither fallback nor refuse"), "{mistakes:?}");
}

#[test]
fn values_of_the_wrong_kind_are_reported_and_hide_no_other() {
    let text = "log = 3\n[gateway]\nhttp = 1.5\nname = [\"a\", \"b\"]\nworkers = -1\ndrain = \"30\"\n\
                trusted_proxies = [\"10.0.0.0/8\", \"ten\", \"fd00::/8\", \"11\"]\nhttps = []\nssh = \"\"\n\
                proxy_protocol = [\"fd00::/8\", \"/8\"]\n";
    let mistakes = mistakes(&file(text));
    let places: Vec<_> = mistakes.iter().map(|one| one.splitn(4, ':').take(3).collect::<String>()).collect();
    assert_eq!(
        places,
        [
            "gatehouse.toml1 log",
            "gatehouse.toml3 gateway.http",
            "gatehouse.toml4 gateway.name",
            "gatehouse.toml5 gateway.workers",
            "gatehouse.toml6 gateway.drain",
            "gatehouse.toml7 gateway.trusted_proxies",
            "gatehouse.toml7 gateway.trusted_proxies",
            "gatehouse.toml8 gateway.https",
            "gatehouse.toml9 gateway.ssh",
            "gatehouse.toml10 gateway.proxy_protocol",
        ],
        "{mistakes:#?}"
    );
}

#[test]
fn what_is_not_toml_is_named_with_its_line_and_the_environment_is_still_read() {
    let mut sources = file("[log]\nlevel = \"info\n");
    sources.env = vec![("LOG_ROTATION".into(), "10 XB".into())];
    let mistakes = mistakes(&sources);
    assert!(mistakes[0].starts_with("gatehouse.toml:2: not TOML: "), "{mistakes:?}");
    assert!(mistakes[1].starts_with("environment: LOG_ROTATION: "), "{mistakes:?}");
}

#[test]
fn listeners_are_lists_and_do_not_stand_in_each_other_s_way() {
    let mut sources = sources();
    sources.flags.http = vec!["127.0.0.1:0,127.0.0.1:0".into(), "[::1]:8080".into()];
    sources.flags.gateway_admin = Some("off".into());
    let (_, gateway, _) = both(&sources);
    assert_eq!(gateway.http, addresses(&["127.0.0.1:0", "127.0.0.1:0", "[::1]:8080"]));
    assert_eq!(gateway.admin, None);

    sources.flags.https = vec!["0.0.0.0:1880".into()];
    sources.flags.ssh = vec!["127.0.0.1:22,127.0.0.1:22".into()];
    assert_eq!(
        mistakes(&sources),
        [
            "command line: --ssh: 127.0.0.1:22 cannot be had: it names 127.0.0.1:22 already",
            "settings: control.admin: 127.0.0.1:1880 cannot be had: gateway.https has 0.0.0.0:1880 already",
        ]
    );
}

#[test]
fn an_admin_listener_beyond_loopback_is_warned_about() {
    let mut sources = sources();
    sources.flags.admin = vec!["0.0.0.0:1880".into()];
    let (_, _, loaded) = both(&sources);
    assert!(
        loaded.warnings[0].starts_with("command line: --admin: 0.0.0.0:1880 is not loopback"),
        "{loaded:?}"
    );
}

#[test]
fn an_admin_listener_may_ask_for_tls_and_reach_beyond_loopback() {
    let mut sources = sources();
    sources.flags.admin = vec!["127.0.0.1:1880".into(), "tls:0.0.0.0:1883,TLS:[::]:1883".into()];
    let (control, _, loaded) = both(&sources);
    assert_eq!(control.admin, addresses(&["127.0.0.1:1880"]));
    assert_eq!(control.admin_tls, addresses(&["0.0.0.0:1883", "[::]:1883"]));
    assert_eq!(loaded.warnings, [""; 0], "TLS is made for the network");

    let (control, _, _) = both(&env(&[("GATEHOUSE_CONTROL__ADMIN", "tls:127.0.0.1:1883")]));
    assert_eq!((control.admin, control.admin_tls), (Vec::new(), addresses(&["127.0.0.1:1883"])));
    let (control, _, _) = both(&env(&[("HOST_SERVER_PORT", "1990")]));
    assert_eq!((control.admin, control.admin_tls), (addresses(&["127.0.0.1:1990"]), Vec::new()));

    sources.flags.admin = vec!["tls:1883".into(), "tls:off".into()];
    sources.flags.sync = vec!["tls:127.0.0.1:1881".into()];
    let mistakes = mistakes(&sources);
    assert!(
        mistakes.len() == 3
            && mistakes.iter().all(|one| one.contains("is no listener") || one.contains("off")),
        "{mistakes:?}"
    );
    sources.flags.admin = vec!["127.0.0.1:1883".into(), "tls:0.0.0.0:1883".into()];
    sources.flags.sync = vec![];
    assert_eq!(
        self::mistakes(&sources),
        ["command line: --admin: 0.0.0.0:1883 cannot be had: it names 127.0.0.1:1883 already"]
    );
}

#[test]
fn the_data_directory_is_known_before_the_file_is() {
    let mut sources = env(&[("GATEHOUSE_DATA", "/from/env")]);
    assert_eq!(data_directory(&sources), Path::new("/from/env"));
    sources.flags.data = Some("/from/flag".into());
    assert_eq!(data_directory(&sources), Path::new("/from/flag"));
    assert_eq!(both(&sources).0.data, Path::new("/from/flag"));
    assert_eq!(data_directory(&self::sources()), Path::new("/data"));
    assert_eq!(search_paths(Path::new("/d"))[0], Path::new("/d/gatehouse.toml"));
}

#[test]
fn the_settings_file_may_be_named_by_a_variable() {
    let mut sources = env_file("GATEHOUSE_CONFIG=/one.toml\n");
    assert_eq!(named_file(&sources).as_deref(), Some(Path::new("/one.toml")));
    sources.env = vec![("GATEHOUSE_CONFIG".into(), "/two.toml".into())];
    assert_eq!(named_file(&sources).as_deref(), Some(Path::new("/two.toml")));
    assert_eq!(both(&sources).2.warnings, Vec::<String>::new());
    assert_eq!(named_file(&env(&[("GATEHOUSE_CONFIG", "")])), None);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_loaders_panic(text in ".{0,200}", value in "\\PC{0,40}", number in 0..SPECS.len()) {
        let spec = &SPECS[number];
        let quoted = toml_edit::Value::from(value.as_str()).to_string();
        let line = format!("[{}]\n{} = {quoted}\n", spec.section, spec.name);
        let variable = format!("{}={value}\n", spec.variable());
        for (file, env_file) in [(text.clone(), text.clone()), (line, variable.clone()), (text, variable)] {
            let mut sources = sources();
            sources.file = Some(("a".into(), file));
            sources.env_file = Some(("b".into(), env_file));
            // A mistake has words, and loading twice says the same.
            let said = |sources: &Sources| load_both(sources, &no_file).map_err(|error| error.to_string()).err();
            proptest::prop_assert_eq!(said(&sources), said(&sources));
        }
    }
}

#[test]
fn sources_and_what_they_become_do_not_print_a_secret() {
    let mut sources = env(&[("DATABASE_PATH", "postgres://u:hunter2@h/d"), ("SECRET_KEY", ROOT_KEY)]);
    sources.flags.join_token = Some("hunter2".into());
    let (control, gateway, loaded) = both(&sources);
    let printed = format!("{sources:?} {:?} {control:?} {gateway:?} {loaded:?}", sources.flags);
    assert!(!printed.contains("hunter2") && !printed.contains(ROOT_KEY), "{printed}");
}

const REFERENCE: &str = include_str!("REFERENCE.md");
const EXAMPLE: &str = include_str!("../../../gatehouse.example.toml");

#[test]
fn the_reference_names_every_key_and_variable() {
    for spec in SPECS {
        let row = REFERENCE.lines().find(|line| line.contains(&format!("`{}`", spec.variable())));
        let row = row.unwrap_or_else(|| panic!("{} is missing", spec.path()));
        assert!(row.starts_with(&format!("| `{}`", spec.name)), "{row}");
        assert_eq!(row.contains("*secret*"), spec.secret, "{row}");
        for alias in spec.aliases {
            assert!(row.contains(&format!("`{alias}`")), "{alias} is missing: {row}");
        }
    }
    for (name, _) in LATER {
        assert!(REFERENCE.contains(&format!("`{name}`")), "{name} is missing");
    }
}

#[test]
fn the_example_names_every_key_with_its_default() {
    let (control, gateway, loaded) = both(&file(EXAMPLE));
    assert_eq!(loaded.warnings, Vec::<String>::new());

    let setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
    let named: Vec<_> = EXAMPLE.lines().filter(setting).collect();
    assert_eq!(named.len(), SPECS.len());
    for Spec { name, .. } in SPECS {
        assert!(named.iter().any(|line| line.starts_with(&format!("#{name}"))), "{name} is missing");
    }

    // The two files of secrets are not there, so they stay away.
    let uncommented: Vec<_> = EXAMPLE
        .lines()
        .map(|line| if setting(&line) && !line.contains("_file =") { &line[1..] } else { line })
        .collect();
    let text = uncommented.join("\n").replace("/var/lib/gatehouse", "/data");
    let (same_control, same_gateway, loaded) = both(&file(&text));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(format!("{same_control:?}"), format!("{control:?}"));
    assert_eq!(format!("{same_gateway:?}"), format!("{gateway:?}"));
}

#[test]
fn requests_are_written_beside_a_log_file_unless_somebody_says_where() {
    let to = |text: &str| both(&file(text)).1.access_log.to;
    assert_eq!(to(""), AccessTarget::Off, "standard output is for people");
    let beside = to("[log]\nfile = \"logs/main.log\"\n");
    assert_eq!(beside, AccessTarget::File("/data/logs/access-gateway.log".into()));
    let beside = to("[log]\nfile = \"logs/gatehouse.log\"\n");
    assert_eq!(beside, AccessTarget::File("/data/logs/access.log".into()));
    assert_eq!(to("[access_log]\nfile = \"stdout\"\n"), AccessTarget::Stdout);
    let off = to("[log]\nfile = \"main.log\"\n[access_log]\nfile = \"off\"\n");
    assert_eq!(off, AccessTarget::Off);
    let own = to("[access_log]\nfile = \"requests.log\"\n");
    assert_eq!(own, AccessTarget::File("/data/requests.log".into()));
}

#[test]
fn a_list_of_what_is_hidden_takes_the_place_of_the_default() {
    let redact = |text: &str| both(&file(text)).1.access_log.redact;
    assert!(redact("").contains(&"accesstoken".to_owned()));
    assert_eq!(redact("[access_log]\nredact = [\"X-Key\", \"my_pin\"]\n"), ["xkey", "mypin"]);
    assert_eq!(redact("[access_log]\nredact = []\n"), Vec::<String>::new());
}

#[test]
fn an_access_log_that_cannot_be_is_refused() {
    let text = "[log]\nfile = \"main.log\"\n[access_log]\nfile = \"main-gateway.log\"\nformat = \"xml\"\nredact = \"a b\"\n";
    let said = mistakes(&file(text)).join("\n");
    for part in
        ["two writers cannot rotate one file", "json, common or combined", "no name of a query parameter"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_reference_names_every_parameter_that_is_hidden() {
    for name in REDACTED_PARAMETERS {
        assert!(REFERENCE.contains(&format!("`{name}`")), "{name} is missing");
    }
}
