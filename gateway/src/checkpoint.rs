//! The last known good generation on disk, so that a gateway serves before control answers.
//!
//! `DIR/gateway/checkpoint` holds pairs of files: `base-N`, a whole snapshot, and `log-N`, the deltas since. A change
//! appends one record and syncs it; when the log outgrows its limit and its base, a new pair is begun. Two older pairs
//! are kept: the log of a pair ends where the base of the next begins, so falling back loses little.
//!
//! Both files are the wire encoding in sealed records ([`record`]): the tag that authenticates a record is its
//! checksum too. A torn last record of a log was never acknowledged and is dropped. Anything else that cannot be read
//! is named in the notes of [`Checkpoint::open`] and never stops a start.
//!
//! Blocking; the caller keeps it off the workers and off the runtime's thread.

pub(crate) mod files;
mod record;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use config::delta::{self, Delta};
use config::limits;
use config::snapshot::Snapshot;
use config::sync::message::{Have, Message};

use record::{Part, Sealer};

/// The checkpoint of one gateway. Not Clone: two writers would tear each other's log.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    sealer: Sealer,
    /// Number of the newest pair on disk, readable or not.
    pair: u64,
    /// Pairs that could not be read; gone with the next base.
    damaged: Vec<u64>,
    /// What the newest pair says; `None` makes the next save a base.
    last: Option<Have>,
    log: Log,
}

#[derive(Debug, Default)]
struct Log {
    file: Option<File>,
    bytes: u64,
    records: u64,
    base_bytes: u64,
}

/// A pair of files, read.
struct Pair {
    snapshot: Snapshot,
    log: Log,
    /// Why the log is not read to its end.
    torn: Option<String>,
}

impl Checkpoint {
    /// Opens the checkpoint below the data directory `data` and reads the newest generation in it.
    ///
    /// The notes say, for the log, what was damaged and what was used instead.
    ///
    /// Errors: the directory or the key that seals it cannot be made or read. Damage is not an error.
    pub fn open(data: &Path) -> io::Result<(Self, Option<Snapshot>, Vec<String>)> {
        let mut notes = Vec::new();
        let own = data.join("gateway");
        let dir = own.join("checkpoint");
        files::make_dir(&dir)?;
        let sealer = Sealer::open(&own.join("seal.key"), &mut notes)?;
        let pairs = list(&dir)?;
        let pair = pairs.last().copied().unwrap_or(0);
        let mut checkpoint = Self { dir, sealer, pair, damaged: Vec::new(), last: None, log: Log::default() };
        let snapshot = checkpoint.load(&pairs, &mut notes);
        Ok((checkpoint, snapshot, notes))
    }

    /// Makes `snapshot` durable: it is what the next [`Checkpoint::open`] returns, whatever happens to the machine.
    ///
    /// `delta` is the change from the one saved before, if it came as one; then the cost is that of the change.
    ///
    /// Errors: the disk. The generation saved before is still there then, and a later save may try again.
    pub fn save(&mut self, snapshot: &Snapshot, delta: Option<&Delta>) -> io::Result<()> {
        let have = Have::of(snapshot);
        if self.last == Some(have) {
            return Ok(());
        }
        // Until this one is on disk: a record after a torn one would never be read.
        let last = self.last.take();
        let follows = |delta: &&Delta| {
            last.is_some_and(|last| last.lineage == delta.lineage && last.generation == delta.base)
        };
        match delta.filter(follows) {
            Some(delta) => {
                let index = self.log.records;
                let bytes =
                    self.sealer.seal(Part::Log, self.pair, index, Message::Delta(delta.clone()).encode())?;
                let bound = limits::CHECKPOINT_LOG_BYTES_MAX.max(self.log.base_bytes);
                if self.log.bytes + bytes.len() as u64 > bound {
                    self.write_base(snapshot)?
                } else {
                    self.append(&bytes)?
                }
            }
            None => self.write_base(snapshot)?,
        }
        self.last = Some(have);
        Ok(())
    }

    fn load(&mut self, pairs: &[u64], notes: &mut Vec<String>) -> Option<Snapshot> {
        for number in pairs.iter().rev().copied() {
            match self.read_pair(number) {
                Ok(Pair { snapshot, log, torn }) => {
                    let generation = snapshot.generation();
                    if let Some(why) = torn {
                        notes.push(format!(
                            "checkpoint log {number} ends early ({why}); using generation {generation}"
                        ));
                    } else if number == self.pair {
                        self.last = Some(Have::of(&snapshot));
                        self.log = log;
                    }
                    if number != self.pair {
                        notes.push(format!("using the older checkpoint {number}, generation {generation}"));
                    }
                    return Some(snapshot);
                }
                Err(why) => {
                    notes.push(format!("checkpoint {number} cannot be read: {why}"));
                    self.damaged.push(number);
                }
            }
        }
        if !pairs.is_empty() {
            notes.push("no checkpoint can be read; waiting for control".to_owned());
        }
        None
    }

    fn read_pair(&self, number: u64) -> Result<Pair, String> {
        let bytes = files::read(&self.path(Part::Base, number)).map_err(|error| error.to_string())?;
        let base_bytes = bytes.len() as u64;
        let mut records = record::records(&bytes)?;
        let sealed = records.next().ok_or("it is empty")??;
        if records.next().is_some() {
            return Err("there is more in it than one snapshot".to_owned());
        }
        let plain = self
            .sealer
            .open_record(Part::Base, number, 0, sealed)
            .ok_or("it is damaged or sealed by another key")?;
        let message = Message::decode(&plain).map_err(|error| error.to_string())?;
        if let Message::Damaged(nack) = message {
            return Err(nack.reason);
        }
        let Message::Snapshot(snapshot) = message else { return Err("it holds no snapshot".to_owned()) };
        Ok(self.read_log(number, snapshot, base_bytes))
    }

    /// Applies the log of a pair to its base, as far as it can be read.
    fn read_log(&self, number: u64, mut snapshot: Snapshot, base_bytes: u64) -> Pair {
        let mut log = Log { base_bytes, ..Log::default() };
        let bytes = match files::read(&self.path(Part::Log, number)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Pair { snapshot, log, torn: None };
            }
            Err(error) => return Pair { snapshot, log, torn: Some(error.to_string()) },
        };
        log.bytes = bytes.len() as u64;
        let mut replay = || -> Result<(), String> {
            for sealed in record::records(&bytes)? {
                let index = log.records;
                let plain = self
                    .sealer
                    .open_record(Part::Log, number, index, sealed?)
                    .ok_or("a record is damaged")?;
                let Message::Delta(delta) = Message::decode(&plain).map_err(|error| error.to_string())?
                else {
                    return Err("a record is no change".to_owned());
                };
                snapshot = delta::apply(&snapshot, &delta).map_err(|error| error.to_string())?;
                log.records += 1;
            }
            Ok(())
        };
        let torn = replay().err();
        Pair { snapshot, log, torn }
    }

    fn append(&mut self, sealed: &[u8]) -> io::Result<()> {
        if self.log.file.is_none() {
            let path = self.path(Part::Log, self.pair);
            let is_new = self.log.bytes == 0;
            let mut file = OpenOptions::new().append(true).create(true).mode(files::PRIVATE).open(path)?;
            if is_new {
                file.write_all(record::MAGIC)?;
                self.log.bytes = record::MAGIC.len() as u64;
                files::sync_dir(&self.dir)?;
            }
            self.log.file = Some(file);
        }
        let Some(file) = &mut self.log.file else { return Ok(()) };
        file.write_all(sealed)?;
        file.sync_data()?;
        self.log.bytes += sealed.len() as u64;
        self.log.records += 1;
        Ok(())
    }

    fn write_base(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let next = self.pair.saturating_add(1);
        let plain = Message::Snapshot(snapshot.clone()).encode();
        let mut bytes = record::MAGIC.to_vec();
        bytes.append(&mut self.sealer.seal(Part::Base, next, 0, plain)?);
        // A log without a base may lie there after a base was taken away by hand.
        files::remove(&self.path(Part::Log, next))?;
        files::write_aside(&self.path(Part::Base, next), &bytes)?;
        self.pair = next;
        self.log = Log { base_bytes: bytes.len() as u64, ..Log::default() };
        self.prune()
    }

    /// Removes the damaged pairs, and of the others all but the newest and two older ones.
    fn prune(&mut self) -> io::Result<()> {
        let damaged = std::mem::take(&mut self.damaged);
        let whole = list(&self.dir)?.into_iter().rev().filter(|number| !damaged.contains(number));
        let old: Vec<u64> = whole.skip(1 + limits::CHECKPOINTS_KEPT).collect();
        for number in damaged.into_iter().chain(old) {
            files::remove(&self.path(Part::Log, number))?;
            files::remove(&self.path(Part::Base, number))?;
        }
        Ok(())
    }

    fn path(&self, part: Part, number: u64) -> PathBuf {
        self.dir.join(format!("{}-{number:016x}", part.name()))
    }
}

/// The numbers of the bases in `dir`, oldest first. Files that were being written aside are removed.
fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(files::ASIDE) {
            files::remove(&entry.path())?;
        } else if let Some(number) =
            name.strip_prefix("base-").and_then(|hex| u64::from_str_radix(hex, 16).ok())
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
