//! What was written, wherever it was written, before anyone asks what it means.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::{Origin, Report};
use super::key::{CONFIG_VARIABLE, Key};
use super::{env, file};

/// The texts that settings come from, in rising order of weight. Reading them is the caller's work.
#[derive(Clone, Default)]
pub struct Sources {
    /// The settings file: its path, for messages, and its text. See [`super::search_paths`].
    pub file: Option<(PathBuf, String)>,
    /// The file given with `--env-file`.
    pub env_file: Option<(PathBuf, String)>,
    /// The environment of the process.
    pub env: Vec<(String, String)>,
    /// The command line.
    pub flags: Flags,
    /// Where data is when nothing says so.
    pub default_data: PathBuf,
    /// Whether ports below 1024 cannot be had: the public listeners then take other defaults.
    pub unprivileged: bool,
}

/// What the command line gave, as text: it is checked with the rest.
///
/// A list is one item for each time the flag was given; an item may itself be separated by commas.
#[derive(Clone, Default)]
pub struct Flags {
    /// `--data DIR`.
    pub data: Option<String>,
    /// `--production`.
    pub production: bool,
    /// `--http A`.
    pub http: Vec<String>,
    /// `--https A`.
    pub https: Vec<String>,
    /// `--ssh A`.
    pub ssh: Vec<String>,
    /// `--novnc A`.
    pub novnc: Vec<String>,
    /// `--ttyd A`.
    pub ttyd: Vec<String>,
    /// `--admin A`.
    pub admin: Vec<String>,
    /// `--sync A`.
    pub sync: Vec<String>,
    /// `--gateway-admin A`.
    pub gateway_admin: Option<String>,
    /// `--control HOST:PORT`.
    pub control: Vec<String>,
    /// `--name NAME`.
    pub name: Option<String>,
    /// `--join-token TOKEN`.
    pub join_token: Option<String>,
    /// `--workers N`.
    pub workers: Option<String>,
    /// `--database URL`.
    pub database: Option<String>,
    /// `--log-level LEVEL`.
    pub log_level: Option<String>,
    /// `--log-file PATH`.
    pub log_file: Option<String>,
    /// `--log-format FORM`.
    pub log_format: Option<String>,
}

// Both hold texts that may be secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources(***)")
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flags(***)")
    }
}

/// One setting as it was written. Not `Debug`: the text may be a secret.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) origin: Origin,
    /// The key as written there.
    pub(super) key: String,
    pub(super) items: Vec<String>,
    /// Written as a list, which only some settings are.
    pub(super) list: bool,
    /// The text is the path of a file that holds the secret.
    pub(super) in_file: bool,
    /// The text is a port alone: `HOST_SERVER_PORT`.
    pub(super) port_only: bool,
}

impl Given {
    pub(super) fn text(origin: Origin, key: impl Into<String>, text: impl Into<String>) -> Self {
        let (key, items) = (key.into(), vec![text.into()]);
        Self { origin, key, items, list: false, in_file: false, port_only: false }
    }
}

/// The weightiest text of each setting.
#[derive(Default)]
pub(super) struct Raw {
    pub(super) given: BTreeMap<Key, Given>,
}

/// Reads every source. What no setting is, is reported here.
pub(super) fn collect(sources: &Sources, report: &mut Report) -> Raw {
    let mut raw = Raw::default();
    if let Some((path, text)) = &sources.file {
        file::read(path, text, &mut raw, report);
    }
    let lines = sources.env_file.as_ref().map(|(path, text)| env::parse_file(path, text, report));
    if let Some(lines) = lines {
        env::read(&lines, env::Strictness::File, &mut raw, report);
    }
    let variables: Vec<_> = sources
        .env
        .iter()
        .map(|(name, value)| env::Variable {
            origin: Origin::Environment,
            name: name.clone(),
            value: value.clone(),
        })
        .collect();
    env::read(&variables, env::Strictness::Environment, &mut raw, report);
    flags(&sources.flags, &mut raw);
    raw
}

/// The data directory that is in force before any file was read: flag, then environment, then the default.
///
/// The settings file is looked for under it ([`super::search_paths`]).
pub fn data_directory(sources: &Sources) -> PathBuf {
    let raw = collect(&Sources { file: None, ..sources.clone() }, &mut Report::default());
    let given = raw.given.get(&Key::Data).and_then(|given| given.items.first());
    given
        .filter(|text| !text.is_empty())
        .map_or_else(|| sources.default_data.clone(), |text| Path::new(text).into())
}

/// The settings file that the environment or the env file names with `GATEHOUSE_CONFIG`; `--config` goes over it.
///
/// A file that is named must exist; only without one is [`super::search_paths`] gone through.
pub fn named_file(sources: &Sources) -> Option<PathBuf> {
    let lines =
        sources.env_file.as_ref().map(|(path, text)| env::parse_file(path, text, &mut Report::default()));
    let in_file = lines.iter().flatten().map(|variable| (&variable.name, &variable.value));
    let mut variables = in_file.chain(sources.env.iter().map(|(name, value)| (name, value)));
    variables
        .rfind(|(name, value)| *name == CONFIG_VARIABLE && !value.is_empty())
        .map(|(_, value)| value.into())
}

fn flags(flags: &Flags, raw: &mut Raw) {
    let production = flags.production.then(|| "production".to_owned());
    let one = [
        (Key::Data, "--data", &flags.data),
        (Key::Mode, "--production", &production),
        (Key::GatewayAdmin, "--gateway-admin", &flags.gateway_admin),
        (Key::Name, "--name", &flags.name),
        (Key::JoinToken, "--join-token", &flags.join_token),
        (Key::Workers, "--workers", &flags.workers),
        (Key::DatabaseUrl, "--database", &flags.database),
        (Key::LogLevel, "--log-level", &flags.log_level),
        (Key::LogFile, "--log-file", &flags.log_file),
        (Key::LogFormat, "--log-format", &flags.log_format),
    ];
    for (key, name, text) in one {
        if let Some(text) = text {
            raw.given.insert(key, Given::text(Origin::Flag, name, text));
        }
    }
    let many = [
        (Key::Http, "--http", &flags.http),
        (Key::Https, "--https", &flags.https),
        (Key::Ssh, "--ssh", &flags.ssh),
        (Key::Novnc, "--novnc", &flags.novnc),
        (Key::Ttyd, "--ttyd", &flags.ttyd),
        (Key::ControlAdmin, "--admin", &flags.admin),
        (Key::Sync, "--sync", &flags.sync),
        (Key::GatewayControl, "--control", &flags.control),
    ];
    for (key, name, items) in many {
        if !items.is_empty() {
            let given = Given::text(Origin::Flag, name, "");
            raw.given.insert(key, Given { items: items.clone(), list: true, ..given });
        }
    }
}
