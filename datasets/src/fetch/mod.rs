//! Download of the published files: archives over HTTP, checked against the MD5 sums that their
//! authors publish, and unpacked if the readers need it.
//!
//! A file or folder that [`fetch`] leaves is complete. An interrupted download stays as
//! `NAME.part`, and the next call resumes it. Next to unpacked files, `NAME.md5` lists their sums
//! in the format of `md5sum`. Existing files are never overwritten.
//!
//! ```no_run
//! use polychron_datasets::fetch::{RetryPolicy, Sources, fetch};
//!
//! for archive in Sources::embedded()?.archives("shd")? {
//!     fetch(archive, "data".as_ref(), &RetryPolicy::default(), &mut |_| ())?;
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

/// Retry and timeout policy of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Longest wait for a connection, for a response, and for the next KiB of it; 30 s by default.
    pub timeout: Duration,
    /// Number of consecutive attempts that bring less than a MiB before the download fails; 5 by
    /// default.
    pub attempts: u32,
    /// Pause after the first of them, doubled after every further one up to 30 s; 1 s by default.
    pub pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), attempts: 5, pause: Duration::from_secs(1) }
    }
}

/// Progress of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Current stage.
    pub stage: Stage,
    /// Number of bytes done in this stage.
    pub done: u64,
    /// Number of bytes of this stage, if known.
    pub total: Option<u64>,
}

/// Stage of the work on an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Computing the sums of existing files.
    Check,
    /// Receiving bytes from the server.
    Download,
    /// Waiting before the next attempt.
    Wait,
    /// Writing unpacked files.
    Unpack,
}

/// What [`fetch`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was there with the right sums.
    Present,
    /// The archive was there with the right sum. It was unpacked and kept.
    Unpacked,
    /// The archive was downloaded. If it had to be unpacked, only its contents were kept.
    Fetched,
}

/// Downloads and unpacks an archive into `folder`, which is created if necessary. Nothing is
/// downloaded if the result, or the archive itself, is there with the right sum.
///
/// Memory does not grow with the size of the archive, except for names (at most 128 MiB) and, for a
/// zip file, twenty times the size of its directory.
///
/// # Errors
/// The server refuses the request, cannot be reached, or is silent for longer than `policy` allows
/// (the received bytes are kept for the next call); the archive has another MD5 sum or exceeds its
/// size limit; an entry is damaged, is neither a file nor a folder, or leads out of the folder; the
/// disk is full; something with the name of the result exists and has another origin; another
/// process is working on the archive.
pub fn fetch(
    archive: &Archive,
    folder: &Path,
    policy: &RetryPolicy,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    let report = &mut Reporter::new(progress);
    if sums::is_present(archive, folder, report)? {
        return Ok(Outcome::Present);
    }
    fs::create_dir_all(folder).map_err(io_error(folder))?;
    if archive.form != Form::Kept {
        sums::check_place(archive, folder)?;
    }
    let own = folder.join(&archive.name);
    if sums::exists(&own)? {
        let file = File::open(&own).map_err(io_error(&own))?;
        lock(&file, &own)?;
        sums::check_archive(archive, &own, &file, report)?;
        unpack(archive, &own, &file, folder, report)?;
        return Ok(Outcome::Unpacked);
    }
    let part = download(archive, &folder.join(format!("{}.part", archive.name)), policy, report)?;
    if archive.form == Form::Kept {
        part.rename(&own)?;
        bytes::flush(folder).map_err(io_error(folder))?;
    } else {
        unpack(archive, &part.path, &part.file, folder, report)?;
        bytes::flush(folder).map_err(io_error(folder))?;
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

/// Locks a file against other processes until it is closed.
fn lock(file: &File, path: &Path) -> Result<(), Error> {
    for _ in 0..20 {
        // Without file locks, two downloads at the same time end with a wrong sum.
        let Err(TryLockError::WouldBlock) = file.try_lock() else { return Ok(()) };
        // A child process that has just been forked holds a released lock until it executes its
        // program.
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Error::format(
        &path.display().to_string(),
        "is in use by another process; wait until it ends",
    ))
}

/// Adds the path to an error of the operating system.
fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let file = path.display().to_string();
    |error| Error::Io { file, error }
}
