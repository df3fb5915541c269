//! MD5 sums of files, and lists of them beside what was unpacked.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

use super::{Archive, Form, Reporter, Stage, failed, paths};
use crate::{Error, bytes};

/// Bytes read or written at once.
pub(super) const BLOCK: usize = 1 << 16;
/// Bound of a list of sums in bytes.
pub(super) const MAX_LIST: u64 = 64 << 20;

/// Removes a file, or a folder with all that is in it, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// A sum in the making.
#[derive(Clone, Default)]
pub(super) struct Sum(Md5);

impl Sum {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The sum so far in lowercase hexadecimal.
    pub(super) fn hex(&self) -> String {
        self.0.clone().finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Takes all that is left to read, and says how much that was.
    pub(super) fn read(
        &mut self,
        mut from: impl Read,
        report: &mut Reporter<'_>,
    ) -> std::io::Result<u64> {
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

fn of_file(path: &Path, report: &mut Reporter<'_>) -> Result<String, Error> {
    of_open(&File::open(path).map_err(failed(path))?, path, report)
}

fn of_open(file: &File, path: &Path, report: &mut Reporter<'_>) -> Result<String, Error> {
    let mut sum = Sum::default();
    sum.read(file, report).map_err(failed(path))?;
    Ok(sum.hex())
}

/// Whether what the archive leaves is in the folder already.
///
/// # Errors
/// Something of that name is, but not with the sums it should have.
pub(super) fn present(
    archive: &Archive,
    folder: &Path,
    report: &mut Reporter<'_>,
) -> Result<bool, Error> {
    let target = folder.join(&archive.to);
    if !is_there(&target)? {
        return Ok(false);
    }
    report.begin(Stage::Check, 0, None);
    if archive.form == Form::Kept {
        let file = File::open(&target).map_err(failed(&target))?;
        return check_archive(archive, &target, &file, report).map(|()| true);
    }
    match List::read(archive, folder)? {
        Some(list) => list.check(folder, &archive.to, report).map(|()| true),
        None => {
            let list = List::path(archive, folder);
            let problem = format!(
                "is there, and no {} of {} to check it by; move it away to have it fetched",
                list.file_name().unwrap_or_default().display(),
                archive.name
            );
            Err(Error::format(&target.display().to_string(), problem))
        }
    }
}

/// Whether anything has that name, be it a link to nowhere.
pub(super) fn is_there(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(failed(path)(e)),
    }
}

/// Checks that a file, open at `file`, is the archive.
///
/// # Errors
/// It is not.
pub(super) fn check_archive(
    archive: &Archive,
    path: &Path,
    file: &File,
    report: &mut Reporter<'_>,
) -> Result<(), Error> {
    let found = of_open(file, path, report)?;
    if found == archive.md5 {
        return Ok(());
    }
    let Archive { name, md5, .. } = archive;
    let problem = format!("is not that of {name}, {md5}; move it away to have it fetched");
    Err(Error::value(&path.display().to_string(), "MD5", found, problem))
}

/// Checks that nothing but another list lies where the list of an archive will be.
pub(super) fn check_place(archive: &Archive, folder: &Path) -> Result<(), Error> {
    let path = List::path(archive, folder);
    if !is_there(&path)? {
        return Ok(());
    }
    let mut head = [0; 34];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut head));
    let is_sum = |sum: &[u8]| sum.iter().all(u8::is_ascii_hexdigit);
    if read.is_ok() && head.strip_prefix(b"# ").is_some_and(is_sum) {
        return Ok(());
    }
    let problem = "is there, and not a list of sums of an archive; move it away";
    Err(Error::format(&path.display().to_string(), problem))
}

/// The sums of what was unpacked, in the form of `md5sum`; the first line names the archive.
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

    /// A list without files.
    pub(super) fn new(archive: &Archive, folder: &Path) -> Self {
        Self { path: Self::path(archive, folder), text: Self::head(archive) }
    }

    /// Adds a file, at a path below the folder that the list is in.
    pub(super) fn push(&mut self, path: &str, sum: &Sum) {
        self.text += &format!("{}  {path}\n", sum.hex());
    }

    /// Writes the list, complete or not at all.
    pub(super) fn write(&self) -> Result<(), Error> {
        bytes::replace(&self.path, |out| out.write_all(self.text.as_bytes()))
            .map_err(failed(&self.path))
    }

    /// The list that an unpacking of this archive left; `None` where there is none.
    fn read(archive: &Archive, folder: &Path) -> Result<Option<Self>, Error> {
        let path = Self::path(archive, folder);
        if !is_there(&path)? {
            return Ok(None);
        }
        let mut text = String::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_LIST).read_to_string(&mut text))
            .map_err(failed(&path))?;
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
                    "is not a sum and a file",
                ));
            };
            let path = folder.join(path);
            let file = path.display().to_string();
            let remedy = format!("move {to} away to have it fetched");
            if !is_there(&path)? {
                return Err(Error::format(
                    &file,
                    format!("is in {shown}, and not there; {remedy}"),
                ));
            }
            let found = of_file(&path, report)?;
            if found != sum {
                let problem = format!("is not {sum}, as {shown} has it; {remedy}");
                return Err(Error::value(&file, "MD5", found, problem));
            }
        }
        Ok(())
    }
}
