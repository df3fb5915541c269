//! The HDF5 file around the layout.

use std::sync::Arc;

use hdf5_reader::error::Error as ReadError;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::{Dataset, Datatype, Hdf5File, OpenOptions, VarLenKind};

use super::bounds::BoundedStorage;
use super::times::Times;
use super::values::{Number, Units, type_name};
use super::{Options, content, filters};
use crate::Error;

/// Largest header of a group or data set in bytes: a message has at most 64 KiB. The decoder keeps
/// every header, and takes many times its size.
const MAX_HEADER: usize = 96 << 10;
/// Allowance for chunks that are larger than their contents.
const CHUNK_SLACK: usize = 4 << 20;

pub(super) struct File<'a> {
    hdf5: Hdf5File,
    pub(super) source: &'a str,
    /// Size of the file in bytes. It bounds what the rows of a variable-length data set can hold.
    limit: usize,
}

/// A data set of variable-length rows.
pub(super) struct Rows<'a> {
    pub(super) file: &'a File<'a>,
    set: Dataset,
    pub(super) path: &'static str,
    /// Bytes per value.
    size: usize,
    /// Where the file stores each row.
    references: Vec<u8>,
}

impl Rows<'_> {
    pub(super) fn bytes(&self, n: usize) -> Result<Vec<u8>, Error> {
        let width = self.set.vlen_reference_size();
        let reference = &self.references[n * width..][..width];
        let bytes = self.set.resolve_vlen_reference_bytes(reference, self.size);
        bytes.map_err(|e| self.file.format(e))
    }
}

impl<'a> File<'a> {
    pub(super) fn open(bytes: Vec<u8>, source: &'a str) -> Result<Self, Error> {
        let limit = bytes.len();
        let most = limit.saturating_add(CHUNK_SLACK);
        let options = OpenOptions::default()
            .with_max_read_bytes(most)
            .with_max_chunk_bytes(most)
            .with_max_object_header_bytes(MAX_HEADER)
            .with_filter_registry(filters::registry(most));
        let start = bytes[..limit.min(512)].to_vec();
        let base = content::signature(&bytes).map_or(0, |at| content::base_address(&bytes[at..]));
        let storage = Arc::new(BoundedStorage::new(bytes, MAX_HEADER));
        let hdf5 = Hdf5File::from_storage_with_options(storage, options);
        let hdf5 = hdf5.map_err(|e| match e {
            ReadError::InvalidMagic => Error::format(source, content::not_hdf5(&start)),
            e => Error::format(source, e),
        })?;
        content::check_whole(&hdf5, base, limit).map_err(|reason| Error::format(source, reason))?;
        Ok(Self { hdf5, source, limit })
    }

    /// The number of utterances, if there are no labels.
    pub(super) fn rows_of_spikes(&self) -> Result<usize, Error> {
        let path = "spikes/times";
        Ok(self.one_dimensional(&self.dataset(path)?, path)? as usize)
    }

    pub(super) fn times(&self, n: usize, options: &Options) -> Result<Times<'_>, Error> {
        let (rows, number) = self.sequences("spikes/times", n, "sequences of numbers")?;
        Ok(Times { rows, number, options: *options })
    }

    pub(super) fn units(&self, n: usize, first: u16) -> Result<Units<'_>, Error> {
        let (rows, number) = self.sequences("spikes/units", n, "sequences of whole numbers")?;
        Ok(Units { rows, number, first })
    }

    fn sequences(
        &self,
        path: &'static str,
        n: usize,
        expected: &str,
    ) -> Result<(Rows<'_>, Number), Error> {
        let set = self.dataset(path)?;
        let base = match set.dtype() {
            Datatype::VarLen { base, kind: VarLenKind::Sequence, .. } => Number::of(base),
            _ => None,
        };
        let Some(number) = base else { return Err(self.type_error(&set, path, expected)) };
        Ok((self.rows(set, path, number.size, n)?, number))
    }

    /// A variable-length data set of `n` rows, with values of `size` bytes.
    pub(super) fn rows(
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
            let values = [reference[0], reference[1], reference[2], reference[3]];
            let taken = (u32::from_le_bytes(values) as usize).checked_mul(size);
            left = taken.and_then(|len| left.checked_sub(len.max(2))).ok_or_else(|| {
                self.format(format!("{path} refers to more values than the file holds"))
            })?;
        }
        Ok(Rows { file: self, set, path, size, references })
    }

    /// Whether there is a data set at `path`.
    pub(super) fn has(&self, path: &str) -> Result<bool, Error> {
        match self.hdf5.dataset(path) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(self.format(error)),
        }
    }

    pub(super) fn dataset(&self, path: &str) -> Result<Dataset, Error> {
        let set = self.hdf5.dataset(path).map_err(|error| match is_absent(&error) {
            true => self.format(format!("has no data set {path}, which the layout of SHD needs")),
            false => self.format(error),
        })?;
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

    /// The number of rows of a data set in which at most one dimension is not 1.
    pub(super) fn one_dimensional(&self, set: &Dataset, path: &str) -> Result<u64, Error> {
        let shape = set.shape();
        let long = shape.iter().filter(|&&n| n != 1).count();
        if shape.is_empty() || long > 1 {
            return Err(self.format(format!("{path} has shape {shape:?}, not one dimension")));
        }
        Ok(shape.iter().product())
    }

    pub(super) fn check_len(&self, path: &str, len: usize, n: usize) -> Result<(), Error> {
        if len == n {
            return Ok(());
        }
        Err(self.format(format!("{path} has {len} rows, but labels has {n}")))
    }

    pub(super) fn type_error(&self, set: &Dataset, path: &str, expected: &str) -> Error {
        let held = type_name(set.dtype());
        self.format(format!("{path} holds {held}, not {expected}"))
    }

    pub(super) fn format(&self, reason: impl ToString) -> Error {
        Error::format(self.source, reason)
    }
}

fn is_absent(error: &ReadError) -> bool {
    match error {
        ReadError::DatasetNotFound(_) | ReadError::GroupNotFound(_) => true,
        ReadError::Context { source, .. } => is_absent(source),
        _ => false,
    }
}
