//! Folders of wav files. Each folder is a class.

use std::path::Path;

use crate::Error;

/// A recording.
pub(crate) struct Item {
    /// Path `class/name.wav`.
    pub(crate) name: String,
    /// Class.
    pub(crate) class: u16,
}

/// Lists the folders that hold wav files, sorted by name, and these files, sorted by folder and
/// name. Skips folders whose names begin with `_` or `.`, empty folders, and files whose names
/// begin with `.`.
///
/// # Errors
/// A folder cannot be read or holds files but no wav file, a name is not UTF-8, or there are more
/// than 65,536 classes.
pub(crate) fn list(path: &Path) -> Result<(Vec<String>, Vec<Item>), Error> {
    let (mut classes, mut items) = (Vec::new(), Vec::new());
    for class in names(path)? {
        let folder = path.join(&class);
        if class.starts_with(['_', '.']) || !folder.is_dir() {
            continue;
        }
        let mut wavs = names(&folder)?;
        wavs.retain(|name| !name.starts_with('.'));
        if wavs.is_empty() {
            continue;
        }
        wavs.retain(|name| is_wav(name));
        if wavs.is_empty() {
            return Err(error(&folder, "holds no wav file; every folder is a class"));
        }
        let n = u16::try_from(classes.len())
            .map_err(|_| error(path, "holds more than 65536 classes"))?;
        items.extend(wavs.iter().map(|name| Item { name: format!("{class}/{name}"), class: n }));
        classes.push(class);
    }
    Ok((classes, items))
}

fn is_wav(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("wav"))
}

/// The names in a folder, sorted.
fn names(path: &Path) -> Result<Vec<String>, Error> {
    let io = |error| Error::Io { file: path.display().to_string(), error };
    let mut names = Vec::new();
    for entry in path.read_dir().map_err(io)? {
        let name = entry.map_err(io)?.file_name().into_string();
        names.push(name.map_err(|n| error(path, format!("the name {n:?} is not UTF-8")))?);
    }
    names.sort_unstable();
    Ok(names)
}

/// An error about a path.
pub(crate) fn error(path: &Path, reason: impl ToString) -> Error {
    Error::format(&path.display().to_string(), reason)
}
