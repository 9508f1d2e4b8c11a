//! The access record: one line for each request, session and refused login, written off the hot path.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use config::id::{EndpointId, RouteId};
use config::settings;
use config::snapshot::Generation;

use super::log::LogError;
use super::writer::{RotatedFile, Sink, Writer};

/// What became of one request.
#[derive(Debug, Clone)]
pub struct Record {
    /// Number of the request, as sent in `X-Request-Id`.
    pub request: String,
    /// Who asked.
    pub peer: SocketAddr,
    /// The host it was for.
    pub host: String,
    /// The method, as it came.
    pub method: String,
    /// The path without its query: queries carry tokens.
    pub path: String,
    /// The status that was sent; 0 if none was.
    pub status: u16,
    /// The generation it was served by.
    pub generation: Option<Generation>,
    /// The route it matched.
    pub route: Option<RouteId>,
    /// The endpoint it went to.
    pub endpoint: Option<EndpointId>,
    /// Bytes of the bodies, towards the VM and towards the user.
    pub bytes: (u64, u64),
    /// From the first byte of the head to the last of the answer, in microseconds.
    pub micros: u64,
}

/// The way of records to their file.
#[derive(Debug, Default)]
pub struct Access {
    writer: Option<Writer>,
}

impl Access {
    /// Records go beside a main log that is a file: `log-main.log` has `log-access.log`, any other `access.log`. A main
    /// log on standard output is for people, and has no records between its lines.
    ///
    /// Errors: the file cannot be opened.
    pub fn start(settings: &settings::Log) -> Result<Self, LogError> {
        let Some(main) = &settings.file else { return Ok(Self::default()) };
        let path = beside(main);
        let file = RotatedFile::open(&path, settings.rotation, settings.retention)
            .map_err(|cause| LogError::File { path, cause })?;
        let writer = Writer::start("access", Sink::File(Box::new(file))).map_err(LogError::Thread)?;
        Ok(Self { writer: Some(writer) })
    }

    /// Whether anybody reads records: build none otherwise.
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Hands a record over. Never waits: a full queue drops it and counts the loss.
    pub fn record(&self, record: Record) {
        if let Some(writer) = &self.writer {
            writer.lines().line(line(&record));
        }
    }

    /// How many records were lost because the writer did not keep up.
    pub fn dropped(&self) -> u64 {
        self.writer.as_ref().map_or(0, |writer| writer.lines().dropped())
    }

    /// Has the file opened by its name again, after somebody moved it away.
    pub fn reopen(&self) {
        if let Some(writer) = &self.writer {
            writer.lines().reopen();
        }
    }
}

fn beside(main: &Path) -> PathBuf {
    let name = main.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = if name.contains("main") { name.replace("main", "access") } else { "access.log".to_owned() };
    main.with_file_name(name)
}

fn line(record: &Record) -> Vec<u8> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let object = serde_json::json!({
        "ts_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        "request_id": record.request,
        "client_ip": record.peer.ip().to_string(),
        "host": record.host,
        "method": record.method,
        "path": record.path,
        "status": record.status,
        "generation": record.generation.map(|generation| generation.0),
        "route": record.route.map(|id| id.to_string()),
        "endpoint": record.endpoint.map(|id| id.to_string()),
        "bytes_up": record.bytes.0,
        "bytes_down": record.bytes.1,
        "duration_us": record.micros,
    });
    let mut line = object.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::settings::{Level, LogFormat, Retention, Rotation};

    #[test]
    fn a_record_is_one_json_line_beside_the_main_log() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings::Log {
            level: Level::Info,
            file: Some(dir.path().join("log-main.log")),
            rotation: Rotation::Off,
            retention: Retention::Files(1),
            format: LogFormat::Text,
        };
        let access = Access::start(&settings).unwrap();
        access.record(Record {
            request: "r1".into(),
            peer: ([192, 0, 2, 7], 999).into(),
            host: "app.example".into(),
            method: "GET".into(),
            path: "/a\nb".into(),
            status: 200,
            generation: Some(Generation(3)),
            route: None,
            endpoint: None,
            bytes: (1, 2),
            micros: 4,
        });
        drop(access);

        let text = std::fs::read_to_string(dir.path().join("log-access.log")).unwrap();

        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["client_ip"].as_str(), value["status"].as_u64()), (Some("192.0.2.7"), Some(200)));
        assert_eq!((value["generation"].as_u64(), value["bytes_down"].as_u64()), (Some(3), Some(2)));
    }

    #[test]
    fn without_a_log_file_nobody_records() {
        assert!(!Access::default().is_on());
        assert_eq!(beside(Path::new("/var/log/gatehouse.log")), Path::new("/var/log/access.log"));
    }
}
