//! The cache file. It holds, in little-endian byte order: `PCLV0002`; the length of the key (u64);
//! the key; for each sample, its lowest value and its unit (f32 each) and its levels (u16 each);
//! the CRC-32 of all bytes before (u32).

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crc32fast::Hasher;

use crate::{Levels, bytes};

const MAGIC: &[u8; 8] = b"PCLV0002";
/// Size in bytes of the lowest value and the unit of a sample.
const SCALE: usize = 8;

/// Loads `samples` samples of `size` levels. `None`: the file does not exist, is damaged or has
/// another key.
pub(super) fn load(path: &Path, key: &str, samples: usize, size: usize) -> Option<Vec<Levels>> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() != length(key, samples, size)? {
        return None;
    }
    let mut source =
        ChecksumReader { inner: BufReader::with_capacity(1 << 16, file), sum: Hasher::new() };
    let mut head = vec![0; head(key).len()];
    source.read_exact(&mut head).ok()?;
    if head != self::head(key) {
        return None;
    }
    let (mut scale, mut row) = ([0; SCALE], vec![0; 2 * size]);
    let mut all = Vec::with_capacity(samples);
    for _ in 0..samples {
        source.read_exact(&mut scale).ok()?;
        source.read_exact(&mut row).ok()?;
        let [low, unit] = [0, 4]
            .map(|at| f32::from_le_bytes([scale[at], scale[at + 1], scale[at + 2], scale[at + 3]]));
        let levels = row.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        all.push(Levels { low, unit, levels });
    }
    let sum = source.sum.finalize();
    let mut stored = [0; 4];
    source.inner.read_exact(&mut stored).ok()?;
    (u32::from_le_bytes(stored) == sum).then_some(all)
}

/// Replaces the cache file.
pub(super) fn store(path: &Path, key: &str, samples: &[Levels]) -> io::Result<()> {
    bytes::replace(path, |sink| {
        let mut sum = Hasher::new();
        let mut put = |bytes: &[u8]| {
            sum.update(bytes);
            sink.write_all(bytes)
        };
        put(&head(key))?;
        let mut row = Vec::new();
        for Levels { low, unit, levels } in samples {
            row.clear();
            row.extend([low, unit].into_iter().flat_map(|x| x.to_le_bytes()));
            row.extend(levels.iter().flat_map(|level| level.to_le_bytes()));
            put(&row)?;
        }
        sink.write_all(&sum.finalize().to_le_bytes())
    })
}

fn head(key: &str) -> Vec<u8> {
    [MAGIC, &(key.len() as u64).to_le_bytes()[..], key.as_bytes()].concat()
}

fn length(key: &str, samples: usize, size: usize) -> Option<u64> {
    let sample = (size as u64).checked_mul(2)?.checked_add(SCALE as u64)?;
    let all = (samples as u64).checked_mul(sample)?;
    all.checked_add((MAGIC.len() + 8 + key.len() + 4) as u64)
}

/// A reader that computes the checksum of what it reads.
struct ChecksumReader<R> {
    inner: R,
    sum: Hasher,
}

impl<R: Read> ChecksumReader<R> {
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.sum.update(bytes);
        Ok(())
    }
}
