//! Files of spikes of every kind, told apart by their contents and not by their names.
//!
//! | kind | what is read |
//! |---|---|
//! | HDF5 | the layout of [`shd`] |
//! | `.npz` of NumPy | arrays with an entry per spike, or a raster |
//! | CSV | a row per spike; separated by commas, semicolons or tabs |
//! | gzip stream, zip archive | one file of any kind inside |
//!
//! Arrays of an `.npz` file and columns of a CSV file have these names, in any case:
//!
//! | name | values |
//! |---|---|
//! | `time`, `times`, `t` | time of each spike |
//! | `unit`, `units`, `x`, `channel` | channel of each spike |
//! | `item`, `items`, `sample`, `samples`, `index` | item of each spike |
//! | `label`, `labels` | class of each item, a number or a name |
//! | `speaker`, `name`, `part` (or `speakers`, ...) | of each item, optional |
//!
//! Spikes may be in any order. Others are ignored. In an `.npz` file, `item` is an index of
//! `label`; an item may have no spikes. The fields of a record array count as arrays. Optional
//! arrays are `keys`, the names of the classes, and `channels`, their number. In place of times,
//! units and items there may be one array of three dimensions, `[items, steps, channels]`, which
//! holds numbers of spikes, and `dt_ms`, the length of a step.
//!
//! In a CSV file, `item` is any text; items are in the order of their first row, and a row with an
//! empty time and unit is an item without a spike. `label` is the same in all rows of an item.
//!
//! Without a number of channels in the file or in [`Options::channels`], it is the largest unit
//! plus 1.
//!
//! ```no_run
//! use polychron_datasets::spikes::{self, Options};
//!
//! let recordings = spikes::read("recordings.h5.zip", &Options::default())?;
//! println!("{} items, {} classes", recordings.items.len(), recordings.keys.len());
//! # Ok::<(), polychron_datasets::Error>(())
//! ```

mod archive;
mod columns;
mod csv;
mod events;
mod npy;
mod npz;
mod raster;

use std::path::Path;

use crate::shd::content;
pub use crate::shd::{Options, Origin, TimeUnit};
use crate::{Error, Recordings, bytes, shd};
use archive::Archive;
pub use events::Events;

/// Most containers around a file, such as a gzip stream in a zip archive.
const MAX_DEPTH: usize = 3;

/// Reads a file of spikes on all cores.
///
/// # Errors
/// The file cannot be read, is of no kind that is read, or its contents are not valid recordings.
pub fn read(path: impl AsRef<Path>, options: &Options) -> Result<Recordings, Error> {
    let path = path.as_ref();
    from_bytes(bytes::read(path)?, &path.display().to_string(), options)
}

/// Reads the bytes of a file of spikes. Error messages name it `source`.
///
/// # Errors
/// The same as for [`read`], except that no file is opened.
pub fn from_bytes(bytes: Vec<u8>, source: &str, options: &Options) -> Result<Recordings, Error> {
    let room = bytes::room(bytes.len());
    let mut bytes = bytes;
    for _ in 0..=MAX_DEPTH {
        if bytes::is_gzip(&bytes) {
            bytes = bytes::unpack_within(bytes, room, source)?;
        } else if archive::is_zip(&bytes) {
            let archive = Archive::open(&bytes, source)?;
            if archive.holds_arrays() {
                return npz::read(&bytes, room, source, options);
            }
            bytes = archive.only_file(room)?;
        } else {
            return plain(bytes, source, options);
        }
    }
    Err(Error::format(source, "is packed too many times; unpack it"))
}

fn plain(bytes: Vec<u8>, source: &str, options: &Options) -> Result<Recordings, Error> {
    if content::signature(&bytes).is_some() {
        return shd::from_plain(bytes, source, options);
    }
    let wide = [&b"\xff\xfe"[..], b"\xfe\xff"];
    let reason = match content::foreign(&bytes) {
        Some(reason) => reason,
        None if wide.iter().any(|mark| bytes.starts_with(mark)) => {
            "is text in UTF-16; save it as UTF-8"
        }
        None if csv::is_text(&bytes) => return csv::read(&bytes, source, options),
        None => "is no file of spikes that is read: HDF5, .npz or CSV",
    };
    Err(Error::format(source, reason))
}
