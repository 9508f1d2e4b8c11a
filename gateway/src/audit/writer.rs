//! The thread that puts events on the disk, and takes over what earlier processes left.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use config::limits;

use super::Shared;
use super::file::{Found, Left, Own};

/// The thread; dropping it writes what waits for the disk and ends it.
pub(super) struct Writer {
    shared: Arc<Shared>,
    flushed: Arc<(Mutex<u64>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts one that writes below `directory`.
    ///
    /// Every `pause` it looks for what processes left that are gone.
    pub(super) fn start(directory: &Path, shared: Arc<Shared>, pause: Duration) -> io::Result<Self> {
        let mut task = Task::new(directory, Arc::clone(&shared), pause)?;
        let flushed = Arc::clone(&task.flushed);
        // Before anything else is noted: what was left is older.
        task.adopt();
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || task.run())?;
        Ok(Self { shared, flushed, thread: Some(thread) })
    }

    /// Waits until everything given so far was tried to be written, or the thread is gone.
    pub(super) fn flush(&self) {
        let given = self.shared.lock().given;
        self.shared.work.notify_one();
        let (written, changed) = &*self.flushed;
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        while *written < given && self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            let step = Duration::from_millis(limits::AUDIT_FLUSH_STEP_MS);
            written = changed.wait_timeout(written, step).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Task {
    shared: Arc<Shared>,
    own: Own,
    flushed: Arc<(Mutex<u64>, Condvar)>,
    /// The disk took nothing the last time: said once.
    is_failing: bool,
    /// Files of another form: said once for each. Whatever else is in the way of one may pass.
    left_alone: Vec<PathBuf>,
    /// Between two looks for what others left, however busy it is in between.
    pause: Duration,
    look_at: Instant,
    /// From how many bytes on the file is written anew.
    shrink_at: u64,
}

const SHRINK_AT: u64 = 2 * limits::AUDIT_WAITING_BYTES_MAX as u64;

/// What the thread does next.
enum Step {
    Write,
    Clear,
    Adopt,
    End,
}

impl Task {
    fn new(directory: &Path, shared: Arc<Shared>, pause: Duration) -> io::Result<Self> {
        Ok(Self {
            shared,
            own: Own::create(directory)?,
            flushed: Arc::default(),
            is_failing: false,
            left_alone: Vec::new(),
            pause,
            look_at: Instant::now(),
            shrink_at: SHRINK_AT,
        })
    }

    fn run(mut self) {
        loop {
            match self.wait() {
                Step::Write => self.write(),
                Step::Clear => self.report("emptied", |own| own.clear()),
                Step::Adopt => self.adopt(),
                Step::End => break,
            }
        }
        self.shared.lock().sum_up();
        self.write();
        if self.shared.lock().is_all_noted() {
            self.report("removed", |own| own.remove());
        }
    }

    fn wait(&self) -> Step {
        let mut waiting = self.shared.lock();
        loop {
            if waiting.is_over {
                return Step::End;
            }
            let now = Instant::now();
            if now >= self.look_at {
                return Step::Adopt;
            }
            waiting.settle(now);
            if waiting.has_unwritten() {
                return Step::Write;
            }
            if waiting.is_all_noted() && self.own.bytes() > 0 {
                return Step::Clear;
            }
            let until = waiting.restraint.until().map_or(self.look_at, |until| until.min(self.look_at));
            let pause = until.saturating_duration_since(now);
            let woken = self.shared.work.wait_timeout(waiting, pause).unwrap_or_else(PoisonError::into_inner);
            waiting = woken.0;
        }
    }

    fn write(&mut self) {
        let (events, given) = {
            let mut waiting = self.shared.lock();
            (waiting.take_unwritten(), waiting.given)
        };
        if !events.is_empty() {
            self.report("written", |own| own.append(events.iter()));
            self.shared.lock().keep(events);
            self.shared.wake.notify_one();
            self.shrink();
        }
        *self.flushed.0.lock().unwrap_or_else(PoisonError::into_inner) = given;
        self.flushed.1.notify_all();
    }

    /// Writes what still waits anew, once most of the file is of events that do not.
    fn shrink(&mut self) {
        if self.own.bytes() <= self.shrink_at {
            return;
        }
        let kept: Vec<_> = self.shared.lock().kept().cloned().collect();
        // The old file goes when the new one is whole: what stands in both for a moment is told twice and written once.
        let renewed = self.own.renewed(kept.iter()).and_then(|new| {
            self.shrink_at = SHRINK_AT;
            std::mem::replace(&mut self.own, new).remove()
        });
        if renewed.is_err() {
            self.shrink_at = self.own.bytes() + limits::AUDIT_FILE_AGAIN_BYTES;
        }
        self.report("written anew", |_| renewed);
    }

    /// Takes over what processes left that are gone.
    fn adopt(&mut self) {
        self.look_at = Instant::now() + self.pause;
        let left = self.own.left_behind().inspect_err(|error| {
            tracing::warn!(%error, "what waits for the audit cannot be looked through");
        });
        for left in left.unwrap_or_default() {
            let path = left.path().to_path_buf();
            if self.left_alone.contains(&path) {
                continue;
            }
            if let Err(error) = self.take_over(left) {
                tracing::warn!(path = %path.display(), %error, "a file beside those of the audit is left as it is");
                if error.kind() == io::ErrorKind::InvalidData {
                    self.left_alone.push(path);
                }
            }
        }
    }

    fn take_over(&mut self, mut left: Left) -> io::Result<()> {
        let Found { events, torn } = match left.read()? {
            Some(found) => found,
            // Of a newer program, or of somebody else: not ours to take away.
            None => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is of another form")),
        };
        if let Some(why) = torn {
            tracing::warn!(path = %left.path().display(), why, events = events.len(),
                "a file of events for the audit ends early");
        }
        if !events.is_empty() {
            // In our file before it goes from theirs; what stands in both for a moment is told twice and written once.
            self.own.append(events.iter())?;
            self.shared.lock().keep(events);
            self.shared.wake.notify_one();
        }
        left.remove()
    }

    fn report(&mut self, what: &str, act: impl FnOnce(&mut Own) -> io::Result<()>) {
        match act(&mut self.own) {
            Ok(()) => self.is_failing = false,
            Err(_) if self.is_failing => {}
            Err(error) => {
                self.is_failing = true;
                tracing::error!(%error, "the file of events for the audit cannot be {what}; they are in memory alone");
            }
        }
    }
}

#[cfg(test)]
mod tests;
