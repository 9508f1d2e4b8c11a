//! What is wrong with a configuration: all of it, each with its place.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was given. Ordered as people read: the file from its top, then what goes over it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A line of the settings file, counted from 1.
    File {
        /// The file, as the caller named it.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A line of the file given with `--env-file`.
    EnvFile {
        /// The file, as the caller named it.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// The environment of the process.
    Environment,
    /// The command line.
    Flag,
    /// Nowhere: the default, or what follows from several settings together.
    Together,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } | Self::EnvFile { path, line } => {
                write!(f, "{}:{line}", path.display())
            }
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("command line"),
            Self::Together => f.write_str("settings"),
        }
    }
}

/// One mistake, or one thing to know: its place, its key as it was written there, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{origin}: {key}{}{problem}", if key.is_empty() { "" } else { ": " })]
pub struct SettingsError {
    /// Where it was given.
    pub origin: Origin,
    /// The key, as it is written there (`log.rotation`, `LOG_ROTATION`, `--http`); empty for a whole line.
    pub key: String,
    /// What is wrong and what to write instead. Never a secret.
    pub problem: String,
}

/// Every mistake of a configuration, in the order of its places; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsErrors(Vec<SettingsError>);

impl SettingsErrors {
    /// The mistakes.
    pub fn all(&self) -> &[SettingsError] {
        &self.0
    }
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("a setting is wrong:")?,
            many => write!(f, "{many} settings are wrong:")?,
        }
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for SettingsErrors {}

/// What a run finds: collected, so that one mistake hides no other.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<SettingsError>,
    warnings: Vec<SettingsError>,
}

impl Report {
    pub(super) fn error(&mut self, origin: &Origin, key: &str, problem: impl Into<String>) {
        push(&mut self.errors, origin, key, problem.into());
    }

    pub(super) fn warn(&mut self, origin: &Origin, key: &str, problem: impl Into<String>) {
        push(&mut self.warnings, origin, key, problem.into());
    }

    /// The warnings, if there is no error.
    pub(super) fn finish(mut self) -> Result<Vec<String>, SettingsErrors> {
        if self.errors.is_empty() {
            self.warnings.sort();
            return Ok(self.warnings.iter().map(ToString::to_string).collect());
        }
        self.errors.sort();
        Err(SettingsErrors(self.errors))
    }
}

// Both processes read some keys; who loads both hears of each mistake once.
fn push(list: &mut Vec<SettingsError>, origin: &Origin, key: &str, problem: String) {
    let said = SettingsError { origin: origin.clone(), key: key.to_owned(), problem };
    if !list.contains(&said) {
        list.push(said);
    }
}
