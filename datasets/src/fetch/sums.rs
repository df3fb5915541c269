//! MD5 sums of files, and the lists of sums next to unpacked files.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use super::{Archive, Form, Reporter, Stage, io_error, paths};
use crate::{Error, bytes};

/// Number of bytes read or written at once.
pub(super) const BLOCK: usize = 1 << 16;
/// Largest size of a list of sums in bytes.
pub(super) const MAX_LIST: u64 = 64 << 20;

/// Removes a file, or a folder with its contents, if it exists.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// The MD5 sum of a stream of bytes.
#[derive(Clone, Default)]
pub(super) struct Sum(Md5);

impl Sum {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum of the bytes so far, in lowercase hexadecimal.
    pub(super) fn hex(&self) -> String {
        self.0.clone().finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Adds the rest of a stream and returns its length.
    pub(super) fn read(
        &mut self,
        mut from: impl Read,
        report: &mut Reporter<'_>,
    ) -> io::Result<u64> {
        let (mut block, mut done) = (vec![0; BLOCK], 0);
        loop {
            match from.read(&mut block) {
                Ok(0) => return Ok(done),
                Ok(n) => {
                    self.update(&block[..n]);
                    done += n as u64;
                    report.advance(n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

fn sum_of_path(path: &Path, report: &mut Reporter<'_>) -> Result<String, Error> {
    sum_of_file(&File::open(path).map_err(io_error(path))?, path, report)
}

fn sum_of_file(file: &File, path: &Path, report: &mut Reporter<'_>) -> Result<String, Error> {
    let mut sum = Sum::default();
    sum.read(file, report).map_err(io_error(path))?;
    Ok(sum.hex())
}

/// `true` if the result of the archive is in the folder already.
///
/// # Errors
/// Something of that name is there with other sums.
pub(super) fn is_present(
    archive: &Archive,
    folder: &Path,
    report: &mut Reporter<'_>,
) -> Result<bool, Error> {
    let target = folder.join(&archive.to);
    if !exists(&target)? {
        return Ok(false);
    }
    report.begin(Stage::Check, 0, None);
    if archive.form == Form::Kept {
        let file = File::open(&target).map_err(io_error(&target))?;
        return check_archive(archive, &target, &file, report).map(|()| true);
    }
    match List::read(archive, folder)? {
        Some(list) => list.check(folder, &archive.to, report).map(|()| true),
        None => {
            let list = List::path(archive, folder);
            let problem = format!(
                "exists without the {} of {} to check it; move it away to download it again",
                list.file_name().unwrap_or_default().display(),
                archive.name
            );
            Err(Error::format(&target.display().to_string(), problem))
        }
    }
}

/// `true` if the path exists, even as a broken link.
pub(super) fn exists(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io_error(path)(e)),
    }
}

/// Checks that `file` is the archive.
///
/// # Errors
/// It has another sum.
pub(super) fn check_archive(
    archive: &Archive,
    path: &Path,
    file: &File,
    report: &mut Reporter<'_>,
) -> Result<(), Error> {
    let found = sum_of_file(file, path, report)?;
    if found == archive.md5 {
        return Ok(());
    }
    let Archive { name, md5, .. } = archive;
    let problem = format!("is not {md5}, that of {name}; move the file away to download it");
    Err(Error::value(&path.display().to_string(), "MD5", found, problem))
}

/// Checks that the path of the list of sums is free or holds a list of sums.
pub(super) fn check_place(archive: &Archive, folder: &Path) -> Result<(), Error> {
    let path = List::path(archive, folder);
    if !exists(&path)? {
        return Ok(());
    }
    let mut head = [0; 34];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut head));
    let is_sum = |sum: &[u8]| sum.iter().all(u8::is_ascii_hexdigit);
    if read.is_ok() && head.strip_prefix(b"# ").is_some_and(is_sum) {
        return Ok(());
    }
    let problem = "exists and is not a list of sums of an archive; move it away";
    Err(Error::format(&path.display().to_string(), problem))
}

/// The sums of unpacked files in the format of `md5sum`. The first line names the archive.
pub(super) struct List {
    path: PathBuf,
    text: String,
}

impl List {
    fn path(archive: &Archive, folder: &Path) -> PathBuf {
        folder.join(format!("{}.md5", archive.to))
    }

    fn head(archive: &Archive) -> String {
        format!("# {} {}\n", archive.md5, archive.name)
    }

    /// Makes a list without files.
    pub(super) fn new(archive: &Archive, folder: &Path) -> Self {
        Self { path: Self::path(archive, folder), text: Self::head(archive) }
    }

    /// Adds a file at a path relative to the folder of the list.
    pub(super) fn push(&mut self, path: &str, sum: &Sum) {
        self.text += &format!("{}  {path}\n", sum.hex());
    }

    /// Writes the list, complete or not at all.
    pub(super) fn write(&self) -> Result<(), Error> {
        bytes::replace(&self.path, |out| out.write_all(self.text.as_bytes()))
            .map_err(io_error(&self.path))
    }

    /// The list that was written when this archive was unpacked, if there is one.
    fn read(archive: &Archive, folder: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(archive, folder);
        if !exists(&path)? {
            return Ok(None);
        }
        let mut text = String::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_LIST).read_to_string(&mut text))
            .map_err(io_error(&path))?;
        Ok(text.starts_with(&Self::head(archive)).then_some(Self { path, text }))
    }

    fn check(&self, folder: &Path, to: &str, report: &mut Reporter<'_>) -> Result<(), Error> {
        let shown = self.path.display().to_string();
        for (n, line) in self.text.lines().enumerate().skip(1) {
            let listed = line
                .split_once("  ")
                .and_then(|(sum, path)| Some((sum, paths::inside(path.as_bytes()).ok()?)));
            let Some((sum, path)) = listed else {
                return Err(Error::format(
                    &format!("{shown}:{}", n + 1),
                    "is not a sum followed by a file name",
                ));
            };
            let path = folder.join(path);
            let file = path.display().to_string();
            let remedy = format!("move {to} away to download it again");
            if !exists(&path)? {
                return Err(Error::format(
                    &file,
                    format!("is listed in {shown}, but does not exist; {remedy}"),
                ));
            }
            let found = sum_of_path(&path, report)?;
            if found != sum {
                let problem = format!("is not {sum}, the sum in {shown}; {remedy}");
                return Err(Error::value(&file, "MD5", found, problem));
            }
        }
        Ok(())
    }
}
