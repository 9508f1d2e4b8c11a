//! The access log: one line for each request, written off the hot path.
//!
//! Each worker puts compact records into a ring of its own ([`ring`]); one thread empties the rings every
//! [`limits::ACCESS_BATCH_MS`], formats and writes. A worker wakes it only when it sleeps because nothing came for that
//! long, or when a ring is half full: under load there is one system call for thousands of records, none of them in the
//! request's way. A full ring loses the record and counts it.

mod compact;
mod form;
mod record;
mod redact;
mod ring;
mod ticket;

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use config::limits;
use config::settings::{self, AccessLog, AccessTarget};

use self::form::Form;
use self::ring::Ring;
use super::log::LogError;
use super::writer::{RotatedFile, Sink};

pub use record::{Protocol, Record, TlsFacts, UpstreamWay};

/// Orders under way to the writer: reopening, flushing and the end are each given by one caller.
const ORDERS_MAX: usize = 8;

/// The access log of the process. Dropping it writes what is waiting.
#[derive(Debug, Default)]
pub struct Access {
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    common: Arc<Common>,
    orders: SyncSender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// What workers and the writer share.
#[derive(Debug)]
struct Common {
    rings: Box<[Sender]>,
    writer: OnceLock<Thread>,
    /// The writer sleeps until somebody wakes it.
    is_asleep: AtomicBool,
    /// It was told not to wait for the end of its pause.
    is_hurried: AtomicBool,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Sender {
    ring: Ring,
    /// Whether a recorder has it: a second one would garble its records.
    is_taken: AtomicBool,
}

enum Order {
    Reopen,
    Follow(bool),
    Flush(SyncSender<()>),
    Stop,
}

impl Access {
    /// The log that the settings ask for, with room for the records of so many workers; `log` says how its files are
    /// rotated.
    ///
    /// Errors: the file cannot be opened, or the thread not be started.
    pub fn start(settings: &AccessLog, log: &settings::Log, workers: usize) -> Result<Self, LogError> {
        let sink = match &settings.to {
            AccessTarget::Off => return Ok(Self::default()),
            AccessTarget::Stdout => Sink::Stdout(std::io::stdout()),
            AccessTarget::File(path) => open(path, log)?,
        };
        Self::with(settings, sink, workers, limits::ACCESS_RING_BYTES)
    }

    fn with(settings: &AccessLog, sink: Sink, workers: usize, ring_bytes: usize) -> Result<Self, LogError> {
        let sender = |_| Sender { ring: Ring::new(ring_bytes), is_taken: AtomicBool::new(false) };
        let common = Arc::new(Common {
            rings: (0..workers).map(sender).collect(),
            writer: OnceLock::new(),
            is_asleep: AtomicBool::new(false),
            is_hurried: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        let (orders, given) = sync_channel(ORDERS_MAX);
        let writer = Writer { common: Arc::clone(&common), orders: given, sink, form: Form::new(settings) };
        let thread = std::thread::Builder::new().name("access".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(LogError::Thread)?;
        let _ = common.writer.set(thread.thread().clone());
        Ok(Self { running: Some(Running { common, orders, thread: Some(thread) }) })
    }

    /// The way in for worker number `index`. It is one worker's: a second recorder of the same number records nothing.
    pub(crate) fn recorder(&self, index: usize) -> Recorder {
        let common = self.running.as_ref().map(|running| Arc::clone(&running.common));
        let is_free = |common: &Arc<Common>| {
            common.rings.get(index).is_some_and(|sender| !sender.is_taken.swap(true, SeqCst))
        };
        let way = common.filter(is_free).map(|common| (common, index));
        let room = if way.is_some() { compact::ENCODED_BYTES_MAX } else { 0 };
        Recorder { way, encoded: RefCell::new(Vec::with_capacity(room)) }
    }

    /// How many records were lost because the writer did not keep up, or could not write.
    pub fn dropped(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.common.dropped.load(Relaxed))
    }

    /// Has the file opened by its name again, after somebody moved it away.
    pub fn reopen(&self) {
        self.order(Order::Reopen);
    }

    /// Leaves rotating the file to another process from now on, and follows it; or takes it back.
    pub fn follow(&self, follows: bool) {
        self.order(Order::Follow(follows));
    }

    /// Waits until everything recorded so far is written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.order(Order::Flush(done)) {
            let _ = wait.recv();
        }
    }

    fn order(&self, order: Order) -> bool {
        let Some(running) = &self.running else { return false };
        let is_sent = running.orders.send(order).is_ok();
        running.common.wake();
        is_sent
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.running.as_mut().and_then(|running| running.thread.take()) {
            let _ = thread.join();
        }
    }
}

fn open(path: &Path, log: &settings::Log) -> Result<Sink, LogError> {
    RotatedFile::open(path, log.rotation, log.retention)
        .map(|file| Sink::File(Box::new(file)))
        .map_err(|cause| LogError::File { path: path.to_path_buf(), cause })
}

impl Common {
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    fn is_empty(&self) -> bool {
        self.rings.iter().all(|sender| sender.ring.is_empty())
    }
}

/// One worker's way into the access log. Allocates nothing and never waits.
#[derive(Debug)]
pub struct Recorder {
    way: Option<(Arc<Common>, usize)>,
    encoded: RefCell<Vec<u8>>,
}

impl Recorder {
    /// Whether anybody reads records: build none otherwise.
    pub const fn is_on(&self) -> bool {
        self.way.is_some()
    }

    /// Hands a record over; without room for it, it is lost and counted.
    pub fn record(&self, record: &Record<'_>) {
        let Some((common, index)) = &self.way else { return };
        let Some(Sender { ring, .. }) = common.rings.get(*index) else { return };
        let mut encoded = self.encoded.borrow_mut();
        encoded.clear();
        record.encode(&mut encoded);
        if !ring.send(&encoded) {
            common.dropped.fetch_add(1, Relaxed);
        }
        // The loads come first: they are what almost always answers.
        let is_first = common.is_asleep.load(SeqCst) && common.is_asleep.swap(false, SeqCst);
        let is_late =
            ring.is_half_full() && !common.is_hurried.load(Relaxed) && !common.is_hurried.swap(true, Relaxed);
        if is_first || is_late {
            common.wake();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some((common, index)) = &self.way
            && let Some(sender) = common.rings.get(*index)
        {
            sender.is_taken.store(false, SeqCst);
        }
    }
}

/// The thread that formats and writes.
struct Writer {
    common: Arc<Common>,
    orders: Receiver<Order>,
    sink: Sink,
    form: Form,
}

impl Writer {
    fn run(mut self) {
        let (mut record, mut lines) = (Vec::new(), Vec::new());
        loop {
            // Orders first: a file is opened again after what was recorded before the order went to the old one.
            let order = self.orders.try_recv();
            let count = self.empty(&mut record, &mut lines);
            match order {
                Ok(Order::Reopen) => drop(self.sink.reopen()),
                Ok(Order::Follow(follows)) => self.sink.follow(follows),
                Ok(Order::Flush(done)) => drop(done.send(())),
                Ok(Order::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                Err(std::sync::mpsc::TryRecvError::Empty) if count > 0 => {
                    std::thread::park_timeout(Duration::from_millis(limits::ACCESS_BATCH_MS));
                    self.common.is_hurried.store(false, Relaxed);
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => self.sleep(),
            }
        }
    }

    /// Sleeps until a record or an order comes. An order leaves a wake-up behind, so that one given since it was looked
    /// for ends the sleep at once.
    fn sleep(&self) {
        self.common.is_asleep.store(true, SeqCst);
        if self.common.is_empty() {
            std::thread::park();
        }
        self.common.is_asleep.store(false, SeqCst);
    }

    /// Writes everything that waits; returns how many records that was.
    fn empty(&mut self, record: &mut Vec<u8>, lines: &mut Vec<u8>) -> usize {
        let mut count = 0;
        let mut unwritten = 0;
        let common = Arc::clone(&self.common);
        for sender in &common.rings {
            while sender.ring.take(record) {
                count += 1;
                let Some(record) = Record::decode(record) else { continue };
                self.form.line(&record, lines);
                unwritten += 1;
                if lines.len() >= limits::ACCESS_WRITE_BYTES {
                    self.write(lines, &mut unwritten);
                }
            }
        }
        self.write(lines, &mut unwritten);
        count
    }

    // A log that cannot be written has nowhere to complain: its lines are counted as lost, the gateway goes on.
    fn write(&mut self, lines: &mut Vec<u8>, unwritten: &mut u64) {
        if !lines.is_empty() && self.sink.line(lines).and_then(|()| self.sink.flush()).is_err() {
            self.common.dropped.fetch_add(*unwritten, Relaxed);
        }
        lines.clear();
        *unwritten = 0;
    }
}

#[cfg(test)]
mod tests;
