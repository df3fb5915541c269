//! Files of spikes of every kind, told apart by their contents and not by their names.
//!
//! | kind | what is read |
//! |---|---|
//! | HDF5 | the layout of [`shd`] |
//! | gzip stream, zip archive | one file of any kind inside |
//!
//! ```no_run
//! use polychron_datasets::spikes::{self, Options};
//!
//! let recordings = spikes::read("recordings.h5.zip", &Options::default())?;
//! println!("{} items, {} classes", recordings.items.len(), recordings.keys.len());
//! # Ok::<(), polychron_datasets::Error>(())
//! ```

mod archive;

use std::path::Path;

pub use crate::shd::{Options, Origin, TimeUnit};
use crate::{Error, Recordings, bytes, shd};
use archive::Archive;

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
            bytes = Archive::open(&bytes, source)?.only_file(room)?;
        } else {
            return shd::from_plain(bytes, source, options);
        }
    }
    Err(Error::format(source, "is packed too many times; unpack it"))
}
