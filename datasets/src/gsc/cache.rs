//! Layout: `PCLV0002`; bytes of the key (u64); the key; sample after sample, its lowest value and its unit (f32) and its
//! levels (u16); CRC-32 of what comes before (u32). Everything is little-endian.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crc32fast::Hasher;

use crate::{Levels, bytes};

const MAGIC: &[u8; 8] = b"PCLV0002";
/// Bytes of a sample's lowest value and unit.
const SCALE: usize = 8;

/// So many samples of `size` levels; `None` where the file is absent, damaged or of another key.
pub(super) fn load(path: &Path, key: &str, samples: usize, size: usize) -> Option<Vec<Levels>> {
    let file = File::open(path).ok()?;
    if file.metadata().ok()?.len() != length(key, samples, size)? {
        return None;
    }
    let mut source = Summed { inner: BufReader::with_capacity(1 << 16, file), sum: Hasher::new() };
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

/// A source that sums what is read of it.
struct Summed<R> {
    inner: R,
    sum: Hasher,
}

impl<R: Read> Summed<R> {
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.sum.update(bytes);
        Ok(())
    }
}
