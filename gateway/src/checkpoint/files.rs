//! Files that are either whole or absent, and for nobody else to read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use config::limits;

/// Mode of every file here.
pub(crate) const PRIVATE: u32 = 0o600;
/// Ending of a file that is being written.
pub(crate) const ASIDE: &str = ".aside";

/// Makes a directory and those above it, for the owner alone.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Puts `bytes` at `path` so that a crash at any time leaves the old file or the new one.
pub(crate) fn write_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(ASIDE);
    let aside = Path::new(&aside);
    remove(aside)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(aside, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes a file that may be absent.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads a whole file of at most a message and its seal.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes_max = limits::MESSAGE_BYTES_MAX as u64 + 4096;
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file is longer than any that is written here",
        ));
    }
    Ok(bytes)
}
