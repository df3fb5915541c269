use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{Facts, File, nfc, tree};
use crate::{Error, Part};

/// A pattern of the names of files without their extension, such as `{class}_{speaker}_{index}`.
///
/// The fields are `{class}`, `{speaker}`, `{part}`, `{index}` (a whole number) and `{}`, any other
/// text. None is empty. A class, a speaker or a part does not contain the text that stands before
/// or after it in the pattern. A pattern with `/` is one of the whole path from the folder of
/// recordings, and then folders mean nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    text: String,
    /// The pieces of each name in the path.
    names: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    /// A class, speaker or part, by its number in [`FIELDS`].
    Field(usize),
    Index,
    Any,
}

const FIELDS: [&str; 3] = ["class", "speaker", "part"];

/// The texts of the fields.
type Found<'a> = [Option<&'a str>; 3];

impl Pattern {
    pub(super) fn has_class(&self) -> bool {
        self.names.iter().flatten().any(|piece| *piece == Piece::Field(0))
    }

    /// Whether it is one of whole paths.
    pub(super) fn is_path(&self) -> bool {
        self.names.len() > 1
    }

    /// What the name of a file says; why it says nothing.
    pub(super) fn facts(&self, file: &File) -> Result<Facts, String> {
        let names = match file.names.len().checked_sub(self.names.len()) {
            Some(0) => &file.names[..],
            Some(rest) if !self.is_path() => &file.names[rest..],
            _ => return Err(format!("does not match {}", self.text)),
        };
        let mut all = BTreeSet::from([Found::default()]);
        for (n, (pieces, name)) in self.names.iter().zip(names).enumerate() {
            let name = if n + 1 == names.len() { tree::stem(name) } else { name };
            let found = matches(pieces, name);
            let both = all.iter().flat_map(|a| found.iter().map(move |b| merged(a, b)));
            all = both.collect();
        }
        let mut all = all.into_iter();
        let [class, speaker, part] = match (all.next(), all.next()) {
            (Some(found), None) => found.map(|text| text.map(String::from)),
            (None, _) => return Err(format!("does not match {}", self.text)),
            _ => return Err(format!("matches {} in more than one way", self.text)),
        };
        let part = match part {
            Some(part) => Some(Part::of(&part).ok_or_else(|| not_a_part(&part))?),
            None => None,
        };
        Ok(Facts { class, speaker, part })
    }
}

fn merged<'a>(a: &Found<'a>, b: &Found<'a>) -> Found<'a> {
    [0, 1, 2].map(|field| a[field].or(b[field]))
}

/// Why a text is not the name of a part.
pub(super) fn not_a_part(text: &str) -> String {
    format!("the part {text:?} is not train, valid or test")
}

/// The different ways in which a name matches.
fn matches<'a>(pieces: &[Piece], name: &'a str) -> BTreeSet<Found<'a>> {
    let mut states = BTreeSet::from([(0, Found::default())]);
    for (n, piece) in pieces.iter().enumerate() {
        let before = n.checked_sub(1).map(|n| &pieces[n]);
        let after = pieces.get(n + 1);
        let mut next = BTreeSet::new();
        for (start, found) in states {
            let rest = &name[start..];
            match piece {
                Piece::Text(text) => {
                    next.extend(rest.strip_prefix(&**text).map(|_| (start + text.len(), found)));
                }
                Piece::Any => {
                    let ends = rest.char_indices().map(|(at, c)| start + at + c.len_utf8());
                    next.extend(ends.map(|end| (end, found)));
                }
                Piece::Index => {
                    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                    next.extend((end > 0).then_some((start + end, found)));
                }
                Piece::Field(field) => {
                    let end = match after {
                        Some(Piece::Text(text)) => rest.find(&**text),
                        _ => Some(rest.len()),
                    };
                    let Some(end) = end.filter(|&end| end > 0) else { continue };
                    let inside = |t: &String| rest[..end].contains(&**t);
                    if matches!(before, Some(Piece::Text(text)) if inside(text)) {
                        continue;
                    }
                    let mut found = found;
                    found[*field] = Some(&rest[..end]);
                    next.insert((start + end, found));
                }
            }
        }
        states = next;
    }
    let whole = states.into_iter().filter(|(end, _)| *end == name.len());
    whole.map(|(_, found)| found).collect()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = nfc(text);
        let wrong = |problem: String| Error::format(&text, problem);
        let names = text.split('/').map(|name| pieces(name).map_err(wrong));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let count = |piece| names.iter().flatten().filter(|p| **p == piece).count();
        let counts = [0, 1, 2].map(|field| count(Piece::Field(field)));
        if let Some(field) = counts.iter().position(|&count| count > 1) {
            return Err(wrong(format!("has {{{}}} twice", FIELDS[field])));
        }
        if counts == [0; 3] {
            return Err(wrong("has neither {class} nor {speaker} nor {part}".into()));
        }
        Ok(Self { names, text })
    }
}

fn pieces(name: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), name);
    while !rest.is_empty() {
        let (text, field) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        if text.contains('}') {
            return Err("has a } without {".into());
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.into()));
        }
        if field.is_empty() {
            break;
        }
        let Some((field, after)) = field[1..].split_once('}') else {
            return Err("has a { without }".into());
        };
        if !matches!(pieces.last(), None | Some(Piece::Text(_))) {
            return Err(format!("needs some text before {{{field}}}, where a field ends"));
        }
        pieces.push(match (field, FIELDS.iter().position(|name| *name == field)) {
            (_, Some(field)) => Piece::Field(field),
            ("index", _) => Piece::Index,
            ("", _) => Piece::Any,
            _ => {
                let fields = "{class}, {speaker}, {part}, {index} and {}";
                return Err(format!("has {{{field}}}; the fields are {fields}"));
            }
        });
        rest = after;
    }
    if pieces.is_empty() { Err("has an empty name".into()) } else { Ok(pieces) }
}
