//! Folders of sound files, and what they and their names say about recordings.

mod list;
mod pattern;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization as _;

use crate::{Error, Part};
pub use list::Columns;
use list::List;
pub use pattern::Pattern;
pub(crate) use tree::{File, Tree, is_sound, walk};

/// What says the class, the speaker and the part of recordings beside their folders.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// Pattern of the names of files.
    pub pattern: Option<Pattern>,
    /// Lists of files with their class, speaker and part: text of columns that commas, semicolons
    /// or tabs divide, with a header. Files that no list names are left out. Of several lists
    /// without a column of parts, such as `train.tsv` and `test.tsv`, each is the part after which
    /// it is named.
    pub lists: Vec<PathBuf>,
    /// The columns of the lists.
    pub columns: Columns,
}

/// What a folder, a name or a list says about a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    pub(crate) class: Option<String>,
    pub(crate) speaker: Option<String>,
    pub(crate) part: Option<Part>,
}

impl Facts {
    /// These facts, and others where these say nothing.
    fn or(self, other: Self) -> Self {
        Self {
            class: self.class.or(other.class),
            speaker: self.speaker.or(other.speaker),
            part: self.part.or(other.part),
        }
    }
}

/// A recording.
pub(crate) struct Item {
    pub(crate) file: File,
    pub(crate) class: String,
    pub(crate) speaker: Option<String>,
    pub(crate) part: Option<Part>,
}

/// The recordings below a folder.
#[derive(Default)]
pub(crate) struct Listing {
    /// Sorted by folder and name. All of them or none have a part.
    pub(crate) items: Vec<Item>,
    /// Why folders or files were left out.
    pub(crate) skipped: Vec<Error>,
    /// What is unusual, in a sentence each.
    pub(crate) notes: Vec<String>,
    /// Number of recordings that lists name and the folder does not hold.
    pub(crate) missing: usize,
    /// Number of sound files that no list names.
    pub(crate) unlisted: usize,
}

/// Lists the sound files below a folder.
///
/// # Errors
/// A folder or a list cannot be read; some folders are parts and others are not; a list has no
/// column of files, names a file in two ways, or two files at once; no file can be used.
pub(crate) fn list(path: &Path, naming: &Naming) -> Result<Listing, Error> {
    let Tree { files, without_sound, mut skipped } = walk(path)?;
    if files.is_empty() {
        return Err(error(path, "holds no folders of sound files; every folder is a class"));
    }
    let lists = List::read(&naming.lists, &naming.columns)?;
    let by_name = naming.pattern.as_ref().is_some_and(Pattern::has_class)
        || lists.as_ref().is_some_and(List::has_class);
    let whole = naming.pattern.as_ref().is_some_and(Pattern::is_path);
    let mut listing = Listing::default();
    let parts = if whole { false } else { parts(path, &files, by_name, &mut listing.notes)? };
    let of_folders = |file: &File| match &file.names[..file.names.len() - 1] {
        _ if whole => Facts::default(),
        [part, folders @ ..] if parts => {
            Facts { part: Part::of(part), ..facts_of_class(folders, by_name) }
        }
        folders => facts_of_class(folders, by_name),
    };
    if !by_name && !whole {
        let is_class = |f: &&File| f.names.len() == 1 || (parts && f.names.len() == 2);
        let reason = if parts {
            "holds no sound file"
        } else {
            "holds no sound file; every folder is a class"
        };
        let classes = without_sound.iter().filter(is_class);
        skipped.extend(classes.map(|folder| error(&path.join(&folder.path), reason)));
        listing.notes.extend(one_form(path, &files, usize::from(parts)));
    }
    let listed = match &lists {
        Some(lists) => {
            let matched = lists.find(path, &files)?;
            listing.notes.extend(matched.notes);
            (listing.missing, listing.unlisted) = (matched.missing, matched.unlisted);
            Some(matched.rows)
        }
        None => None,
    };
    let count = files.len();
    for (n, file) in files.into_iter().enumerate() {
        let listed = match &listed {
            Some(rows) => match rows[n] {
                Some(facts) => facts.clone(),
                None => continue,
            },
            None => Facts::default(),
        };
        let named = naming.pattern.as_ref().map_or(Ok(Facts::default()), |p| p.facts(&file));
        let facts = named.map(|named| listed.or(named).or(of_folders(&file)));
        match facts {
            Ok(Facts { class: Some(class), speaker, part }) => {
                listing.items.push(Item { file, class, speaker, part });
            }
            Ok(_) => {
                let reason = "has no class; its folder, --name or --list says it";
                skipped.push(error(&path.join(&file.path), reason));
            }
            Err(reason) => skipped.push(error(&path.join(&file.path), reason)),
        }
    }
    if listing.items.is_empty() {
        return Err(none(path, count, &skipped));
    }
    listing.skipped = skipped;
    Ok(listing)
}

/// The error that no file can be used.
pub(crate) fn none(path: &Path, files: usize, skipped: &[Error]) -> Error {
    let first = skipped.first().map(ToString::to_string).unwrap_or_default();
    error(path, format!("none of {files} sound files can be used: {first}"))
}

/// The class and the speaker of a file in folders, unless names say the class.
fn facts_of_class(folders: &[String], by_name: bool) -> Facts {
    let folder = |n| folders.get(n).filter(|_| !by_name).cloned();
    Facts { class: folder(0), speaker: folder(1), part: None }
}

/// Whether the first folders are parts: all have such names, and they hold folders of sound unless
/// names say the class.
fn parts(
    path: &Path,
    files: &[File],
    by_name: bool,
    notes: &mut Vec<String>,
) -> Result<bool, Error> {
    let mut nested: BTreeMap<&str, bool> = BTreeMap::new();
    for file in files.iter().filter(|file| file.names.len() > 1) {
        *nested.entry(&file.names[0]).or_default() |= file.names.len() > 2;
    }
    let all_named = !nested.is_empty() && nested.keys().all(|name| Part::of(name).is_some());
    if by_name {
        return Ok(all_named && files.iter().all(|file| file.names.len() > 1));
    }
    let is_part = |(name, nested): &(&&str, &bool)| **nested && Part::of(name).is_some();
    let (parts, others): (Vec<_>, Vec<_>) = nested.iter().partition(is_part);
    let names = |folders: &[(&&str, &bool)]| {
        folders.iter().map(|(name, _)| **name).collect::<Vec<_>>().join(", ")
    };
    if others.is_empty() {
        return Ok(!parts.is_empty());
    }
    if let ([(name, true)], true) = (&others[..], parts.is_empty()) {
        let path = path.display();
        notes.push(format!(
            "{path}: {name} is the only class; if it holds the classes, encode {path}/{name}"
        ));
    }
    if parts.is_empty() {
        if all_named {
            let folders = names(&others);
            notes.push(format!(
                "{}: {folders}: each holds sound files itself, so it is a class and not a part",
                path.display()
            ));
        }
        return Ok(false);
    }
    let kinds: BTreeSet<_> = parts.iter().filter_map(|(name, _)| Part::of(name)).collect();
    if kinds.len() > 1 || kinds.contains(&Part::Train) || all_named {
        let (parts, others) = (names(&parts), names(&others));
        return Err(error(
            path,
            format!(
                "has folders of classes in {parts}, but not in {others}; either all folders are \
                 train, valid or test (_ before a name leaves a folder out), or --name \
                 \"{{class}}/{{speaker}}/{{}}\" says what they are"
            ),
        ));
    }
    Ok(false)
}

/// Notes the folders of classes whose names differ only in their Unicode form.
fn one_form(path: &Path, files: &[File], depth: usize) -> Vec<String> {
    let mut forms: BTreeMap<&[String], BTreeSet<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.names.len() > depth + 1) {
        let folder = file.path.split('/').nth(depth).unwrap_or_default();
        forms.entry(&file.names[..=depth]).or_default().insert(folder);
    }
    let several = forms.into_iter().filter(|(_, folders)| folders.len() > 1);
    let note = |(names, folders): (&[String], BTreeSet<&str>)| {
        let (path, n, name) = (path.display(), folders.len(), names.join("/"));
        format!(
            "{path}: {n} folders named {name} differ only in their Unicode form; they count as one"
        )
    };
    several.map(note).collect()
}

/// A name in the form in which names are compared.
pub(crate) fn nfc(name: &str) -> String {
    name.nfc().collect()
}

/// An error about a path.
pub(crate) fn error(path: &Path, reason: impl ToString) -> Error {
    Error::format(&path.display().to_string(), reason)
}
