use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::{io_error, paths};
use crate::Error;

const EMBEDDED: &str = include_str!("../../data/sources.toml");
/// Largest size of a list in bytes. Parsed, it can take 500 times as much memory.
const MAX_TEXT: usize = 64 << 10;
/// Largest `max_mib`: a TiB.
const MAX_MIB: u64 = 1 << 20;

/// The archives of each data set, from a TOML file in the format of `data/sources.toml`.
#[derive(Clone, Debug)]
pub struct Sources {
    file: String,
    sets: BTreeMap<String, Vec<Archive>>,
}

/// A published archive.
#[derive(Clone, Debug)]
pub struct Archive {
    pub(super) url: String,
    /// Lowercase hexadecimal.
    pub(super) md5: String,
    /// The last component of the path in the URL.
    pub(super) name: String,
    /// Name of the resulting file or folder, a single component.
    pub(super) to: String,
    pub(super) form: Form,
    /// Size limit of the archive and of its contents, in bytes.
    pub(super) max_bytes: u64,
}

/// How the result is made from an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Kept,
    Gzip,
    Zip { folder: bool },
    TarGzip { folder: bool },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    url: String,
    md5: String,
    to: String,
    max_mib: u64,
}

impl Sources {
    /// The archives of `shd`, `ssc` and `gsc` as their authors publish them.
    ///
    /// # Errors
    /// None, because the embedded list is valid.
    pub fn embedded() -> Result<Self, Error> {
        Self::from_toml(EMBEDDED, "sources.toml")
    }

    /// Reads a list of archives.
    ///
    /// # Errors
    /// The file cannot be read or has another format, or an entry is invalid.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (path, shown) = (path.as_ref(), path.as_ref().display().to_string());
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_TEXT as u64 + 1).read_to_string(&mut text))
            .map_err(io_error(path))?;
        Self::from_toml(&text, &shown)
    }

    /// Reads the text of a list. Error messages name it `file`.
    ///
    /// # Errors
    /// The same as for [`Sources::read`], except that no file is opened.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            let problem = format!("is above {MAX_TEXT}, the limit of a list");
            return Err(Error::value(file, "bytes", text.len(), problem));
        }
        let parsed: BTreeMap<String, Vec<Entry>> = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |at| 1 + text[..at.start].matches('\n').count());
            Error::format(&format!("{file}:{line}"), e.message())
        })?;
        let mut sets = BTreeMap::new();
        for (name, entries) in parsed {
            let archive = |(i, entry)| Archive::new(entry, file, &format!("{name}[{i}]"));
            let archives =
                entries.into_iter().enumerate().map(archive).collect::<Result<Vec<_>, _>>()?;
            distinct(&archives, file, &name)?;
            sets.insert(name, archives);
        }
        Ok(Self { file: file.into(), sets })
    }

    /// The archives of a data set.
    ///
    /// # Errors
    /// The list has no data set of this name.
    pub fn archives(&self, name: &str) -> Result<&[Archive], Error> {
        self.sets.get(name).map(Vec::as_slice).ok_or_else(|| {
            let known: Vec<_> = self.sets.keys().map(String::as_str).collect();
            let problem = format!("is not one of {}", known.join(", "));
            Error::value(&self.file, "data set", name, problem)
        })
    }
}

fn distinct(archives: &[Archive], file: &str, set: &str) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for (i, archive) in archives.iter().enumerate() {
        for (field, name) in archive.names() {
            if !seen.insert(name.clone()) {
                let problem = "is already the name of another file";
                return Err(Error::value(file, format!("{set}[{i}].{field}"), name, problem));
            }
        }
    }
    Ok(())
}

impl Archive {
    fn new(entry: Entry, file: &str, place: &str) -> Result<Self, Error> {
        let Entry { url, md5, to, max_mib } = entry;
        let value = |field: &str, value: &str, problem: &str| {
            Error::value(file, format!("{place}.{field}"), value, problem)
        };
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err(value("url", &url, "does not begin with http:// or https://"));
        }
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default().to_string();
        if !paths::is_name(&name) || path.matches('/').count() < 3 {
            return Err(value("url", &url, "does not end in the name of a file"));
        }
        let md5 = md5.to_ascii_lowercase();
        if md5.len() != 32 || !md5.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(value("md5", &md5, "is not 32 hexadecimal digits"));
        }
        let (bare, folder) = to.strip_suffix('/').map_or((to.as_str(), false), |to| (to, true));
        if !paths::is_name(bare) {
            return Err(value(
                "to",
                &to,
                "is not the name of a file, or of a folder followed by \"/\"",
            ));
        }
        let form = if to == name {
            Form::Kept
        } else if name.ends_with(".tar.gz") {
            Form::TarGzip { folder }
        } else if name.ends_with(".zip") {
            Form::Zip { folder }
        } else if name.ends_with(".gz") && !folder {
            Form::Gzip
        } else {
            let problem = format!("is not a possible result of unpacking {name}");
            return Err(value("to", &to, &problem));
        };
        if !(1..=MAX_MIB).contains(&max_mib) {
            let problem = format!("is not between 1 and {MAX_MIB}");
            return Err(value("max_mib", &max_mib.to_string(), &problem));
        }
        let to = bare.to_string();
        Ok(Self { url, md5, name, to, form, max_bytes: max_mib << 20 })
    }

    /// The names of all files that fetching can write, with the fields they come from.
    fn names(&self) -> Vec<(&'static str, String)> {
        let mut names = vec![("url", self.name.clone()), ("url", format!("{}.part", self.name))];
        if self.form != Form::Kept {
            names.extend([("to", self.to.clone()), ("to", format!("{}.md5", self.to))]);
        }
        names
    }

    /// Name of the resulting file or folder.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// Name of the archive, the last component of its URL.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The error if the archive or its contents exceed the limit.
    pub(super) fn too_large(&self) -> Error {
        let problem = format!("is too small for {}", self.name);
        Error::value(&self.url, "max_mib", self.max_bytes >> 20, problem)
    }
}
