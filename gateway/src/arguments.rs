//! The command line of `gatehouse-gateway`, and how it becomes checked settings.
//!
//! Flag over environment over file. What the texts mean is `config::settings`' business.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use config::settings::{self, Flags, Loaded, Sources};

/// The data plane of Gatehouse: carries every byte.
#[derive(Parser)]
#[command(name = "gatehouse-gateway", version)]
pub struct Arguments {
    /// The data directory; the gateway keeps its own things in DIR/gateway.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Settings file, instead of the first of DIR/gatehouse.toml, config/gatehouse.toml, /etc/gatehouse/gatehouse.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File with environment variables, one KEY=VALUE a line.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Refuse placeholder secrets and other conveniences.
    #[arg(long)]
    production: bool,
    /// Plain HTTP listener, address:port; repeatable, port 0 is any free one, `off` is none.
    #[arg(long, value_name = "ADDRESS")]
    http: Vec<String>,
    /// HTTPS listener.
    #[arg(long, value_name = "ADDRESS")]
    https: Vec<String>,
    /// SSH listener.
    #[arg(long, value_name = "ADDRESS")]
    ssh: Vec<String>,
    /// noVNC listener.
    #[arg(long, value_name = "ADDRESS")]
    novnc: Vec<String>,
    /// ttyd listener.
    #[arg(long, value_name = "ADDRESS")]
    ttyd: Vec<String>,
    /// The gateway's own health and metrics endpoint, on loopback.
    #[arg(long, value_name = "ADDRESS")]
    gateway_admin: Option<String>,
    /// Where control takes the gateways' stream, host:port; repeatable, tried in order.
    #[arg(long, value_name = "HOST:PORT")]
    control: Vec<String>,
    /// The name to enrol under.
    #[arg(long)]
    name: Option<String>,
    /// One-time join token; better given in the environment, for arguments are for everybody to see.
    #[arg(long, value_name = "TOKEN", hide = true)]
    join_token: Option<String>,
    /// Worker threads; 0 is one per core.
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Least level that is logged: error, warning, info, debug.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    log_file: Option<String>,
    /// Form of a log line: text, json.
    #[arg(long, value_name = "FORM")]
    log_format: Option<String>,
    /// Take over from the gateway that started this one, on whose socket standard input is.
    #[arg(long, hide = true)]
    pub inherit: bool,
    /// With json, one line on standard output names the addresses when the gateway listens; the log goes to standard
    /// error then.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// For whom standard output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// People.
    Table,
    /// Programs.
    Json,
}

/// Settings that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file that was named cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said; part of the message.
        cause: io::Error,
    },
    /// Mistakes; all of them.
    #[error(transparent)]
    Mistakes(#[from] settings::SettingsErrors),
}

impl Arguments {
    /// Reads the files and the environment, and checks everything.
    pub fn settings(&self) -> Result<(settings::Gateway, Loaded), SettingsError> {
        Ok(settings::load_gateway(&self.sources()?, &|path| std::fs::read_to_string(path))?)
    }

    fn sources(&self) -> Result<Sources, SettingsError> {
        let mut sources = Sources {
            file: None,
            env_file: None,
            // A variable that is not text is none of ours.
            env: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            flags: self.flags(),
            default_data: PathBuf::from("data"),
            unprivileged: !rustix::process::geteuid().is_root(),
        };
        sources.env_file = self.env_file.as_deref().map(read).transpose()?;
        sources.file = match &self.config {
            Some(path) => Some(read(path)?),
            None => first(&settings::search_paths(&settings::data_directory(&sources)))?,
        };
        Ok(sources)
    }

    fn flags(&self) -> Flags {
        Flags {
            data: self.data.clone(),
            production: self.production,
            http: self.http.clone(),
            https: self.https.clone(),
            ssh: self.ssh.clone(),
            novnc: self.novnc.clone(),
            ttyd: self.ttyd.clone(),
            gateway_admin: self.gateway_admin.clone(),
            control: self.control.clone(),
            name: self.name.clone(),
            join_token: self.join_token.clone(),
            workers: self.workers.clone(),
            log_level: self.log_level.clone(),
            log_file: self.log_file.clone(),
            log_format: self.log_format.clone(),
            ..Flags::default()
        }
    }
}

fn read(path: &Path) -> Result<(PathBuf, String), SettingsError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((path.to_path_buf(), text)),
        Err(cause) => Err(SettingsError::Read { path: path.to_path_buf(), cause }),
    }
}

/// The first of these files that exists.
fn first(paths: &[PathBuf]) -> Result<Option<(PathBuf, String)>, SettingsError> {
    for path in paths {
        match read(path) {
            Err(SettingsError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
            found => return found.map(Some),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(more: &[&str]) -> Arguments {
        Arguments::try_parse_from(["gatehouse-gateway"].iter().chain(more)).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_settings_file_in_the_data_directory_is_found_and_a_flag_is_over_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("gatehouse.toml"), "[gateway]\nname = \"from-file\"\nworkers = 3\n")
            .unwrap();
        let data = dir.path().to_str().unwrap();

        let (settings, loaded) = parse(&["--data", data, "--name", "from-flag"]).settings().unwrap();

        assert_eq!(loaded.file, Some(dir.path().join("gatehouse.toml")));
        assert_eq!((settings.name.as_str(), settings.workers), ("from-flag", 3));
    }

    #[test]
    fn a_settings_file_that_was_named_and_is_absent_is_an_error() {
        let error = parse(&["--config", "/nonexistent/gatehouse.toml"]).settings().unwrap_err();
        assert!(error.to_string().starts_with("/nonexistent/gatehouse.toml cannot be read"), "{error}");
    }

    #[test]
    fn an_address_off_is_no_listener() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().to_str().unwrap();
        let arguments =
            parse(&["--data", data, "--http", "127.0.0.1:0", "--https", "off", "--gateway-admin", "off"]);
        let (settings, _) = arguments.settings().unwrap();
        assert_eq!(settings.http.len(), 1);
        assert!(settings.https.is_empty() && settings.admin.is_none());
    }
}
