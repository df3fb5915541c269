//! Folders of wav files, a folder a class.

use std::path::Path;

use crate::Error;

/// A recording.
pub(crate) struct Item {
    /// `class/name.wav`.
    pub(crate) name: String,
    /// Its class.
    pub(crate) class: u16,
}

/// The names of the folders that hold wav files, sorted, and these files, by folder and name. Folders that begin with `_`
/// or `.`, empty folders and files that begin with `.` do not count.
///
/// # Errors
/// A folder cannot be read or holds other things only, a name is not UTF-8, or there are more than 65536 classes.
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
            return Err(error(&folder, "holds no wav file; a folder is a class"));
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

/// Names in a folder, sorted.
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

/// An error of a path as a whole.
pub(crate) fn error(path: &Path, reason: impl ToString) -> Error {
    Error::format(&path.display().to_string(), reason)
}
