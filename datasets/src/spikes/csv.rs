//! Tables of text with a row per spike.

use std::collections::HashMap;

use csv::ByteRecord;

use super::columns::{Role, pixels, role};
use super::events::{Column, Table, whole};
use crate::shd::Options;
use crate::shd::values::small;
use crate::table::{self, Lines};
use crate::{Error, Recordings};

const EXPECTED: &str = "the first line names the columns time, unit, item and label, and \
                        optionally speaker, name and part";

/// Whether bytes begin as text does.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(4096)];
    !start.iter().any(|&b| b < b' ' && !b"\t\r\n".contains(&b) || b == 0x7f)
}

/// The index of each column.
struct Columns {
    names: Vec<String>,
    places: [Option<usize>; 7],
}

impl Columns {
    const ROLES: [Role; 7] =
        [Role::Time, Role::Unit, Role::Item, Role::Label, Role::Speaker, Role::Name, Role::Part];

    fn of(header: &ByteRecord, source: &str, unlabelled: bool) -> Result<Self, Error> {
        let names: Vec<_> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().trim_matches('"').to_owned())
            .collect();
        let bad = |reason: String| Err(Error::format(source, format!("line 1 {reason}")));
        if names.iter().all(|name| name.parse::<f64>().is_ok() || name.is_empty()) {
            return bad(format!("holds numbers, not names of columns; {EXPECTED}"));
        }
        let mut places = [None; 7];
        for (index, name) in names.iter().enumerate() {
            let known = Self::ROLES.iter().position(|&known| role(name) == Some(known));
            let Some(place) = known.map(|known| &mut places[known]) else { continue };
            if let Some(other) = place.replace(index) {
                return bad(format!(
                    "has both {} and {name} for one thing; keep one",
                    names[other]
                ));
            }
        }
        let needed = &Self::ROLES[..if unlabelled { 3 } else { 4 }];
        let absent = needed.iter().zip(places).find(|(_, place)| place.is_none());
        if let Some((role, _)) = absent {
            let names = names.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ");
            return bad(format!("has no column {}; {EXPECTED}; it has {names}", role.name()));
        }
        if let Some(reason) = pixels(names.iter().map(String::as_str)) {
            return bad(reason);
        }
        Ok(Self { names, places })
    }

    /// The field of a row, if there is such a column.
    fn field<'a>(
        &self,
        row: &'a ByteRecord,
        role: Role,
        line: u32,
        source: &str,
    ) -> Result<Option<&'a str>, Error> {
        let index = Self::ROLES.iter().position(|&known| known == role);
        let index = index.and_then(|known| self.places[known]);
        let Some((name, field)) = index.and_then(|i| Some((&self.names[i], row.get(i)?))) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(field).map_err(|_| {
            Error::format(source, format!("line {line}: {name} is not text in UTF-8"))
        })?;
        Ok(Some(text.trim()))
    }
}

/// What a row says about its item.
const OF_ITEM: [Role; 4] = [Role::Label, Role::Speaker, Role::Name, Role::Part];

/// A role, a value and what is wrong with it.
type Problem = (Role, String, String);

/// The items in the order of their first rows.
#[derive(Default)]
struct Items {
    ids: Vec<String>,
    known: HashMap<String, usize>,
    /// The line of the first row of each.
    lines: Vec<u32>,
    /// What the rows say about each, in the order of [`OF_ITEM`].
    about: [Vec<String>; 4],
}

impl Items {
    /// The index of an item. A row says the same about it as those before.
    fn index(&mut self, id: &str, says: [Option<&str>; 4], line: u32) -> Result<usize, Problem> {
        if id.is_empty() {
            return Err(empty(Role::Item, "is empty; it names the item of the spike"));
        }
        if let Some(&item) = self.known.get(id) {
            for ((said, role), all) in says.iter().zip(OF_ITEM).zip(&self.about) {
                if let (Some(said), Some(before)) = (said, all.get(item))
                    && before != said
                {
                    let problem = format!("contradicts {before}, of item {id} before");
                    return Err((role, (*said).into(), problem));
                }
            }
            return Ok(item);
        }
        if says[0].is_some_and(str::is_empty) {
            return Err(empty(Role::Label, "is empty; it names the class of the item"));
        }
        let item = self.ids.len();
        self.known.insert(id.into(), item);
        self.ids.push(id.into());
        self.lines.push(line);
        for (said, all) in says.iter().zip(&mut self.about) {
            all.extend(said.map(str::to_owned));
        }
        Ok(item)
    }
}

fn empty(role: Role, problem: &str) -> Problem {
    (role, "\"\"".into(), problem.into())
}

fn time_of(text: &str) -> Result<f64, Problem> {
    text.parse().map_err(|_| match text {
        "" => empty(Role::Time, "is empty; an item without spikes has an empty unit, too"),
        _ if text.contains(',') => {
            (Role::Time, text.into(), "has a decimal comma; write 0.5, not 0,5".into())
        }
        _ => (Role::Time, text.into(), "is not a number".into()),
    })
}

fn unit_of(text: &str, first: u16) -> Result<u16, Problem> {
    if text.is_empty() {
        return Err(empty(Role::Unit, "is empty; an item without spikes has an empty time, too"));
    }
    small(whole(text), first).map_err(|(value, problem)| (Role::Unit, value, problem))
}

pub(super) fn read(bytes: &[u8], source: &str, options: &Options) -> Result<Recordings, Error> {
    options.check(source)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    // NumPy writes its header as a comment.
    let text = text.strip_prefix(b"#").unwrap_or(text).trim_ascii_start();
    let separator = table::delimiter(text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    let mut table_lines = Lines::new(text, 1 + table::count(&bytes[..bytes.len() - text.len()]));
    let mut row = ByteRecord::new();
    let bad = |error: csv::Error| Error::format(source, error);
    reader.read_byte_record(&mut row).map_err(bad)?;
    let columns = Columns::of(&row, source, options.unlabelled)?;
    let (mut times, mut units, mut items) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lines, mut all) = (Vec::<u32>::new(), Items::default());
    while reader.read_byte_record(&mut row).map_err(bad)? {
        let start = row.position().map_or(0, |position| position.byte() as usize);
        let line = u32::try_from(table_lines.of(start)).unwrap_or(u32::MAX);
        let fail = |(role, value, problem): Problem| {
            Error::value(source, format!("line {line}: {}", role.name()), value, problem)
        };
        if row.len() != columns.names.len() {
            let (fields, expected) = (row.len(), columns.names.len());
            let comma = separator == b',' && fields > expected;
            let advice = if comma { "; are there decimal commas? Write 0.5, not 0,5" } else { "" };
            let reason = format!("line {line} has {fields} fields, not {expected}{advice}");
            return Err(Error::format(source, reason));
        }
        let field = |role| columns.field(&row, role, line, source);
        let mut says = [None; 4];
        for (said, role) in says.iter_mut().zip(OF_ITEM) {
            *said = field(role)?;
        }
        let text = |role| field(role).map(Option::unwrap_or_default);
        let item = all.index(text(Role::Item)?, says, line).map_err(fail)?;
        let (time, unit) = (text(Role::Time)?, text(Role::Unit)?);
        if !(time.is_empty() && unit.is_empty()) {
            times.push(time_of(time).map_err(fail)?);
            units.push(unit_of(unit, options.first_unit).map_err(fail)?);
            items.push(item);
            lines.push(line);
        }
    }
    let Items { ids, about: [labels, speakers, names, parts], lines: item_lines, .. } = all;
    let place = |list: &str, k: usize| {
        let lines = if ["times", "units", "items"].contains(&list) { &lines } else { &item_lines };
        let line = lines.get(k).copied().unwrap_or_default();
        format!("line {line}: {}", role(list).map_or("", Role::name))
    };
    let counted = ids.iter().enumerate().all(|(n, id)| id.parse() == Ok(n));
    let some = |texts: Vec<String>| (!texts.is_empty()).then(|| Column::of(texts));
    let ids = (!counted).then_some(Column::Texts(ids));
    let names = (!names.is_empty()).then_some(Column::Texts(names)).or(ids);
    let labels = some(labels).unwrap_or_else(|| Column::unknown(item_lines.len()));
    let (speakers, parts) = (some(speakers), some(parts));
    let table = Table { times, units, items, labels, speakers, names, parts, keys: None };
    table.recordings(source, options, &place)
}
