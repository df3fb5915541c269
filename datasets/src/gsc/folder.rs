use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::folders::{Tree, error, nfc, walk};
use crate::{Error, bytes};

/// Name of the folder in the published archive.
const ARCHIVE: &str = "speech_commands_v0.02";
const LISTS: [&str; 2] = ["validation_list.txt", "testing_list.txt"];

/// A recording.
pub(super) struct Item {
    /// Path below the folder, as the file system has it.
    pub(super) path: String,
    /// The same path in the form in which names are compared.
    pub(super) name: String,
    /// Word.
    pub(super) class: u16,
}

/// The contents of a folder of word folders.
pub(super) struct Folder {
    /// Path of the folder.
    pub(super) path: PathBuf,
    /// The words, sorted. They are the classes.
    pub(super) words: Vec<String>,
    /// Recordings to train on, to validate on and to test on, each sorted by word and name.
    pub(super) parts: [Vec<Item>; 3],
    /// Number of recordings that the lists name and the folder does not hold.
    pub(super) missing: usize,
}

impl Folder {
    /// Lists the folder `speech_commands_v0.02`, or a folder that contains it.
    pub(super) fn list(folder: &Path) -> Result<Self, Error> {
        let archive = folder.join(ARCHIVE);
        let path = if archive.is_dir() { archive } else { folder.into() };
        let Tree { files, without_sound, skipped } = walk(&path)?;
        if let Some(error) = skipped.into_iter().next() {
            return Err(error);
        }
        if let Some(folder) = without_sound.iter().find(|folder| folder.names.len() == 1) {
            return Err(error(
                &path.join(&folder.path),
                "holds no sound file; every folder is a class",
            ));
        }
        let (mut words, mut items) = (Vec::<String>::new(), Vec::new());
        for file in files.into_iter().filter(|file| file.names.len() == 2) {
            if words.last() != Some(&file.names[0]) {
                words.push(file.names[0].clone());
            }
            let class = u16::try_from(words.len() - 1)
                .map_err(|_| error(&path, "holds more than 65536 classes"))?;
            items.push(Item { name: file.name(), path: file.path, class });
        }
        if items.is_empty() {
            let problem =
                format!("holds no recordings; pass {ARCHIVE} or the folder that contains it");
            return Err(error(&path, problem));
        }
        let (parts, missing) = divide(&path, items)?;
        Ok(Self { path, words, parts, missing })
    }

    /// All recordings, one part after another.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.parts.iter().flatten()
    }

    /// Names, sizes and modification times (ns since 1970) of all recordings, as text.
    pub(super) fn manifest(&self) -> Result<String, Error> {
        let line = |item: &Item| {
            let path = self.path.join(&item.path);
            let io = |error| Error::Io { file: path.display().to_string(), error };
            let about = path.metadata().map_err(io)?;
            let changed = about.modified().map_err(io)?.duration_since(UNIX_EPOCH);
            let changed = changed.map_or(0, |time| time.as_nanos());
            Ok(format!("{} {} {changed}\n", item.path, about.len()))
        };
        self.items().map(line).collect()
    }
}

/// Divides the recordings by the lists, and counts those that are missing.
fn divide(path: &Path, items: Vec<Item>) -> Result<([Vec<Item>; 3], usize), Error> {
    let mut missing = HashSet::new();
    let mut part_of: HashMap<&str, usize> = items.iter().map(|i| (i.name.as_str(), 0)).collect();
    for (n, list) in LISTS.iter().enumerate() {
        let list = path.join(list);
        let text = String::from_utf8(bytes::read(&list)?).map_err(|e| error(&list, e))?;
        let text = nfc(&text.trim_start_matches('\u{feff}').replace('\\', "/"));
        let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty());
        for (at, line) in lines {
            match part_of.get_mut(line) {
                Some(part @ 0) => *part = n + 1,
                Some(_) => {
                    let (list, field) = (list.display().to_string(), format!("line {}", at + 1));
                    return Err(Error::value(&list, field, line, "is listed twice"));
                }
                None => {
                    missing.insert(line.to_string());
                }
            }
        }
    }
    let part_of: Vec<usize> = items.iter().map(|item| part_of[item.name.as_str()]).collect();
    let mut parts = [const { Vec::new() }; 3];
    part_of.into_iter().zip(items).for_each(|(part, item)| parts[part].push(item));
    Ok((parts, missing.len()))
}
