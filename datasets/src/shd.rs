//! Files in the HDF5 layout of the Spiking Heidelberg Digits (SHD) and the Spiking Speech Commands
//! (SSC): Cramer et al., *The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking
//! Neural Networks* (2020).
//!
//! A file of n utterances holds:
//!
//! | data set | type | meaning |
//! | --- | --- | --- |
//! | `spikes/times` | n sequences of numbers | times of the spikes, in any order |
//! | `spikes/units` | n sequences of whole numbers | channels of the spikes, from 0 |
//! | `labels` | n whole numbers or names | classes, from 0 |
//! | `extra/speaker` | n whole numbers or names, optional | speakers |
//! | `extra/keys` | one string per class, optional | names of the classes |
//! | `extra/channels` | one whole number, optional | number of channels; 700 by default |
//! | `extra/name` | n strings, optional | names of the utterances, such as those of sound files |
//! | `extra/part` | n strings, optional | a name for [`Part::of`](crate::Part::of) |
//! | `extra/step_ms` | one number, optional | length in ms of the steps of a raster that it was |
//! | `extra/encoder` | one string, optional | how sound became spikes |
//!
//! A number is an integer, a float of 16, 32 or 64 bits, or a boolean. A whole number has no
//! fraction, whatever its type. Times are in seconds unless [`Options::time_unit`] says otherwise;
//! float16 keeps its rounding, the other types are rounded to float32. Spikes are sorted by time;
//! those of the same time keep their order. An utterance may have no spikes. Names of speakers, and
//! of classes if `extra/keys` is absent, are numbered in alphabetical order. A data set of n rows
//! may have further dimensions of 1.
//!
//! A malformed file gives an error, never a panic. The HDF5 decoder checks the ranges that it
//! reads; the structures that it does not check itself are checked here before it reads them: those
//! that would take many times the memory of the file, and the filters of a data set. The fuzz
//! target `read_h5`, which stops at any panic, holds the reader to that with overflow checks on.

mod about;
mod bounds;
mod container;
pub(crate) mod content;
mod filters;
mod times;
pub(crate) mod values;
mod write;

use std::path::Path;

use crate::{Error, Recording, Recordings, bytes, parallel};
use container::File;
pub use times::{Origin, TimeUnit};
pub use write::to_bytes;

/// Number of channels of the published files, which do not state it.
pub const CHANNELS: usize = 700;

/// Name of the class of items without labels.
pub(crate) const UNKNOWN: &str = "unknown";

/// Units are 16 bits wide.
const MAX_CHANNELS: usize = 1 << 16;
/// Labels are 16 bits wide.
const MAX_KEYS: usize = 1 << 16;

/// What a file does not say about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Options {
    /// Number of channels. Without it, the file states the number, or it is [`CHANNELS`].
    pub channels: Option<usize>,
    /// Unit of the times; seconds by default.
    pub time_unit: TimeUnit,
    /// Time from which the times of an utterance count; 0 by default.
    pub origin: Origin,
    /// Number of the first channel: 0, the default, or 1.
    pub first_unit: u16,
    /// Number of the first class: 0, the default, or 1. Labels that are names have none.
    pub first_label: u16,
    /// Length in ms of the steps of a raster that does not state it.
    pub step_ms: Option<f64>,
    /// Whether the file may have no labels. All items then have the one class `unknown`.
    pub unlabelled: bool,
}

impl Options {
    /// Fails unless the number of channels is possible.
    pub(crate) fn check(&self, source: &str) -> Result<(), Error> {
        let Some(channels) = self.channels.filter(|n| !(1..=MAX_CHANNELS).contains(n)) else {
            return Ok(());
        };
        let problem = format!("is not between 1 and {MAX_CHANNELS}; sum neighbours in larger data");
        Err(Error::value(source, "channels", channels, problem))
    }
}

/// Reads a `.h5` or `.h5.gz` file on all cores. [`spikes::read`](crate::spikes::read) reads other
/// kinds of files, too.
///
/// # Errors
/// The file cannot be read, has another layout, states a number of channels other than
/// [`Options::channels`], or fails [`Recordings::sort`].
pub fn read(path: impl AsRef<Path>, options: &Options) -> Result<Recordings, Error> {
    let path = path.as_ref();
    from_bytes(bytes::read(path)?, &path.display().to_string(), options)
}

/// Reads the bytes of a file, compressed by gzip or not. Error messages name it `source`.
///
/// Without `extra/keys`, the classes are 0 to the largest label, and their names are these numbers.
///
/// # Errors
/// The same as for [`read`], except that no file is opened.
pub fn from_bytes(bytes: Vec<u8>, source: &str, options: &Options) -> Result<Recordings, Error> {
    from_plain(bytes::unpack(bytes, source)?, source, options)
}

/// Reads the bytes of a file that is not compressed.
pub(crate) fn from_plain(
    bytes: Vec<u8>,
    source: &str,
    options: &Options,
) -> Result<Recordings, Error> {
    options.check(source)?;
    let file = File::open(bytes, source)?;
    let (channels, stated) = match file.channels(options.channels)? {
        Some(channels) => (channels, true),
        None => (options.channels.unwrap_or(CHANNELS), options.channels.is_some()),
    };
    let mut read = parse(&file, channels, options)?;
    read.sort().map_err(|error| advise(error, &read, stated))?;
    Ok(read)
}

/// Adds to an error what the user can do about it. `stated` says whether the number of channels is
/// known.
fn advise(mut error: Error, read: &Recordings, stated: bool) -> Error {
    let Error::Value { problem, .. } = &mut error else { return error };
    let units = read.items.iter().flat_map(|item| &item.units);
    problem.push_str(advice(problem, units, read.channels, stated));
    error
}

/// What the user can do about what is wrong with a time or a unit. `stated` says whether the
/// number of channels is known.
pub(crate) fn advice<'a>(
    problem: &str,
    mut units: impl Iterator<Item = &'a u16>,
    channels: usize,
    stated: bool,
) -> &'static str {
    if problem.starts_with("is not below") && problem.ends_with("channels") {
        if units.all(|&unit| (1..=channels).contains(&usize::from(unit))) {
            return "; units begin at 1? They count from 0: data convert --first-unit 1";
        } else if !stated {
            return "; set their number with data.channels or --channels";
        }
    } else if problem.starts_with("s is above") {
        return " unless data.time_unit or --time-unit says ms or us; for a clock that runs on, \
                data.origin or --origin first-spike";
    } else if problem.starts_with("s is negative") {
        return "; data.origin or --origin first-spike counts from the earliest spike";
    }
    ""
}

/// The names of classes that have only numbers.
pub(crate) fn numbers(labels: &[u16], first: u16) -> Vec<String> {
    let classes = labels.iter().max().map_or(0, |&label| u32::from(label) + 1);
    (0..classes).map(|class| (class + u32::from(first)).to_string()).collect()
}

fn parse(file: &File<'_>, channels: usize, options: &Options) -> Result<Recordings, Error> {
    let known = if file.has("extra/keys")? { Some(file.keys()?) } else { None };
    let (labels, names) = if options.unlabelled && !file.has("labels")? {
        (vec![0; file.rows_of_spikes()?], Some(vec![UNKNOWN.into()]))
    } else {
        file.classes(known.as_deref(), options.first_label)?
    };
    let n = labels.len();
    let (times, units) = (file.times(n, options)?, file.units(n, options.first_unit)?);
    let spikes = |n, _: &u16| Ok((times.row(n)?, units.row(n)?));
    let spikes = parallel::try_map(&labels, parallel::threads(n), spikes)?;
    let (speakers, about) = file.about(n)?;
    let keys = names.or(known).unwrap_or_else(|| numbers(&labels, options.first_label));
    let items = spikes.into_iter().zip(labels.into_iter().zip(speakers));
    let items = items
        .map(|((times, units), (label, speaker))| Recording { times, units, label, speaker })
        .collect();
    let (source, time_format) = (file.source.into(), times.format());
    Ok(Recordings { source, channels, keys, time_format, items, about })
}
