//! Atomic writes and file locks.

use crate::error::{Error, ErrorKind, Result, at, fail};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

const TEMPORARY: &str = ".tmp";
const LOCK: &str = ".lock";

/// Fails unless the name of a file ends with the suffix of its format.
pub(crate) fn check_suffix(path: &Path, suffix: &str, format: &str) -> Result<()> {
    if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(suffix)) {
        return Ok(());
    }
    let (shown, stem) = (path.display(), path.with_extension(""));
    let packed = stem.extension().is_some_and(|found| found.eq_ignore_ascii_case(suffix));
    let other = if packed { stem } else { path.with_extension(suffix) };
    fail!("{shown}: the file is written as {format}; name it {}", other.display())
}

/// Writes a file atomically, and replaces an existing one.
///
/// The bytes are written to a temporary file with a new name in the same folder. That file is
/// flushed to disk and renamed, and the folder is flushed. Symbolic links are not followed. On
/// failure the temporary file is removed and `path` is unchanged, unless only the folder could not
/// be flushed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = write_temporary(path, bytes).and_then(|file| {
        file.persist(path).map_err(|failure| failure.error)?;
        flush_folder(path)
    });
    written.map_err(at(path.display()))
}

/// Writes a new file as [`replace`] does; returns `false` if `path` exists already.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<bool> {
    let created =
        write_temporary(path, bytes).and_then(|file| match file.persist_noclobber(path) {
            Err(failure) if failure.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(failure) => Err(failure.error),
            Ok(_) => flush_folder(path).map(|()| true),
        });
    created.map_err(at(path.display()))
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::other("is not the path of a file"));
    };
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask applies, as for any other file.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Flushes the folder that holds `path`, so that a new name in it is on disk.
pub(crate) fn flush_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder(path))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Locks an existing file until the handle is dropped, for processes that do so too. Others, and
/// this one, may read it.
pub(crate) fn lock_readable(path: &Path) -> Result<File> {
    if !cfg!(windows) {
        return lock(File::open(path), path);
    }
    // A lock keeps a file from being read there, so a file beside it is locked.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}{LOCK}"));
    lock(File::options().create(true).truncate(false).write(true).open(&beside), &beside)
}

/// Locks a file until the handle is dropped; fails if another process holds the lock.
pub(crate) fn lock(opened: io::Result<File>, path: &Path) -> Result<File> {
    let (file, shown) = (opened.map_err(at(path.display()))?, path.display());
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let error = Error::new(format!("{shown}: locked by another process"));
            Err(error.with_kind(ErrorKind::Locked))
        }
        // Some file systems do not support locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// `true` if `entry` is the name of an unfinished file for one of `names`: `.NAME.XXXXXX.tmp`, or
/// `.NAME.tmp` from earlier versions.
fn is_unfinished(entry: &str, names: &[&str]) -> bool {
    let stem = entry.strip_prefix('.').and_then(|entry| entry.strip_suffix(TEMPORARY));
    let Some(stem) = stem else { return false };
    let random = |rest: &str| rest.is_empty() || rest.starts_with('.') && !rest[1..].contains('.');
    names.iter().any(|name| stem.strip_prefix(name).is_some_and(random))
}

/// Removes the unfinished files for `names` that killed processes left in a folder.
pub(crate) fn remove_unfinished(folder: &Path, names: &[&str]) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(at(folder.display()))? {
        let entry = entry.map_err(at(folder.display()))?;
        if is_unfinished(&entry.file_name().to_string_lossy(), names) {
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(entry.path().display())(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Finds the alphabetically first entry of a folder that is neither one of `names` nor an
/// unfinished file or a lock for one of them; `None` if there is none or the folder does not exist.
pub(crate) fn find_foreign_entry(folder: &Path, names: &[&str]) -> Result<Option<String>> {
    let mut foreign = Vec::new();
    if !folder.exists() {
        return Ok(None);
    }
    for entry in std::fs::read_dir(folder).map_err(at(folder.display()))? {
        let found = entry.map_err(at(folder.display()))?.file_name().to_string_lossy().into_owned();
        let locks = |name: &&str| found == format!(".{name}{LOCK}");
        let own = names.contains(&found.as_str())
            || is_unfinished(&found, names)
            || names.iter().any(locks);
        foreign.extend((!own).then_some(found));
    }
    Ok(foreign.into_iter().min())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn concurrent_writers_leave_a_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        replace(path, &[writer; 1 << 16]).unwrap();
                    }
                });
            }
            for _ in 0..100 {
                let Ok(bytes) = std::fs::read(&path) else { continue };
                assert!(bytes.len() == 1 << 16 && bytes.iter().all(|byte| *byte == bytes[0]));
            }
        });
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn concurrent_creators_create_a_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let created = std::thread::scope(|scope| {
            let write = |writer: u8| {
                let path = &path;
                scope.spawn(move || create(path, &[writer; 9]).unwrap())
            };
            let writers: Vec<_> = (0..4).map(write).collect();
            writers.into_iter().map(|writer| usize::from(writer.join().unwrap())).sum::<usize>()
        });
        assert_eq!((created, names(folder.path())), (1, vec!["file".into()]));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed_and_permissions_follow_the_umask() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [victim, link, plain] =
            ["victim", "link", "plain"].map(|name| folder.path().join(name));
        std::fs::write(&victim, "safe").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(!create(&link, b"new").unwrap());
        replace(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"safe");
        assert!(!link.is_symlink());
        File::create(&plain).unwrap();
        let [written, plain] =
            [&link, &plain].map(|path| path.metadata().unwrap().permissions().mode());
        assert_eq!(written, plain);
    }

    #[test]
    fn unfinished_files_are_recognized_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".a.tmp", ".a.x1Y2z3.tmp", ".b.tmp", ".b.lock", "a", ".a.b.c.tmp"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        remove_unfinished(folder.path(), &["a"]).unwrap();
        assert_eq!(names(folder.path()), [".a.b.c.tmp", ".b.lock", ".b.tmp", "a"]);
        let foreign = find_foreign_entry(folder.path(), &["a", "b"]).unwrap();
        assert_eq!(foreign.as_deref(), Some(".a.b.c.tmp"));
    }
}
