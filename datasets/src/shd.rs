//! Files in the HDF5 layout of the Spiking Heidelberg Digits (SHD) and the Spiking Speech Commands
//! (SSC): Cramer et al., *The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking
//! Neural Networks* (2020).
//!
//! A file of n utterances holds:
//!
//! | data set | type | meaning |
//! | --- | --- | --- |
//! | `spikes/times` | n sequences of float16 or float32 | times of the spikes in seconds, ascending |
//! | `spikes/units` | n sequences of integers | channels of the spikes |
//! | `labels` | n integers | classes |
//! | `extra/speaker` | n integers, optional | speakers |
//! | `extra/keys` | one string per class, optional | names of the classes |
//! | `extra/channels` | one integer, optional | number of channels; absent in the published files |
//!
//! A malformed file gives an error, never a panic. The HDF5 decoder checks the ranges that it
//! reads; the structures that it does not check itself are checked here before it reads them: those
//! that would take many times the memory of the file, and the filters of a data set. The fuzz
//! target `read_h5`, which stops at any panic, holds the reader to that with overflow checks on.

mod bounds;
mod filters;

use std::path::Path;
use std::sync::Arc;

use half::slice::HalfFloatSliceExt as _;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::{ByteOrder, Dataset, Datatype, Hdf5File, OpenOptions, StringSize, VarLenKind};
use hdf5_writer::{DatasetBuilder, Hdf5Builder, WriteOptions};

use crate::{Error, Recording, Recordings, TimeFormat, bytes, parallel};
use bounds::BoundedStorage;

/// Number of channels of the published files, which do not state it.
pub const CHANNELS: usize = 700;

/// Units are 16 bits wide.
const MAX_CHANNELS: usize = 1 << 16;
/// Labels are 16 bits wide.
const MAX_KEYS: usize = 1 << 16;
/// Largest header of a group or data set in bytes. The decoder keeps every header, and takes many
/// times its size.
const MAX_HEADER: usize = 8 << 10;
/// Allowance for chunks that are larger than their contents.
const CHUNK_SLACK: usize = 4 << 20;

/// Reads a `.h5` or `.h5.gz` file on all cores.
///
/// `channels` is the expected number of channels. Without it, the file states the number, or it is
/// [`CHANNELS`].
///
/// # Errors
/// The file cannot be read, has another layout, states a number of channels other than `channels`,
/// or fails [`Recordings::validate`].
pub fn read(path: impl AsRef<Path>, channels: Option<usize>) -> Result<Recordings, Error> {
    let path = path.as_ref();
    from_bytes(bytes::read(path)?, &path.display().to_string(), channels)
}

/// Reads the bytes of a file, compressed by gzip or not. Error messages name it `source`.
///
/// Without `extra/keys`, the classes are 0 to the largest label, and their names are these numbers.
///
/// # Errors
/// The same as for [`read`], except that no file is opened.
pub fn from_bytes(
    bytes: Vec<u8>,
    source: &str,
    channels: Option<usize>,
) -> Result<Recordings, Error> {
    let bytes = bytes::unpack(bytes, source)?;
    let recordings = parse(bytes, source, channels)?;
    recordings.validate()?;
    Ok(recordings)
}

/// Encodes recordings as a file of this layout, with times as float32. [`from_bytes`] reads it
/// again. The memory needed is a few times the size of the file.
///
/// # Errors
/// The recordings fail [`Recordings::validate`], have more than 65,536 channels or classes, or a
/// class name is longer than HDF5 allows.
pub fn to_bytes(recordings: &Recordings) -> Result<Vec<u8>, Error> {
    recordings.validate()?;
    for (field, value, most) in
        [("channels", recordings.channels, MAX_CHANNELS), ("keys", recordings.keys.len(), MAX_KEYS)]
    {
        if value > most {
            let problem = format!("is above {most}, the most that this layout can hold");
            return Err(Error::value(&recordings.source, field, value, problem));
        }
    }
    let items = &recordings.items;
    let little = hdf5_writer::ByteOrder::LittleEndian;
    let times = hdf5_writer::Datatype::FloatingPoint { size: 4, byte_order: little };
    let units = hdf5_writer::Datatype::FixedPoint { size: 2, signed: false, byte_order: little };
    let bytes_of_times = |r: &Recording| r.times.iter().flat_map(|t| t.to_le_bytes()).collect();
    let bytes_of_units = |r: &Recording| r.units.iter().flat_map(|u| u.to_le_bytes()).collect();
    let n = [items.len() as u64];
    let encoded = || {
        let all_times = items.iter().map(bytes_of_times).collect();
        let all_units = items.iter().map(bytes_of_units).collect();
        let labels: Vec<u16> = items.iter().map(|r| r.label).collect();
        let speakers: Vec<u16> = items.iter().map(|r| r.speaker).collect();
        let (keys, channels) = (&recordings.keys, recordings.channels as u32);
        Hdf5Builder::new()
            .dataset(DatasetBuilder::vlen_sequence_data("spikes/times", times, n, all_times)?)
            .dataset(DatasetBuilder::vlen_sequence_data("spikes/units", units, n, all_units)?)
            .dataset(DatasetBuilder::typed_data("labels", n, &labels)?)
            .dataset(DatasetBuilder::typed_data("extra/speaker", n, &speakers)?)
            .dataset(DatasetBuilder::typed_data("extra/channels", [1], &[channels])?)
            .dataset(DatasetBuilder::fixed_string_data(
                "extra/keys",
                [keys.len() as u64],
                keys.as_slice(),
            )?)
            .into_plan()?
            .encode(WriteOptions::default())
    };
    encoded().map_err(|e: hdf5_writer::Error| Error::format(&recordings.source, e))
}

fn parse(bytes: Vec<u8>, source: &str, channels: Option<usize>) -> Result<Recordings, Error> {
    let limit = bytes.len();
    let options = OpenOptions::default()
        .with_max_read_bytes(limit.saturating_add(CHUNK_SLACK))
        .with_max_chunk_bytes(limit.saturating_add(CHUNK_SLACK))
        .with_max_object_header_bytes(MAX_HEADER);
    let hdf5 = Hdf5File::from_storage_with_options(Arc::new(BoundedStorage::new(bytes)), options)
        .map_err(|e| Error::format(source, e))?;
    let file = File { hdf5, source, limit };

    let channels = file.channels(channels)?;
    let labels = file.integers("labels")?;
    let n = labels.len();
    let (times, units) = (file.times(n)?, file.units(n)?);
    let spikes = |n, _: &u16| Ok((times.row(n)?, units.row(n)?));
    let spikes = parallel::try_map(&labels, parallel::threads(n), spikes)?;
    let speakers = if file.has_extra("speaker")? {
        let speakers = file.integers("extra/speaker")?;
        file.check_len("extra/speaker", speakers.len(), n)?;
        speakers
    } else {
        vec![0; n]
    };
    let keys = if file.has_extra("keys")? {
        file.keys()?
    } else {
        (0..labels.iter().max().map_or(0, |&l| l as usize + 1)).map(|c| c.to_string()).collect()
    };
    let items = spikes.into_iter().zip(labels.into_iter().zip(speakers));
    let items = items
        .map(|((times, units), (label, speaker))| Recording { times, units, label, speaker })
        .collect();
    Ok(Recordings { source: source.into(), channels, keys, time_format: times.format, items })
}

/// A data set of variable-length rows.
struct Rows<'a> {
    file: &'a File<'a>,
    set: Dataset,
    path: &'static str,
    /// Bytes per value.
    size: usize,
    /// Where the file stores each row.
    references: Vec<u8>,
}

impl Rows<'_> {
    fn bytes(&self, n: usize) -> Result<Vec<u8>, Error> {
        let width = self.set.vlen_reference_size();
        let reference = &self.references[n * width..][..width];
        let bytes = self.set.resolve_vlen_reference_bytes(reference, self.size);
        bytes.map_err(|e| self.file.format(e))
    }
}

struct Times<'a> {
    rows: Rows<'a>,
    format: TimeFormat,
    big_endian: bool,
}

impl Times<'_> {
    fn row(&self, n: usize) -> Result<Vec<f32>, Error> {
        let bytes = self.rows.bytes(n)?;
        Ok(match self.format {
            TimeFormat::F16 => {
                let half = |v: &[u8]| half::f16::from_bits(two_bytes(v, self.big_endian));
                bytes.chunks_exact(2).map(half).collect::<Vec<_>>().to_f32_vec()
            }
            TimeFormat::F32 => {
                let single = |v: &[u8]| f32::from_bits(integer(v, false, self.big_endian) as u32);
                bytes.chunks_exact(4).map(single).collect()
            }
        })
    }
}

struct Units<'a> {
    rows: Rows<'a>,
    signed: bool,
    big_endian: bool,
}

impl Units<'_> {
    fn row(&self, n: usize) -> Result<Vec<u16>, Error> {
        let Self { rows, signed, big_endian } = self;
        let bytes = rows.bytes(n)?;
        let values = bytes.chunks_exact(rows.size);
        if (rows.size, *signed) == (2, false) {
            return Ok(values.map(|v| two_bytes(v, *big_endian)).collect());
        }
        let field = |i| format!("{}[{n}][{i}]", rows.path);
        let unit = |(i, v)| rows.file.to_u16(integer(v, *signed, *big_endian), || field(i));
        values.enumerate().map(unit).collect()
    }
}

struct File<'a> {
    hdf5: Hdf5File,
    source: &'a str,
    /// Size of the file in bytes. It bounds what the rows of a variable-length data set can hold.
    limit: usize,
}

impl File<'_> {
    fn times(&self, n: usize) -> Result<Times<'_>, Error> {
        let path = "spikes/times";
        let set = self.dataset(path)?;
        let (size, big_endian) = match vlen_base(&set) {
            Some(&Datatype::FloatingPoint { size: size @ (2 | 4), byte_order }) => {
                (size, byte_order == ByteOrder::BigEndian)
            }
            _ => return Err(self.type_error(&set, path, "variable-length float16 or float32")),
        };
        let format = if size == 2 { TimeFormat::F16 } else { TimeFormat::F32 };
        Ok(Times { rows: self.rows(set, path, size.into(), n)?, format, big_endian })
    }

    fn units(&self, n: usize) -> Result<Units<'_>, Error> {
        let path = "spikes/units";
        let set = self.dataset(path)?;
        let Some((size, signed, big_endian)) = vlen_base(&set).and_then(integer_type) else {
            return Err(self.type_error(&set, path, "variable-length integers"));
        };
        Ok(Units { rows: self.rows(set, path, size, n)?, signed, big_endian })
    }

    fn integers(&self, path: &str) -> Result<Vec<u16>, Error> {
        let set = self.dataset(path)?;
        self.one_dimensional(&set, path)?;
        self.numbers(&set, path, |i, x| self.to_u16(x, || format!("{path}[{i}]")))
    }

    fn numbers<T>(
        &self,
        set: &Dataset,
        path: &str,
        to: impl Fn(usize, i128) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Some((size, signed, big_endian)) = integer_type(set.dtype()) else {
            return Err(self.type_error(set, path, "integers"));
        };
        let raw = set.read_raw_bytes().map_err(|e| self.format(e))?;
        let values = raw.chunks_exact(size).enumerate();
        values.map(|(i, v)| to(i, integer(v, signed, big_endian))).collect()
    }

    /// The number of channels that the file states, else the expected one, else [`CHANNELS`].
    fn channels(&self, expected: Option<usize>) -> Result<usize, Error> {
        if !self.has_extra("channels")? {
            return Ok(expected.unwrap_or(CHANNELS));
        }
        let path = "extra/channels";
        let set = self.dataset(path)?;
        if set.num_elements().map_err(|e| self.format(e))? != 1 {
            return Err(self.format(format!("{path} has shape {:?}, not one value", set.shape())));
        }
        let stated = self.numbers(&set, path, |_, x| {
            let stated = usize::try_from(x).ok().filter(|n| (1..=MAX_CHANNELS).contains(n));
            let problem = format!("is not between 1 and {MAX_CHANNELS}");
            stated.ok_or_else(|| Error::value(self.source, path, x, problem))
        })?;
        match (stated.first().copied(), expected) {
            (Some(stated), Some(expected)) if stated != expected => {
                let problem = format!("is not {expected}, the expected number of channels");
                Err(Error::value(self.source, path, stated, problem))
            }
            (Some(stated), _) => Ok(stated),
            (None, _) => Err(self.format(format!("{path} holds no value"))),
        }
    }

    fn keys(&self) -> Result<Vec<String>, Error> {
        let path = "extra/keys";
        let set = self.dataset(path)?;
        let n = self.one_dimensional(&set, path)?;
        if n > MAX_KEYS as u64 {
            return Err(self.format(format!("{path} has {n} rows, more than {MAX_KEYS}")));
        }
        let variable_length = match set.dtype() {
            Datatype::VarLen { kind, .. } => *kind == VarLenKind::String,
            Datatype::String { size, .. } => *size == StringSize::Variable,
            _ => false,
        };
        if !variable_length {
            return set.read_strings().map_err(|e| self.format(e));
        }
        let n = n as usize;
        let rows = self.rows(set, path, 1, n)?;
        (0..n).map(|i| self.text(rows.bytes(i)?, &format!("{path}[{i}]"))).collect()
    }

    /// A string, which ends at the first NUL.
    fn text(&self, mut bytes: Vec<u8>, field: &str) -> Result<String, Error> {
        bytes.truncate(bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len()));
        String::from_utf8(bytes).map_err(|e| self.format(format!("{field}: {e}")))
    }

    /// A variable-length data set of `n` rows, with values of `size` bytes.
    fn rows(
        &self,
        set: Dataset,
        path: &'static str,
        size: usize,
        n: usize,
    ) -> Result<Rows<'_>, Error> {
        self.one_dimensional(&set, path)?;
        let references = set.read_raw_bytes().map_err(|e| self.format(e))?;
        let each = references.chunks_exact(set.vlen_reference_size());
        self.check_len(path, each.len(), n)?;
        let mut left = self.limit;
        for reference in each {
            // A reference begins with the number of values. An empty row takes memory, too.
            let values = integer(&reference[..4], false, false) as usize;
            let taken = values.checked_mul(size).map(|len| len.max(2));
            left = taken.and_then(|len| left.checked_sub(len)).ok_or_else(|| {
                self.format(format!("{path} refers to more values than the file holds"))
            })?;
        }
        Ok(Rows { file: self, set, path, size, references })
    }

    fn has_extra(&self, name: &str) -> Result<bool, Error> {
        let root = self.hdf5.root_group().map_err(|e| self.format(e))?;
        let (groups, _) = root.member_names().map_err(|e| self.format(e))?;
        if !groups.iter().any(|g| g == "extra") {
            return Ok(false);
        }
        let extra = self.hdf5.group("extra").and_then(|g| g.member_names());
        Ok(extra.map_err(|e| self.format(e))?.1.iter().any(|d| d == name))
    }

    fn dataset(&self, path: &str) -> Result<Dataset, Error> {
        let set = self.hdf5.dataset(path).map_err(|e| self.format(e))?;
        let header = self.hdf5.get_or_parse_header(set.address()).map_err(|e| self.format(e))?;
        for message in &header.messages {
            if let HdfMessage::FilterPipeline(pipeline) = message {
                filters::check(&pipeline.filters)
                    .map_err(|reason| self.format(format!("{path} {reason}")))?;
            }
        }
        // Every chunk takes bytes of the file and more of memory, even if it holds no value.
        let chunk = set.chunks().unwrap_or_default();
        let count = |(&n, size): (&u64, u32)| n.div_ceil(size.max(1).into());
        let chunks = set.shape().iter().zip(chunk).map(count);
        if chunks.fold(1, u64::saturating_mul) > (self.limit / 16 + 1024) as u64 {
            return Err(self.format(format!("{path} has more chunks than the file holds")));
        }
        Ok(set)
    }

    /// The number of rows of a one-dimensional data set.
    fn one_dimensional(&self, set: &Dataset, path: &str) -> Result<u64, Error> {
        match *set.shape() {
            [n] => Ok(n),
            ref shape => Err(self.format(format!("{path} has shape {shape:?}, not one dimension"))),
        }
    }

    fn check_len(&self, path: &str, len: usize, n: usize) -> Result<(), Error> {
        if len == n {
            return Ok(());
        }
        Err(self.format(format!("{path} has {len} rows, but labels has {n}")))
    }

    fn to_u16(&self, x: i128, field: impl Fn() -> String) -> Result<u16, Error> {
        u16::try_from(x)
            .map_err(|_| Error::value(self.source, field(), x, "is not between 0 and 65535"))
    }

    fn type_error(&self, set: &Dataset, path: &str, expected: &str) -> Error {
        self.format(format!("{path} has type {:?}, not {expected}", set.dtype()))
    }

    fn format(&self, reason: impl ToString) -> Error {
        Error::format(self.source, reason)
    }
}

/// The type of the values of a variable-length data set.
fn vlen_base(set: &Dataset) -> Option<&Datatype> {
    match set.dtype() {
        Datatype::VarLen { base, .. } => Some(base),
        _ => None,
    }
}

/// Size in bytes, whether it is signed, whether it is big-endian.
fn integer_type(datatype: &Datatype) -> Option<(usize, bool, bool)> {
    match *datatype {
        Datatype::FixedPoint { size: size @ 1..=8, signed, byte_order } => {
            Some((usize::from(size), signed, byte_order == ByteOrder::BigEndian))
        }
        _ => None,
    }
}

fn two_bytes(bytes: &[u8], big_endian: bool) -> u16 {
    let bytes = [bytes[0], bytes[1]];
    if big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

fn integer(bytes: &[u8], signed: bool, big_endian: bool) -> i128 {
    let push = |x: i128, &b: &u8| x << 8 | i128::from(b);
    let x = if big_endian { bytes.iter().fold(0, push) } else { bytes.iter().rev().fold(0, push) };
    let bits = 8 * bytes.len();
    if signed && x >> (bits - 1) != 0 { x - (1 << bits) } else { x }
}
