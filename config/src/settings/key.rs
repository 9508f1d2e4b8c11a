//! The keys: one table that the reader, the messages and the tests of the reference share.

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Key {
    Data,
    Mode,
    Http,
    Https,
    Ssh,
    Novnc,
    Ttyd,
    GatewayAdmin,
    GatewayControl,
    Name,
    JoinToken,
    Workers,
    TrustedProxies,
    ProxyProtocol,
    UnknownSni,
    Drain,
    ControlAdmin,
    Sync,
    SigningRoot,
    ForwardPorts,
    DatabaseUrl,
    LogLevel,
    LogFile,
    LogRotation,
    LogRetention,
    LogFormat,
    AccessFile,
    AccessFormat,
    AccessRedact,
}

/// How a setting is written.
pub(super) struct Spec {
    pub(super) key: Key,
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// Names of the reference, accepted from the environment and from `--env-file`; the first that is set counts.
    pub(super) aliases: &'static [&'static str],
    /// May be given by a file: `NAME_file`, `NAME_FILE`.
    pub(super) secret: bool,
}

const fn spec(key: Key, section: &'static str, name: &'static str, aliases: &'static [&'static str]) -> Spec {
    Spec { key, section, name, aliases, secret: false }
}

const fn secret(
    key: Key,
    section: &'static str,
    name: &'static str,
    aliases: &'static [&'static str],
) -> Spec {
    Spec { key, section, name, aliases, secret: true }
}

/// Every setting.
pub(super) const SPECS: &[Spec] = &[
    spec(Key::Data, "server", "data", &["GATEHOUSE_DATA"]),
    spec(Key::Mode, "server", "mode", &["MODE", "FLASK_ENV"]),
    spec(Key::Http, "gateway", "http", &[]),
    spec(Key::Https, "gateway", "https", &[]),
    spec(Key::Ssh, "gateway", "ssh", &[]),
    spec(Key::Novnc, "gateway", "novnc", &[]),
    spec(Key::Ttyd, "gateway", "ttyd", &[]),
    spec(Key::GatewayAdmin, "gateway", "admin", &[]),
    spec(Key::GatewayControl, "gateway", "control", &[]),
    spec(Key::Name, "gateway", "name", &[]),
    secret(Key::JoinToken, "gateway", "join_token", &[]),
    spec(Key::Workers, "gateway", "workers", &[]),
    spec(Key::TrustedProxies, "gateway", "trusted_proxies", &[]),
    spec(Key::ProxyProtocol, "gateway", "proxy_protocol", &[]),
    spec(Key::UnknownSni, "gateway", "unknown_sni", &[]),
    spec(Key::Drain, "gateway", "drain", &[]),
    spec(Key::ControlAdmin, "control", "admin", &["HOST_SERVER_PORT"]),
    spec(Key::Sync, "control", "sync", &[]),
    secret(Key::SigningRoot, "control", "secret_key", &["SECRET_KEY"]),
    spec(Key::ForwardPorts, "forwards", "ports", &[]),
    secret(Key::DatabaseUrl, "database", "url", &["DATABASE_PATH", "IM_DATA_DB", "DATA_DB"]),
    spec(Key::LogLevel, "log", "level", &["LOG_LEVEL"]),
    spec(Key::LogFile, "log", "file", &["LOG_FILE"]),
    spec(Key::LogRotation, "log", "rotation", &["LOG_ROTATION", "LOG_FILE_MAX_SIZE"]),
    spec(Key::LogRetention, "log", "retention", &["LOG_RETENTION"]),
    spec(Key::LogFormat, "log", "format", &[]),
    spec(Key::AccessFile, "access_log", "file", &[]),
    spec(Key::AccessFormat, "access_log", "format", &[]),
    spec(Key::AccessRedact, "access_log", "redact", &[]),
];

impl Spec {
    /// `section.name`, as in the file.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// `GATEHOUSE_SECTION__NAME`.
    pub(super) fn variable(&self) -> String {
        format!("GATEHOUSE_{}__{}", self.section, self.name).to_uppercase()
    }

    /// Every variable that sets it, the most telling first.
    pub(super) fn variables(&self) -> Vec<String> {
        let aliases = self.aliases.iter().map(|alias| (*alias).to_owned());
        std::iter::once(self.variable()).chain(aliases).collect()
    }
}

/// Keys that once had, or may be thought to have, another name: `section.name` in the file, and what to write now.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("server.port", "control.admin"),
    ("server.secret_key", "control.secret_key"),
    ("server.log_level", "log.level"),
    ("control.port", "control.admin"),
    ("control.database", "database.url"),
    ("control.forward_ports", "forwards.ports"),
    ("database.path", "database.url"),
    ("database.file", "database.url"),
    ("log.path", "log.file"),
    ("log.max_size", "log.rotation"),
    ("log.access", "access_log.file"),
    ("log.access_file", "access_log.file"),
    ("gateway.access_log", "access_log.file"),
    ("access_log.path", "access_log.file"),
    ("log.file_max_size", "log.rotation"),
    ("gateway.listen", "gateway.http"),
    ("gateway.token", "gateway.join_token"),
];

/// Variables that the reference itself took out.
pub(super) const RENAMED_VARIABLES: &[(&str, &str)] = &[("DATA_FILE", "DATA_DB or GATEHOUSE_DATABASE__URL")];

/// Variables of ours that are no settings: those of the command line client, and the name of the file.
pub(super) const CLIENT_VARIABLES: &[&str] =
    &[CONFIG_VARIABLE, "GATEHOUSE_URL", "GATEHOUSE_TOKEN", "GATEHOUSE_CA", "GATEHOUSE_SETUP_TOKEN"];

/// The variable that names the settings file, as `--config` does.
pub(super) const CONFIG_VARIABLE: &str = "GATEHOUSE_CONFIG";

/// What a variable that is not in force yet must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// At least 1.
    Count,
    Bool,
    Word(&'static [&'static str]),
}

/// Variables of the reference whose parts of the product come later: checked, and said to have no effect.
pub(super) const LATER: &[(&str, Shape)] = &[
    ("TOKEN_EXPIRE_HOURS", Shape::Count),
    ("MAX_LOGIN_ATTEMPTS", Shape::Count),
    ("LOGIN_LOCKOUT_MINUTES", Shape::Count),
    ("ENABLE_REGISTRATION", Shape::Bool),
    ("SESSION_TIMEOUT", Shape::Count),
    ("SESSION_COOKIE_SECURE", Shape::Bool),
    ("SESSION_COOKIE_HTTPONLY", Shape::Bool),
    ("AUTO_BACKUP", Shape::Bool),
    ("BACKUP_INTERVAL", Shape::Count),
    ("BACKUP_RETENTION_DAYS", Shape::Count),
    ("ENABLE_MONITORING", Shape::Bool),
    ("MONITORING_INTERVAL", Shape::Count),
    ("LOG_COMPRESSION", Shape::Word(&["zip", "gz", "gzip", "none"])),
];

/// The candidate closest to what was written, if it is close enough to be meant.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (written.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Edit distance without regard to case, a swap of neighbours counting one (Damerau, restricted).
///
/// Cost: the product of the lengths; a longer text than any key is not looked at.
fn distance(one: &str, other: &str) -> usize {
    const LONGEST: usize = 64;
    let one: Vec<char> = one.to_lowercase().chars().take(LONGEST).collect();
    let other: Vec<char> = other.to_lowercase().chars().take(LONGEST).collect();
    let width = other.len() + 1;
    let mut grid: Vec<usize> = vec![0; (one.len() + 1) * width];
    let at = |grid: &[usize], row: usize, column: usize| {
        grid.get(row * width + column).copied().unwrap_or(LONGEST)
    };
    for row in 0..=one.len() {
        for column in 0..width {
            let cost = if row == 0 || column == 0 {
                row + column
            } else {
                let same = one.get(row - 1) == other.get(column - 1);
                let mut best = at(&grid, row - 1, column - 1) + usize::from(!same);
                best = best.min(at(&grid, row - 1, column) + 1).min(at(&grid, row, column - 1) + 1);
                let swapped = row > 1
                    && column > 1
                    && one.get(row - 1) == other.get(column - 2)
                    && one.get(row - 2) == other.get(column - 1);
                if swapped { best.min(at(&grid, row - 2, column - 2) + 1) } else { best }
            };
            if let Some(cell) = grid.get_mut(row * width + column) {
                *cell = cost;
            }
        }
    }
    at(&grid, one.len(), other.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_what_people_count() {
        for (one, other, wanted) in [("", "", 0), ("a", "", 1), ("log", "lgo", 1), ("Level", "level", 0)] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_slip_finds_its_key_and_another_word_does_not() {
        let names = || SPECS.iter().map(|spec| spec.name);
        assert_eq!(nearest("levle", names()), Some("level"));
        assert_eq!(nearest("retenton", names()), Some("retention"));
        assert_eq!(nearest("colour", names()), None);
    }

    #[test]
    fn no_two_settings_share_a_name() {
        let mut all: Vec<_> = SPECS.iter().flat_map(Spec::variables).collect();
        all.extend(LATER.iter().map(|(name, _)| (*name).to_owned()));
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn what_was_renamed_is_no_key_and_its_successor_is_one() {
        let paths: Vec<_> = SPECS.iter().map(Spec::path).collect();
        for (old, new) in RENAMED {
            assert!(!paths.contains(&(*old).to_owned()), "{old}");
            assert!(paths.contains(&(*new).to_owned()), "{new}");
        }
    }
}
