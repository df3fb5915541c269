use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::{error, nfc};
use crate::Error;

/// Extensions of sound files. Those that cannot be read are listed too, so that none is left out
/// without a reason.
const SOUND: [&str; 23] = [
    "wav", "wave", "flac", "ogg", "oga", "3gp", "aac", "aif", "aifc", "aiff", "amr", "au", "caf",
    "m4a", "mp3", "mp4", "mpga", "opus", "sph", "w64", "webm", "wma", "wv",
];

/// A file or a folder below a folder.
pub(crate) struct File {
    /// Its path as the file system has it, with `/` between names.
    pub(crate) path: String,
    /// The names in its path, in the form in which names are compared.
    pub(crate) names: Vec<String>,
}

impl File {
    /// The path of names.
    pub(crate) fn name(&self) -> String {
        self.names.join("/")
    }

    /// The name without the folders.
    pub(super) fn last(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }
}

/// The sound files below a folder.
#[derive(Default)]
pub(crate) struct Tree {
    /// The files whose names are those of sound, sorted by folder and name.
    pub(crate) files: Vec<File>,
    /// The folders that hold other files only, unless their parent does too; sorted.
    pub(crate) without_sound: Vec<File>,
    /// Why files were left out.
    pub(crate) skipped: Vec<Error>,
}

/// Lists the sound files below a folder. Folders whose names begin with `_` or `.`, files whose
/// names begin with `.`, empty folders, and other files are ignored. A link to a folder that holds
/// it is not followed.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn walk(path: &Path) -> Result<Tree, Error> {
    let mut tree = Tree::default();
    tree.add(path, &File { path: String::new(), names: Vec::new() }, &mut Vec::new())?;
    tree.files.sort_by(|a, b| (&a.names, &a.path).cmp(&(&b.names, &b.path)));
    tree.without_sound.sort_by(|a, b| a.names.cmp(&b.names));
    Ok(tree)
}

impl Tree {
    fn add(&mut self, root: &Path, folder: &File, above: &mut Vec<PathBuf>) -> Result<(), Error> {
        let path = root.join(&folder.path);
        let io = |error| Error::Io { file: path.display().to_string(), error };
        let itself = path.canonicalize().map_err(io)?;
        if above.contains(&itself) {
            return Ok(());
        }
        above.push(itself);
        let (files, silent) = (self.files.len(), self.without_sound.len());
        let mut is_empty = true;
        for entry in path.read_dir().map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(name) => {
                    self.skipped.push(error(&path, format!("the name {name:?} is not UTF-8")));
                    continue;
                }
            };
            let is_folder = is_folder(&entry);
            if name.starts_with('.') || (is_folder && name.starts_with('_')) {
                continue;
            }
            is_empty = false;
            let names = folder.names.iter().cloned().chain([nfc(&name)]).collect();
            let file = match folder.path.as_str() {
                "" => File { path: name, names },
                parent => File { path: format!("{parent}/{name}"), names },
            };
            if is_folder {
                self.add(root, &file, above)?;
            } else if is_sound(&file.path) {
                // Opening a pipe would wait for ever.
                let kind = entry.file_type().map_err(io)?;
                if kind.is_file() || kind.is_symlink() {
                    self.files.push(file);
                } else {
                    self.skipped.push(error(&root.join(&file.path), "is not a file"));
                }
            }
        }
        above.pop();
        if !is_empty && self.files.len() == files && !folder.names.is_empty() {
            self.without_sound.truncate(silent);
            let File { path, names } = folder;
            self.without_sound.push(File { path: path.clone(), names: names.clone() });
        }
        Ok(())
    }
}

/// Whether an entry is a folder or a link to one.
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if !kind.is_symlink() => kind.is_dir(),
        _ => entry.path().is_dir(),
    }
}

/// Whether a name is that of a sound file.
pub(crate) fn is_sound(name: &str) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|extension| SOUND.iter().any(|s| extension.eq_ignore_ascii_case(s)))
}

/// A name without the extension of a sound file.
pub(super) fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, _)) if is_sound(name) => stem,
        _ => name,
    }
}
