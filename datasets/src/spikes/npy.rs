//! Arrays of NumPy: the `.npy` format, versions 1 to 3.

use std::io::Read;

use crate::shd::values::{Kind, Number};

/// Largest header in bytes.
const MAX_HEADER: usize = 1 << 16;
/// Deepest nesting of a header.
const MAX_DEPTH: usize = 8;

/// What a value of an array is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(Number),
    /// Bytes of text of one byte per letter.
    Bytes(usize),
    /// Letters of four bytes.
    Letters {
        count: usize,
        big_endian: bool,
    },
    /// What is not read, as NumPy writes it.
    Other(String),
}

/// A value of every row: the whole row, or a field of a record.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Name of the field; empty for the whole row.
    pub(super) name: String,
    pub(super) value: Value,
    /// Place in the row in bytes.
    pub(super) offset: usize,
}

/// What an array holds.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) fields: Vec<Field>,
    /// Size of a row in bytes.
    pub(super) size: usize,
    /// Whether the first index changes fastest.
    pub(super) fortran: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Reads the header of an array. The data follow it.
    pub(super) fn read(file: &mut impl Read) -> Result<Self, String> {
        let mut start = [0; 8];
        file.read_exact(&mut start).map_err(|_| "ends early")?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err("is not an array of NumPy".into());
        }
        let mut len = [0; 4];
        let bytes = if start[6] == 1 { 2 } else { 4 };
        file.read_exact(&mut len[..bytes]).map_err(|_| "ends early")?;
        let len = u32::from_le_bytes(len) as usize;
        if len > MAX_HEADER {
            return Err(format!("has a header of {len} bytes, more than {MAX_HEADER}"));
        }
        let mut text = vec![0; len];
        file.read_exact(&mut text).map_err(|_| "ends early")?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Self::parse(&text).ok_or_else(|| "has a header that is not read".into())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut literals = Literals { rest: text };
        let Literal::List(pairs) = literals.literal(0)? else { return None };
        let get = |key: &str| {
            let pairs = pairs.chunks_exact(2);
            pairs.rev().find(|pair| pair[0] == Literal::Text(key.into())).map(|pair| &pair[1])
        };
        let &Literal::Word(fortran) = get("fortran_order")? else { return None };
        let Literal::List(shape) = get("shape")? else { return None };
        let extent = |x: &Literal| match *x {
            Literal::Number(x) => Some(x),
            _ => None,
        };
        let shape = shape.iter().map(extent).collect::<Option<_>>()?;
        let (fields, size) = match get("descr")? {
            Literal::Text(descr) => {
                let (value, size) = value(descr)?;
                (vec![Field { name: String::new(), value, offset: 0 }], size)
            }
            Literal::List(list) => record(list)?,
            _ => return None,
        };
        Some(Self { fields, size, fortran, shape })
    }

    /// Whether the rows are values, not records.
    pub(super) fn is_plain(&self) -> bool {
        matches!(&self.fields[..], [field] if field.name.is_empty())
    }

    /// The number of rows.
    pub(super) fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n))
    }
}

/// The fields of a record and its size.
fn record(list: &[Literal]) -> Option<(Vec<Field>, usize)> {
    let (mut fields, mut offset) = (Vec::new(), 0usize);
    for field in list {
        let Literal::List(field) = field else { return None };
        let (name, kind) = (field.first()?, field.get(1)?);
        let name = match name {
            Literal::Text(name) => name,
            // A title and the name.
            Literal::List(names) => match names.last()? {
                Literal::Text(name) => name,
                _ => return None,
            },
            _ => return None,
        };
        let (mut value, mut size) = match kind {
            Literal::Text(descr) => value(descr)?,
            Literal::List(inner) => (Value::Other("records".into()), record(inner)?.1),
            _ => return None,
        };
        if let Some(Literal::List(shape)) = field.get(2) {
            for n in shape {
                let Literal::Number(n) = n else { return None };
                size = size.checked_mul(*n)?;
            }
            value = Value::Other("arrays".into());
        }
        fields.push(Field { name: name.clone(), value, offset });
        offset = offset.checked_add(size)?;
    }
    Some((fields, offset))
}

/// A type and its size in bytes, for example of `<f4`.
fn value(descr: &str) -> Option<(Value, usize)> {
    let big_endian = descr.starts_with('>');
    let plain = descr.trim_start_matches(['<', '>', '|', '=']);
    let kind = plain.chars().next()?;
    let digits = plain[kind.len_utf8()..].split('[').next()?;
    let size = if digits.is_empty() { 8 } else { digits.parse::<usize>().ok()? };
    let number = |kind| Value::Number(Number { kind, size, big_endian });
    let value = match (kind, size) {
        ('b', 1) | ('u', 1 | 2 | 4 | 8) => number(Kind::Unsigned),
        ('i', 1 | 2 | 4 | 8) => number(Kind::Signed),
        ('f', 2 | 4 | 8) => number(Kind::Float),
        ('S' | 'a', _) => Value::Bytes(size),
        ('U', count) => {
            return Some((Value::Letters { count, big_endian }, count.checked_mul(4)?));
        }
        ('O', _) => Value::Other("objects".into()),
        ('M' | 'm', _) => Value::Other("dates".into()),
        ('c', _) => Value::Other("complex numbers".into()),
        _ => Value::Other(descr.into()),
    };
    Some((value, size))
}

/// A value of Python. A dictionary is the list of its keys and values in turn.
#[derive(Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(usize),
    Word(bool),
    List(Vec<Literal>),
}

struct Literals<'a> {
    rest: &'a str,
}

impl Literals<'_> {
    fn literal(&mut self, depth: usize) -> Option<Literal> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next()?;
        match first {
            '(' | '[' | '{' if depth < MAX_DEPTH => {
                self.rest = &self.rest[1..];
                let mut list = Vec::new();
                loop {
                    self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', ',', ':']);
                    if let Some(rest) = self.rest.strip_prefix([')', ']', '}']) {
                        self.rest = rest;
                        return Some(Literal::List(list));
                    }
                    list.push(self.literal(depth + 1)?);
                }
            }
            '\'' | '"' => {
                let (text, rest) = self.rest[1..].split_once(first)?;
                self.rest = rest;
                Some(Literal::Text(text.into()))
            }
            _ => {
                let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric())?;
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                match word {
                    "True" => Some(Literal::Word(true)),
                    "False" => Some(Literal::Word(false)),
                    // Python 2 wrote long numbers with an L.
                    number => number.trim_end_matches('L').parse().ok().map(Literal::Number),
                }
            }
        }
    }
}
