//! The file that events wait in: one of each process, locked as long as it lives, so that what a dead one left is told from
//! what a draining one still tells.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use config::limits;
use config::sync::audit::AuditEvent;
use rustix::fs::{FlockOperation, flock};

use crate::checkpoint::files;

/// What each file begins with; the number is the format's.
const MAGIC: &[u8] = b"GHAUDT1\n";
/// Length and checksum in front of each event.
const HEAD_BYTES: usize = 8;
/// Longest event in a file: six texts and the rest.
const EVENT_BYTES_MAX: usize = 8 * limits::AUDIT_TEXT_BYTES_MAX;

/// The file of this process.
pub(super) struct Own {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Own {
    /// Makes a file in `directory`, which is made as well.
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        files::make_dir(directory)?;
        let path = directory.join(uuid::Uuid::now_v7().to_string());
        // Under a name that nobody takes over until it is locked: another process may look just now.
        let mut aside = path.clone().into_os_string();
        aside.push(files::ASIDE);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(files::PRIVATE).open(&aside)?;
        let is_made = flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from);
        let is_made = is_made.and_then(|()| fs::rename(&aside, &path));
        if is_made.is_err() {
            files::remove(Path::new(&aside))?;
            is_made?;
        }
        files::sync_dir(directory)?;
        Ok(Self { path, file, bytes: 0 })
    }

    /// Another file beside this one that holds these events, durably.
    pub(super) fn renewed<'a>(&self, events: impl Iterator<Item = &'a AuditEvent>) -> io::Result<Self> {
        let directory = self.path.parent().ok_or(io::ErrorKind::NotFound)?;
        let mut new = Self::create(directory)?;
        if let Err(error) = new.append(events) {
            new.remove()?;
            return Err(error);
        }
        Ok(new)
    }

    /// Adds events, durably.
    pub(super) fn append<'a>(&mut self, events: impl Iterator<Item = &'a AuditEvent>) -> io::Result<()> {
        let mut bytes = if self.bytes == 0 { MAGIC.to_vec() } else { Vec::new() };
        for event in events {
            let plain = event.to_bytes();
            let length = u32::try_from(plain.len()).map_err(io::Error::other)?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&checksum(&plain).to_be_bytes());
            bytes.extend_from_slice(&plain);
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half an event must not stand before whole ones.
            self.file.set_len(self.bytes)?;
            self.file.seek(io::SeekFrom::End(0))?;
            return written;
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Empties it: all of it was noted.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.bytes = 0;
        Ok(())
    }

    /// What it takes.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the file away: nothing waits in it.
    pub(super) fn remove(&self) -> io::Result<()> {
        files::remove(&self.path)
    }

    /// Whether it has a name.
    #[cfg(test)]
    pub(super) fn is_there(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() > 0)
    }

    /// The files beside this one, whose processes are gone, oldest first. Each is locked while it is held.
    pub(super) fn left_behind(&self) -> io::Result<Vec<Left>> {
        let Some(directory) = self.path.parent() else { return Ok(Vec::new()) };
        let mut paths: Vec<PathBuf> = fs::read_dir(directory)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| *path != self.path && !is_aside(path))
            .collect();
        paths.sort();
        Ok(paths.into_iter().filter_map(Left::take).collect())
    }
}

/// Whether a file is only being made.
fn is_aside(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(files::ASIDE.as_bytes())
}

/// What a file holds.
#[derive(Default)]
pub(super) struct Found {
    pub(super) events: Vec<AuditEvent>,
    /// Why it ends early, if it does.
    pub(super) torn: Option<&'static str>,
}

/// A file that nobody has any more.
pub(super) struct Left {
    path: PathBuf,
    file: File,
}

impl Left {
    fn take(path: PathBuf) -> Option<Self> {
        let file = File::open(&path).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        // Another one may have taken it away between the two.
        (file.metadata().ok()?.nlink() > 0).then_some(Self { path, file })
    }

    /// The events in it, as far as it can be read; `None` if it is no such file.
    pub(super) fn read(&mut self) -> io::Result<Option<Found>> {
        let bytes_max = 4 * limits::AUDIT_WAITING_BYTES_MAX as u64;
        let mut bytes = Vec::new();
        (&mut self.file).take(bytes_max).read_to_end(&mut bytes)?;
        Ok(events(&bytes))
    }

    /// Takes it away, once its events stand elsewhere.
    pub(super) fn remove(self) -> io::Result<()> {
        files::remove(&self.path)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn events(bytes: &[u8]) -> Option<Found> {
    let mut found = Found::default();
    if bytes.is_empty() {
        return Some(found);
    }
    let mut rest = bytes.strip_prefix(MAGIC)?;
    while !rest.is_empty() {
        match event(rest) {
            Ok((event, after)) => {
                found.events.push(event);
                rest = after;
            }
            Err(why) => {
                found.torn = Some(why);
                break;
            }
        }
    }
    Some(found)
}

/// The first event, and what follows it.
fn event(bytes: &[u8]) -> Result<(AuditEvent, &[u8]), &'static str> {
    const CUT: &str = "it was cut in the middle of an event";
    const DAMAGED: &str = "it is damaged";
    let (head, after) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(CUT)?;
    let [a, b, c, d, e, f, g, h] = *head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > EVENT_BYTES_MAX {
        return Err(DAMAGED);
    }
    let (plain, after) = after.split_at_checked(length).ok_or(CUT)?;
    if checksum(plain) != u32::from_be_bytes([e, f, g, h]) {
        return Err(DAMAGED);
    }
    let event = AuditEvent::from_bytes(plain).map_err(|_| DAMAGED)?;
    Ok((event, after))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
