use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, PoisonError};

use hdf5_reader::error::{Error, Result};
use hdf5_reader::storage::{BytesStorage, Storage, StorageBuffer};

/// Largest total size in bytes of the nodes of group members, which take at least 28 bytes per
/// member.
const MAX_NODES: usize = 8 << 10;
/// Largest size in bytes of the names in a group.
const MAX_NAMES: u64 = 8 << 10;
/// Size in bytes of the header of the names, if addresses and lengths have eight bytes.
const NAMES_HEAD: usize = 32;

/// The bytes of a file. Refuses to read structures that would take the decoder many times their
/// size: group members that share a name or a node, and heaps of values that share bytes.
pub(super) struct BoundedStorage {
    bytes: BytesStorage,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    nodes: usize,
    /// The end of each heap by its start.
    heaps: BTreeMap<u64, u64>,
}

impl BoundedStorage {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: BytesStorage::new(bytes), seen: Mutex::default() }
    }
}

impl Storage for BoundedStorage {
    fn len(&self) -> u64 {
        self.bytes.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
        let read = self.bytes.read_range(offset, len)?;
        let refuse = |reason: &str| Err(Error::InvalidData(format!("{reason} at {offset:#x}")));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match read.get(..4) {
            Some(b"SNOD") => {
                seen.nodes += len;
                if seen.nodes > MAX_NODES {
                    return refuse("too many members of groups");
                }
            }
            Some(b"HEAP") if read.get(4..8) == Some(&[0; 4]) => {
                let names = (len == NAMES_HEAD).then(|| read[8..16].iter().rev());
                let names = names.map(|bytes| bytes.fold(0, |x, &b| x << 8 | u64::from(b)));
                if names.is_none_or(|names| names > MAX_NAMES) {
                    return refuse("too long names of group members");
                }
            }
            Some(b"FRHP") if read.get(4) == Some(&0) => {
                return refuse("too many members or attributes");
            }
            Some(b"GCOL") => {
                let end = offset + len as u64;
                let before = seen.heaps.range(..offset).next_back();
                let after = seen.heaps.range((Excluded(offset), Unbounded)).next();
                if before.is_some_and(|(_, &before)| before > offset)
                    || after.is_some_and(|(&after, _)| after < end)
                {
                    return refuse("two overlapping heaps of values");
                }
                let known = seen.heaps.entry(offset).or_insert(end);
                *known = end.max(*known);
            }
            _ => {}
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(parts: &[(usize, &[u8])]) -> BoundedStorage {
        let mut bytes = vec![0; 1 << 16];
        parts.iter().for_each(|&(at, part)| bytes[at..at + part.len()].copy_from_slice(part));
        BoundedStorage::new(bytes)
    }

    #[test]
    fn heaps_may_touch_and_not_overlap() {
        let file = file(&[(0, b"GCOL"), (64, b"GCOL"), (128, b"GCOL")]);
        for _ in 0..2 {
            assert!(file.read_range(64, 16).is_ok() && file.read_range(64, 64).is_ok());
            assert!(file.read_range(128, 64).is_ok() && file.read_range(0, 64).is_ok());
        }
        assert!(file.read_range(0, 65).is_err() && file.read_range(64, 65).is_err());
    }

    #[test]
    fn members_of_groups_and_their_names_are_bounded() {
        let mut names = b"HEAP\0\0\0\0".to_vec();
        names.extend(MAX_NAMES.to_le_bytes());
        let mut long = names.clone();
        long[8] += 1;
        let file = file(&[(0, b"SNOD"), (100, &names), (200, &long), (300, b"FRHP\0")]);
        let node = MAX_NODES / 2;
        assert!(file.read_range(0, node).is_ok() && file.read_range(0, node).is_ok());
        assert!(file.read_range(0, 24).is_err());
        assert!(file.read_range(100, NAMES_HEAD).is_ok());
        assert!(file.read_range(100, NAMES_HEAD - 8).is_err());
        assert!(file.read_range(200, NAMES_HEAD).is_err());
        assert!(file.read_range(300, 5).is_err() && file.read_range(301, 5).is_ok());
    }
}
