//! The folder of a run: its files and its lock.

use crate::checkpoint::Checkpoint;
use crate::config::Config;
use crate::error::{Result, at, fail};
use crate::model::check_folder;
use crate::{files, presets};
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const CHECKPOINT: &str = "checkpoint.safetensors";
pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const REPORT: &str = "report.json";
/// One line of JSON for every finished epoch.
pub(super) const CURVES: &str = "curves.jsonl";
/// The state of the selected epoch; it is removed when the run finishes.
pub(crate) const BEST: &str = "best.safetensors";
/// The state before the first step of a run that began from a trained model; it is removed when
/// the run finishes.
pub(super) const INITIAL: &str = "initial.safetensors";
/// All files of a run.
pub(super) const FILES: [&str; 10] = [
    CONFIG,
    CHECKPOINT,
    MODEL,
    REPORT,
    CURVES,
    BEST,
    INITIAL,
    "curves.svg",
    "delays.svg",
    "raster.svg",
];

/// Creates and locks a run's folder. It appears with configuration and checkpoint, or not at all.
/// `keeps_initial` keeps the first state too.
///
/// A lock file next to the folder keeps other processes out until the lock inside is held: some
/// systems cannot rename a folder that contains an open file.
pub(super) fn create_folder(
    folder: &Path,
    checkpoint: &Checkpoint,
    config: &Config,
    keeps_initial: bool,
) -> Result<File> {
    let shown = folder.display();
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(at(parent.display()))?;
    }
    let outer = sibling(folder, ".lock");
    let opened = match File::create_new(&outer) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => File::open(&outer),
        opened => opened,
    };
    let lock = files::lock(opened, &outer)?;
    let created = || -> Result<File> {
        if folder.exists() {
            fail!("{shown}: exists")
        }
        let unfinished = sibling(folder, ".tmp");
        discard(&unfinished)?;
        std::fs::create_dir(&unfinished).map_err(at(&shown))?;
        let initial = keeps_initial.then(|| unfinished.join(INITIAL));
        write_initial_files(&unfinished, checkpoint, config)
            .and_then(|()| initial.map_or(Ok(()), |path| checkpoint.write(&path)))
            .and_then(|()| std::fs::rename(&unfinished, folder).map_err(at(&shown)))
            .inspect_err(|_| {
                // The first error is the one to report.
                let _ = std::fs::remove_dir_all(&unfinished);
            })?;
        files::flush_folder(folder).map_err(at(&shown))?;
        files::lock_readable(&folder.join(CONFIG))
    }();
    // Some systems remove a file only after it is closed.
    if std::fs::remove_file(&outer).is_err() {
        drop(lock);
        let _ = std::fs::remove_file(&outer);
    }
    created
}

/// Locks the folder of an existing run.
pub(crate) fn lock_folder(folder: &Path) -> Result<File> {
    check_folder(folder)?;
    let path = folder.join(CONFIG);
    let outer = sibling(folder, ".lock");
    if let Ok(file) = File::open(&outer) {
        files::lock(Ok(file), &outer)?;
        // A killed process left this file.
        let _ = std::fs::remove_file(&outer);
    }
    files::lock_readable(&path)
}

/// The path `.NAME` + `suffix` next to the folder `NAME`.
fn sibling(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(suffix);
    folder.with_file_name(name)
}

fn write_initial_files(folder: &Path, checkpoint: &Checkpoint, config: &Config) -> Result<()> {
    let path = folder.join(CONFIG);
    let text = config.to_toml()?;
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(at(path.display()))?;
    checkpoint.write(&folder.join(CHECKPOINT))
}

/// Removes the incomplete folder of a killed process.
fn discard(unfinished: &Path) -> Result<()> {
    let shown = unfinished.display();
    match files::find_foreign_entry(unfinished, &[CONFIG, CHECKPOINT, INITIAL])? {
        Some(found) => fail!("{shown}: holds {found}, which is not a file of a run; move it away"),
        None if unfinished.exists() => std::fs::remove_dir_all(unfinished).map_err(at(shown)),
        None => Ok(()),
    }
}

/// Removes the files that a finished run no longer needs.
pub(crate) fn tidy(folder: &Path) -> Result<()> {
    for path in [BEST, INITIAL].map(|name| folder.join(name)) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(at(path.display())(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads the configuration in a run's folder and applies assignments to it.
pub(crate) fn stored_config(folder: &Path, set: &[String]) -> Result<Config> {
    check_folder(folder)?;
    presets::read_stored(&folder.join(CONFIG), set)
}

/// Fails if two configurations differ. The message names the first such field.
pub(crate) fn check_same(found: &Config, place: &Path, expected: &Config, who: &str) -> Result<()> {
    match found.difference(expected)? {
        Some((found, expected)) => {
            fail!("{}: has {found}, but {who} says {expected}", place.display())
        }
        None => Ok(()),
    }
}
