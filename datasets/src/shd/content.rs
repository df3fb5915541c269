//! What the bytes of a file are that is no whole HDF5 file.

use hdf5_reader::Hdf5File;
use hdf5_reader::superblock::HDF5_MAGIC;

/// Beginnings of files that users take for HDF5, and what to do.
const KINDS: [(&[u8], &str); 10] = [
    (b"PK\x03\x04", "is a zip archive; unzip it"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file itself: git lfs pull"),
    (b"BZh", "is compressed with bzip2; unpack it: bunzip2"),
    (b"\xfd7zXZ\0", "is compressed with xz; unpack it: unxz"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd; unpack it: unzstd"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive; unpack it"),
    (b"\x93NUMPY", "is a single NumPy array; save time, unit, item and label with np.savez"),
    (b"MATLAB 5.0", "is a MATLAB file of an older format; save it with -v7.3"),
    (b"CDF", "is a NetCDF 3 file, not HDF5"),
    (b"SPK1", "holds digits, not HDF5"),
];

/// Where the signature of HDF5 is: at the start, or behind a user block.
pub(crate) fn signature(bytes: &[u8]) -> Option<usize> {
    let places = std::iter::successors(Some(0), |&at: &usize| Some((2 * at).max(512)));
    let mut places = places.take_while(|&at| at < bytes.len());
    places.find(|&at| bytes[at..].starts_with(&HDF5_MAGIC))
}

/// Names bytes that are neither spikes nor text, and says what to do.
pub(crate) fn foreign(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("is empty; download or write it again");
    }
    if let Some((_, problem)) = KINDS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(problem);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some("is a tar archive; unpack it");
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    text.starts_with(b"<").then_some("is not HDF5: a web page; download the file itself")
}

/// Says why bytes without the signature of HDF5 are not read.
pub(super) fn not_hdf5(bytes: &[u8]) -> &'static str {
    foreign(bytes).unwrap_or("is not HDF5: it does not begin with the signature of HDF5")
}

/// The address that a superblock gives its own file, which is that of the signature unless bytes
/// were put before a whole file. `superblock` begins with the signature.
pub(super) fn base_address(superblock: &[u8]) -> u64 {
    let byte = |at: usize| superblock.get(at).copied().unwrap_or(0);
    let (at, width) = match byte(8) {
        0 => (24, byte(13)),
        1 => (28, byte(13)),
        _ => (12, byte(9)),
    };
    let bytes = superblock.get(at..at + usize::from(width.min(8))).unwrap_or_default();
    bytes.iter().rev().fold(0, |x, &b| x << 8 | u64::from(b))
}

/// Fails if the file is shorter than its superblock says, which counts the end from `base`. `len`
/// is its size in bytes.
pub(super) fn check_whole(hdf5: &Hdf5File, base: u64, len: usize) -> Result<(), String> {
    let superblock = hdf5.superblock();
    let before = superblock.base_address.saturating_sub(base);
    let end = superblock.eof_address.saturating_add(before);
    // All bits are set where the end is not known.
    let known = superblock.eof_address != u64::MAX;
    if known && end > len as u64 {
        return Err(format!("the file ends at byte {len} of {end}: download or copy it again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_hdf5_is_named() {
        for (bytes, problem) in [
            (&b""[..], "is empty; download or write it again"),
            (b"PK\x03\x04\x14", "is a zip archive; unzip it"),
            (b"<!DOCTYPE html>", "is not HDF5: a web page; download the file itself"),
            (b"\xef\xbb\xbf\n<html>", "is not HDF5: a web page; download the file itself"),
            (b"BZh91AY", "is compressed with bzip2; unpack it: bunzip2"),
            (b"0.1,5,2\n", "is not HDF5: it does not begin with the signature of HDF5"),
        ] {
            assert_eq!(not_hdf5(bytes), problem);
        }
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(not_hdf5(&tar), "is a tar archive; unpack it");
    }
}
