use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::{failed, paths};
use crate::Error;

const EMBEDDED: &str = include_str!("../../data/sources.toml");
/// Most bytes of a list's text; parsed, it may take 500 times as many.
const MAX_TEXT: usize = 64 << 10;
/// Largest `max_mib`: a TiB.
const MAX_MIB: u64 = 1 << 20;

/// Which archives make which data set; a TOML file of the form of `data/sources.toml`.
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
    /// The last part of the address's path.
    pub(super) name: String,
    /// What it leaves in the folder: one component.
    pub(super) to: String,
    pub(super) form: Form,
    /// Bound of the archive and of what it unpacks to, in bytes.
    pub(super) max_bytes: u64,
}

/// How an archive becomes what it leaves.
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
    /// None: the embedded list is valid.
    pub fn embedded() -> Result<Self, Error> {
        Self::from_toml(EMBEDDED, "sources.toml")
    }

    /// Reads a list.
    ///
    /// # Errors
    /// The file cannot be read or has another form, or an entry is not one of an archive that can be fetched.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (path, shown) = (path.as_ref(), path.as_ref().display().to_string());
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_TEXT as u64 + 1).read_to_string(&mut text))
            .map_err(failed(path))?;
        Self::from_toml(&text, &shown)
    }

    /// [`Sources::read`] from the file's text; `file` names it in messages.
    ///
    /// # Errors
    /// As [`Sources::read`].
    pub fn from_toml(text: &str, file: &str) -> Result<Self, Error> {
        if text.len() > MAX_TEXT {
            let problem = format!("is above {MAX_TEXT}");
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
    /// There is no data set of that name.
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
                let problem = "is a name that has another use";
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
            return Err(value("to", &to, "is not the name of a file, or of a folder and \"/\""));
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
            let problem = format!("is not what {name} can be unpacked to");
            return Err(value("to", &to, &problem));
        };
        if !(1..=MAX_MIB).contains(&max_mib) {
            let problem = format!("is not between 1 and {MAX_MIB}");
            return Err(value("max_mib", &max_mib.to_string(), &problem));
        }
        let to = bare.to_string();
        Ok(Self { url, md5, name, to, form, max_bytes: max_mib << 20 })
    }

    /// Whatever fetching it may write into the folder, with the fields that name it.
    fn names(&self) -> Vec<(&'static str, String)> {
        let mut names = vec![("url", self.name.clone()), ("url", format!("{}.part", self.name))];
        if self.form != Form::Kept {
            names.extend([("to", self.to.clone()), ("to", format!("{}.md5", self.to))]);
        }
        names
    }

    /// What it leaves in the folder: the name of a file or of a folder.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// Its own name, the last part of its address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The failure of an archive, or a part of it, that exceeds its bound.
    pub(super) fn too_large(&self) -> Error {
        let problem = format!("is less than {} holds", self.name);
        Error::value(&self.url, "max_mib", self.max_bytes >> 20, problem)
    }
}
