//! Byte readers for `const` functions.

use super::Fault;

/// Converts `u32` to `usize`; the standard trait is not `const`.
#[expect(clippy::as_conversions, reason = "lossless: pointers have 32 bits or more")]
pub(super) const fn size(x: u32) -> usize {
    x as usize
}

/// The bytes before an offset, and the rest.
pub(super) const fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), Fault> {
    match bytes.split_at_checked(at) {
        Some(parts) => Ok(parts),
        None => Err(Fault::Length),
    }
}

/// Whether a size is at least 1 and at most `limit`.
pub(super) const fn is_size(size: usize, limit: usize) -> bool {
    size >= 1 && size <= limit
}

/// `len` bytes from an offset; `None` if the file is too short.
pub(super) const fn part(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    match bytes.split_at_checked(at) {
        Some((_, rest)) => match rest.split_at_checked(len) {
            Some((part, _)) => Some(part),
            None => None,
        },
        None => None,
    }
}

/// All bytes from an offset on; none if the file is too short.
pub(super) const fn from(bytes: &[u8], at: usize) -> &[u8] {
    match bytes.split_at_checked(at) {
        Some((_, rest)) => rest,
        None => &[],
    }
}

/// A byte; 0 if the file is too short.
pub(super) const fn byte(bytes: &[u8], at: usize) -> u8 {
    match bytes.split_at_checked(at) {
        Some((_, [x, ..])) => *x,
        _ => 0,
    }
}

/// A `u16`; 0 if the file is too short.
pub(super) const fn half(bytes: &[u8], at: usize) -> u16 {
    match bytes.split_at_checked(at) {
        Some((_, [a, b, ..])) => u16::from_le_bytes([*a, *b]),
        _ => 0,
    }
}

/// A `u32`; 0 if the file is too short.
pub(super) const fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.split_at_checked(at) {
        Some((_, [a, b, c, d, ..])) => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}

/// A `u16` as a size.
pub(super) const fn half_size(bytes: &[u8], at: usize) -> usize {
    let [a, b] = half(bytes, at).to_le_bytes();
    size(u32::from_le_bytes([a, b, 0, 0]))
}

/// A byte as a size.
pub(super) const fn byte_size(bytes: &[u8], at: usize) -> usize {
    size(u32::from_le_bytes([byte(bytes, at), 0, 0, 0]))
}

/// Whether all bytes are zero.
pub(super) const fn is_zero(bytes: &[u8]) -> bool {
    count_except(bytes, 0) == 0
}

/// The number of bytes that differ from `value`.
#[inline(never)]
pub(super) const fn count_except(mut bytes: &[u8], value: u8) -> usize {
    let mut found = 0usize;
    while let [x, rest @ ..] = bytes {
        if *x != value {
            found = found.wrapping_add(1);
        }
        bytes = rest;
    }
    found
}

/// The CRC-32 of IEEE 802.3, computed four bits at a time.
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "indices below 16")]
#[inline(never)]
pub(crate) const fn crc32(mut bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    while let [x, rest @ ..] = bytes {
        crc ^= *x as u32;
        crc = (crc >> 4) ^ NIBBLES[(crc & 15) as usize];
        crc = (crc >> 4) ^ NIBBLES[(crc & 15) as usize];
        bytes = rest;
    }
    !crc
}

const NIBBLES: [u32; 16] = {
    let (mut table, mut n) = ([0; 16], 0u32);
    let mut rest: &mut [u32] = &mut table;
    while let [entry, others @ ..] = rest {
        let (mut x, mut bit) = (n, 0u8);
        while bit < 4 {
            x = (x >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(x & 1));
            bit = bit.wrapping_add(1);
        }
        *entry = x;
        n = n.wrapping_add(1);
        rest = others;
    }
    table
};

#[cfg(test)]
mod tests {
    #[test]
    fn checksum_matches_the_standard() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
