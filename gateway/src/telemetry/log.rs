//! The log: levels, form and place by the settings; changed at run time by a reload.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::OnceLock;

use config::settings::{self, Level, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry, reload};

use super::writer::{Lines, RotatedFile, Sink, Writer};

// The one thing of a process that several gateways in it share.
static LINES: OnceLock<Lines> = OnceLock::new();

/// A log that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Its file cannot be opened.
    #[error("the log file {} cannot be opened: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said; part of the message.
        cause: io::Error,
    },
    /// Its thread cannot be started.
    #[error("the log's thread cannot be started")]
    Thread(#[source] io::Error),
    /// The process has one already.
    #[error("this process logs already")]
    Twice,
}

/// The log of the process. Dropping it writes what is queued.
#[derive(Debug)]
pub struct Log {
    writer: Writer,
    levels: reload::Handle<Targets, Registry>,
}

impl Log {
    /// Makes this the log of the whole process. `console` is where it goes without a file.
    pub fn start(settings: &settings::Log, console: Console) -> Result<Self, LogError> {
        let writer = start_writer(settings, console)?;
        let terminal = match console {
            Console::Stdout => io::stdout().is_terminal(),
            Console::Stderr => io::stderr().is_terminal(),
        };
        let colours = settings.file.is_none() && terminal && std::env::var_os("NO_COLOR").is_none();
        let (filter, levels) = reload::Layer::new(targets(settings.level));
        let lines = Make(writer.lines().clone());
        let layer = tracing_subscriber::fmt::layer().with_writer(lines).with_ansi(colours);
        let layer = match settings.format {
            LogFormat::Text => layer.boxed(),
            LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).boxed(),
        };
        let subscriber = Registry::default().with(layer.with_filter(filter));
        tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
        // russh and rustls speak through the older `log` crate. Somebody else's bridge is as good as ours.
        let _ = tracing_log::LogTracer::init();
        bridge(settings.level);
        let _ = LINES.set(writer.lines().clone());
        Ok(Self { writer, levels })
    }

    /// Takes new settings: the level changes, the file is opened by its name again.
    pub fn reload(&self, settings: &settings::Log) {
        let _ = self.levels.reload(targets(settings.level));
        bridge(settings.level);
        self.writer.lines().reopen();
    }

    /// Waits until everything said so far is written.
    pub fn flush(&self) {
        self.writer.lines().flush();
    }
}

/// Which standard stream is the log's when it has no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// Where people and container engines look.
    Stdout,
    /// When standard output carries an answer for a program.
    Stderr,
}

/// Lines of the log that were lost because its writer did not keep up.
pub(crate) fn dropped() -> u64 {
    LINES.get().map_or(0, Lines::dropped)
}

/// Leaves rotating the log's file to another process that has it, too; or takes it back.
pub(crate) fn follow(follows: bool) {
    if let Some(lines) = LINES.get() {
        lines.follow(follows);
    }
}

fn start_writer(settings: &settings::Log, console: Console) -> Result<Writer, LogError> {
    let sink = match &settings.file {
        None if console == Console::Stderr => Sink::Stderr(io::stderr()),
        None => Sink::Stdout(io::stdout()),
        Some(path) => RotatedFile::open(path, settings.rotation, settings.retention)
            .map(|file| Sink::File(Box::new(file)))
            .map_err(|cause| LogError::File { path: path.clone(), cause })?,
    };
    Writer::start("log", sink).map_err(LogError::Thread)
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
    let theirs = theirs(level);
    Targets::new()
        .with_default(theirs)
        .with_target("gateway", ours)
        .with_target("gatehouse_gateway", ours)
        .with_target("certs", ours)
        .with_target("config", ours)
        .with_target("russh", of_russh(level))
}

/// What libraries may say; they never say everything, for rustls and russh would tell what is in their messages.
fn theirs(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn | Level::Info | Level::Debug => LevelFilter::WARN,
        Level::Trace => LevelFilter::DEBUG,
    }
}

/// What russh may say. It warns of what strangers send, without saying who, and as often as they like; we say ourselves
/// what becomes of each connection.
fn of_russh(level: Level) -> LevelFilter {
    match level {
        Level::Error | Level::Warn | Level::Info => LevelFilter::OFF,
        Level::Debug | Level::Trace => theirs(level),
    }
}

/// Has libraries not even begin what would not be written: rustls speaks a dozen times in each handshake.
fn bridge(level: Level) {
    use tracing_log::AsLog as _;
    tracing_log::log::set_max_level(theirs(level).as_log());
}

struct Make(Lines);

impl<'a> MakeWriter<'a> for Make {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.0.clone())
    }
}

/// The formatter writes one whole event at once.
struct Line(Lines);

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.line(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as Said;

    #[test]
    fn libraries_are_quieter_than_we_are() {
        let targets = targets(Level::Info);
        assert!(targets.would_enable("gateway::start", &Said::INFO));
        assert!(!targets.would_enable("gateway::start", &Said::DEBUG));
        assert!(!targets.would_enable("rustls::conn", &Said::INFO));
        assert!(targets.would_enable("rustls::conn", &Said::WARN));
    }

    #[test]
    fn strangers_write_nothing_through_russh_unless_it_is_asked_for() {
        for level in [Level::Error, Level::Warn, Level::Info] {
            assert!(!targets(level).would_enable("russh::server::encrypted", &Said::ERROR), "{level:?}");
        }
        let targets = targets(Level::Debug);
        assert!(targets.would_enable("russh::server::encrypted", &Said::WARN));
        assert!(!targets.would_enable("russh::server::encrypted", &Said::DEBUG));
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let settings = settings::Log {
            level: Level::Info,
            file: Some("/proc/none/main.log".into()),
            rotation: settings::Rotation::Off,
            retention: settings::Retention::Files(1),
            format: LogFormat::Text,
        };
        let error = start_writer(&settings, Console::Stdout).unwrap_err();
        assert!(error.to_string().contains("/proc/none/main.log"), "{error}");
    }
}
