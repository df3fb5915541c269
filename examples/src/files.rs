//! Files that are either whole or absent, and locks.

use crate::error::{Result, at, fail};
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Write};
use std::path::Path;
use tempfile::{Builder, NamedTempFile};

const TEMPORARY: &str = ".tmp";

/// Writes a file, or replaces it as a whole.
///
/// The bytes go to a temporary file of a new name in the same folder. It is flushed to the disk and
/// renamed, and the folder is flushed. Neither the write nor the rename follows a link. On failure
/// the temporary file is removed and `path` is unchanged, unless only the folder could not be
/// flushed.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = temporary(path, bytes).and_then(|file| {
        file.persist(path).map_err(|failure| failure.error)?;
        flush_folder(path)
    });
    written.map_err(at(path.display()))
}

/// Writes a new file as [`replace`] does; `false` if something of this name exists already.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<bool> {
    let created = temporary(path, bytes).and_then(|file| match file.persist_noclobber(path) {
        Err(failure) if failure.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(failure) => Err(failure.error),
        Ok(_) => flush_folder(path).map(|()| true),
    });
    created.map_err(at(path.display()))
}

fn temporary(path: &Path, bytes: &[u8]) -> std::io::Result<NamedTempFile> {
    let Some(name) = path.file_name() else { return Err(Error::other("names no file")) };
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less the umask, as for any other file.
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

/// Flushes the folder that holds `path`: a new name is on the disk once its folder is.
pub(crate) fn flush_folder(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    File::open(folder(path))?.sync_all()?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// Locks a file until the handle is dropped; fails if another process holds the lock.
pub(crate) fn lock(opened: std::io::Result<File>, path: &Path) -> Result<File> {
    let (file, shown) = (opened.map_err(at(path.display()))?, path.display());
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => fail!("{shown}: another process is at work there"),
        // Some file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Whether `entry` is the name of an unfinished file of one of those names: `.NAME.XXXXXX.tmp`, or
/// `.NAME.tmp` as earlier versions had it.
fn is_unfinished(entry: &str, names: &[&str]) -> bool {
    let stem = entry.strip_prefix('.').and_then(|entry| entry.strip_suffix(TEMPORARY));
    let Some(stem) = stem else { return false };
    let random = |rest: &str| rest.is_empty() || rest.starts_with('.') && !rest[1..].contains('.');
    names.iter().any(|name| stem.strip_prefix(name).is_some_and(random))
}

/// Removes what killed processes left unfinished of files of those names in a folder.
pub(crate) fn remove_unfinished(folder: &Path, names: &[&str]) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(at(folder.display()))? {
        let entry = entry.map_err(at(folder.display()))?;
        if is_unfinished(&entry.file_name().to_string_lossy(), names) {
            std::fs::remove_file(entry.path()).map_err(at(entry.path().display()))?;
        }
    }
    Ok(())
}

/// The first entry of a folder, alphabetically, that is neither one of `names` nor an unfinished
/// file of such a name; `None` if the folder does not exist.
pub(crate) fn foreign_entry(folder: &Path, names: &[&str]) -> Result<Option<String>> {
    let mut foreign = Vec::new();
    if !folder.exists() {
        return Ok(None);
    }
    for entry in std::fs::read_dir(folder).map_err(at(folder.display()))? {
        let found = entry.map_err(at(folder.display()))?.file_name().to_string_lossy().into_owned();
        let own = names.contains(&found.as_str()) || is_unfinished(&found, names);
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
    fn two_writers_of_a_file_leave_it_whole() {
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
    fn a_new_file_is_created_once() {
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
    fn no_link_is_followed_and_permissions_are_those_of_any_file() {
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
    fn unfinished_files_are_known_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".a.tmp", ".a.x1Y2z3.tmp", ".b.tmp", "a", ".a.b.c.tmp"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        remove_unfinished(folder.path(), &["a"]).unwrap();
        assert_eq!(names(folder.path()), [".a.b.c.tmp", ".b.tmp", "a"]);
        let foreign = foreign_entry(folder.path(), &["a", "b"]).unwrap();
        assert_eq!(foreign.as_deref(), Some(".a.b.c.tmp"));
    }
}
