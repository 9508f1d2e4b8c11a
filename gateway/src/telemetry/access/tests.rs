use std::path::PathBuf;

use config::settings::{AccessFormat, Level, LogFormat, Retention, Rotation};

use super::record::tests::full;
use super::*;

fn log(dir: &Path) -> (AccessLog, settings::Log, PathBuf) {
    let path = dir.join("access.log");
    let access = AccessLog {
        to: AccessTarget::File(path.clone()),
        format: AccessFormat::Json,
        redact: AccessLog::redacted_by_default(),
    };
    let log = settings::Log {
        level: Level::Info,
        file: None,
        rotation: Rotation::Off,
        retention: Retention::Files(1),
        format: LogFormat::Text,
    };
    (access, log, path)
}

#[test]
fn each_record_is_one_json_line() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, log, path) = log(dir.path());
    let access = Access::start(&settings, &log, 2).unwrap();
    let (one, other) = (access.recorder(0), access.recorder(1));
    assert!(one.is_on() && other.is_on());
    for status in 200..230 {
        one.record(&Record { status, ..full() });
        other.record(&Record { status, ..full() });
    }
    drop(access);

    let text = std::fs::read_to_string(path).unwrap();
    let statuses: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses.len(), 60);
    assert_eq!(statuses.iter().sum::<u64>(), (200..230).sum::<u64>() * 2);
}

#[test]
fn what_is_recorded_is_written_without_anybody_asking() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, log, path) = log(dir.path());
    let access = Access::start(&settings, &log, 1).unwrap();
    let recorder = access.recorder(0);
    for round in 1..=3 {
        recorder.record(&full());
        let started = std::time::Instant::now();
        while std::fs::read_to_string(&path).unwrap().lines().count() < round {
            assert!(started.elapsed() < Duration::from_secs(10), "round {round}");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_record_without_room_is_counted_and_waits_for_nobody() {
    // Nobody writes: what fits stays, the rest is lost.
    let common = Arc::new(Common {
        rings: [Sender { ring: Ring::new(4096), is_taken: AtomicBool::new(true) }].into(),
        writer: OnceLock::new(),
        is_asleep: AtomicBool::new(true),
        is_hurried: AtomicBool::new(false),
        dropped: AtomicU64::new(0),
    });
    let recorder = Recorder { way: Some((Arc::clone(&common), 0)), encoded: RefCell::default() };
    for _ in 0..100 {
        recorder.record(&full());
    }
    let mut kept = Vec::new();
    let count = std::iter::from_fn(|| common.rings[0].ring.take(&mut kept).then_some(())).count() as u64;
    assert!(count > 0);
    assert_eq!(common.dropped.load(Relaxed), 100 - count);
    assert!(!common.is_asleep.load(Relaxed) && common.is_hurried.load(Relaxed), "the writer was called");
}

#[test]
fn a_file_that_was_moved_away_is_made_anew_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, log, path) = log(dir.path());
    let access = Access::start(&settings, &log, 1).unwrap();
    let recorder = access.recorder(0);
    recorder.record(&full());
    access.flush();
    std::fs::rename(&path, dir.path().join("moved")).unwrap();
    recorder.record(&full());

    access.reopen();
    access.flush();
    recorder.record(&full());
    drop(access);

    let lines = |path: &Path| std::fs::read_to_string(path).unwrap().lines().count();
    assert_eq!(lines(&dir.path().join("moved")), 2);
    assert_eq!(lines(&path), 1);
}

#[test]
fn a_file_that_is_full_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, mut log, path) = log(dir.path());
    log.rotation = Rotation::Bytes(2_000);
    log.retention = Retention::Files(100);
    let access = Access::start(&settings, &log, 1).unwrap();
    let recorder = access.recorder(0);
    for _ in 0..10 {
        recorder.record(&full());
        access.flush();
    }
    drop(access);

    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let lines: usize = files.iter().map(|path| std::fs::read_to_string(path).unwrap().lines().count()).sum();
    assert!(files.len() > 1 && files.contains(&path), "{files:?}");
    assert_eq!(lines, 10);
}

#[test]
fn one_worker_has_one_recorder_and_without_a_log_nobody_records() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, log, _) = log(dir.path());
    let access = Access::start(&settings, &log, 1).unwrap();
    let recorder = access.recorder(0);
    assert!(!access.recorder(0).is_on(), "a second would garble what the first sends");
    assert!(!access.recorder(1).is_on());
    drop(recorder);
    assert!(access.recorder(0).is_on());
    assert!(!Access::default().recorder(0).is_on());
    Access::default().flush();
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (mut settings, log, _) = log(dir.path());
    settings.to = AccessTarget::File("/proc/none/access.log".into());
    let error = Access::start(&settings, &log, 1).unwrap_err();
    assert!(error.to_string().contains("/proc/none/access.log"), "{error}");
}
