//! Folders of sound files. Each folder is a class.

use std::path::Path;

use crate::Error;

/// Extensions of sound files. Those that cannot be read are listed too, so that none is left out
/// without a reason.
const SOUND: [&str; 23] = [
    "wav", "wave", "flac", "ogg", "oga", "3gp", "aac", "aif", "aifc", "aiff", "amr", "au", "caf",
    "m4a", "mp3", "mp4", "mpga", "opus", "sph", "w64", "webm", "wma", "wv",
];

/// A recording.
pub(crate) struct Item {
    /// Path `class/name.wav`.
    pub(crate) name: String,
    /// Class.
    pub(crate) class: u16,
}

/// The recordings in the folders of a folder.
pub(crate) struct Listing {
    /// Names of the folders, sorted. They are the classes.
    pub(crate) classes: Vec<String>,
    /// The files whose names are those of sound, sorted by folder and name.
    pub(crate) items: Vec<Item>,
    /// Why folders or files were left out.
    pub(crate) skipped: Vec<Error>,
}

/// Lists the folders that hold sound files. Folders whose names begin with `_` or `.`, empty
/// folders, and other files are ignored.
///
/// # Errors
/// A folder cannot be read, or there are more than 65,536 classes.
pub(crate) fn list(path: &Path) -> Result<Listing, Error> {
    let (mut classes, mut items, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for class in names(path, &mut skipped)? {
        let folder = path.join(&class);
        if class.starts_with(['_', '.']) || !folder.is_dir() {
            continue;
        }
        let mut files = names(&folder, &mut skipped)?;
        files.retain(|name| !name.starts_with('.'));
        if files.is_empty() {
            continue;
        }
        files.retain(|name| is_sound(name));
        if files.is_empty() {
            skipped.push(error(&folder, "holds no sound file; every folder is a class"));
            continue;
        }
        let n = u16::try_from(classes.len())
            .map_err(|_| error(path, "holds more than 65536 classes"))?;
        items.extend(files.iter().map(|name| Item { name: format!("{class}/{name}"), class: n }));
        classes.push(class);
    }
    Ok(Listing { classes, items, skipped })
}

pub(crate) fn is_sound(name: &str) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|extension| SOUND.iter().any(|s| extension.eq_ignore_ascii_case(s)))
}

/// The names in a folder, sorted.
fn names(path: &Path, skipped: &mut Vec<Error>) -> Result<Vec<String>, Error> {
    let io = |error| Error::Io { file: path.display().to_string(), error };
    let mut names = Vec::new();
    for entry in path.read_dir().map_err(io)? {
        match entry.map_err(io)?.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => skipped.push(error(path, format!("the name {name:?} is not UTF-8"))),
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// An error about a path.
pub(crate) fn error(path: &Path, reason: impl ToString) -> Error {
    Error::format(&path.display().to_string(), reason)
}
