use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, PoisonError};

use hdf5_reader::error::{Error, Result};
use hdf5_reader::storage::{BytesStorage, Storage, StorageBuffer};

/// Largest total size in bytes of the nodes that list the members of groups, which take at least
/// 11 bytes per member.
const MAX_NODES: usize = 1 << 20;
/// Largest total size in bytes of the nodes that list attributes in the newest layout.
const MAX_ATTRIBUTES: usize = 16 << 10;
/// Size in bytes of an entry of such a node, and how often a heap is visited for it.
const ATTRIBUTE: usize = 17;
const VISITS: usize = 3;
/// Largest total size in bytes of the names of members.
const MAX_NAMES: usize = 1 << 20;
/// Size in bytes of the header of the names, if addresses and lengths have eight bytes.
const NAMES_HEAD: usize = 32;
/// Size in bytes of the head of a node of names and of each of its members.
const NODE_HEAD: usize = 8;
const MEMBER: usize = 40;
/// Largest number of headers that are parsed. Those of the layout and of groups and types that it
/// refers to are fewer than 20.
const MAX_HEADERS: usize = 24;
/// Smallest size in bytes of a message of a header of the first version.
const MESSAGE: usize = 8;
/// Largest block of names in the newest layout.
const MAX_BLOCK: u64 = 64 << 10;
/// Largest number of tables of blocks, and of heaps of names, that are visited.
const MAX_VISITS: usize = 64;

/// The bytes of a file. Refuses to read structures that would take the decoder many times their
/// size: headers without number, group members that share a name or a node, and heaps of values
/// that share bytes.
pub(super) struct BoundedStorage {
    bytes: BytesStorage,
    max_header: usize,
    /// Where the file begins, behind a user block. Addresses count from here.
    base: u64,
    /// Whether addresses and lengths have eight bytes.
    wide: bool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Where the last read was, if it was as long as a signature.
    signature_at: Option<u64>,
    headers: usize,
    nodes: usize,
    attributes: usize,
    /// Where the names of the group are that is being read.
    names_at: u64,
    names: usize,
    visits: usize,
    /// The end of each heap by its start.
    heaps: BTreeMap<u64, u64>,
}

impl BoundedStorage {
    /// `max_header` is the largest size of a header in bytes.
    pub(super) fn new(bytes: Vec<u8>, max_header: usize) -> Self {
        let base = super::content::signature(&bytes).unwrap_or(0);
        let sizes = match bytes.get(base + 8) {
            Some(0 | 1) => bytes.get(base + 13..base + 15),
            _ => bytes.get(base + 9..base + 11),
        };
        let wide = sizes == Some(&[8, 8]);
        let (base, bytes) = (base as u64, BytesStorage::new(bytes));
        Self { bytes, max_header, base, wide, seen: Mutex::default() }
    }

    /// Adds up the sizes of the names of a node's members, which may overlap, up to the limit.
    fn names(&self, at: u64, node: &[u8]) -> usize {
        let members = node.get(NODE_HEAD..).unwrap_or_default().chunks_exact(MEMBER);
        let offsets = members.flat_map(|member| {
            let link = (member[16] == 2).then(|| little_endian(&member[24..28]));
            [Some(little_endian(&member[..8])), link].into_iter().flatten()
        });
        let mut total = 0;
        for offset in offsets {
            total += self.name(self.base.saturating_add(at).saturating_add(offset));
            if total > MAX_NAMES {
                break;
            }
        }
        total
    }

    fn name(&self, at: u64) -> usize {
        let len = self.len().saturating_sub(at).min(MAX_NAMES as u64) as usize;
        let rest = self.bytes.read_range(at, len);
        rest.map_or(0, |rest| rest.iter().position(|&b| b == 0).unwrap_or(len))
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
        let signature_at = std::mem::replace(&mut seen.signature_at, (len == 4).then_some(offset));
        match read.get(..4) {
            Some(b"SNOD") => {
                seen.nodes += len;
                if seen.nodes <= MAX_NODES {
                    seen.names += self.names(seen.names_at, &read);
                }
                if seen.nodes > MAX_NODES || seen.names > MAX_NAMES {
                    return refuse("too many members of groups");
                }
            }
            Some(b"HEAP") if read.get(4..8) == Some(&[0; 4]) => {
                if len != NAMES_HEAD {
                    return refuse("names of members with short addresses");
                }
                seen.names_at = little_endian(&read[24..32]);
            }
            // The decoder copies a block for every table that it visits.
            Some(b"FHIB" | b"FRHP") => {
                seen.visits += 1;
                let block = read.get(120..128).map_or(0, little_endian);
                let filtered = read.get(7..9).is_some_and(|bytes| bytes != [0; 2]);
                if seen.visits > MAX_VISITS + VISITS * (seen.attributes / ATTRIBUTE) {
                    return refuse("too many heaps of names");
                }
                if len > 4 && (block > MAX_BLOCK || filtered || !self.wide) {
                    return refuse("a compressed or too large heap of names");
                }
            }
            Some(b"SMTB") => return refuse("a table of shared messages, which is not read,"),
            Some(b"BTHD" | b"BTLF" | b"BTIN") if len > 5 => match read[5] {
                5 | 6 => {
                    seen.nodes += len;
                    if seen.nodes > MAX_NODES {
                        return refuse("too many members of groups");
                    }
                }
                8 | 9 => {
                    seen.attributes += len;
                    if seen.attributes > MAX_ATTRIBUTES {
                        return refuse("more than some 500 attributes");
                    }
                }
                10 | 11 => {}
                _ => return refuse("an index of an unknown kind"),
            },
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
            // The decoder reads the signature of a header and then its head. It takes memory for as
            // many messages as the head of the first version declares.
            Some(&[1, _, low, high]) if len == 16 && signature_at == Some(offset) => {
                seen.headers += 1;
                let messages = usize::from(u16::from_le_bytes([low, high]));
                if seen.headers > MAX_HEADERS || messages > self.max_header / MESSAGE {
                    return refuse("too many headers of groups and data sets");
                }
            }
            Some(b"OHDR") if len == 6 && signature_at == Some(offset) => {
                seen.headers += 1;
                if seen.headers > MAX_HEADERS {
                    return refuse("too many headers of groups and data sets");
                }
            }
            _ => {}
        }
        Ok(read)
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |x, &b| x << 8 | u64::from(b))
}

#[cfg(test)]
mod tests {
    use hdf5_reader::superblock::HDF5_MAGIC;

    use super::*;

    const MAX_HEADER: usize = 64 << 10;

    fn file(parts: &[(usize, &[u8])]) -> BoundedStorage {
        let mut bytes = [&HDF5_MAGIC[..], &[2, 8, 8]].concat();
        bytes.resize(3 << 20, 0);
        parts.iter().for_each(|&(at, part)| bytes[at..at + part.len()].copy_from_slice(part));
        BoundedStorage::new(bytes, MAX_HEADER)
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
        let mut heap = b"HEAP\0\0\0\0".to_vec();
        heap.extend([0; 16]);
        heap.extend((1u64 << 20).to_le_bytes());
        // Two members with the same name of 0.7 MB.
        let name = vec![b'x'; 700 << 10];
        let node = [&b"SNOD\x01\0\x02\0"[..], &[0; 2 * MEMBER]].concat();
        let parts = [(0, &heap[..]), (64, &node), (1 << 20, &name), (2 << 20, b"SNOD")];
        let nodes = file(&parts);
        assert!(nodes.read_range(2 << 20, MAX_NODES).is_ok());
        assert!(nodes.read_range(2 << 20, 24).is_err());
        let fresh = file(&parts);
        assert!(fresh.read_range(0, NAMES_HEAD - 8).is_err());
        assert!(fresh.read_range(0, NAMES_HEAD).is_ok());
        assert!(fresh.read_range(64, NODE_HEAD + MEMBER).is_ok());
        assert!(fresh.read_range(64, node.len()).is_err());
    }

    #[test]
    fn heaps_and_trees_of_the_newest_layout_are_bounded() {
        let head = |filters: u8, block: u64| {
            let mut head = b"FRHP\0\x07\0".to_vec();
            head.push(filters);
            head.resize(120, 0);
            head.extend(block.to_le_bytes());
            head
        };
        let (good, packed, large) = (head(0, MAX_BLOCK), head(8, 512), head(0, MAX_BLOCK + 1));
        let tree = |kind: u8| [&b"BTLF\0"[..], &[kind]].concat();
        let file = file(&[
            (8192, &good),
            (256, &packed),
            (512, &large),
            (1024, &tree(5)),
            (1536, &tree(7)),
            (2048, &tree(8)),
            (3072, &tree(11)),
            (4096, b"SMTB"),
        ]);
        assert!(file.read_range(256, 256).is_err() && file.read_range(512, 256).is_err());
        assert!(file.read_range(1536, 512).is_err() && file.read_range(4096, 64).is_err());
        assert!(file.read_range(2048, MAX_ATTRIBUTES).is_ok());
        assert!(file.read_range(2048, 512).is_err());
        assert!(file.read_range(1024, 512).is_ok() && file.read_range(3072, 512).is_ok());
        assert!(file.read_range(1024, MAX_NODES - 512).is_ok());
        assert!(file.read_range(1024, 512).is_err() && file.read_range(3072, 512).is_ok());
        let read = (0..).take_while(|_| file.read_range(8192, 256).is_ok()).count();
        // Two bad heads and those that attributes allow.
        let attributes = VISITS * ((MAX_ATTRIBUTES + 512) / ATTRIBUTE);
        assert_eq!(read, MAX_VISITS + attributes - 2);
    }

    #[test]
    fn headers_are_bounded() {
        let many = ((MAX_HEADER / MESSAGE + 1) as u16).to_le_bytes();
        let file = file(&[(0, &[1, 0, 0, 32]), (64, &[1, 0, many[0], many[1]]), (128, b"OHDR")]);
        let header = |at, head| file.read_range(at, 4).is_ok() && file.read_range(at, head).is_ok();
        assert!(header(0, 16) && header(128, 6) && !header(64, 16));
        let read = (0..).take_while(|n| header(128 * (n % 2), 16 - 10 * (n % 2) as usize)).count();
        assert_eq!(read, MAX_HEADERS - 3);
        // Chunks of data may have these lengths.
        assert!((0..100).all(|_| file.read_range(128, 4).is_ok()));
        assert!((0..100).all(|_| file.read_range(64, 16).is_ok()));
    }
}
