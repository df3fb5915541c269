//! Unpacking of archives: into a temporary path, which is renamed when complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use flate2::read::MultiGzDecoder;
use tar::{EntryType, PaxExtensions};
use zip::ZipArchive;

use super::sums::{BLOCK, List, Sum, remove};
use super::{Archive, Form, Reporter, Stage, io_error, paths};
use crate::Error;

/// Largest extended header of a tar file in bytes.
const MAX_HEADER: u64 = 1 << 16;
/// Memory in bytes that the names of entries may take. Each name is kept three times, twice of
/// these with the folder, and takes [`ENTRY`] bytes more.
const MAX_NAMES: u64 = 128 << 20;
const ENTRY: u64 = 400;
/// Number of threads that flush files.
const SYNCS: usize = 16;

enum Kind {
    File,
    Folder,
    Link,
    Special,
}

/// Unpacks the archive in `file` into `folder`. Error messages name it `shown`.
pub(super) fn unpack(
    archive: &Archive,
    shown: &Path,
    mut file: &File,
    folder: &Path,
    report: &mut Reporter<'_>,
) -> Result<(), Error> {
    report.begin(Stage::Unpack, 0, None);
    let target = folder.join(&archive.to);
    let temporary = folder.join(format!(".{}.tmp", archive.to));
    remove(&temporary).map_err(io_error(&temporary))?;
    file.seek(SeekFrom::Start(0)).map_err(io_error(shown))?;
    let mut unpacker = Unpacker {
        archive,
        shown: shown.display().to_string(),
        folder,
        temporary: &temporary,
        room: archive.max_bytes,
        names: MAX_NAMES,
        found: false,
        files: Vec::new(),
        list: List::new(archive, folder),
        report,
    };
    let written = unpacker
        .all(file)
        .and_then(|()| sync(&unpacker.files))
        .and_then(|()| unpacker.list.write())
        .and_then(|()| fs::rename(&temporary, &target).map_err(io_error(&target)));
    written.inspect_err(|_| {
        // The first error is the one to report.
        let _ = remove(&temporary);
    })
}

/// Flushes files to the disk on several threads, so that they share the writes of the file system.
fn sync(files: &[(PathBuf, PathBuf)]) -> Result<(), Error> {
    let flush = |(file, named): &(PathBuf, PathBuf)| {
        let file = OpenOptions::new().write(true).open(file);
        file.and_then(|file| file.sync_all()).map_err(io_error(named))
    };
    thread::scope(|scope| {
        let mut running = Vec::new();
        for part in files.chunks(files.len().div_ceil(SYNCS).max(1)) {
            let run = move || part.iter().try_for_each(flush);
            let thread = thread::Builder::new().spawn_scoped(scope, run);
            running.push(thread.map_err(io_error(&part[0].1))?);
        }
        let end = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        running.into_iter().try_for_each(end)
    })
}

struct Unpacker<'a, 'b> {
    archive: &'a Archive,
    shown: String,
    folder: &'a Path,
    temporary: &'a Path,
    /// Number of bytes that may still be written.
    room: u64,
    /// Memory in bytes that the names of further entries may take.
    names: u64,
    found: bool,
    /// Written files, with their final names.
    files: Vec<(PathBuf, PathBuf)>,
    list: List,
    report: &'a mut Reporter<'b>,
}

impl Unpacker<'_, '_> {
    fn all(&mut self, file: &File) -> Result<(), Error> {
        let file = BufReader::with_capacity(BLOCK, file);
        if self.is_folder() {
            self.create_folder(Path::new(""))?;
        }
        match self.archive.form {
            Form::Kept => Ok(()),
            Form::Gzip => {
                let name = self.archive.to.as_bytes();
                self.entry(name, Kind::File, &mut MultiGzDecoder::new(file))
            }
            Form::Zip { .. } => self.zip(file),
            Form::TarGzip { .. } => {
                let mut stream = MultiGzDecoder::new(file).take(self.archive.max_bytes + 1);
                let unpacked = self.tar(&mut stream);
                if stream.limit() == 0 { Err(self.archive.too_large()) } else { unpacked }
            }
        }?;
        if self.found || self.is_folder() {
            return Ok(());
        }
        Err(self.damaged(format!("holds no file named {}", self.archive.to)))
    }

    fn zip(&mut self, file: BufReader<&File>) -> Result<(), Error> {
        let mut zip = ZipArchive::new(file).map_err(|e| self.damaged(e))?;
        for i in 0..zip.len() {
            let mut entry = zip.by_index(i).map_err(|e| self.damaged(e))?;
            let name = entry.name().map_err(|e| self.damaged(e))?.into_owned();
            let kind = match entry.unix_mode().unwrap_or(0) & 0o170_000 {
                0o120_000 => Kind::Link,
                _ if entry.is_dir() => Kind::Folder,
                0 | 0o100_000 => Kind::File,
                _ => Kind::Special,
            };
            self.entry(name.as_bytes(), kind, &mut entry)?;
        }
        Ok(())
    }

    fn tar(&mut self, stream: &mut dyn Read) -> Result<(), Error> {
        let mut tar = tar::Archive::new(&mut *stream);
        let mut long_name = None;
        // Otherwise the crate reads an extended header of any size into memory.
        for entry in tar.entries().map_err(|e| self.damaged(e))?.raw(true) {
            let mut entry = entry.map_err(|e| self.damaged(e))?;
            let kind = match entry.header().entry_type() {
                EntryType::XGlobalHeader => continue,
                EntryType::GNULongName => {
                    let mut name = self.extended(&mut entry)?;
                    name.truncate(name.iter().position(|&b| b == 0).unwrap_or(name.len()));
                    long_name = Some(name);
                    continue;
                }
                EntryType::XHeader => {
                    let header = self.extended(&mut entry)?;
                    long_name = self.pax_path(&header)?.or(long_name);
                    continue;
                }
                EntryType::Directory => Kind::Folder,
                EntryType::Regular if entry.path_bytes().ends_with(b"/") => Kind::Folder,
                EntryType::Regular | EntryType::Continuous => Kind::File,
                EntryType::Symlink | EntryType::Link | EntryType::GNULongLink => Kind::Link,
                _ => Kind::Special,
            };
            let name = long_name.take().unwrap_or_else(|| entry.path_bytes().into_owned());
            self.entry(&name, kind, &mut entry)?;
        }
        // Read to the end, which checks the checksum of the stream.
        io::copy(stream, &mut io::sink()).map_err(|e| self.damaged(e)).map(drop)
    }

    fn extended(&self, entry: &mut impl Read) -> Result<Vec<u8>, Error> {
        let mut header = Vec::new();
        let read = entry.take(MAX_HEADER + 1).read_to_end(&mut header);
        let len = read.map_err(|e| self.damaged(e))?;
        if len as u64 > MAX_HEADER {
            return Err(
                self.damaged(format!("has an extended header of more than {MAX_HEADER} bytes"))
            );
        }
        Ok(header)
    }

    /// The path in a pax header.
    fn pax_path(&self, header: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut path = None;
        for record in PaxExtensions::new(header) {
            let record = record.map_err(|e| self.damaged(e))?;
            match record.key_bytes() {
                b"path" => path = Some(record.value_bytes().to_vec()),
                // These change the size or the contents of the next entry.
                key if key == b"size" || key.starts_with(b"GNU.sparse") => {
                    let key = String::from_utf8_lossy(key);
                    return Err(self.damaged(format!(
                        "has an extended header with {key}, which is not supported"
                    )));
                }
                _ => {}
            }
        }
        Ok(path)
    }

    fn entry(&mut self, name: &[u8], kind: Kind, from: &mut dyn Read) -> Result<(), Error> {
        let bad = |problem| {
            let name = String::from_utf8_lossy(&name[..name.len().min(200)]);
            Error::value(&self.shown, "entry", name.escape_debug(), problem)
        };
        let path = paths::inside(name).map_err(bad)?;
        let [name_bytes, folder_bytes] =
            [name.len(), self.folder.as_os_str().len()].map(|len| len as u64);
        let room = self.names.checked_sub(ENTRY + 3 * name_bytes + 2 * folder_bytes);
        self.names = room.ok_or_else(|| self.damaged("holds too many files"))?;
        match kind {
            Kind::Link => Err(bad("is a link")),
            Kind::Special => Err(bad("is neither a file nor a folder")),
            Kind::Folder if self.is_folder() => self.create_folder(&path),
            Kind::File if self.is_folder() => {
                if path.as_os_str().is_empty() {
                    return Err(bad("has no name"));
                }
                self.create_folder(path.parent().unwrap_or(Path::new("")))?;
                let (below, listed) = (self.temporary.join(&path), self.listed(&path));
                self.write(&below, &listed, from)
            }
            Kind::File if path.file_name() == Some(self.archive.to.as_ref()) => {
                if self.found {
                    return Err(bad("occurs twice"));
                }
                self.found = true;
                self.write(self.temporary, &self.archive.to, from)
            }
            Kind::File | Kind::Folder => Ok(()),
        }
    }

    fn is_folder(&self) -> bool {
        let form = self.archive.form;
        matches!(form, Form::Zip { folder: true } | Form::TarGzip { folder: true })
    }

    fn create_folder(&self, path: &Path) -> Result<(), Error> {
        let made = fs::create_dir_all(self.temporary.join(path));
        made.map_err(io_error(&self.folder.join(&self.archive.to).join(path)))
    }

    /// The path of an entry in the list of sums.
    fn listed(&self, path: &Path) -> String {
        let parts = path.iter().map(|part| part.to_string_lossy());
        parts.fold(self.archive.to.clone(), |whole, part| whole + "/" + &part)
    }

    fn write(&mut self, path: &Path, listed: &str, from: &mut dyn Read) -> Result<(), Error> {
        let named = self.folder.join(listed);
        let mut file = File::create_new(path).map_err(io_error(&named))?;
        let (mut sum, mut block) = (Sum::default(), vec![0; BLOCK]);
        loop {
            let n = match from.read(&mut block) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.damaged(format!("{listed}: {e}"))),
            };
            self.room = self.room.checked_sub(n as u64).ok_or_else(|| self.archive.too_large())?;
            file.write_all(&block[..n]).map_err(io_error(&named))?;
            sum.update(&block[..n]);
            self.report.advance(n);
        }
        self.files.push((path.into(), named));
        self.list.push(listed, &sum);
        Ok(())
    }

    fn damaged(&self, reason: impl ToString) -> Error {
        Error::format(&self.shown, reason)
    }
}
