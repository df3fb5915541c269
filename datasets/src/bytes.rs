//! Whole files: in memory with the gzip stream around them removed, and on the disk with their names.

use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::Error;

/// A stream that grows by more than this is taken for a decompression bomb; recorded spikes shrink
/// two to eightfold, and deflate ends at 1032.
const MAX_EXPANSION: usize = 64;
const SMALL: usize = 1 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::Io { file: path.display().to_string(), error })
}

/// The contents of a gzip stream, or the bytes themselves where they are none.
pub(crate) fn unpack(bytes: Vec<u8>, file: &str) -> Result<Vec<u8>, Error> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let limit = bytes.len().saturating_mul(MAX_EXPANSION).max(SMALL);
    let mut out = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|e| Error::format(file, format!("gzip stream: {e}")))?;
    if out.len() > limit {
        return Err(Error::format(file, format!("gzip stream holds more than {limit} bytes")));
    }
    Ok(out)
}

/// New names in a folder are on the disk after this.
#[cfg(unix)]
pub(crate) fn flush(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn flush(_: &Path) -> io::Result<()> {
    Ok(())
}
