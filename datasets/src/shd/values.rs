//! Numbers and names of a file.

use std::collections::BTreeMap;

use hdf5_reader::{ByteOrder, Dataset, Datatype, StringPadding, StringSize, VarLenKind};

use super::MAX_KEYS;
use super::container::{File, Rows};
use crate::Error;

/// Kind of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// How the file stores a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) kind: Kind,
    /// Size in bytes, at most 8.
    pub(crate) size: usize,
    pub(crate) big_endian: bool,
}

impl Number {
    /// The number type of a data type. h5py writes booleans as an enumeration, PyTables as a
    /// bit field.
    pub(super) fn of(datatype: &Datatype) -> Option<Self> {
        let (kind, size, order) = match *datatype {
            Datatype::FixedPoint { size: size @ 1..=8, signed, byte_order } => {
                (if signed { Kind::Signed } else { Kind::Unsigned }, size, byte_order)
            }
            Datatype::FloatingPoint { size: size @ (2 | 4 | 8), byte_order } => {
                (Kind::Float, size, byte_order)
            }
            Datatype::Bitfield { size: size @ 1..=8, byte_order } => {
                (Kind::Unsigned, size, byte_order)
            }
            Datatype::Enum { ref base, .. } => return Self::of(base),
            _ => return None,
        };
        Some(Self { kind, size: size.into(), big_endian: order == ByteOrder::BigEndian })
    }

    /// The bits of a number; its value unless it is a float.
    pub(super) fn integer(self, bytes: &[u8]) -> i128 {
        let push = |x: i128, &b: &u8| x << 8 | i128::from(b);
        let x = match self.big_endian {
            true => bytes.iter().fold(0, push),
            false => bytes.iter().rev().fold(0, push),
        };
        let bits = 8 * bytes.len();
        if self.kind == Kind::Signed && x >> (bits - 1) != 0 { x - (1 << bits) } else { x }
    }

    pub(crate) fn float(self, bytes: &[u8]) -> f64 {
        let bits = self.integer(bytes);
        match (self.kind, self.size) {
            (Kind::Float, 2) => half::f16::from_bits(bits as u16).to_f64(),
            (Kind::Float, 4) => f32::from_bits(bits as u32).into(),
            (Kind::Float, _) => f64::from_bits(bits as u64),
            _ => bits as f64,
        }
    }

    /// A whole number; else the number as text.
    pub(crate) fn whole(self, bytes: &[u8]) -> Result<i128, String> {
        if self.kind != Kind::Float {
            return Ok(self.integer(bytes));
        }
        let x = self.float(bytes);
        if x.fract() == 0.0 && x.abs() < 1e30 { Ok(x as i128) } else { Err(x.to_string()) }
    }
}

/// The name of a type as its writers know it.
pub(super) fn type_name(datatype: &Datatype) -> String {
    let name = match datatype {
        Datatype::FixedPoint { size, signed: true, .. } => return format!("int{}", 8 * size),
        Datatype::FixedPoint { size, .. } => return format!("uint{}", 8 * u32::from(*size)),
        Datatype::FloatingPoint { size: size @ ..=8, .. } => {
            return format!("float{}", 8 * u32::from(*size));
        }
        Datatype::FloatingPoint { size, .. } => {
            return format!("float{} (save them as float64)", 8 * u32::from(*size));
        }
        Datatype::VarLen { kind: VarLenKind::String, .. } | Datatype::String { .. } => "text",
        Datatype::VarLen { base, .. } => return format!("sequences of {}", type_name(base)),
        Datatype::Array { base, dims } => {
            return format!("arrays {dims:?} of {}", type_name(base));
        }
        Datatype::Compound { .. } => "records",
        Datatype::Enum { .. } => "an enumeration",
        Datatype::Reference { .. } => "references",
        Datatype::Bitfield { .. } => "bits",
        Datatype::Opaque { .. } => "opaque bytes",
    };
    name.into()
}

pub(super) struct Units<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) number: Number,
    /// Number of the first channel.
    pub(super) first: u16,
}

impl Units<'_> {
    pub(super) fn row(&self, n: usize) -> Result<Vec<u16>, Error> {
        let Self { rows, number, first } = self;
        let bytes = rows.bytes(n)?;
        let values = bytes.chunks_exact(number.size);
        if (number.size, number.kind, *first) == (2, Kind::Unsigned, 0) {
            return Ok(values.map(|v| two_bytes(v, number.big_endian)).collect());
        }
        let field = |i| format!("{}[{n}][{i}]", rows.path);
        let unit = |(i, v)| rows.file.small(number.whole(v), *first, || field(i));
        values.enumerate().map(unit).collect()
    }
}

impl File<'_> {
    /// The number of channels that the file states, which is the expected one.
    pub(super) fn channels(&self, expected: Option<usize>) -> Result<Option<usize>, Error> {
        let path = "extra/channels";
        if !self.has(path)? {
            return Ok(None);
        }
        let set = self.dataset(path)?;
        if set.num_elements().map_err(|e| self.format(e))? != 1 {
            return Err(self.format(format!("{path} has shape {:?}, not one value", set.shape())));
        }
        let stated = self.numbers(&set, path, |_, x| {
            let most = super::MAX_CHANNELS;
            let value = match x {
                Ok(x) => x.to_string(),
                Err(x) => x,
            };
            let stated = value.parse().ok().filter(|n| (1..=most).contains(n));
            let large = value.parse().is_ok_and(|n: i128| n > most as i128);
            let advice = if large { "; sum neighbours in larger data" } else { "" };
            let problem = format!("is not between 1 and {most}{advice}");
            stated.ok_or_else(|| Error::value(self.source, path, value, problem))
        })?;
        match (stated.first().copied(), expected) {
            (Some(stated), Some(expected)) if stated != expected => {
                let problem = format!("is not {expected}, the expected number of channels");
                Err(Error::value(self.source, path, stated, problem))
            }
            (Some(stated), _) => Ok(Some(stated)),
            (None, _) => Err(self.format(format!("{path} holds no value"))),
        }
    }

    /// The class of every utterance, and the names of the classes if the labels are names. Names
    /// count in the order of `keys`, else in alphabetical order.
    pub(super) fn classes(
        &self,
        keys: Option<&[String]>,
        first: u16,
    ) -> Result<(Vec<u16>, Option<Vec<String>>), Error> {
        let path = "labels";
        let set = self.dataset(path)?;
        if !is_text(set.dtype()) {
            self.one_dimensional(&set, path)?;
            let class = |i, x| self.small(x, first, || place(path, i));
            return Ok((self.numbers(&set, path, class)?, None));
        }
        let (codes, names) = self.names(set, path)?;
        let Some(keys) = keys else { return Ok((codes, Some(names))) };
        let class = |name: &String| {
            let class = keys.iter().position(|key| key == name);
            class.map(|class| class as u16).ok_or_else(|| {
                Error::value(self.source, path, name, "is not one of the names in extra/keys")
            })
        };
        let classes = names.iter().map(class).collect::<Result<Vec<_>, _>>()?;
        Ok((codes.into_iter().map(|code| classes[usize::from(code)]).collect(), None))
    }

    /// The speakers of `n` utterances, and their names if they have some. Names are counted from
    /// 0 in their order; numbers beyond 16 bits are names.
    pub(super) fn speakers(&self, n: usize) -> Result<(Vec<u16>, Vec<String>), Error> {
        let path = "extra/speaker";
        let set = self.dataset(path)?;
        if is_text(set.dtype()) {
            let (codes, names) = self.names(set, path)?;
            self.check_len(path, codes.len(), n)?;
            return Ok((codes, names));
        }
        self.check_len(path, self.one_dimensional(&set, path)? as usize, n)?;
        let numbers = self.numbers(&set, path, |i, x| {
            x.map_err(|x| Error::value(self.source, place(path, i), x, "is not a whole number"))
        })?;
        if let Ok(small) = numbers.iter().map(|&x| u16::try_from(x)).collect() {
            return Ok((small, Vec::new()));
        }
        let mut numbering = Numbering::default();
        let codes = numbers.iter().map(|x| numbering.code(x.to_string().as_str()));
        let codes = codes.collect::<Option<Vec<_>>>().ok_or_else(|| self.too_many(path))?;
        Ok(numbering.finish(codes))
    }

    /// The rows of a data set of text; none if it is absent.
    pub(super) fn texts(&self, path: &'static str) -> Result<Vec<String>, Error> {
        let mut texts = Vec::new();
        if self.has(path)? {
            self.each_text(self.dataset(path)?, path, |_, text| {
                texts.push(text.to_owned());
                Ok(())
            })?;
        }
        Ok(texts)
    }

    /// Names of the classes.
    pub(super) fn keys(&self) -> Result<Vec<String>, Error> {
        let path = "extra/keys";
        let set = self.dataset(path)?;
        let n = self.one_dimensional(&set, path)?;
        if n > MAX_KEYS as u64 {
            return Err(self.format(format!("{path} has {n} rows, more than {MAX_KEYS}")));
        }
        self.texts(path)
    }

    /// The names in a data set, numbered in alphabetical order, and the number of every row.
    fn names(&self, set: Dataset, path: &'static str) -> Result<(Vec<u16>, Vec<String>), Error> {
        let (mut numbering, mut codes) = (Numbering::default(), Vec::new());
        self.each_text(set, path, |_, name| {
            codes.push(numbering.code(name).ok_or_else(|| self.too_many(path))?);
            Ok(())
        })?;
        Ok(numbering.finish(codes))
    }

    fn too_many(&self, path: &str) -> Error {
        self.format(format!("{path} has more than {MAX_KEYS} different values"))
    }

    /// Calls `f` with the index and the text of every row. A text ends at its first NUL.
    fn each_text(
        &self,
        set: Dataset,
        path: &'static str,
        mut f: impl FnMut(usize, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let n = self.one_dimensional(&set, path)? as usize;
        let padded =
            matches!(set.dtype(), Datatype::String { padding: StringPadding::SpacePad, .. });
        let mut call = |i, bytes: &[u8]| {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            let text = std::str::from_utf8(&bytes[..end]);
            let text = text.map_err(|e| self.format(format!("{}: {e}", place(path, i))))?;
            f(i, if padded { text.trim_end_matches(' ') } else { text })
        };
        match *set.dtype() {
            Datatype::String { size: StringSize::Fixed(size), .. } => {
                let raw = set.read_raw_bytes().map_err(|e| self.format(e))?;
                let mut rows = raw.chunks_exact(size.max(1) as usize).enumerate();
                rows.try_for_each(|(i, row)| call(i, row))
            }
            ref datatype if is_text(datatype) => {
                let rows = self.rows(set, path, 1, n)?;
                (0..n).try_for_each(|i| call(i, &rows.bytes(i)?))
            }
            _ => Err(self.type_error(&set, path, "text")),
        }
    }

    fn numbers<T>(
        &self,
        set: &Dataset,
        path: &str,
        to: impl Fn(usize, Result<i128, String>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Some(number) = Number::of(set.dtype()) else {
            return Err(self.type_error(set, path, "whole numbers or text"));
        };
        let raw = set.read_raw_bytes().map_err(|e| self.format(e))?;
        let values = raw.chunks_exact(number.size).enumerate();
        values.map(|(i, v)| to(i, number.whole(v))).collect()
    }

    fn small(
        &self,
        x: Result<i128, String>,
        first: u16,
        field: impl Fn() -> String,
    ) -> Result<u16, Error> {
        small(x, first).map_err(|(value, problem)| {
            let (field, negative) = (field(), value.starts_with('-'));
            let advice = match field.split('[').next() {
                Some("labels") if negative => "; leave out items without a class",
                Some("spikes/units") if !negative => "; sum neighbours in larger data",
                _ => "",
            };
            Error::value(self.source, field, value, problem + advice)
        })
    }
}

/// A number of 16 bits, counted from `first`; else its text and what is wrong with it.
pub(crate) fn small(x: Result<i128, String>, first: u16) -> Result<u16, (String, String)> {
    let x = x.map_err(|x| (x, "is not a whole number".into()))?;
    let first = i128::from(first);
    u16::try_from(x.saturating_sub(first)).map_err(|_| {
        let last = i128::from(u16::MAX) + first;
        (x.to_string(), format!("is not between {first} and {last}"))
    })
}

/// Values in the order of their first occurrence.
pub(crate) struct Numbering<K> {
    codes: BTreeMap<K, u16>,
}

impl<K> Default for Numbering<K> {
    fn default() -> Self {
        Self { codes: BTreeMap::new() }
    }
}

impl<K: Ord> Numbering<K> {
    /// The code of a value; `None` if there are more than 65,536 values.
    pub(crate) fn code<Q: Ord + ToOwned<Owned = K> + ?Sized>(&mut self, value: &Q) -> Option<u16>
    where
        K: std::borrow::Borrow<Q>,
    {
        if let Some(&code) = self.codes.get(value) {
            return Some(code);
        }
        let code = u16::try_from(self.codes.len()).ok()?;
        self.codes.insert(value.to_owned(), code);
        Some(code)
    }

    /// Codes that follow the order of the values, and the values.
    pub(crate) fn finish(self, codes: Vec<u16>) -> (Vec<u16>, Vec<K>) {
        let mut ranks = vec![0; self.codes.len()];
        for (rank, &code) in (0..).zip(self.codes.values()) {
            ranks[usize::from(code)] = rank;
        }
        let codes = codes.into_iter().map(|code| ranks[usize::from(code)]).collect();
        (codes, self.codes.into_keys().collect())
    }
}

fn is_text(datatype: &Datatype) -> bool {
    match datatype {
        Datatype::VarLen { kind, .. } => *kind == VarLenKind::String,
        Datatype::String { .. } => true,
        _ => false,
    }
}

fn place(path: &str, i: usize) -> String {
    format!("{path}[{i}]")
}

pub(super) fn two_bytes(bytes: &[u8], big_endian: bool) -> u16 {
    let bytes = [bytes[0], bytes[1]];
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}
