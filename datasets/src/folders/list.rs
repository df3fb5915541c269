use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Facts, File, error, nfc, pattern, tree};
use crate::table::{self, Lines};
use crate::{Error, Part, bytes};

/// The columns of a list: `file`, `class`, `speaker` and `part`, or others that a text such as
/// `file=path,speaker=client_id` names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns([Option<String>; 4]);

const COLUMNS: [&str; 4] = ["file", "class", "speaker", "part"];

impl FromStr for Columns {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut columns = Self::default();
        for pair in text.split(',') {
            let (column, name) = pair.split_once('=').unwrap_or((pair, ""));
            let column = COLUMNS.iter().position(|known| *known == column.trim());
            match column {
                Some(column) if !name.trim().is_empty() => {
                    columns.0[column] = Some(nfc(name.trim()));
                }
                _ => {
                    let problem = "is not file=NAME, class=NAME, speaker=NAME or part=NAME";
                    return Err(Error::value("columns", "column", pair, problem));
                }
            }
        }
        Ok(columns)
    }
}

/// The rows of lists.
pub(super) struct List {
    /// Paths of the lists.
    paths: Vec<String>,
    rows: Vec<Row>,
    has_class: bool,
}

struct Row {
    /// Number of the list, and line.
    list: usize,
    line: usize,
    /// Path of the sound file as written.
    file: String,
    facts: Facts,
}

/// What the rows say about the files of a folder.
pub(super) struct Matched<'a> {
    /// The facts of every file; none if no list names it.
    pub(super) rows: Vec<Option<&'a Facts>>,
    pub(super) missing: usize,
    pub(super) unlisted: usize,
    pub(super) notes: Vec<String>,
}

impl List {
    /// Reads lists; `None` if there are none.
    pub(super) fn read(paths: &[PathBuf], columns: &Columns) -> Result<Option<Self>, Error> {
        let part = |path: &PathBuf| Part::of(path.file_stem()?.to_str()?);
        let parts: Option<Vec<_>> = paths.iter().map(part).collect();
        let parts = parts.filter(|_| paths.len() > 1);
        let mut list = Self { paths: Vec::new(), rows: Vec::new(), has_class: true };
        for (n, path) in paths.iter().enumerate() {
            let shown = path.display().to_string();
            let part = parts.as_ref().map(|parts| parts[n]);
            list.has_class &= list.add(&text(bytes::read(path)?, path)?, &shown, columns, part)?;
            list.paths.push(shown);
        }
        Ok((!paths.is_empty()).then_some(list))
    }

    pub(super) fn has_class(&self) -> bool {
        self.has_class
    }

    /// Adds the rows of a list. Returns whether it has a column of classes.
    fn add(
        &mut self,
        text: &str,
        shown: &str,
        columns: &Columns,
        part: Option<Part>,
    ) -> Result<bool, Error> {
        let wrong = |e: csv::Error| Error::format(shown, e);
        let delimiter = table::delimiter(text.as_bytes());
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(delimiter != b'\t')
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header: Vec<_> = reader.headers().map_err(wrong)?.iter().map(nfc).collect();
        let at = columns_at(&header, columns, shown)?;
        let mut lines = Lines::new(text.as_bytes(), 1);
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            let line = lines.of(record.position().map_or(0, |at| at.byte() as usize));
            let field = |n: usize| {
                let text = at[n].and_then(|at| record.get(at)).map(|text| match delimiter {
                    b'\t' => unquoted(text),
                    _ => text.into(),
                });
                text.map(|text: String| nfc(&text)).filter(|text| !text.is_empty())
            };
            let part = match at[3] {
                Some(_) => {
                    let name = field(3).unwrap_or_default();
                    let part = Part::of(&name).ok_or_else(|| {
                        Error::format(shown, format!("line {line}: {}", pattern::not_a_part(&name)))
                    });
                    Some(part?)
                }
                None => part,
            };
            if self.rows.first().is_some_and(|row| row.facts.part.is_some() != part.is_some()) {
                return Err(Error::format(
                    shown,
                    "either all lists have a column of parts or none has",
                ));
            }
            let Some(file) = field(0) else {
                return Err(Error::format(shown, format!("line {line} names no file")));
            };
            let facts = Facts { class: field(1), speaker: field(2), part };
            self.rows.push(Row { list: self.paths.len(), line, file, facts });
        }
        Ok(at[1].is_some())
    }

    /// Finds the files that the rows name: by their path, or by the end of it.
    pub(super) fn find(&self, root: &Path, files: &[File]) -> Result<Matched<'_>, Error> {
        let index = Index::new(root, files);
        let mut rows: Vec<Option<&Row>> = vec![None; files.len()];
        let mut missing = Vec::new();
        for row in &self.rows {
            let wrong = |problem: &str| {
                Error::value(
                    &self.paths[row.list],
                    format!("line {}", row.line),
                    &row.file,
                    problem,
                )
            };
            match index.find(&row.file)[..] {
                [] => missing.push(row),
                [n] => match rows[n].replace(row) {
                    Some(before) if before.facts != row.facts => {
                        return Err(wrong("is listed before with another class, speaker or part"));
                    }
                    _ => {}
                },
                [a, b, ..] => {
                    let [a, b] = [a, b].map(|n| files[n].name());
                    return Err(wrong(&format!("names {a} and {b}; list them with their folders")));
                }
            }
        }
        self.matched(root, files, &rows, &missing)
    }

    fn matched<'a>(
        &self,
        root: &Path,
        files: &[File],
        rows: &[Option<&'a Row>],
        missing: &[&Row],
    ) -> Result<Matched<'a>, Error> {
        let (shown, root) = (&self.paths.join(", "), root.display());
        let unlisted: Vec<_> = files.iter().zip(rows).filter(|(_, row)| row.is_none()).collect();
        let mut notes = Vec::new();
        if let Some(first) = missing.first() {
            let (count, all) = (missing.len(), self.rows.len());
            let which = format!("not in {root}: {count} of {all} recordings");
            if rows.iter().all(Option::is_none) {
                let problem = format!("{which}, such as {}", first.file);
                return Err(Error::format(shown, problem));
            }
            notes.push(format!("{shown}: {which}, such as {}", first.file));
        }
        if let Some((first, _)) = unlisted.first() {
            let (count, all, first) = (unlisted.len(), files.len(), first.name());
            notes.push(format!(
                "{shown}: not listed and left out: {count} of {all} sound files in {root}, such as \
                 {first}"
            ));
        }
        Ok(Matched {
            rows: rows.iter().map(|row| row.map(|row| &row.facts)).collect(),
            missing: missing.len(),
            unlisted: unlisted.len(),
            notes,
        })
    }
}

/// The files of a folder by their names without folder and extension.
struct Index<'a> {
    files: &'a [File],
    by_stem: HashMap<&'a str, Vec<usize>>,
    /// The names in the path of the folder.
    root: Vec<String>,
}

impl<'a> Index<'a> {
    fn new(root: &Path, files: &'a [File]) -> Self {
        let mut by_stem: HashMap<_, Vec<_>> = HashMap::new();
        for (n, file) in files.iter().enumerate() {
            by_stem.entry(tree::stem(file.last())).or_default().push(n);
        }
        let root = root.canonicalize().unwrap_or_else(|_| root.into());
        let root = root.iter().map(|name| nfc(&name.to_string_lossy())).collect();
        Self { files, by_stem, root }
    }

    /// The files that a path names as well as any: all of it, or its end; with its extension, or
    /// with another one.
    fn find(&self, path: &str) -> Vec<usize> {
        let path = path.replace('\\', "/");
        let is_absolute = path.starts_with('/') || path.get(1..3) == Some(":/");
        let names: Vec<_> = path.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        let Some((last, above)) = names.split_last() else { return Vec::new() };
        let is_named = |file: &File| {
            let own = &file.names[..file.names.len() - 1];
            let mut whole = self.root.iter().chain(own).rev();
            let mut above = above.iter().rev().copied();
            let elsewhere = is_absolute
                && !own.is_empty()
                && own.iter().rev().eq(above.clone().take(own.len()));
            above.all(|name| whole.next().is_some_and(|own| own == name)) || elsewhere
        };
        let rank = |file: &File| match () {
            () if file.names == names => 2,
            () if file.last() == *last => 1,
            () => 0,
        };
        let candidates = self.by_stem.get(tree::stem(last)).map_or(&[][..], Vec::as_slice);
        let named = candidates.iter().copied().filter(|&n| is_named(&self.files[n]));
        let named: Vec<_> = named.map(|n| (n, rank(&self.files[n]))).collect();
        let best = named.iter().map(|&(_, rank)| rank).max();
        named.into_iter().filter(|(_, rank)| Some(*rank) == best).map(|(n, _)| n).collect()
    }
}

/// The text of a list in UTF-8 or in UTF-16 with a byte-order mark.
fn text(bytes: Vec<u8>, path: &Path) -> Result<String, Error> {
    let wide = |to: fn([u8; 2]) -> u16| {
        let units: Vec<_> = bytes[2..].chunks_exact(2).map(|pair| to([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    let text = match bytes[..] {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8(bytes).ok(),
    };
    let text = text.ok_or_else(|| error(path, "is not UTF-8; save it as text in UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text))
}

/// The text of a field between tabs. A quotation mark inside one is a character.
fn unquoted(field: &str) -> String {
    let inside = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
    inside.map_or_else(|| field.into(), |field| field.replace("\"\"", "\""))
}

/// The places of the columns in a header.
fn columns_at(
    header: &[String],
    columns: &Columns,
    shown: &str,
) -> Result<[Option<usize>; 4], Error> {
    let mut at = [None; 4];
    for (n, column) in COLUMNS.iter().enumerate() {
        let named = columns.0[n].as_deref();
        let name = named.unwrap_or(column);
        let is_it = |own: &String| own.trim_matches('"').eq_ignore_ascii_case(name);
        let mut found = header.iter().enumerate().filter(|(_, own)| is_it(own)).map(|(at, _)| at);
        at[n] = found.next();
        if found.next().is_some() {
            return Err(Error::format(shown, format!("has two columns {name}; rename one")));
        }
        if at[n].is_none() && (named.is_some() || n == 0) {
            let has = header.join(", ");
            let problem =
                format!("has no column {name}, but {has}; --columns {column}=NAME names it");
            return Err(Error::format(shown, problem));
        }
    }
    Ok(at)
}
