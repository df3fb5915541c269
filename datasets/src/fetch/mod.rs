//! The published files, fetched: archives over HTTP, held against the MD5 sums their authors give, unpacked where the
//! readers need it.
//!
//! What [`fetch`] leaves in a folder is whole or not there. An interrupted download stays as `NAME.part` and is gone on
//! with; beside what was unpacked lies `NAME.md5`, a list of sums that `md5sum -c` reads too. Nothing that was there is
//! overwritten.
//!
//! ```no_run
//! use polychron_datasets::fetch::{Patience, Sources, fetch};
//!
//! for archive in Sources::embedded()?.archives("shd")? {
//!     fetch(archive, "data".as_ref(), &Patience::default(), &mut |_| ())?;
//! }
//! # Ok::<(), polychron_datasets::Error>(())
//! ```

mod download;
mod paths;
mod sources;
mod sums;
mod unpack;

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::{Error, bytes};
use download::download;
use unpack::unpack;

use sources::Form;
pub use sources::{Archive, Sources};

/// How long a server is borne with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Longest wait for a connection, for an answer, and for the next KiB of it; 30 s by default.
    pub stall: Duration,
    /// Tries in a row that bring less than a MiB before it is given up; 5 by default.
    pub tries: u32,
    /// Wait after the first of them, doubled after every further one up to 30 s; 1 s by default.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { stall: Duration::from_secs(30), tries: 5, pause: Duration::from_secs(1) }
    }
}

/// How far an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes done of it.
    pub done: u64,
    /// Bytes to do, where that is known.
    pub total: Option<u64>,
}

/// What is being done to an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Sums are taken of what is there.
    Check,
    /// Bytes come from the server.
    Download,
    /// The server is left alone before it is asked again.
    Wait,
    /// Files are written.
    Unpack,
}

/// What [`fetch`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was there and right.
    Present,
    /// The archive was there and right, and was unpacked and left there.
    Unpacked,
    /// The archive was downloaded; if it was unpacked, only what was in it is left.
    Fetched,
}

/// Sees to it that `folder`, made where it is missing, holds what the archive leaves: nothing is fetched if that, or an
/// archive of its name, is there with the right sum.
///
/// Memory does not grow with the archive, but for names, at most 128 MiB, and, of a zip file, twenty times its directory.
///
/// # Errors
/// The server says no, is out of reach or silent longer than `patience` allows (what came stays for another call); the
/// archive has another MD5 sum or is larger than its bound; an entry of it is damaged, no file or folder, or leads out of
/// the folder; the disk is full; something of the name is there and is not what the archive leaves; another process is
/// fetching or unpacking it.
pub fn fetch(
    archive: &Archive,
    folder: &Path,
    patience: &Patience,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    let report = &mut Reporter::new(progress);
    if sums::present(archive, folder, report)? {
        return Ok(Outcome::Present);
    }
    fs::create_dir_all(folder).map_err(failed(folder))?;
    if archive.form != Form::Kept {
        sums::check_place(archive, folder)?;
    }
    let own = folder.join(&archive.name);
    if sums::is_there(&own)? {
        let file = File::open(&own).map_err(failed(&own))?;
        lock(&file, &own)?;
        sums::check_archive(archive, &own, &file, report)?;
        unpack(archive, &own, &file, folder, report)?;
        return Ok(Outcome::Unpacked);
    }
    let part = download(archive, &folder.join(format!("{}.part", archive.name)), patience, report)?;
    if archive.form == Form::Kept {
        part.rename(&own)?;
        bytes::flush(folder).map_err(failed(folder))?;
    } else {
        unpack(archive, &part.path, &part.file, folder, report)?;
        bytes::flush(folder).map_err(failed(folder))?;
        part.remove()?;
    }
    Ok(Outcome::Fetched)
}

struct Reporter<'a> {
    now: Progress,
    sink: &'a mut dyn FnMut(Progress),
}

impl<'a> Reporter<'a> {
    fn new(sink: &'a mut dyn FnMut(Progress)) -> Self {
        Self { now: Progress { stage: Stage::Check, done: 0, total: None }, sink }
    }

    fn begin(&mut self, stage: Stage, done: u64, total: Option<u64>) {
        self.now = Progress { stage, done, total };
        (self.sink)(self.now);
    }

    fn advance(&mut self, bytes: usize) {
        self.now.done += bytes as u64;
        (self.sink)(self.now);
    }
}

/// Keeps other processes from a file until it is closed.
fn lock(file: &File, path: &Path) -> Result<(), Error> {
    for _ in 0..20 {
        // Where the file system knows no locks, two downloads at once end in a wrong sum.
        let Err(TryLockError::WouldBlock) = file.try_lock() else { return Ok(()) };
        // A process that has just been started holds what this one has let go of, until it is another program.
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Error::format(&path.display().to_string(), "is in use by another process"))
}

/// An error of the system with its file.
fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = path.display().to_string();
    |error| Error::Io { file, error }
}
