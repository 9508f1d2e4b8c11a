//! From what was written to what it means, setting by setting.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::error::{Origin, Report};
use super::key::{Key, SPECS};
use super::raw::{Given, Raw};
use super::{AccessFormat, AccessLog, AccessTarget, Database, Level, LogFormat, Mode, UnknownSni};
use crate::limits;
use crate::name::HostName;
use crate::secret::Secret;
use crate::snapshot::Ports;

/// Reads a file that holds one secret; the caller's, since this crate opens nothing.
pub type ReadSecret<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

/// A reading of the settings: a value that is wrong is reported and counts as absent.
pub(super) struct Reading<'a> {
    pub(super) raw: Raw,
    pub(super) report: Report,
    pub(super) read: &'a ReadSecret<'a>,
}

impl Reading<'_> {
    /// One value; `None` when it was not given or is wrong.
    pub(super) fn one<T>(&mut self, key: Key, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let given = self.raw.given.get(&key)?;
        let result = match given.items.as_slice() {
            [text] if !given.list => parse(text.trim()),
            _ => Err("is one value, not a list".to_owned()),
        };
        result.map_err(|problem| self.report.error(&given.origin, &given.key, problem)).ok()
    }

    /// A list, its items separated by commas or given one by one; each wrong item is reported.
    pub(super) fn many<T>(
        &mut self,
        key: Key,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let given = self.raw.given.get(&key)?;
        let items: Vec<_> = given.items.iter().flat_map(|item| item.split(',')).map(str::trim).collect();
        if items.len() > most {
            self.report.error(&given.origin, &given.key, format!("has more than {most} items"));
            return None;
        }
        // An empty list is written as one empty text.
        let items = if matches!(items[..], [""]) { Vec::new() } else { items };
        let report = &mut self.report;
        let mut wrong = |problem: String| report.error(&given.origin, &given.key, problem);
        Some(items.into_iter().filter_map(|item| parse(item).map_err(&mut wrong).ok()).collect())
    }

    /// Listeners: `address:port` each, or `off` alone for none.
    pub(super) fn listeners(&mut self, key: Key) -> Option<Vec<SocketAddr>> {
        self.doors(key, listener)
    }

    /// The same where `tls:` before an address asks for TLS there: the plain ones, then those with TLS.
    pub(super) fn listeners_with_tls(&mut self, key: Key) -> Option<(Vec<SocketAddr>, Vec<SocketAddr>)> {
        let given = self.doors(key, |text| match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tls") => Ok((true, listener(rest)?)),
            _ => Ok((false, listener(text)?)),
        })?;
        let (tls, plain): (Vec<_>, Vec<_>) = given.into_iter().partition(|(is_tls, _)| *is_tls);
        let addresses =
            |doors: Vec<(bool, SocketAddr)>| doors.into_iter().map(|(_, address)| address).collect();
        Some((addresses(plain), addresses(tls)))
    }

    fn doors<T: Door>(&mut self, key: Key, parse: fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let given = self.raw.given.get(&key)?.clone();
        let [first, ..] = given.items.as_slice() else {
            self.report.error(&given.origin, &given.key, "is an empty list; write off for no listener");
            return None;
        };
        if given.items.len() == 1 && first.trim().eq_ignore_ascii_case("off") {
            return Some(Vec::new());
        }
        if given.items.iter().all(|item| item.trim().is_empty()) {
            self.report.error(
                &given.origin,
                &given.key,
                "is empty; write address:port, or off for no listener",
            );
            return None;
        }
        let alone = |text: &str| port_alone(text).map(T::plain);
        if given.port_only {
            return self.many(key, limits::LISTENERS_MAX, alone);
        }
        self.many(key, limits::LISTENERS_MAX, parse)
    }

    /// A secret, from its text or from the file it names; `None` when it was not given or cannot be read.
    ///
    /// One newline at the end of a file is not part of the secret.
    pub(super) fn secret(&mut self, key: Key) -> Option<Secret<String>> {
        let text = self.one(key, |text| Ok(text.to_owned()))?;
        let Some(given) = self.raw.given.get(&key).filter(|given| given.in_file) else {
            return Some(Secret::new(text));
        };
        match (self.read)(Path::new(&text)) {
            Ok(mut content) => {
                let kept = content.trim_end_matches(['\r', '\n']).len();
                content.truncate(kept);
                Some(Secret::new(content))
            }
            Err(error) => {
                self.report.error(&given.origin, &given.key, format!("{text} cannot be read: {error}"));
                None
            }
        }
    }

    /// Where a setting was given and under what key; its path in the file when it was not.
    pub(super) fn place(&self, key: Key) -> (Origin, String) {
        match self.raw.given.get(&key) {
            Some(Given { origin, key, .. }) => (origin.clone(), key.clone()),
            None => (Origin::Together, path(key)),
        }
    }
}

/// What a listener is read into.
trait Door {
    fn plain(address: SocketAddr) -> Self;
}

impl Door for SocketAddr {
    fn plain(address: SocketAddr) -> Self {
        address
    }
}

/// Whether it speaks TLS, and where it is.
impl Door for (bool, SocketAddr) {
    fn plain(address: SocketAddr) -> Self {
        (false, address)
    }
}

/// `section.name` of a key.
pub(super) fn path(key: Key) -> String {
    SPECS.iter().find(|spec| spec.key == key).map(super::key::Spec::path).unwrap_or_default()
}

/// One listener.
pub(super) fn listener(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix("*:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    let hint = if port.parse::<u16>().is_ok() {
        format!(
            "name the address too: 127.0.0.1:{port} for this machine, 0.0.0.0:{port} or [::]:{port} for all"
        )
    } else if text.eq_ignore_ascii_case("off") {
        "off stands alone".to_owned()
    } else if text.parse::<IpAddr>().is_ok() {
        "the port is missing; an IPv6 address goes in brackets: [::1]:8080".to_owned()
    } else {
        "write address:port such as 127.0.0.1:8080 or [::1]:8080, port 0 for any free one, or off".to_owned()
    };
    Err(format!("{text:?} is no listener; {hint}"))
}

fn port_alone(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map_err(|_| format!("{text:?} is no port; write a number within 0 to 65535"))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Where control takes the stream: `host:port`.
pub(super) fn remote(text: &str) -> Result<String, String> {
    let wrong =
        || format!("{text:?} is not host:port, such as control.example.com:1881 or [2001:db8::1]:1881");
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err(wrong()) } else { Ok(address.to_string()) };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let host = HostName::parse(host).map_err(|error| format!("{text:?} is not host:port: {error}"))?;
    Ok(format!("{host}:{port}"))
}

/// A network in CIDR form, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    text.parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is no network; write 10.0.0.0/8, fd00::/8 or an address"))
}

/// Production or development.
pub(super) fn mode(text: &str) -> Result<Mode, String> {
    match text.to_ascii_lowercase().as_str() {
        "production" => Ok(Mode::Production),
        "development" => Ok(Mode::Development),
        _ => Err(format!("{text:?} is no mode; write production or development")),
    }
}

/// A log level; the reference's names too.
pub(super) fn level(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "critical" | "error" => Ok(Level::Error),
        "warning" | "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        "trace" => Ok(Level::Trace),
        _ => Err(format!("{text:?} is no level; write error, warn, info, debug or trace")),
    }
}

/// What a TLS client sees that asks for a name without a certificate.
pub(super) fn unknown_sni(text: &str) -> Result<UnknownSni, String> {
    match text.to_ascii_lowercase().as_str() {
        "fallback" => Ok(UnknownSni::Fallback),
        "refuse" => Ok(UnknownSni::Refuse),
        _ => Err(format!("{text:?} is neither fallback nor refuse")),
    }
}

/// The form of a log line.
pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is no form of a log line; write text or json")),
    }
}

/// A log file below the data directory, or `None` for standard output.
pub(super) fn log_file(text: &str, data: &Path) -> Option<PathBuf> {
    let standard = text.is_empty() || text == "-" || text.eq_ignore_ascii_case("stdout");
    (!standard).then(|| data.join(text))
}

/// Where the lines of requests go: a file below the data directory, standard output, or nowhere.
pub(super) fn access_target(text: &str, data: &Path) -> AccessTarget {
    match text.to_ascii_lowercase().as_str() {
        "off" => AccessTarget::Off,
        "-" | "stdout" => AccessTarget::Stdout,
        _ => AccessTarget::File(data.join(text)),
    }
}

/// The form of a line about a request.
pub(super) fn access_format(text: &str) -> Result<AccessFormat, String> {
    match text.to_ascii_lowercase().as_str() {
        "json" => Ok(AccessFormat::Json),
        "common" => Ok(AccessFormat::Common),
        "combined" => Ok(AccessFormat::Combined),
        _ => Err(format!("{text:?} is no form of an access log; write json, common or combined")),
    }
}

/// The name of a query parameter, in the form in which names are compared.
pub(super) fn parameter(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = AccessLog::parameter(text);
    if name.is_empty() || text.len() > limits::REDACTED_NAME_BYTES_MAX || !text.bytes().all(is_plain) {
        return Err(format!("{text:?} is no name of a query parameter; write letters, digits, - and _"));
    }
    Ok(name)
}

/// A database: a path or `sqlite:` URL, relative to the data directory, or a PostgreSQL URL.
///
/// A problem never repeats the text: it may carry a password.
pub(super) fn database(text: &str, data: &Path) -> Result<Database, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return sqlite(text.strip_prefix("sqlite:").unwrap_or(text), data);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" => sqlite(rest, data),
        "postgres" | "postgresql" => {
            postgres(rest)?;
            Ok(Database::Postgres(Secret::new(text.to_owned())))
        }
        name @ ("mysql" | "mariadb") => Err(format!(
            "{name}:// is not supported; write sqlite:///path, a path, or postgres://user@host/name"
        )),
        name @ ("mongodb" | "mongodb+srv") => Err(format!(
            "{name}:// is not supported, it is no SQL database; write sqlite:///path, a path, or postgres://user@host/name"
        )),
        _ => Err("is no database known here; write sqlite:///path, a path, or postgres://user@host/name"
            .to_owned()),
    }
}

fn sqlite(path: &str, data: &Path) -> Result<Database, String> {
    if path.is_empty() || path.ends_with('/') {
        return Err("names no file; write sqlite:///var/lib/gatehouse/database.db or a path".to_owned());
    }
    if path == ":memory:" {
        return Err("a database in memory would forget everything at the next start; name a file".to_owned());
    }
    if path.contains('?') {
        return Err("options after ? are not taken; name the file alone".to_owned());
    }
    // `sqlite:////x` is how some write an absolute path.
    let slashes = path.len() - path.trim_start_matches('/').len();
    let path = path.get(slashes.saturating_sub(1)..).unwrap_or(path);
    Ok(Database::Sqlite(data.join(path)))
}

/// A row of ports as `1024-65535`, or one.
pub(super) fn ports(text: &str) -> Result<Ports, String> {
    let wrong =
        || format!("{text:?} is no row of ports; write one port, or the first and the last: 1024-65535");
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(wrong);
    let ports = match text.split_once('-') {
        Some((first, last)) => Ports { first: port(first)?, last: port(last)? },
        None => Ports { first: port(text)?, last: port(text)? },
    };
    if ports.is_empty() { Err(format!("{text}: the first port comes after the last")) } else { Ok(ports) }
}

fn postgres(rest: &str) -> Result<(), String> {
    const ENCODE: &str = "write @ : / ? # in a user name or password percent-encoded (%40 %3A %2F %3F %23)";
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let ats = authority.matches('@').count();
    if ats > 1 || (ats == 0 && after.contains('@')) {
        return Err(format!("the address cannot be told from the password; {ENCODE}"));
    }
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.matches(':').count() > 1 {
        return Err(format!("the password has a bare colon; {ENCODE}"));
    }
    let bare = if host.starts_with('[') { host.rsplit_once(']').map_or("", |(_, port)| port) } else { host };
    if let Some((_, port)) = bare.rsplit_once(':')
        && port.parse::<u16>().is_err()
    {
        return Err(format!("the port of the database is not a number within 1 to 65535; {ENCODE}"));
    }
    if host.is_empty() && !after.contains("host=") {
        return Err("names no host; write postgres://user@host/name".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite_file(text: &str) -> PathBuf {
        match database(text, Path::new("/data")).unwrap() {
            Database::Sqlite(path) => path,
            Database::Postgres(_) => panic!("{text} is a file"),
        }
    }

    #[test]
    fn a_database_is_a_path_or_a_url() {
        for (text, file) in [
            ("database.db", "/data/database.db"),
            ("DataSaving/database.db", "/data/DataSaving/database.db"),
            ("/db/inf.dat", "/db/inf.dat"),
            ("sqlite:///etc/im/inf.dat", "/etc/im/inf.dat"),
            ("sqlite:////etc/im/inf.dat", "/etc/im/inf.dat"),
            ("sqlite://inf.dat", "/data/inf.dat"),
            ("sqlite:inf.dat", "/data/inf.dat"),
        ] {
            assert_eq!(sqlite_file(text), Path::new(file), "{text}");
        }
        for text in [
            "postgres://u:p%40w@db.example:5432/name",
            "postgresql://u@[::1]:5432/name?sslmode=require",
            "postgres:///name?host=/run/postgresql",
        ] {
            assert!(matches!(database(text, Path::new("/data")), Ok(Database::Postgres(_))), "{text}");
        }
    }

    #[test]
    fn a_database_that_cannot_be_is_refused_without_repeating_its_password() {
        for (text, part) in [
            ("mysql://u:hunter2@h/d", "mysql:// is not supported"),
            ("mariadb://u:hunter2@h/d", "mariadb:// is not supported"),
            ("mongodb://u:hunter2@h/d", "mongodb:// is not supported"),
            ("oracle://u:hunter2@h/d", "no database known"),
            ("postgres://u:hunter2@x@h/d", "%40"),
            ("postgres://u:hunter2/x@h/d", "percent-encoded"),
            ("postgres://u:hunter2:x@h/d", "bare colon"),
            ("postgres://u:hunter2@h:port/d", "port"),
            ("postgres:///d", "no host"),
            ("sqlite::memory:", "forget"),
            ("sqlite://", "no file"),
            ("sqlite:///x?mode=ro", "options"),
            ("", "no file"),
        ] {
            let problem = database(text, Path::new("/data")).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("hunter2"), "{text}: {problem}");
        }
    }

    #[test]
    fn a_listener_that_is_none_says_what_to_write() {
        assert_eq!(listener("[::1]:0").unwrap().port(), 0);
        for (text, part) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "0.0.0.0:8080"),
            ("*:8080", "[::]:8080"),
            ("127.0.0.1", "port is missing"),
            ("::1", "brackets"),
            ("localhost:80", "address:port"),
            ("1.2.3.4:70000", "address:port"),
            ("off", "alone"),
        ] {
            let problem = listener(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn the_stream_of_control_has_a_host_and_a_port() {
        assert_eq!(remote("Control.Example.COM:1881").unwrap(), "control.example.com:1881");
        assert_eq!(remote("[2001:db8::1]:1881").unwrap(), "[2001:db8::1]:1881");
        for text in ["control.example.com", "a:0", "127.0.0.1:0", "a:b", "", ":1881", "http://a:1881"] {
            remote(text).unwrap_err();
        }
    }

    #[test]
    fn a_trusted_proxy_may_be_one_address() {
        assert_eq!(network("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
        network("10.0.0.0/33").unwrap_err();
    }
}
