//! A thread that writes lines, so that nobody who logs waits for a disk.
//!
//! The queue is bounded; a line that finds it full is dropped and counted.

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use config::limits;
use config::settings::{Retention, Rotation};
use file_rotate::compression::Compression;
use file_rotate::suffix::{AppendTimestamp, FileLimit};
use file_rotate::{ContentLimit, FileRotate};

enum Order {
    Line(Vec<u8>),
    Reopen,
    Follow(bool),
    Flush(SyncSender<()>),
    Stop,
}

/// The way of lines to their writer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    queue: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

impl Lines {
    /// Hands a line over, with its line feed. Never waits.
    pub(crate) fn line(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Order::Line(line)) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// How many lines found the queue full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Has the file opened by its name again, after somebody moved it away.
    pub(crate) fn reopen(&self) {
        let _ = self.queue.send(Order::Reopen);
    }

    /// Leaves rotating the file to another process from now on, and follows it; or takes it back.
    pub(crate) fn follow(&self, follows: bool) {
        let _ = self.queue.send(Order::Follow(follows));
    }

    /// Waits until everything handed over so far is written.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Order::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

/// The thread behind [`Lines`]; dropping it writes what is queued and ends it.
#[derive(Debug)]
pub(crate) struct Writer {
    lines: Lines,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts a writer to `sink`.
    pub(crate) fn start(name: &str, mut sink: Sink) -> io::Result<Self> {
        let (queue, orders) = sync_channel(limits::LOG_QUEUE_MAX);
        let body = move || write(&orders, &mut sink);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self { lines: Lines { queue, dropped: Arc::default() }, thread: Some(thread) })
    }

    /// The way to it.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.lines.queue.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(orders: &Receiver<Order>, sink: &mut Sink) {
    // A failing log has nowhere to complain: the lines are lost, the gateway goes on.
    while let Ok(mut order) = orders.recv() {
        // One flush for a burst.
        loop {
            match order {
                Order::Line(line) => drop(sink.line(&line)),
                Order::Reopen => drop(sink.reopen()),
                Order::Follow(follows) => sink.follow(follows),
                Order::Flush(done) => {
                    let _ = sink.flush();
                    let _ = done.send(());
                }
                Order::Stop => {
                    let _ = sink.flush();
                    return;
                }
            }
            match orders.try_recv() {
                Ok(next) => order = next,
                Err(_) => break,
            }
        }
        let _ = sink.flush();
    }
}

/// Where lines end up.
pub(crate) enum Sink {
    /// Standard output.
    Stdout(io::Stdout),
    /// Standard error.
    Stderr(io::Stderr),
    /// A file that is rotated.
    File(Box<RotatedFile>),
}

impl Sink {
    /// Writes one line or several; a file is rotated before, not within.
    pub(super) fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.write_all(line),
            Self::Stderr(out) => out.write_all(line),
            Self::File(file) => file.line(line),
        }
    }

    /// Hands over what is buffered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::Stderr(out) => out.flush(),
            Self::File(file) => file.inner.flush(),
        }
    }

    /// Leaves rotating a file to another process, or takes it back.
    pub(super) fn follow(&mut self, follows: bool) {
        match self {
            Self::Stdout(_) | Self::Stderr(_) => {}
            Self::File(file) => file.follows = follows,
        }
    }

    /// Opens a file by its name again.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(_) | Self::Stderr(_) => Ok(()),
            Self::File(file) => file.reopen(),
        }
    }
}

/// A file that is moved aside when it is full or old.
///
/// Each write is whole lines at its end (`O_APPEND`), so that two processes may have one file: after an upgrade both do,
/// for as long as the first drains. Only one of them rotates it.
pub(crate) struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    retention: Retention,
    inner: FileRotate<AppendTimestamp>,
    bytes: u64,
    since: SystemTime,
    /// Which file it is, whatever its name has become.
    inode: u64,
    /// Whether another process rotates it, and this one goes on wherever its name leads.
    follows: bool,
}

impl RotatedFile {
    /// Opens or creates the file, and its directory.
    pub(crate) fn open(path: &Path, rotation: Rotation, retention: Retention) -> io::Result<Self> {
        // A bare name lies in the working directory; the rotating file wants a parent that it can name.
        let path = if path.parent().is_none_or(|parent| parent.as_os_str().is_empty()) {
            Path::new(".").join(path)
        } else {
            path.to_path_buf()
        };
        let Opened { inner, bytes, since, inode } = open(&path)?;
        Ok(Self { path, rotation, retention, inner, bytes, since, inode, follows: false })
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.follows {
            // Between two names of the other process's doing there is none: the old file takes the line as well.
            let named = std::fs::metadata(&self.path).map(|metadata| metadata.ino());
            if named.is_ok_and(|inode| inode != self.inode) {
                self.reopen()?;
            }
        } else if self.is_due(line.len() as u64) {
            self.rotate()?;
        }
        self.bytes += line.len() as u64;
        self.inner.write_all(line)
    }

    fn is_due(&self, more: u64) -> bool {
        match self.rotation {
            Rotation::Bytes(max) => self.bytes > 0 && self.bytes + more > max,
            Rotation::Age(max) => self.since.elapsed().is_ok_and(|age| age >= max),
            Rotation::Off => false,
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        // It may have been moved away, and another process may have rotated it since it was opened: the rotating file
        // looks at what lies there when it is opened, and fails an assertion where it finds a name taken.
        self.reopen()?;
        self.inner.rotate()?;
        self.inode = std::fs::metadata(&self.path)?.ino();
        self.bytes = 0;
        self.since = SystemTime::now();
        let mut old = self.inner.log_paths();
        match self.retention {
            // Oldest first.
            Retention::Files(keep) => old.truncate(old.len().saturating_sub(keep)),
            Retention::Age(max) => old.retain(|path| age(path).is_some_and(|age| age > max)),
        }
        for path in old.into_iter().take(limits::LOG_FILES_PRUNED_MAX) {
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let Opened { inner, bytes, since, inode } = open(&self.path)?;
        (self.inner, self.bytes, self.since, self.inode) = (inner, bytes, since, inode);
        Ok(())
    }
}

struct Opened {
    inner: FileRotate<AppendTimestamp>,
    bytes: u64,
    since: SystemTime,
    inode: u64,
}

fn open(path: &Path) -> io::Result<Opened> {
    // Tried by hand first: the rotating file hides or panics on what goes wrong here.
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    let metadata = file.metadata()?;
    let since = metadata.created().or_else(|_| metadata.modified()).unwrap_or_else(|_| SystemTime::now());
    let names = AppendTimestamp::default(FileLimit::Unlimited);
    let inner = FileRotate::new(path, names, ContentLimit::None, Compression::None, None);
    Ok(Opened { inner, bytes: metadata.len(), since, inode: metadata.ino() })
}

fn age(path: &Path) -> Option<Duration> {
    std::fs::metadata(path).ok()?.modified().ok()?.elapsed().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_full_file_is_moved_aside_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/main.log");
        let mut file = RotatedFile::open(&path, Rotation::Bytes(8), Retention::Files(2)).unwrap();

        for line in 0..6 {
            file.line(format!("line {line}\n").as_bytes()).unwrap();
        }

        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line 5\n");
        assert_eq!(files(path.parent().unwrap()), 3);
    }

    #[test]
    fn of_two_processes_with_one_file_one_rotates_and_the_other_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.log");
        let open = || {
            let file = RotatedFile::open(&path, Rotation::Bytes(100), Retention::Files(100)).unwrap();
            Sink::File(Box::new(file))
        };
        let (mut elder, mut heir) = (open(), open());
        for line in 0..50 {
            elder.line(format!("elder before {line:02}\n").as_bytes()).unwrap();
        }
        let before = files(dir.path());
        heir.reopen().unwrap();
        elder.follow(true);

        for line in 0..50 {
            heir.line(format!("heir line {line:02}\n").as_bytes()).unwrap();
            elder.line(format!("elder after {line:02}\n").as_bytes()).unwrap();
        }

        // As many as the lines of one writer make: 13 bytes each, seven in a file.
        assert!(files(dir.path()) - before <= 50 / 7 + 1, "{} and {before}", files(dir.path()));
        let newest = std::fs::read_to_string(&path).unwrap();
        assert!(newest.contains("heir line 49\n") && newest.contains("elder after 49\n"), "{newest}");
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(text.ends_with('\n'));
            lines.extend(text.lines().map(str::to_owned));
        }
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 150, "every line is there once, and whole");
    }

    #[test]
    fn an_old_file_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.log");
        let mut file =
            RotatedFile::open(&path, Rotation::Age(Duration::from_secs(60)), Retention::Files(9)).unwrap();
        file.line(b"first\n").unwrap();
        file.since = SystemTime::now() - Duration::from_secs(61);

        file.line(b"second\n").unwrap();

        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(files(dir.path()), 2);
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_on_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("main.log");
        let file = RotatedFile::open(&path, Rotation::Off, Retention::Files(1)).unwrap();
        let writer = Writer::start("log", Sink::File(Box::new(file))).unwrap();
        writer.lines().line(b"before\n".to_vec());
        writer.lines().flush();
        std::fs::rename(&path, dir.path().join("moved")).unwrap();

        writer.lines().reopen();
        writer.lines().line(b"after\n".to_vec());
        drop(writer);

        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"").unwrap();
        assert!(
            RotatedFile::open(&dir.path().join("file/main.log"), Rotation::Off, Retention::Files(1)).is_err()
        );
    }

    #[test]
    fn a_line_that_finds_the_queue_full_is_counted() {
        let (queue, _held) = sync_channel(1);
        let lines = Lines { queue, dropped: Arc::default() };
        lines.line(b"kept\n".to_vec());
        lines.line(b"lost\n".to_vec());
        assert_eq!(lines.dropped(), 1);
    }
}
