//! Whole files: read into memory, decompressed, and replaced on disk.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tempfile::NamedTempFile;

use crate::Error;

/// A packed file that expands more than this is taken for a decompression bomb. Recorded spikes
/// shrink by a factor of two to eight; the most that deflate reaches is 1032.
const MAX_EXPANSION: usize = 64;
/// A file that expands to less than this is never taken for one.
const SMALL: usize = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BLOCK: usize = 1 << 16;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Io { file: path.display().to_string(), error })
}

/// Reads the first `len` bytes of a file, or of what a gzip stream in it holds. There are fewer
/// where the file or the stream ends early.
pub(crate) fn start(path: &Path, len: usize) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("is a pipe or a device; write its bytes to a file first"));
    }
    let mut file = BufReader::new(File::open(path)?);
    let mut out = Vec::new();
    if file.fill_buf()?.starts_with(&GZIP) {
        let _ = MultiGzDecoder::new(file).take(len as u64).read_to_end(&mut out);
    } else {
        file.take(len as u64).read_to_end(&mut out)?;
    }
    Ok(out)
}

/// The most bytes to which a packed file of `len` bytes may expand.
pub(crate) fn room(len: usize) -> usize {
    len.saturating_mul(MAX_EXPANSION).max(SMALL)
}

pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP)
}

/// Decompresses a gzip stream. Other bytes are returned as they are.
pub(crate) fn unpack(bytes: Vec<u8>, file: &str) -> Result<Vec<u8>, Error> {
    if !is_gzip(&bytes) {
        return Ok(bytes);
    }
    let limit = room(bytes.len());
    unpack_within(bytes, limit, file)
}

/// Decompresses a gzip stream of at most `limit` bytes.
pub(crate) fn unpack_within(bytes: Vec<u8>, limit: usize, file: &str) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).take(limit as u64 + 1).read_to_end(&mut out).map_err(
        |error| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::format(file, "gzip stream: ends early; download or copy it again")
            }
            _ => Error::format(file, format!("gzip stream: {error}")),
        },
    )?;
    if out.len() > limit {
        return Err(Error::format(file, format!("gzip stream holds more than {limit} bytes")));
    }
    Ok(out)
}

/// Writes a file, replacing an older one. The contents go to a temporary file in the same folder,
/// which is flushed to the disk and then renamed, so `path` always holds a complete file. A link at
/// `path` is replaced, not followed. Temporary files that a killed process left behind are removed.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("has no file name"))?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    remove_abandoned(folder, &prefix)?;
    let temporary = create_temporary(folder, &prefix)?;
    let mut out = BufWriter::with_capacity(BLOCK, temporary.as_file());
    write(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    temporary.persist(path).map_err(|e| e.error)?;
    flush(folder)
}

const SUFFIX: &str = ".tmp";

/// Creates a temporary file and locks it, which marks it as in use.
fn create_temporary(folder: &Path, prefix: &OsString) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    // The usual permissions of a new file. By default only the owner could read it.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    loop {
        let temporary = builder.tempfile_in(folder)?;
        // Another process may have removed the file before it was locked. Where the file system has
        // no locks, nobody removes it.
        if temporary.as_file().lock().is_err() || temporary.path().exists() {
            return Ok(temporary);
        }
    }
}

/// Removes the temporary files that no process has locked.
fn remove_abandoned(folder: &Path, prefix: &OsString) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_temporary =
            name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(SUFFIX.as_bytes());
        if !is_temporary || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // The lock is held until the file is removed.
        if let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            match std::fs::remove_file(entry.path()) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Flushes a folder, so that the names of new files in it survive a power failure.
#[cfg(unix)]
pub(crate) fn flush(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn flush(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
        replace(path, |out| out.write_all(bytes))
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        put(&path, b"old").unwrap();
        let failed = replace(&path, |out| {
            out.write_all(b"half of it")?;
            Err(io::Error::other("full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "full");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn writers_at_the_same_time_leave_one_complete_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = &folder.path().join("a");
        std::thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || (0..50).for_each(|_| put(path, &[n; 1000]).unwrap()));
            }
        });
        let left = std::fs::read(path).unwrap();
        assert!(left.len() == 1000 && left.iter().all(|&byte| byte == left[0]));
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [path, victim] = ["a", "victim"].map(|name| folder.path().join(name));
        std::fs::write(&victim, b"safe").unwrap();
        symlink(&victim, &path).unwrap();
        symlink(&victim, folder.path().join(".a.1.tmp")).unwrap();
        put(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"safe");
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let metadata = path.symlink_metadata().unwrap();
        assert!(metadata.is_file());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&victim));
    }
}
