//! The doors: texts in, checked settings out, every mistake at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Report, SettingsErrors};
use super::key::Key;
use super::parse::{self, ReadSecret, Reading};
use super::raw::{Sources, collect};
use super::{
    AccessFormat, AccessLog, AccessTarget, Control, Database, Gateway, Level, Log, LogFormat, Mode,
    Retention, Rotation, check, units,
};
use crate::limits;
use crate::name::GatewayName;
use crate::secret::Secret;
use crate::snapshot::Ports;

/// Size at which a log file is rotated when nothing says so, in bytes.
const ROTATION_BYTES: u64 = 10 * 1024 * 1024;
/// Rotated files kept when rotation is by size (INVENTORY B-17).
const RETAINED_FILES: usize = 3;
/// Time that rotated files are kept when rotation is by age.
const RETAINED_TIME: Duration = Duration::from_hours(7 * 24);
/// What people may forward where nothing says so: ports that no service of the system has by its number.
const FORWARD_PORTS: Ports = Ports { first: 1_024, last: 65_535 };
/// Longest drain: a stop that takes longer is none.
const DRAIN_MAX: Duration = Duration::from_hours(24);

/// What else a caller is to know of a reading that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The settings file that was used, to be printed (INVENTORY B-06).
    pub file: Option<PathBuf>,
    /// What is accepted and worth a word, each with its place and key.
    pub warnings: Vec<String>,
}

/// Ports of the public web listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebPorts {
    /// Plain HTTP.
    pub http: u16,
    /// HTTPS.
    pub https: u16,
}

/// The usual ports of the public web listeners.
pub const fn default_ports() -> WebPorts {
    WebPorts { http: 80, https: 443 }
}

/// Their ports for a person who cannot have those below 1024.
pub const fn unprivileged_default_ports() -> WebPorts {
    WebPorts { http: 8080, https: 8443 }
}

/// Where a settings file is looked for, first found first used; `data` is the data directory.
pub fn search_paths(data: &Path) -> [PathBuf; 3] {
    [
        data.join("gatehouse.toml"),
        PathBuf::from("config/gatehouse.toml"),
        PathBuf::from("/etc/gatehouse/gatehouse.toml"),
    ]
}

/// The settings of control.
///
/// `read` reads the file of a secret that is given by one. Keys of the gateway are known, and not judged.
///
/// Errors: every mistake there is, not the first alone.
pub fn load_control(sources: &Sources, read: &ReadSecret<'_>) -> Result<(Control, Loaded), SettingsErrors> {
    let mut reading = Reading::of(sources, read);
    let control = reading.control(sources);
    let listeners: Vec<_> = control_listeners(&control).collect();
    check::collisions(&mut reading, &listeners);
    finish(reading, sources, control)
}

/// The settings of a gateway; as [`load_control`].
pub fn load_gateway(sources: &Sources, read: &ReadSecret<'_>) -> Result<(Gateway, Loaded), SettingsErrors> {
    let mut reading = Reading::of(sources, read);
    let gateway = reading.gateway(sources);
    let listeners: Vec<_> = gateway_listeners(&gateway).collect();
    check::collisions(&mut reading, &listeners);
    finish(reading, sources, gateway)
}

/// The settings of both processes on one machine: each mistake once, and none of their listeners in the other's way.
pub fn load_both(
    sources: &Sources,
    read: &ReadSecret<'_>,
) -> Result<(Control, Gateway, Loaded), SettingsErrors> {
    let mut reading = Reading::of(sources, read);
    let control = reading.control(sources);
    let gateway = reading.gateway(sources);
    let listeners: Vec<_> = gateway_listeners(&gateway).chain(control_listeners(&control)).collect();
    check::collisions(&mut reading, &listeners);
    finish(reading, sources, (control, gateway))
        .map(|((control, gateway), loaded)| (control, gateway, loaded))
}

fn finish<T>(reading: Reading<'_>, sources: &Sources, settings: T) -> Result<(T, Loaded), SettingsErrors> {
    let warnings = reading.report.finish()?;
    let file = sources.file.as_ref().map(|(path, _)| path.clone());
    Ok((settings, Loaded { file, warnings }))
}

fn gateway_listeners(gateway: &Gateway) -> impl Iterator<Item = check::Bound> {
    let admin = gateway.admin.as_slice();
    check::bound(Key::Http, &gateway.http)
        .chain(check::bound(Key::Https, &gateway.https))
        .chain(check::bound(Key::Ssh, &gateway.ssh))
        .chain(check::bound(Key::Novnc, &gateway.novnc))
        .chain(check::bound(Key::Ttyd, &gateway.ttyd))
        .chain(check::bound(Key::GatewayAdmin, admin))
}

fn control_listeners(control: &Control) -> impl Iterator<Item = check::Bound> {
    check::bound(Key::ControlAdmin, &control.admin)
        .chain(check::bound(Key::ControlAdmin, &control.admin_tls))
        .chain(check::bound(Key::Sync, &control.sync))
}

impl<'a> Reading<'a> {
    fn of(sources: &Sources, read: &'a ReadSecret<'a>) -> Self {
        let mut report = Report::default();
        let raw = collect(sources, &mut report);
        Self { raw, report, read }
    }

    // A value that is wrong is in the report, so what stands in for it is never returned.
    fn control(&mut self, sources: &Sources) -> Control {
        let data = self.data(sources);
        let mode = self.mode();
        let (admin, admin_tls) =
            self.listeners_with_tls(Key::ControlAdmin).unwrap_or_else(|| (vec![loopback(1880)], Vec::new()));
        let sync = self.listeners(Key::Sync).unwrap_or_else(|| vec![loopback(1881)]);
        check::beyond_loopback(self, Key::ControlAdmin, &admin, "the admin API speaks plain HTTP there");
        Control {
            admin,
            admin_tls,
            sync,
            database: self.database(&data).unwrap_or_else(|| Database::Sqlite(data.join("database.db"))),
            forward_ports: self
                .many(Key::ForwardPorts, limits::FORWARD_RANGES_MAX, parse::ports)
                .unwrap_or_else(|| vec![FORWARD_PORTS]),
            secret_key: check::secret_key(self, mode),
            log: self.log(&data),
            mode,
            data,
        }
    }

    fn gateway(&mut self, sources: &Sources) -> Gateway {
        let data = self.data(sources);
        let mode = self.mode();
        let (http, https) = self.web(sources.unprivileged);
        let mut log = self.log(&data);
        log.file = log.file.map(|file| beside(&file));
        Gateway {
            http,
            https,
            ssh: self.listeners(Key::Ssh).unwrap_or_else(|| vec![public(2222)]),
            novnc: self.listeners(Key::Novnc).unwrap_or_else(|| vec![public(6080)]),
            ttyd: self.listeners(Key::Ttyd).unwrap_or_else(|| vec![public(7681)]),
            admin: self.gateway_admin(),
            control: self.control_addresses(),
            name: self.name(),
            join_token: self.secret(Key::JoinToken).filter(|token| !token.expose().is_empty()),
            workers: self.workers(),
            trusted_proxies: self
                .many(Key::TrustedProxies, limits::TRUSTED_PROXIES_MAX, parse::network)
                .unwrap_or_default(),
            proxy_protocol: self
                .many(Key::ProxyProtocol, limits::TRUSTED_PROXIES_MAX, parse::network)
                .unwrap_or_default(),
            unknown_sni: self.one(Key::UnknownSni, parse::unknown_sni).unwrap_or_default(),
            drain: self.drain(),
            access_log: self.access_log(&log, &data),
            log,
            mode,
            data,
        }
    }

    fn data(&mut self, sources: &Sources) -> PathBuf {
        let given = self.one(Key::Data, |text| match text {
            "" => Err("is empty; name the directory".to_owned()),
            text => Ok(PathBuf::from(text)),
        });
        given.unwrap_or_else(|| sources.default_data.clone())
    }

    fn mode(&mut self) -> Mode {
        self.one(Key::Mode, parse::mode).unwrap_or(Mode::Production)
    }

    fn web(&mut self, unprivileged: bool) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let usual = default_ports();
        let ports = if unprivileged { unprivileged_default_ports() } else { usual };
        if unprivileged {
            check::other_ports(self, Key::Http, ports.http, usual.http);
            check::other_ports(self, Key::Https, ports.https, usual.https);
        }
        let http = self.listeners(Key::Http).unwrap_or_else(|| vec![public(ports.http)]);
        let https = self.listeners(Key::Https).unwrap_or_else(|| vec![public(ports.https)]);
        (http, https)
    }

    fn gateway_admin(&mut self) -> Option<SocketAddr> {
        let Some(given) = self.listeners(Key::GatewayAdmin) else { return Some(loopback(1882)) };
        if given.len() > 1 {
            let (origin, key) = self.place(Key::GatewayAdmin);
            self.report.error(&origin, &key, "is one listener, or off");
        }
        let what = "whoever reaches it sees sessions and metrics";
        check::beyond_loopback(self, Key::GatewayAdmin, &given, what);
        given.first().copied()
    }

    fn control_addresses(&mut self) -> Vec<String> {
        let given = self.many(Key::GatewayControl, limits::CONTROL_ADDRESSES_MAX, parse::remote);
        given.unwrap_or_else(|| vec![loopback(1881).to_string()])
    }

    fn name(&mut self) -> GatewayName {
        let given = self.one(Key::Name, |text| GatewayName::parse(text).map_err(|error| error.to_string()));
        given.unwrap_or_else(GatewayName::local)
    }

    fn workers(&mut self) -> usize {
        let most = limits::WORKERS_MAX;
        let given = self.one(Key::Workers, |text| units::whole(text, 0, most as u64));
        given.and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
    }

    fn drain(&mut self) -> Duration {
        let given = self.one(Key::Drain, |text| match units::time(text)? {
            time if time > DRAIN_MAX => Err(format!("{text:?} is longer than 24 h")),
            time => Ok(time),
        });
        given.unwrap_or(Duration::from_millis(limits::DRAIN_DEADLINE_MS))
    }

    fn database(&mut self, data: &Path) -> Option<Database> {
        let text: Secret<String> = self.secret(Key::DatabaseUrl)?;
        match parse::database(text.expose().trim(), data) {
            Ok(database) => Some(database),
            Err(problem) => {
                let (origin, key) = self.place(Key::DatabaseUrl);
                self.report.error(&origin, &key, problem);
                None
            }
        }
    }

    /// Beside a main log that is a file; a main log on standard output is for people, and has no such lines between its
    /// own unless somebody asks for them.
    fn access_log(&mut self, log: &Log, data: &Path) -> AccessLog {
        let given = self
            .one(Key::AccessFile, |text| Ok((!text.is_empty()).then(|| parse::access_target(text, data))));
        let beside =
            || log.file.as_deref().map_or(AccessTarget::Off, |main| AccessTarget::File(access_beside(main)));
        let to = given.flatten().unwrap_or_else(beside);
        if matches!(&to, AccessTarget::File(file) if log.file.as_ref() == Some(file)) {
            let (origin, key) = self.place(Key::AccessFile);
            self.report.error(&origin, &key, "is the gateway's log file; two writers cannot rotate one file");
        }
        AccessLog {
            to,
            format: self.one(Key::AccessFormat, parse::access_format).unwrap_or(AccessFormat::Json),
            redact: self
                .many(Key::AccessRedact, limits::REDACTED_NAMES_MAX, parse::parameter)
                .unwrap_or_else(AccessLog::redacted_by_default),
        }
    }

    fn log(&mut self, data: &Path) -> Log {
        let rotation = self.one(Key::LogRotation, units::rotation).unwrap_or(Rotation::Bytes(ROTATION_BYTES));
        let usual = match rotation {
            Rotation::Age(_) => Retention::Age(RETAINED_TIME),
            Rotation::Bytes(_) | Rotation::Off => Retention::Files(RETAINED_FILES),
        };
        Log {
            level: self.one(Key::LogLevel, parse::level).unwrap_or(Level::Info),
            file: self.one(Key::LogFile, |text| Ok(parse::log_file(text, data))).flatten(),
            rotation,
            retention: self.one(Key::LogRetention, units::retention).unwrap_or(usual),
            format: self.one(Key::LogFormat, parse::log_format).unwrap_or(LogFormat::Text),
        }
    }
}

/// The file of the lines of requests beside a log file: `main.log` has `access.log`, `main-7.log` has `access-7.log`.
fn access_beside(main: &Path) -> PathBuf {
    let name = main.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = if name.contains("main") { name.replace("main", "access") } else { "access.log".to_owned() };
    main.with_file_name(name)
}

/// The gateway's own file beside control's: two processes cannot rotate one file.
fn beside(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = match file.extension() {
        Some(extension) => format!("{stem}-gateway.{}", extension.to_string_lossy()),
        None => format!("{stem}-gateway"),
    };
    file.with_file_name(name)
}

const fn public(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
