//! Archives of NumPy arrays, as `np.savez` and `np.savez_compressed` write them.

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

use super::archive::{Archive, damaged};
use super::columns::{Role, pixels, role};
use super::events::{Column, Table};
use super::npy::{Field, Header, Value};
use crate::shd::values::{Kind, Number, small};
use crate::shd::{Options, Origin, TimeUnit};
use crate::{Error, Recordings, TimeFormat};

/// A list of values: an array of one dimension, or a field of it.
pub(super) struct List {
    /// Name of the array or `array.field`.
    pub(super) name: String,
    field: Field,
    /// Bytes per row.
    stride: usize,
    count: usize,
    bytes: Rc<Vec<u8>>,
}

impl List {
    fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.stride.max(1)).map(|row| &row[self.field.offset..])
    }

    /// The number type, and the bytes of every number.
    fn numbers(
        &self,
        source: &str,
    ) -> Result<(Number, impl Iterator<Item = &[u8]> + use<'_>), Error> {
        let Value::Number(number) = self.field.value else {
            return Err(self.type_error(source, "numbers"));
        };
        Ok((number, self.rows().map(move |row| &row[..number.size])))
    }

    fn type_error(&self, source: &str, expected: &str) -> Error {
        let reason = match &self.field.value {
            Value::Other(kind) => refused(kind),
            _ => format!("holds text, not {expected}"),
        };
        Error::format(source, format!("{} {reason}", self.name))
    }

    fn whole(&self, source: &str) -> Result<Vec<i128>, Error> {
        let (number, values) = self.numbers(source)?;
        let whole = |(n, v): (usize, &[u8])| {
            number.whole(v).map_err(|x| {
                Error::value(source, format!("{}[{n}]", self.name), x, "is not a whole number")
            })
        };
        values.enumerate().map(whole).collect()
    }

    fn column(&self, source: &str) -> Result<Column, Error> {
        let text: Box<dyn Fn(&[u8]) -> Option<String>> = match self.field.value {
            Value::Number(_) => return Ok(Column::Numbers(self.whole(source)?)),
            Value::Bytes(len) => Box::new(move |row| {
                let text = row[..len].split(|&b| b == 0).next().unwrap_or_default();
                std::str::from_utf8(text).ok().map(str::to_owned)
            }),
            Value::Letters { count, big_endian } => Box::new(move |row| {
                let letter = |b: &[u8]| {
                    let b = [b[0], b[1], b[2], b[3]];
                    if big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
                };
                let letters = row[..4 * count].chunks_exact(4).map(letter);
                letters.take_while(|&c| c != 0).map(char::from_u32).collect()
            }),
            Value::Other(_) => return Err(self.type_error(source, "numbers or text")),
        };
        let rows = self.rows().enumerate().map(|(n, row)| {
            text(row).ok_or_else(|| {
                Error::format(source, format!("{}[{n}] is not text in Unicode", self.name))
            })
        });
        rows.collect::<Result<_, _>>().map(Column::Texts)
    }

    /// The only number.
    fn single(&self, source: &str) -> Result<f64, Error> {
        let (number, mut values) = self.numbers(source)?;
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(number.float(value)),
            _ => {
                let reason = format!("{} has {} values, not one", self.name, self.count);
                Err(Error::format(source, reason))
            }
        }
    }
}

/// Says why a type is not read, and what to do.
pub(super) fn refused(kind: &str) -> String {
    let remedy = match kind {
        "objects" => "concatenate them: one entry per spike, beside an array item",
        "dates" => "save them as numbers: .astype(\"int64\")",
        _ => "save it as numbers or text",
    };
    let kind = if kind == "objects" { "objects (pickle)" } else { kind };
    format!("holds {kind}, which is not read; {remedy}")
}

pub(super) fn read(
    bytes: &[u8],
    room: usize,
    source: &str,
    options: &Options,
) -> Result<Recordings, Error> {
    options.check(source)?;
    let mut archive = Archive::open(bytes, source)?;
    let (lists, names) = (BTreeMap::new(), Vec::new());
    let mut arrays = Arrays { lists, names, source, room, left: room };
    let mut rasters = Vec::new();
    for (index, file) in archive.files().to_vec() {
        let name = file.strip_suffix(".npy").unwrap_or(&file);
        let mut reader = archive.file(index)?;
        let header = Header::read(&mut reader);
        let header = header.map_err(|e| Error::format(source, format!("{name} {e}")))?;
        if header.is_plain() && header.shape.len() == 3 {
            arrays.names.push(name.into());
            rasters.push((index, name.to_owned(), header));
        } else {
            arrays.add(name, &header, &mut reader)?;
        }
    }
    if rasters.len() == 1 && !arrays.lists.contains_key(&Role::Time) {
        let (index, name, header) = &rasters[0];
        let mut reader = archive.file(*index)?;
        Header::read(&mut reader).map_err(|reason| Error::format(source, reason))?;
        return arrays.raster(name, header, &mut reader, options);
    }
    let plain = arrays.names.iter().map(|name| name.rsplit('.').next().unwrap_or_default());
    if let Some(reason) = pixels(plain) {
        return Err(Error::format(source, reason));
    }
    arrays.events(options)
}

pub(super) fn format_shape(shape: &[usize], problem: &str) -> String {
    format!("has shape {shape:?}, {problem}")
}

pub(super) struct Arrays<'a> {
    lists: BTreeMap<Role, List>,
    /// Names of all arrays.
    names: Vec<String>,
    pub(super) source: &'a str,
    /// Most bytes of the file when unpacked.
    pub(super) room: usize,
    /// Most bytes that further lists may have.
    left: usize,
}

impl Arrays<'_> {
    /// Reads an array, if it or one of its fields has a known name.
    fn add(&mut self, name: &str, header: &Header, reader: impl Read) -> Result<(), Error> {
        let format = |reason: String| Error::format(self.source, format!("{name} {reason}"));
        let shown = |field: &Field| match header.is_plain() {
            true => name.to_owned(),
            false => format!("{name}.{}", field.name),
        };
        self.names.extend(header.fields.iter().map(shown));
        let role_of = |f: &Field| role(if header.is_plain() { name } else { &f.name });
        let known = header.fields.iter().filter_map(|f| Some((role_of(f)?, f)));
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return Ok(());
        }
        // A pickle is not an array of bytes.
        if header.fields.iter().any(|field| field.value == Value::Other("objects".into())) {
            return Err(format(refused("objects")));
        }
        if header.shape.iter().filter(|&&n| n != 1).count() > 1 {
            return Err(format(format_shape(&header.shape, "not one dimension")));
        }
        let size = header.count().and_then(|count| count.checked_mul(header.size));
        let size = size.filter(|&size| size <= self.left && header.size > 0);
        let size = size.ok_or_else(|| format("has more values than the file can hold".into()))?;
        let mut bytes = Vec::new();
        let read = reader.take(size as u64).read_to_end(&mut bytes);
        read.map_err(|e| damaged(self.source, e.into()))?;
        if bytes.len() < size {
            return Err(format("ends early; download or write it again".into()));
        }
        self.left -= size;
        let (bytes, count) = (Rc::new(bytes), size / header.size);
        for (role, field) in known {
            let (name, stride, bytes) = (shown(field), header.size, bytes.clone());
            let list = List { name, field: field.clone(), stride, count, bytes };
            if let Some(other) = self.lists.get(&role) {
                let reason =
                    format!("has both {} and {} for one thing; keep one", other.name, list.name);
                return Err(Error::format(self.source, reason));
            }
            self.lists.insert(role, list);
        }
        Ok(())
    }

    fn need(&self, role: Role) -> Result<&List, Error> {
        self.lists.get(&role).ok_or_else(|| {
            let names = self.names.iter().take(20).map(String::as_str).collect::<Vec<_>>();
            let reason = format!(
                "has no array {}; the arrays time, unit, item and label are needed, or a raster \
                 [items, steps, channels] and label; it holds {}",
                role.name(),
                names.join(", ")
            );
            Error::format(self.source, reason)
        })
    }

    /// A list with a value for each of `n` items.
    fn of_items(&self, role: Role, n: usize) -> Result<Option<Column>, Error> {
        let Some(list) = self.lists.get(&role) else { return Ok(None) };
        if list.count != n {
            let reason = format!("{} has {} values for {n} items", list.name, list.count);
            return Err(Error::format(self.source, reason));
        }
        list.column(self.source).map(Some)
    }

    /// The number of labels; `None` if there are none and none are needed.
    pub(super) fn labels(&self, options: &Options) -> Result<Option<usize>, Error> {
        if options.unlabelled && !self.lists.contains_key(&Role::Label) {
            return Ok(None);
        }
        self.need(Role::Label).map(|list| Some(list.count))
    }

    pub(super) fn step_ms(&self, raster: &str, options: &Options) -> Result<f64, Error> {
        let stated = self.lists.get(&Role::Step).map(|list| list.single(self.source));
        let Some(step) = stated.transpose()?.or(options.step_ms) else {
            let reason = format!(
                "{raster} is a raster of steps without their length; add dt_ms=1.0 (in ms) to \
                 np.savez, or use data convert --step-ms"
            );
            return Err(Error::format(self.source, reason));
        };
        if !(step > 0.0 && step.is_finite()) {
            let problem = "is not the length of a step in ms";
            return Err(Error::value(self.source, "dt_ms", step, problem));
        }
        Ok(step)
    }

    /// The options with the number of channels that the file states, which is the expected one.
    pub(super) fn channels(&self, raster: Option<usize>, mut o: Options) -> Result<Options, Error> {
        let list = self.lists.get(&Role::Channels).map(|list| list.single(self.source));
        for stated in [list.transpose()?, raster.map(|n| n as f64)].into_iter().flatten() {
            let channels = stated as usize;
            if channels as f64 != stated {
                let problem = "is not a number of channels";
                return Err(Error::value(self.source, "channels", stated, problem));
            }
            if let Some(expected) = o.channels.filter(|&n| n != channels) {
                let problem = format!("is not {expected}, the expected number of channels");
                return Err(Error::value(self.source, "channels", channels, problem));
            }
            o.channels = Some(channels);
        }
        o.check(self.source)?;
        Ok(o)
    }

    fn events(&mut self, options: &Options) -> Result<Recordings, Error> {
        let source = self.source;
        let options = self.channels(None, *options)?;
        let (time, unit) = (self.need(Role::Time)?, self.need(Role::Unit)?);
        let (labels, items) = (self.labels(&options)?, self.lists.get(&Role::Item));
        for list in [Some(unit), items].into_iter().flatten() {
            if list.count != time.count {
                let (name, other) = (&list.name, &time.name);
                let reason = format!(
                    "{name} has {} values, but {other} has {}; each spike has one of both",
                    list.count, time.count
                );
                return Err(Error::format(source, reason));
            }
        }
        let (number, values) = time.numbers(source)?;
        let half = (number.kind, number.size) == (Kind::Float, 2);
        let plain = options.time_unit == TimeUnit::Seconds && options.origin == Origin::Zero;
        let times: Vec<_> = values.map(|v| number.float(v)).collect();
        let (number, values) = unit.numbers(source)?;
        let index = |(k, v)| {
            small(number.whole(v), options.first_unit).map_err(|(value, problem)| {
                Error::value(source, format!("{}[{k}]", unit.name), value, problem)
            })
        };
        let units = values.enumerate().map(index).collect::<Result<_, _>>()?;
        let items = match items {
            Some(items) => {
                let (number, values) = items.numbers(source)?;
                let item = |(k, v)| {
                    let item = number.whole(v);
                    item.as_ref().ok().and_then(|&x| usize::try_from(x).ok()).ok_or_else(|| {
                        let value = item.map_or_else(|x| x, |x| x.to_string());
                        let place = format!("{}[{k}]", items.name);
                        Error::value(source, place, value, "is not an index of an item, from 0")
                    })
                };
                values.enumerate().map(item).collect::<Result<Vec<_>, _>>()?
            }
            None if labels.is_none_or(|labels| labels == 1) => vec![0; times.len()],
            None => {
                self.need(Role::Item)?;
                Vec::new()
            }
        };
        let used = items.iter().max().map_or(0, |&item| item.saturating_add(1));
        let per_spike = |&labels: &usize| labels == times.len() && used < labels;
        if let Some(labels) = labels.filter(per_spike) {
            let name = &self.need(Role::Label)?.name;
            let reason = format!(
                "{name} has a value for each of {labels} spikes; it needs one for each of {used} \
                 items"
            );
            return Err(Error::format(source, reason));
        }
        let n = labels.unwrap_or(used.max(1));
        let mut read = self.table(n, times, units, items, &options)?;
        if half && plain {
            read.time_format = TimeFormat::F16;
        }
        Ok(read)
    }

    /// Recordings of the events of `n` items, with the columns of items.
    pub(super) fn table(
        &self,
        n: usize,
        times: Vec<f64>,
        units: Vec<u16>,
        items: Vec<usize>,
        options: &Options,
    ) -> Result<Recordings, Error> {
        let source = self.source;
        // An item takes bytes of the file, and more of memory.
        if n > self.room / 4 + (1 << 20) {
            return Err(Error::format(source, format!("holds too many items: {n}")));
        }
        let labels = self.of_items(Role::Label, n)?;
        let keys = self.lists.get(&Role::Keys).filter(|_| labels.is_some());
        let labels = labels.unwrap_or_else(|| Column::unknown(n));
        let keys = match keys {
            Some(keys) if keys.count > 1 << 16 => {
                return Err(Error::format(source, "keys has more than 65536 values"));
            }
            Some(keys) => Some(keys.column(source)?.into_texts()),
            None => None,
        };
        let table = Table {
            times,
            units,
            items,
            labels,
            speakers: self.of_items(Role::Speaker, n)?,
            names: self.of_items(Role::Name, n)?,
            parts: self.of_items(Role::Part, n)?,
            keys,
        };
        let place = |list: &str, k: usize| {
            let known = role(list).and_then(|role| self.lists.get(&role));
            format!("{}[{k}]", known.map_or(list, |list| &list.name))
        };
        table.recordings(source, options, &place)
    }
}
