//! The log of control: to standard output or to a file that is rotated, by the settings.

mod file;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use config::settings::{Level, Log, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

use file::RotatedFile;

/// A log that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its file cannot be opened.
    #[error("the log file {path} cannot be opened: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The process has one already.
    #[error("this process logs already")]
    Twice,
}

/// Where the log goes when no file is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// Standard output, as containers expect.
    Stdout,
    /// Standard error: a program reads standard output.
    Stderr,
}

/// The log of the process.
#[derive(Debug)]
pub struct Telemetry {
    sink: Sink,
    levels: reload::Handle<Targets, Registry>,
}

impl Telemetry {
    /// Makes this the log of the whole process.
    pub fn start(settings: &Log, console: Console) -> Result<Self, LogError> {
        let sink = match &settings.file {
            None => Sink::Console(console),
            Some(path) => RotatedFile::open(path, settings.rotation, settings.retention)
                .map(|file| Sink::File(Arc::new(Mutex::new(file))))
                .map_err(|cause| LogError::File { path: path.clone(), cause })?,
        };
        let (filter, levels) = reload::Layer::new(targets(settings.level));
        let is_terminal = settings.file.is_none() && io::IsTerminal::is_terminal(&io::stdout());
        let layer = tracing_subscriber::fmt::layer().with_writer(sink.clone()).with_ansi(is_terminal);
        let layer = match settings.format {
            LogFormat::Text => layer.boxed(),
            LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
        };
        let subscriber = Registry::default().with(layer.with_filter(filter));
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
        // russh, rustls and sqlx may speak through the older `log` crate; somebody else's bridge is as good as ours.
        drop(tracing_log::LogTracer::init());
        Ok(Self { sink, levels })
    }

    /// Opens the file by its name again, and takes a new level.
    pub fn reload(&self, settings: &Log) {
        drop(self.levels.reload(targets(settings.level)));
        if let Sink::File(file) = &self.sink {
            let reopened = file.lock().unwrap_or_else(PoisonError::into_inner).reopen();
            if let Err(error) = reopened {
                tracing::error!(%error, "the log file cannot be opened again; the old one is written on");
            }
        }
    }
}

/// Ours at the level wanted; libraries say what they do only when everything is wanted.
fn targets(level: Level) -> Targets {
    let ours = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let theirs = if level == Level::Trace { LevelFilter::DEBUG } else { ours.min(LevelFilter::WARN) };
    ["control", "gatehouse", "certs", "config"]
        .into_iter()
        .fold(Targets::new().with_default(theirs), |targets, target| targets.with_target(target, ours))
}

#[derive(Debug, Clone)]
enum Sink {
    Console(Console),
    File(Arc<Mutex<RotatedFile>>),
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl io::Write for Sink {
    /// The formatter hands over one whole event at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Console(Console::Stdout) => io::stdout().write_all(line)?,
            Self::Console(Console::Stderr) => io::stderr().write_all(line)?,
            Self::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).line(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Console(Console::Stdout) => io::stdout().flush(),
            Self::Console(Console::Stderr) | Self::File(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_quieter_than_we_are() {
        let targets = targets(Level::Info);
        assert!(targets.would_enable("control::start", &tracing::Level::INFO));
        assert!(!targets.would_enable("sqlx::query", &tracing::Level::INFO));
        assert!(targets.would_enable("sqlx::query", &tracing::Level::WARN));
    }
}
