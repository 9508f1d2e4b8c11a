//! A log file that is moved aside when it is full or old; what was moved is kept by age or by number.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::settings::{Retention, Rotation};

/// Moved files that are looked at in one rotation; more wait for the next.
const MOVED_MAX: usize = 4096;

#[derive(Debug)]
pub(super) struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    retention: Retention,
    file: File,
    bytes: u64,
    since: SystemTime,
}

impl RotatedFile {
    /// Opens or creates the file, and its directory.
    pub(super) fn open(path: &Path, rotation: Rotation, retention: Retention) -> io::Result<Self> {
        let (file, bytes, since) = open(path)?;
        Ok(Self { path: path.to_path_buf(), rotation, retention, file, bytes, since })
    }

    /// Writes one line; rotates first where it is due. A rotation that fails costs no line.
    pub(super) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_due(line.len() as u64) {
            drop(self.rotate());
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }

    /// Opens the file by its name again, after somebody moved it away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.bytes, self.since) = open(&self.path)?;
        Ok(())
    }

    fn is_due(&self, more: u64) -> bool {
        match self.rotation {
            Rotation::Bytes(max) => self.bytes > 0 && self.bytes + more > max,
            Rotation::Age(max) => self.since.elapsed().is_ok_and(|age| age >= max),
            Rotation::Off => false,
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, self.aside())?;
        self.reopen()?;
        self.since = SystemTime::now();
        self.prune()
    }

    /// `main.log.20260131T235959Z`, with a number where that is taken.
    fn aside(&self) -> PathBuf {
        let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let name = |suffix: String| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{stamp}{suffix}"));
            PathBuf::from(name)
        };
        let numbered = (1..MOVED_MAX).map(|number| name(format!("-{number:04}")));
        let mut names = std::iter::once(name(String::new())).chain(numbered);
        names.find(|name| !name.exists()).unwrap_or_else(|| name("-last".to_owned()))
    }

    fn prune(&self) -> io::Result<()> {
        // The stamp sorts as text, so the oldest comes first.
        let mut moved = self.moved()?;
        moved.sort();
        let keep = match self.retention {
            Retention::Files(keep) => keep,
            Retention::Age(_) => 0,
        };
        moved.truncate(moved.len().saturating_sub(keep));
        if let Retention::Age(max) = self.retention {
            moved.retain(|path| {
                let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
                modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > max))
            });
        }
        moved.iter().try_for_each(std::fs::remove_file)
    }

    fn moved(&self) -> io::Result<Vec<PathBuf>> {
        let (Some(directory), Some(name)) = (parent(&self.path), self.path.file_name()) else {
            return Ok(Vec::new());
        };
        let prefix = format!("{}.", name.to_string_lossy());
        let entries = std::fs::read_dir(directory)?.take(MOVED_MAX).filter_map(Result::ok);
        Ok(entries
            .filter(|entry| {
                entry.file_name().to_str().and_then(|name| name.strip_prefix(&prefix)).is_some_and(is_stamp)
            })
            .map(|entry| entry.path())
            .collect())
    }
}

/// Only what we moved is ours to delete: `main.log.gz` or `main.log.old` is somebody else's.
fn is_stamp(suffix: &str) -> bool {
    let stamp = suffix.split('-').next().unwrap_or_default().as_bytes();
    stamp.len() == 16 && stamp.first().is_some_and(u8::is_ascii_digit) && stamp.get(8) == Some(&b'T')
}

/// A bare name lies in the working directory.
fn parent(path: &Path) -> Option<&Path> {
    path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
}

fn open(path: &Path) -> io::Result<(File, u64, SystemTime)> {
    if let Some(directory) = parent(path) {
        std::fs::create_dir_all(directory)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    let meta = file.metadata()?;
    let since = meta.created().or_else(|_| meta.modified()).unwrap_or_else(|_| SystemTime::now());
    Ok((file, meta.len(), since))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn names(directory: &Path) -> usize {
        std::fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_full_file_is_moved_aside_and_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/main.log");
        let mut log = RotatedFile::open(&path, Rotation::Bytes(10), Retention::Files(2)).unwrap();
        std::fs::write(dir.path().join("logs/main.log.old"), "somebody else's").unwrap();
        for line in 0..6 {
            log.line(format!("line {line}!\n").as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 5!\n");
        assert_eq!(names(path.parent().unwrap()), 4);
    }

    #[test]
    fn an_old_file_is_moved_aside_and_young_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.log");
        let (day, week) = (Duration::from_secs(86_400), Duration::from_secs(7 * 86_400));
        let mut log = RotatedFile::open(&path, Rotation::Age(day), Retention::Age(week)).unwrap();
        log.line(b"old\n").unwrap();
        log.since = SystemTime::now() - day;
        log.line(b"new\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(names(dir.path()), 2);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_on_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.log");
        let mut log = RotatedFile::open(&path, Rotation::Off, Retention::Files(1)).unwrap();
        std::fs::rename(&path, dir.path().join("taken")).unwrap();
        log.reopen().unwrap();
        log.line(b"here\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "here\n");
    }
}
