//! Zip archives.

use std::io::{Cursor, Read};

use zip::ZipArchive;
use zip::result::ZipError;

use crate::Error;

/// Most names that a message lists.
const SHOWN: usize = 5;

/// Whether bytes are a zip archive, which may be empty.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

/// A zip archive in memory.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    source: &'a str,
    /// Index and name of every file, without those that an operating system adds.
    files: Vec<(usize, String)>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8], source: &'a str) -> Result<Self, Error> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(source, error))?;
        let names = zip.file_names_raw().map(|name| String::from_utf8_lossy(name).into_owned());
        let mut files: Vec<_> = names.enumerate().collect();
        let hidden = |name: &str| name.split('/').any(|p| p.starts_with('.') || p == "__MACOSX");
        files.retain(|(_, name)| !name.ends_with('/') && !hidden(name));
        Ok(Self { zip, source, files })
    }

    /// The contents of the only file, which has at most `room` bytes.
    pub(super) fn only_file(mut self, room: usize) -> Result<Vec<u8>, Error> {
        let [(index, _)] = self.files[..] else {
            let count = self.files.len();
            let names: Vec<_> = self.files.iter().take(SHOWN).map(|(_, name)| &**name).collect();
            let (names, more) = (names.join(", "), if count > SHOWN { ", ..." } else { "" });
            return Err(Error::format(
                self.source,
                match count {
                    0 => "is a zip archive without a file".into(),
                    _ => format!("is a zip archive of {count} files; unzip it: {names}{more}"),
                },
            ));
        };
        self.contents(index, room)
    }

    /// Whether all files are arrays of NumPy by their names.
    pub(super) fn holds_arrays(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|(_, name)| name.ends_with(".npy"))
    }

    pub(super) fn files(&self) -> &[(usize, String)] {
        &self.files
    }

    pub(super) fn file(&mut self, index: usize) -> Result<impl Read, Error> {
        self.zip.by_index(index).map_err(|error| damaged(self.source, error))
    }

    fn contents(&mut self, index: usize, room: usize) -> Result<Vec<u8>, Error> {
        let source = self.source;
        let mut file = self.file(index)?;
        let mut out = Vec::new();
        let read = file.by_ref().take(room as u64 + 1).read_to_end(&mut out);
        read.map_err(|error| damaged(source, error.into()))?;
        if out.len() > room {
            let reason = format!("zip archive holds more than {room} bytes; unzip it");
            return Err(Error::format(source, reason));
        }
        Ok(out)
    }
}

pub(super) fn damaged(source: &str, error: ZipError) -> Error {
    Error::format(source, format!("zip archive: {error}; unzip it, or download or copy it again"))
}
